"""The training loop that SEN, RDG, the classifier and the judge share.

A network's own file says what one step does; this one repeats it, and keeps what a killed run needs to go on. A
resumed run equals an uninterrupted one because a step draws all its random numbers, dropout's among them, from (seed,
step): the state is weights, optimizers, curves and a step number.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
import numpy as np
import torch
import torch.distributed as dist
import yaml
from torch import Tensor

from s2igan.command import progress
from s2igan.data_parallel import any_of, is_first, mean_of_all, of_first, whole_batches
from s2igan.errors import InputError
from s2igan.models import hash_files

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ROOT = Path(__file__).parents[1]
CHECKPOINT_SECONDS = 60.0
KEPT = 2  # checkpoints: the last, and the one before it in case the last is damaged

Losses = Mapping[str, Tensor]
Row = dict[str, float]


class Stateful(Protocol):
    """A network, an optimizer, or anything else that a checkpoint has to hold."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> Any: ...


@dataclass(frozen=True)
class Schedule:
    """How long a run is, and how often it leaves something to look at."""

    name: str  # the section of the configuration, which messages name
    seed: int  # of what torch's own generator draws in a step: dropout
    steps: int
    row_every: int  # steps to a row of the curves
    sheet_every: int = 0  # steps to a sheet of samples; 0: none
    shown: Sequence[str] = ("loss",)  # losses beside the progress bar


@dataclass
class History:
    """What training leaves to look at: the curves' rows, and sheets of the same samples over time."""

    rows: list[Row] = field(default_factory=list)
    sheets: list[np.ndarray] = field(default_factory=list)  # uint8 (n, 3, S, S) each
    sheet_items: list[int] = field(default_factory=list)  # items at each sheet


def train(
    schedule: Schedule,
    step: Callable[[int], tuple[Sequence[str], Losses]],
    state: Mapping[str, Stateful],
    checkpoints: Checkpoints | None = None,
    *,
    complete_row: Callable[[Row], Row] = lambda row: row,
    draw_sheet: Callable[[], np.ndarray] | None = None,
    report: Callable[[History], None] = lambda history: None,
    is_enough: Callable[[], bool] = lambda: False,
) -> History:
    """Makes the schedule's steps, or those that are left since the last checkpoint.

    `step(number)` makes one step and returns the keys of the items it took (images, or captions) and its losses by
    name. `state` is all that steps change. A row of the curves has `step`, `items` so far, and the losses' means over
    the items since the row before; `complete_row` may add to it. `report` is called with what there is where a
    run goes on, after each row and sheet, and at the end. `is_enough`, asked at the start and after each row, ends the
    run early, by what `state` holds.

    SIGTERM and SIGINT end the process after the step with a checkpoint and exit code 143 or 130. Raises InputError for
    a loss that is not finite, before a checkpoint keeps what it did.

    In many processes all make the same steps, and the first alone loads, saves, reports and shows a bar.
    """
    number, items, sums, history = 0, 0, {}, History()
    first = is_first()
    if not first:
        checkpoints, report = None, lambda history: None
    saved = of_first(checkpoints.load() if checkpoints else None)
    if saved:
        for name, part in state.items():
            part.load_state_dict(saved["state"][name])
        number, items, sums = saved["step"], saved["items"], saved["sums"]
        history = History(saved["rows"], [sheet.numpy() for sheet in saved["sheets"]], saved["sheet_items"])
        if first:
            click.echo(f"{schedule.name}: going on after step {number} of {schedule.steps}", err=True)
        report(history)

    def save() -> None:
        sheets = [torch.from_numpy(sheet) for sheet in history.sheets]
        parts = {name: part.state_dict() for name, part in state.items()}
        counts = {"step": number, "items": items, "sums": sums, "sheet_items": history.sheet_items}
        checkpoints.save(number, {**counts, "rows": history.rows, "sheets": sheets, "state": parts})

    saved_at, enough = time.monotonic(), any_of(is_enough())
    bars = progress(None, schedule.name, schedule.steps, number) if first else nullcontext()
    with _signals() as received, bars as bar, whole_batches(state.values()):
        while not (stopped := any_of(received)) and number < schedule.steps and not enough:
            with _seeded(schedule.seed, number):
                keys, losses = step(number)
            number, items = number + 1, items + len(keys)
            # a GPU is waited for once
            values = mean_of_all(torch.stack([loss.float() for loss in losses.values()])).tolist()
            for name, value in zip(losses, values, strict=True):
                if not math.isfinite(value):
                    raise InputError(
                        f"{schedule.name}: {name} is {value} at step {number}; give the same command again, and if "
                        f"that ends here, too, lower {schedule.name}.lr, or look at what the step was given: "
                        f"{', '.join(keys)}"
                    )
                total, count = sums.get(name, (0.0, 0))
                sums[name] = (total + value * len(keys), count + len(keys))

            row_due = number % schedule.row_every == 0 or number == schedule.steps
            sheet_due = draw_sheet and number % schedule.sheet_every == 0
            if row_due:
                means = {name: total / count for name, (total, count) in sums.items()}
                history.rows.append(complete_row({"step": number, "items": items, **means}))
                shown = {name: f"{means[name]:.3f}" for name in schedule.shown if name in means}
                if first:
                    bar.set_postfix(shown, refresh=False)
                sums, enough = {}, any_of(is_enough())
            if sheet_due:
                history.sheets.append(draw_sheet())
                history.sheet_items.append(items)
            if row_due or sheet_due:
                report(history)
            if first:
                bar.update()
            if checkpoints and time.monotonic() - saved_at >= CHECKPOINT_SECONDS:
                save()
                saved_at = time.monotonic()
        if stopped and checkpoints:
            save()
    if stopped:
        kept = "give the same command again to go on" if checkpoints else "nothing is kept"
        if first:
            click.echo(f"{schedule.name}: stopped after step {number} of {schedule.steps}; {kept}", err=True)
        raise SystemExit(128 + (received or [signal.SIGTERM])[0])
    report(history)
    return history


