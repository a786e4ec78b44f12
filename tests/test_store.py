import errno
import fcntl
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pytest
from dag import ROOT, run

from s2igan.errors import InputError
from s2igan.store import FixedReader, FixedWriter, RaggedReader, RaggedWriter

# N rows, t length of an utterance, W width

KEYS = [f"{row:03d}.Finch/00" for row in range(7)]
VALUES = np.arange(7 * 2 * 3, dtype=np.float32).reshape(7, 2, 3)


def write_fixed(path, keys=KEYS, values=VALUES, kind="embeddings", attributes=None):
    with FixedWriter(path, kind, values.shape[1:], values.dtype, attributes) as out:
        out.append(keys[:3], values[:3])
        out.append(keys[3:], values[3:])
    return path


def utterances(width: int) -> dict[str, np.ndarray]:
    """Lengths 0, 1, 2, … of numbers that no two share."""
    shape = (width,) if width else ()
    return {f"a/{n}": (100 * n + np.arange(n * (width or 1))).reshape(n, *shape).astype(np.float32) for n in range(6)}


def write_ragged(path, width=2, kind="logmel"):
    with RaggedWriter(path, kind, width, "float32") as out:
        for key, value in utterances(width).items():
            out.append(key, value)
    return path


def leftovers(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob("*.partial")]


def test_fixed_arrays_come_back_under_their_keys_with_attributes(tmp_path):
    attributes = {"seed": 3, "name": "ä", "nested": {"on": True, "sizes": [1, 2.5]}}
    path = write_fixed(tmp_path / "deep" / "a.h5", attributes=attributes)
    with FixedReader(path, "embeddings") as file:
        assert file.keys == KEYS and len(file) == 7 and file.shape == (2, 3)
        assert file.attributes == attributes
        assert file.values().dtype == np.float32
        np.testing.assert_array_equal(file.values(), VALUES)
        assert [file.index(key) for key in reversed(KEYS)] == [6, 5, 4, 3, 2, 1, 0]
        assert KEYS[0] in file and "other" not in file


@pytest.mark.parametrize("write", [write_fixed, write_ragged])
def test_every_structure_of_a_file_has_a_checksum(tmp_path, write):
    content = write(tmp_path / "a.h5").read_bytes()
    without = (b"TREE", b"SNOD", b"HEAP", b"GCOL")  # signatures of HDF5's structures that have none
    assert [name for name in without if name in content] == []


