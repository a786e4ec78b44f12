"""Fréchet distance, Fréchet joint distance and kernel distance of feature vectors."""

from collections.abc import Sequence

import numpy as np
import torch

from s2igan.metrics.inception_score import key_order

# N images, F features, D condition dimensions

ROWS_AT_ONCE = 4096  # bounds the float64 copy: 64 MiB at 2048 features


def gaussian_statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (F,) and unbiased covariance (F, F) of features (N, F), N >= 2, in float64 whatever the features' type."""
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

    mean: (F,), covariance: (F, F). Source: Heusel et al. 2017, eq. 6. Only on Inception features is this the
    FID.
    """
    values, vectors = np.linalg.eigh(covariance_a)
    # Fewer images than features leave empty directions; they add nothing but rounding and time.
    kept = values > max(values[-1], 0) * len(values) * np.finfo(np.float64).eps
    root = vectors[:, kept] * np.sqrt(values[kept])  # S_a = root rootᵀ
    product = np.linalg.eigvalsh(root.T @ covariance_b @ root)
    trace_of_root = np.sqrt(np.clip(product, 0, None)).sum()
    gap = mean_a - mean_b
    distance = gap @ gap + np.trace(covariance_a) + np.trace(covariance_b) - 2 * trace_of_root
    return max(float(distance), 0.0)


def frechet_joint_distance(
    features_a: np.ndarray, conditions_a: np.ndarray, features_b: np.ndarray, conditions_b: np.ndarray
) -> float:
    """Fréchet distance of the joint vectors [features, alpha · condition].

    Sees what the plain distance cannot: good images under the wrong conditions. `a` is the reference (real) set;
    alpha is the ratio of its mean L2 norms, features to conditions, so that both weigh alike.

    features: (N, F), conditions: (N, D), row by row. Source: DeVries et al. 2019, section 3.
    """
    norms = [np.linalg.norm(rows, axis=1).mean(dtype=np.float64) for rows in (features_a, conditions_a)]
    alpha = float(norms[0] / norms[1])
    return frechet_distance(
        *gaussian_statistics(np.concatenate([features_a, alpha * conditions_a], axis=1)),
        *gaussian_statistics(np.concatenate([features_b, alpha * conditions_b], axis=1)),
    )


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

    features: (N, F), N >= subset_size >= 2; keys: (N,) unique.
    Source: Binkowski et al. 2018, section 4; computed by torch-fidelity.
    """
    ordered = [
        torch.from_numpy(features[key_order(keys)].astype(np.float64))
        for features, keys in ((features_a, keys_a), (features_b, keys_b))
    ]
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric  # slow

    score = kid_features_to_metric(
        *ordered, kid_subsets=subsets, kid_subset_size=subset_size, rng_seed=seed, verbose=False
    )
    return score[KEY_METRIC_KID_MEAN], score[KEY_METRIC_KID_STD]
