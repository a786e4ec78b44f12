import pytest

from s2igan.datasets.listing import lines
from s2igan.errors import InputError
from s2igan.manifest import inside, shown
from s2igan.selection import key_name


def read(path):
    return list(lines(path, r"(\d+) (\S+)", "<number> <name>", "unpack it again"))


def test_lines_are_numbered_and_blank_ones_left_out(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf1 one\r\n\n  \n 22 two  \n3 caf\xe9")  # with a byte-order mark, and Latin-1
    assert read(path) == [(1, ("1", "one")), (4, ("22", "two")), (5, ("3", "caf\ufffd"))]


def test_a_line_of_another_form_and_a_missing_file_are_told(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(InputError, match=r"list\.txt: missing; unpack it again"):
        read(path)
    path.write_text("1 one\n" + "x" * 100)
    with pytest.raises(InputError, match=f"line 2 is '{'x' * 79}…'; expected"):
        read(path)
    path.write_text("\u0663 three")  # a digit, but not of ASCII
    with pytest.raises(InputError, match="line 1 is"):
        read(path)


def test_a_key_name_is_ascii_without_what_separates():
    assert key_name("red fox/Óne, 'x'\\`\".jpg") == "red_fox__ne___x____.jpg"
    assert key_name("a-1_b.C#~!") == "a-1_b.C#~!"


@pytest.mark.parametrize("path", ["", "a\0.jpg", "a\udce9.jpg", "a/../../b.jpg"])  # others: tests/test_manifest.py
def test_a_path_that_leaves_or_is_none_is_refused(path):
    assert inside("./a//b.jpg", "here:") == "a/b.jpg" and inside("a/..b.jpg", "here:") == "a/..b.jpg"
    with pytest.raises(InputError, match="here: .*(not a file's name|leaves its folder by)") as error:
        inside(path, "here:")
    assert str(error.value).isprintable()


def test_a_value_is_shown_in_eighty_characters():
    assert shown("x" * 80) == "x" * 80
    assert shown("x" * 81) == "x" * 79 + "…"
