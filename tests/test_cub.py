"""The adapter of CUB, and what it shares with Oxford-102: splits, limits and Reed et al.'s captions."""

import re
import shutil
from pathlib import Path

import pytest
from data_sets import load
from miniatures import add, edit, remove, write_cub

from s2igan.catalog import check
from s2igan.datasets import cub, reed
from s2igan.errors import InputError
from s2igan.manifest import Row
from s2igan.selection import select
from s2igan.splits import Limits

SPLIT_FILE = Path(cub.__file__).parent / "split_files/cub.txt"
TEST_CLASSES = """
    1 4 6 8 9 14 23 29 31 33 34 35 36 37 38 43 49 51 53 66 72 79 83 84 86 91 95 96 98 101 102 103 112 114 119 121
    130 135 138 147 156 163 165 166 180 183 185 186 187 197
"""
ALBATROSS = "001.Black_footed_Albatross/Black_Footed_Albatross"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Classes 1 to 6 with three images each; 1, 4 and 6 are for the test."""
    folder = tmp_path_factory.mktemp("cub")
    write_cub(folder)
    return folder


@pytest.fixture
def raw(whole, tmp_path):
    """A copy of it to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "cub"))


def refused(raw, message, **limits):
    with pytest.raises(InputError) as error:
        load("cub", raw, Limits(**limits))
    assert "\n" not in str(error.value)
    assert re.search(message, str(error.value)), error.value


def classes_in(catalog, split):
    return sorted({int(image.class_name[:3]) for image in catalog.images if image.split == split})


def test_the_split_file_is_the_published_split():
    rows = [line.split() for line in SPLIT_FILE.read_text().splitlines() if not line.startswith("#")]
    test = {number for number, split in rows if split == "test"}
    train = {number for number, split in rows if split == "train"}
    assert (len(rows), len(train), len(test)) == (200, 150, 50)
    assert test == set(TEST_CLASSES.split()) and not test & train
    assert test | train == {str(number) for number in range(1, 201)}
    assert reed.official_split("cub") == {int(number): split for number, split in rows}


def test_everything_comes_in_the_order_of_the_keys(whole):
    catalog = check(load("cub", whole, Limits(val_classes=1)))
    assert classes_in(catalog, "test") == [1, 4, 6]
    assert sorted(classes_in(catalog, "train") + classes_in(catalog, "val")) == [2, 3, 5]
    keys = [image.key for image in catalog.images]
    assert keys[:4] == [
        f"{ALBATROSS}_0001_796111",
        f"{ALBATROSS}_0002_796113",  # listed after the third
        f"{ALBATROSS}_0003_796112",
        "002.Laysan_Albatross/Laysan_Albatross_0001_796114",
    ]
    assert len(keys) == 18 and keys == sorted(keys)
    first = catalog.images[1]
    assert first.path == f"CUB_200_2011/images/{ALBATROSS}_0002_796113.jpg"
    assert first.class_name == "001.Black_footed_Albatross"
    assert [caption.key for caption in catalog.captions] == [f"{key}/{n:02d}" for key in keys for n in range(10)]
    assert [caption.image for caption in catalog.captions] == [key for key in keys for _ in range(10)]
    assert {(c.recording, c.language, c.speaker) for c in catalog.captions} == {("", "en", "")}


def test_captions_are_the_lines_of_the_file_of_their_image(whole):
    catalog = load("cub", whole, Limits())
    for image in catalog.images:
        lines = (whole / f"text_c10/{image.key}.txt").read_text().splitlines()
        assert [caption.text for caption in catalog.captions if caption.image == image.key] == lines
    assert catalog.captions[0].text == "this bird has a yellow body and blue wings."
    of_class = {c.key.split("/")[0]: c.text for c in catalog.captions if c.key.endswith("/00")}
    assert len(set(of_class.values())) == 6


def test_the_box_is_a_square_about_the_bounding_box(raw):
    """Half a side is 0.75 of the longer side, by hand; the square may reach over the border."""
    table = raw / "CUB_200_2011/bounding_boxes.txt"
    lines = table.read_text().splitlines()
    lines[0], lines[2] = "1 60.0 27.0 325.0 304.0", "3 139 30 153.0 264.0"
    table.write_text("\n".join(lines))
    first, second, *_ = load("cub", raw, Limits()).images
    assert [float(value) for value in first.box.split()] == [-21, -64, 486, 486]
    assert [float(value) for value in second.box.split()] == [17, -36, 396, 396]


