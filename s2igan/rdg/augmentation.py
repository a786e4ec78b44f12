"""Differentiable augmentation: what the discriminators see of real and generated images alike."""

# B batch, S size

from __future__ import annotations

import torch
from torch import Tensor


def translate(images: Tensor, shifts: Tensor, share: float) -> Tensor:
    """Moves each image by whole pixels; what comes in repeats the border (after DiffAugment, Zhao et al. 2020).

    images (B, 3, S, S); shifts (B, 2) in [-1, 1], down and right, times `share` of the side: the same shifts move
    every scale of an image alike. Gradients reach the images. `share` 0 returns the images as they are.
    Where what comes in is 0, as in DiffAugment, the generator draws a frame.
    """
    if not share:
        return images
    size = images.shape[-1]
    moved = (shifts * max(1, round(share * size))).round().long()
    steps = torch.arange(size, device=images.device)
    rows, columns = ((steps - moved[:, axis, None]).clamp(0, size - 1) for axis in (0, 1))  # (B, S), of the image
    image = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
