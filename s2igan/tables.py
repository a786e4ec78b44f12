"""Small files for people and plots: TSV curves and JSON scores, written whole or not at all."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from s2igan.files import write_text


def write_tsv(path: str | Path, rows: Sequence[Mapping], names: Sequence[str] = ()) -> None:
    """Rows of one table, columns `names` and those of the rows; what is not there or not a number is `nan`."""
    names = list(dict.fromkeys([*names, *(name for row in rows for name in row)]))
    table = pd.DataFrame(list(rows), columns=names)
    write_text(path, table.to_csv(sep="\t", index=False, na_rep="nan", float_format="%.6g", lineterminator="\n"))


def write_curves(stage: str, rows: Sequence[Mapping], names: Sequence[str] = ()) -> None:
    """The curves of a training, `metrics/<stage>_training.tsv`, and their last row as .json.

    DVC's plots read the one and its table of experiments the other, while it trains.
    """
    write_tsv(f"metrics/{stage}_training.tsv", rows, names)
    last = rows[-1] if rows else {}
    write_json(f"metrics/{stage}_training.json", {name: x for name, x in last.items() if math.isfinite(x)})


def write_json(path: str | Path, values: Mapping) -> None:
    """Scores, floats rounded to six significant digits so that a diff shows changes and not noise."""
    rounded = json.loads(json.dumps(values), parse_float=lambda x: float(f"{float(x):.6g}"))
    write_text(path, json.dumps(rounded, indent=2) + "\n")
