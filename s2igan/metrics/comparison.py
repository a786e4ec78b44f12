"""Runs compared: mean and deviation over seeds, and a paired test of each group of runs against one of them."""

# n seeds

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s2igan.errors import InputError


@dataclass(frozen=True)
class Run:
    """One run: what it is a run of, its seed, and its scores by name."""

    group: str
    seed: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Difference:
    """Mean over the seeds that two groups share of (group - baseline), and what those seeds say of it.

    `low` and `high` bound it with 95 % confidence, and `p` is two-sided, both by Student's t of the paired differences;
    `effect` is the mean in standard deviations of the differences (Cohen's d_z). NaN where so few seeds cannot say.
    """

    mean: float
    low: float
    high: float
    effect: float
    p: float


@dataclass(frozen=True)
class Summary:
    """One score of one group: mean and standard deviation over its `count` seeds, NaN of one seed.

    `difference` from the baseline, and its p after Holm's correction for the number of groups that are compared in this
    score; both None for the baseline itself.
    """

    group: str
    metric: str
    count: int
    mean: float
    deviation: float
    difference: Difference | None = None
    p_holm: float | None = None


def summarise(runs: Iterable[Run], metric: str, baseline: str) -> list[Summary]:
    """A row a group that has the score, the baseline first and the others as they come.

    Raises InputError where no run of the baseline has the score, and where a group has two runs of one seed.
    """
    groups: dict[str, dict[int, float]] = {baseline: {}}
    for run in runs:
        of_group = groups.setdefault(run.group, {})
        if run.seed in of_group:
            raise InputError(f"{run.group}: two runs of seed {run.seed}; name the ones to compare, or remove one")
        if metric in run.scores:
            of_group[run.seed] = float(run.scores[metric])
    reference = groups[baseline]
    if not reference:
        raise InputError(f"{baseline}: no run has the score {metric}; run it, or choose another baseline")
    rows = []
    for group, values in groups.items():
        if not values:
            continue
        numbers = np.array(list(values.values()))
        deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else float("nan")
        difference = None if group == baseline else paired_difference(values, reference)
        rows.append(Summary(group, metric, len(numbers), float(numbers.mean()), deviation, difference))
    compared = [row for row in rows if row.difference is not None]
    corrected = dict(zip((row.group for row in compared), holm([row.difference.p for row in compared]), strict=True))
    return [replace(row, p_holm=corrected.get(row.group)) for row in rows]


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that the chance of any false one among them is kept (Holm 1979).

    The k-th smallest of m is multiplied by m - k + 1, and is no smaller than those before it, and at most 1. NaN stays,
    and does not count.
    """
    order = sorted((i for i, p in enumerate(ps) if p == p), key=lambda i: ps[i])
    corrected, highest = list(ps), 0.0
    for k, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - k) * ps[i]))
        corrected[i] = highest
    return corrected


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Difference:
    """(value - reference) over the seeds that both have.

    Runs of one seed share what does not depend on the group, so that their difference varies less than they do.
    Equal differences give p 0 (1 where they are 0), bounds without width, and an effect without bound.
    """
    seeds = sorted(values.keys() & reference.keys())
    differences = np.array([values[seed] - reference[seed] for seed in seeds])
    nan = float("nan")
    if not len(differences):
        return Difference(nan, nan, nan, nan, nan)
    mean = float(differences.mean())
    if len(differences) < 2:
        return Difference(mean, nan, nan, nan, nan)
    if np.allclose(differences, differences[0], rtol=1e-9, atol=0):  # a t-test would divide rounding by rounding
        return Difference(mean, mean, mean, math.copysign(math.inf, mean) if mean else 0.0, float(mean == 0))
    from scipy import stats  # slow to import

    test = stats.ttest_1samp(differences, 0.0)
    bounds = test.confidence_interval(0.95)
    effect = mean / float(differences.std(ddof=1))
    return Difference(mean, float(bounds.low), float(bounds.high), effect, float(test.pvalue))
