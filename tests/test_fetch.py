"""Downloads from a server of the test's own, and the Debian package."""

import hashlib
import io
import shutil
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from miniatures_stamps import write_stamps

from s2igan.datasets import fetch
from s2igan.datasets.fetch import download, fetch_archive, fetch_data_set, fetch_package
from s2igan.datasets.stamps import rows
from s2igan.errors import InputError
from s2igan.splits import Limits

BODY = bytes(range(256)) * 400
MD5 = hashlib.md5(BODY).hexdigest()


# ---------------------------------------------------------------- downloads


@pytest.fixture
def server(monkeypatch):
    """The address of a server of BODY, and a list of how many bytes of it each of the next answers sends."""
    monkeypatch.setenv("no_proxy", "*")
    cuts: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):  # noqa: N802
            if not self.path.startswith("/set.tgz"):
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[: cuts.pop(0)] if cuts else BODY)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", cuts
    http.shutdown()
    thread.join()
    http.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once_and_named_without_its_query(server, tmp_path):
    path = download(f"{server[0]}/set.tgz?download=1", MD5, tmp_path)
    assert path == tmp_path / "set.tgz" and path.read_bytes() == BODY
    assert download("http://127.0.0.1:9/set.tgz", MD5, tmp_path) == path  # nobody listens there


