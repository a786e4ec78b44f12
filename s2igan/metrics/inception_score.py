"""Inception score of class probabilities; the arithmetic is torch-fidelity's."""

from collections.abc import Sequence

import numpy as np
import torch

# N images, C classes

# exp(-700) is still a normal float64; with probabilities of exactly 0 the score would be 0 · inf.
LOWEST_LOG_PROBABILITY = -700.0


def key_order(keys: Sequence[str]) -> np.ndarray:
    """Row numbers (N,) in the order of their keys (N,), so that no score depends on the order of a file."""
    return np.argsort(np.asarray(keys, dtype=str), kind="stable")


def inception_score(values: np.ndarray, keys: Sequence[str], *, splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Inception score exp(E KL(p(y|x) || p(y))): mean and standard deviation over the splits.

    Uniform probabilities score 1, certain ones balanced over C classes score C. The order of the
    images does not matter: rows are ordered by key, then shuffled by the seed.

    values: (N, C) probabilities; keys: (N,) unique; splits: N at most.
    Source: Salimans et al. 2016, section 4; computed by torch-fidelity.
    """
    with np.errstate(divide="ignore"):  # log 0 is clamped below
        log_probabilities = torch.from_numpy(np.log(np.asarray(values, np.float64))).clamp(min=LOWEST_LOG_PROBABILITY)
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric  # slow

    # torch-fidelity takes logits; log-probabilities are logits of the same probabilities.
    score = isc_features_to_metric(
        log_probabilities[torch.from_numpy(key_order(keys))], splits=splits, shuffle=True, rng_seed=seed
    )
    return score[KEY_METRIC_ISC_MEAN], score[KEY_METRIC_ISC_STD]
