import hashlib

import pytest

from s2igan.datasets.listing import lines
from s2igan.errors import InputError
from s2igan.manifest import Row, inside, missing_files, shown
from s2igan.selection import key_name, stem, unique_names, without_ending


def read(path, comment=""):
    return list(lines(path, r"(\d+) (\S+)", "<number> <name>", "unpack it again", comment))


def test_lines_are_numbered_and_blank_ones_left_out(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf1 one\r\n\n  \n 22 two  \n3 caf\xe9")  # with a byte-order mark, and Latin-1
    assert read(path) == [(1, ("1", "one")), (4, ("22", "two")), (5, ("3", "caf\ufffd"))]


def test_comments_are_left_out_only_where_there_are_any(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# of 2020\n1 one\n")
    assert read(path, comment="#") == [(2, ("1", "one"))]
    with pytest.raises(InputError, match="line 1 is '# of 2020'; expected '<number> <name>': unpack it again"):
        read(path)


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


def test_names_are_the_shortest_that_tell_apart():
    paths = ["x/a.jpg", "y/a.jpg", "y/A.png", "z/b.jpg", "c.jpg"]
    names = unique_names(paths, [stem, without_ending])
    hashes = {path: hashlib.sha256(path.encode()).hexdigest()[:8] for path in paths}
    assert names == {
        "x/a.jpg": "x_a",
        "y/a.jpg": f"y_a.jpg_{hashes['y/a.jpg']}",  # y/a and y/A differ by case alone
        "y/A.png": f"y_A.png_{hashes['y/A.png']}",
        "z/b.jpg": "b",
        "c.jpg": "c",
    }
    assert unique_names(reversed(paths), [stem, without_ending]) == names


def test_a_path_comes_in_its_shortest_form():
    assert inside("./a//b.jpg", "here:") == "a/b.jpg"
    assert inside("a/..b.jpg", "here:") == "a/..b.jpg"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/a.jpg", "here: /a.jpg: an absolute path; write it from"),
        ("C:/a.jpg", "here: C:/a.jpg: an absolute path"),
        ("a\\b.jpg", r"here: a\\b\.jpg: has a backslash; write /"),
        ("../a.jpg", r"here: \.\./a\.jpg: leaves its folder by \.\."),
        ("a/../../b.jpg", r"leaves its folder by \.\."),
        (".", r"here: '\.': not a file's name"),
        ("", "here: '': not a file's name"),
        ("a\0.jpg", "not a file's name"),
        ("a\udce9.jpg", "not a file's name"),
    ],
)
def test_a_path_that_leaves_or_is_none_is_refused(path, message):
    with pytest.raises(InputError, match=message) as error:
        inside(path, "here:")
    assert str(error.value).isprintable()


def test_a_value_is_shown_in_eighty_characters():
    assert shown("x" * 80) == "x" * 80
    assert shown("x" * 81) == "x" * 79 + "…"


def test_a_file_that_is_not_there_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.jpg").touch()
    rows = [Row("a/b.jpg", recording="c.wav", line=3), Row("a", line=4), Row("a/b.jpg", line=5)]
    first, second = missing_files(rows, tmp_path, "list.csv")
    assert first.startswith("list.csv: line 3: recording c.wav: missing; correct the path, or put")
    assert second.startswith("list.csv: line 4: image a: a folder, not a file; correct the path")
