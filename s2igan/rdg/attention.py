"""Attention to places of the speech, and to its condition, between the generator's scales."""

# B batch, H hidden channels, S size, P places (padded to the most that an utterance has), A speech embedding size,
# C condition size

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class PlaceAttention(nn.Module):
    """F^attn of AttnGAN (Xu et al. 2018, section 3.1): what each place of h_{i-1} attends to.

    A weighted mean over the projected places of the utterance. e'_k = U e_k; of pixel j,
    beta_{j,k} = exp(h_j . e'_k) / sum_l exp(h_j . e'_l) and c_j = sum_k beta_{j,k} e'_k (eq. 2). A place of zeros is
    padding and takes no weight.
    """

    def __init__(self, place_dim: int, channels: int):
        super().__init__()
        self.project = nn.Linear(place_dim, channels, bias=False)  # U
        self.weights = AttentionWeights()

    def forward(self, hidden: Tensor, places: Tensor) -> Tensor:
        """h (B, H, S, S), e (B, P, A) -> c (B, H, S, S)."""
        queries = hidden.permute(0, 2, 3, 1).flatten(1, 2)  # (B, S·S, H)
        projected = self.project(places)  # (B, P, H)
        padding = (places == 0).all(dim=2)  # ONNX knows no `any` of numbers
        context = self.weights(queries @ projected.transpose(1, 2), padding) @ projected  # (B, S·S, H)
        return context.unflatten(1, hidden.shape[-2:]).permute(0, 3, 1, 2)  # in channels-last order, as h is


class AttentionWeights(nn.Module):
    """beta of eq. 2, a module of its own so that `recorded_weights` can see it."""

    def forward(self, scores: Tensor, padding: Tensor) -> Tensor:
        """Scores (B, S·S, P), padding (B, P) -> weights (B, S·S, P); the sum over places is 1, of padding 0."""
        return torch.softmax(scores.float().masked_fill(padding[:, None], float("-inf")), dim=2).to(scores.dtype)


class SentenceAttention(nn.Module):
    """MirrorGAN's sentence-level attention (Qiao et al. 2019, section 3.2): each pixel's share of the condition.

    Att^s = V s ∘ softmax(h ∘ V s), s the condition. The softmax is over the channels, which the paper leaves out.
    """

    def __init__(self, condition_dim: int, channels: int):
        super().__init__()
        self.project = nn.Linear(condition_dim, channels, bias=False)  # V

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """h (B, H, S, S), s (B, C) -> (B, H, S, S)."""
        projected = self.project(condition)[:, :, None, None]
        return projected * torch.softmax((hidden * projected).float(), dim=1).to(hidden.dtype)


@contextmanager
def recorded_weights(network: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what each `PlaceAttention` of `network` attends to while this lasts, (B, S·S, P) for each call."""
    found: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor, Tensor], weights: Tensor) -> None:
        found.append(weights)

    hooks = [m.register_forward_hook(keep) for m in network.modules() if isinstance(m, AttentionWeights)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
