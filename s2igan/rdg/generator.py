"""The densely-stacked generator (paper, section 2.3.1): three images from a noise vector and a condition."""

# B batch, Z noise size, C condition size, N base channels, S base size (first scale), P places, A embedding size

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan.rdg.attention import PlaceAttention, SentenceAttention
from s2igan.rdg.conditioning import JoinCondition
from s2igan.rdg.fusion import FusionUpBlock

DENSE = ("all", "previous", "none")
UPSAMPLINGS = ("nearest", "bilinear")


class GatedLinearUnit(nn.Module):
    """Half of the channels, gated by the sigmoid of the other half: what nn.GLU does.

    That one's gradient comes in another order of memory than channels-last, and the batch norm before it then takes
    many times as long on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 H, ...) -> (B, H, ...)."""
        values, gates = x.chunk(2, dim=1)
        return values * gates.sigmoid()


class UpBlock(nn.Sequential):
    """Up-sampling by 2, 3x3 convolution, batch norm, gated linear unit.

    `upsampling` is one of UPSAMPLINGS: nearest in the paper's code; bilinear leaves no mesh of single pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, upsampling: str = "nearest"):
        super().__init__(
            nn.Upsample(scale_factor=2, mode=upsampling),
            nn.Conv2d(in_channels, 2 * out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * out_channels),
            GatedLinearUnit(),
        )

    def forward(self, input: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, in, S, S) -> (B, out, 2S, 2S); the condition is for a block that takes one, as `FusionUpBlock`."""
        return super().forward(input)


def up_block(in_channels: int, out_channels: int, upsampling: str, condition_dim: int, modulation: bool) -> nn.Module:
    """`UpBlock`, or with `modulation` the one in whose every layer the condition takes part."""
    if modulation:
        return FusionUpBlock(in_channels, out_channels, upsampling, condition_dim)
    return UpBlock(in_channels, out_channels, upsampling)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a gated linear unit, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            GatedLinearUnit(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class InitialStage(nn.Module):
    """F_0 of eq. 7: h_0 = F_0(z, F^ca(A)), from a vector to N channels at S x S.

    A linear layer to 16N-channel features at 4 x 4 for S = 64, and as many halvings of the channels as
    doublings of the size: the number of channels at the end is N at every S.
    """

    def __init__(
        self,
        noise_dim: int,
        condition_dim: int,
        base_channels: int,
        base_size: int,
        upsampling: str = "nearest",
        modulation: bool = False,
    ):
        super().__init__()
        doublings = int(math.log2(base_size // 4))
        widths = [base_channels * 2**i for i in range(doublings, -1, -1)]
        self.linear = nn.Sequential(
            nn.Linear(noise_dim + condition_dim, widths[0] * 4 * 4 * 2, bias=False),
            nn.BatchNorm1d(widths[0] * 4 * 4 * 2),
            GatedLinearUnit(),
        )
        self.up = nn.ModuleList(up_block(a, b, upsampling, condition_dim, modulation) for a, b in pairwise(widths))

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        x = self.linear(torch.cat([condition, noise], dim=1))
        x = x.view(len(x), -1, 4, 4)
        for up in self.up:
            x = up(x, condition)
        return x  # (B, N, S, S)


class RefinementStage(nn.Module):
    """F_i of eq. 7, i > 0: joins the hidden features it is given with the condition and doubles their size.

    `repeat_input` concatenates the last hidden feature once more before up-sampling, as the published
    code does. With a `place_dim` it also joins what the last hidden feature attends to of the speech, with
    `sentence_attention` what it attends to of the condition.
    """

    def __init__(
        self,
        hidden_channels: list[int],
        condition_dim: int,
        out_channels: int,
        residual_blocks: int,
        repeat_input: bool,
        upsampling: str = "nearest",
        place_dim: int = 0,
        sentence_attention: bool = False,
        modulation: bool = False,
    ):
        super().__init__()
        channels = hidden_channels[-1]
        self.repeat_input, self.upsampling = repeat_input, upsampling
        self.attention = PlaceAttention(place_dim, channels) if place_dim else None
        self.sentence_attention = SentenceAttention(condition_dim, channels) if sentence_attention else None
        attended = channels * (bool(place_dim) + sentence_attention)
        self.join = JoinCondition(condition_dim, sum(hidden_channels) + attended, 2 * channels)
        self.refine = nn.Sequential(
            nn.BatchNorm2d(2 * channels),
            GatedLinearUnit(),
            *[ResidualBlock(channels) for _ in range(residual_blocks)],
        )
        into_up = 2 * channels if repeat_input else channels
        self.up = up_block(into_up, out_channels, upsampling, condition_dim, modulation)

    def forward(self, hidden: list[Tensor], condition: Tensor, places: Tensor | None = None) -> Tensor:
        last = hidden[-1]
        size = last.shape[-2:]
        # "h_0 up-sampled to h_1's size": earlier features come at half the size or less.
        joined = [h if h.shape[-2:] == size else F.interpolate(h, size=size, mode=self.upsampling) for h in hidden]
        if self.attention is not None:
            joined.append(self.attention(last, places))
        if self.sentence_attention is not None:
            joined.append(self.sentence_attention(last, condition))
        x = self.refine(self.join(torch.cat(joined, dim=1), condition))
        return self.up(torch.cat([x, last], dim=1) if self.repeat_input else x, condition)


class ToImage(nn.Sequential):
    """G_i of eq. 7: I_i = G_i(h_i), an image in [-1, 1]."""

    def __init__(self, channels: int):
        super().__init__(nn.Conv2d(channels, 3, 3, padding=1, bias=False), nn.Tanh())


class DenseGenerator(nn.Module):
    """The densely-stacked generator, eq. 7: images at S, 2S and 4S.

    `dense` says which hidden features a refinement stage sees:
    `all`       every earlier one (the paper's eq. 7);
    `previous`  the last, concatenated once more before up-sampling (the published code);
    `none`      the last (StackGAN-v2).

    With a `place_dim` each of them attends to places of that size, h_i = F_i(…, F^ca(A), F^attn(e, h_{i-1})):
    AttnGAN's eq. 1 in the paper's eq. 7. With `sentence_attention` it attends to the condition, too (MirrorGAN). With
    one of `scales` there is no refinement: F_0 and G_0 draw at S = base size. With `modulation` the condition takes
    part in each layer of every up-sampling block.
    """

    def __init__(
        self,
        noise_dim: int,
        condition_dim: int,
        base_channels: int,
        base_size: int,
        residual_blocks: int = 2,
        dense: str = "all",
        upsampling: str = "nearest",
        scales: int = 3,
        place_dim: int = 0,
        sentence_attention: bool = False,
        modulation: bool = False,
    ):
        super().__init__()
        if dense not in DENSE:
            raise ValueError(f"dense is {dense!r}; expected one of {DENSE}")
        self.dense = dense
        channels = [base_channels // 2**i for i in range(scales)]
        self.initial = InitialStage(noise_dim, condition_dim, base_channels, base_size, upsampling, modulation)
        self.stages = nn.ModuleList(
            RefinementStage(
                channels[:i] if dense == "all" else channels[i - 1 : i],
                condition_dim,
                channels[i],
                residual_blocks,
                repeat_input=dense == "previous",
                upsampling=upsampling,
                place_dim=place_dim,
                sentence_attention=sentence_attention,
                modulation=modulation,
            )
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
