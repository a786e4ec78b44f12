"""Archives of data sets: fetched with resuming and a checksum, and unpacked without trusting them."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import IO, NamedTuple

from s2igan.command import progress
from s2igan.errors import InputError

CHUNK = 1 << 20  # bytes read at once
NETWORK_CHUNK = 1 << 16  # less, as what a cut leaves of it is lost
LIMIT_BYTES = 200_000_000_000  # of all that one archive holds
MOST_FOLDERS = 64  # inside each other
LONGEST_HEADER = 1 << 20  # bytes of a tar's long name or extended attributes
TIMEOUT = 30  # seconds without a word from the server

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError,
           ValueError, LookupError, OverflowError, NotImplementedError, RuntimeError)  # fmt: skip
_READ_WHOLE = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
               tarfile.SOLARIS_XHDTYPE)  # fmt: skip


# ---------------------------------------------------------------- unpacking


def unpack(archive: Path, folder: Path, limit_bytes: int = LIMIT_BYTES) -> list[Path]:
    """Unpacks a tar (plain, .gz, .bz2, .xz), zip or Debian package into `folder`; all of it, or nothing.

    What an archive is is told by its content, not its name; of a Debian package its files are taken. Returns the
    paths of the files, in the archive's order. What is in `folder` stays; a file that is there already must have
    the same content. Modes become 0644, 0755 for programs and folders.
    InputError for an archive that is missing, damaged or truncated, that holds more than `limit_bytes`, no file,
    a link, a device, a path that leads out of `folder`, one name twice, or another content for a file there.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        found = "a folder" if archive.is_dir() else "missing"
        raise InputError(f"{archive}: {found}; give the path of the archive that you downloaded")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a file; give a folder to unpack {archive.name} into")
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    # Inside of the folder, which may be a mount or a link: moving into place must stay on one disk.
    temporary = Path(tempfile.mkdtemp(prefix=".unpack.", suffix=".partial", dir=folder))
    try:
        names = _unpack_all(archive, temporary, limit_bytes)
        top = sorted(temporary.iterdir())
        for source in top:
            _check_place(source, folder / source.name, archive)
        for source in top:
            _move(source, folder / source.name)
    finally:
        shutil.rmtree(temporary)
        if is_new:
            with suppress(OSError):  # not empty: it is unpacked
                folder.rmdir()
    return [folder / name for name in names]


class _Member(NamedTuple):
    """A file of an archive, or a folder, which has no `content`."""

    name: str
    content: IO[bytes] | None
    is_program: bool = False


def _unpack_all(archive: Path, folder: Path, limit_bytes: int) -> list[str]:
    """Writes every member below the empty `folder`; the names of the files."""
    names, total = [], 0
    with open(archive, "rb") as file, progress(None, f"unpack {archive.name}") as bar:
        for member in _members(file, archive, folder, limit_bytes):
            name = _safe_name(member.name, archive)
            path = folder / name
            try:
                if member.content is None:
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                target = open(path, "xb")
            except (FileExistsError, NotADirectoryError):
                raise InputError(f"{archive}: {member.name!r} is in it twice; pack it anew") from None
            with target:
                for block in _blocks(member.content, archive):
                    total += len(block)
                    if total > limit_bytes:
                        raise _too_large(archive, limit_bytes)
                    target.write(block)
            path.chmod(0o755 if member.is_program else 0o644)
            names.append(name)
            bar.update()
    if not names:
        raise InputError(f"{archive}: holds no file; download it again")
    for place, _, _ in os.walk(folder):
        os.chmod(place, 0o755)
    return names


