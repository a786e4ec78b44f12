"""What this machine has. It is found, or comes from the environment; it is no parameter of an experiment."""

import logging
import os
from functools import cache
from typing import Any

import click

from s2igan.errors import InputError

PRECISIONS = ("auto", "float32", "bfloat16")
CONNECT_SECONDS = 10


def workers() -> int:
    """How many processes a data stage uses: `$S2IGAN_WORKERS`, or the cores that this process may use.

    With a scheduler (`cluster`), as many as the threads of its workers, and 2 at least.
    """
    if client := cluster():
        return max(2, sum(client.nthreads().values()))
    asked = os.environ.get("S2IGAN_WORKERS", "")
    if asked and not (asked.isdecimal() and int(asked)):
        raise InputError(f"S2IGAN_WORKERS={asked}: not a number of processes; set 1 or more, or unset it")
    return int(asked) if asked else len(os.sched_getaffinity(0))


def cluster() -> Any:
    """The Dask client of the scheduler at `$S2IGAN_SCHEDULER`, tcp://host:port, or None where that is not set.

    Raises InputError where Dask is not installed, no scheduler answers, or it has no workers.
    """
    address = os.environ.get("S2IGAN_SCHEDULER", "")
    return _cluster(address) if address else None


@cache
def _cluster(address: str) -> Any:
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError:
        raise InputError(
            "S2IGAN_SCHEDULER is set, and Dask is not here; pip install distributed, or unset it"
        ) from None
    try:
        get_address_host_port(address)  # before there is a client, which would end with a trace
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"S2IGAN_SCHEDULER={address}: no scheduler there ({str(error)[:80]}); "
            "start one with `dask scheduler`, or unset it"
        ) from None
    logging.getLogger("distributed").setLevel(logging.ERROR)  # work that is done again is no news
    if not client.nthreads():
        raise InputError(
            f"S2IGAN_SCHEDULER={address}: it has no workers; start some: dask worker {address} --nthreads 1"
        )
    return client


def device():
    """The torch device that networks run on: `$S2IGAN_DEVICE`, or the first GPU, or the CPU.

    Raises InputError for a device that is not here.
    """
    import torch

    asked = os.environ.get("S2IGAN_DEVICE")
    if not asked:
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and torch.distributed.is_torchelastic_launched():  # among others, each with a GPU of its own
        asked = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(asked)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError):  # torch's ways to say that it is no device, or has no driver
        raise InputError(f"S2IGAN_DEVICE={asked}: no such device here; set cpu or cuda, or unset it") from None
    return device


def fast_bfloat16(device) -> bool:
    """Whether this device has instructions for bfloat16: where not, it is many times slower than float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Not oneDNN's own answer: it also says yes to AVX-512 without these instructions, and then emulates them.
    return torch.cpu._is_avx512_bf16_supported()


def training_precision(parameter: str, asked: str, device) -> str:
    """float32 or bfloat16, for products in training: what `parameter` asks for, or of `auto` what is fast here.

    Says on standard error what `auto` came to, and where bfloat16 was asked for and is slow.
    """
    if asked == "auto":
        asked = "bfloat16" if fast_bfloat16(device) else "float32"
        click.echo(f"{parameter}=auto: {asked}", err=True)
    elif asked == "bfloat16" and not fast_bfloat16(device):
        click.echo(f"{parameter}=bfloat16: this processor has no bfloat16; float32 is many times faster", err=True)
    return asked
