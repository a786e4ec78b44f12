"""Inception score of class probabilities; the arithmetic is torch-fidelity's."""

from collections.abc import Sequence

import numpy as np
import torch

from s2igan.errors import InputError

# N images, C classes

# exp(-700) is still a normal float64; with probabilities of exactly 0 the score would be 0 · inf.
LOWEST_LOG_PROBABILITY = -700.0


def key_order(keys: Sequence[str], rows: int, what: str) -> np.ndarray:
    """Row numbers in the order of their keys, so that no score depends on the order of a file.

    keys: one a row, all different; rows: how many there must be; what: named in errors.
    Returns (rows,) int. Raises InputError when the number differs or a key repeats.
    """
    keys = np.asarray(keys, dtype=str)
    if keys.shape != (rows,):
        raise InputError(f"{what}: {keys.size} keys for {rows} rows; give one key a row")
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
    if repeated.size:
        raise InputError(f"{what}: key {ordered[repeated[0]]!r} occurs twice; make keys unique")
    return order


def inception_score(
    values: np.ndarray,
    keys: Sequence[str],
    *,
    splits: int = 10,
    seed: int = 0,
    logits: bool = False,
) -> tuple[float, float]:
    """Inception score exp(E KL(p(y|x) || p(y))): mean and standard deviation over the splits.

    Uniform probabilities score 1, certain ones balanced over C classes score C. The order of the
    images does not matter: rows are ordered by key, then shuffled by the seed.

    values: (N, C) probabilities, or logits with `logits=True`; keys: (N,) unique.
    Raises InputError when N < splits, values are not finite, or rows are no probabilities.
    Source: Salimans et al. 2016, section 4; computed by torch-fidelity.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 1:
        raise InputError(f"Inception score: values of shape {values.shape}; give (images, classes)")
    if splits < 1 or len(values) < splits:
        raise InputError(
            f"Inception score: {len(values)} images for {splits} splits; give more images or fewer splits (at least 1)"
        )
    if not np.isfinite(values).all():
        raise InputError("Inception score: NaN or infinite values; check the classifier's output")
    order = key_order(keys, len(values), "Inception score")
    if logits:
        log_probabilities = torch.from_numpy(values).log_softmax(dim=1)
    else:
        if (values < 0).any() or (np.abs(values.sum(axis=1) - 1) > 1e-3).any():
            raise InputError(
                "Inception score: a row is negative or does not sum to 1; give probabilities, or say logits=True"
            )
        with np.errstate(divide="ignore"):  # log 0 is clamped below
            log_probabilities = torch.from_numpy(np.log(values))
    log_probabilities = log_probabilities.clamp(min=LOWEST_LOG_PROBABILITY)
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric  # slow

    # torch-fidelity takes logits; log-probabilities are logits of the same probabilities.
    score = isc_features_to_metric(
        log_probabilities[torch.from_numpy(order)], splits=splits, shuffle=True, rng_seed=seed
    )
    return score[KEY_METRIC_ISC_MEAN], score[KEY_METRIC_ISC_STD]
