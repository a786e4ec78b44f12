"""One training in many processes (torchrun): each takes its rows of every batch, and all make the same steps.

What is minimised is the mean of the processes' losses. A loss that is a mean over the batch is taken of a process's own
rows; one that compares rows takes `gathered` ones and is the same in all. Batch norm sees all rows. In one process
each function here gives back what it is given. Batches are functions of (seed, step), so each process draws the whole.
"""

# n rows of this process, N of all, W processes, C channels

import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from s2igan.errors import InputError


def processes() -> int:
    """How many there are, W; 1 before `make_fabric`."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the only one, or the one of many that writes files and shows how far it is."""
    return not dist.is_torchelastic_launched() or os.environ["RANK"] == "0"


def spread(stage: str) -> None:
    """Goes on as torchrun with `$S2IGAN_PROCESSES` processes of this stage, where that is set and 2 or more."""
    count = os.environ.get("S2IGAN_PROCESSES", "1")
    if not (count.isdecimal() and int(count)):
        raise InputError(f"S2IGAN_PROCESSES={count}: not a number of processes; set 1 or more, or unset it")
    if count != "1" and not dist.is_torchelastic_launched():
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        os.execv(sys.executable, [sys.executable, *torchrun, "-m", f"stages.{stage}", *sys.argv[1:]])


def own_rows(whole: Tensor) -> Tensor:
    """This process's rows (n, ...) of the whole batch's (N, ...), which differ by 1 at most between processes."""
    if processes() == 1:
        return whole
    rank, count = dist.get_rank(), len(whole)
    return whole[rank * count // processes() : (rank + 1) * count // processes()]


def gathered(rows: Tensor, counts: list[int] | None = None) -> Tensor:
    """All processes' rows (n, ...) in their order, float32 (N, ...); gradients reach them, of any order.

    `counts` is n of each process, where it is known; else they are asked for.
    """
    if processes() == 1:
        return rows
    if counts is None:
        of_all = torch.zeros(processes(), dtype=torch.long)
        of_all[dist.get_rank()] = len(rows)
        dist.all_reduce(of_all)
        counts = of_all.tolist()
    before = sum(counts[: dist.get_rank()])
    around = [rows.new_zeros(count, *rows.shape[1:]) for count in (before, sum(counts) - before - len(rows))]
    return all_reduce(torch.cat([around[0], rows, around[1]]).float())


def mean_of_all(values: Tensor) -> Tensor:
    """The mean of what the processes give, without gradients."""
    if processes() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / processes()


def any_of(told: object) -> bool:
    """Whether it is true in any process: what all then do alike."""
    return bool(told) if processes() == 1 else bool(mean_of_all(torch.tensor(float(bool(told)))) > 0)


def of_first(value: Any) -> Any:
    """What the first process gives."""
    if processes() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Gives the parameters the mean of all processes' gradients, after `backward` and before the optimizer's step."""
    if processes() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    means = mean_of_all(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, mean in zip(gradients, means.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def whole_batches(networks: Iterable[object]) -> AbstractContextManager:
    """While this lasts, layers of these networks that take statistics of the batch take them of all processes' rows."""
    if processes() == 1:
        return nullcontext()
    for network in networks:
        for module in network.modules() if isinstance(network, nn.Module) else ():
            if hasattr(module, "whole_batch"):
                module.whole_batch = gathered
    return _BatchNormOfAll()


class _BatchNormOfAll(TorchFunctionMode):
    """Batch norm over all processes' rows. PyTorch's own is for GPUs alone, and R1 needs a gradient's gradient."""

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function is F.batch_norm:
            return _batch_norm(*arguments, **options)
        return function(*arguments, **(options or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """F.batch_norm of (n, C, ...), n of which may differ between processes; float32 inside."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    values, axes = x.float(), [0, *range(2, x.ndim)]
    channels, count = x.shape[1], x.numel() // x.shape[1]
    own = [values.mean(axes), values.var(axes, correction=0), values.new_tensor([count])]
    of_all = gathered(torch.cat(own)[None], [1] * processes())
    means, variances, counts = of_all.split([channels, channels, 1], dim=1)  # (W, C), (W, C), (W, 1)
    total = counts.sum()
    mean = (counts * means).sum(dim=0) / total
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * total / (total - 1), momentum)
    shape = (channels, *[1] * (x.ndim - 2))
    scale = (variance + eps).rsqrt() if weight is None else (variance + eps).rsqrt() * weight
    normed = (values - mean.view(shape)) * scale.view(shape)
    return (normed if bias is None else normed + bias.view(shape)).to(x.dtype)