def test_a_file_of_an_earlier_commit_is_read(tmp_path):
    path = write_fixed(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.attrs["format"] = file.attrs["format"].decode()  # of any length, as it was
    with FixedReader(path, "embeddings") as file:
        np.testing.assert_array_equal(file.values(), VALUES)


@pytest.mark.parametrize("rows", [[6, 0, 3], [2, 2, 2], [5], [], [1, 0, 1, 6, 0], slice(2, 5), slice(5, 99)])
def test_any_rows_come_in_the_order_asked_for(tmp_path, rows):
    with FixedReader(write_fixed(tmp_path / "a.h5"), "embeddings") as file:
        np.testing.assert_array_equal(file.values(rows), VALUES[rows if rows != [] else slice(0)])


@pytest.mark.parametrize("width", [0, 1, 4])
def test_ragged_arrays_come_back_at_their_lengths(tmp_path, width):
    expected = utterances(width)
    with RaggedReader(write_ragged(tmp_path / "a.h5", width), "logmel") as file:
        assert file.keys == list(expected)
        assert file.lengths.tolist() == [0, 1, 2, 3, 4, 5]
        for row, value in enumerate(expected.values()):
            np.testing.assert_array_equal(file.value(row), value)
            assert file.value(row).shape == value.shape
        for found, row in zip(file.values([5, 1, 5, 0]), [5, 1, 5, 0], strict=True):
            np.testing.assert_array_equal(found, expected[f"a/{row}"])
        assert [len(value) for value in file.values()] == [0, 1, 2, 3, 4, 5]


def test_ragged_arrays_survive_the_writers_blocks(tmp_path):
    """Some 40 MiB: more than the writer gathers before it writes."""
    rows = [np.full((n % 5, 1 << 18), n, np.float32) for n in range(20)]
    with RaggedWriter(tmp_path / "a.h5", "logmel", 1 << 18, "float32") as out:
        for n, row in enumerate(rows):
            out.append(str(n), row)
    with RaggedReader(tmp_path / "a.h5", "logmel") as file:
        assert file.lengths.tolist() == [n % 5 for n in range(20)]
        assert all((file.value(n) == n).all() for n in range(20))


def test_columns_come_back_with_text_and_numbers(tmp_path):
    with FixedWriter(tmp_path / "a.h5", "generated", (1,), "uint8", columns=["voice", "seed"]) as out:
        out.append(["a", "b"], [[1], [2]], voice=["en-gb+f3", "é"], seed=[2**62, 0])
        out.append(["c"], [[3]], voice=[""], seed=[5])
    with FixedReader(tmp_path / "a.h5", "generated") as file:
        assert file.column("voice") == ["en-gb+f3", "é", ""]
        assert file.column("seed") == [2**62, 0, 5]
    with RaggedWriter(tmp_path / "b.h5", "speech", 0, "uint8", columns=["seconds"]) as out:
        out.append("a", memoryview(b"fLaC"), seconds=0.25)
    with RaggedReader(tmp_path / "b.h5", "speech") as file:
        assert file.value(0).tobytes() == b"fLaC" and file.column("seconds") == [0.25]


@pytest.mark.parametrize("damage", ["gone", "no text"])
def test_a_damaged_column_is_told_with_its_file(tmp_path, damage):
    with FixedWriter(tmp_path / "a.h5", "generated", (1,), "uint8", columns=["voice"]) as out:
        out.append(["x"], [[1]], voice=["é"])
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["columns/voice"]
        if damage == "no text":
            file["columns/voice"] = np.array([b"\xff"])
    with FixedReader(tmp_path / "a.h5", "generated") as file:
        with pytest.raises(InputError, match=r"a\.h5: damaged \(\w+\); run `dvc repro`"):
            file.column("voice")


def test_a_column_that_is_not_declared_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a has columns \['voice'\]; expected \['seed'\]"):
        with RaggedWriter(tmp_path / "a.h5", "speech", 0, "uint8", columns=["seed"]) as out:
            out.append("a", np.zeros(3, np.uint8), voice="x")


def test_the_same_content_gives_the_same_bytes_here_and_in_another_process(tmp_path):
    first = write_fixed(tmp_path / "a.h5", attributes={"b": 1, "a": 2}).read_bytes()
    assert write_fixed(tmp_path / "b.h5", attributes={"a": 2, "b": 1}).read_bytes() == first
    ragged = write_ragged(tmp_path / "c.h5").read_bytes()
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]; from pathlib import Path; import test_store;"
        "test_store.write_fixed(Path(sys.argv[1]) / 'd.h5', attributes={'b': 1, 'a': 2});"
        "test_store.write_ragged(Path(sys.argv[1]) / 'e.h5')"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path), str(ROOT), str(ROOT / "tests")], check=True)
    assert (tmp_path / "d.h5").read_bytes() == first
    assert (tmp_path / "e.h5").read_bytes() == ragged


def test_a_writer_that_fails_leaves_no_file_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.h5"
    for old in (None, b"the old file"):
        if old:
            path.write_bytes(old)
        with pytest.raises(ZeroDivisionError):
            with FixedWriter(path, "embeddings", (2,), "float32") as out:
                out.append(["a"], [[1, 2]])
                raise ZeroDivisionError
        assert (path.read_bytes() if old else path.exists()) == (old or False)
        assert leftovers(tmp_path) == []


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.h5"
    with FixedWriter(path, "embeddings", (2,), "float32") as out:
        out.append(["a"], [[1, 2]])
        assert not path.exists() and len(leftovers(tmp_path)) == 1
    assert path.exists() and leftovers(tmp_path) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_key(tmp_path, bad):
    values = VALUES.copy()
    values[4, 1, 0] = bad
    with pytest.raises(InputError, match=r"a\.h5: 004\.Finch/00 has NaN or infinite embeddings; fix"):
        write_fixed(tmp_path / "a.h5", values=values)
    with pytest.raises(InputError, match=r"b\.h5: q/1 has NaN"), RaggedWriter(tmp_path / "b.h5", "m", 1, "f4") as out:
        out.append("q/0", np.zeros((3, 1)))
        out.append("q/1", np.array([[0.0], [bad]]))
    assert list(tmp_path.iterdir()) == []


def test_what_overflows_the_stored_type_is_refused(tmp_path):
    with pytest.raises(InputError, match="k has NaN or infinite logmel"), np.errstate(over="ignore"):
        with RaggedWriter(tmp_path / "a.h5", "logmel", 1, "float16") as out:
            out.append("k", np.array([[1e6]]))


