"""Small files, and folders, written whole or not at all."""

import csv
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes `content` under a temporary name beside `path`, then renames; makes the folder.

    A device or a pipe is written to as it is. OSError names `path`, whatever failed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    as_it_is = path.exists() and not path.is_file()
    partial = path if as_it_is else path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        if not as_it_is:
            os.replace(partial, path)
    except BaseException as error:
        if not as_it_is:
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: str | Path, text: str) -> None:
    """The same for text, in UTF-8."""
    write_bytes(path, text.encode())


def write_csv(path: str | Path, names: Sequence[str], rows: Iterable[Sequence]) -> None:
    """The same for a table: a heading, and a line for each row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    write_text(path, text.getvalue())


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `path` when the block ends, or goes if it fails.

    OSError names `path`, whatever failed.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
