"""Speech in every layer of the generator: an up-sampling block after Fusion-S2iGan (Zhang et al. 2023).

The paper's fusion module has three parts, pixel attention, speech modulation and weighted fusion. What is inside them
here is this project's choice, since only the paper's abstract was at hand (docs/recipe.md).
"""

# B batch, C condition size, H hidden channels, S size

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PixelAttention(nn.Module):
    """x · a: a pixel's weight a is the sigmoid of a convolution of its channels' mean and maximum.

    As the spatial attention of CBAM (Woo et al. 2018).
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, S, S) -> the same."""
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)  # (B, 2, S, S)
        return x * self.convolution(seen).sigmoid()


class SpeechModulation(nn.Module):
    """(1 + scale(c)) · batch_norm(x) + shift(c): channels are scaled and shifted as the condition says.

    scale and shift are perceptrons of one hidden layer (Tao et al. 2022, DF-GAN).
    """

    def __init__(self, channels: int, condition_dim: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = (
            nn.Sequential(nn.Linear(condition_dim, channels), nn.ReLU(inplace=True), nn.Linear(channels, channels))
            for _ in range(2)
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, H, S, S), condition (B, C) -> (B, H, S, S)."""
        scale, shift = (of_condition(condition)[:, :, None, None] for of_condition in (self.scale, self.shift))
        return (1 + scale) * self.norm(x) + shift


class VisualSpeechFusion(nn.Module):
    """w · attended + (1 - w) · modulated; for each channel w = sigmoid(linear(means of both over the plane))."""

    def __init__(self, channels: int, condition_dim: int):
        super().__init__()
        self.attention = PixelAttention()
        self.modulation = SpeechModulation(channels, condition_dim)
        self.weight = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, H, S, S), condition (B, C) -> (B, H, S, S)."""
        attended, modulated = self.attention(x), self.modulation(x, condition)
        means = torch.cat([attended.mean(dim=(2, 3)), modulated.mean(dim=(2, 3))], dim=1)  # (B, 2 H)
        weight = self.weight(means).sigmoid()[:, :, None, None]
        return weight * attended + (1 - weight) * modulated


class FusionUpBlock(nn.Module):
    """Up-sampling by 2 between two 3x3 convolutions, each of features fused with speech, and a shortcut around them."""

    def __init__(self, in_channels: int, out_channels: int, upsampling: str, condition_dim: int):
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode=upsampling)
        self.fusions = nn.ModuleList(VisualSpeechFusion(c, condition_dim) for c in (in_channels, out_channels))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(c, out_channels, 3, padding=1, bias=False) for c in (in_channels, out_channels)
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, in, S, S), condition (B, C) -> (B, out, 2S, 2S)."""
        h = self.upsample(F.leaky_relu(self.fusions[0](x, condition), 0.2))
        h = F.leaky_relu(self.fusions[1](self.convolutions[0](h), condition), 0.2)
        return self.upsample(self.shortcut(x)) + self.convolutions[1](h)
