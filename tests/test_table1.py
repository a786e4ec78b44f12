"""The table of all systems: names and overrides, cells by hand, what DVC prints as it is read."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from dag import ROOT, cells
from dvc.repo import Repo
from test_pipeline import SYSTEMS

from s2igan import experiments
from s2igan.cli import main
from s2igan.errors import InputError
from s2igan.experiments import Experiment, flat_scores
from s2igan.metrics.comparison import Difference, Run, Summary
from s2igan.table1 import (
    PUBLISHED,
    as_runs,
    comparison,
    comparison_lines,
    read_scores,
    shown,
    shown_difference,
    wanted,
    write_scores,
)
from s2igan.table1 import SYSTEMS as ROWS


def test_every_system_has_a_row_and_published_figures_belong_to_one():
    assert set(ROWS) == set(SYSTEMS) and set(PUBLISHED) < set(ROWS)


@pytest.mark.parametrize("torn", [0, 1, 4, 5])
def test_an_answer_that_was_read_before_it_was_written_is_asked_for_again(monkeypatch, torn):
    answers = [""] * torn + ['{"a": [{"id": "1"}], "b": []}'] * (6 - torn)
    queue = SimpleNamespace(
        status=lambda: [{"name": "x", "status": "Running"}, {"name": "x", "status": "Failed"}],
        worker_status=lambda: json.loads(answers.pop(0)),
    )
    repo = SimpleNamespace(experiments=SimpleNamespace(celery_queue=queue))
    monkeypatch.setattr("dvc.repo.Repo", lambda: nullcontext(repo))
    if torn < 5:
        assert experiments.queue_status() == ({"x": "Running"}, 1)
    else:
        with pytest.raises(json.JSONDecodeError):
            experiments.queue_status()
    assert len(answers) == 6 - min(torn + 1, 5)


def test_all_systems_of_one_seed_come_before_the_next():
    found = wanted(["s2igan", "no_dense"], [0, 5], "smoke")
    assert list(found) == ["smoke-s2igan-0", "smoke-no_dense-0", "smoke-s2igan-5", "smoke-no_dense-5"]
    assert found["smoke-no_dense-5"] == ["scale=smoke", "system=no_dense", "seed=5"]


def test_a_task_that_waits_upon_another_commit_is_queued_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "b")

    def commit(line: str) -> None:
        Path("code.py").write_text(line)
        subprocess.run(["git", "add", "."], check=True)
        subprocess.run(["git", "commit", "-qm", line], check=True)

    subprocess.run(["git", "init", "-q"], check=True)
    Repo.init().close()
    Path("dvc.yaml").write_text(json.dumps({"stages": {"one": {"cmd": "true", "deps": ["code.py"]}}}))
    commit("1")
    experiments._dvc("exp", "run", "--queue", "--name", "x", "one")
    assert experiments.upon_another_commit() == set()
    commit("2")
    assert experiments.upon_another_commit() == {"x"}
    said: list[tuple[str, ...]] = []
    monkeypatch.setattr(experiments, "_dvc", lambda *words: said.append(words) or "[]")
    monkeypatch.setattr(experiments, "queue_status", lambda: ({"x": "Queued"}, 0))
    assert next(experiments.run_all({"x": []}, "one")) == (0, [])
    assert said[-3:] == [
        ("queue", "kill", "--force", "x"),
        ("queue", "remove", "x"),
        ("exp", "run", "--queue", "--name", "x", "one"),
    ]


@pytest.mark.parametrize("mean, deviation, p, text, apart", [
    (0.07119, 0.00234, None, "0.0712 ± 0.0023", "–"),
    (1035.4, 12.2, 0.0312, "1035 ± 12 *", "+5 [-1, +11], d 2.5, p 0.031"),
    (5.2, math.nan, math.nan, "5.20", "+5.00"),
    (0.0, 0.0, 0.5, "0.00 ± 0.00", "+5.00 [-1.00, +11.00], d 2.5, p 0.5"),
])  # fmt: skip
def test_cells(mean, deviation, p, text, apart):
    summary = Summary("a", "map", 3, mean, deviation, None if p is None else Difference(5, -1, 11, 2.5, p), p)
    assert (shown(summary), shown_difference(summary)) == (text, apart)


def test_the_table_by_hand():
    runs = [Run("s2igan", seed, {"map": value}) for seed, value in enumerate((0.1, 0.2))]
    runs += [Run("mine", seed, {"map": value, "fid": 9.0}) for seed, value in enumerate((0.3, 0.4))]
    lines = comparison_lines(runs, {"map": True, "fid": False, "absent": None}, {"s2igan": "S2IGAN"}, "mine")
    assert cells(lines[0]) == ["", "seeds", "`map` ↑", "`fid` ↓"]
    assert cells(lines[2]) == ["S2IGAN", "2", "0.150 ± 0.071", "–"]  # no star, though both differ by 0.2
    assert cells(lines[3]) == ["mine", "2", "0.350 ± 0.071", "9.00 ± 0.00"]


def test_scores_go_by_their_names(tmp_path):
    files = {
        "metrics/eval.json": {"data": {"map": 0.5, "classes": 4, "protocol": ["words"], "parts": {"a": 1}}},
        "metrics/sen.json": {"data": {"speech_to_image_map": 1, "classes": 5}},
        "metrics/robustness.json": {"error": "missing"},
        "metrics/rdg_training.json": {"data": {"step": 9, "map": 0.1}},
    }
    scores = flat_scores(files)
    assert scores == {"map": 0.5, "eval.classes": 4, "speech_to_image_map": 1.0, "sen.classes": 5}
    experiment = Experiment("x", "abc", {"system": "no_dense", "seed": 3, "rdg": {"lr": 0.1}}, scores)
    assert experiment.value("rdg.lr") == 0.1
    with pytest.raises(InputError, match="x: no parameter rdg.rate"):
        experiment.value("rdg.rate")
    write_scores(tmp_path / "t.csv", "table", {"0123456": as_runs([experiment])})
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[:2] == ["scale,system,seed,commit,metric,value", "table,no_dense,3,0123456,map,0.5"]
    assert len(lines) == 5
    assert read_scores(tmp_path / "t.csv", "table") == {"0123456": [Run("no_dense", 3, scores)]}
    assert read_scores(tmp_path / "t.csv", "smoke") == read_scores(tmp_path / "none.csv", "table") == {}
    (tmp_path / "t.csv").write_text("\n".join([lines[0], "table,no_dense,3,0123456,map"]))
    with pytest.raises(InputError, match=r"t.csv: a cell is empty; take it away, or give: git checkout "):
        read_scores(tmp_path / "t.csv", "table")
    (tmp_path / "t.csv").write_text("system,seed,metric,value\nno_dense,3,map,0.5\n")
    with pytest.raises(InputError, match=r"t.csv: Usecols do not match columns, .*; take it away, or give: git"):
        read_scores(tmp_path / "t.csv", "table")


@pytest.mark.parametrize("words, told", [
    (("--system", "s2igan", "--system", "stackgan"), "--system: stackgan is unknown; choose of s2igan, reference"),
    (("--system", "no_dense"), "--system: s2igan is what the others are compared with; add it"),
    (("--scale", "huge"), "--scale: no conf/scale/huge.yaml here; name one that is there"),
])  # fmt: skip
def test_what_cannot_be_run_says_so_before_anything_is_queued(words, told, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["table1", *words])
    assert result.exit_code == 1 and told in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_table_is_of_one_commit(folder):
    """What is done counts by name and commit, so that a change that no commit has would mix with what was there."""
    Path("conf/scale").mkdir(parents=True)
    Path("conf/scale/table.yaml").write_text("rdg: 1\n")
    result = CliRunner().invoke(main, ["table1"])  # as a downloaded archive is
    assert result.exit_code == 1 and result.stderr.startswith("error: git status: fatal: not a git repository")
    assert result.stderr.endswith("give the command in a clone of the project\n") and result.stderr.count("\n") == 1
    for words in (("init", "-q"), ("add", "."), ("-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "c")):
        subprocess.run(["git", *words], check=True)
    assert experiments.uncommitted("conf", "stages") == []
    Path("conf/scale/table.yaml").write_text("rdg: 2\n")
    result = CliRunner().invoke(main, ["table1"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: conf/scale/table.yaml: not as the commit has it; commit it")


def test_what_the_table_has_of_the_same_code_is_not_run_again(folder, monkeypatch):
    """Seed 0 is there, of a commit since which a stage's code has changed, and then of one since which none has."""

    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=b", "-c", "core.abbrev=7")
        return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout.strip()

    def commit(path: str, text: str) -> str:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
        git("add", ".")
        git("commit", "-qm", path)
        return git("rev-parse", "--short", "HEAD")

    git("init", "-q")
    Repo.init().close()
    evaluate = {"cmd": "b", "deps": ["data/x", "a.py"], "params": ["seed"], "metrics": ["eval.json"]}
    stages = {"embed": {"cmd": "a", "deps": ["c"], "outs": ["data/x"]}, "evaluate": evaluate}
    stages["report"] = {"cmd": "c", "deps": ["eval.json", "b.py"]}
    commit("dvc.yaml", json.dumps({"stages": stages}))
    assert experiments.code_behind("evaluate") == ["a.py", "c"]
    commit("conf/scale/table.yaml", "rdg: 1")
    commit("conf/config.yaml", "defaults: [_self_, scale: demo, system: mine, tts: espeak]")
    conf = experiments.choices_behind("scale", "system")
    assert conf == ["conf/config.yaml", "conf/tts/espeak.yaml", "conf/scale", "conf/system"]
    old, new = commit("c/rdg.py", "1"), commit("a.py", "2")
    here = commit("b.py", "3")  # of a stage that the table does not need
    assert experiments.same_since(new, *conf, "a.py", "c") and not experiments.same_since(old, *conf, "a.py", "c")
    assert not experiments.same_since("0123456", "conf")
    asked: list[str] = []

    def ran(names, _):
        return [Experiment(n, n, {"system": n[6:-2], "seed": int(n[-1])}, {"map": 0.25}) for n in names]

    monkeypatch.setattr(experiments, "run_all", lambda wanted, *_: asked.extend(wanted) or [(len(wanted), [])])
    monkeypatch.setattr(experiments, "finished", ran)
    monkeypatch.setattr("s2igan.table1.draw_samples", lambda _, found, __: asked.append([e.name for e in found]))
    words = "table1 --seed 0 --seed 1 --system s2igan --system no_dense"
    for before, counts in ((old, {here: 4}), (new, {new: 2, here: 2})):
        write_scores("metrics/table1.csv", "table", {before: [Run(s, 0, {"map": 0.5}) for s in ("s2igan", "no_dense")]})
        asked.clear()
        result = CliRunner().invoke(main, words.split())
        assert result.exit_code == 0, result.output
        names = [
            f"table-{system}-{seed}" for seed in range(2 - counts[here] // 2, 2) for system in ("s2igan", "no_dense")
        ]
        assert asked == [*names, names[:2]]
        found = read_scores("metrics/table1.csv", "table")
        assert {commit: len(runs) for commit, runs in found.items()} == counts
        page = Path("docs/results.md").read_text()
        assert f"`{words.replace('table1', 's2igan table1 --scale table')}` on commit {', '.join(counts)};" in page
    asked.clear()
    result = CliRunner().invoke(main, words.replace("--seed 1 ", "").split())  # runs nothing, forgets nothing
    assert result.exit_code == 0 and asked == [] and read_scores("metrics/table1.csv", "table") == found
    assert f"on commit {new};" in Path("docs/results.md").read_text()


def lock(lr: str = "0.1", seed: str = "0") -> dict:
    """dvc.lock of three stages, as a run with these options leaves it."""
    stages = {
        "train_rdg": ("rdg", f"--lr {lr} --no-mismatched", {}, {"models/rdg": f"m{lr}"}),
        "evaluate": ("eval", f"--seed {seed}", {"models/rdg": f"m{lr}", "stages": "s"}, {"metrics/eval.json": "e"}),
        "robustness": ("robustness", "--snr_db 0 --snr_db 5", {}, {"metrics/robustness.json": "r"}),
    }
    return {
        stage: {
            "cmd": f"exec python -m stages.{stage} {words}",
            "deps": [{"path": path, "md5": md5} for path, md5 in deps.items()],
            "params": {"params.yaml": {section: {}}},
            "outs": [{"path": path, "md5": md5} for path, md5 in outs.items()],
        }
        for stage, (section, words, deps, outs) in stages.items()
    }


EVAL, ROBUSTNESS = "metrics/eval.json", "metrics/robustness.json"


@pytest.mark.parametrize("found, own", [
    (lock(), {EVAL, ROBUSTNESS}),
    # `dvc exp run -S rdg.lr=0.1 train_rdg`, where the commit's run has 0.2: eval.json is of the commit's models.
    (lock(lr="0.2") | {"train_rdg": lock()["train_rdg"]}, {ROBUSTNESS}),
    # The same of the last stage alone.
    (lock(seed="1"), {ROBUSTNESS}),
    # Another experiment, refused as busy, changed params.yaml after train_rdg had begun.
    (lock(lr="0.2"), {ROBUSTNESS}),
])  # fmt: skip
def test_scores_of_another_run_do_not_count(found, own, monkeypatch):
    params = {"rdg": {"lr": 0.1, "mismatched": False}, "eval": {"seed": 0}, "robustness": {"snr_db": [0, 5]}}
    assert experiments.own_outputs(found, params) & {EVAL, ROBUSTNESS} == own
    metrics = {EVAL: {"data": {"map": 0.5}}, ROBUSTNESS: {"data": {"snr0_map": 0.1}}}
    data = {"metrics": metrics, "params": {"params.yaml": {"data": params}}}
    shown = [{"experiments": [{"name": "a", "revs": [{"name": "a", "rev": "1234567", "data": data}]}]}]
    monkeypatch.setattr(experiments, "_dvc", lambda *_: json.dumps(shown))
    monkeypatch.setattr(experiments, "_git", lambda *_: json.dumps({"stages": found}))
    assert set(experiments.finished()[0].scores) == {"snr0_map", *(["map"] if EVAL in own else [])}
    if EVAL in own:
        assert experiments.finished(["a"], ["eval", "sen"])[0].scores == {"map": 0.5}
    else:
        with pytest.raises(InputError, match="a: its scores are not of its parameters, since it ran only some stages"):
            experiments.finished(["a"], ["eval", "sen"])


def test_a_command_that_leaves_a_process_behind_is_not_waited_for(tmp_path, monkeypatch):
    """`dvc queue start` leaves its workers behind, and they keep the output that they were started with."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "dvc").write_text("#!/bin/sh\nsleep 30 &\necho $! $2 started\n")
    (programs / "dvc").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    began = time.monotonic()
    process, *words = experiments._dvc("queue", "start").split()
    assert words == ["start", "started"] and time.monotonic() - began < 15
    os.kill(int(process), signal.SIGTERM)


def test_a_score_that_no_experiment_has_is_named_with_those_that_are_there(monkeypatch):
    run = Experiment("a", "1234567", {"system": "s2igan", "seed": 0}, {"map": 0.5, "is_mean": 2.0})
    monkeypatch.setattr(experiments, "finished", lambda *_: [run])
    result = CliRunner().invoke(main, ["compare", "--score", "map", "--score", "fid"])
    assert result.exit_code == 1 and result.stderr.startswith(
        "error: --score: no experiment has fid, or it is of a stage"
    )
    assert result.stderr.endswith("; they have is_mean, map\n")
    result = CliRunner().invoke(main, ["compare", "--score", "map"])
    assert result.exit_code == 0 and cells(result.stdout.splitlines()[2]) == ["s2igan", "1", "0.500"]


def test_a_comparison_is_there_for_programs(monkeypatch):
    """As valid JSON, which has no NaN."""
    found = [
        Experiment(name, "1234567", {"system": name, "seed": seed}, {"map": value})
        for name, values in (("s2igan", (0.25, 0.75)), ("mine", (0.5,)))
        for seed, value in enumerate(values)
    ]
    monkeypatch.setattr(experiments, "finished", lambda *_: found)
    result = CliRunner().invoke(main, ["compare", "--json"])
    report = json.loads(result.stdout, parse_constant=pytest.fail)
    first = {"group": "s2igan", "metric": "map", "count": 2, "mean": 0.5, "deviation": pytest.approx(0.5**0.5 / 2)}
    second = {"group": "mine", "metric": "map", "count": 1, "mean": 0.5, "deviation": None}
    unknown = dict.fromkeys(("low", "high", "effect", "p", "p_holm"))
    rows = [first | {"difference": None} | unknown, second | {"difference": 0.25} | unknown]
    assert report == {"by": "system", "baseline": "s2igan", "rows": rows}


def test_equal_differences_have_no_effect_size_in_json():
    runs = [Run("s2igan", 0, {"map": 0.25}), Run("s2igan", 1, {"map": 0.75})]
    runs += [Run("mine", 0, {"map": 0.5}), Run("mine", 1, {"map": 1.0})]
    _, mine = comparison(runs, ["map"], "s2igan")
    assert json.loads(json.dumps(mine, allow_nan=False)) == mine
    assert (mine["difference"], mine["low"], mine["effect"], mine["p"], mine["mean"]) == (0.25, 0.25, None, 0.0, 0.75)


def test_outside_a_clone_the_mend_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["compare"])
    assert result.exit_code == 1
    assert result.stderr == "error: dvc.yaml: not in this folder; give the command in a clone of the project\n"
