"""The pipeline at scale=smoke as another processor would compute it: which bytes stay, and how far numbers move.

    python -m benchmarks.machines        # a table, five minutes

oneDNN and PyTorch can be held to the instructions of older processors, by which they sum in another order. `smoke`
learns nothing, so its scores say how far arithmetic alone carries; the spread of a whole training is that of its seeds.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

import benchmarks.memory  # noqa: F401  (makes the tests' modules known)

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
MACHINES = {
    "the same, again": {},
    "one process for what is not trained": {"S2IGAN_WORKERS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "AVX-512, not its bfloat16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "AVX2": AVX2,
}
CURVES = {"SEN's loss": ("sen", "loss"), "RDG's d_2": ("rdg", "d_2"), "RDG's g_2": ("rdg", "g_2")}
SCORES = {"mAP of speech": ("sen", "speech_to_image_map"), "Fréchet distance": ("eval", "fd_efficientnet_lite0")}


def run(folder: Path, variables: dict[str, str]) -> Path:
    """The pipeline in `folder`, in float32, with these environment variables."""
    from dag import environment, sandbox

    sandbox(folder, "scale=smoke", "sen.precision=float32", "rdg.precision=float32")
    command = ["dvc", "repro", "-q"]
    subprocess.run(command, cwd=folder, env=environment(folder) | variables, check=True, capture_output=True)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """Of each output but figures and the report, the hash that DVC found."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"].values()
    found = {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}
    return {path: md5 for path, md5 in found.items() if Path(path).suffix not in (".png", ".html")}


def moved(one: Path, other: Path, stage: str, curve: str) -> str:
    """The largest difference of a training's curve, relative, in its first and its last row."""
    values = [
        pd.read_csv(folder / f"metrics/{stage}_training.tsv", sep="\t")[curve].dropna() for folder in (one, other)
    ]
    difference = (np.abs(values[1] / values[0] - 1)).to_numpy()
    return f"{difference[0]:.0e}, {difference[-1]:.0e}"


def score(folder: Path, file: str, key: str) -> float:
    return json.loads((folder / f"metrics/{file}.json").read_text())[key]


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="s2igan-machines-") as folder:
        whole = run(Path(folder) / "whole", {})
        expected = hashes(whole)
        for name, variables in MACHINES.items():
            found = run(Path(folder) / name.replace(" ", "-"), variables)
            other = [path for path, md5 in hashes(found).items() if md5 != expected[path]]
            row = {"as": name, "same bytes": f"{len(expected) - len(other)} of {len(expected)}"}
            row["first that differs"] = f"`{other[0]}`" if other else ""
            row |= {title: moved(whole, found, *of) for title, of in CURVES.items()}
            row |= {title: f"{score(whole, *of):.4g}, {score(found, *of):.4g}" for title, of in SCORES.items()}
            rows.append(row)
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