def _safe_name(name: str, archive: Path) -> str:
    """`name` without `.` and doubled slashes; "" for the archive's root."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise InputError(f"{archive}: {name!r} leads out of the folder; do not trust this archive")
    if len(parts) > MOST_FOLDERS:
        raise InputError(f"{archive}: {name[:60]!r}… lies in more than {MOST_FOLDERS} folders; do not trust it")
    return "/".join(parts)


def _members(file: IO[bytes], archive: Path, folder: Path, limit_bytes: int) -> Iterator[_Member]:
    """The members of an archive of any kind; InputError for what is no file and no folder."""
    start = file.read(8)
    file.seek(0)
    if start.startswith(b"PK"):
        members = _zip_members(file, archive, limit_bytes)
    elif start == b"!<arch>\n":
        members = _tar_members(_deb_data(file, archive), archive, folder, limit_bytes)
    else:
        members = _tar_members(file, archive, folder, limit_bytes)
    while True:
        try:
            member = next(members, None)
        except _DAMAGE as error:
            raise _damaged(error, archive) from None
        if member is None:
            return
        yield member


def _blocks(content: IO[bytes], archive: Path) -> Iterator[bytes]:
    while True:
        try:
            block = content.read(CHUNK)
        except _DAMAGE as error:
            raise _damaged(error, archive) from None
        if not block:
            return
        yield block


def _damaged(error: Exception, archive: Path) -> Exception:
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a senseless offset is EINVAL
        return error  # of the disk, not of the archive
    why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":. ")
    return InputError(f"{archive}: truncated, damaged, or no tar, zip or deb ({why}); download it again")


def _too_large(archive: Path, limit_bytes: int) -> InputError:
    return InputError(f"{archive}: holds more than {limit_bytes:,} bytes; unpack it by hand if you trust it")


def _refused(archive: Path, name: str, kind: str) -> InputError:
    return InputError(f"{archive}: {name!r} is {kind}, and only files are unpacked; do it by hand if you trust it")


class _Header(tarfile.TarInfo):
    """A tar's header; a damaged or missing one raises, where tarfile would take it for the archive's end."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        header = super().frombuf(buf, encoding, errors)
        if header.type in _READ_WHOLE and not 0 <= header.size <= LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile_):
        try:
            header = super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if header.size < 0:
            raise tarfile.ReadError(f"a file of {header.size} bytes")
        return header


def _tar_members(file: IO[bytes], archive: Path, folder: Path, limit_bytes: int) -> Iterator[_Member]:
    if file.read(4) == b"\x28\xb5\x2f\xfd":
        raise _zstandard(archive)
    file.seek(0)
    total = 0
    with tarfile.open(fileobj=file, mode="r:*", tarinfo=_Header) as tar:
        for member in tar:
            if member.issym() or member.islnk():
                raise _refused(archive, member.name, f"a link to {member.linkname!r}")
            if member.ischr() or member.isblk() or member.isfifo():
                raise _refused(archive, member.name, "a pipe" if member.isfifo() else "a device")
            if not member.isreg() and not member.isdir():
                raise _refused(archive, member.name, f"of the unknown kind {member.type!r}")
            _safe_name(member.name, archive)
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4; what it refuses should have been refused above
                tarfile.data_filter(member, str(folder))
            total += member.size
            if total > limit_bytes:
                raise _too_large(archive, limit_bytes)
            content = tar.extractfile(member) if member.isreg() else None
            yield _Member(member.name, content, bool(member.mode & 0o100))
        # What follows the last file: the checksum of the compressed stream comes at its very end.
        while rest := tar.fileobj.read(CHUNK):
            total += len(rest)
            if total > limit_bytes + CHUNK:  # a tar is filled up with zeros to full records
                raise _too_large(archive, limit_bytes)


def _zip_members(file: IO[bytes], archive: Path, limit_bytes: int) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as zipped:
        entries = zipped.infolist()
        if sum(entry.file_size for entry in entries) > limit_bytes:
            raise _too_large(archive, limit_bytes)
        for entry in entries:
            mode = entry.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, entry.filename, "a link" if stat.S_ISLNK(mode) else "a device or a pipe")
            if entry.flag_bits & 1:
                raise InputError(f"{archive}: {entry.filename!r} is encrypted; unpack it by hand")
            if entry.is_dir():
                yield _Member(entry.orig_filename, None)
                continue
            with zipped.open(entry) as content:
                yield _Member(entry.orig_filename, content, bool(mode & 0o100))


# ---------------------------------------------------------------- Debian packages


