import bz2
import gzip
import hashlib
import io
import lzma
import os
import stat
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from s2igan.datasets import archive as module
from s2igan.datasets.archive import fetch, unpack
from s2igan.errors import InputError

FILES = {
    "set/images/001.Finch/a.jpg": bytes(range(256)) * 40,
    "set/images/001.Finch/b.jpg": b"",
    "set/text.txt": "Grünfink\n".encode(),
    "set/run.sh": b"#!/bin/sh\n",
}


def make_tar(files: dict | list, form=tarfile.GNU_FORMAT, **changes) -> bytes:
    """A tar of (name, content) in order; `changes` are set on the last header."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        items = list(files.items() if isinstance(files, dict) else files)
        for i, (name, content) in enumerate(items):
            header = tarfile.TarInfo(name)
            header.size, header.mode = len(content), 0o777 if name.endswith(".sh") else 0o4666
            if name.endswith("/"):
                header.type = tarfile.DIRTYPE
                header.mode = 0o700
            if i == len(items) - 1:
                for key, value in changes.items():
                    setattr(header, key, value)
            tar.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def make_zip(files: dict | list, modes: dict | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items() if isinstance(files, dict) else files:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            mode = (modes or {}).get(name, 0o100777 if name.endswith(".sh") else 0)
            entry.external_attr = mode << 16
            zipped.writestr(entry, content)
    return buffer.getvalue()


def make_deb(*members: tuple[str, bytes]) -> bytes:
    """deb(5): an ar archive of members with headers of 60 bytes, each padded to an even length."""
    data = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("control.tar.gz", b"odd"), *members):
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        data += content + b"\n" * (len(content) % 2)
    return data


PACKED = {
    "a.tar": make_tar(FILES),
    "pax.tar": make_tar(FILES, tarfile.PAX_FORMAT),
    "a.tar.gz": gzip.compress(make_tar(FILES)),
    "a.tgz": gzip.compress(make_tar({"./": b"", "./set/": b"", **{f"./{n}": c for n, c in FILES.items()}})),
    "a.tar.bz2": bz2.compress(make_tar(FILES)),
    "a.tar.xz": lzma.compress(make_tar(FILES)),
    "a.zip": make_zip({"set/": b"", **FILES}),
    "named_wrongly.zip": gzip.compress(make_tar(FILES)),
    "gz.deb": make_deb(("data.tar.gz", gzip.compress(make_tar(FILES)))),
    "xz.deb": make_deb(("data.tar.xz/", lzma.compress(make_tar(FILES))), ("_after", b"more")),
    "plain.deb": make_deb(("data.tar", make_tar(FILES))),
}


def put(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def content(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(tmp_path: Path, data: bytes, match: str, name: str = "a.tar", **options) -> str:
    """`data` is refused with one line, and leaves nothing behind: neither in a new folder nor beside README.md."""
    path = put(tmp_path, name, data)
    lines = []
    for folder, before in ((tmp_path / "new", {}), (tmp_path / "raw", {"README.md": b"old"})):
        if before:
            put(folder, "README.md", b"old")
        with pytest.raises(InputError, match=match) as error:
            unpack(path, folder, **options)
        assert content(folder) == before and folder.exists() == bool(before)
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name] + ["raw"] * bool(before))
        lines.append(str(error.value))
    assert lines[0] == lines[1] and lines[0].startswith(f"{path}: ") and "; " in lines[0]
    return lines[0]


# ---------------------------------------------------------------- unpacking


@pytest.mark.parametrize("name", PACKED)
def test_every_kind_of_archive_is_unpacked(tmp_path, name):
    folder = tmp_path / "raw" / "set"
    put(folder, "README.md", b"old")
    paths = unpack(put(tmp_path, name, PACKED[name]), folder)
    assert paths == [folder / file for file in FILES]
    assert content(folder) == FILES | {"README.md": b"old"}
    modes = {str(p.relative_to(folder)): stat.S_IMODE(p.stat().st_mode) for p in (folder / "set").rglob("*")}
    assert modes == {
        "set/images": 0o755,
        "set/images/001.Finch": 0o755,
        "set/images/001.Finch/a.jpg": 0o644,
        "set/images/001.Finch/b.jpg": 0o644,
        "set/text.txt": 0o644,
        "set/run.sh": 0o755,
    }
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "set"]


def test_modes_do_not_depend_on_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        (path, *_) = unpack(put(tmp_path, "a.tar", PACKED["a.tar"]), tmp_path / "raw")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644 and stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_what_is_there_with_the_same_content_stays_and_the_rest_is_added(tmp_path):
    folder, path = tmp_path / "raw", put(tmp_path, "a.tar", PACKED["a.tar"])
    old = put(folder / "set", "text.txt", FILES["set/text.txt"])
    put(folder / "set", "mine.txt", b"mine")
    inode = old.stat().st_ino
    for _ in range(2):
        assert unpack(path, folder) == [folder / name for name in FILES]
        assert content(folder) == FILES | {"set/mine.txt": b"mine"}
    assert old.stat().st_ino == inode


def test_what_is_there_with_another_content_is_kept_and_told(tmp_path):
    path = put(tmp_path, "a.tar", PACKED["a.tar"])
    for name, blocker in (("set/text.txt", b"Gruenfink\n"), ("set/images", b"a file"), ("set/run.sh", None)):
        folder = tmp_path / name.replace("/", "-")
        target = folder / name
        put(target if blocker is None else target.parent, "x" if blocker is None else target.name, blocker or b"x")
        before = content(folder)
        with pytest.raises(InputError, match=f"{target}: exists, and differs from the one in {path}; move it away"):
            unpack(path, folder)
        assert content(folder) == before and not (folder / "set/images/001.Finch").exists()


def test_the_folder_may_be_a_link_to_another_place(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "raw").symlink_to(tmp_path / "disk")
    unpack(put(tmp_path, "a.zip", PACKED["a.zip"]), tmp_path / "raw")
    assert (tmp_path / "raw").is_symlink() and content(tmp_path / "disk") == FILES


BAD_NAMES = ["/etc/passwd", "../x", "set/../../x", "..", "set/..", "/"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_paths_that_lead_out_are_refused(tmp_path, name):
    files = [("set/a", b"1"), (name, b"2")]
    refused(tmp_path, make_tar(files, type=tarfile.REGTYPE, mode=0o644), "leads out of the folder; do not trust")
    refused(tmp_path / "2", make_zip(files), "leads out of the folder; do not trust", "a.zip")
    assert not (tmp_path / "x").exists() and not (tmp_path.parent / "x").exists()


def test_a_name_cut_short_by_a_nul_is_refused(tmp_path):
    data = make_zip({"set/a_b": b"1"}).replace(b"set/a_b", b"set/a\0b")
    refused(tmp_path, data, r"'set/a\\x00b' leads out", "a.zip")


def test_names_that_lie_too_deep_are_refused(tmp_path):
    assert unpack(put(tmp_path, "b.tar", make_tar({"d/" * 63 + "f": b"1"})), tmp_path / "ok")
    (tmp_path / "a").mkdir()
    refused(tmp_path / "a", make_tar({"d/" * 2000 + "f": b"1"}), "lies in more than 64 folders")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (tarfile.SYMTYPE, "is a link to '/etc/passwd'"),
        (tarfile.LNKTYPE, "is a link to '/etc/passwd'"),
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.BLKTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a pipe"),
        (b"Z", "is of the unknown kind b'Z'"),
    ],
)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_is_no_file_in_a_tar_is_refused(tmp_path, kind, told, form):
    data = make_tar({"set/a": b"1", "set/b": b""}, form, type=kind, linkname="/etc/passwd" if kind in b"12" else "")
    refused(tmp_path, data, f"'set/b' {told}")
    refused(tmp_path / "2", make_deb(("data.tar.xz", lzma.compress(data))), f"'set/b' {told}", "a.deb")


@pytest.mark.parametrize(("mode", "told"), [(0o120777, "is a link"), (0o010644, "a device or a pipe"),
                                            (0o060644, "a device or a pipe")])  # fmt: skip
def test_what_is_no_file_in_a_zip_is_refused(tmp_path, mode, told):
    refused(tmp_path, make_zip({"a": b"1", "b": b"/etc/passwd"}, {"b": mode}), f"'b' .*{told}", "a.zip")


def test_a_file_through_a_link_of_the_same_archive_is_refused(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("set")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        tar.addfile(link)
        file = tarfile.TarInfo("set/x")
        file.size = 1
        tar.addfile(file, io.BytesIO(b"1"))
    refused(tmp_path, buffer.getvalue(), "'set' is a link")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "files",
    [
        [("a", b"1"), ("a", b"1")],
        [("a", b"1"), ("./a", b"2")],
        [("s//a", b"1"), ("s/a", b"2")],
        [("a", b"1"), ("a/", b"")],
        [("a/", b""), ("a", b"1")],
        [("a", b"1"), ("a/b", b"2")],
        [("a/b", b"1"), ("a", b"2")],
    ],
)
def test_one_name_twice_is_refused(tmp_path, files):
    refused(tmp_path, make_tar(files), "is in it twice; pack it anew")
    with pytest.warns(UserWarning) if files[0][0] == files[1][0] else contextmanager(lambda: (yield))():
        zipped = make_zip(files)
    refused(tmp_path / "2", zipped, "is in it twice; pack it anew", "a.zip")


def test_names_that_differ_in_case_are_two_files(tmp_path):
    files = {"a.JPG": b"1", "a.jpg": b"2"}
    unpack(put(tmp_path, "a.tar", make_tar(files)), tmp_path / "raw")
    assert content(tmp_path / "raw") == files


@pytest.mark.parametrize("name", [name for name in PACKED if name not in ("a.tgz", "pax.tar", "named_wrongly.zip")])
def test_a_truncated_archive_is_refused_wherever_it_is_cut(tmp_path, name):
    data = PACKED[name]
    end = len(data)
    if name == "a.tar":  # what follows the first block of zeros is filling
        end = (len(data.rstrip(b"\0")) + 511) // 512 * 512 + 1
    if name.endswith(".deb"):  # the last byte may be ar's filling
        end -= 1
    cuts = {1, 7, 9, 100, 512, 1024, end // 3, end // 2, 2 * end // 3, end - 9, end - 1}
    cuts = {cut for cut in cuts if 0 < cut < end}
    if name == "xz.deb":
        cuts = {cut for cut in cuts if cut < end - 64}  # the member after the data is not looked at
    for cut in sorted(cuts):
        refused(tmp_path / str(cut), data[:cut], "truncated|damaged|no data.tar", name)


def test_a_tar_that_ends_between_two_files_is_truncated(tmp_path):
    """tarfile itself takes a header that is missing or damaged for the end."""
    data = make_tar({"a": b"1", "b": b"2", "c": b"3"})
    refused(tmp_path / "missing", data[:1024], "truncated, damaged")
    refused(tmp_path / "short", data[:1100], "truncated, damaged")
    for packed in (data, gzip.compress(data), lzma.compress(data)):
        unpack(put(tmp_path, "a.tar", packed), tmp_path / "raw")
    spoilt = data[:1030] + b"!" + data[1031:]
    refused(tmp_path / "spoilt", spoilt, "truncated, damaged")
    refused(tmp_path / "packed", gzip.compress(spoilt), "truncated, damaged")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.zip", "gz.deb"])
def test_a_flipped_bit_in_compressed_data_is_found(tmp_path, name):
    noise = {"noise": os.urandom(20_000)}
    packed = {
        "a.tar.gz": gzip.compress(make_tar(noise)),
        "a.tar.bz2": bz2.compress(make_tar(noise)),
        "a.tar.xz": lzma.compress(make_tar(noise)),
        "a.zip": make_zip(noise),
        "gz.deb": make_deb(("data.tar.gz", gzip.compress(make_tar(noise)))),
    }[name]
    spoilt = bytearray(packed)
    spoilt[len(spoilt) // 2] ^= 4
    refused(tmp_path, bytes(spoilt), "truncated, damaged", name)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "truncated, damaged, or no tar, zip or deb"),
        (b"text\n", "truncated, damaged, or no tar, zip or deb"),
        (b"<html>not found</html>" * 99, "truncated, damaged, or no tar, zip or deb"),
        (gzip.compress(b"one compressed file" * 99), "truncated, damaged, or no tar, zip or deb"),
        (b"PK but no zip", "truncated, damaged, or no tar, zip or deb"),
        (bytes(10_240), "holds no file; download it again"),
        (make_tar({"set/": b""}), "holds no file; download it again"),
        (make_zip({}), "holds no file; download it again"),
        (make_deb(), "no data.tar in it"),
        (b"!<arch>\nnot an ar header" * 9, "damaged Debian package"),
        (make_deb(("data.tar.zst", b"\x28\xb5\x2f\xfd....")), "compressed with Zstandard.*dpkg-deb -x"),
        (b"\x28\xb5\x2f\xfd....", "compressed with Zstandard.*tar --zstd"),
        (make_deb(("data.tar.gz", b"no gzip")), "truncated, damaged"),
    ],
)
def test_what_is_no_archive_is_told(tmp_path, data, told):
    refused(tmp_path, data, told)


def test_a_missing_archive_and_a_file_for_a_folder_are_told(tmp_path):
    with pytest.raises(InputError, match=r"no\.tar: missing; give the path"):
        unpack(tmp_path / "no.tar", tmp_path / "raw")
    with pytest.raises(InputError, match="a folder; give the path"):
        unpack(tmp_path, tmp_path / "raw")
    path = put(tmp_path, "a.tar", PACKED["a.tar"])
    with pytest.raises(InputError, match=r"a\.tar: a file; give a folder to unpack"):
        unpack(path, path)
    assert not (tmp_path / "raw").exists()


def test_an_encrypted_zip_is_told(tmp_path):
    data = bytearray(make_zip({"a": b"1"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    refused(tmp_path, bytes(data), "'a' is encrypted; unpack it by hand", "a.zip")


def test_more_than_the_limit_is_refused(tmp_path):
    files = {"a": b"1" * 600, "b": b"2" * 400}
    for name, data in (("a.tar", make_tar(files)), ("a.zip", make_zip(files))):
        refused(tmp_path / name[2:], data, "holds more than 999 bytes; unpack it by hand", name, limit_bytes=999)
        assert len(unpack(put(tmp_path, name, data), tmp_path / "raw", limit_bytes=1000)) == 2


def test_a_bomb_is_not_written_out(tmp_path, monkeypatch):
    bomb = gzip.compress(make_tar({"small": b"1"}) + bytes(50_000_000))  # zeros after the end
    refused(tmp_path / "end", bomb, "holds more than 1,000,000 bytes", limit_bytes=1_000_000)
    zipped = make_zip({"a": bytes(30_000_000)})
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "open", pytest.fail)
        refused(tmp_path / "zip", zipped, "holds more than 1,000,000 bytes", limit_bytes=1_000_000)
    # One that lies about its size: told 10 bytes, it is cut there and fails its checksum.
    size = (30_000_000).to_bytes(4, "little")
    lying = zipped.replace(size, (10).to_bytes(4, "little"))
    refused(tmp_path / "lie", lying, "truncated, damaged", limit_bytes=1_000_000)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_huge_name_is_not_read(tmp_path, form):
    refused(tmp_path, make_tar({"a": b"1", "x" * 2_000_000: b"1"}, form), "a header of 20.* bytes")


def test_a_negative_size_ends_in_one_line(tmp_path):
    """CVE-2025-8194: tarfile of Python 3.11 goes round in circles."""
    with_size = make_tar({"a": b"1", "b": b"2"}, tarfile.PAX_FORMAT, pax_headers={"size": "-2048"})
    refused(tmp_path / "pax", with_size, "a file of -2048 bytes")
    for kind, told in ((b"0", "a file of -1024 bytes"), (b"x", "a header of -1024 bytes")):
        header = bytearray(make_tar({"a": b""})[:512])
        header[124:136] = b"\xff" * 10 + b"\xfc\x00"  # the size in base 256
        header[148:157] = b" " * 8 + kind
        header[148:156] = f"{sum(header):06o}\0 ".encode()
        data = make_tar({"b": b"1"})[:1024] + bytes(header) + bytes(1024)
        refused(tmp_path / kind.decode(), data, told)


def test_a_full_disk_is_not_taken_for_a_damaged_archive(tmp_path, monkeypatch):
    path = put(tmp_path, "a.tar", PACKED["a.tar"])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(path, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_a_disk_that_cannot_be_read_is_not_taken_for_a_damaged_archive(tmp_path, monkeypatch):
    path = put(tmp_path, "a.zip", PACKED["a.zip"])

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", failing)
    with pytest.raises(OSError, match="Input/output error"):
        unpack(path, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


# ---------------------------------------------------------------- fetching

BODY = bytes(range(256)) * 4000  # about a megabyte
SHA = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


class Server:
    """Serves BODY at 127.0.0.1 as it is told, and writes down the Range of each request."""

    def __init__(self):
        self.body = BODY
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        self.cuts: list[int] = []  # bytes after which each of the next answers ends
        self.tells_length = True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):  # noqa: N802
                asked = self.headers["Range"]
                server.ranges.append(asked)
                if self.path != "/set.tgz":
                    return self.send_error(404)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.knows_ranges else 0
                size = len(server.body)
                if start and start >= size:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{size}")
                    return self.end_headers()
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                if server.tells_length:
                    self.send_header("Content-Length", str(size - start))
                self.end_headers()
                part = server.body[start:]
                self.wfile.write(part[: server.cuts.pop(0)] if server.cuts else part)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/set.tgz"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def test_a_file_is_fetched_once(server, tmp_path, capsys):
    path = tmp_path / "raw" / "set.tgz"
    for sums in ({"sha256": SHA}, {"md5": MD5.upper()}, {"sha256": SHA, "md5": MD5}, {}):
        assert fetch(server.url, path, **sums) == path
    assert content(tmp_path) == {"raw/set.tgz": BODY}
    assert server.ranges == [None]
    shown = capsys.readouterr()
    assert "set.tgz: 100%" in shown.err and "1.02M/1.02M" in shown.err and shown.out == ""


def test_a_cut_connection_is_taken_up_where_it_broke(server, tmp_path):
    server.cuts = [300_000, 200_000]
    fetch(server.url, tmp_path / "set.tgz", SHA)
    assert content(tmp_path) == {"set.tgz": BODY}
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_a_download_that_was_stopped_goes_on_at_the_next_call(server, tmp_path):
    server.cuts = [300_000, 0]
    with pytest.raises(InputError, match=r"set\.tgz: cut off after 300000 bytes .*; run the same command again to go"):
        fetch(server.url, tmp_path / "set.tgz", SHA)
    assert content(tmp_path) == {"set.tgz.partial": BODY[:300_000]}
    fetch(server.url, tmp_path / "set.tgz", SHA)
    assert content(tmp_path) == {"set.tgz": BODY}
    assert server.ranges == [None, "bytes=300000-", "bytes=300000-"]


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    server.knows_ranges = False
    put(tmp_path, "set.tgz.partial", BODY[:1000])
    fetch(server.url, tmp_path / "set.tgz", SHA)
    assert content(tmp_path) == {"set.tgz": BODY}
    assert server.ranges == ["bytes=1000-"]


def test_a_server_without_ranges_that_always_cuts_is_given_up(server, tmp_path):
    server.knows_ranges, server.cuts = False, [5000] * 99
    with pytest.raises(InputError, match="cut off after 5000 bytes"):
        fetch(server.url, tmp_path / "set.tgz", SHA)
    assert len(server.ranges) == 2


def test_a_partial_file_that_is_whole_is_only_checked(server, tmp_path):
    put(tmp_path, "set.tgz.partial", BODY)
    fetch(server.url, tmp_path / "set.tgz", SHA)
    assert content(tmp_path) == {"set.tgz": BODY} and server.ranges == [f"bytes={len(BODY)}-"]


def test_a_partial_file_that_is_too_long_is_thrown_away(server, tmp_path):
    put(tmp_path, "set.tgz.partial", BODY + b"more")
    fetch(server.url, tmp_path / "set.tgz", SHA)
    assert content(tmp_path) == {"set.tgz": BODY} and server.ranges == [f"bytes={len(BODY) + 4}-", None]


@pytest.mark.parametrize("sums", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"sha256": SHA, "md5": "0" * 32}])
def test_nothing_wrong_is_kept(server, tmp_path, sums):
    name = "md5" if "md5" in sums else "sha256"
    found = {"md5": MD5, "sha256": SHA}[name]
    with pytest.raises(InputError, match=f"set.tgz: its {name} is {found}, not {sums[name]}; run the same command"):
        fetch(server.url, tmp_path / "set.tgz", **sums)
    assert content(tmp_path) == {}


def test_a_partial_file_of_something_else_is_found_out(server, tmp_path):
    put(tmp_path, "set.tgz.partial", b"another file")
    with pytest.raises(InputError, match="its sha256 is"):
        fetch(server.url, tmp_path / "set.tgz", SHA)
    assert content(tmp_path) == {}
    assert fetch(server.url, tmp_path / "set.tgz", SHA).read_bytes() == BODY


def test_a_wrong_file_is_replaced_only_by_the_right_one(server, tmp_path):
    path = put(tmp_path, "set.tgz", b"an older version")
    wrong = hashlib.sha256(b"an older version").hexdigest()
    with pytest.raises(InputError, match=f"set.tgz: its sha256 is {wrong}, not {SHA}, and http.* answers 404"):
        fetch(server.url + "x", path, SHA)
    assert content(tmp_path) == {"set.tgz": b"an older version"}
    fetch(server.url, path, SHA)
    assert content(tmp_path) == {"set.tgz": BODY}


def test_a_length_that_is_not_told_is_no_hindrance(server, tmp_path):
    server.tells_length = False
    assert fetch(server.url, tmp_path / "set.tgz", SHA).read_bytes() == BODY


def test_an_empty_file_is_a_file(server, tmp_path):
    server.body = b""
    assert fetch(server.url, tmp_path / "set.tgz").read_bytes() == b""


def test_what_is_not_served_is_told_with_the_mend(server, tmp_path):
    path = tmp_path / "set.tgz"
    url = server.url.replace("set", "no")
    with pytest.raises(InputError) as error:
        fetch(url, path)
    assert str(error.value) == (
        f"{url}: the server answers 404 Not Found; check the address, or put the file at {path} yourself"
    )
    assert content(tmp_path) == {}


def test_no_network_is_told_with_the_mend(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    put(tmp_path, "set.tgz.partial", b"begun")
    url = "http://127.0.0.1:9/set.tgz"  # nobody listens at the port that throws away
    with pytest.raises(InputError, match=f"{url}: no answer .*; check the network, or put the file at {tmp_path}/set"):
        fetch(url, tmp_path / "set.tgz")
    assert content(tmp_path) == {"set.tgz.partial": b"begun"}


def test_a_server_that_falls_silent_is_told(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    silent = __import__("socket").create_server(("127.0.0.1", 0))
    with silent, pytest.raises(InputError, match="no answer .*timed out.*; check the network"):
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/x", tmp_path / "x")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "set.tgz", ""])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(InputError, match=f"^{url}: not an http or https address; put the file at"):
        fetch(url, tmp_path / "x")
    assert content(tmp_path) == {}


@pytest.mark.parametrize("url", ["http://", "http://exa mple/x", "http://[::1/x", "https://127.0.0.1:x/", "http://ü/ü"])
def test_an_address_that_is_none_is_told(tmp_path, url, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(InputError, match="no answer .*; check the network"):
        fetch(url, tmp_path / "x")


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path):
    with pytest.raises(InputError, match="a folder; give the path of a file"):
        fetch("http://127.0.0.1:9/x", tmp_path)
