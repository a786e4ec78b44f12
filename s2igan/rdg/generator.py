"""The densely-stacked generator (paper, section 2.3.1): three images from a noise vector and a condition."""

# B batch, Z noise size, C condition size, N base channels, S base size (first scale), P places, A embedding size

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan.rdg.attention import PlaceAttention, SentenceAttention
from s2igan.rdg.conditioning import JoinCondition
from s2igan.rdg.fusion import FusionUpBlock
from s2igan.rdg.planes import PlaneConv2d, enlarge

DENSE = ("all", "previous", "none")
UPSAMPLINGS = ("nearest", "bilinear")
PADDINGS = ("zeros", "replicate")


@dataclass(frozen=True)
class StageConfig:
    """What all stages of a generator share.

    `dense` says which hidden features a refinement stage sees:
    `all`       every earlier one (the paper's eq. 7);
    `previous`  the last, concatenated once more before up-sampling (the published code);
    `none`      the last (StackGAN-v2).
    """

    condition_dim: int
    residual_blocks: int = 2  # of each refinement stage
    dense: str = "all"
    upsampling: str = "nearest"
    gated: bool = True
    place_dim: int = 0  # of the places that refinement stages attend to; 0: they attend to none
    sentence_attention: bool = False  # whether they attend to the condition (MirrorGAN)
    modulation: bool = False  # whether the condition takes part in each layer of every up-sampling block
    condition_every_stage: bool = True  # or the first alone, the others see what they attend to (AttnGAN)


class GatedLinearUnit(nn.Module):
    """Half of the channels, gated by the sigmoid of the other half: what nn.GLU does.

    That one's gradient comes in another order of memory than channels-last, and the batch norm before it then takes
    many times as long on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 H, ...) -> (B, H, ...)."""
        values, gates = x.chunk(2, dim=1)
        return values * gates.sigmoid()


def unit(gated: bool) -> tuple[int, nn.Module]:
    """How many channels a unit takes for each that it gives, and the unit: gated linear, or a leaky ReLU."""
    return (2, GatedLinearUnit()) if gated else (1, nn.LeakyReLU(0.2, inplace=True))


class UpBlock(nn.Sequential):
    """Up-sampling by 2, 3x3 convolution, batch norm, gated linear unit (a leaky ReLU where not `gated`).

    `upsampling` is one of UPSAMPLINGS: nearest in the paper's code; bilinear leaves no mesh of single pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, upsampling: str = "nearest", gated: bool = True):
        factor, activation = unit(gated)
        super().__init__(
            nn.Upsample(scale_factor=2, mode=upsampling),
            PlaneConv2d(in_channels, factor * out_channels),
            nn.BatchNorm2d(factor * out_channels),
            activation,
        )

    def forward(self, input: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, in, S, S) -> (B, out, 2S, 2S); the condition is for a block that takes one, as `FusionUpBlock`."""
        upsample, convolution, *rest = self
        x = enlarge(input, 2 * input.shape[-1], upsample.mode, convolution.padding_mode)
        x = F.conv2d(x, convolution.weight)
        for layer in rest:
            x = layer(x)
        return x


