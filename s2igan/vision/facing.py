"""Which of the training images to turn round, so that what they show faces one way in all of them."""

# N images, G side of the grid

from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional as F

GRID = 8
ROUNDS = 100  # at most; a few are enough


def turned(images: Iterable[np.ndarray]) -> np.ndarray:
    """For each of N images (3, h, w), whether to mirror it: bool (N,).

    No label says which way a thing faces, but most things of one kind have their outlines in like places. Let a_i be
    the edges of image i less those of its mirror image, so that mirroring turns a_i into -a_i. The direction w and the
    signs s_i that maximise the sum of s_i a_i·w are found in turn, beginning at the first principal component. Which
    of the two sides all images face is left open, so the first image stays as it is.
    """
    odd = np.stack([_oddness(image) for image in images])
    odd /= np.linalg.norm(odd, axis=1, keepdims=True) + 1e-12
    direction = np.linalg.svd(odd, full_matrices=False)[2][0]
    signs = np.zeros(len(odd))
    for _ in range(ROUNDS):
        before, signs = signs, np.where(odd @ direction < 0, -1.0, 1.0)
        if (signs == before).all():
            break
        direction = signs @ odd
    return signs != signs[0]


def _oddness(image: np.ndarray) -> np.ndarray:
    """(3, h, w) -> (G²,): the image's edges less those of its mirror image, on a coarse grid."""
    pixels = torch.as_tensor(image).float()
    edges = sum(F.adaptive_avg_pool2d(pixels.diff(dim=dim).abs().sum(0, keepdim=True), GRID) for dim in (1, 2))
    return (edges - edges.flip(-1)).flatten().double().numpy()
