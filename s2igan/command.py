"""What every stage's command has in common: it shows progress and fails in one line."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable, Iterable

import click
from tqdm import tqdm

from s2igan.errors import InputError

SEED = click.IntRange(0, 2**32 - 1)  # what every generator of numbers takes
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


stage = report_user_errors  # below `@click.command()`; DVC shows the command with all of its options


def _fail(message: str) -> int:
    click.echo(f"error: {message}", err=True)
    return 1


def progress(items: Iterable | None, description: str, total: int | None = None, initial: int = 0) -> tqdm:
    """A progress bar with what is left, on standard error; a line every half minute where that is no terminal."""
    interactive = sys.stderr.isatty()
    return tqdm(
        items,
        desc=description,
        total=total,
        initial=initial,
        dynamic_ncols=True,
        mininterval=0.2 if interactive else 30,
        file=sys.stderr,
    )
