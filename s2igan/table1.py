"""The paper's Table 1 and component analysis as this project computes them: every system, several seeds, one page."""

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from s2igan.catalog import read_catalog
from s2igan.errors import InputError
from s2igan.experiments import Experiment
from s2igan.figures import evenly, grid
from s2igan.files import write_csv, write_text
from s2igan.metrics.comparison import Difference, Run, Summary, summarise
from s2igan.store import FixedReader, ImageReader
from s2igan.vision.transforms import centre_crop

BASELINE = "s2igan"
# The last stage that a run needs, and the metrics/<file>.json that it and those before it write.
TARGET = "evaluate"
FILES = ("sen", "eval", "attributes", "classifier")
COLUMNS = ("scale", "system", "seed", "commit", "metric", "value")
SYSTEMS = {
    "s2igan": "S2IGAN (the paper)",
    "reference": "S2IGAN (the authors' code)",
    "s2igan_attention": "S2IGAN with attention to speech",
    "stackgan_v2": "StackGAN-v2 on SEN's embedding",
    "stackgan_v2_text": "StackGAN-v2 on text",
    "segan": "SEGAN on text",
    "mirrorgan": "MirrorGAN on text",
    "li2020": "Li et al. 2020",
    "fusion": "Fusion-S2iGan, a single stage",
    "no_dense": "without dense stacking",
    "no_relation": "without relation supervisor",
    "no_sen": "without SEN's training",
    "end_to_end": "SEN and RDG trained together",
    "no_distinctive": "without distinctive loss",
}
# What is compared, and whether more is better.
SCORES = {
    "map": True,
    "fd_efficientnet_lite0": False,
    "fjd_efficientnet_lite0": False,
    "is_mean": True,
    "part_colour_accuracy": True,
    "keyword_changed": True,
    "keyword_kept": True,
    "speech_to_image_map": True,
}
# mAP / FID / IS of the paper's Table 1 and of the authors' project page (component analysis); mAP in per cent.
PUBLISHED = {
    "s2igan": ("9.04 / 14.50 / 4.29 ± .04", "13.40 / 48.64 / 3.55 ± .04"),
    "stackgan_v2": ("8.09 / 18.94 / 4.14 ± .04", "12.18 / 54.33 / 3.69 ± .08"),
    "stackgan_v2_text": ("7.01 / 20.94 / 4.02 ± .03", "– / 50.38 / 3.35 ± .07"),
    "segan": ("– / – / 4.67 ± .04", "–"),
    "mirrorgan": ("– / – / 4.56 ± .05", "–"),
    "li2020": ("– / 18.37 / 4.09 ± .04", "–"),
    "fusion": ("– / 13.09 / 5.06 ± .09", "–"),
    "no_dense": ("8.66 / 17.58 / 4.19", "13.13 / 64.37 / 3.68 ± .05"),
    "no_relation": ("8.54 / 15.59 / 4.14", "12.86 / 53.24 / 3.70 ± .08"),
    "no_sen": ("2.91 / 19.56 / 3.49", "7.38 / 67.60 / 2.77 ± .04"),
    "end_to_end": ("7.38 / 21.54 / 4.29", "12.47 / 51.88 / 3.55 ± .08"),
    "no_distinctive": ("6.80 / 16.66 / 4.19 ± .05", "10.03 / 69.47 / 3.35 ± .08"),
}


def name_of(scale: str, system: str, seed: int) -> str:
    """Of an experiment, on DVC's queue."""
    return f"{scale}-{system}-{seed}"


def wanted(systems: Iterable[str], seeds: Sequence[int], scale: str) -> dict[str, list[str]]:
    """Overrides of each experiment by name: all systems of one seed before the next seed."""
    return {
        name_of(scale, system, seed): [f"scale={scale}", f"system={system}", f"seed={seed}"]
        for seed in seeds
        for system in systems
    }


def as_runs(experiments: Iterable[Experiment], key: str = "system") -> list[Run]:
    """Experiments as runs of what parameter `key` says."""
    return [Run(str(e.value(key)), int(e.value("seed")), e.scores) for e in experiments]


