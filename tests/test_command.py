import errno

import click
import pytest
from click.testing import CliRunner

from s2igan.command import progress, stage
from s2igan.errors import InputError


def run(error: BaseException | None = None, *arguments: str):
    """A stage of two options that ends as it is told."""

    @click.command()
    @click.option("--lr", type=click.FloatRange(0, 1), required=True)
    @click.option("--conv_channels", type=int, multiple=True)
    @stage
    def main(lr, conv_channels):
        click.echo("working", err=True)
        if error:
            raise error

    return CliRunner().invoke(main, ["--lr", "0.5", "--conv_channels", "64", "--conv_channels", "128", *arguments])


def test_options_are_printed_before_anything_else():
    result = run()
    assert result.exit_code == 0
    assert result.stderr == "[test_command] lr=0.5 conv_channels=64,128\nworking\n"
    assert result.stdout == ""


def test_bad_input_ends_in_its_one_line():
    result = run(InputError("data/x.h5: found\n  nothing;\tfix it"))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[2:] == ["error: data/x.h5: found nothing; fix it"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "data/x.h5"),
            "error: data/x.h5: No space left on device; free some space and run the same command again",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            "error: output: Disk quota exceeded; free some space and run the same command again",
        ),
        (PermissionError(errno.EACCES, "", "out.png"), "error: out.png: Permission denied; check the path"),
        (NotADirectoryError(errno.ENOTDIR, "", "a/b.png"), "error: a/b.png: Not a directory; check the path"),
        (OSError("first line\nsecond line"), "error: output: first line second line; check the path"),
        (OSError(), "error: output: an operating system error; check the path"),
    ],
)
def test_what_the_machine_refuses_ends_in_one_line(error, line):
    result = run(error)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[2:] == [line]


def test_a_defect_keeps_its_traceback():
    error = KeyError("k")
    result = run(error)
    assert result.exception is error
    assert result.exception.__traceback__ is not None
    assert "error:" not in result.stderr


def test_progress_passes_items_on_and_shows_what_is_left(capsys):
    assert list(progress(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    with progress(None, "rows", 10, initial=4) as bar:
        bar.update(6)
        assert (bar.n, bar.total) == (10, 10)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "letters" in shown.err and "3/3" in shown.err and "10/10" in shown.err
