import dataclasses
import io
import re

import numpy as np
import PIL.Image
import pytest
from data_sets import load

from s2igan.catalog import (
    Caption,
    Catalog,
    Image,
    check,
    read_catalog,
    write_catalog,
)
from s2igan.datasets.aviary import drawings
from s2igan.datasets.drawn.grammar import read
from s2igan.datasets.drawn.species import render_image, species_table
from s2igan.errors import InputError
from s2igan.files import write_text
from s2igan.splits import Limits

SPLIT_OF = {"a": "test", "b": "train", "c": "val", "d": "train"}
AVIARY = Limits(classes=10, test_classes=3, val_classes=2, images_per_class=2, captions_per_image=3)


def small(images=(), captions=(), without=()) -> Catalog:
    """Four classes of two images with a caption each, and what a test adds or takes away."""
    all_images, all_captions = [], []
    for name, split in SPLIT_OF.items():
        for n in range(2):
            key = f"{name}/{n:02d}"
            all_images.append(Image(key, f"{key}.jpg", name, split, "1 2 3 4"))
            all_captions.append(Caption(f"{key}/00", key, f"a bird, no. {n}", language="en"))
    kept = [[row for row in rows if row.key not in without] for rows in (all_images, all_captions)]
    return Catalog((*kept[0], *images), (*kept[1], *captions))


def test_a_catalog_comes_back_from_its_tables(tmp_path):
    odd = Caption("a/00/01", "a/00", 'says "chip, chip"\nthen: é 鳥', "sounds/1.wav", "fr", "anna")
    catalog = small(captions=[odd])
    write_catalog(tmp_path, catalog)
    assert read_catalog(tmp_path) == catalog
    first = (tmp_path / "images.csv").read_text().splitlines()[:2]
    assert first == ["key,path,class_name,split,box", "a/00,a/00.jpg,a,test,1 2 3 4"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["captions.csv", "catalog.json", "images.csv"]


def test_training_classes_come_first_in_the_numbering():
    assert small().class_ids() == {"": -1, "b": 0, "d": 1, "a": 2, "c": 3}


def test_a_split_has_the_captions_of_its_images_in_order():
    assert [caption.key for caption in small().split("train")] == ["b/00/00", "b/01/00", "d/00/00", "d/01/00"]
    assert [caption.key for caption in small().split("val")] == ["c/00/00", "c/01/00"]
    assert small().image_of()["c/01"].class_name == "c"


def test_a_picture_without_a_class_is_of_a_kind_of_its_own():
    images = tuple(Image(f"-/{i}", f"{i}.jpg", "", split) for i, split in enumerate(("train", "val", "test", "test")))
    captions = tuple(Caption(f"{image.key}/00", image.key, "", f"{image.key}.wav") for image in images)
    catalog = check(Catalog(images, captions))
    assert catalog.class_ids() == {"": -1}
    assert catalog.group_of() == {f"-/{i}": f"-/{i}" for i in range(4)}
    assert small().group_of()["a/01"] == "a"


def test_splits_share_classes_only_where_the_catalog_says_so(tmp_path):
    mixed = small(images=[Image("a/02", "", "a", "train")], captions=[Caption("a/02/00", "a/02", "b")])
    with pytest.raises(InputError, match="class a is in test and train; splits must be disjoint"):
        check(mixed)
    by_image = dataclasses.replace(mixed, disjoint="images", dataset="own", raw="data/raw/own")
    write_catalog(tmp_path, check(by_image))
    assert read_catalog(tmp_path) == by_image
    # One image of a class is enough where classes are not held out.
    check(dataclasses.replace(small(without=["d/01", "d/01/00"]), disjoint="images"))


@pytest.mark.parametrize("disjoint", ["speakers", "languages"])
def test_speakers_and_languages_of_the_test_are_its_own_where_the_catalog_says_so(disjoint):
    whole = small()
    of_split = {image.key: image.split for image in whole.images}

    def told(train, test):
        values = {"train": train, "val": train, "test": test}
        captions = [
            dataclasses.replace(caption, **{disjoint.removesuffix("s"): values[of_split[caption.image]]})
            for caption in whole.captions
        ]
        return dataclasses.replace(whole, captions=tuple(captions), disjoint=disjoint)

    check(told("one", "two"))
    check(told("", ""))  # texts that an engine reads
    with pytest.raises(
        InputError, match=f"{disjoint.removesuffix('s')} one is in the test, by .*, and in training, by"
    ):
        check(told("one", "one"))


def test_a_recording_is_in_one_split_whatever_it_describes():
    whole = small()
    of_split = {image.key: image.split for image in whole.images}
    one, other = (next(c for c in whole.captions if of_split[c.image] == split) for split in ("train", "test"))
    again = [dataclasses.replace(c, recording="a.wav") if c in (one, other) else c for c in whole.captions]
    with pytest.raises(
        InputError, match="recording a.wav is in .* and, by .*, in .*; give what it describes one split"
    ):
        check(dataclasses.replace(whole, captions=tuple(again)))


def test_one_test_picture_is_too_few():
    lone = dataclasses.replace(small(without=["a/01", "a/01/00"]), disjoint="images")
    with pytest.raises(InputError, match="one image in split test; the scores need two"):
        check(lone)


def test_the_first_caption_of_each_image_whatever_its_number():
    later = small(without=["a/00/00"], captions=[Caption("a/00/07", "a/00", "b"), Caption("a/00/09", "a/00", "c")])
    assert [caption.key for caption in later.first_of("test")] == ["a/01/00", "a/00/07"]


def test_tables_without_their_description_are_told(tmp_path):
    write_catalog(tmp_path, small())
    (tmp_path / "catalog.json").unlink()
    with pytest.raises(InputError, match="catalog.json: missing or damaged; run `dvc repro`"):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        (small(without=["d/01", "d/01/00"]), "class d has one image; .*need two: add an image or remove the class"),
        (small(captions=[Caption("a/00/00", "a/00", "b")]), "key a/00/00 occurs twice; keys must be unique"),
        (small(images=[Image("a/01", "", "a", "test")]), "key a/01 occurs twice; keys must be unique"),
        (small(captions=[Caption("a/01", "a/00", "b")]), "key a/01 occurs twice; keys must be unique"),
        (
            small(without=[f"c/{n:02d}{rest}" for n in range(2) for rest in ("", "/00")]),
            "nothing in split val; assign a class or an image to it",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_file_key_and_mend(catalog, message):
    with pytest.raises(InputError, match=f"^birds: {message}") as error:
        check(catalog, "birds")
    assert "\n" not in str(error.value)


def damaged(folder, name, change):
    write_catalog(folder, small())
    (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("images.csv", lambda text: text.replace(b"split", b"fold"), "damaged .*fold.*; run `dvc repro`"),
        ("captions.csv", lambda text: text + "b/00/01,b/00,blåmes,,,\n".encode("latin-1"), "damaged .*utf-8"),
        ("images.csv", lambda text: b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "damaged"),
        ("images.csv", lambda text: text.replace(b"b/00,", b"b/00,x,", 1), "damaged"),
    ],
)
def test_a_damaged_table_is_told_in_one_line_with_its_file(tmp_path, name, change, message):
    damaged(tmp_path, name, change)
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / name))}: {message}") as error:
        read_catalog(tmp_path)
    assert "\n" not in str(error.value)


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "deep" / "a.txt", "new \ud800")
    assert (tmp_path / "deep" / "a.txt").read_text() == "old"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.txt"]


