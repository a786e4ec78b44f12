import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_sets import load
from miniatures import remove, write_oxford102
from scipy.io import savemat

from s2igan.catalog import check
from s2igan.datasets import oxford102, reed
from s2igan.errors import InputError
from s2igan.splits import Limits

SPLIT_FILE = Path(oxford102.__file__).parent / "split_files/oxford102.txt"
FIRST = "text_c10/class_00001/image_00001.txt"
README = r"\(see data/raw/oxford102/README\.md\)"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Classes 1, 2 and 3, which are for the test, and 21, 22 and 23; three images each, in turns."""
    folder = tmp_path_factory.mktemp("oxford102")
    write_oxford102(folder)
    return folder


@pytest.fixture
def raw(whole, tmp_path):
    """A copy of it to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "oxford102"))


def test_the_split_file_is_the_published_split():
    rows = [line.split() for line in SPLIT_FILE.read_text().splitlines() if not line.startswith("#")]
    assert [int(number) for number, split in rows if split == "test"] == list(range(1, 21))
    assert [int(number) for number, split in rows if split == "train"] == list(range(21, 103))
    assert len(rows) == 102 == 82 + 20
    assert reed.official_split("oxford102") == {int(number): split for number, split in rows}


def test_classes_come_from_the_labels_in_image_order(whole):
    catalog = check(load("oxford102", whole, Limits(val_classes=1)))
    assert [image.key for image in catalog.images[:5]] == [
        "class_00001/image_00001",
        "class_00001/image_00007",
        "class_00001/image_00013",
        "class_00002/image_00002",
        "class_00002/image_00008",
    ]
    last = catalog.images[-1]
    assert (last.key, last.path, last.box) == ("class_00023/image_00018", "jpg/image_00018.jpg", "")
    splits = {image.class_name: image.split for image in catalog.images}
    assert [splits[f"class_{n:05d}"] for n in (1, 2, 3)] == ["test"] * 3
    assert sorted(splits[f"class_{n:05d}"] for n in (21, 22, 23)) == ["train", "train", "val"]
    assert len(catalog.images) == 18 and {image.box for image in catalog.images} == {""}
    keys = [image.key for image in catalog.images]
    assert [caption.key for caption in catalog.captions] == [f"{key}/{n:02d}" for key in keys for n in range(10)]


def test_captions_are_found_where_the_archives_unpack(tmp_path, whole):
    write_oxford102(tmp_path, captions="flowers/text_c10")  # the last of the folders that are looked for
    assert load("oxford102", tmp_path, Limits()) == load("oxford102", whole, Limits())


def labels(values, name="labels"):
    return lambda raw: savemat(raw / "imagelabels.mat", {name: np.array(values)})


def with_label(value):
    numbers = [1, 2, 3, 21, 22, 23] * 3
    numbers[4] = value
    return labels([numbers])


def truncate(raw):
    path = raw / "imagelabels.mat"
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(("change", "message"), [
    (remove("imagelabels.mat"), r"imagelabels\.mat: missing; put it there \(see data/raw/oxford102/README\.md\)"),
    (truncate, rf"imagelabels\.mat: damaged, or not the file of labels \(.*\); download it again {README}"),
    (lambda raw: (raw / "imagelabels.mat").write_text("<html>" * 99), r"mat: damaged, or not the file of labels"),
    (labels([1, 2], "setid"), r"mat: damaged, .*\(no variable labels\); download it again"),
    (labels([["a", "b"]]), r"imagelabels\.mat: damaged, or not the file of labels"),
    (labels([]), r"imagelabels\.mat: no label; expected 1 to 102: download"),
    (with_label(0), r"imagelabels\.mat: image 5 has the label 0; expected 1 to 102: download"),
    (with_label(1.5), r"image 5 has the label 1\.5; expected 1 to 102"),
    (with_label(np.nan), r"image 5 has the label nan; expected 1 to 102"),
    (remove("jpg"), rf"/jpg: missing; unpack 102flowers\.tgz there {README}"),
    (
        remove("text_c10"),
        "oxford102: no captions, looked for text_c10, cvpr2016_flowers/text_c10, flowers_icml/text_c10, "
        rf"flowers/text_c10; unpack cvpr2016_flowers\.tar\.gz there {README}",
    ),
    (with_label(21), r"class_00021/image_00005\.txt: missing, so the image image_00005 has no captions"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line_with_file_and_mend(raw, change, message):
    change(raw)
    with pytest.raises(InputError) as error:
        load("oxford102", raw, Limits())
    assert "\n" not in str(error.value)
    assert re.search(message, str(error.value)), error.value


def test_labels_may_stand_in_a_row_or_a_column(raw, whole):
    labels(np.array([[1, 2, 3, 21, 22, 23] * 3], np.float64).T)(raw)
    assert load("oxford102", raw, Limits()) == load("oxford102", whole, Limits())
