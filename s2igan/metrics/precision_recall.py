"""Precision and recall of generated images: fidelity and variety, told apart."""

# N real images, M generated images, F features

import numpy as np
import torch

NEIGHBOURS = 3  # Kynkaanniemi et al. 2019, section 2
ROWS_AT_ONCE = 500  # of the distances in memory, twice: 230 MiB for 30,000 images


def precision_recall(real: np.ndarray, fake: np.ndarray, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of generated images that lie among the real ones, and of real ones that lie among the generated.

    An image lies among a set if it is within the distance from one of them to its `neighbours`-th nearest other.
    Blur lowers precision, collapse lowers recall. real (N, F), fake (M, F); sets of as few as `neighbours` images
    take fewer neighbours. By torch-fidelity. Source: Kynkaanniemi et al., NeurIPS 2019.
    """
    from torch_fidelity.metric_prc import prc_features_to_metric  # slow to import

    scores = prc_features_to_metric(
        torch.from_numpy(np.ascontiguousarray(fake, np.float64)),
        torch.from_numpy(np.ascontiguousarray(real, np.float64)),
        prc_neighborhood=min(neighbours, len(real) - 1, len(fake) - 1),
        prc_batch_size=ROWS_AT_ONCE,
        save_cpu_ram=True,
        verbose=False,
    )
    return scores["precision"], scores["recall"]