def write_scores(path: str | Path, scale: str, runs: Mapping[str, Sequence[Run]]) -> None:
    """One row per system, seed and score, with the scale, and the commit (a key of `runs`) whose code made it."""
    rows = (
        (scale, run.group, run.seed, commit, name, f"{value:.6g}")
        for commit, found in runs.items()
        for run in found
        for name, value in run.scores.items()
    )
    write_csv(path, COLUMNS, rows)


def read_scores(path: str | Path, scale: str) -> dict[str, list[Run]]:
    """The runs of this scale that `write_scores` left, by commit; none where there is no file.

    Raises InputError for a file that is no such table.
    """
    if not Path(path).is_file():
        return {}
    try:
        table = pd.read_csv(path, usecols=COLUMNS, dtype={"seed": int, "commit": str, "value": float})
        if table.isna().any(axis=None):
            raise ValueError("a cell is empty")
    except ValueError as error:
        raise InputError(f"{path}: {error}; take it away, or give: git checkout {path}") from error
    runs: dict[str, list[Run]] = {}
    for (commit, system, seed), rows in table[table.scale == scale].groupby(["commit", "system", "seed"], sort=False):
        runs.setdefault(commit, []).append(Run(system, seed, dict(zip(rows.metric, rows.value, strict=True))))
    return runs


def markdown(rows: Sequence[Sequence[str]], heading: Sequence[str]) -> list[str]:
    """The lines of a table, its cells as they are."""
    table = pd.DataFrame(list(rows), columns=list(heading))
    return table.to_markdown(index=False, disable_numparse=True).splitlines()


def _digits(mean: float) -> int:
    """Decimals that show three figures of a mean, and what stands beside it alike."""
    return max(0, 2 - math.floor(math.log10(abs(mean)))) if mean else 2


def shown(summary: Summary) -> str:
    """`mean ± deviation`, three figures of the mean; a star where the difference from the baseline is beyond chance.

    There is none for fewer than three seeds, of which two can have equal differences by chance.
    """
    digits = _digits(summary.mean)
    text = f"{summary.mean:.{digits}f}"
    if not math.isnan(summary.deviation):
        text += f" ± {summary.deviation:.{digits}f}"
    return text + (" *" if summary.count > 2 and summary.p_holm is not None and summary.p_holm < 0.05 else "")


def shown_difference(summary: Summary) -> str:
    """`mean [low, high], d effect, p`, of the difference from the baseline; p corrected for the number of rows."""
    found = summary.difference
    if found is None or math.isnan(found.mean):
        return "–"
    digits = _digits(summary.mean)
    if math.isnan(found.p):
        return f"{found.mean:+.{digits}f}"
    bounds = f"[{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
    return f"{found.mean:+.{digits}f} {bounds}, d {found.effect:.1f}, p {summary.p_holm:.2g}"


def comparison_lines(
    runs: Sequence[Run],
    scores: Mapping[str, bool | None],
    names: Mapping[str, str],
    baseline: str,
    cell: Callable[[Summary], str] = shown,
) -> list[str]:
    """A table of all groups, with the `cell` of each score: as it is, or as it differs from the baseline."""
    found = {score for run in runs for score in run.scores}
    scores = {name: better for name, better in scores.items() if name in found}
    cells: dict[str, dict[str, str]] = {}
    count: dict[str, int] = {}
    for score in scores:
        for summary in summarise(runs, score, baseline):
            cells.setdefault(summary.group, {})[score] = cell(summary)
            count[summary.group] = max(count.get(summary.group, 0), summary.count)
    groups = [group for group in [*names, *sorted(cells)] if group in cells]
    arrows = {True: " ↑", False: " ↓", None: ""}
    rows = [
        [names.get(group, group), str(count[group]), *(cells[group].get(score, "–") for score in scores)]
        for group in dict.fromkeys(groups)
    ]
    return markdown(rows, ["", "seeds", *(f"`{name}`{arrows[better]}" for name, better in scores.items())])


