"""Experiments as DVC queues, runs and shows them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML  # as DVC reads numbers: PyYAML takes 1e-05 for a string

from s2igan.errors import InputError

POLL_SECONDS = 10.0  # between two looks at the queue, each of which takes some tenths of a second
ASKED = 5  # times, until what a worker answers is whole
START_SECONDS = 60.0  # a worker takes a while until it says that it is there
PARSING = {"bool": "boolean_optional", "list": "append"}  # of .dvc/config: how a section becomes a command's options
QUEUED, RUNNING, FAILED, SUCCESS = "Queued", "Running", "Failed", "Success"


@dataclass(frozen=True)
class Experiment:
    """A finished experiment: its name and commit, what it was run with (sections of params.yaml), its scores."""

    name: str
    rev: str
    params: Mapping
    scores: Mapping[str, float]

    def value(self, key: str):
        """The parameter `section.name`, or one at the top. Raises InputError where there is none."""
        value = self.params
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise InputError(f"{self.name}: no parameter {key}; params.yaml has the names")
            value = value[part]
        return value


def finished(names: Sequence[str] = (), files: Sequence[str] = ()) -> list[Experiment]:
    """The experiments upon the present commit that left scores, of these names where any are given.

    `files` are the metrics/<file>.json that count, all where none is given, and of these only what the experiment
    made itself (`own_outputs`). Raises InputError for a name that is not there, or whose scores are all another run's.
    """
    shown = json.loads(_dvc("exp", "show", "--json"))
    found, foreign = {}, []
    for commit in shown:
        for experiment in commit.get("experiments") or []:
            if (experiment.get("executor") or {}).get("state", "success") != "success":
                continue
            for state in experiment.get("revs") or []:
                data = state.get("data") or {}
                metrics = data.get("metrics") or {}
                metrics = {path: metrics[path] for path in metrics if not files or Path(path).stem in files}
                if not flat_scores(metrics):
                    continue
                params = (data.get("params") or {}).get("params.yaml", {}).get("data", {})
                name = state.get("name") or experiment.get("name") or state["rev"][:7]
                own = own_outputs(yaml.safe_load(_git("show", f"{state['rev']}:dvc.lock"))["stages"], params)
                if scores := flat_scores({path: metrics[path] for path in metrics if path in own}):
                    found[name] = Experiment(name, state["rev"], params, scores)
                else:
                    foreign.append(name)
    if foreign and (not names or set(foreign) & set(names)):
        raise InputError(
            f"{foreign[0]}: its scores are not of its parameters, since it ran only some stages, or another experiment "
            f"changed params.yaml meanwhile; take it away (dvc exp remove {foreign[0]}), or name others to compare"
        )
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError(f"{missing[0]}: no finished experiment of this name upon this commit; see dvc exp show")
    return [found[name] for name in names or found]


def at_revision(name: str) -> Experiment:
    """The run whose files a commit holds, by its branch, tag or hash, or by the name of an experiment.

    Of its scores counts what it made itself (`own_outputs`). Raises InputError where there is no such commit, two
    experiments have the name, or no score is left.
    """
    found = _git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}").split()
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.split() or found
    if len(found) != 1:
        told = f"{len(found)} experiments have this name; give the commit" if found else "no commit, no experiment"
        raise InputError(f"{name}: {told}; see git log and dvc exp list --all-commits")
    rev = found[0]
    params = YAML(typ="safe").load(_git("show", f"{rev}:params.yaml"))
    own = own_outputs(yaml.safe_load(_git("show", f"{rev}:dvc.lock"))["stages"], params)
    paths = sorted(path for path in own if Path(path).match("metrics/*.json"))
    scores = flat_scores({path: {"data": json.loads(_git("show", f"{rev}:{path}"))} for path in paths})
    if not scores:
        raise InputError(f"{name}: its scores are not of its parameters; run dvc repro there and commit what it writes")
    return Experiment(name, rev, params, scores)


def own_outputs(lock: Mapping[str, Mapping], params: Mapping) -> set[str]:
    """What of a dvc.lock (its `stages`) a run with `params` made, by path.

    The stage that wrote it, and each before it, was started with these parameters (`cmd` has those of the start, also
    where params.yaml changed meanwhile) and read what is there now. A stage that an experiment does not run leaves
    the files, and the lines in dvc.lock, of the run before.
    """
    from dvc.parsing.interpolate import to_str

    made = {out["path"]: (stage, out["md5"]) for stage in lock for out in lock[stage].get("outs", ())}

    @cache
    def is_own(stage: str) -> bool:
        (section,) = lock[stage]["params"]["params.yaml"]
        started_so = lock[stage]["cmd"].endswith(f" -m stages.{stage} {to_str(params[section], PARSING)}")
        read = ((made[dep["path"]], dep["md5"]) for dep in lock[stage].get("deps", ()) if dep["path"] in made)
        return started_so and all(md5 == found and is_own(before) for (before, md5), found in read)

    return {path for path, (stage, _) in made.items() if is_own(stage)}


def present_commit() -> str:
    """The commit that new experiments are upon, in short."""
    return _git("rev-parse", "--short", "HEAD").strip()


def code_behind(stage: str) -> list[str]:
    """What `stage`, and each that it needs, reads and no stage writes, but for params.yaml: their code."""
    from dvc.repo import Repo

    with Repo() as repo:
        stages = repo.stage.collect(stage, with_deps=True)
        read = {dep.def_path for each in stages for dep in each.deps}
        made = {out.def_path for each in stages for out in each.outs}
        return sorted(read - made - {"params.yaml"})


def choices_behind(*groups: str) -> list[str]:
    """The files that parameters are composed from where only a choice of `groups` is made: those, and the defaults."""
    config = Path("conf/config.yaml")
    named = [entry for entry in YAML(typ="safe").load(config)["defaults"] if isinstance(entry, dict)]
    files = [f"conf/{group}/{name}.yaml" for entry in named for group, name in entry.items() if group not in groups]
    return [str(config), *files, *(f"conf/{group}" for group in groups)]


def same_since(commit: str, *paths: str) -> bool:
    """Whether this clone has the commit, and nothing under `paths` changed after it."""
    command = ["git", "diff", "--quiet", "--end-of-options", commit, "HEAD", "--", *paths]
    return subprocess.run(command, capture_output=True).returncode == 0


def uncommitted(*paths: str) -> list[str]:
    """The files under `paths` that are not as the present commit has them."""
    return [line[3:] for line in _git("status", "--porcelain", "--", *paths).splitlines()]


def flat_scores(files: Mapping[str, Mapping]) -> dict[str, float]:
    """Numbers at the top of metrics/*.json by name; a name that several files have is `<file>.<name>`.

    The last rows of curves, `<stage>_training.json`, are no scores.
    """
    tables = {Path(path).stem: content.get("data") or {} for path, content in files.items()}
    tables = {file: table for file, table in tables.items() if not file.endswith("_training")}
    count = Counter(name for table in tables.values() for name in table)
    return {
        (name if count[name] == 1 else f"{file}.{name}"): float(value)
        for file, table in tables.items()
        for name, value in table.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def run_all(wanted: Mapping[str, Sequence[str]], target: str, jobs: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Runs what is not there yet of the experiments `wanted`, name -> overrides, on DVC's queue, `jobs` at a time.

    Each runs stage `target` and what that needs. Yields how many are done and which ones run, every few seconds,
    until all are. The first runs alone, so that what it shares with the others is there when they begin. Give the
    same call again after a stop: what is done stays, a training that was cut goes on from its checkpoint. The
    workers outlive this process; `dvc queue stop --kill` ends them. Raises InputError with the command that shows
    why where an experiment failed.
    """
    share = str(max(1, (os.cpu_count() or 1) // jobs))
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", share)} if jobs > 1 else {}
    status, active = queue_status()
    elsewhere = upon_another_commit()
    done = {experiment.name for experiment in finished()}
    for name, overrides in wanted.items():
        stale = status.get(name) == FAILED or name in elsewhere or (status.get(name) == RUNNING and not active)
        if stale or (status.get(name) == SUCCESS and name not in done):  # of another commit
            _drop(name)
        if name not in done and (stale or status.get(name) not in (QUEUED, RUNNING)):
            settings = [word for override in overrides for word in ("-S", override)]
            _dvc("exp", "run", "--queue", "--name", name, *settings, target)
    todo = [name for name in wanted if name not in done]
    started = float("-inf")
    while todo:
        status, active = queue_status()
        failed = [name for name in todo if status.get(name) == FAILED]
        if failed:
            raise InputError(f"{failed[0]}: the experiment failed; see why with: dvc queue logs {failed[0]}")
        left = [name for name in todo if status.get(name) != SUCCESS]
        running = [name for name in left if status.get(name) == RUNNING]
        yield len(wanted) - len(left), running
        if not left:
            return
        workers = 1 if len(left) == len(wanted) else jobs
        if active < workers and len(running) < len(left) and time.monotonic() - started >= START_SECONDS:
            _dvc("queue", "start", "-j", str(workers), **threads)
            started = time.monotonic()
        time.sleep(POLL_SECONDS)
    yield len(wanted), []


def _drop(name: str) -> None:
    """Takes a task off the queue, whatever became of it; a worker that died leaves it running for ever."""
    for words in (("kill", "--force", name), ("remove", name)):
        with suppress(InputError):  # it does not run, or is gone
            _dvc("queue", *words)


def queue_status() -> tuple[dict[str, str], int]:
    """The state of each named task, the latest of a name, and how many workers are at work."""
    from dvc.repo import Repo

    with Repo() as repo:
        queue = repo.experiments.celery_queue
        status: dict[str, str] = {}
        for task in queue.status():
            status.setdefault(task["name"], task["status"])
        return status, sum(bool(tasks) for tasks in _at_work(queue).values())


def upon_another_commit() -> set[str]:
    """Names of the tasks that wait or run upon another commit than the present one, as a stopped call left them."""
    from dvc.repo import Repo

    with Repo() as repo:
        queue, present = repo.experiments.celery_queue, repo.scm.get_rev()
        return {task.name for task in (*queue.iter_queued(), *queue.iter_active()) if task.baseline_rev != present}


def _at_work(queue: Any) -> dict[str, list[dict]]:
    """What each worker is doing. Their answers are files that can be read before they are written: then asks again."""
    for _ in range(ASKED - 1):
        with suppress(json.JSONDecodeError):
            return queue.worker_status()
    return queue.worker_status()


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise InputError(f"git {words[0]}: {lines[0]}; give the command in a clone of the project")
    return done.stdout


def _dvc(*words: str, **variables: str) -> str:
    programs = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"} | variables
    # An experiment runs in a copy that is thrown away; its checkpoints shall outlive it.
    environment.setdefault("S2IGAN_CHECKPOINTS", str(Path(".checkpoints").resolve()))
    # Files and no pipes: the workers that `dvc queue start` leaves behind would hold a pipe open to their end.
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as told:
        code = subprocess.run([str(programs / "dvc"), *words], stdout=said, stderr=told, env=environment).returncode
        said.seek(0)
        told.seek(0)
        output, errors = said.read(), told.read()
    if code:
        lines = (errors or output).strip().splitlines() or ["no message"]
        if not Path("dvc.yaml").is_file():
            raise InputError("dvc.yaml: not in this folder; give the command in a clone of the project")
        raise InputError(f"dvc {' '.join(words)}: {lines[-1]}")
    return output
