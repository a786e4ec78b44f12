"""Keyed HDF5 files: how every stage hands arrays to the next.

A *fixed* file holds one array of one shape a key (images, features, embeddings); a *ragged* file
holds arrays of different lengths in one flat array with offsets (speech, log-mels), which stays fast
where a hundred thousand small files or data sets would not. Files describe themselves by attributes.

Whether a file is whole, current and as its stage left it is DVC's to know, by its hash. What is left to this
module: the same content gives the same bytes, or DVC would run everything after it again; a file appears whole,
by a rename, since one of the same name may be a hard link into DVC's cache; NaN and repeated keys are refused
where they are written; a full disk ends in one line, where HDF5 would crash; a reader is told that a file is
missing, truncated or of another kind.
"""

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np

from s2igan.errors import InputError

FORMAT = "s2igan/{kind}/1"
HINT = "run `dvc repro`, which takes it from DVC's cache or makes it again"
CHUNK_BYTES = 1 << 20


class _Output(io.FileIO):
    """A file that remembers the first write that failed, in `error`, in place of raising it.

    HDF5 (2.0) keeps what it could not write and crashes the process at its end, so it must not hear of a
    full disk: the writer looks at `error` instead.
    """

    error: OSError | None = None

    def write(self, data) -> int:
        rest = memoryview(data)
        try:
            while len(rest):  # a disk that is nearly full takes a part
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = self.error or error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


