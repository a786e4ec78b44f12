"""Bidirectional recurrent networks over padded utterances, which do not see the padding."""

# B batch, T frames, C input size, H hidden units, D directions

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable


class BidirectionalLSTM(nn.Module):
    """Stacked bidirectional LSTM over padded sequences that does not see the padding.

    Each direction is a one-layer network of its own. The forward one never sees the padding, which
    comes last; for the backward one each utterance is reversed within its own length, so that the
    padding comes last again. Same result as a packed sequence, in little more than half the time
    on a CPU, where the backward pass over packed sequences is slow.
    """

    layer: type[nn.RNNBase] = nn.LSTM

    def __init__(self, width: int, hidden: int, layers: int):
        super().__init__()
        widths = [width] + [2 * hidden] * (layers - 1)
        self.forwards = nn.ModuleList(self.layer(w, hidden, batch_first=True) for w in widths)
        self.backwards = nn.ModuleList(self.layer(w, hidden, batch_first=True) for w in widths)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, C), lengths (B,) -> (B, T, 2 H); what comes out beyond a length is meaningless."""
        order = _reversal(lengths, x.shape[1])
        for ahead, behind in zip(self.forwards, self.backwards, strict=True):
            forward, backward = self._both(ahead, behind, x, _reorder(x, order))
            x = torch.cat([forward, _reorder(backward, order)], dim=2)
        return x

    def _both(self, ahead: nn.RNNBase, behind: nn.RNNBase, x: Tensor, reverse: Tensor) -> tuple[Tensor, Tensor]:
        """Both directions of a layer, (B, T, C) each -> (B, T, H) each."""
        return run_float32(ahead, x), run_float32(behind, reverse)


class BidirectionalGRU(BidirectionalLSTM):
    """The same of GRUs; on a CPU both directions go through one loop over time, several times faster than apart."""

    layer = nn.GRU

    def _both(self, ahead: nn.GRU, behind: nn.GRU, x: Tensor, reverse: Tensor) -> tuple[Tensor, Tensor]:
        if x.device.type != "cpu":  # elsewhere the library has one kernel for the whole loop
            return super()._both(ahead, behind, x, reverse)
        layers = (ahead, behind)
        gates = [
            F.linear(i.transpose(0, 1), layer.weight_ih_l0, layer.bias_ih_l0)
            for i, layer in zip((x, reverse), layers, strict=True)
        ]  # (T, B, 3 H) each
        weights = torch.stack([layer.weight_hh_l0 for layer in layers])
        biases = torch.stack([layer.bias_hh_l0 for layer in layers])
        return tuple(GRULoop.apply(weights, biases, *gates).transpose(1, 2))


class GRULoop(torch.autograd.Function):
    """The loop over time of D independent GRUs of one size at once (Cho et al. 2014), with its gradient.

    As little as can be is left inside the loop: the gradient of the weights, for one, is a single product over all
    steps, where automatic differentiation adds one a step. Gates in PyTorch's order: reset, update, new.
    """

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, weight: Tensor, bias: Tensor, *gates: Tensor) -> Tensor:
        """Weight (D, 3 H, H), bias (D, 3 H), input's share of each one's gates (T, B, 3 H) -> hidden (D, T, B, H).

        h_0 = 0; r, z = sigmoid(input's + hidden's), n = tanh(input's + r * hidden's), h_t = n + z * (h_{t-1} - n).
        """
        (steps, batch, width), directions = gates[0].shape, len(gates)
        size = width // 3
        hidden = bias.new_zeros(directions, steps + 1, batch, size)
        resets_updates = bias.new_empty(directions, steps, batch, 2 * size)
        for both, own, of_input in zip(resets_updates, bias, gates, strict=True):
            torch.add(of_input[..., : 2 * size], own[: 2 * size], out=both)
        given = torch.stack([of_input[..., 2 * size :] for of_input in gates])
        proposals, heard = bias.new_empty(2, directions, steps, batch, size)  # n, and the hidden's share of it
        turned, of_new = weight.transpose(1, 2).contiguous(), bias[:, None, 2 * size :]
        share = bias.new_empty(directions, batch, width)
        parts = (given, resets_updates, *resets_updates.chunk(2, dim=-1), proposals, heard)
        loop = _by_step(*parts, hidden[:, :-1], hidden[:, 1:])
        for now, both, reset, update, proposal, of_hidden, before, after in loop:
            torch.bmm(before, turned, out=share)
            both.add_(share[..., : 2 * size]).sigmoid_()
            torch.add(share[..., 2 * size :], of_new, out=of_hidden)
            torch.addcmul(now, reset, of_hidden, out=proposal).tanh_()
            torch.lerp(proposal, before, update, out=after)
        ctx.save_for_backward(hidden, resets_updates, proposals, heard, weight)
        return hidden[:, 1:]

    @staticmethod
    @custom_bwd(device_type="cpu")
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:
        hidden, resets_updates, proposals, heard, weight = ctx.saved_tensors
        reset, update = resets_updates.chunk(2, dim=-1)
        # How h_t moves with what each gate is given, before the loop: d h_t / d (r, z, n).
        new = (1 - update) * (1 - proposals.square())
        factors = torch.stack(
            [new * heard * reset * (1 - reset), (hidden[:, :-1] - proposals) * update * (1 - update), new * reset], -2
        )  # (D, T, B, 3, H); the last of the hidden's share, which the reset gate scales
        by_gate = torch.empty_like(factors)
        of_share = by_gate.flatten(-2)  # (D, T, B, 3 H), the same memory
        of_hidden = torch.empty_like(proposals)
        later = torch.zeros_like(proposals[:, 0])
        loop = _by_step(of_hidden, gradient, factors, by_gate, of_share, update)
        for now, given, factor, of_gate, of_all, kept in reversed(loop):
            torch.add(later, given, out=now)
            torch.mul(now[..., None, :], factor, out=of_gate)
            torch.bmm(of_all, weight, out=later).addcmul_(now, kept)
        of_gates = torch.cat([of_share[..., : -proposals.shape[-1]], of_hidden * new], dim=-1)
        of_share = of_share.flatten(1, 2)  # (D, T·B, 3 H)
        of_weight = of_share.transpose(1, 2) @ hidden[:, :-1].flatten(1, 2)
        return of_weight, of_share.sum(dim=1), *of_gates


def _by_step(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Views of the tensors, (D, T, ...) each, at every step."""
    return list(zip(*(tensor.unbind(1) for tensor in tensors), strict=True))


def run_float32(layer: nn.RNNBase, x: Tensor) -> Tensor:
    """What a layer of the library makes of (B, T, C), (B, T, H): autocast has no bfloat16 for it on a CPU."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())[0]


def _reversal(lengths: Tensor, frames: int) -> Tensor:
    """Row indices into (B·T) that reverse each utterance within its length; its own inverse."""
    step = torch.arange(frames, device=lengths.device)
    last = lengths[:, None] - 1
    within = torch.where(step <= last, last - step, step)  # (B, T)
    start = torch.arange(len(lengths), device=lengths.device)[:, None] * frames
    return (start + within).flatten()


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    return x.flatten(0, 1).index_select(0, order).view_as(x)
