"""Memory of the data stages on a synthetic catalogue of CUB's full size: `python -m benchmarks.memory`.

11,788 images and 117,880 short recordings are written as a data set of one's own (`dataset=manifest`), and each
data stage runs on them in a process of its own, with scale=paper's image sizes. Printed for each: seconds, and the
peak of the memory of it and its workers (proportional set size, so that shared pages count once), sampled each 0.2 s.
`--images 200` shows in a minute that it runs.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import soundfile
from PIL import Image

from s2igan.command import progress

ROOT = Path(__file__).parent.parent
# The configuration, and how DVC unpacks it, are those of the tests.
sys.path.insert(0, str(ROOT / "tests"))
LIMIT = 2.0  # GiB
STAGES = {
    "prepare": "prepare",
    "catalog": "catalog",
    "synthesize": "tts",
    "logmel": "logmel",
    "image_features": "image_features",
    "embed": "embed",
}
CAPTIONS = 10
CLASSES = 200
SECONDS = 0.4


def write_data_set(raw: Path, images: int) -> None:
    """Images of noise and recordings of noise, ten an image, and their manifest.csv."""
    rng = np.random.default_rng(0)
    (raw / "images").mkdir(parents=True)
    (raw / "sounds").mkdir()
    rate = 16000
    with open(raw / "manifest.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "recording", "class", "split"])
        for i in progress(range(images), "images and sounds"):
            number = i * CLASSES // images
            split = "test" if number % 4 == 0 else "val" if number % 20 == 1 else "train"
            small = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            image = f"images/{i:05d}.jpg"
            Image.fromarray(small).resize((500, 375)).save(raw / image)
            for k in range(CAPTIONS):
                sound = f"sounds/{i:05d}_{k}.wav"
                soundfile.write(raw / sound, 0.1 * rng.standard_normal(int(SECONDS * rate)), rate)
                table.writerow([image, sound, f"class_{number:03d}", split])


def peak_of(command: list[str], folder: Path) -> tuple[float, float]:
    """Runs a command to its end: seconds, and GiB at the peak of it and its children."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    start, peak = time.monotonic(), 0
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, sum(map(proportional_bytes, family(process.pid))))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return time.monotonic() - start, peak / 2**30


def family(pid: int) -> list[int]:
    """A process and all below it, whichever of its threads started them."""
    try:
        children = [c for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return []
    return [pid, *(p for child in children for p in family(int(child)))]


def proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@click.command()
@click.option("--images", type=click.IntRange(40), default=11788, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="where to work (default: a temporary folder)")
def main(images, folder):
    """Prints the peak of each data stage."""
    from dag import arguments, composed

    # The frozen network that needs no download, at a small size: what it sees does not change what is held.
    network = ("image_features.encoder=efficientnet_lite0", "image_features.input_size=64")
    params = composed("dataset=manifest", "scale=paper", *network)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        work = Path(temporary)
        write_data_set(work / "data/raw/manifest", images)
        click.echo(f"{images} images, {images * CAPTIONS} recordings of {SECONDS} s, {os.cpu_count()} cores")
        highest = 0.0
        for stage, section in STAGES.items():
            if stage == "embed":
                untrained_sen(work, params["sen"])
            command = [sys.executable, "-m", f"stages.{stage}", *arguments(params[section])]
            seconds, gigabytes = peak_of(command, work)
            highest = max(highest, gigabytes)
            click.echo(f"{stage:16s} {seconds:7.0f} s  {gigabytes:6.2f} GiB")
    click.echo(f"highest {highest:.2f} GiB, limit {LIMIT:.0f} GiB: {'kept' if highest < LIMIT else 'BROKEN'}")
    raise SystemExit(highest >= LIMIT)


def untrained_sen(work: Path, options: dict) -> None:
    """A SEN of the paper's size as it is at the start, for the stage that embeds."""
    from s2igan.sen.model import build_sen, save_sen
    from s2igan.store import FixedReader, RaggedReader

    with (
        RaggedReader(work / "data/logmel.h5", "logmel") as log_mels,
        FixedReader(work / "data/image_features.h5", "image_features") as features,
    ):
        network = ("conv_channels", "kernel", "stride", "gru_layers", "gru_hidden", "attention_hidden")
        config = {
            **{key: options[key] for key in network},
            "bands": log_mels.width,
            "mask_padding": True,
            "feature_dim": features.shape[1],
            "classes": CLASSES,
            "image_encoder": features.attributes,
            **log_mels.attributes,
        }
    save_sen(work / "models/sen", build_sen(config), config)


if __name__ == "__main__":
    main()
