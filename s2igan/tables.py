"""Small files for people and plots: TSV curves and JSON scores, written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from s2igan.files import write_text


def write_tsv(path: str | Path, rows: Sequence[Mapping[str, float]], names: Sequence[str] = ()) -> None:
    """Rows of one table, columns `names` and those of the rows; a column that a row lacks stays empty."""
    names = list(dict.fromkeys([*names, *(name for row in rows for name in row)]))
    lines = ["\t".join(names)]
    lines += ["\t".join(f"{row[name]:.6g}" if name in row else "" for name in names) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def write_rows(path: str | Path, names: Sequence[str], rows: Iterable[Sequence]) -> None:
    """A CSV of anything: a heading and a line a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: str | Path, values: Mapping) -> None:
    """Scores, floats rounded to six significant digits so that a diff shows changes and not noise."""
    write_text(path, json.dumps(_rounded(values), indent=2) + "\n")


def _rounded(value):
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
