"""Differentiable augmentation: what the discriminators see of real and generated images alike."""

# B batch, S size

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def translate(images: Tensor, shifts: Tensor, share: float) -> Tensor:
    """Moves each image by whole pixels; what comes in at the border is 0 (DiffAugment, Zhao et al. 2020).

    images (B, 3, S, S); shifts (B, 2) in [-1, 1], down and right, times `share` of the side: the same shifts move
    every scale of an image alike. Gradients reach the images. `share` 0 returns the images as they are.
    """
    if not share:
        return images
    size = images.shape[-1]
    margin = max(1, round(share * size))
    start = margin - (shifts * margin).round().long()  # of the window, in the padded image
    steps = torch.arange(size, device=images.device)
    rows, columns = (start[:, axis, None] + steps for axis in (0, 1))  # (B, S)
    padded = F.pad(images, [margin] * 4).permute(0, 2, 3, 1)  # (B, S + 2 margin, S + 2 margin, 3)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
