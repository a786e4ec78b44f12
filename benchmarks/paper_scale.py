"""The whole pipeline at scale=paper's real sizes on a miniature of CUB: `python -m benchmarks.paper_scale`.

256-pixel images, the paper's networks, recipe and encoders; 18 images, seen once or twice, small batches. Inception's
weights, of both kinds, are random ones that this program writes, so nothing is downloaded and no score means
anything. It runs `dvc exp run -S dataset=cub -S scale=paper` in a temporary copy of the repository, and prints what
each stage took: seconds, and the peak of the memory of it and its workers, as `benchmarks.memory` does.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import click

from benchmarks.memory import family, proportional_bytes  # which also makes the tests' modules known

INTERVAL = 1.0  # seconds between two looks, each of which costs some hundredths of one
SCORES = ("fid", "fjd", "kid", "is_mean", "map", "map_same_images")


def overrides(inception: Path, fid_inception: Path, batch: int) -> list[str]:
    """All that is not the paper's: files of weights, a short training, and less to draw and to disturb."""
    return [
        *(f"{section}.weights={inception}" for section in ("image_features", "classifier", "eval")),
        f"eval.fid_weights={fid_inception}",
        *("sen.captions=100", "rdg.images=18", "classifier.images=18"),
        f"rdg.batch_size={batch}",
        "catalog.val_classes=1",
        "generate.captions_per_image=1",
        "robustness.captions=8",
    ]


def stage_of(pid: int) -> str:
    """The stage that a process runs, empty where it is none."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it has just ended
        return ""
    module = words[2] if words[1:2] == ["-m"] and len(words) > 2 else ""
    return module.removeprefix("stages.") if module.startswith("stages.") else ""


def costs_of(command: list[str], folder: Path, environment: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Runs a command to its end: for each stage that ran below it, seconds and GiB at the peak, in their order."""
    seen: dict[str, tuple[float, float, int]] = {}  # first and last time, bytes
    log = folder / "dvc.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for pid in family(process.pid):
                if stage := stage_of(pid):
                    now = time.monotonic()
                    first, _, highest = seen.get(stage, (now, now, 0))
                    seen[stage] = first, now, max(highest, sum(map(proportional_bytes, family(pid))))
            time.sleep(INTERVAL)
    if process.returncode:
        told = log.read_text(errors="replace")[-3000:]
        raise SystemExit(f"{told}\n{' '.join(command)}: exit code {process.returncode}")
    return {stage: (last - first, peak / 2**30) for stage, (first, last, peak) in seen.items()}


@click.command()
@click.option("--batch", type=click.IntRange(2, 9), default=4, show_default=True, help="images a step of RDG")
@click.option("--folder", type=click.Path(path_type=Path), help="where to work (default: a temporary folder)")
def main(batch, folder):
    """Prints seconds and peak memory of each stage."""
    from dag import environment, sandbox
    from miniatures import write_cub
    from weights import write_fid_inception, write_inception

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        work = sandbox(Path(temporary) / "s2igan")
        write_cub(work / "data/raw/cub")
        inception = write_inception(Path(temporary) / "inception.pth")
        fid_inception = write_fid_inception(Path(temporary) / "fid_inception.pth")
        changed = overrides(inception, fid_inception, batch)
        words = [word for override in ("dataset=cub", "scale=paper", *changed) for word in ("-S", override)]
        threads = os.environ.get("OMP_NUM_THREADS", "2")
        click.echo(f"{os.cpu_count()} cores, {threads} threads, batches of {batch}")
        start = time.monotonic()
        costs = costs_of(["dvc", "exp", "run", *words], work, environment(work) | {"OMP_NUM_THREADS": threads})
        for stage, (seconds, gigabytes) in costs.items():
            click.echo(f"{stage:16s} {seconds:7.0f} s  {gigabytes:6.2f} GiB")
        highest = max(gigabytes for _, gigabytes in costs.values())
        click.echo(f"{'all':16s} {time.monotonic() - start:7.0f} s  {highest:6.2f} GiB at most")
        scores = json.loads((work / "metrics/eval.json").read_text())
        click.echo("scores (of random weights): " + ", ".join(f"{name} {scores[name]:.3g}" for name in SCORES))


if __name__ == "__main__":
    main()
