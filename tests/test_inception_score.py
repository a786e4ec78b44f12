import numpy as np
import pytest

from s2igan.metrics.inception_score import inception_score


def keys(count):
    return [f"class/image{i:05d}" for i in range(count)]


def random_probabilities(count=200, classes=7):
    return np.random.default_rng(0).dirichlet(np.full(classes, 0.3), count)


@pytest.mark.parametrize(("values", "score"), [
    (np.full((120, 8), 1 / 8), 1),
    (np.tile(np.eye(6), (20, 1)), 6),  # certain and balanced: the number of classes
    (np.tile(np.eye(6)[2], (120, 1)), 1),  # certain, but always the same
])  # fmt: skip
def test_known_scores(values, score):
    assert inception_score(values, keys(120), splits=1) == pytest.approx((score, 0), abs=1e-9)


def test_one_split_against_the_formula():
    p = random_probabilities()
    expected = np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean())
    mean, std = inception_score(p, keys(200), splits=1)
    assert mean == pytest.approx(expected) and std == 0


def test_order_of_images_does_not_matter():
    p, names = random_probabilities(), np.array(keys(200))
    order = np.random.default_rng(1).permutation(200)
    assert inception_score(p, names) == inception_score(p[order], names[order])


def test_sorted_by_class_does_not_lower_the_score():
    one_hot = np.repeat(np.eye(5), 100, axis=0)
    assert inception_score(one_hot, keys(500), splits=5)[0] > 4.5  # unshuffled splits would give 1


def test_seed_changes_the_splits_only():
    p = random_probabilities()
    first, second = (inception_score(p, keys(200), splits=10, seed=s) for s in (0, 1))
    assert first != second and first[0] == pytest.approx(second[0], rel=0.1)
