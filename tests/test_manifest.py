import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from data_sets import load
from miniatures_speech import write_rows

from s2igan.catalog import Caption, Catalog, Image, check
from s2igan.datasets import manifest
from s2igan.errors import InputError
from s2igan.manifest import stop
from s2igan.selection import select
from s2igan.splits import HOLD_OUT, Limits


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def listed(folder, rows, disjoint="images", **limits) -> Catalog:
    """The catalog of a list of these rows, whose files are made, empty: the adapter must not read them."""
    touch(folder, *(row[column] for row in rows for column in ("image", "recording") if row.get(column)))
    write_rows(folder, rows)
    return load("manifest", folder, Limits(**limits), disjoint)


def rows_of(counts, **columns):
    """`counts`: how many images each class has; one text each."""
    return [
        {"image": f"{name}/{n:02d}.jpg", "text": "a text", "class": name} | columns
        for name, count in counts.items()
        for n in range(count)
    ]


def split_of(catalog):
    return {image.path: image.split for image in catalog.images}


def first(names, count, seed, purpose):
    """The `count` names that come first in the order of their hashes."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest())[:count]


def test_each_row_is_a_caption_and_images_are_sorted_by_key(tmp_path):
    rows = [
        {"image": "b/two.png", "recording": "s/1.wav", "text": "", "speaker": "Anna", "language": "de"},
        {"image": "a/Óne, 'x'.jpg", "recording": "", "text": 'says "hi",\nthen: é', "speaker": "", "language": "fr"},
        {"image": "./b//two.png", "recording": "s/2.flac", "text": " both ", "speaker": "Ben", "language": ""},
        {"image": "three.jpg", "recording": "", "text": "c", "speaker": "", "language": ""},
    ]
    rows = [row | {"split": split} for row, split in zip(rows, ("val", "test", "val", "train"), strict=True)]
    assert listed(tmp_path, rows) == Catalog(
        (
            Image("-/_ne___x_", "a/Óne, 'x'.jpg", "", "test"),
            Image("-/three", "three.jpg", "", "train"),
            Image("-/two", "b/two.png", "", "val"),
        ),
        (
            Caption("-/_ne___x_/00", "-/_ne___x_", 'says "hi",\nthen: é', "", "fr", ""),
            Caption("-/three/00", "-/three", "c", "", "", ""),
            Caption("-/two/00", "-/two", "", "s/1.wav", "de", "Anna"),
            Caption("-/two/01", "-/two", "both", "s/2.flac", "", "Ben"),
        ),
        disjoint="images",
    )


def test_a_byte_order_mark_and_other_cases_of_column_names_do_no_harm(tmp_path):
    touch(tmp_path, *"abc")
    text = "Image , TEXT,,\r\na,x,,\r\nb,y,,\r\nc,z,,\r\n"
    (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    catalog = load("manifest", tmp_path, Limits())
    assert [caption.text for caption in catalog.captions] == ["x", "y", "z"]


def test_values_are_what_they_look_like(tmp_path):
    """é in two characters, as macOS writes it, a no-break space, a zero-width one and a byte-order mark."""
    touch(tmp_path, "e\u0301te\u0301/b.jpg", "a.jpg", "c.jpg")  # decomposed on the disk
    rows = [
        {
            "image": "\u00e9t\u00e9/b.jpg",
            "text": "caf\u0065\u0301\u00a0noir",
            "class": "red\u00a0fox",
            "speaker": "Jos\u00e9",
        },
        {"image": "e\u0301te\u0301/b.jpg", "text": "\u200bt\ufeff", "class": "red fox", "speaker": "Jose\u0301"},
        {"image": "a.jpg", "text": "t", "class": "red\u200b fox", "speaker": "Jos\u00e9\u200d"},
        {"image": "c.jpg", "text": "\u0645\u06cc\u200c\u062e\u0648\u0631\u0645", "class": "red fox ", "speaker": ""},
    ]
    write_rows(tmp_path, rows)
    catalog = load("manifest", tmp_path, Limits())
    assert {image.class_name for image in catalog.images} == {"red_fox"} and len(catalog.images) == 3
    assert {caption.speaker for caption in catalog.captions} == {"Jos\u00e9", ""}
    texts = [caption.text for caption in catalog.captions if "b" in caption.image]
    assert texts == ["caf\u00e9 noir", "t"]
    assert rows[3]["text"] in [caption.text for caption in catalog.captions]  # there, a joiner shapes letters


@pytest.mark.parametrize(("written", "kept"), [
    ("EN", "en"), ("pt-BR", "pt-br"), ("pt_BR", "pt-br"), ("sr@latin", "sr-latin"), ("zh-Hant-TW", "zh-hant-tw")
])  # fmt: skip
def test_languages_may_have_regions_and_scripts(tmp_path, written, kept):
    rows = [{"image": f"{n}.jpg", "text": "t", "language": written} for n in range(3)]
    assert {caption.language for caption in listed(tmp_path, rows).captions} == {kept}


def test_classes_are_named_as_in_the_keys(tmp_path):
    names = ("red fox", "red_fox", "鳥", "owl")
    rows = [
        {"image": f"{n}{split}.jpg", "text": "t", "class": name, "split": split}
        for n, name in enumerate(names)
        for split in ("train", "val", "test")
    ]
    catalog = listed(tmp_path, rows)
    red = {name: f"red_fox_{hashlib.sha256(name.encode()).hexdigest()[:8]}" for name in names[:2]}
    assert {image.class_name for image in catalog.images} == {*red.values(), "_", "owl"}
    assert all(image.key.split("/")[0] == image.class_name for image in catalog.images)
    assert next(image.key for image in catalog.images if image.path == "1val.jpg") == f"{red['red_fox']}/1val"


def test_keys_of_one_stem_are_told_apart_within_a_class(tmp_path):
    paths = ["x/a.jpg", "y/a.jpg", "y/A.png", "z/b.jpg", "z/B.JPG", "z/c.jpg", "w/c.jpg", "d.jpg"]
    rows = [{"image": path, "text": "t", "class": "k" if path != "w/c.jpg" else "other"} for path in paths]
    keys = {image.path: image.key for image in listed(tmp_path, rows).images}
    hashes = {path: hashlib.sha256(path.encode()).hexdigest()[:8] for path in paths}
    assert keys == {
        "x/a.jpg": "k/x_a",
        "y/a.jpg": "k/y_a.jpg",
        "y/A.png": "k/y_A.png",
        "z/b.jpg": f"k/z_b.jpg_{hashes['z/b.jpg']}",
        "z/B.JPG": f"k/z_B.JPG_{hashes['z/B.JPG']}",
        "z/c.jpg": "k/c",
        "w/c.jpg": "other/c",
        "d.jpg": "k/d",
    }


def test_keys_do_not_depend_on_limits_or_on_the_order_of_rows(tmp_path):
    rows = [{"image": f"{folder}/{n}.jpg", "text": f"{folder}{n}"} for folder in "xyz" for n in range(4)]
    everything = {image.path: image.key for image in listed(tmp_path, rows).images}
    assert everything["x/0.jpg"] == "-/x_0"
    few = listed(tmp_path, rows[::-1], classes=2, images_per_class=2).images
    assert len(few) == 4 and all(everything[image.path] == image.key for image in few)


@pytest.mark.parametrize("seed", range(5))
def test_images_of_each_class_are_divided_seven_one_two(tmp_path, seed):
    rows = rows_of({"a": 10, "b": 25, "c": 3, "d": 2, "e": 1})
    found = split_of(listed(tmp_path, rows, seed=seed))
    count = {(path[0], split): 0 for path, split in found.items()}
    for path, split in found.items():
        count[path[0], split] += 1
    assert count == {
        ("a", "train"): 7, ("a", "val"): 1, ("a", "test"): 2,
        ("b", "train"): 17, ("b", "val"): 3, ("b", "test"): 5,
        ("c", "train"): 1, ("c", "val"): 1, ("c", "test"): 1,
        ("d", "train"): 2, ("e", "train"): 1,
    }  # fmt: skip
    names = [row["image"] for row in rows if row["class"] == "a"]
    test = first(names, 2, seed, "test")
    assert {name for name in names if found[name] == "test"} == set(test)
    assert {name for name in names if found[name] == "val"} == set(first(set(names) - set(test), 1, seed, "val"))
    assert split_of(listed(tmp_path, rows[::-1], seed=seed)) == found
    assert split_of(listed(tmp_path, rows, seed=seed + 1)) != found


def test_images_are_divided_together_where_no_class_has_three(tmp_path):
    splits = split_of(listed(tmp_path, rows_of(dict.fromkeys("abcde", 2)))).values()
    assert sorted(splits) == ["test"] * 2 + ["train"] * 6 + ["val"] * 2  # one val image would be one description
    rows = [{"image": f"{n:02d}.jpg", "text": "t"} for n in range(20)]
    splits = split_of(listed(tmp_path, rows)).values()
    assert sorted(splits) == ["test"] * 4 + ["train"] * 14 + ["val"] * 2


@pytest.mark.parametrize("seed", range(6))
def test_each_split_has_two_descriptions_where_that_can_be(tmp_path, seed):
    rows = [{"image": f"{n}.jpg", "text": f"{k}"} for n in range(5) for k in range(3 if n == 0 else 1)]
    catalog = listed(tmp_path, rows, seed=seed)
    if catalog.images[0].split == "train":  # three descriptions, so four images are left for two each
        assert [len(catalog.split(split)) for split in ("train", "val", "test")] == [3, 2, 2]
    else:
        assert sorted(len(catalog.split(split)) for split in ("train", "val", "test")) in ([1, 3, 3], [2, 2, 3])
        assert len(catalog.split("train")) >= 2


def test_three_images_with_two_descriptions_each_fill_the_splits(tmp_path):
    rows = [{"image": f"{n}.jpg", "text": f"{k}"} for n in range(3) for k in range(2)]
    catalog = listed(tmp_path, rows)
    assert [len(catalog.split(split)) for split in ("train", "val", "test")] == [2, 2, 2]
    rows = [{"image": f"{n}.jpg", "text": f"{k}"} for n in range(6) for k in range(2)]
    catalog = listed(tmp_path, rows, captions_per_image=1)  # what the limit takes away does not count
    assert [len(catalog.split(split)) for split in ("train", "val", "test")] == [2, 2, 2]


def test_whole_classes_are_held_out_when_asked_for(tmp_path):
    rows = rows_of(dict.fromkeys("abcdefghij", 2))
    catalog = check(listed(tmp_path, rows, test_classes=3, val_classes=2))
    splits = {image.class_name: image.split for image in catalog.images}
    test = first("abcdefghij", 3, 0, "test classes")
    assert sorted(splits.values()) == ["test"] * 3 + ["train"] * 5 + ["val"] * 2
    assert {name for name, split in splits.items() if split == "test"} == set(test)
    counts = [sorted({i.class_name: i.split for i in listed(tmp_path, rows, **limits).images}.values()) for limits in (
        dict(test_classes=3), dict(test_classes=2, val_classes=3), dict(classes=6, test_classes=2)
    )]  # fmt: skip
    assert counts == [
        ["test"] * 3 + ["train"] * 6 + ["val"],
        ["test"] * 2 + ["train"] * 5 + ["val"] * 3,
        ["test"] * 2 + ["train"] * 3 + ["val"],
    ]
    with pytest.raises(InputError, match="10 classes with 6 for test and 4 for val leave none for training; lower"):
        listed(tmp_path, rows, test_classes=6, val_classes=4)


def test_whole_classes_are_held_out_where_splits_are_disjoint_by_them(tmp_path):
    rows = rows_of(dict.fromkeys("abcdefghij", 2))
    splits = {image.class_name: image.split for image in check(listed(tmp_path, rows, "classes")).images}
    assert sorted(splits.values()) == ["test"] * 2 + ["train"] * 7 + ["val"]
    assert {name for name, split in splits.items() if split == "test"} == set(first("abcdefghij", 2, 0, "test classes"))


@pytest.mark.parametrize("seed", range(4))
def test_a_recording_may_describe_several_images_and_is_in_one_split(tmp_path, seed):
    """A list of words: each is said once by each of two speakers, and shown by three images."""
    rows = [
        {"image": f"{style}/{word}.png", "recording": f"{who}/{word}.wav", "class": f"theme {word % 2}"}
        for word in range(12)
        for style in "xyz"
        for who in ("ann", "ben")
    ]
    catalog = check(replace(listed(tmp_path, rows, seed=seed), disjoint="images"))
    assert (len(catalog.images), len(catalog.captions)) == (36, 72)
    split = {
        caption.key: image.split
        for image in catalog.images
        for caption in catalog.captions
        if caption.image == image.key
    }
    splits = {}
    for caption in catalog.captions:
        splits.setdefault(caption.recording, set()).add(split[caption.key])
    assert len(splits) == 24 and all(len(found) == 1 for found in splits.values())
    # Two themes of six words each: one is for the test and one for val.
    words = {
        s: {path.split("/")[1] for path, part in split_of(catalog).items() if part == s}
        for s in ("train", "val", "test")
    }
    assert [len(words[s]) for s in ("train", "val", "test")] == [8, 2, 2]
    assert split_of(listed(tmp_path, rows[::-1], seed=seed)) == split_of(catalog)
    one = [row | {"recording": "all.wav"} for row in rows[::2]]
    with pytest.raises(
        InputError, match="1 sets of images once those that share a recording are one; .* list 3 or more"
    ):
        listed(tmp_path, one)


@pytest.mark.parametrize("disjoint", ["speakers", "languages"])
def test_speakers_are_held_out_on_request(tmp_path, disjoint):
    name = disjoint.removesuffix("s")
    rows = [
        {"image": f"{n:02d}.png", "recording": f"{who}{n}.wav", "text": "", name: who}
        for n in range(10)
        for who in ("aa", "bb", "cc")
    ]
    rows += [{"image": f"alone{n}.png", "recording": f"dd{n}.wav", "text": "", name: "dd"} for n in range(2)]
    catalog = check(replace(listed(tmp_path, rows, disjoint), disjoint=disjoint))
    (held_out,) = first(("aa", "bb", "cc", "dd"), 1, 0, f"test {disjoint}")
    assert {getattr(caption, name) for caption in catalog.split("test")} == {held_out}
    assert held_out not in {getattr(caption, name) for caption in catalog.training_captions()}
    if held_out == "dd":
        assert {image.path for image in catalog.images if image.split == "test"} == {"alone0.png", "alone1.png"}
    else:
        assert len([image for image in catalog.images if image.split == "test"]) == 2  # of ten that all describe
    with pytest.raises(InputError, match=f"line 2: no {name}, and the test is to hold out {disjoint}; name it on"):
        listed(tmp_path, [rows[0] | {name: ""}, *rows[1:]], disjoint)
    with pytest.raises(InputError, match=f"1 {disjoint}, and the test is to hold out one of two; name another"):
        listed(tmp_path, [row for row in rows if row[name] == "aa"], disjoint)


def spoken_words(split="train"):
    """Nine words in three themes, each shown by two images and named by four speakers of two languages.

    Each image has recordings of its own, but Ann's of a word are copies. All are in one split.
    """
    return [
        {"image": f"{word}{style}.png", "recording": f"{who}/{word}{style}.wav", "text": "",
         "class": f"theme {word % 3}", "speaker": who, "language": who[0] + "a", "split": split}
        for word in range(9) for style in "xy" for who in ("ann", "abe", "bob", "bea")
    ]  # fmt: skip


def held_out(folder, hold_out, rows, **limits):
    """The checked catalog of a list with recordings, of which copies are told by their bytes."""
    write_rows(folder, rows)
    for row in rows:
        touch(folder, *(row[column] for column in ("image", "recording") if row.get(column)))
        if row.get("recording"):
            name = row["recording"]
            (folder / name).write_text(name[:-5] if name.startswith("ann") else name)
    listed = manifest.read_list(folder / "manifest.csv", stop)
    return check(select(listed, Limits(hold_out=hold_out, **limits), "own", "classes", folder)[0], "own")


@pytest.mark.parametrize("hold_out", ["speaker", "language", "class", "image"])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_held_out_is_in_no_training_whatever_the_list_says(tmp_path, hold_out, seed):
    catalog = held_out(tmp_path, hold_out, spoken_words(), seed=seed, test_classes=1, val_classes=1)
    assert catalog.disjoint == HOLD_OUT[hold_out]
    of_image, trained, tested = catalog.image_of(), catalog.training_captions(), catalog.split("test")
    of = {"speaker": lambda c: c.speaker, "language": lambda c: c.language, "image": lambda c: c.image,
          "class": lambda c: of_image[c.image].class_name}  # fmt: skip
    for name, value in of.items():
        shared = {value(caption) for caption in trained} & {value(caption) for caption in tested}
        assert not shared if name in (hold_out, "image") else shared or name in ("speaker", "language")
    if hold_out in ("speaker", "language"):  # a fifth of four or two, at least one, and of the images
        assert len({of[hold_out](caption) for caption in tested}) == 1
        assert len(catalog.images_in("test")) == 4
    else:
        assert {caption.speaker for caption in trained} == {caption.speaker for caption in tested}
        assert len(catalog.images_in("test")) == 6
        # Ann's copies are one recording, so both images of a word are in one split.
        split = {image.path: image.split for image in catalog.images}
        assert hold_out == "class" or all(split[f"{word}x.png"] == split[f"{word}y.png"] for word in range(9))


def test_a_recording_of_two_classes_is_heard_in_one_split(tmp_path):
    """By the test, where a class that it describes is held out; in training its rows are left out."""
    rows = [row for row in spoken_words() if row["speaker"] != "ann"]
    for row in rows:
        if row["speaker"] == "abe":
            row["recording"] = "abe/hm.wav"  # whatever he is shown
    catalog = held_out(tmp_path, "class", rows)
    split = {image.key: image.split for image in catalog.images}
    said = [caption for caption in catalog.captions if caption.speaker == "abe"]
    assert len(said) == 6 and {split[caption.image] for caption in said} == {"test"}
    assert len(catalog.images) == 18 and len(catalog.captions) == 2 * 18 + 6


@pytest.mark.parametrize(("hold_out", "columns", "told"), [
    ("speaker", ("image", "text"), "own: 0 speakers, and the test is to hold out one of two; name another"),
    ("language", ("image", "text"), "own: line 2: no language, and the test is to hold out languages; name it on each"),
    ("class", ("image", "text"), "own: 0 classes of two images, and catalog.hold_out=class needs three; choose"),
    ("class", ("image", "text", "class"), "own: 2 classes of two images, and catalog.hold_out=class needs three;"),
])  # fmt: skip
def test_what_cannot_be_held_out_is_told(tmp_path, hold_out, columns, told):
    rows = [{"image": f"{n}.png", "text": "a word", "class": f"{n % 2}"} for n in range(9)]
    with pytest.raises(InputError, match=told):
        held_out(tmp_path, hold_out, [{name: row[name] for name in columns} for row in rows])


def test_as_listed_takes_the_list_at_its_word(tmp_path):
    rows = spoken_words("test")[:8] + spoken_words("val")[8:12] + spoken_words()[12:]
    catalog = held_out(tmp_path, "as_listed", [row | {"class": ""} for row in rows])
    assert split_of(catalog) == {row["image"]: row["split"] for row in rows}


def test_val_classes_alone_do_not_divide_by_class(tmp_path):
    rows = rows_of(dict.fromkeys("abcd", 5))
    assert listed(tmp_path, rows, val_classes=2) == listed(tmp_path, rows)


def test_limits_without_classes_count_images(tmp_path):
    rows = [{"image": f"{n:02d}.jpg", "text": f"{k}"} for n in range(30) for k in range(3)]
    catalog = listed(tmp_path, rows, classes=5, images_per_class=4, captions_per_image=2)
    assert len(catalog.images) == 20 and sorted(split_of(catalog).values()).count("train") == 14
    assert [caption.text for caption in catalog.captions] == ["0", "1"] * 20
    assert len(listed(tmp_path, rows, classes=5).images) == len(listed(tmp_path, rows, images_per_class=1).images) == 30
    with pytest.raises(InputError, match="2 images within the limits; raise catalog.classes"):
        listed(tmp_path, rows, classes=2, images_per_class=1)
    parts = ["train"] * 16 + ["val"] * 4 + ["test"] * 10
    rows = [row | {"split": parts[int(row["image"][:2])]} for row in rows]
    splits = list(split_of(listed(tmp_path, rows, classes=5, images_per_class=3)).values())
    assert [splits.count(split) for split in ("train", "val", "test")] == [8, 2, 5]


def test_limits_with_classes(tmp_path):
    rows = rows_of({name: 8 for name in "abcdef"})
    catalog = listed(tmp_path, rows, classes=3, images_per_class=5)
    kept = first("abcdef", 3, 0, "classes")
    assert {image.class_name for image in catalog.images} == set(kept)
    paths = [f"{kept[0]}/{n:02d}.jpg" for n in range(8)]
    assert {image.path for image in catalog.images if image.class_name == kept[0]} == set(
        first(paths, 5, 0, f"images of {kept[0]}")
    )
    assert list(split_of(catalog).values()).count("train") == 9  # 3 of 5 in each class


def test_limits_on_classes_that_a_column_splits(tmp_path):
    parts = dict(zip("abcdefghij", ["train"] * 6 + ["val"] * 2 + ["test"] * 2, strict=True))
    rows = [row | {"split": parts[row["class"]]} for row in rows_of(dict.fromkeys(parts, 3))]

    def kept(**limits):
        catalog = check(listed(tmp_path, rows, **limits))
        return sorted({image.class_name: image.split for image in catalog.images}.values())

    assert kept() == sorted(parts.values())
    assert kept(classes=5) == ["test", "train", "train", "train", "val"]
    assert kept(classes=5, test_classes=2) == ["test", "test", "train", "train", "val"]
    assert kept(test_classes=1) == ["test"] + ["train"] * 6 + ["val"] * 2
    assert kept(val_classes=1) == sorted(parts.values())
    with pytest.raises(InputError, match="catalog.classes=3 with 2 for test and 1 for val leave none for training"):
        kept(classes=3, test_classes=2)
    assert len(listed(tmp_path, rows, images_per_class=2).images) == 20


def test_classes_may_be_in_several_splits_by_the_column(tmp_path):
    parts = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    rows = [row | {"split": parts[int(row["image"][2:4])]} for row in rows_of({"a": 10, "b": 10, "c": 10})]
    assert split_of(listed(tmp_path, rows)) == {row["image"]: row["split"] for row in rows}
    few = listed(tmp_path, rows, classes=2, images_per_class=5)
    counts = [sum(image.split == split for image in few.images) for split in ("train", "val", "test")]
    assert counts == [6, 2, 2]
    with pytest.raises(InputError, match="no image of split .* within the limits"):
        listed(tmp_path, rows, classes=1, images_per_class=2)


def test_the_example_of_the_readme_loads(tmp_path):
    readme = Path(__file__).parents[1] / "data" / "raw" / "manifest" / "README.md"
    example = readme.read_text(encoding="utf-8").split("```csv\n")[1].split("```")[0]
    sounds = [f"sounds/000{n}.{ending}" for n, ending in enumerate(("wav wav ogg wav wav wav flac").split(), start=1)]
    pictures = ["garden/tulip.jpg", "garden/rose.png", "garden/fern.jpg"]
    pictures += ["harbour/boat.jpg", "harbour/crane.jpg", "harbour/gull.png"]
    touch(tmp_path, *sounds, *(f"pictures/{path}" for path in pictures))
    (tmp_path / "manifest.csv").write_text(example, encoding="utf-8")
    catalog = load("manifest", tmp_path, Limits())
    assert {image.key for image in catalog.images} == {path.split(".")[0] for path in pictures}
    boat = [caption.text for caption in catalog.captions if caption.image == "harbour/boat"]
    assert boat == ["", 'a boat that is called "Ida"']
    assert catalog.split("train")[1].key == "garden/tulip/01"


# ---------------------------------------------------------------- what is wrong with a list

GOOD = "image,recording,text,class,split\na.jpg,a.wav,,k,train\nb.jpg,b.wav,,k,val\nc.jpg,c.wav,,k,test\n"


def table(folder, content):
    touch(folder, "a.jpg", "b.jpg", "c.jpg", "a.wav", "b.wav", "c.wav")
    (folder / "manifest.csv").write_bytes(content if isinstance(content, bytes) else content.encode())


def refused(folder, message):
    with pytest.raises(InputError, match=message) as error:
        load("manifest", folder, Limits())
    assert str(error.value).startswith(f"{folder / 'manifest.csv'}: ") and "\n" not in str(error.value)


def swap(old, new):
    assert GOOD.count(old) >= 1
    return GOOD.replace(old, new, 1)


@pytest.mark.parametrize(("content", "message"), [
    ("", "line 1: no column image; columns are none: add it"),
    (swap("image", "picture"), "line 1: no column image; columns are picture, recording, text, class, split: add"),
    ("image,class\na.jpg,k\n", "line 1: no column recording or text; columns are image, class: add one"),
    (swap("class", "klass"), "line 1: unknown column klass; rename it to one of image, box, .* or remove it"),
    (swap("class", "text"), "line 1: 2 columns text; keep one"),
    (GOOD.replace(",", ";"), "line 1: columns are separated by semicolons; save it with commas"),
    (GOOD.replace(",", "\t"), "line 1: columns are separated by tabs; save it with commas"),
    (GOOD.splitlines()[0] + "\n", "no rows under the header; write one"),
    (swap("b.jpg", "b\xe9.jpg").encode("latin-1"), r"line 3: not UTF-8 at byte 56; save it as UTF-8 CSV \(in Exc"),
    (GOOD.encode("utf-16"), "line 1: not UTF-8 at byte 1; save it as UTF-8 CSV"),
    (GOOD.encode("utf-16-le"), "line 1: a zero byte at byte 2; save it as UTF-8 CSV"),
    (swap("b.jpg", "é\0.jpg"), "line 3: a zero byte at byte 57; save it as UTF-8 CSV"),
    (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "line 1: not UTF-8 at byte 1; save"),
    (swap("b.wav,,", 'b.wav,"open,'), "line 3: not CSV .*; close each quote"),
    (swap("b.wav,,", 'b.wav,"a" b,'), "line 3: not CSV .*; close each quote"),
    (swap("b.wav,,", f'b.wav,"{"x" * 200000}",'), "line 3: not CSV .*field larger"),
    (swap("b.wav,,", "b.wav,red, and blue,"), "line 3: 6 fields, but the header has 5; put"),
    (swap("b.jpg,b.wav,,k,val", "b.jpg,b.wav"), "line 3: 2 fields, but the header has 5; put"),
    (swap("b.jpg", "\nb.jpg"), "line 3: empty row; remove it"),
    (GOOD + ",,,,\n", "line 5: empty row; remove it"),
    (swap("b.jpg,b.wav", ",b.wav"), "line 3: no image; write"),
    (swap("b.wav,,", ", ,"), "line 3: neither recording nor text; give one"),
    (swap("k,val", "k,Val"), "line 3: split Val is unknown; write train, val or test"),
    (swap("k,val", "k,dev"), "line 3: split dev is unknown; write train, val or test"),
    (swap("k,val", "k,"), "line 3: no split, but line 2 has one; fill in the column split on every row, or"),
    (swap(",k,train", ",,train"), "line 2: no class, but line 3 has one; fill in the column class on every row"),
    (swap("k,val", "k,test"), "no image of split val in column split; give each"),
    (swap("k,val", "K,val"), "line 3: class K is k on line 2; write it one way"),
    ("image,text,speaker\na.jpg,x,Ann\nb.jpg,y,ann\nc.jpg,z,Ann\n", "line 3: speaker ann is Ann on line 2; write it"),
    ("image,text,speaker\na.jpg,x,Ann\nb.jpg,y,\uff21nn\nc.jpg,z,Ann\n", "line 3: speaker \uff21nn is Ann on line 2"),
    (GOOD + "a.jpg,,more,j,train\n", "line 5: image a.jpg has class j, but k on line 2; give it one class"),
    (GOOD + "./a.jpg,,more,k,val\n", "line 5: image a.jpg has split val, but train on line 2; give it one split"),
    (GOOD + "a.jpg,b.wav,,k,train\n", "line 5: recording b.wav has split train, but val on line 3; it may desc"),
    (GOOD + "a.jpg,./a.wav,,k,train\n", "line 5: recording a.wav describes this image on line 2 already; remove"),
    (swap("b.jpg", "d.jpg"), "line 3: image d.jpg: missing; correct the path, or put the file into"),
    (swap("b.wav", "d.wav"), "line 3: recording d.wav: missing; correct the path"),
    (swap("b.jpg", "pictures"), "line 3: image pictures: a folder, not a file; correct"),
    (swap("b.jpg", "x" * 5000), "line 3: image x{299}…: missing; correct"),
    (swap("b.jpg", "/etc/passwd"), "line 3: image /etc/passwd: an absolute path; write it from the data set"),
    (swap("b.jpg", "C:/b.jpg"), "line 3: image C:/b.jpg: an absolute path"),
    (swap("b.jpg", "../b.jpg"), r"line 3: image \.\./b\.jpg: leaves its folder by \.\."),
    (swap("b.wav", "x/../b.wav"), r"line 3: recording x/\.\./b\.wav: leaves its folder by \.\."),
    (swap("b.jpg", "x\\b.jpg"), r"line 3: image x\\b\.jpg: has a backslash; write /"),
    (swap("b.jpg", "."), r"line 3: image '\.': not a file's name"),
    ("image,text,\na.jpg,x,\nb.jpg,y,stray\nc.jpg,z,\n", "line 3: a value in a column without a name"),
    ("image,text,language\na.jpg,x,English\n", "line 2: language English; write its ISO 639 code, such as en or pt"),
    ("image,text\na.jpg,x\nb.jpg,y\na.jpg,z\n", "2 images; list 3 or more, one for each split"),
    ('image,text\na.jpg,"two\nlines"\nd.jpg,y\n', "line 4: image d.jpg: missing"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line_with_line_and_mend(tmp_path, content, message):
    (tmp_path / "pictures").mkdir()
    table(tmp_path, content)
    refused(tmp_path, message)


def test_a_missing_list_is_told(tmp_path):
    refused(tmp_path, r"missing; write the list of your data there \(data/raw/manifest/README\.md shows how\)")
    (tmp_path / "manifest.csv").mkdir()
    refused(tmp_path, "a folder, not a file; write the list")


def test_links_may_not_leave_the_folder(tmp_path):
    raw, outside = tmp_path / "raw", tmp_path / "outside"
    table_folder = tmp_path / "elsewhere"
    touch(outside, "b.jpg")
    raw.mkdir()
    table(raw, GOOD)
    (raw / "b.jpg").unlink()
    (raw / "b.jpg").symlink_to(outside / "b.jpg")
    refused(raw, "line 3: image b.jpg: a link that leaves .*raw; copy the file itself there")
    (raw / "b.jpg").unlink()
    (raw / "b.jpg").symlink_to(raw / "b.jpg")  # a loop
    refused(raw, "line 3: image b.jpg: missing")
    (raw / "b.jpg").unlink()
    touch(raw, "inner/b.jpg")
    (raw / "b.jpg").symlink_to("inner/b.jpg")  # within the folder
    table_folder.symlink_to(raw)  # the data set's folder itself may be a link
    assert len(load("manifest", table_folder, Limits()).images) == 3


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_file_under_two_names_is_told(tmp_path, link):
    table(tmp_path, GOOD + "B.jpg,,again,k,train\n")
    link(tmp_path / "b.jpg", tmp_path / "B.jpg")  # as where case does not tell files apart
    refused(tmp_path, "line 5: image B.jpg: is the same file as b.jpg on line 3; write one path, or remove a row")
    table(tmp_path, GOOD + "b.jpg,d.wav,,k,val\n")
    link(tmp_path / "a.wav", tmp_path / "d.wav")
    refused(tmp_path, "line 5: recording d.wav: is the same file as a.wav on line 2; write one path, or remove a row")


def test_boxes_and_keys_of_ones_own(tmp_path):
    rows = [
        {"image": f"{n}.png", "text": "t", "class": "red fox", "box": f"1 {n} 9.5 9.5", "key": f"red_fox/no{n}/07"}
        for n in range(3)
    ]
    catalog = listed(tmp_path, rows)
    assert [(image.key, image.box) for image in catalog.images] == [
        (f"red_fox/no{n}", f"1 {n} 9.5 9.5") for n in range(3)
    ]
    assert catalog.captions[0].key == "red_fox/no0/07"
    for change, message in (
        ({"box": "1 2 0 5"}, "line 2: box 1 2 0 5 is not a part of an image; write x y w h, in pixels"),
        ({"box": "1 2 5"}, "line 2: box 1 2 5 is not a part of an image"),
        ({"key": "red fox/no0/07"}, "line 2: key red fox/no0/07; write <class>/<image>/<nn> in ASCII without spaces"),
        ({"key": "red_fox/no0"}, "line 2: key red_fox/no0; write"),
        ({"key": ""}, "line 2: no key, but line 3 has one; fill in the column key on every row, or on none"),
        ({"key": "owl/no0/07"}, "line 2: key owl/no0/07; begin it with red_fox/"),
    ):
        with pytest.raises(InputError, match=message):
            listed(tmp_path, [rows[0] | change, *rows[1:]])
