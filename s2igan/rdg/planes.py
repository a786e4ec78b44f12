"""Linear operations on planes as matrix products: with few pixels and many channels a CPU does them faster so."""

# B batch, H channels in, O channels out, S size, K kernel size, P pixels of what comes out

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL = 8  # pixels a side, up to which a convolution is a product


class PlaneConv2d(nn.Conv2d):
    """A convolution without bias; on small planes the product of all their windows with the kernel.

    `smooth` takes the mean of each 2x2 pixels first, with zeros around the plane: see `AntialiasedConv2d`.
    """

    smooth = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, S, S) -> (B, O, S / stride, S / stride)."""
        if self.padding_mode == "replicate":
            return F.conv2d(repeat_border(x), self.weight, stride=self.stride)
        if x.shape[-1] > SMALL:
            return self.convolve(x)
        kernel, stride = self.kernel_size[0], self.stride[0]
        windows = _windows(x.shape[-1], kernel, stride, self.smooth, x.dtype, x.device)
        seen = windows @ x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, P·K·K, H), in the order of the memory
        side = x.shape[-1] // stride
        y = F.linear(seen.view(len(x), side, side, -1), self.weight.permute(0, 2, 3, 1).flatten(1))
        return y.permute(0, 3, 1, 2)

    def convolve(self, x: Tensor) -> Tensor:
        """The same where planes are large."""
        return super().forward(x)


def repeat_border(x: Tensor) -> Tensor:
    """(B, H, S, S) -> (B, H, S + 2, S + 2); autocast would do it in float32 on a CPU."""
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, [1, 1, 1, 1], mode="replicate")


def enlarge(x: Tensor, size: int, mode: str, padding: str | None = None) -> Tensor:
    """(B, H, S, S) -> (B, H, size, size), `F.interpolate`; with a `padding` one pixel more to each side, `F.pad`."""
    enlarging = _enlarging(x.shape[-1], size, mode, padding, x.dtype, x.device)
    rows = enlarging @ x.permute(0, 2, 3, 1).flatten(2)  # (B, size, S·H), then columns
    return (enlarging @ rows.unflatten(2, (x.shape[-1], -1))).permute(0, 3, 1, 2)


@cache
@torch.inference_mode(False)
def _windows(size: int, kernel: int, stride: int, smooth: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(P·K·K, S·S): which pixels each weight meets at each place, found by looking at every pixel alone."""
    pixels = F.pad(torch.eye(size * size).view(-1, 1, size, size), [1, 1, 1, 1])
    if smooth:
        pixels = F.avg_pool2d(pixels, 2, stride=1)
    return F.unfold(pixels, kernel, stride=stride).transpose(1, 2).flatten(1).T.to(device, dtype)


@cache
@torch.inference_mode(False)
def _enlarging(
    before: int, after: int, mode: str, padding: str | None, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(after, before), with `padding` (after + 2, before): what becomes of each pixel of a line."""
    lines = F.interpolate(torch.eye(before)[:, None], size=after, mode="linear" if mode == "bilinear" else mode)
    if padding is not None:
        lines = F.pad(lines, (1, 1), mode="constant" if padding == "zeros" else padding)
    return lines.squeeze(1).T.to(device, dtype)