def test_repeated_keys_are_refused(tmp_path):
    with pytest.raises(InputError, match="key 000.Finch/00 is written twice"):
        write_fixed(tmp_path / "a.h5", keys=[*KEYS[:6], KEYS[0]])
    with pytest.raises(InputError, match="key a is written twice"):
        with RaggedWriter(tmp_path / "a.h5", "speech", 0, "uint8") as out:
            out.append("a", [1])
            out.append("a", [2])
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_shape_is_refused_with_what_was_expected(tmp_path):
    with pytest.raises(InputError, match=r"2 keys from a on got an array of \(2, 5\); expected \(2, 3\)"):
        with FixedWriter(tmp_path / "a.h5", "embeddings", (3,), "float32") as out:
            out.append(["a", "b"], np.zeros((2, 5)))
    with pytest.raises(InputError, match=r"k has an array of \(4, 39\); expected \(t, \*\(40,\)\)"):
        with RaggedWriter(tmp_path / "a.h5", "logmel", 40, "float16") as out:
            out.append("k", np.zeros((4, 39)))


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, kept):
    for path, reader, kind in (
        (write_fixed(tmp_path / "a.h5"), FixedReader, "embeddings"),
        (write_ragged(tmp_path / "b.h5"), RaggedReader, "logmel"),
    ):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(InputError, match=f"{path.name}: truncated, .*; run `dvc repro`"):
            reader(path, kind).__enter__()


def test_a_good_file_that_is_locked_is_read_and_one_that_must_not_be_is_told_as_such(tmp_path, monkeypatch):
    """It was told as truncated, and to be deleted."""
    path = write_fixed(tmp_path / "a.h5")
    with open(path) as file, monkeypatch.context() as patch:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another program's HDF5 does
        with FixedReader(path, "embeddings") as reader:
            np.testing.assert_array_equal(reader.values(), VALUES)
        patch.setattr(h5py, "File", Mock(side_effect=PermissionError(errno.EACCES, "HDF5's words")))
        with pytest.raises(PermissionError, match=rf"Permission denied: '{path}'"):
            FixedReader(path, "embeddings").__enter__()


FULL_DISK = """
import resource, signal
import click, numpy as np
from s2igan.command import Stage, progress
from s2igan.store import FixedWriter, RaggedWriter

@click.command(cls=Stage)
@click.option("--limit", type=int)
@click.option("--writer", type=str)
def main(limit, writer):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    rng = np.random.default_rng(0)
    if writer == "fixed":
        with FixedWriter("data/out.h5", "images", (3, 64, 64), "uint8") as out:
            for i in progress(range(400), "images"):
                out.append([str(i)], rng.integers(0, 255, (1, 3, 64, 64)))
    elif writer == "ragged":
        with RaggedWriter("data/out.h5", "logmel", 40, "float32") as out:
            for i in progress(range(70), "log-mel"):
                out.append(str(i), rng.random((500, 40)))
    else:
        import torch
        from s2igan.models import save_model
        from s2igan.training import Checkpoints
        if writer == "model":
            save_model("models/m", "rdg", {"g": torch.nn.Linear(100, 100)}, {})
        else:
            Checkpoints("s", {}, []).save(1, {"weights": torch.zeros(10_000)})

main()
"""


@pytest.mark.parametrize(("writer", "limit"), [
    ("fixed", 0), ("ragged", 3_000), ("fixed", 1_500_000), ("ragged", "all but the last byte"),
    ("model", 20_000), ("checkpoint", 20_000),
])  # fmt: skip
def test_a_full_disk_ends_in_one_line_without_a_trace(tmp_path, writer, limit):
    """Full at once, at the first table, within the data, and at the very end."""

    def write(limit):
        command = (sys.executable, "full.py", "--limit", str(limit), "--writer", writer)
        return run(tmp_path, *command, check=False, code=ROOT)

    (tmp_path / "full.py").write_text(FULL_DISK)
    path = tmp_path / "data" / "out.h5"
    if limit == "all but the last byte":
        assert write(1 << 30).returncode == 0
        limit = path.stat().st_size - 1
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    result = write(limit)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = [shown for shown in result.stderr.splitlines() if "rror" in shown]
    assert line.startswith("error: ") and line.endswith(
        ": File too large; free some space and run the same command again"
    )
    assert writer not in ("fixed", "ragged") or line.startswith("error: data/out.h5: ")
    assert result.stderr.endswith(f"{line}\n") and "Traceback" not in result.stderr
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.is_file()} == before
