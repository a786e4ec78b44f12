import csv
import sys
from collections import Counter

import pytest
from data_sets import load
from miniatures_svg import LANGUAGES, SETS, write_emoji, write_emoji_packages
from PIL import Image

from s2igan.catalog import check
from s2igan.datasets import emoji
from s2igan.datasets.fetch import NPM
from s2igan.errors import InputError
from s2igan.splits import Limits

PARTS = dict.fromkeys(SETS[:4], "train") | {"twemoji": "val", "openmoji": "test", "fxemoji": "test"}


@pytest.fixture
def raw(tmp_path):
    write_emoji(tmp_path)
    return tmp_path


def test_drawings_are_split_by_their_set_and_two_languages_are_read_in_the_test_alone(raw):
    catalog = check(load("emoji", raw, Limits()))
    assert {image.key: image.split for image in catalog.images} == {
        f"thing-{n}/{name}": PARTS[name] for n in range(10) for name in (SETS if n % 2 else SETS[:-1])
    }
    assert {image.class_name for image in catalog.images} == {f"thing-{n}" for n in range(10)}
    heard = {split: {caption.language for caption in catalog.split(split)} for split in ("train", "val", "test")}
    assert heard["train"] == heard["val"] == set(LANGUAGES) - {"eu", "pt"} and heard["test"] == set(LANGUAGES)
    assert Counter(caption.image for caption in catalog.captions) == {
        image.key: 24 if image.split == "test" else 22 for image in catalog.images
    }
    caption = next(caption for caption in catalog.captions if caption.key == "thing-3/noto/04")
    assert (caption.text, caption.language, caption.recording) == ("num 3 da", "de", "")


def test_limits_take_concepts_and_of_the_test_s_captions_both_kinds(raw):
    whole = {caption.key: caption for caption in load("emoji", raw, Limits()).captions}
    few = check(load("emoji", raw, Limits(classes=4, captions_per_image=4)))
    assert len({image.class_name for image in few.images}) == 4
    assert all(whole[caption.key] == caption for caption in few.captions)
    for image in few.images:
        languages = [caption.language for caption in few.captions if caption.image == image.key]
        assert len(set(languages)) == 4
        assert len({"eu", "pt"} & set(languages)) == (2 if image.split == "test" else 0)
    # Held out anew, all languages are told of all drawings.
    anew = check(load("emoji", raw, Limits(hold_out="image")))
    assert anew.disjoint == "images" and len(anew.captions) == 24 * len(anew.images)
    assert len({caption.language for caption in few.captions}) > 15  # of one drawing others than of the next


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"names.csv: missing; run `s2igan fetch emoji` \(see data/raw/emoji/README"):
        list(emoji.rows(tmp_path, Limits()))
    with pytest.raises(InputError, match="0 archives cldr-annotations-full-.*tgz; keep one, or run `s2igan fetch"):
        emoji.unpack(tmp_path)
    assert {package.rpartition("/")[2].partition("@")[0] for package in NPM["emoji"]} == {
        *SETS,
        "cldr-annotations-full",
    }


def test_packages_become_drawings_and_names(tmp_path):
    pytest.importorskip("resvg_py", reason="the extra `svg`")
    write_emoji_packages(tmp_path)
    (tmp_path / "images/old").mkdir(parents=True)
    emoji.unpack(tmp_path)
    table = list(csv.reader((tmp_path / "names.csv").open(encoding="utf-8")))
    assert table[0] == ["concept", *LANGUAGES]
    assert table[1:] == [["cat-face", *("cat Face" if of == "en" else f"cat Face ({of})" for of in LANGUAGES)]]
    drawn = {path.relative_to(tmp_path / "images").as_posix(): path for path in tmp_path.rglob("*.png")}
    assert set(drawn) == {f"cat-face/{name}.png" for name in SETS} and not (tmp_path / "images/old").exists()
    for name, path in drawn.items():
        image = Image.open(path).convert("RGBA")
        assert image.size == ((320, 160) if "noto.png" in name else (320, 320))
        assert image.getpixel((image.width - 9, image.height - 9)) == (255, 0, 0, 255)
        assert image.getpixel((9, 9)) == ((0, 0, 0, 0) if "noto.png" in name else (255, 0, 0, 255))
    emoji.unpack(tmp_path)
    rows = list(emoji.rows(tmp_path, Limits()))
    assert len(rows) == 5 * 22 + 2 * 24 and {row.class_name for row in rows} == {"cat-face"}


def test_without_resvg_it_is_asked_for_and_nothing_is_half_a_data_set(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    write_emoji_packages(tmp_path)
    with pytest.raises(InputError, match=r"resvg-py: not installed; in the clone give: python -m pip install -e"):
        emoji.unpack(tmp_path)
    assert not (tmp_path / "names.csv").exists()
    path = next(tmp_path.glob("noto-1*.tgz"))
    path.rename(tmp_path / "cldr-annotations-full-2.tgz")
    with pytest.raises(InputError, match="2 archives cldr-annotations-full"):
        emoji.unpack(tmp_path)
    (tmp_path / "cldr-annotations-full-1.2.3.tgz").unlink()
    with pytest.raises(InputError, match="full-2.tgz: has no annotations/bg/annotations.json; remove it and run"):
        emoji.unpack(tmp_path)