@pytest.fixture(scope="module")
def aviary():
    return load("aviary", "", AVIARY)


def test_the_aviary_has_what_was_asked_for_and_passes_the_check(aviary):
    catalog = check(aviary)
    splits = {split: {i.class_name for i in catalog.images if i.split == split} for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in splits.items()} == {"train": 5, "val": 2, "test": 3}
    assert len(set.union(*splits.values())) == 10  # none in two
    assert (len(catalog.images), len(catalog.captions)) == (20, 60)
    assert [len(catalog.split(split)) for split in ("train", "val", "test")] == [30, 12, 18]


def test_captions_speak_of_the_colours_of_their_own_class(aviary):
    """The name says crown and wing; no caption may say otherwise."""
    told = 0
    for caption in aviary.captions:
        crown, _, wing, _, _ = caption.key.split(".")[1].split("/")[0].lower().split("-")
        for part, colour in (("crown", crown), ("wing", wing)):
            named = read(caption.text).get(part)
            assert named in (None, colour)
            told += named is not None
    assert told > 30


def test_the_same_options_give_the_same_catalog_and_another_seed_another(aviary):
    assert load("aviary", "", AVIARY) == aviary
    assert load("aviary", "", dataclasses.replace(AVIARY, seed=1)) != aviary


def test_drawings_are_those_of_their_keys_whatever_the_number_of_processes(aviary):
    alone = list(drawings(AVIARY, 16, workers=1))
    assert list(drawings(AVIARY, 16, workers=2)) == alone
    assert [path for path, _ in alone] == [image.path for image in aviary.images]
    species = {one.name: one for one in species_table(10, 3, 2, seed=0)}
    for path, content in alone:
        name, number = path.removesuffix(".png").split("/")
        drawn = np.asarray(PIL.Image.open(io.BytesIO(content)))
        np.testing.assert_array_equal(drawn, render_image(species[name], int(number), 16, 0))
    assert len({content for _, content in alone}) == 20  # no pose twice
