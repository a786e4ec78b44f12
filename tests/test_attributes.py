import numpy as np
import pytest

from s2igan.errors import InputError
from s2igan.metrics.attributes import keyword_scores, named_colours, part_colour_accuracy, wilson_interval

PARTS = ("crown", "wing", "bill")
COLOURS = ("red", "blue", "green", "black")


def test_wilson_interval_against_known_values():
    # Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(0, 0) == (0, 1)


def test_named_colours():
    named = named_colours([{"wing": "blue"}, {}, {"crown": "red", "bill": "black"}], PARTS, COLOURS)
    assert named.tolist() == [[-1, 1, -1], [-1, -1, -1], [0, -1, 3]]


def test_accuracy_counts_only_named_parts_and_weighs_parts_alike():
    named = np.array([[0, 1, -1], [0, -1, -1], [0, -1, -1], [1, -1, -1]])
    read = np.array([[0, 2, 3], [0, 3, 3], [1, 3, 3], [1, 3, 3]])
    scores = part_colour_accuracy(read, named, PARTS, 4)
    assert scores["parts"]["crown"]["share"] == 0.75 and scores["parts"]["crown"]["count"] == 4
    assert scores["parts"]["wing"]["share"] == 0 and scores["parts"]["wing"]["count"] == 1
    assert scores["parts"]["bill"]["share"] is None and scores["parts"]["bill"]["count"] == 0
    assert scores["accuracy"] == pytest.approx(0.375)  # mean of crown and wing
    assert scores["pooled"]["share"] == pytest.approx(0.6) and scores["pooled"]["count"] == 5
    assert scores["pooled"]["interval"] == pytest.approx(wilson_interval(3, 5))
    assert scores["chance"] == 0.25


def test_keyword_scores_by_hand():
    before = np.array([[0, 1, 2], [0, 0, 0]])
    after = np.array([[3, 1, 2], [1, 0, 2]])
    scores = keyword_scores(before, after, np.array([0, 1]), np.array([3, 2]))
    assert scores["keyword_changed"]["share"] == 0.5  # the crown turned 3, the wing stayed 0
    assert scores["keyword_changed_before"]["share"] == 0
    assert scores["keyword_kept"]["share"] == 0.5 and scores["keyword_kept"]["count"] == 4
    assert scores["keyword_kept"]["interval"] == pytest.approx(wilson_interval(2, 4))


def test_errors_say_what_was_found():
    with pytest.raises(InputError, match="nothing can be scored"):
        part_colour_accuracy(np.zeros((1, 3)), np.full((1, 3), -1), PARTS, 4)


def test_no_changed_keyword_gives_no_shares():
    """`keyword.enabled=false` leaves pairs of images out, and lists that numpy takes for floats."""
    nothing = np.zeros((0, 6), dtype=np.int64)
    scores = keyword_scores(nothing, nothing, np.array([]), np.array([]))
    assert {name: (score["share"], score["count"]) for name, score in scores.items()} == dict.fromkeys(
        ("keyword_changed", "keyword_changed_before", "keyword_kept"), (None, 0)
    )