@contextmanager
def prefetched(
    batch: Callable[[int], dict[str, Tensor | None]], device: torch.device
) -> Iterator[Callable[[int], dict[str, Tensor | None]]]:
    """`batch`, and, on a GPU, the batch of the next step while this one runs, in memory that copies fast.

    On a CPU it would take from the step the core that the step needs.
    """
    if device.type != "cuda":
        yield batch
        return

    def pinned(number: int) -> dict[str, Tensor | None]:
        return {name: value if value is None else value.pin_memory() for name, value in batch(number).items()}

    with ThreadPoolExecutor(1) as thread:
        coming: dict[int, Future] = {}

        def fetch(number: int) -> dict[str, Tensor | None]:
            found = coming.pop(number, None) or thread.submit(pinned, number)
            coming[number + 1] = thread.submit(pinned, number + 1)
            return found.result()

        yield fetch


@contextmanager
def _signals():
    """Collects SIGTERM and SIGINT in a list; a second one acts as if there were no training."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only it may ask for signals
        yield received
        return

    def receive(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Checkpoints:
    """Where one run, told by configuration, inputs and code, keeps what it needs to go on.

    The folder is `.checkpoints/<stage>-<hash>`, or under `$S2IGAN_CHECKPOINTS`: outside DVC, which removes a stage's
    outputs before it runs. `code` are the files that the step is made of (`code_of`), so that another loss starts anew.
    """

    def __init__(self, stage: str, configuration: Mapping, inputs: Iterable[str | Path], code: Iterable[Path] = ()):
        root = Path(os.environ.get("S2IGAN_CHECKPOINTS", ".checkpoints"))
        key = json.dumps([configuration, hash_files(*inputs), hash_files(*code)], sort_keys=True, default=str)
        self.folder = root / f"{stage}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def _files(self) -> list[Path]:
        """The saved states, the last first; a name is `<step>-<hash of the content>.pt`."""
        return sorted(self.folder.glob("*-*.pt"), reverse=True)

    def load(self) -> dict | None:
        """The last saved state that is whole, or None; says which are not."""
        for partial in self.folder.glob("*.partial"):  # of a run that was killed as it wrote
            partial.unlink(missing_ok=True)
        for path in self._files():
            if hash_files(path) == path.stem.split("-")[1]:
                return torch.load(path, map_location="cpu", weights_only=True)
            click.echo(f"{path}: damaged; going on from the checkpoint before it, or anew", err=True)
            path.unlink()
        return None

    def save(self, step: int, state: dict) -> None:
        """Keeps `state` (tensors, numbers, lists and dictionaries), and the one before it.

        Two runs of one configuration at the same time, as experiments in a queue can be, save the same states. Where
        the other has ended and cleared the folder meanwhile, nothing is saved this time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{uuid.uuid4().hex}.partial"  # of this run alone
        try:
            with open(partial, "wb") as file:
                try:
                    torch.save(state, file)
                except RuntimeError as error:  # its writer hides the OSError of a full disk
                    raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
            os.replace(partial, self.folder / f"{step:09d}-{hash_files(partial)}.pt")
        except FileNotFoundError:
            return
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(self.folder)) from error
            raise
        for old in self._files()[KEPT:]:
            old.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes the folder: the run has ended and its model is saved."""
        shutil.rmtree(self.folder, ignore_errors=True)


def code_of(stage: str) -> list[Path]:
    """The files of this project's code that dvc.yaml lists as dependencies of a stage."""
    dependencies = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    code = [ROOT / name for name in dependencies if name.startswith(("s2igan/", "stages/"))]
    return [file for path in code for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


def make_fabric(device: torch.device, precision: str = "float32") -> Fabric:
    """Lightning's Fabric: moves tensors to the device, casts (`precision` float32 | bfloat16), differentiates.

    Where torchrun started this process among others, it joins them; each has a device of its own.
    """
    from lightning_fabric import Fabric  # slow to import
    from lightning_fabric.strategies import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # of what nobody can do anything about
    mode = "bf16-mixed" if precision == "bfloat16" else "32-true"
    if not dist.is_torchelastic_launched():
        devices = 1 if device.index is None else [device.index]
        return Fabric(accelerator=device.type, devices=devices, precision=mode)
    here, everywhere = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    strategy = DDPStrategy(process_group_backend="gloo" if device.type == "cpu" else f"cpu:gloo,{device.type}:nccl")
    fabric = Fabric(
        accelerator=device.type, strategy=strategy, devices=here, num_nodes=everywhere // here, precision=mode
    )
    fabric.launch()
    return fabric


def step_generator(seed: int, step: int, purpose: str = "") -> torch.Generator:
    """A random generator that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}/{step}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def _seeded(seed: int, step: int) -> Iterator[None]:
    """Dropout's draws depend on seed and step alone, and the caller's random state stays as it was."""
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_initialized() else []):
        torch.manual_seed(step_generator(seed, step, "dropout").initial_seed())
        yield


@lru_cache(maxsize=1)
def pass_order(count: int, seed: int, number: int, purpose: str = "") -> Tensor:
    """The order (count,) in which pass `number` takes its items, drawn once a pass; not to be changed."""
    return torch.randperm(count, generator=step_generator(seed, number, purpose))
