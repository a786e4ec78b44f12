"""Small networks that several tests build, a small disk, and what stops a training."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from torch import nn
from torch.nn import functional as F

from s2igan.rdg.model import RDG, RDGConfig
from s2igan.sen.model import build_sen, save_sen

# Of a SEN of some hundred parameters that hears, what train_sen writes.
SEN = {
    "bands": 40, "conv_channels": [8], "kernel": 6, "stride": 2, "gru_layers": 1, "gru_hidden": 4,
    "attention_hidden": 4, "mask_padding": True, "feature_dim": 5, "classes": 2,
    "image_encoder": {"encoder": "efficientnet_lite0", "weights": "", "weights_hash": "0", "input_size": 32},
    "log_mel": {"sample_rate": 22050, "bands": 40},
    "speech": {"engine": "espeak", "options": {"rate": 175}, "sample_rate": 22050, "test_voices": ["en-gb"]},
}  # fmt: skip


def rdg(sen=None, **changes) -> RDG:
    """RDG of some thousand parameters; `sen` trains a speech encoder along."""
    values = dict(
        embedding_dim=8, image_embedding_dim=8, base_size=8, base_channels=8, discriminator_channels=4, noise_dim=4,
        condition_dim=6, residual_blocks=1, dense="all", upsampling="nearest", padding="zeros", gated=True,
        antialiasing=False, detail_size=0, mirrored=False, condition_scale=1.0, whitening=0.0, condition_noise=True,
        condition_every_stage=True, own_condition=False, projection=False, matching=False, local=False,
        relation_outputs=3, sentence_attention=False, scales=3, modulation=False, seed=0,
    )  # fmt: skip
    return RDG(RDGConfig(**values | changes), sen)


def models(config: dict = SEN, **network) -> None:
    """models/ with random weights, in the present folder: a SEN of `config`, and a generator that listens to it.

    `network` are RDG's values that differ.
    """
    sen = build_sen(config)
    for name in ("sen", "rdg_sen"):
        save_sen(f"models/{name}", sen, config)
    rdg(embedding_dim=sen.speech.embedding_dim, attention=sen.places > 0, **network).save("models/rdg", {"sen": config})


class Frozen(nn.Module):
    """Stands for the frozen image encoder: the mean colour of each quarter of an image, (B, 3, S, S) -> (B, 12)."""

    def forward(self, images):
        return F.adaptive_avg_pool2d(images, 2).flatten(1)


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def stopping(function: Callable, at: int | None) -> Callable:
    """A function that ends at its call number `at`, counted from 0."""
    calls = count()

    def call(*arguments):
        if next(calls) == at:
            raise StoppedError
        return function(*arguments)

    return call


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of this size, such as "3m", in the place of `folder`; the test is skipped where none can be mounted."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a disk")
    yield folder
    subprocess.run(["umount", folder], check=True)
