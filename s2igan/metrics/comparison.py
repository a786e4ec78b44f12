"""Runs compared: mean and deviation over seeds, and a paired test of each group of runs against one of them."""

# n seeds

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from s2igan.errors import InputError


@dataclass(frozen=True)
class Run:
    """One run: what it is a run of, its seed, and its scores by name."""

    group: str
    seed: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """One score of one group: mean and standard deviation over its `count` seeds, and the test against the baseline.

    `difference` is the mean over the seeds that both have of (group - baseline), `p` the two-sided p-value of a
    paired t-test of it; both None for the baseline itself. A `deviation` or `p` that so few seeds cannot give is NaN.
    """

    group: str
    metric: str
    count: int
    mean: float
    deviation: float
    difference: float | None
    p: float | None


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
        difference = p = None
        if group != baseline:
            difference, p = paired_difference(values, reference)
        rows.append(Summary(group, metric, len(numbers), float(numbers.mean()), deviation, difference, p))
    return rows


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> tuple[float, float]:
    """Mean of (value - reference) over the seeds that both have, and its two-sided p by a paired t-test.

    Runs of one seed share what does not depend on the group, so that their difference varies less than they do.
    NaN for the mean without a common seed, for p with fewer than two; equal differences give p 0 (1 where they are 0).
    """
    seeds = sorted(values.keys() & reference.keys())
    differences = np.array([values[seed] - reference[seed] for seed in seeds])
    if not len(differences):
        return float("nan"), float("nan")
    mean = float(differences.mean())
    if len(differences) < 2:
        return mean, float("nan")
    if np.allclose(differences, differences[0], rtol=1e-9, atol=0):  # a t-test would divide rounding by rounding
        return mean, float(mean == 0)
    from scipy import stats  # slow to import

    return mean, float(stats.ttest_1samp(differences, 0.0).pvalue)
