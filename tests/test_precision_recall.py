"""Precision and recall by hand."""

import numpy as np
import pytest

from s2igan.metrics.precision_recall import precision_recall


def line(*places: float) -> np.ndarray:
    return np.stack([np.array(places), np.zeros(len(places))], axis=1)


def test_a_set_lies_among_itself_and_not_among_one_far_away():
    real = np.random.default_rng(0).standard_normal((50, 4))
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(real, real + 100) == (0, 0)


def test_collapse_costs_recall_and_not_precision():
    real = np.random.default_rng(0).standard_normal((200, 4))
    precision, recall = precision_recall(real, np.repeat(real[:1], 200, axis=0))
    assert precision == 1 and recall == pytest.approx(1 / 200)


def test_by_hand():
    """Real at 0, 1, 2, 3 with one neighbour: radius 1. Fakes at 3.5 (within), 5 and 9 (not): radii 1.5, 1.5, 4."""
    precision, recall = precision_recall(line(0, 1, 2, 3), line(3.5, 5, 9), neighbours=1)
    assert precision == pytest.approx(1 / 3) and recall == pytest.approx(2 / 4)  # 2 and 3 lie within 1.5 of 3.5


def test_small_sets_take_fewer_neighbours():
    assert precision_recall(line(0, 1), line(0, 1), neighbours=3) == (1, 1)
