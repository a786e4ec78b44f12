"""Means, deviations and paired tests of runs against values worked out by hand."""

import math

import pytest
from scipy import stats

from s2igan.errors import InputError
from s2igan.metrics.comparison import Run, paired_difference, summarise


def runs(group, *scores, metric="map"):
    return [Run(group, seed, {metric: score}) for seed, score in enumerate(scores)]


def test_mean_and_deviation_over_seeds():
    (row,) = summarise(runs("s2igan", 1.0, 2.0, 6.0), "map", "s2igan")
    assert (row.count, row.mean) == (3, 3.0)
    assert row.deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert row.difference is None and row.p is None


def test_the_test_is_paired_by_seed_in_whatever_order():
    """All seeds move alike: unpaired the groups overlap, paired they do not."""
    ours = runs("s2igan", 1.0, 5.0, 9.0)
    theirs = [Run("no_dense", 2, {"map": 7.9}), Run("no_dense", 0, {"map": 0.1}), Run("no_dense", 1, {"map": 4.0})]
    first, second = summarise(theirs + ours, "map", "s2igan")
    assert first.group == "s2igan" and second.group == "no_dense"
    assert second.difference == pytest.approx(-1.0)
    # Differences -0.9, -1.0, -1.1: t = -1 / (0.1 / sqrt 3), two degrees of freedom.
    assert second.p == pytest.approx(2 * stats.t.sf(math.sqrt(3) / 0.1, 2))
    assert second.p < 0.01 < stats.ttest_ind([0.1, 4.0, 7.9], [1.0, 5.0, 9.0]).pvalue


def test_only_common_seeds_are_paired():
    difference, p = paired_difference({0: 3.0, 7: 100.0}, {0: 1.0, 1: 1.0})
    assert difference == 2.0 and math.isnan(p)
    assert all(math.isnan(x) for x in paired_difference({3: 1.0}, {4: 1.0}))


def test_equal_differences_are_certain():
    assert paired_difference({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}) == (1.0, 0.0)
    assert paired_difference({0: 2.0, 1: 3.0}, {0: 2.0, 1: 3.0}) == (0.0, 1.0)


def test_a_group_without_the_score_has_no_row():
    rows = summarise(runs("s2igan", 1.0, 2.0) + runs("text", 1.0, metric="other"), "map", "s2igan")
    assert [row.group for row in rows] == ["s2igan"]


def test_what_cannot_be_compared_says_so():
    with pytest.raises(InputError, match="nobody: no run has the score map"):
        summarise(runs("s2igan", 1.0), "map", "nobody")
    with pytest.raises(InputError, match="s2igan: two runs of seed 0"):
        summarise(runs("s2igan", 1.0) + runs("s2igan", 2.0), "map", "s2igan")
