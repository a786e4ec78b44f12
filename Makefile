# `make repro` makes the environment and runs the pipeline; `make test` makes the same environment and
# runs the checks. The environment is .venv, or the folder that S2IGAN_VENV names (clones can share it). PYTHON, the
# interpreter that it is made with, is the first of Python 3.11, 3.12 and 3.13 that is found.

VENV := $(if $(S2IGAN_VENV),$(S2IGAN_VENV),.venv)
PYTHON ?= $(firstword $(foreach version,3.11 3.12 3.13,$(shell command -v python$(version))) python3)
JOBS ?= 2
BIN := $(abspath $(VENV))/bin
RUN := PATH="$(BIN):$$PATH" PYTHONPATH="$(CURDIR)"
# Fails where dvc.lock lacks something that DVC writes.
LOCK := import yaml; [x["md5"] for s in yaml.safe_load(open("dvc.lock"))["stages"].values() for x in s["deps"] + s["outs"]]
# Fails where DVC cannot read what it noted of running stages.
RWLOCK := import json; json.load(open(".dvc/tmp/rwlock"))
DOCS ?= build/venv
PACKAGES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])

.PHONY: repro test demo bench parity table1 docs env clean

repro: env ## the whole pipeline; what is up to date is not run again
	@echo "==> dvc repro"
	@[ ! -e dvc.lock ] || "$(BIN)/python" -c '$(LOCK)' 2>/dev/null || { \
	  echo "error: dvc.lock is cut, as by a kill while DVC wrote it; give: git checkout dvc.lock, and make repro again" >&2; \
	  exit 1; \
	}
	@[ ! -e .dvc/tmp/rwlock ] || "$(BIN)/python" -c '$(RWLOCK)' 2>/dev/null || { \
	  echo "==> .dvc/tmp/rwlock is cut, as by a kill while DVC wrote it: taken away"; rm .dvc/tmp/rwlock; \
	}
	@$(RUN) dvc repro
	@echo "==> done: metrics/*.json, metrics/figures/*.png; draw your own with: s2igan speak \"...\" -o bird.png"

test: env ## style, types and tests, the whole pipeline at scale=smoke among them
	@echo "==> ruff check"
	@$(RUN) ruff check .
	@echo "==> ruff format --check"
	@$(RUN) ruff format --check .
	@echo "==> mypy"
	@$(RUN) mypy
	@echo "==> pytest"
	@$(RUN) python -m pytest -n $(JOBS) --dist loadfile

demo: env ## says a sentence and draws it
	@$(RUN) python -m s2igan.cli speak "this bird has a red crown and a white belly" -o bird.png

table1: env ## every system, three seeds, on DVC's queue, JOBS runs at a time: metrics/table1.csv, docs/results.md
	@$(RUN) python -m s2igan.cli table1 --jobs $(JOBS)

bench: env ## speed and memory, beside the usual way; with PUBLISHED=folder beside the authors' code: benchmarks/results.md
	@$(RUN) python -W ignore -m benchmarks $(if $(PUBLISHED),--published "$(PUBLISHED)") $(BENCH)

parity: env ## the arithmetic beside other people's, and with PUBLISHED=folder beside the authors' code: docs/parity.md
	@$(RUN) python -W ignore -m benchmarks.parity $(PUBLISHED)

docs: ## the pages as a site in build/site, made in an environment of its own
	@[ -x "$(DOCS)/bin/python" ] || $(PYTHON) -m venv "$(DOCS)"
	@"$(DOCS)/bin/python" -m pip install --disable-pip-version-check -q $$("$(DOCS)/bin/python" -c '$(PACKAGES)')
	@rm -rf build/pages && mkdir -p build/pages
	@git ls-files -zco --exclude-standard '*.md' LICENSE docs metrics | xargs -0 cp --parents -t build/pages
	@NO_MKDOCS_2_WARNING=1 "$(DOCS)/bin/python" -m mkdocs build --strict
	@echo "==> done: build/site/index.html; with search: python -m http.server -d build/site"

# The stamp holds the lock file that was installed and the clone that the `s2igan` command belongs to.
env:
	@if [ ! -x "$(BIN)/python" ]; then \
	  echo "==> making the environment in $(VENV)"; \
	  $(PYTHON) -m venv "$(VENV)" || exit 1; \
	fi; \
	if ! cmp -s requirements.lock "$(VENV)/installed.lock"; then \
	  echo "==> installing the pinned packages of requirements.lock (about 8 GB, a few minutes)"; \
	  "$(BIN)/python" -m pip install --disable-pip-version-check --progress-bar on -q -r requirements.lock || exit 1; \
	  cp requirements.lock "$(VENV)/installed.lock"; \
	fi; \
	if [ "$$(cat "$(VENV)/installed.clone" 2>/dev/null)" != "$(CURDIR)" ]; then \
	  echo "==> installing the s2igan command for $(CURDIR)"; \
	  "$(BIN)/python" -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e . || exit 1; \
	  echo "$(CURDIR)" > "$(VENV)/installed.clone"; \
	fi

clean: ## removes what stages made, not the environment
	rm -rf .checkpoints data/manifest.csv data/drawn data/catalog data/*.h5 models/sen models/rdg models/rdg_sen models/classifier models/judge metrics/report.html
	rm -rf data/.*.partial models/.*.partial metrics/.*.partial metrics/figures/.*.partial