def test_captions_are_found_where_the_archives_unpack(tmp_path, whole):
    write_cub(tmp_path, captions="birds/text_c10")  # the last of the folders that are looked for
    assert load("cub", tmp_path, Limits()) == load("cub", whole, Limits())


SPLIT = {f"{number:03d}": "test" if str(number) in TEST_CLASSES.split() else "train" for number in range(1, 201)}


def choose(split, limits):
    """The split of each class that the limits leave, of a data set with two images in each."""
    rows = [
        Row(f"{name}/{n}.jpg", text="t", class_name=name, split=part) for name, part in split.items() for n in (0, 1)
    ]
    return {image.class_name: image.split for image in select(rows, limits, "cub", "classes")[0].images}


@pytest.mark.parametrize(("classes", "test_classes", "val_classes", "counts"), [
    (0, 0, 0, (150, 0, 50)),
    (0, 0, 15, (135, 15, 50)),
    (0, 5, 15, (135, 15, 5)),
    (200, 50, 15, (135, 15, 50)),
    (40, 0, 3, (27, 3, 10)),  # a quarter for the test, as in all
    (40, 20, 3, (17, 3, 20)),
    (3, 0, 1, (1, 1, 1)),
    (1000, 1000, 0, (150, 0, 50)),  # no more than there are
    (180, 50, 0, (130, 0, 50)),
])  # fmt: skip
def test_limits_of_classes(classes, test_classes, val_classes, counts):
    chosen = choose(SPLIT, Limits(classes=classes, test_classes=test_classes, val_classes=val_classes))
    assert tuple(list(chosen.values()).count(split) for split in ("train", "val", "test")) == counts
    assert list(chosen) == sorted(chosen)
    for name, split in chosen.items():  # none changes sides
        assert (split == "test") == (SPLIT[name] == "test")


def test_the_choice_depends_on_the_seed_alone():
    def of(seed, split=SPLIT, classes=40):
        return choose(split, Limits(classes=classes, val_classes=5, seed=seed))

    assert of(0) == of(0, dict(reversed(SPLIT.items())))
    for split in ("train", "val", "test"):
        assert len({tuple(name for name in of(seed) if of(seed)[name] == split) for seed in range(3)}) == 3
    assert of(0, classes=0) != of(1, classes=0)  # other classes for validation
    by_number = dict(list(SPLIT.items())[:40])
    assert set(of(0)) != set(by_number)  # drawn, not the first


@pytest.mark.parametrize(
    ("classes", "test_classes", "val_classes"), [(5, 5, 0), (5, 6, 0), (5, 2, 3), (0, 0, 150), (1, 0, 0)]
)
def test_limits_that_leave_no_training_class_are_refused(classes, test_classes, val_classes):
    with pytest.raises(InputError, match=f"catalog.classes={classes}: .* leave none for training; raise classes"):
        choose(SPLIT, Limits(classes=classes, test_classes=test_classes, val_classes=val_classes))


def test_limits_of_images_and_captions(whole):
    every = load("cub", whole, Limits())
    limits = Limits(classes=4, test_classes=2, val_classes=1, images_per_class=2, captions_per_image=3)
    catalog = check(load("cub", whole, limits))
    assert load("cub", whole, limits) == catalog
    assert [len(classes_in(catalog, split)) for split in ("train", "val", "test")] == [1, 1, 2]
    of_class = {}
    for image in catalog.images:
        of_class.setdefault(image.class_name, []).append(image.key)
    assert [len(keys) for keys in of_class.values()] == [2, 2, 2, 2]
    texts = {caption.key: caption.text for caption in every.captions}
    assert [c.key[-2:] for c in catalog.captions] == ["00", "01", "02"] * 8
    assert all(texts[caption.key] == caption.text for caption in catalog.captions)


