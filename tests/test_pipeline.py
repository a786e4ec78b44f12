"""The house as a whole: configuration, dependencies of the stages, the DAG itself."""

import ast
import base64
import csv
import importlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import tiny
import yaml
from click.testing import CliRunner
from dag import ROOT, STAGES, composed, environment, outputs, run, sandbox, section
from ruamel.yaml import YAML

from s2igan import experiments, parameters
from s2igan.cli import main
from s2igan.store import RaggedReader

# As DVC reads it: PyYAML takes 1e-05 for a string.
PARAMS = YAML(typ="safe").load(ROOT / "params.yaml")
CHOICES = sorted(f"{file.parent.name}={file.stem}" for file in (ROOT / "conf").glob("*/*.yaml"))
SYSTEMS = tuple(sorted(file.stem for file in (ROOT / "conf/system").glob("*.yaml")))
SPEECH = ("log_mel", "hubert_base", "mhubert_147", "wavlm_base", "whisper_base", "whisper_base_pooled")


def module_file(name: str) -> Path | None:
    path = ROOT / name.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def imported(file: Path) -> set[Path]:
    """Files of this project that a file imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    own = (name for name in names if name.split(".")[0] in ("s2igan", "stages"))
    return {path for name in own if (path := module_file(name))}


def closure(file: Path) -> set[str]:
    seen: set[Path] = set()
    todo = {file}
    while todo:
        current = todo.pop()
        seen.add(current)
        if current.name != "__init__.py":  # empty, which a test below holds, but for s2igan.load, which no stage calls
            todo |= imported(current) - seen
    return {str(path.relative_to(ROOT)) for path in seen if path.name != "__init__.py"}


def test_params_yaml_is_the_composition_of_the_defaults():
    """In the same order, too: a section in another order is another command, which DVC runs again."""
    assert composed() == PARAMS
    assert json.dumps(composed()) == json.dumps(PARAMS)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_has_the_same_keys(choice):
    def keys(config):
        return {(name, key) for name, part in config.items() if isinstance(part, dict) for key in part}

    assert keys(composed(choice)) == keys(PARAMS)


def test_no_value_is_null_and_no_group_repeats_a_key():
    """But for rdg.mismatched, which scale=table switches on whatever the system, and what a data set may set.

    And a frozen speech encoder's frames take other convolutions, whatever the scale; `whisper_base_pooled` is a recipe.
    """
    limits = "classes test_classes val_classes images_per_class captions_per_image unusable fit raw".split()
    allowed = {
        ("rdg", "mismatched"), ("robustness", "captions"), ("sen", "kernel"), ("sen", "stride"), ("prepare", "raw"),
        ("tts", "rate"), *(("catalog", name) for name in limits),
    }  # fmt: skip
    files = [*(ROOT / "conf").glob("*/*.yaml"), ROOT / "conf/config.yaml"]
    keys = {}
    for file in files:
        part = {k: v for k, v in yaml.safe_load(file.read_text()).items() if isinstance(v, dict)}
        names = {(name, key) for name, values in part.items() for key in values}
        assert None not in [value for values in part.values() for value in values.values()], file
        if file.stem == "whisper_base_pooled":
            continue
        group = file.parent.name
        for other, others in keys.items():
            repeated = names & others - allowed
            assert other == group or not repeated, f"{file} repeats {repeated} of {other}"
        keys[group] = keys.get(group, set()) | names


@pytest.mark.parametrize("stage", STAGES)
def test_stage_is_a_file_with_the_options_of_its_section(stage):
    assert STAGES[stage]["cmd"].startswith(f"exec python -m stages.{stage} ")
    command = importlib.import_module(f"stages.{stage}").main
    options = {option.name: option for option in command.params}
    assert set(options) == set(PARAMS[section(stage)])
    for name, option in options.items():
        assert f"--{name}" in option.opts
        value = PARAMS[section(stage)][name]
        option.type_cast_value(None, value)  # the default is in range
        assert option.is_flag == isinstance(value, bool)
        assert option.multiple == isinstance(value, list)


def test_every_section_belongs_to_a_stage_and_every_stage_to_a_file():
    assert {section(stage) for stage in STAGES} | {"seed", "system"} == set(PARAMS)
    assert {p.stem for p in (ROOT / "stages").glob("*.py")} - {"__init__"} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_the_import_closure_lies_within_the_dependencies_and_none_of_them_is_idle(stage):
    reached = closure(ROOT / "stages" / f"{stage}.py")
    if stage == "prepare":  # which finds its converters by name
        reached |= set().union(*(closure(file) for file in (ROOT / "s2igan/datasets").glob("*.py")))
    covered = {dep: {file for file in reached if Path(file).is_relative_to(dep)} for dep in STAGES[stage]["deps"]}
    assert set().union(*covered.values()) == reached
    assert not [dep for dep, files in covered.items() if dep.startswith(("s2igan", "stages")) and not files]


@pytest.mark.parametrize("stage", STAGES)
def test_no_dependency_lies_inside_another_stage_s_output(stage):
    """In an experiment whose output comes from the run cache, DVC does not find a part of it."""
    written = [out for other in STAGES for out in outputs(other)]
    assert not [dep for dep in STAGES[stage]["deps"] for out in written if Path(out) in Path(dep).parents]


def test_package_files_are_empty():
    """But for that of the package itself, which imports nothing before it is asked (tests/test_api.py)."""
    for folder in ("s2igan", "stages"):
        for file in (ROOT / folder).rglob("__init__.py"):
            assert not file.read_text() or file == ROOT / "s2igan/__init__.py", file


def test_folders_import_downwards_only():
    folders = ["datasets", "speech", "vision", "sen", "rdg", "metrics"]
    for level, folder in enumerate(folders):
        for file in (ROOT / "s2igan" / folder).glob("*.py"):
            for path in imported(file):
                parts = path.relative_to(ROOT).parts
                assert parts[0] == "s2igan", f"{file} imports {path}"
                if len(parts) > 2 and parts[1] in folders:
                    assert folders.index(parts[1]) <= level, f"{file} imports upwards: {path}"


@pytest.mark.parametrize("behind", ["", "outs:", "deps:", "  - path: models/sen\n", "\n      md5", "figures:"])
def test_make_repro_knows_a_dvc_lock_that_was_cut(behind, tmp_path, monkeypatch):
    """As DVC leaves it when it is killed while it writes; DVC's own words for it are many and name no way on."""
    check = re.search("^LOCK := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    whole = (ROOT / "dvc.lock").read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(whole)
    exec(check)
    (tmp_path / "dvc.lock").write_text(whole[: whole.index(behind) + len(behind)])
    with pytest.raises((yaml.YAMLError, KeyError, TypeError)):
        exec(check)


@pytest.mark.parametrize(("left", "stays"), [("", False), ('{"data/x": {"wri', False), ('{"data/x": {}}', True)])
def test_make_repro_takes_away_an_rwlock_that_was_cut(left, stays, tmp_path):
    """DVC says "JSON structure is corrupted", and would say so for ever."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text().replace("repro: env", "repro:"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    (tmp_path / "bin/dvc").write_text("#!/bin/sh\necho dvc $1 runs\n")
    (tmp_path / "bin/dvc").chmod(0o755)
    lock = tmp_path / ".dvc/tmp/rwlock"
    lock.parent.mkdir(parents=True)
    lock.write_text(left)
    said = run(tmp_path, "make", "repro", f"VENV={tmp_path}")
    assert ("rwlock is cut" not in said.stdout, lock.exists()) == (stays, stays)
    assert "dvc repro runs" in said.stdout


# The DAG itself, at scale=smoke in a temporary copy.


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Path:
    """A sandbox in which the whole DAG has run once."""
    folder = sandbox(tmp_path_factory.mktemp("smoke"), "scale=smoke")
    result = run(folder, "dvc", "repro")
    folder.with_suffix(".log").write_text(result.stdout + result.stderr)
    return folder


def test_a_log_has_no_bars_and_no_warnings(smoke):
    """Of a run whose output is no terminal; what is left is lines that say something."""
    log = smoke.with_suffix(".log").read_text()
    assert not re.findall(r".*(?:%\||[Ww]arning|Mixed Precision|no-op).*", log)
    for name, steps in (("sen", 8), ("rdg", 9)):
        assert re.findall(rf"^{name}: (\d+)% (\d+)/{steps} ", log, re.MULTILINE)[-1] == ("100", str(steps))


def test_the_table_of_experiments_has_the_last_row_of_the_curves(smoke):
    """Which `dvc exp show` reads while a stage trains."""
    shown = json.loads(run(smoke, "dvc", "metrics", "show", "--json").stdout)[""]["data"]
    for name, items in (("sen", {"epoch": 2}), ("rdg", {"step": 9, "images": 72})):
        row = shown[f"metrics/{name}_training.json"]["data"]
        with open(smoke / f"metrics/{name}_training.tsv", newline="") as file:
            *_, last = csv.DictReader(file, delimiter="\t")
        assert items.items() <= row.items() and row == {k: float(x) for k, x in last.items() if x != "nan"}


def test_the_dag_leaves_every_score(smoke):
    expected = {
        "sen": "speech_to_image_map image_to_speech_map speech_to_image_map_chance image_to_speech_map_chance "
        "speech_to_image_r1 speech_to_image_r5 speech_to_image_r10 median_rank",
        "eval": "is_mean is_std fd_efficientnet_lite0 is_mean_untrained fd_efficientnet_lite0_untrained "
        "fd_efficientnet_lite0_shuffled fd_efficientnet_lite0_oracle fd_efficientnet_lite0_real fd_classifier "
        "precision recall map_oracle map_real is_mean_oracle is_mean_real map_shuffled map "
        "map_chance map_same_images map_same_images_chance",
        "attributes": "judge_accuracy part_colour_accuracy colour_chance keyword_changed keyword_kept",
    }
    for file, names in expected.items():
        scores = json.loads((smoke / f"metrics/{file}.json").read_text())
        assert all(isinstance(scores[name], int | float) for name in names.split())
        assert scores["protocol"] and all(isinstance(clause, str) for clause in scores["protocol"])
        assert all(len(value) < 24 for value in scores.values() if isinstance(value, str))  # columns of DVC's tables
    for figure in ("dataset", "samples", "generated", "keyword", "sen_curves", "rdg_curves", "rdg_training"):
        assert (smoke / f"metrics/figures/{figure}.png").stat().st_size > 1000


def test_the_report_shows_the_run_and_asks_nobody(smoke):
    """Scores in their cells, every image and sound within the page, sound as it was heard, no section empty."""
    page = (smoke / "metrics/report.html").read_text()
    assert len(page) < 5e6 and not re.search(
        r"https?:|//[a-z]|<script|<link|@import|url\((?!#)", re.sub(r'"data:[^"]*"', "", page)
    )
    assert not [
        source for source in re.findall(r'(?:src|href)="([^"]*)"', page) if not source.startswith(("data:", "#"))
    ]
    scores = {name: json.loads((smoke / f"metrics/{name}.json").read_text()) for name in ("sen", "eval", "attributes")}
    rows = dict(re.findall(r'<tr id="(\w+)">(.*?)</tr>', page, re.DOTALL))
    for file, key, column, name in (
        ("eval", "map", "score", "map"),
        ("eval", "map", "shuffled", "map_shuffled"),
        ("eval", "map", "real", "map_real"),
        ("eval", "fd_efficientnet_lite0", "untrained", "fd_efficientnet_lite0_untrained"),
        ("sen", "speech_to_image_map", "chance", "speech_to_image_map_chance"),
        ("sen", "speech_to_image_map", "oracle", "speech_to_image_map_oracle"),
        ("attributes", "part_colour_accuracy", "real", "judge_accuracy"),
        ("attributes", "keyword_changed", "chance", "keyword_changed_before"),
    ):  # fmt: skip
        (text,) = re.findall(rf'data-column="{column}"[^>]*>([^<]*)<', rows[key])
        assert float(text) == pytest.approx(scores[file][name], abs=0.0006, rel=0.006), (key, column)
    with RaggedReader(smoke / "data/speech.h5", "speech") as speech:
        stored = {speech.value(row).tobytes() for row in range(len(speech))}
    heard = [base64.b64decode(text) for text in re.findall(r'src="data:audio/flac;base64,([^"]*)"', page)]
    assert len(heard) == 2 and set(heard) <= stored
    headings = re.findall(r'<h2 id="(\w+)">', page)
    assert headings == [*"run scores samples keyword extremes parts robustness curves figures made".split()]
    # Nothing that changes from one day or machine to the next.
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b|/tmp/|/home/", page) and str(smoke) not in page


@pytest.fixture(scope="module")
def nearly_full(smoke, tmp_path_factory):
    """What the run made, on a disk of its own, which a test fills."""
    with tiny.disk(tmp_path_factory.mktemp("disk"), "64m") as disk:
        for name in ("data", "models", "metrics"):
            shutil.copytree(smoke / name, disk / name)
        yield disk


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_on_a_full_disk_ends_in_one_line_and_loses_nothing(nearly_full, smoke, monkeypatch, stage):
    """Room for half of what it writes, or for nothing where that is little; once there is room, the same bytes."""

    def found():
        """What there is but for the stage's own metrics and plots, which DVC removes before it runs."""
        files = (path for path in Path().rglob("*") if path.is_file() and path.name != "filler")
        return {str(path): path.read_bytes() for path in files if not str(path).startswith((*own, ".checkpoints"))}

    def call():
        return CliRunner().invoke(importlib.import_module(f"stages.{stage}").main, arguments)

    monkeypatch.chdir(nearly_full)
    arguments = list(parameters.arguments(composed("scale=smoke")[section(stage)]))
    written = outputs(stage)
    own = tuple(item for item in written if item.startswith("metrics/"))
    files = [path for item in written for path in (Path(item), *Path(item).rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    for item in written:
        shutil.rmtree(item) if Path(item).is_dir() else Path(item).unlink()
    before, free = found(), shutil.disk_usage(".").free
    with open("filler", "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, free - (size // 2 if size > 1e5 else 0))
    full = call()
    assert full.exit_code == 1, full.output
    (line,) = [line for line in full.stderr.splitlines() if "%" not in line and line]
    assert line.startswith("error: ") and line.endswith("; free some space and run the same command again")
    after = found()  # what was there, and of the new what was written whole
    assert after == before | {name: (smoke / name).read_bytes() for name in after.keys() - before.keys()}
    Path("filler").unlink()
    assert call().exit_code == 0
    assert found() == before | {str(path): (smoke / path).read_bytes() for path in files if str(path) not in own}


def test_a_second_run_repeats_nothing(smoke):
    assert "Running stage" not in run(smoke, "dvc", "repro").stdout
    assert "up to date" in run(smoke, "dvc", "status").stdout


def test_a_raw_folder_is_its_data_and_not_its_readme(smoke):
    readme, picture = smoke / "data/raw/aviary/README.md", smoke / "data/raw/aviary/one.jpg"
    text = readme.read_text()
    readme.write_text(text + "\nAn edit.\n")
    assert "up to date" in run(smoke, "dvc", "status").stdout
    readme.write_text(text)
    picture.touch()
    assert "data/raw/aviary" in run(smoke, "dvc", "status", "prepare").stdout
    picture.unlink()


def s2igan(*words: str) -> str:
    """What the command prints, run in this process."""
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_trace_follows_one_caption(smoke, monkeypatch):
    monkeypatch.chdir(smoke)
    key = (smoke / "data/catalog/captions.csv").read_text().splitlines()[-1].split(",")[0]
    shown = [line.split()[0] for line in s2igan("trace", key, "--wav", "one.wav", "--png", "one.png").splitlines()]
    assert [s for s in shown if s in ("catalog", "image", "speech", "log-mel", "embedding", "generated")] == [
        "catalog", "image", "speech", "log-mel", "image", "embedding", "generated"
    ]  # fmt: skip
    assert (smoke / "one.wav").read_bytes()[:4] == b"RIFF" and (smoke / "one.png").exists()


def test_speak_draws_a_sentence_and_its_recording_alike(smoke, monkeypatch):
    monkeypatch.chdir(smoke)
    s2igan("speak", "this bird has a red crown and a white belly", "-o", "a.png", "--save-wav", "a.wav")
    s2igan("speak", "--wav", "a.wav", "-o", "b.png")
    assert (smoke / "a.png").read_bytes() == (smoke / "b.png").read_bytes()


def test_a_changed_parameter_runs_only_what_depends_on_it(smoke):
    text = (smoke / "params.yaml").read_text()
    (smoke / "params.yaml").write_text(text.replace("is_splits: 10", "is_splits: 5"))
    result = run(smoke, "dvc", "status")
    (smoke / "params.yaml").write_text(text)
    changed = {line.rstrip(":") for line in result.stdout.splitlines() if line and not line.startswith((" ", "\t"))}
    assert changed == {"evaluate", "report"}


def test_the_table_runs_on_the_queue_and_repeats_nothing(smoke, monkeypatch):
    """Two systems of one SEN, one of which has run already; a second call runs nothing at all."""
    command = "table1 --scale smoke --seed 0 --samples 2 --system s2igan --system no_relation".split()
    monkeypatch.chdir(smoke)
    monkeypatch.setattr(experiments, "POLL_SECONDS", 0.3)
    for name, value in environment(smoke).items():
        monkeypatch.setenv(name, value)
    s2igan(*command)
    with open(smoke / "metrics/table1.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "map"]
    assert [(row["system"], row["seed"]) for row in rows] == [("s2igan", "0"), ("no_relation", "0")]
    page = (smoke / "docs/results.md").read_text()
    logs = [run(smoke, "dvc", "queue", "logs", f"smoke-{row['system']}-0").stdout for row in rows]
    ran = [re.findall(r"^Running stage '(\w+)'", log, re.MULTILINE) for log in logs]
    assert ran == [[], ["train_rdg", "generate", "keyword", "evaluate"]]
    assert (smoke / "metrics/figures/table1.png").stat().st_size > 1000
    made = sorted((smoke / ".git/refs/exps").rglob("smoke-*"))
    assert [path.name for path in made] == ["smoke-no_relation-0", "smoke-s2igan-0"]
    s2igan(*command)
    assert (smoke / "docs/results.md").read_text() == page
    assert sorted((smoke / ".git/refs/exps").rglob("smoke-*")) == made


def test_running_the_dag_twice_gives_the_same_bytes(smoke, tmp_path, monkeypatch):
    """By DVC in a process for each stage, and here in one process for all, with two for the data."""
    monkeypatch.setenv("S2IGAN_WORKERS", "2")
    sandbox(tmp_path, "scale=smoke")
    stages = "import dag; config = dag.composed('scale=smoke'); [dag.run_stage(s, config) for s in dag.ordered()]"
    run(tmp_path, sys.executable, "-c", f"import sys; sys.path.insert(0, 'tests'); {stages}")
    for out in (out for stage in STAGES for out in outputs(stage)):
        files = [smoke / out, *(smoke / out).rglob("*")]
        for name in (file.relative_to(smoke) for file in files if file.is_file()):
            assert (tmp_path / name).read_bytes() == (smoke / name).read_bytes(), name
