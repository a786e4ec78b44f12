"""Fréchet distance, Fréchet joint distance and kernel distance of feature vectors."""

from collections.abc import Sequence

import numpy as np
import torch

from s2igan.errors import InputError
from s2igan.metrics.inception_score import key_order

# N images, F features, D condition dimensions

ROWS_AT_ONCE = 4096  # bounds the float64 copy: 64 MiB at 2048 features


def _check_features(features: np.ndarray, what: str, least: int = 2) -> np.ndarray:
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < least:
        raise InputError(
            f"{what}: features of shape {features.shape}; give (images, features) with at least {least} images"
        )
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise InputError(f"{what}: row {row} holds NaN or infinity; check the encoder's output")
    return features


def gaussian_statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased covariance of the rows, in float64 whatever the features' type.

    features: (N, F), N >= 2. Returns (F,) and (F, F).
    Raises InputError on NaN, infinity or fewer than two rows.
    """
    features = _check_features(features, "Gaussian statistics")
    mean = features.mean(axis=0, dtype=np.float64)  # (F,)
    covariance = np.zeros((features.shape[1],) * 2)
    # Two passes: products of centred values do not cancel as a difference of moments would.
    for start in range(0, len(features), ROWS_AT_ONCE):
        centred = features[start : start + ROWS_AT_ONCE].astype(np.float64) - mean
        covariance += centred.T @ centred
    return mean, covariance / (len(features) - 1)


def frechet_distance(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Fréchet distance of two Gaussians: |m_a - m_b|² + tr(S_a + S_b - 2 (S_a S_b)^½), never < 0.

    The trace of the square root is the sum of square roots of the eigenvalues of the symmetric
    S_a^½ S_b S_a^½: always real, and several times faster than a general matrix square root.
    Equal covariances leave the squared gap of the means.

    mean: (F,), covariance: (F, F). Raises InputError on NaN, infinity or unequal shapes.
    Source: Heusel et al. 2017, eq. 6. Only on Inception features is this the FID.
    """
    mean_a, covariance_a, mean_b, covariance_b = (
        np.asarray(x, dtype=np.float64) for x in (mean_a, covariance_a, mean_b, covariance_b)
    )
    size = mean_a.size
    if not (mean_a.shape == mean_b.shape == (size,) and covariance_a.shape == covariance_b.shape == (size, size)):
        raise InputError(
            f"Fréchet distance: statistics of shapes {covariance_a.shape} and "
            f"{covariance_b.shape}; compute both with one encoder"
        )
    if not all(np.isfinite(x).all() for x in (mean_a, covariance_a, mean_b, covariance_b)):
        raise InputError("Fréchet distance: NaN or infinity; check the encoder's output")
    values, vectors = np.linalg.eigh(covariance_a)
    # Fewer images than features leave empty directions; they add nothing but rounding and time.
    kept = values > max(values[-1], 0) * size * np.finfo(np.float64).eps
    root = vectors[:, kept] * np.sqrt(values[kept])  # S_a = root rootᵀ
    product = np.linalg.eigvalsh(root.T @ covariance_b @ root)
    trace_of_root = np.sqrt(np.clip(product, 0, None)).sum()
    gap = mean_a - mean_b
    distance = gap @ gap + np.trace(covariance_a) + np.trace(covariance_b) - 2 * trace_of_root
    return max(float(distance), 0.0)


def frechet_joint_distance(
    features_a: np.ndarray,
    conditions_a: np.ndarray,
    features_b: np.ndarray,
    conditions_b: np.ndarray,
    alpha: float | None = None,
) -> float:
    """Fréchet distance of the joint vectors [features, alpha · condition].

    Sees what the plain distance cannot: good images under the wrong conditions. `a` is the
    reference (real) set; without alpha it is the ratio of its mean L2 norms, features to
    conditions, so that both weigh alike.

    features: (N, F), conditions: (N, D), row by row. Raises InputError on NaN, unequal numbers of
    rows, or conditions that are all zero. Source: DeVries et al. 2019, section 3.
    """
    sets = []
    for features, conditions in ((features_a, conditions_a), (features_b, conditions_b)):
        features = _check_features(features, "Fréchet joint distance, features")
        conditions = _check_features(conditions, "Fréchet joint distance, conditions")
        if len(features) != len(conditions):
            raise InputError(
                f"Fréchet joint distance: {len(features)} images and {len(conditions)} "
                "conditions; give one condition an image"
            )
        sets.append((features, conditions))
    if alpha is None:
        features, conditions = sets[0]
        norm = np.linalg.norm(conditions, axis=1).mean(dtype=np.float64)
        if norm == 0:
            raise InputError("Fréchet joint distance: all conditions are zero; check the encoder")
        alpha = float(np.linalg.norm(features, axis=1).mean(dtype=np.float64) / norm)
    joint = [
        gaussian_statistics(np.concatenate([features, alpha * conditions], axis=1)) for features, conditions in sets
    ]
    return frechet_distance(*joint[0], *joint[1])


def kernel_distance(
    features_a: np.ndarray,
    features_b: np.ndarray,
    keys_a: Sequence[str],
    keys_b: Sequence[str],
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Kernel distance (KID on Inception features): mean and standard deviation over subsets.

    The unbiased squared MMD under the kernel (x·y / F + 1)³ of random subsets; a little below 0
    when the sets are alike. Rows are ordered by key first, so their order does not matter.

    features: (N, F); keys: (N,) unique. Raises InputError on NaN or N < subset_size.
    Source: Binkowski et al. 2018, section 4; computed by torch-fidelity.
    """
    ordered = []
    for features, keys in ((features_a, keys_a), (features_b, keys_b)):
        features = _check_features(features, "kernel distance")
        if not 2 <= subset_size <= len(features):
            raise InputError(
                f"kernel distance: subsets of {subset_size} from {len(features)} images; "
                f"choose a subset size from 2 to {len(features)}"
            )
        order = key_order(keys, len(features), "kernel distance")
        ordered.append(torch.from_numpy(features[order].astype(np.float64)))
    if ordered[0].shape[1] != ordered[1].shape[1]:
        raise InputError("kernel distance: feature sizes differ; compute both with one encoder")
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric  # slow

    score = kid_features_to_metric(
        *ordered, kid_subsets=subsets, kid_subset_size=subset_size, rng_seed=seed, verbose=False
    )
    return score[KEY_METRIC_KID_MEAN], score[KEY_METRIC_KID_STD]
