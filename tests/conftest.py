"""For all tests: one thread, one process, and no GPU but by `$S2IGAN_DEVICE`; what takes longest comes first."""

import os

import pytest

# Before torch is imported: the threads of two pytest workers on two cores would wait for each other.
os.environ.update(OMP_NUM_THREADS="1", S2IGAN_WORKERS="1")
os.environ.setdefault("S2IGAN_DEVICE", "cpu")

LONGEST = ("test_pipeline", "test_systems", "test_every_data_set", "test_sharing", "test_coqui", "test_rdg_training")


def pytest_configure(config):
    config.option.loadscopereorder = False  # pytest-xdist would begin with the files of most tests


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the present one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Where a run keeps its checkpoints: one after each step."""
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setattr("s2igan.training.CHECKPOINT_SECONDS", 0.0)
    return tmp_path / "checkpoints"
