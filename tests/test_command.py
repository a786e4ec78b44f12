import errno
import io
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from s2igan.command import Stage, progress
from s2igan.errors import InputError

ROOT = Path(__file__).parents[1]


def run(error: BaseException):
    """A stage that ends as it is told."""

    @click.command(cls=Stage)
    def main():
        click.echo("working", err=True)
        raise error

    return CliRunner().invoke(main)


def test_bad_input_ends_in_its_one_line():
    result = run(InputError("data/x.h5: found\n  nothing;\tfix it"))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == ["error: data/x.h5: found nothing; fix it"]


@pytest.mark.parametrize(("error", "line"), [
    (OSError(errno.ENOSPC, "No space left on device", "data/x.h5"),
     "error: data/x.h5: No space left on device; free some space and run the same command again"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"),
     "error: output: Disk quota exceeded; free some space and run the same command again"),
    (PermissionError(errno.EACCES, "", "out.png"), "error: out.png: Permission denied; check the path"),
    (NotADirectoryError(errno.ENOTDIR, "", "a/b.png"), "error: a/b.png: Not a directory; check the path"),
    (OSError("first line\nsecond line"), "error: output: first line second line; check the path"),
    (OSError(), "error: output: an operating system error; check the path"),
])  # fmt: skip
def test_what_the_machine_refuses_ends_in_one_line(error, line):
    result = run(error)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [line]


def test_a_defect_keeps_its_traceback():
    error = KeyError("k")
    result = run(error)
    assert result.exception is error
    assert result.exception.__traceback__ is not None
    assert "error:" not in result.stderr


STAGE = """
import time
import click
from s2igan.command import Stage
from s2igan.store import FixedWriter

@click.command(cls=Stage)
def main():
    with FixedWriter("data/out.h5", "images", (1,), "uint8"):
        print("writing", flush=True)
        time.sleep(60)

main()
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, 'one.py'])"


@pytest.mark.parametrize("killed", ["stage", "dvc alone"])
def test_a_stage_that_is_ended_leaves_nothing_and_one_does_not_outlive_dvc(tmp_path, killed):
    (tmp_path / "one.py").write_text(STAGE)
    process = subprocess.Popen(
        [sys.executable, "one.py"] if killed == "stage" else [sys.executable, "-c", PARENT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "DVC_STAGE": "one", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout.readline() == b"writing\n"
        assert len(list(tmp_path.glob("data/.*.partial"))) == 1
        process.terminate()
        process.stdout.read()  # until the stage, too, has closed it
        assert list(tmp_path.glob("data/*")) == []
    assert process.returncode == (143 if killed == "stage" else -signal.SIGTERM)


def test_what_a_killed_stage_leaves_is_not_for_git_and_is_cleaned_up(tmp_path):
    for name in ("Makefile", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    left = ["data/.speech.h5.7.partial", "models/.rdg.7.partial", "metrics/figures/.samples.png.7.partial"]
    for name in left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    ignored = subprocess.run(["git", "check-ignore", *left], cwd=tmp_path, capture_output=True, text=True)
    assert ignored.stdout.split() == left
    subprocess.run(["make", "-s", "clean"], cwd=tmp_path, check=True)
    assert list(tmp_path.rglob("*.partial")) == []


def test_progress_passes_items_on_and_shows_what_is_left(capsys):
    assert list(progress(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    with progress(None, "rows", 10, initial=4) as bar:
        bar.update(6)
        assert (bar.n, bar.total) == (10, 10)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "letters" in shown.err and "3/3" in shown.err and "10/10" in shown.err


class Terminal(io.StringIO):
    def __init__(self, interactive):
        super().__init__()
        self.isatty = lambda: interactive


def durations(steps, begin):
    """Seconds of steps as a training has them: a slow first one, some that are dearer, checkpoints, noise."""
    rng, since = np.random.default_rng(0), 0.0
    for number in range(begin, steps):
        seconds = rng.gamma(20, 0.17 / 20)
        seconds += 0.2 * (number % 16 == 0) + 0.15 * (number % 32 == 0) + 0.3 * (number % 72 == 71)
        seconds += 12 * (number == begin)
        since += seconds
        if since >= 60:
            seconds, since = seconds + 0.8, 0.0
        yield seconds


@pytest.mark.parametrize("begin", [0, 2100])
@pytest.mark.parametrize("interactive", [True, False])
def test_after_a_minute_the_time_left_is_right_within_a_fifth(monkeypatch, interactive, begin):
    now, steps = 1000.0, 4350
    monkeypatch.setattr("s2igan.command.monotonic", lambda: now)
    monkeypatch.setattr(sys, "stderr", Terminal(interactive))
    takes = list(durations(steps, begin))
    ratios = []
    with progress(None, "rdg", steps, begin) as bar:
        for done, seconds in enumerate(takes, 1):
            now += seconds
            bar.update()
            left = sum(takes[done:])
            if now >= 1060 and left > 20:
                minutes, rest = re.search(r"<(\d+):(\d+)", str(bar)).groups()
                ratios.append((60 * int(minutes) + int(rest)) / left)
    assert len(ratios) > 1000
    assert 0.8 < min(ratios) and max(ratios) < 1.2


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    """No bar, no carriage returns: a line for each tenth, not many in a short time, and one every ten minutes."""
    now, log = 0.0, Terminal(False)
    monkeypatch.setattr("s2igan.command.monotonic", lambda: now)
    monkeypatch.setattr(sys, "stderr", log)

    def lines(items, seconds):
        nonlocal now
        log.truncate(log.seek(0))
        with progress(None, "rdg", items) as bar:
            for number in range(items):
                now += seconds
                bar.set_postfix({"loss": number})
                bar.update()
        assert "\r" not in log.getvalue()
        return log.getvalue().splitlines()

    assert [line.split()[1] for line in lines(200, 3)] == [f"{share}%" for share in range(10, 101, 10)]
    assert lines(256, 1 / 128) == ["rdg: 100% 256/256 [00:02<00:00, 128.00it/s, loss=255]"]
    assert [line.split()[1] for line in lines(256, 1 / 16)] == ["62%", "100%"]
    assert len(lines(20, 1200)) == 20 and lines(20, 1200)[0] == "rdg: 5% 1/20 [20:00<6:20:00, 1200.00s/it, loss=0]"
    assert lines(0, 1) == []