def comparison(runs: Sequence[Run], scores: Iterable[str], baseline: str) -> list[dict[str, Any]]:
    """The same as rows for programs, of each score and group; None for what so few seeds cannot give."""
    found = {score for run in runs for score in run.scores}
    summaries = [row for score in scores if score in found for row in summarise(runs, score, baseline)]
    rows = []
    for row in summaries:
        of = row.difference or Difference(*[math.nan] * 5)  # of the baseline itself nothing can be said
        rows.append(asdict(row) | asdict(of) | {"mean": row.mean, "difference": of.mean})
    # JSON has neither NaN nor infinity, which is the effect of equal differences.
    return [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in rows]


def write_page(path: str | Path, runs: Sequence[Run], scale: str, origin: str) -> None:
    """docs/results.md: what was measured here, and what was published.

    `origin` is the command, and the commit, that the page is from.
    """
    seeds = sorted({run.seed for run in runs})
    published = [[SYSTEMS[name], *figures] for name, figures in PUBLISHED.items()]
    lines = [
        "# Results: every row of the paper's comparison",
        "",
        f"Written by {origin}; do not edit.",
        "",
        f"`scale={scale}`, seeds {', '.join(map(str, seeds))}; mean ± standard deviation over the seeds.",
        "A star: the difference from S2IGAN is beyond chance, p < 0.05 by a paired t-test over the seeds, corrected",
        "for the number of rows (Holm), with three seeds or more. Every number of every run is in",
        "`metrics/table1.csv`; what they say, in [reading-the-results.md](reading-the-results.md).",
        "",
        "## Measured here, on drawn birds",
        "",
        *comparison_lines(runs, SCORES, SYSTEMS, BASELINE),
        "",
        "![One row per system, the same captions and noise](../metrics/figures/table1.png)",
        "",
        "## Differences from S2IGAN",
        "",
        "Mean over the seeds [95 % confidence], d: the mean in standard deviations of the differences, p corrected.",
        "",
        *comparison_lines(runs, SCORES, SYSTEMS, BASELINE, shown_difference),
        "",
        "## Published, on photographs",
        "",
        "mAP in per cent ↑ / FID ↓ / IS ↑; the paper's Table 1 and, of the component analysis, the authors' page.",
        "The FIDs are most likely pytorch-fid's, whose resize is not that of `fid` here (torch-fidelity's).",
        "",
        *markdown(published, ["", "CUB", "Oxford-102"]),
        "",
    ]
    write_text(path, "\n".join(lines))


def draw_samples(path: str | Path, experiments: Sequence[Experiment], count: int) -> None:
    """A figure: real images above, then one row per system, each of the same test captions with the same noise."""
    from dvc.api import DVCFileSystem

    drawn: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for experiment in experiments:
            files = DVCFileSystem(rev=experiment.rev)
            local = Path(folder) / experiment.name
            local.mkdir()
            files.get("data/generated.h5", str(local / "generated.h5"))
            with FixedReader(local / "generated.h5", "generated") as generated:
                if not drawn:
                    files.get("data/catalog", str(local / "catalog"), recursive=True)
                    files.get("data/images.h5", str(local / "images.h5"))
                    keys, drawn["real"] = _real(local, generated, count)
                rows = [generated.index(key) for key in keys]
                drawn[str(experiment.value("system"))] = generated.values(rows)
    names = [SYSTEMS.get(name, name) for name in drawn]
    grid([list(images) for images in drawn.values()], names, [""] * count, path, size=96, text_width=260)


def _real(folder: Path, generated: FixedReader, count: int) -> tuple[list[str], np.ndarray]:
    """Keys of captions of different classes, and the real images that they describe, cut as the generated are."""
    catalog = read_catalog(folder / "catalog")
    group_of, image_of, first = catalog.group_of(), {caption.key: caption.image for caption in catalog.captions}, {}
    for key in generated.keys:
        first.setdefault(group_of[image_of[key]], key)
    keys = evenly(list(first.values()), count)
    with ImageReader(folder / "images.h5") as images:
        real = images.values([images.index(image_of[key]) for key in keys])
    return keys, centre_crop(real, generated.shape[-1]).numpy()