def up_block(in_channels: int, out_channels: int, config: StageConfig) -> nn.Module:
    """`FusionUpBlock` with `modulation`, else `UpBlock`."""
    if config.modulation:
        return FusionUpBlock(in_channels, out_channels, config.upsampling, config.condition_dim)
    return UpBlock(in_channels, out_channels, config.upsampling, config.gated)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a gated linear unit (a leaky ReLU where not `gated`), added to the input."""

    def __init__(self, channels: int, gated: bool = True):
        super().__init__()
        factor, activation = unit(gated)
        self.body = nn.Sequential(
            PlaneConv2d(channels, factor * channels),
            nn.BatchNorm2d(factor * channels),
            activation,
            PlaneConv2d(channels, channels),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class InitialStage(nn.Module):
    """F_0 of eq. 7: h_0 = F_0(z, F^ca(A)), from a vector to N channels at S x S.

    A linear layer to 16N-channel features at 4 x 4 for S = 64, and as many halvings of the channels as
    doublings of the size: the number of channels at the end is N at every S.
    """

    def __init__(self, noise_dim: int, base_channels: int, base_size: int, config: StageConfig):
        super().__init__()
        doublings = int(math.log2(base_size // 4))
        widths = [base_channels * 2**i for i in range(doublings, -1, -1)]
        factor, activation = unit(config.gated)
        self.linear = nn.Sequential(
            nn.Linear(noise_dim + config.condition_dim, widths[0] * 4 * 4 * factor, bias=False),
            nn.BatchNorm1d(widths[0] * 4 * 4 * factor),
            activation,
        )
        self.up = nn.ModuleList(up_block(a, b, config) for a, b in pairwise(widths))

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        x = self.linear(torch.cat([condition, noise], dim=1))
        x = x.view(len(x), -1, 4, 4)
        for up in self.up:
            x = up(x, condition)
        return x  # (B, N, S, S)


class RefinementStage(nn.Module):
    """F_i of eq. 7, i > 0: joins the hidden features it is given with the condition and doubles their size.

    With a `place_dim` it also joins what the last hidden feature attends to of the speech, with
    `sentence_attention` what it attends to of the condition.
    """

    def __init__(self, hidden_channels: list[int], out_channels: int, config: StageConfig):
        super().__init__()
        channels = hidden_channels[-1]
        self.repeat_input, self.upsampling = config.dense == "previous", config.upsampling
        self.attention = PlaceAttention(config.place_dim, channels) if config.place_dim else None
        self.sentence_attention = None
        if config.sentence_attention:
            self.sentence_attention = SentenceAttention(config.condition_dim, channels)
        attended = channels * (bool(config.place_dim) + config.sentence_attention)
        self.told = config.condition_every_stage
        condition_dim = config.condition_dim if self.told else 0
        factor, activation = unit(config.gated)
        self.join = JoinCondition(condition_dim, sum(hidden_channels) + attended, factor * channels)
        self.refine = nn.Sequential(
            nn.BatchNorm2d(factor * channels),
            activation,
            *[ResidualBlock(channels, config.gated) for _ in range(config.residual_blocks)],
        )
        self.up = up_block(2 * channels if self.repeat_input else channels, out_channels, config)

    def forward(self, hidden: list[Tensor], condition: Tensor, places: Tensor | None = None) -> Tensor:
        last = hidden[-1]
        size = last.shape[-1]
        # "h_0 up-sampled to h_1's size": earlier features come at half the size or less.
        joined = [h if h.shape[-1] == size else enlarge(h, size, self.upsampling) for h in hidden]
        if self.attention is not None:
            joined.append(self.attention(last, places))
        if self.sentence_attention is not None:
            joined.append(self.sentence_attention(last, condition))
        x = self.refine(self.join(torch.cat(joined, dim=1), condition if self.told else None))
        return self.up(torch.cat([x, last], dim=1) if self.repeat_input else x, condition)


class ToImage(nn.Sequential):
    """G_i of eq. 7: I_i = G_i(h_i), an image in [-1, 1]."""

    def __init__(self, channels: int):
        super().__init__(PlaneConv2d(channels, 3), nn.Tanh())


class DenseGenerator(nn.Module):
    """The densely-stacked generator, eq. 7: images at S, 2S and 4S, or at the first `scales` of them.

    With a `place_dim` each refinement stage attends to places of that size, h_i = F_i(…, F^ca(A), F^attn(e, h_{i-1})):
    AttnGAN's eq. 1 in the paper's eq. 7. With one of `scales` there is no refinement: F_0 and G_0 draw at S.
    """

    def __init__(self, noise_dim: int, base_channels: int, base_size: int, config: StageConfig, scales: int = 3):
        super().__init__()
        self.dense = config.dense
        channels = [base_channels // 2**i for i in range(scales)]
        self.initial = InitialStage(noise_dim, base_channels, base_size, config)
        self.stages = nn.ModuleList(
            RefinementStage(channels[:i] if config.dense == "all" else channels[i - 1 : i], channels[i], config)
            for i in range(1, scales)
        )
        self.to_image = nn.ModuleList(ToImage(c) for c in channels)

    def forward(self, noise: Tensor, condition: Tensor, places: Tensor | None = None) -> list[Tensor]:
        """noise (B, Z), condition (B, C), places (B, P, A) -> `scales` images (B, 3, S, S), (B, 3, 2S, 2S), …"""
        hidden = [self.initial(noise, condition)]
        for stage in self.stages:
            seen = hidden if self.dense == "all" else hidden[-1:]
            hidden.append(stage(seen, condition, places))
        return [to_image(h) for to_image, h in zip(self.to_image, hidden, strict=True)]
