"""Crops, mirror images and pixel ranges. Images stay uint8 until they meet a network."""

import numpy as np
import torch
from torch import Tensor

from s2igan.errors import InputError

# B batch, S stored size, K crop size, V views


def to_float(images: Tensor) -> Tensor:
    """Map uint8 pixels 0…255 to float32 -1…1, any shape. `to_uint8` is its exact inverse."""
    return images.float() / 127.5 - 1.0


def to_uint8(images: Tensor) -> Tensor:
    """Map floats -1…1 to uint8 pixels 0…255, rounded to the nearest; values outside are clipped."""
    return ((images + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def centre_crop(images: Tensor, crop_size: int) -> Tensor:
    """Cut the middle square out: (B, 3, S, S) -> (B, 3, K, K); an odd margin is larger at the end.

    Raises InputError if the crop is larger than the images.
    """
    height, width = _check(images, crop_size)
    top, left = (height - crop_size) // 2, (width - crop_size) // 2
    return images[..., top : top + crop_size, left : left + crop_size]


def random_crop_flip(images: Tensor, crop_size: int, generator: torch.Generator) -> Tensor:
    """Cut a random square out of each image and mirror half of them: (B, 3, S, S) -> (B, 3, K, K).

    Each image has its own place and its own coin. The draws come from `generator` (a CPU one)
    alone, and are the same whatever the device of the images. Raises InputError if the crop is
    larger than the images.
    """
    height, width = _check(images, crop_size)
    count = len(images)
    top = torch.randint(height - crop_size + 1, (count,), generator=generator)
    left = torch.randint(width - crop_size + 1, (count,), generator=generator)
    flip = torch.randint(2, (count,), generator=generator).bool()
    return _crop(images, crop_size, top, left, flip)


def views(images: Tensor | np.ndarray, crop_size: int, count: int, rng: np.random.Generator) -> Tensor:
    """Cut `count` views of each image: uint8 (B, 3, S, S) -> uint8 (B, V, 3, K, K).

    View 0 is the centre crop, view 1 its mirror image, further ones are random crops with random
    mirroring. Raises InputError if the crop is larger than the images or `count` is below 1.
    """
    if count < 1:
        raise InputError(f"views: {count}; ask for at least 1 view of each image")
    images = torch.as_tensor(images)
    height, width = _check(images, crop_size)
    centre = centre_crop(images, crop_size)
    made = [centre, centre.flip(-1)][:count]
    # Drawn image by image, so that an image's views are the same however a stage cuts its batches
    # out of one stream of images.
    extra = max(count - 2, 0)
    limits = [height - crop_size + 1, width - crop_size + 1, 2]
    draws = torch.from_numpy(rng.integers(limits, size=(len(images), extra, 3)))
    for view in range(extra):
        top, left, flip = draws[:, view].unbind(1)
        made.append(_crop(images, crop_size, top, left, flip.bool()))
    return torch.stack(made, dim=1)


def _crop(images: Tensor, size: int, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
    steps = torch.arange(size)
    rows = top[:, None] + steps  # (B, K)
    columns = left[:, None] + torch.where(flip[:, None], size - 1 - steps, steps)  # (B, K)
    image = torch.arange(len(images))[:, None, None, None]
    channel = torch.arange(images.shape[1])[None, :, None, None]
    index = (image, channel, rows[:, None, :, None], columns[:, None, None, :])
    return images[tuple(part.to(images.device) for part in index)]


def _check(images: Tensor, crop_size: int) -> tuple[int, int]:
    height, width = images.shape[-2:]
    if not 0 < crop_size <= min(height, width):
        raise InputError(
            f"crop size: {crop_size} with images of {height}x{width}; "
            f"choose 1 to {min(height, width)}, or store larger images"
        )
    return height, width