class _Section(io.RawIOBase):
    """A part of a file, read as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int):
        self._file, self._start, self._size, self._position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer) -> int:
        self._file.seek(self._start + self._position)
        data = self._file.read(max(0, min(len(buffer), self._size - self._position)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _deb_data(file: IO[bytes], archive: Path) -> IO[bytes]:
    """The data.tar of a Debian package: an `ar` archive of 60-byte headers, each member at an even offset."""
    end = file.seek(0, io.SEEK_END)
    position = 8  # after "!<arch>\n"
    while position < end:
        file.seek(position)
        header = file.read(60)
        position += 60
        if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise InputError(f"{archive}: damaged Debian package; download it again")
        name, size = header[:16].decode("latin-1").strip().rstrip("/"), int(header[48:58])
        if position + size > end:
            raise InputError(f"{archive}: truncated Debian package; download it again")
        if name.startswith("data.tar"):
            if name.endswith(".zst"):
                raise _zstandard(archive)
            return io.BufferedReader(_Section(file, position, size))
        position += size + size % 2
    raise InputError(f"{archive}: no data.tar in it; give a Debian package (.deb)")


def _zstandard(archive: Path) -> InputError:
    return InputError(
        f"{archive}: compressed with Zstandard, which Python 3.11 lacks; unpack it by hand "
        "(`tar --zstd -xf`, or `dpkg-deb -x` for a .deb)"
    )


# ---------------------------------------------------------------- into place


def _check_place(source: Path, target: Path, archive: Path) -> None:
    """InputError where `source` cannot be moved to `target` without a loss there."""
    if not os.path.lexists(target):
        return
    if source.is_dir() and target.is_dir():
        for child in sorted(source.iterdir()):
            _check_place(child, target / child.name, archive)
    elif not (source.is_file() and target.is_file() and filecmp.cmp(source, target, shallow=False)):
        raise InputError(f"{target}: exists, and differs from the one in {archive}; move it away and unpack again")


def _move(source: Path, target: Path) -> None:
    if not os.path.lexists(target):
        os.replace(source, target)
    elif source.is_dir():
        for child in sorted(source.iterdir()):
            _move(child, target / child.name)


# ---------------------------------------------------------------- fetching


class _CutError(Exception):
    """The connection ended before the file did."""


def fetch(url: str, path: Path, sha256: str = "", md5: str = "") -> Path:
    """Downloads `url` to `path`, which appears whole and checked or not at all; returns `path`.

    A file that is there is kept if its checksum is right, or if none is given. What comes in is kept in
    `<path>.partial`: a download that was cut goes on from there, by itself as long as that brings more, else at
    the next call. InputError when the server cannot be reached or refuses, or when a checksum is wrong; nothing
    with a wrong one is kept.
    """
    path = Path(path)
    wanted = {"sha256": sha256.lower(), "md5": md5.lower()}
    if path.is_dir():
        raise InputError(f"{path}: a folder; give the path of a file for {url}")
    present = path.is_file()
    if present and not (wrong := _wrong_sum(path, wanted)):
        return path
    if not url.startswith(("http://", "https://")):
        raise InputError(f"{url}: not an http or https address; put the file at {path} yourself")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        _download_whole(url, partial, path)
    except InputError as error:
        raise (InputError(f"{path}: {wrong}, and {error}") if present else error) from None
    if wrong := _wrong_sum(partial, wanted):
        partial.unlink()
        raise InputError(f"{url}: {wrong}; run the same command again, or put the right file at {path} yourself")
    os.replace(partial, path)
    return path


def _download_whole(url: str, partial: Path, path: Path) -> None:
    """Connects again after a cut as long as `partial` grows; else InputError."""
    while True:
        before = _size(partial)
        try:
            return _download(url, partial, path)
        except _CutError as cut:
            if _size(partial) <= before:
                raise InputError(
                    f"{url}: cut off after {_size(partial)} bytes ({cut}); run the same command again to go on, "
                    f"or put the file at {path} yourself"
                ) from None


def _download(url: str, partial: Path, path: Path) -> None:
    """Brings `partial` to its full length, going on at its end; _CutError where the connection ends before."""
    present = _size(partial)
    with _open(url, present, path) as response:
        start, total = _content_range(response)
        if response.status == 416 and total == present:  # nothing is left to send
            return
        if start != present:  # 200: all of it is sent; else the partial file is not of this one
            partial.unlink(missing_ok=True)
        if response.status == 416:
            return _download(url, partial, path)
        if start not in (0, present):
            raise _CutError(f"it sends from byte {start} on, not {present}")
        with open(partial, "ab") as file, progress(None, path.name, total, start) as bar:
            bar.unit, bar.unit_scale = "B", True
            for block in _received(response):
                file.write(block)
                bar.update(len(block))
    if total is not None and _size(partial) < total:
        raise _CutError(f"of {total}")


def _open(url: str, start: int, path: Path):
    """The answer to a request for `url` from byte `start` on: status 200, 206 or, where nothing is there, 416."""
    headers = {"User-Agent": "s2igan"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            return error
        found = f"the server answers {error.code} {error.reason}"
        raise InputError(f"{url}: {found}; check the address, or put the file at {path} yourself") from None
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise InputError(f"{url}: no answer ({why}); check the network, or put the file at {path} yourself") from None


def _content_range(response) -> tuple[int | None, int | None]:
    """Where the bytes that are sent begin, and how many the file has; None where the server does not say."""
    if response.status in (206, 416):
        found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        start, total = found.groups() if found else (None, None)
        return start and int(start), int(total) if total not in (None, "*") else None
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _received(response) -> Iterator[bytes]:
    while True:
        try:
            block = response.read(NETWORK_CHUNK)
        except (OSError, HTTPException) as error:
            raise _CutError(str(error) or type(error).__name__) from None
        if not block:
            return
        yield block


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _wrong_sum(path: Path, wanted: dict[str, str]) -> str:
    """What is wrong with the checksum of `path`, or nothing."""
    for name, value in wanted.items():
        if value:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, name).hexdigest()
            if found != value:
                return f"its {name} is {found}, not {value}"
    return ""
