import numpy as np
import pytest
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

from s2igan.metrics.frechet import (
    frechet_distance,
    frechet_joint_distance,
    gaussian_statistics,
    kernel_distance,
)

rng = np.random.default_rng(0)
A = rng.normal(size=(300, 24)) @ rng.normal(size=(24, 24))
B = rng.normal(size=(280, 24)) @ rng.normal(size=(24, 24)) + 0.5


def keys(count):
    return [f"image{i:05d}" for i in range(count)]


def peer(first, second):
    statistics = [{"mu": mean, "sigma": covariance} for mean, covariance in (first, second)]
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def test_statistics_are_those_of_numpy_in_float64():
    features = A.astype(np.float32) + 1000  # a far mean: float32 sums would lose digits
    mean, covariance = gaussian_statistics(features)
    exact = features.astype(np.float64)
    assert mean.dtype == covariance.dtype == np.float64
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(exact, rowvar=False), rtol=1e-9, atol=1e-9)


def test_statistics_do_not_depend_on_the_block(monkeypatch):
    whole = gaussian_statistics(A)
    monkeypatch.setattr("s2igan.metrics.frechet.ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(gaussian_statistics(A)[1], whole[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("a", "b", "rel"), [(A, B, 1e-10), (A[:10], B[:12], 1e-5)])  # fewer images than features, too
def test_equals_torch_fidelity(a, b, rel):
    first, second = gaussian_statistics(a), gaussian_statistics(b)
    assert frechet_distance(*first, *second) == pytest.approx(peer(first, second), rel=rel)


def test_the_same_set_is_at_distance_zero_and_order_does_not_matter():
    statistics = gaussian_statistics(A)
    assert 0 <= frechet_distance(*statistics, *statistics) < 1e-8
    shuffled = gaussian_statistics(np.random.default_rng(1).permutation(A))
    assert frechet_distance(*statistics, *shuffled) < 1e-8


def test_is_symmetric_and_copes_with_no_variance():
    first, second = gaussian_statistics(A), gaussian_statistics(B)
    assert frechet_distance(*first, *second) == pytest.approx(frechet_distance(*second, *first))
    nothing = np.zeros((3, 3))
    assert frechet_distance(np.zeros(3), nothing, np.ones(3), nothing) == pytest.approx(3)


def test_joint_distance_sees_shuffled_conditions_where_the_plain_one_does_not():
    r = np.random.default_rng(2)
    conditions = r.normal(size=(400, 5))
    features = conditions @ r.normal(size=(5, 8)) + 0.1 * r.normal(size=(400, 8))
    order = r.permutation(400)
    right = frechet_joint_distance(features, conditions, features, conditions)
    wrong = frechet_joint_distance(features, conditions, features[order], conditions)
    statistics = gaussian_statistics(features), gaussian_statistics(features[order])
    assert frechet_distance(*statistics[0], *statistics[1]) < 1e-8
    assert right < 1e-8 and wrong > 1


def test_joint_distance_balances_the_norms_by_itself():
    features, conditions = A[:, :12], A[:, 12:]
    other, others = B[:250, :12], B[:250, 12:]
    once = frechet_joint_distance(features, conditions, other, others)
    scaled = frechet_joint_distance(features, 100 * conditions, other, 100 * others)
    assert once == pytest.approx(scaled)


def test_kernel_distance_against_its_formula():
    x, y = A[:60], B[:60]
    kernel = [(u @ v.T / 24 + 1) ** 3 for u, v in ((x, x), (y, y), (x, y))]
    inside = sum((k.sum() - np.trace(k)) / (60 * 59) for k in kernel[:2])
    mean, std = kernel_distance(x, y, keys(60), keys(60), subsets=3, subset_size=60)
    assert mean == pytest.approx(inside - 2 * kernel[2].mean(), rel=1e-9)
    assert std == pytest.approx(0, abs=1e-6 * mean)


def test_kernel_distance_does_not_depend_on_the_order():
    names, order = np.array(keys(300)), np.random.default_rng(3).permutation(300)
    options = {"subsets": 5, "subset_size": 100}
    first = kernel_distance(A, B, names, keys(280), **options)
    assert first == kernel_distance(A[order], B, names[order], keys(280), **options)
    near = kernel_distance(A[:150], A[150:], keys(150), keys(150), **options)
    assert abs(near[0]) < first[0]
