"""docs/sharing.md: its blocks, run as they stand, with a Git and a DVC remote in folders of this machine."""

import re
from pathlib import Path

import pytest
import yaml
from dag import ROOT, run, sandbox

PAGE = (ROOT / "docs/sharing.md").read_text()
# What the cheapest stage makes stands here for the page's models.
MADE = {"models/rdg_sen": "data/manifest.csv", "models/rdg": "data/drawn", "mkdir models": "mkdir data"}


def block(heading: str, number: int = 0) -> str:
    """A block of commands under a heading of the page."""
    under = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    commands = re.findall(r"```sh\n(.*?)```", under, re.DOTALL)[number]
    for ours, here in MADE.items():
        commands = commands.replace(ours, here)
    return commands


def give(folder: Path, commands: str) -> str:
    """Runs a block in `folder`, up to the first command that fails; returns what it printed."""
    return run(folder, "bash", "-ec", commands).stdout


def files(folder: Path) -> dict[str, bytes]:
    made = [folder / "data/manifest.csv", *(file for file in (folder / "data/drawn").rglob("*") if file.is_file())]
    return {str(file.relative_to(folder)): file.read_bytes() for file in made}


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    """A project of one stage that has run, and given what it has to a bare repository and a DVC remote."""
    folder = tmp_path_factory.mktemp("sharing")
    project = sandbox(folder / "ours", "scale=smoke")
    pipeline = yaml.safe_load((project / "dvc.yaml").read_text())
    pipeline = {"params": pipeline["params"], "stages": {"prepare": pipeline["stages"]["prepare"]}}
    (project / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    run(folder, "git", "init", "-q", "--bare", "origin.git")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORIGIN", str(folder / "origin.git"))
        patch.setenv("STORAGE", str(folder / "storage"))
        run(project, "dvc", "repro")
        give(project, "git add -A && git commit -qm 'one stage'")
        give(project, block("Give what you have"))
        yield project


def test_a_clone_has_what_was_given(ours, tmp_path):
    assert "up to date" in give(tmp_path, block("Take it"))
    assert files(tmp_path / "theirs") == files(ours)


def test_another_project_imports_the_models(ours, tmp_path):
    give(tmp_path, block("A model in another project"))
    assert files(tmp_path / "mine") == files(ours)
    source = yaml.safe_load((tmp_path / "mine/data/drawn.dvc").read_text())["deps"][0]["repo"]
    assert source["rev_lock"] == run(ours, "git", "rev-parse", "HEAD").stdout.strip()


def test_an_experiment_is_found_taken_and_not_computed_again(ours, tmp_path):
    before = files(ours)
    assert "Running stage 'prepare'" in give(ours, block("One experiment"))
    after = files(ours)
    assert before != after
    assert "other-birds" in give(tmp_path, block("One experiment", 1))
    assert files(tmp_path / "theirs") == after
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    told = give(fresh, block("Nothing twice"))
    assert "Stage 'prepare' is cached - skipping run" in told and "Running stage" not in told
    assert files(fresh / "theirs") == after
