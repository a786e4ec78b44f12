"""A disk that fills up, or is read-only, ends in one line, and leaves what was there and nothing half-written."""

import subprocess
from pathlib import Path

import click
import numpy as np
import pytest
import tiny
import torch
from click.testing import CliRunner

from s2igan.command import report_user_errors
from s2igan.files import write_bytes
from s2igan.models import save_model
from s2igan.store import FixedWriter, ImageWriter, RaggedWriter
from s2igan.training import Checkpoints

NOISE = np.random.default_rng(0).integers(0, 255, (3, 1024, 2048)).astype(np.uint8)  # twice the disk


@pytest.fixture
def disk(tmp_path):
    """A disk of 3 MiB: a chunk of HDF5 is one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with tiny.disk(folder, "3m") as small:
        yield small


def checkpoint(path, content):
    checkpoints = Checkpoints("stage", {}, [])
    checkpoints.folder = Path(path)
    checkpoints.save(1, {"content": torch.from_numpy(content)})


def fixed(path, content):
    with FixedWriter(path, "kind", content.shape, np.uint8) as out:
        out.append(["key"], content[None])


def ragged(path, content):
    with RaggedWriter(path, "kind", content.shape[-1], np.uint8) as out:
        out.append("key", content.reshape(-1, content.shape[-1]))


def images(path, content):
    with ImageWriter(path) as out:
        out.append("key", content)


def model(path, content):
    save_model(path, "kind", {"part": torch.nn.Linear(content.shape[-1], 1024)}, {})


def file(path, content):
    write_bytes(path, content.tobytes())


@pytest.mark.parametrize("write", [checkpoint, fixed, ragged, images, model, file])
def test_it_ends_in_one_line_and_nothing_is_lost(disk, write):
    @click.command()
    @click.argument("path")
    @click.argument("size", type=int)
    @report_user_errors
    def main(path, size):
        write(path, NOISE[..., :size].copy())

    def run(size):
        return CliRunner().invoke(main, [str(disk / "out"), str(size)])

    def found():
        return {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}

    assert run(8).exit_code == 0
    before = found()
    full = run(2048)
    assert (full.exit_code, full.stderr) == (
        1, f"error: {disk}/out: No space left on device; free some space and run the same command again\n"
    )  # fmt: skip
    assert found() == before != {}
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    refused = run(8)
    assert refused.exit_code == 1 and found() == before
    assert refused.stderr.startswith("error: ") and refused.stderr.endswith(": Read-only file system; check the path\n")
