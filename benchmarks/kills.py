"""`dvc repro` at scale=smoke, killed at random moments, beside a run that nobody disturbed: the same bytes?

    python -m benchmarks.kills                        # 50 kills, half an hour
    python -m benchmarks.kills --kills 5 --seed 1

SIGKILL goes to DVC and its stage together, or, every other time, to DVC alone. Checkpoints come after every step, not
every minute. A run that ends before its kill is compared and begun anew, so that kills come in all stages.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import numpy as np
import yaml

import benchmarks.memory  # noqa: F401  (makes the tests' modules known)


def begin(folder: Path) -> subprocess.Popen:
    """Starts `dvc repro` there, as the leader of a process group of its own."""
    from dag import environment

    with open(folder / "repro.log", "ab") as log:
        return subprocess.Popen(
            ["dvc", "repro"], cwd=folder, env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )


def fresh(folder: Path) -> Path:
    """The project at scale=smoke in a new folder, with a checkpoint after every step."""
    from dag import sandbox

    shutil.rmtree(folder, ignore_errors=True)
    training = sandbox(folder, "scale=smoke") / "s2igan/training.py"
    training.write_text(training.read_text().replace("CHECKPOINT_SECONDS = 60.0", "CHECKPOINT_SECONDS = 0.0"))
    return folder


def finish(folder: Path) -> None:
    """Runs `dvc repro` to its end; ClickException with what it said where that fails."""
    if begin(folder).wait():
        raise click.ClickException((folder / "repro.log").read_text()[-3000:])


def kill(folder: Path, process: subprocess.Popen, alone: bool) -> str:
    """Kills DVC, `alone` or with its stage, and returns what stage it was in.

    A cut dvc.lock is put aside, and so is a cut .dvc/tmp/rwlock, as `make repro` does or says.
    """
    os.kill(process.pid, signal.SIGKILL) if alone else os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    lock, running = folder / "dvc.lock", folder / ".dvc/tmp/rwlock"
    if running.exists() and not is_json(running):
        running.unlink()
    if lock.exists() and is_cut(lock):
        lock.unlink()
        return "dvc.lock"
    begun = [line for line in (folder / "repro.log").read_text().splitlines() if line.startswith("Running stage")]
    return begun[-1].split("'")[1] if begun else "before the first stage"


def is_json(file: Path) -> bool:
    """Whether a kill left the file whole."""
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True


def is_cut(lock: Path) -> bool:
    """Whether a kill left a dvc.lock without something that DVC writes; the Makefile's check says the same to users."""
    try:
        stages = yaml.safe_load(lock.read_text())["stages"].values()
        return not all("md5" in entry for stage in stages for entry in stage["deps"] + stage["outs"])
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):  # cut elsewhere, or empty
        return True


def differing(one: Path, other: Path) -> list[str]:
    """The outputs of the stages, and dvc.lock, whose bytes are not the same; ClickException where there are none."""
    from dag import STAGES, outputs

    made = [one / out for stage in STAGES for out in outputs(stage)]
    files = [file for out in made for file in (out.rglob("*") if out.is_dir() else [out]) if file.is_file()]
    if len(files) < len(made):
        raise click.ClickException(f"{one}: {len(files)} files of {len(made)} outputs")
    names = [str(file.relative_to(one)) for file in [*files, one / "dvc.lock"]]
    return [n for n in names if not (other / n).is_file() or (one / n).read_bytes() != (other / n).read_bytes()]


@click.command()
@click.option("--kills", default=50, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(kills: int, seed: int):
    """Prints where the kills came, and fails where a byte differs."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="s2igan-kills-") as folder:
        started = time.monotonic()
        whole, cut = fresh(Path(folder) / "whole"), fresh(Path(folder) / "cut")
        finish(whole)
        seconds = time.monotonic() - started
        click.echo(f"undisturbed: {seconds:.0f} s")
        places: Counter[str] = Counter()
        different, runs = [], 1
        while places.total() < kills:
            process = begin(cut)
            try:
                process.wait(timeout=rng.uniform(0, seconds / 3))  # long enough for the longest stage
            except subprocess.TimeoutExpired:
                places[kill(cut, process, alone=places.total() % 2 == 1)] += 1
                click.echo(f"\r{places.total()} of {kills}", nl=False, err=True)
                continue
            if process.returncode:
                raise click.ClickException((cut / "repro.log").read_text()[-3000:])
            different += differing(whole, cut)
            runs += 1
            fresh(cut)
        finish(cut)
        different += differing(whole, cut)
    for place, count in places.most_common():
        click.echo(f"{count:4d} kills in {place}")
    if different:
        raise click.ClickException(f"not the same bytes: {', '.join(sorted(set(different)))}")
    click.echo(f"{kills} kills in {runs} runs, seed {seed}: every output has the bytes of the undisturbed run")


if __name__ == "__main__":
    main()