def test_a_broken_download_ends_in_one_line_and_can_be_given_again(server, tmp_path):
    server[1].append(5000)
    with pytest.raises(
        InputError, match=r"^http.*/set.tgz: .*; run the same command again, or put the file at"
    ) as error:
        download(f"{server[0]}/set.tgz", MD5, tmp_path)
    assert "\n" not in str(error.value) and names(tmp_path) == []
    assert download(f"{server[0]}/set.tgz", MD5, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("path, md5", [("no.tgz", MD5), ("set.tgz", "0" * 32)])
def test_another_file_and_none_at_all_are_told_and_nothing_is_kept(server, tmp_path, path, md5):
    told = "404" if path == "no.tgz" else f"expected md5:{md5} but got {MD5}|expected .*{md5}"
    with pytest.raises(InputError, match=rf"^http.*/{path}: .*({told}).*; run the same command again, or put"):
        download(f"{server[0]}/{path}", md5, tmp_path)
    assert names(tmp_path) == []


def test_a_data_set_without_an_address_is_told(tmp_path):
    with pytest.raises(InputError, match="places: nothing to fetch; data/raw/places/README.md says where it comes"):
        fetch_data_set("places", tmp_path)
    with pytest.raises(InputError, match="cubb: nothing to fetch; choose one of cub, oxford102, emoji, stamps"):
        fetch_data_set("cubb", tmp_path)


def test_an_archive_is_unpacked_beside_what_is_there_and_again(server, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as out:
        member = tarfile.TarInfo("a/b.txt")
        member.size = 3
        out.addfile(member, io.BytesIO(b"one"))
    (tmp_path / "set.tgz").write_bytes(buffer.getvalue())
    (tmp_path / "README.md").touch()
    address = f"{server[0]}/set.tgz?download=1"
    monkeypatch.setattr(fetch, "FILES", {"cub": {address: hashlib.md5(buffer.getvalue()).hexdigest()}})
    for _ in range(2):
        assert fetch_data_set("cub", tmp_path) == "Reed et al.'s captions: data/raw/cub/README.md says where they are"
        assert (tmp_path / "a/b.txt").read_text() == "one" and names(tmp_path) == ["README.md", "a", "set.tgz"]


# ---------------------------------------------------------------- the Debian package


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stamps")
    write_stamps(folder)
    return folder


def fetch_stamps(folder):
    folder.mkdir(exist_ok=True)
    fetch_package("stamps", folder)


def package(path: Path, content: Path) -> Path:
    """A Debian package that holds the folder `content`, as dpkg-deb would write it."""

    def archive(folder: Path | None) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:xz", preset=0) as out:
            if folder:
                out.add(folder, ".")
        return buffer.getvalue()

    members = {"debian-binary": b"2.0\n", "control.tar.xz": archive(None), "data.tar.xz": archive(content)}
    with open(path, "wb") as file:
        file.write(b"!<arch>\n")
        for name, data in members.items():
            header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
            file.write(header.encode() + data + b"\n" * (len(data) % 2))
    return path


@pytest.fixture(scope="module")
def deb(original, tmp_path_factory):
    return package(tmp_path_factory.mktemp("deb") / "tuxpaint-stamps-default_1-1_all.deb", original)


def apt_get(folder: Path, script: str, monkeypatch, name: str = "apt-get") -> None:
    """The only `apt-get` (or another program) that can be found does as `script` says."""
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_a_package_that_lies_there_is_unpacked(original, deb, tmp_path):
    (tmp_path / "README.md").write_text("stays")
    shutil.copy(deb, tmp_path)
    fetch_stamps(tmp_path)
    assert list(rows(tmp_path, Limits())) == list(rows(original, Limits()))
    fetch_stamps(tmp_path)  # again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", deb.name, "usr"]


def test_apt_get_brings_the_package(original, deb, tmp_path, monkeypatch):
    apt_get(tmp_path / "bin", f'[ "$*" = "download tuxpaint-stamps-default" ] && cp {deb} .', monkeypatch)
    fetch_stamps(tmp_path / "raw")
    assert list(rows(tmp_path / "raw", Limits())) == list(rows(original, Limits()))
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["usr"]


@pytest.mark.parametrize("script, told", [
    ("echo 'W: no sandbox' >&2; echo 'E: Unable to locate package' >&2; exit 100", "E: Unable to locate package"),
    ("exit 0", "no package came"),
])  # fmt: skip
def test_where_apt_get_fails_the_package_is_asked_for(script, told, tmp_path, monkeypatch):
    apt_get(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(InputError, match=f"{told}; run `apt-get update` .*packages.debian.org/tuxpaint.* into .*raw"):
        fetch_stamps(tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_without_apt_get_the_package_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get: No such file.*download tuxpaint-stamps-default_"):
        fetch_stamps(tmp_path / "raw")


def test_two_packages_and_another_package_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").write_text("")
    package(tmp_path / "tuxpaint-stamps-default_1_all.deb", tmp_path / "empty")
    with pytest.raises(InputError, match="the package has no usr/share/tuxpaint/stamps"):
        fetch_stamps(tmp_path)
    (tmp_path / "tuxpaint-stamps-default_2_all.deb").write_bytes(b"")
    with pytest.raises(InputError, match="_1_all.deb, .*_2_all.deb; keep one"):
        fetch_stamps(tmp_path)


def test_without_dpkg_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "tuxpaint-stamps-default_1_all.deb").touch()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="dpkg-deb: No such file.*; install dpkg and run the same command again"):
        fetch_stamps(tmp_path)


# ---------------------------------------------------------------- npm packages


def test_npm_brings_an_archive_once_and_anew_where_it_is_damaged(tmp_path, monkeypatch):
    (tmp_path / "whole").write_bytes(BODY)
    script = f'[ "$*" = "pack @a/b@1.2" ] && cp {tmp_path}/whole a-b-1.2.tgz && echo >> {tmp_path}/calls'
    apt_get(tmp_path / "bin", script, monkeypatch, "npm")
    path = tmp_path / "b-1.2.tgz"
    for content in (None, BODY, b"damaged"):
        if content:
            path.write_bytes(content)
        fetch_archive("@a/b@1.2", MD5, path)
        assert path.read_bytes() == BODY
    assert (tmp_path / "calls").read_text() == "\n\n"


@pytest.mark.parametrize("script, told", [
    ("echo 'npm error code E404' >&2; exit 1", "npm pack: npm error code E404; put the archive at"),
    ("echo other > b.tgz", f"npm pack b@1: no archive of MD5 sum {MD5} came; put the archive at"),
])  # fmt: skip
def test_an_npm_package_that_does_not_come_is_told_and_nothing_is_kept(tmp_path, monkeypatch, script, told):
    apt_get(tmp_path / "bin", script, monkeypatch, "npm")
    with pytest.raises(InputError, match=told):
        fetch_archive("b@1", MD5, tmp_path / "b-1.tgz")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="npm: No such file or directory; install npm, or put the archive at .*b-1"):
        fetch_archive("b@1", MD5, tmp_path / "b-1.tgz")
    assert names(tmp_path) == ["bin"]