class _Writer:
    """Writes `path` under a temporary name; it appears whole at the clean end of `with`, or not at all.

    All arrays are rows of one data set, `array`, each of `shape`. Raises InputError for a repeated key, another
    shape, and a value that is NaN or infinite.
    """

    array: str

    def __init__(self, path, kind: str, shape: Sequence[int], dtype, attributes: dict | None = None, columns=()):
        self.path = Path(path)
        self.kind = kind
        self.row, self.dtype = tuple(shape), np.dtype(dtype)
        self.attributes = attributes or {}
        self._columns: dict[str, list] = {name: [] for name in columns}
        self._keys: list[str] = []
        self._seen: set[str] = set()

    def __enter__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._output = _Output(self._temporary, "w+")
        # HDF5 1.10's format, whose structures have checksums.
        self._file = h5py.File(self._output, "w", track_order=False, libver="v110")
        try:
            row_bytes = max(1, int(np.prod(self.row)) * self.dtype.itemsize)
            size = {"shape": (0, *self.row), "maxshape": (None, *self.row)}
            chunk = (max(1, CHUNK_BYTES // row_bytes), *self.row)
            self._array = self._dataset(self.array, dtype=self.dtype, chunks=chunk, **size)
            self._check_disk()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(self, kind, error, traceback):
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
            self._dataset("keys", _plain(self._keys))
            for name, values in self._columns.items():
                self._dataset(f"columns/{name}", _plain(values))
            # Of fixed length: others lie in a heap without checksums, and of some damage there HDF5 never returns.
            self._file.attrs["format"] = np.bytes_(FORMAT.format(kind=self.kind))
            # One JSON text, not one HDF5 attribute each: types survive, and the order is fixed.
            text = json.dumps(self.attributes, sort_keys=True).encode()
            self._dataset("attributes", np.frombuffer(text, dtype=np.uint8))
            self._file.close()
            self._check_disk()
            self._output.close()
            os.replace(self._temporary, self.path)
        except BaseException:
            self._discard()
            raise

    def _finish(self) -> None:
        """What is left to write at the end."""

    def _dataset(self, name: str, values=None, **options) -> h5py.Dataset:
        return self._file.create_dataset(name, data=values, track_times=False, **options)

    def _extend(self, rows: np.ndarray) -> None:
        start = len(self._array)
        self._array.resize(start + len(rows), axis=0)
        self._array[start:] = rows
        self._check_disk()

    def _discard(self) -> None:
        with suppress(Exception):  # the first error is the one to tell
            self._file.close()
        self._output.close()
        self._temporary.unlink(missing_ok=True)

    def _check_disk(self) -> None:
        if error := self._output.error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _admit(self, key: str, values: np.ndarray, columns: dict) -> None:
        if key in self._seen:
            raise InputError(f"{self.path}: key {key} is written twice; keys must be unique")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{self.path}: {key} has NaN or infinite {self.kind}; fix its source and run again")
        if columns.keys() != self._columns.keys():
            raise InputError(f"{self.path}: {key} has columns {sorted(columns)}; expected {sorted(self._columns)}")
        for name, value in columns.items():
            self._columns[name].append(value)
        self._seen.add(key)
        self._keys.append(key)


def _plain(values: list) -> np.ndarray:
    """Strings as fixed-width bytes (variable-length ones would not give the same file twice), else numbers."""
    if values and not isinstance(values[0], str):
        return np.array(values)
    texts = [value.encode() for value in values]
    return np.array(texts, dtype=f"S{max((len(text) for text in texts), default=0) or 1}")


class FixedWriter(_Writer):
    """Writes one array of `shape` for each key, in the order of the calls, and one value a column."""

    array = "values"

    def append(self, keys: Sequence[str], values: np.ndarray, **columns: Sequence) -> None:
        """Adds `values` (n, *shape) under `keys` (n), and n values to each column."""
        values = np.asarray(values, dtype=self.dtype)
        if values.shape != (len(keys), *self.row):
            raise InputError(
                f"{self.path}: {len(keys)} keys from {keys[0] if keys else '-'} on got an array of "
                f"{values.shape}; expected {(len(keys), *self.row)}"
            )
        for i, (key, value) in enumerate(zip(keys, values, strict=True)):
            self._admit(key, value, {name: column[i] for name, column in columns.items()})
        self._extend(values)


class RaggedWriter(_Writer):
    """Writes one array (t, width), or (t,) where `width` is 0, of any length t for each key."""

    array = "flat"

    def __init__(self, path, kind, width: int, dtype, attributes=None, columns=()):
        super().__init__(path, kind, (width,) if width else (), dtype, attributes, columns)
        self._offsets = [0]
        self._pending: list[np.ndarray] = []
        self._pending_bytes = 0

    def append(self, key: str, values: np.ndarray, **columns) -> None:
        """Adds `values` under `key`, and one value to each column."""
        values = np.asarray(values, dtype=self.dtype)
        if values.ndim != 1 + len(self.row) or values.shape[1:] != self.row:
            raise InputError(f"{self.path}: {key} has an array of {values.shape}; expected (t, *{self.row})")
        self._admit(key, values, columns)
        self._offsets.append(self._offsets[-1] + len(values))
        self._pending.append(values)
        self._pending_bytes += values.nbytes
        if self._pending_bytes > 16 * CHUNK_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._extend(np.concatenate(self._pending))
            self._pending, self._pending_bytes = [], 0

    def _finish(self) -> None:
        self._flush()
        self._dataset("offsets", np.array(self._offsets, dtype=np.int64))


class _Reader:
    """Opens a file that a writer of this module wrote, and checks that it is one of `kind`."""

    def __init__(self, path: str | Path, kind: str):
        self.path = Path(path)
        self.kind = kind

    def __enter__(self):
        if not self.path.is_file():
            raise InputError(f"{self.path}: missing; run `dvc repro` (or `dvc checkout`) to make it")
        try:
            # Without HDF5's lock: a file appears whole, so nobody writes it, and not every file system has locks.
            self._file = h5py.File(self.path, "r", locking=False)
        except OSError as error:
            if error.errno:  # it may be whole, and is not to be read: by its permissions, by a disk that fails
                raise OSError(error.errno, os.strerror(error.errno), str(self.path)) from error
            raise InputError(f"{self.path}: truncated, or not an HDF5 file; {HINT}") from error
        try:
            with self._damage_told():
                found = self._file.attrs.get("format", "a foreign HDF5 file")
                found = found.decode() if isinstance(found, bytes) else found
                expected = FORMAT.format(kind=self.kind)
                if found != expected:
                    raise InputError(f"{self.path}: holds {found}, expected {expected}; {HINT}")
                self.attributes: dict = json.loads(self._file["attributes"][:].tobytes())
                self.keys: list[str] = [key.decode() for key in self._file["keys"][:]]
                self._rows = {key: row for row, key in enumerate(self.keys)}
                self._open()
        except BaseException:
            self._file.close()
            raise
        return self

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        """What HDF5 and what reads it raise of a damaged file, as one line; of a disk that fails, as it is."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # of many kinds, and only the file is to blame
            if isinstance(error, OSError) and error.errno:
                raise OSError(error.errno, os.strerror(error.errno), str(self.path)) from error
            raise InputError(f"{self.path}: damaged ({type(error).__name__}); {HINT}") from error

    def _check(self, whole: bool) -> None:
        if not whole:
            raise InputError(f"{self.path}: damaged, its parts are not of one length; {HINT}")

    def __exit__(self, *_):
        self._file.close()

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def _open(self) -> None:
        raise NotImplementedError

    def column(self, name: str) -> list:
        """The values of one column, in the order of the keys."""
        with self._damage_told():
            values = self._file[f"columns/{name}"][:]
            values = values.tolist() if values.ndim == 1 else list(values)
            return [value.decode() if isinstance(value, bytes) else value for value in values]

    def index(self, key: str) -> int:
        """The row of `key`; InputError where the file has no such key."""
        if key not in self._rows:
            raise InputError(f"{self.path}: no key {key} among its {len(self)}; check the key's spelling")
        return self._rows[key]


class FixedReader(_Reader):
    """Reads what FixedWriter wrote: `values()` is (N, *shape) in the order of `keys`."""

    def _open(self) -> None:
        self._values = self._file["values"]
        self.shape = self._values.shape[1:]
        self._check(len(self._values) == len(self.keys))

    def values(self, rows: Sequence[int] | np.ndarray | slice | None = None) -> np.ndarray:
        """The arrays of `rows` (any order, repeats allowed), or of all rows."""
        with self._damage_told():
            if rows is None or isinstance(rows, slice):
                return self._values[rows if rows is not None else slice(None)]
            # HDF5 wants increasing rows without repeats.
            unique, inverse = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
            return self._values[unique][inverse]


class RaggedReader(_Reader):
    """Reads what RaggedWriter wrote: `value(row)` is (t, width), or (t,)."""

    def _open(self) -> None:
        self._flat = self._file["flat"]
        self.width = int(np.prod(self._flat.shape[1:]))
        self.offsets = self._file["offsets"][:]
        self.lengths = np.diff(self.offsets)
        self._check(len(self.lengths) == len(self.keys) and self.lengths.min(initial=0) >= 0)
        self._check(self.offsets[0] == 0 and self.offsets[-1] == len(self._flat))

    def value(self, row: int) -> np.ndarray:
        """The array of one row."""
        with self._damage_told():
            return self._flat[self.offsets[row] : self.offsets[row + 1]]

    def values(self, rows: Sequence[int] | np.ndarray | None = None) -> list[np.ndarray]:
        """The arrays of `rows`, or of all rows."""
        return [self.value(row) for row in (range(len(self)) if rows is None else rows)]


class ImageWriter(RaggedWriter):
    """Writes images, each uint8 (3, h, w) of a size of its own."""

    def __init__(self, path, attributes=None):
        super().__init__(path, "images", 0, np.uint8, attributes, columns=("height",))

    def append(self, key: str, values: np.ndarray, **columns) -> None:
        """Adds the image `values` under `key`."""
        super().append(key, values.reshape(-1), height=values.shape[1], **columns)


class ImageReader(RaggedReader):
    """Reads what ImageWriter wrote: `value(row)` is (3, h, w)."""

    def __init__(self, path: str | Path, kind: str = "images"):
        super().__init__(path, kind)

    def _open(self) -> None:
        super()._open()
        self._heights = self.column("height")
        self._check(len(self._heights) == len(self.keys) and min(self._heights, default=1) > 0)
        self._check(not (self.lengths % (3 * np.array(self._heights, np.int64))).any())

    def value(self, row: int) -> np.ndarray:
        """The image of one row."""
        return super().value(row).reshape(3, self._heights[row], -1)
