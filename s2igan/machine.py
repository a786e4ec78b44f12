"""What this machine has. It is found, or comes from the environment; it is no parameter of an experiment."""

from __future__ import annotations

import os

from s2igan.errors import InputError


def workers() -> int:
    """How many processes a data stage uses: `$S2IGAN_WORKERS`, or the cores that this process may use."""
    asked = os.environ.get("S2IGAN_WORKERS", "")
    if asked and not (asked.isdigit() and int(asked)):
        raise InputError(f"S2IGAN_WORKERS={asked}: not a number of processes; set 1 or more, or unset it")
    return int(asked) if asked else len(os.sched_getaffinity(0))


def device():
    """The torch device that networks run on: `$S2IGAN_DEVICE`, or the first GPU, or the CPU."""
    import torch

    return torch.device(os.environ.get("S2IGAN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


def slow_bfloat16(device) -> bool:
    """Whether this device computes bfloat16 in software: a processor without the instructions (AVX-512 at least)."""
    import torch

    return device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
