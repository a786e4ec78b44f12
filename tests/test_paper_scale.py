"""The benchmark that runs scale=paper: that it changes little of it, and that it measures."""

import os
import sys
from pathlib import Path

import pytest
from dag import composed

from benchmarks import paper_scale
from benchmarks.paper_scale import costs_of, overrides

NAP = "import time; block = bytearray(100 * 2**20); block[::4096] = b'x' * len(block[::4096]); time.sleep(1)"


def test_it_keeps_the_paper_s_sizes_networks_and_recipe():
    own = composed("dataset=cub", "scale=paper", *overrides(Path("a.pth"), Path("b.pth"), 4))
    paper = composed("dataset=cub", "scale=paper")
    sections = {name: part for name, part in paper.items() if isinstance(part, dict)}
    changed = {(name, key) for name, part in sections.items() for key in part if own[name][key] != part[key]}
    assert changed == {
        ("image_features", "weights"), ("classifier", "weights"), ("eval", "weights"), ("eval", "fid_weights"),
        ("sen", "captions"), ("rdg", "images"), ("classifier", "images"), ("rdg", "batch_size"),
        ("catalog", "val_classes"), ("prepare", "val_classes"),
        ("generate", "captions_per_image"), ("oracle", "captions_per_image"),
        ("robustness", "captions"),
    }  # fmt: skip


@pytest.fixture
def nap(tmp_path, monkeypatch):
    """A project with one stage, which holds 100 MiB for a second."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/nap.py").write_text(NAP)
    monkeypatch.setattr(paper_scale, "INTERVAL", 0.1)
    return tmp_path


def test_seconds_and_memory_are_those_of_the_stage(nap):
    environment = os.environ | {"PYTHONPATH": str(nap)}
    command = ["sh", "-c", f"{sys.executable} -m stages.nap; true"]
    costs = costs_of(command, nap, environment)
    assert list(costs) == ["nap"]
    seconds, gigabytes = costs["nap"]
    assert 0.9 < seconds < 30 and 100 / 1024 < gigabytes < 0.2