def test_images_are_drawn_by_the_seed(whole):
    drawn = [load("cub", whole, Limits(images_per_class=1, seed=seed)).images for seed in range(8)]
    assert all(len(images) == 6 for images in drawn) and len(set(drawn)) > 1
    assert {image.key[-11:-7] for images in drawn for image in images} == {"0001", "0002", "0003"}


def test_stray_bytes_control_characters_and_empty_lines(raw):
    path = raw / f"text_c10/{ALBATROSS}_0001_796111.txt"
    lines = [b"a bird\xef\xbf\xbd\xef\xbf\xbds  wing", b"a\x00 \tbird\x1b[0m", b"", b" \xef\xbf\xbd \x0b"]
    lines += [b"caf\xc3\xa9", b"caf\xe9 au lait"]
    lines += [b"\xef\xbb\xbfthis bird\xc2\xa0is red", b"a\x0cb\xe2\x80\xa8c"] + [b"black"] * 4
    path.write_bytes(b"\r\n".join(lines) + b"\r\n\r\n")
    catalog = load("cub", raw, Limits())
    assert [caption.text for caption in catalog.captions[:7]] == [
        "a bird s wing", "a bird [0m", "café", "caf au lait", "this bird is red", "a b c", "black",
    ]  # fmt: skip


ROOT = "CUB_200_2011"
FIRST = f"text_c10/{ALBATROSS}_0001_796111.txt"
README = r"\(see data/raw/cub/README\.md\)"


@pytest.mark.parametrize(("change", "message"), [
    (remove(ROOT), rf"/{ROOT}: missing; unpack CUB_200_2011\.tgz there {README}"),
    (remove(f"{ROOT}/images.txt"), rf"{ROOT}/images\.txt: missing; unpack .* {README}"),
    (remove(f"{ROOT}/bounding_boxes.txt"), rf"{ROOT}/bounding_boxes\.txt: missing; unpack .* {README}"),
    (
        remove("text_c10"),
        "cub: no captions, looked for text_c10, cvpr2016_cub/text_c10, CUB_icml/text_c10, birds/text_c10; "
        rf"unpack cvpr2016_cub\.tar\.gz there {README}",
    ),
    # Tables
    (edit(f"{ROOT}/images.txt", b"3 001", b"3001"), r"images\.txt: line 3 is '3001\..*; expected '<image id> <cl"),
    (edit(f"{ROOT}/images.txt", b"2 001.", b"2 999."), r"images\.txt: line 2: 999.* is not in the published split"),
    (edit(f"{ROOT}/bounding_boxes.txt", b"5 ", b"55 "), r"images\.txt: line 5: .* has no box in bounding"),
    (edit(f"{ROOT}/bounding_boxes.txt", b" 8.0", b" nan"), r"boxes\.txt: line 1 is '1 .*nan.*; expected"),
    (edit(f"{ROOT}/bounding_boxes.txt", b" 26.0", b" -1"), r"boxes\.txt: line 1: the box is -1 wide and 16"),
    # Files
    (remove(FIRST), rf"{FIRST}: missing, so the image Black_\w*_0001_796111 has no captions; unpack .*{README}"),
    (add(FIRST, b"and red feet\n"), rf"{FIRST}: 11 captions; expected 10, one a line: unpack .*{README}"),
    (edit(FIRST, b"\n", b" "), rf"{FIRST}: 9 captions; expected 10, one a line: unpack"),
    (edit(FIRST, b"a large yellow bird with blue wings", b". ."), rf"{FIRST}: line 2 is '\. \.', without a word"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line_with_file_and_mend(raw, change, message):
    change(raw)
    refused(raw, message)


def test_ten_captions_are_wanted_whatever_the_limit(raw):
    add(FIRST, b"and red feet\n")(raw)
    refused(raw, "11 captions; expected 10", captions_per_image=2)


def test_what_the_archives_hold_besides_is_passed_over(raw, whole):
    (raw / "text_c10/.DS_Store").write_bytes(b"\0")
    (raw / "text_c10/.ipynb_checkpoints").mkdir()
    (raw / f"text_c10/{ALBATROSS.split('/')[0]}/._{ALBATROSS.split('/')[1]}_0001_796111.txt").write_bytes(b"\0")
    (raw / "CUB_200_2011/README").write_text("CUB")
    assert load("cub", raw, Limits()) == load("cub", whole, Limits())
