"""Images from speech embeddings, each with a seed of its own, so that none depends on its batch."""

# B batch, P places, A speech embedding size, S base size

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from s2igan.rdg.attention import recorded_weights
from s2igan.rdg.model import SpeechToImage, mirror
from s2igan.vision.transforms import to_uint8

BATCH = 32  # images at a time, where nobody asks for another number


def image_seed(key: str, seed: int) -> int:
    """The seed of one image, from its caption's key and the run's seed: 63 bits, stable everywhere."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8], "big") >> 1


def latents(seeds: Sequence[int], dim: int) -> Tensor:
    """N(0, 1) numbers (B, dim), a row a seed."""
    return torch.stack([torch.randn(dim, generator=torch.Generator().manual_seed(s)) for s in seeds])


@torch.no_grad()
def generate(
    model: SpeechToImage, speech: np.ndarray, seeds: Sequence[int], batch_size: int, device: torch.device
) -> Iterator[list[np.ndarray]]:
    """Yields batches of uint8 images at the scales that are drawn, [(B, 3, S, S), (B, 3, 2S, 2S), (B, 3, 4S, 4S)].

    `speech` is (N, A), for attention (N, 1 + P, A), `seeds` N numbers; the order of the output is theirs.
    """
    model = model.to(device, memory_format=torch.channels_last).eval()  # convolutions are faster so
    for start in range(0, len(seeds), batch_size):
        rows = slice(start, start + batch_size)
        latent = latents(seeds[rows], model.latent_dim).to(device)
        images = model(latent, torch.from_numpy(speech[rows]).to(device))[0]
        yield [to_uint8(image).cpu().numpy() for image in images]


def draw_with_attention(
    model: SpeechToImage, speech: np.ndarray, seeds: Sequence[int], device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3, 4S, 4S), and what the last stage attends to at each place of its input (N, 2S, 2S, P)."""
    with recorded_weights(model.generator.stages[-1]) as weights:
        images = np.concatenate([scales[-1] for scales in generate(model, speech, seeds, BATCH, device)])
    size = images.shape[-1] // 2
    attended = torch.cat(weights).cpu().unflatten(1, (size, size))
    if model.mirrored:
        attended = mirror(attended, latents(seeds, model.latent_dim), 2)
    return images, attended.numpy()
