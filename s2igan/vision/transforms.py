"""Crops, mirror images and pixel ranges. Images stay uint8 until they meet a network."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from s2igan.errors import InputError

# B batch, K crop size, V views

Images: TypeAlias = Tensor | np.ndarray | Sequence[np.ndarray]  # B of (3, h, w), of one shape or of several


def to_float(images: Tensor) -> Tensor:
    """Map uint8 pixels 0…255 to float32 -1…1, any shape. `to_uint8` is its exact inverse."""
    return images.to(torch.float32, copy=True).div_(127.5).sub_(1.0)  # in place: fresh memory is what takes the time


def to_uint8(images: Tensor) -> Tensor:
    """Map floats -1…1 to uint8 pixels 0…255, rounded to the nearest; values outside are clipped."""
    return (images + 1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def centre_crop(images: Images, crop_size: int) -> Tensor:
    """Cut the middle square out of each image, (B, 3, K, K); an odd margin is larger at the end.

    Raises InputError if the crop is larger than an image.
    """
    margins = [_margins(image, crop_size) for image in images]
    return _crops(images, crop_size, [(down // 2, across // 2, 0) for down, across in margins])


def random_crop_flip(
    images: Images, crop_size: int, generator: torch.Generator, turned: np.ndarray | None = None
) -> Tensor:
    """Cut a random square out of each image and mirror half of them, or those that `turned` (B,) says: (B, 3, K, K).

    Each image has its own place and its own coin. The draws come from `generator` (a CPU one) alone. Raises InputError
    if the crop is larger than an image.
    """
    margins = [_margins(image, crop_size) for image in images]
    top, left, flip = (
        [int(torch.randint(choices, (1,), generator=generator)) for choices in of_all]
        for of_all in ([down + 1 for down, _ in margins], [across + 1 for _, across in margins], [2] * len(margins))
    )
    return _crops(images, crop_size, zip(top, left, flip if turned is None else turned, strict=True))


def views(images: Images, crop_size: int, count: int, rng: np.random.Generator) -> Tensor:
    """Cut `count` views of each image: uint8 (B, V, 3, K, K).

    View 0 is the centre crop, view 1 its mirror image, further ones are random crops with random
    mirroring. Raises InputError if the crop is larger than an image.
    """
    centre = centre_crop(images, crop_size)
    made = [centre, centre.flip(-1)][:count]
    # Drawn image by image, so that an image's views are the same however a stage cuts its batches
    # out of one stream of images.
    extra = max(count - 2, 0)
    limits = np.array([[[down + 1, across + 1, 2]] for down, across in (_margins(i, crop_size) for i in images)])
    draws = rng.integers(limits, size=(len(images), extra, 3))
    made += [_crops(images, crop_size, draws[:, view]) for view in range(extra)]
    return torch.stack(made, dim=1)


def _crops(images: Images, size: int, places: Iterable) -> Tensor:
    """Squares of the images at (top, left, mirrored or not) each."""
    crops = []
    for image, (top, left, flip) in zip(images, places, strict=True):
        crop = torch.as_tensor(image)[:, top : top + size, left : left + size]
        crops.append(crop.flip(-1) if flip else crop)
    return torch.stack(crops)


def _margins(image: Tensor | np.ndarray, crop_size: int) -> tuple[int, int]:
    """What a crop of the image leaves, downwards and across."""
    height, width = image.shape[-2:]
    if not 0 < crop_size <= min(height, width):
        raise InputError(
            f"crop size: {crop_size} with images of {height}x{width}; "
            f"choose 1 to {min(height, width)}, or store larger images"
        )
    return height - crop_size, width - crop_size
