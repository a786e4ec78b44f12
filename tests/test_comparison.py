"""Means, deviations and paired tests of runs against values worked out by hand."""

import math

import pytest
from scipy import stats

from s2igan.errors import InputError
from s2igan.metrics.comparison import Difference, Run, holm, paired_difference, summarise


def runs(group, *scores, metric="map"):
    return [Run(group, seed, {metric: score}) for seed, score in enumerate(scores)]


def test_mean_and_deviation_over_seeds():
    (row,) = summarise(runs("s2igan", 1.0, 2.0, 6.0), "map", "s2igan")
    assert (row.count, row.mean) == (3, 3.0)
    assert row.deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert row.difference is None and row.p_holm is None


def test_the_test_is_paired_by_seed_in_whatever_order():
    """All seeds move alike: unpaired the groups overlap, paired they do not."""
    ours = runs("s2igan", 1.0, 5.0, 9.0)
    theirs = [Run("no_dense", 2, {"map": 7.9}), Run("no_dense", 0, {"map": 0.1}), Run("no_dense", 1, {"map": 4.0})]
    first, second = summarise(theirs + ours, "map", "s2igan")
    assert first.group == "s2igan" and second.group == "no_dense"
    found = second.difference
    assert found.mean == pytest.approx(-1.0)
    # Differences -0.9, -1.0, -1.1: t = -1 / (0.1 / sqrt 3), two degrees of freedom.
    assert found.p == second.p_holm == pytest.approx(2 * stats.t.sf(math.sqrt(3) / 0.1, 2))
    assert found.p < 0.01 < stats.ttest_ind([0.1, 4.0, 7.9], [1.0, 5.0, 9.0]).pvalue
    # The t of 95 % and two degrees of freedom is 4.303.
    assert (found.low, found.high) == pytest.approx((-1 - 0.4303 / math.sqrt(3), -1 + 0.4303 / math.sqrt(3)), abs=1e-4)
    assert found.effect == pytest.approx(-10)


def test_p_is_corrected_for_the_number_of_groups():
    nan = float("nan")
    assert holm([0.01, 0.04, nan, 0.03]) == pytest.approx([0.03, 0.06, nan, 0.06], nan_ok=True)
    assert holm([0.5, 0.6]) == [1.0, 1.0] and holm([]) == []
    groups = [Run(name, s, {"map": shift - s}) for name, shift in (("a", 1), ("b", 2)) for s in (0, 1)]
    first, *others = summarise(runs("s2igan", 0.0, 1.0) + groups, "map", "s2igan")
    assert [row.p_holm for row in others] == holm([row.difference.p for row in others])
    assert others[1].p_holm >= 1.5 * others[1].difference.p


def test_only_common_seeds_are_paired():
    found = paired_difference({0: 3.0, 7: 100.0}, {0: 1.0, 1: 1.0})
    assert found.mean == 2.0 and all(map(math.isnan, (found.low, found.high, found.effect, found.p)))
    assert all(math.isnan(x) for x in vars(paired_difference({3: 1.0}, {4: 1.0})).values())


def test_equal_differences_are_certain():
    assert paired_difference({0: 2.0, 1: 3.0}, {0: 1.0, 1: 2.0}) == Difference(1.0, 1.0, 1.0, math.inf, 0.0)
    assert paired_difference({0: 2.0, 1: 3.0}, {0: 2.0, 1: 3.0}) == Difference(0.0, 0.0, 0.0, 0.0, 1.0)


def test_a_group_without_the_score_has_no_row():
    rows = summarise(runs("s2igan", 1.0, 2.0) + runs("text", 1.0, metric="other"), "map", "s2igan")
    assert [row.group for row in rows] == ["s2igan"]


def test_what_cannot_be_compared_says_so():
    with pytest.raises(InputError, match="nobody: no run has the score map"):
        summarise(runs("s2igan", 1.0), "map", "nobody")
    with pytest.raises(InputError, match="s2igan: two runs of seed 0"):
        summarise(runs("s2igan", 1.0) + runs("s2igan", 2.0), "map", "s2igan")
