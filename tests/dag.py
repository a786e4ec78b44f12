"""The configuration composed as `dvc exp run` does, and the DAG in a copy of the repository or in this process."""

import importlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml
from click.testing import CliRunner
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from s2igan.parameters import arguments

ROOT = Path(__file__).parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def composed(*overrides: str, resolve: bool = True) -> dict:
    """What params.yaml becomes with these overrides, such as "scale=paper"."""
    return OmegaConf.to_container(_composed(ROOT, overrides), resolve=resolve)


@cache
def _composed(root: Path, overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(root / "conf"), version_base=None):
        return compose("config", overrides=list(overrides))


def configure(*overrides: str, **changes: dict) -> dict:
    """Writes dvc.yaml, and params.yaml with these overrides and changes of sections, into the present folder."""
    shutil.copy(ROOT / "dvc.yaml", ".")
    params = composed(*overrides)
    for name, values in changes.items():
        params[name] |= values
    Path("params.yaml").write_text(yaml.safe_dump(params))
    return params


def sandbox(folder: Path, *overrides: str) -> Path:
    """A Git repository with the project's files as they are now, nothing that stages made, and these overrides."""
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    made = {"dvc.lock"}
    for name in files:
        if name not in made and not name.startswith("metrics/") and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(composed(*overrides))))
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "sandbox"]):
        subprocess.run(["git", *command], cwd=folder, env=environment(folder), check=True)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The variables with which commands find this Python's programs, and the project in `folder`."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
        **{f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }


def run(folder: Path, *command: str, check: bool = True, code: Path | None = None) -> subprocess.CompletedProcess:
    """Runs a command in `folder`, with the project there or in `code`; with `check`, a failure shows what it said."""
    result = subprocess.run(command, cwd=folder, env=environment(code or folder), capture_output=True, text=True)
    assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def section(stage: str) -> str:
    """The section of params.yaml that a stage unpacks, from its command."""
    return STAGES[stage]["cmd"].split("${")[1].rstrip("}")


def run_stage(stage: str, config: dict) -> str:
    """Runs one stage in this process and folder; returns what it printed."""
    command = importlib.import_module(f"stages.{stage}").main
    result = CliRunner().invoke(command, list(arguments(config[section(stage)])), catch_exceptions=False)
    assert result.exit_code == 0, f"{stage}: {result.stderr[-2000:]}"
    return result.stdout


def outputs(stage: str) -> list[str]:
    """The files and folders that a stage writes."""
    written = [item for kind in ("outs", "metrics", "plots") for item in STAGES[stage].get(kind, [])]
    return [next(iter(item)) if isinstance(item, dict) else item for item in written]


def ordered() -> list[str]:
    """The stages, each after those whose outputs it reads."""
    done: list[str] = []
    while len(done) < len(STAGES):
        left = [stage for stage in STAGES if stage not in done]
        missing = [out for stage in left for out in outputs(stage)]
        done += [s for s in left if not any(Path(d).is_relative_to(out) for d in STAGES[s]["deps"] for out in missing)]
    return done


def cells(line: str) -> list[str]:
    """The fields of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]
