"""Speed and memory, side by side with the usual way: `make bench`, or `python -m benchmarks`.

    python -m benchmarks --quick                              # tiny sizes: does it run?
    python -m benchmarks --only retrieval --only draw_warm
    python -m benchmarks --only rdg_step --published ../S2IGAN --batch 24

Writes benchmarks/results.json, and the same as a table, results.md. A row whose peer is not installed is left out.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import click
import torch

from benchmarks.rows import ROWS, Options, Row
from s2igan.command import report_user_errors
from s2igan.machine import device


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| work | ours | peer | | ratio | aim | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        alone = row.peer is None
        peer = "" if alone else f"{row.peer:.3g} {row.unit}"
        ratio = "" if alone else f"{row.ratio:.2f}"
        aim = f"{'≤' if alone else '≥'} {row.aim:.3g}{' (not reached)' if not row.reached else ''}"
        ours = f"{row.ours:.3g} {row.unit}"
        lines.append(f"| {' | '.join((row.name, ours, peer, row.peer_name, ratio, aim, row.note))} |")
    return "\n".join(lines) + "\n"


def write(rows: list[Row], output: Path, heading: str) -> None:
    """The rows as JSON, and as a table beside it."""
    output.write_text(json.dumps([row.as_dict() for row in rows], indent=2, ensure_ascii=False) + "\n")
    output.with_suffix(".md").write_text(f"{heading}\n\n{table(rows)}")


@click.command()
@click.option("--only", type=click.Choice(list(ROWS)), multiple=True, help="several times for several (default: all)")
@click.option("--quick", is_flag=True, help="tiny sizes, a minute or two: whether it runs")
@click.option("--large", is_flag=True, help="the data stages at CUB's size, too")
@click.option("--published", type=click.Path(exists=True, file_okay=False, path_type=Path), help="the authors' code")
@click.option("--batch", type=click.IntRange(2), default=4, show_default=True, help="images of RDG's step")
@click.option("--rounds", type=click.IntRange(1), help="runs of each side (default: 3, quick 1)")
@click.option("--output", type=click.Path(path_type=Path), default=Path("benchmarks/results.json"), show_default=True)
@report_user_errors
def main(only, quick, large, published, batch, rounds, output):
    """Measures each row: ours and its peer in turn, the medians. A ratio is the peer's time over ours."""
    options = Options(quick, large, published, batch, rounds or (1 if quick else 3))
    heading = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads, "
    heading += f"{device()}, PyTorch {torch.__version__}" + (", tiny sizes: the ratios mean nothing" if quick else "")
    rows: list[Row] = []
    for name in only or ROWS:
        try:
            for row in ROWS[name](options):
                rows.append(row)
                write(rows, output, heading)
        except ModuleNotFoundError as error:
            package = str(error.name).split(".")[0]
            click.echo(f"{name}: left out, no {package} here; python -m pip install -e '.[bench]'", err=True)
    click.echo(table(rows))


if __name__ == "__main__":
    main()
