"""Discriminators: one a scale, each with an unconditional and a conditional logit (eq. 12)."""

# B batch, H channels in, O channels out, C condition size, N base channels, S size of the images

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan.rdg.conditioning import JoinCondition
from s2igan.rdg.planes import PlaneConv2d


class AntialiasedConv2d(PlaneConv2d):
    """A 4x4 convolution of stride 2 that smooths before it takes every second pixel (Zhang 2019).

    Its kernel is a learned one of 3x3 convolved with a mean of 2x2: the same as that mean and then the 3x3 kernel. A
    kernel that is free favours some pixels of each 2x2 over others, and the generator draws what it favours: ripples.
    """

    smooth = True

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, stride=2)
        one_each = torch.eye(9).view(9, 1, 3, 3)
        spread = F.conv_transpose2d(one_each, torch.full((1, 1, 2, 2), 0.25)).view(9, 16)
        self.register_buffer("spread", spread.T.contiguous(), persistent=False)

    def convolve(self, x: Tensor) -> Tensor:
        """(B, H, S, S) -> (B, O, S / 2, S / 2)."""
        learned = self.weight.permute(0, 2, 3, 1).flatten(1, 2)  # (O, 9, H), in the order of the memory
        kernel = (self.spread @ learned).unflatten(1, (4, 4)).permute(0, 3, 1, 2)
        return F.conv2d(x, kernel, stride=2, padding=1)


def down_block(in_channels: int, out_channels: int, norm: bool = True, antialiasing: bool = False) -> nn.Sequential:
    """4x4 convolution of stride 2, batch norm where `norm`, leaky ReLU: half the size."""
    if antialiasing:
        convolution = AntialiasedConv2d(in_channels, out_channels)
    else:
        convolution = PlaneConv2d(in_channels, out_channels, 4, stride=2)
    norms = [nn.BatchNorm2d(out_channels)] if norm else []
    return nn.Sequential(convolution, *norms, nn.LeakyReLU(0.2, inplace=True))


def same_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, batch norm, leaky ReLU: the same size."""
    convolution = PlaneConv2d(in_channels, out_channels)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.2, inplace=True))


def apply_to_sets(network: nn.Sequential, x: Tensor, sets: int) -> Tensor:
    """`network` of a batch that is several sets one after the other, of each of which batch norm takes statistics."""
    for layer in network:
        if isinstance(layer, nn.Sequential):
            x = apply_to_sets(layer, x, sets)
        elif isinstance(layer, nn.BatchNorm2d) and sets > 1:
            x = torch.cat([layer(images) for images in x.chunk(sets)])
        else:
            x = layer(x)
    return x


class Logit(nn.Conv2d):
    """A 4x4 convolution of 4x4 features to one number: an inner product, which is faster as such."""

    def __init__(self, channels: int):
        super().__init__(channels, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 4, 4) -> (B, 1)."""
        # in channels-last order, which is that of the memory
        return F.linear(*(t.permute(0, 2, 3, 1).flatten(1) for t in (x, self.weight)), self.bias)


class Discriminator(nn.Module):
    """D_i: images of one size, with or without a condition, to logits (eq. 12; StackGAN-v2, section 4).

    Strided convolutions down to 4x4, channels doubling from N; past 8N they are brought back to 8N by 3x3
    convolutions. The conditional logit sees the features joined with the condition.

    `own_condition` gives the condition a linear layer of D's own before it is joined, and
    `projection` adds the inner product of pooled features and condition (Miyato & Koyama 2018) to the
    conditional logit; `embedding_dim` > 0 adds a head that says where in SEN's space an image lies, for the
    matching loss (Zhang et al. 2021, XMC-GAN). With `antialiasing` strided convolutions smooth before they sample.
    Features of at least `detail_size` pixels a side, where it is not 0, pass one more 3x3 convolution each.
    `local` adds an unconditional logit for each place of the first layer's features, which have no batch norm: it sees
    4x4 pixels (Isola et al. 2017, PatchGAN). All six are off in the paper.
    """

    def __init__(
        self,
        size: int,
        base_channels: int,
        condition_dim: int,
        own_condition: bool = False,
        projection: bool = False,
        embedding_dim: int = 0,
        antialiasing: bool = False,
        detail_size: int = 0,
        local: bool = False,
    ):
        super().__init__()
        halvings = int(math.log2(size // 4))
        widths = [base_channels * 2**i for i in range(halvings)]
        features = 8 * base_channels
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise([3, *widths])):
            layers.append(down_block(before, after, norm=i > 0, antialiasing=antialiasing))
            if 0 < detail_size <= size // 2 ** (i + 1):
                layers.append(same_block(after, after))
        width = widths[-1]
        while width > features:
            layers.append(same_block(width, width // 2))
            width //= 2
        if width < features:
            layers.append(same_block(width, features))
        self.features = nn.Sequential(*layers)
        self.condition = nn.Linear(condition_dim, condition_dim) if own_condition else nn.Identity()
        self.join = JoinCondition(condition_dim, features, features)
        self.conditional = nn.Sequential(nn.BatchNorm2d(features), nn.LeakyReLU(0.2, inplace=True), Logit(features))
        self.unconditional = Logit(features)
        self.projection = nn.Linear(condition_dim, features, bias=False) if projection else None
        self.embedding = nn.Linear(features, embedding_dim) if embedding_dim else None
        self.local = nn.Linear(widths[0], 1) if local else None

    def forward(self, images: Tensor, condition: Tensor, sets: int = 1) -> tuple[Tensor, ...]:
        """(B, 3, S, S), (B, C) -> features (B, 8N, 4, 4), unconditional and conditional logits, each (B,).

        After them local logits, (B, S / 2 * S / 2), where there are any.

        A batch can be several `sets` one after the other, as real and fake images, which batch norm keeps apart: the
        same as one pass a set, in less time.
        """
        first, *rest = self.features
        x = first(images)
        local = [] if self.local is None else [self.local(x.permute(0, 2, 3, 1)).flatten(1)]
        for layer in rest:
            x = apply_to_sets(layer, x, sets)
        return x, *self.logits(x, condition, sets), *local

    def logits(self, x: Tensor, condition: Tensor, sets: int = 1) -> tuple[Tensor, Tensor]:
        """Features (B, 8N, 4, 4) and condition (B, C) -> both logits; features can meet several conditions."""
        condition = self.condition(condition)
        conditional = apply_to_sets(self.conditional, self.join(x, condition), sets).flatten()
        if self.projection is not None:
            conditional = conditional + (self.projection(condition) * x.mean(dim=(2, 3))).sum(dim=1)
        return self.unconditional(x).flatten(), conditional

    def embed(self, x: Tensor) -> Tensor:
        """Features (B, 8N, 4, 4) -> their place in SEN's space (B, A), of any length."""
        return self.embedding(x.mean(dim=(2, 3)))

    def embed_regions(self, x: Tensor) -> Tensor:
        """The same of each of the 4 x 4 regions, (B, 16, A); their mean is that of the whole image."""
        return self.embedding(x.flatten(2).transpose(1, 2))
