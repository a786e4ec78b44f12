"""What every stage's command has in common: it shows progress and fails in one line."""

from __future__ import annotations

import ctypes
import errno
import functools
import math
import os
import signal
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from time import monotonic

import click
from tqdm import tqdm

from s2igan.errors import InputError

SEED = click.IntRange(0, 2**32 - 1)  # what every generator of numbers takes
# Stages that look at all of params.yaml and refuse what a later one would: the first, and those that take long.
LOOK_AHEAD = ("prepare", "catalog", "synthesize", "speech_features", "image_features", "train_sen", "train_rdg")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TENTH_SECONDS, LINE_SECONDS = 10, 600  # between two lines of progress in a log
LINE = "{desc}: {percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
PR_SET_PDEATHSIG = 1  # of Linux: a signal for this process when its parent ends


class Number(click.FloatRange):
    """A finite number within a range: FloatRange alone lets NaN pass, and infinity where an end is open."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def report_user_errors(command: Callable) -> Callable:
    """Ends `command` on bad input with one line on standard error and exit code 1.

    What a person can fix is InputError, and what the machine refuses (a full disk, a folder without
    permission); anything else is a defect and keeps its traceback.
    """

    @functools.wraps(command)
    def run(*arguments, **options):
        try:
            return command(*arguments, **options)
        except InputError as error:
            raise SystemExit(_fail(str(error))) from error
        except OSError as error:
            where = error.filename2 or error.filename or "output"  # a rename fails for its target
            told = " ".join(str(error).split()) or "an operating system error"
            why = os.strerror(error.errno) if error.errno else told
            hint = "free some space and run the same command again" if error.errno in FULL else "check the path"
            raise SystemExit(_fail(f"{where}: {why}; {hint}")) from error

    return run


class Stage(click.Command):
    """The command of a stage. It looks at all of params.yaml before it reads its own options, and fails in one line.

    It ends with the dvc that runs it, even when that alone is killed. On SIGTERM it removes what is half-written.
    """

    @report_user_errors
    def main(self, *arguments, **extra):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        if "DVC_STAGE" in os.environ:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if Path(sys.modules[self.callback.__module__].__file__).stem in LOOK_AHEAD:
            # By name, since no stage depends on the code that looks.
            ahead = import_module("s2igan.parameters")
            ahead.stop_at(ahead.parameter_faults(ahead.parameters()))
        return super().main(*arguments, **extra)


def _fail(message: str) -> int:
    click.echo(f"error: {message}", err=True)
    return 1


class Progress(tqdm):
    """tqdm's bar, with a time left that holds; a line now and then in its place where there is no terminal.

    Left is what the items that are to come take at the mean pace since the first one ended: that one is slower than
    others, and a mean over few would go up and down with the dearer ones among them.
    """

    monitor_interval = 0  # no thread that shows it in between
    _time = property(lambda self: monotonic, lambda self, clock: None)  # tqdm's own clock can be put back
    first: tuple[int, float] | None = None  # items when the first was done, and the moment, in seconds
    told: tuple[int, float] | None = None  # items on the last line, and its moment

    def update(self, n=1):
        shown = super().update(n)
        self.first = self.first or (self.n, self._time())
        return shown

    @property
    def format_dict(self):
        values = super().format_dict
        if self.first and self.n > self.first[0] and (seconds := self._time() - self.first[1]) > 0:
            values["rate"] = (self.n - self.first[0]) / seconds
        return values

    def display(self, msg=None, pos=None):
        if self.leave:
            return super().display(msg, pos)
        now = self._time()
        self.told = items, moment = self.told or (self.n, now)
        wait = TENTH_SECONDS if self.total and 10 * self.n // self.total > 10 * items // self.total else LINE_SECONDS
        if self.n > items and (self.n == self.total or now - moment >= wait):
            self.told = self.n, now
            self.fp.write(f"{self}\n")
        return None


def progress(items: Iterable | None, description: str, total: int | None = None, initial: int = 0) -> Progress:
    """A progress bar with what is left, on standard error.

    Where that is no terminal, a line at the end, one for each tenth at least TENTH_SECONDS after the line before, and
    one every LINE_SECONDS.
    """
    interactive = sys.stderr.isatty()
    return Progress(
        items,
        desc=description,
        total=total,
        initial=initial,
        leave=interactive,
        dynamic_ncols=interactive,
        bar_format=None if interactive else LINE,
        miniters=1,
        mininterval=0.2 if interactive else 0,
        smoothing=0,
        file=sys.stderr,
    )
