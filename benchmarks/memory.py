"""Time and memory of the data stages on a synthetic data set: images and short recordings of noise.

They are written as a data set of one's own (`dataset=manifest`), and each data stage runs on them in a process of its
own, with scale=paper's image sizes. Memory is that of a stage and its workers (proportional set size, so that shared
pages count once), sampled each 0.05 s. Their rows of `make bench` are in `benchmarks.rows`.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
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
STAGES = ("prepare", "catalog", "synthesize", "logmel", "image_features", "embed")
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
            number = i * min(CLASSES, images) // images
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
    log = folder / "stage.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            peak = max(peak, sum(map(proportional_bytes, family(process.pid))))
            time.sleep(0.05)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command[:3])}: {log.read_text(errors='replace')[-3000:]}")
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


def data_stages(folder: Path, images: int) -> dict[str, tuple[float, float]]:
    """Of each data stage on so many images, ten recordings each, in a new folder: seconds, and GiB at the peak."""
    from dag import arguments, composed, section

    # The frozen network that needs no download, at a small size: what it sees does not change what is held.
    network = ("image_features.encoder=efficientnet_lite0", "image_features.input_size=64")
    params = composed("dataset=manifest", "scale=paper", *network)
    write_data_set(folder / "data/raw/manifest", images)
    found = {}
    for stage in STAGES:
        if stage == "embed":
            untrained_sen(folder, params["sen"])
        found[stage] = peak_of([sys.executable, "-m", f"stages.{stage}", *arguments(params[section(stage)])], folder)
    return found


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
