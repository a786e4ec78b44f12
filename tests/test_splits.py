import hashlib

import pytest

from s2igan.errors import InputError
from s2igan.splits import Limits, divide, draw, limit, limit_images, members, require_all, shares

NAMES = [f"n{i:02d}" for i in range(20)]


def in_order(names, seed, purpose):
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest())


def test_the_names_that_come_first_by_their_hash_are_drawn():
    assert draw(NAMES, 5, 3, "x") == set(in_order(NAMES, 3, "x")[:5])
    assert draw(NAMES, 5, 3, "x") != draw(NAMES, 5, 4, "x") != draw(NAMES, 5, 4, "y")
    assert draw(NAMES, 99, 0, "x") == set(NAMES)


def test_a_further_name_changes_one_place_at_most():
    for k in range(10):
        assert len(draw([*NAMES, f"new{k}"], 5, 0, "x") - draw(NAMES, 5, 0, "x")) <= 1


def test_a_limit_of_zero_is_none():
    assert limit(reversed(NAMES), 0, 0, "x") == NAMES
    assert limit(NAMES, 3, 0, "x") == sorted(in_order(NAMES, 0, "x")[:3])
    assert Limits() == Limits(classes=0, test_classes=0, val_classes=0, images_per_class=0, captions_per_image=0)


def test_shares_keep_the_proportion_and_two_of_each():
    assert shares({"train": 6000, "val": 1000, "test": 1000}, 800) == {"train": 600, "val": 100, "test": 100}
    assert shares({"train": 6000, "val": 1000, "test": 1000}, 9) == {"train": 5, "val": 2, "test": 2}
    assert shares({"train": 6000, "val": 1000, "test": 1000}, 4) == {"train": 2, "val": 1, "test": 1}
    assert shares({"train": 5, "val": 1, "test": 1}, 6) == {"train": 4, "val": 1, "test": 1}
    assert shares({"train": 5, "val": 1, "test": 1}, 9) == {"train": 5, "val": 1, "test": 1}
    assert shares({"train": 5, "val": 1, "test": 1}, 0) == {"train": 5, "val": 1, "test": 1}


def test_limited_images_keep_their_splits_in_proportion():
    split_of = dict(zip(NAMES, ["train"] * 12 + ["val"] * 4 + ["test"] * 4, strict=True))
    kept = limit_images(split_of, 10, 0)
    assert sorted(kept.values()) == ["test"] * 2 + ["train"] * 6 + ["val"] * 2
    assert kept.items() <= split_of.items()
    assert {name for name in kept if kept[name] == "train"} == set(in_order(NAMES[:12], 0, "images")[:6])
    assert limit_images(split_of, 0, 0) == split_of


def test_each_class_is_divided_seven_one_two():
    class_of = {name: "a" if int(name[1:]) < 10 else "b" for name in NAMES}
    split_of = divide(dict.fromkeys(NAMES, 1), class_of, 0)
    for names in members(class_of).values():
        assert sorted(split_of[name] for name in names) == ["test"] * 2 + ["train"] * 7 + ["val"]
        assert {name for name in names if split_of[name] == "test"} == set(in_order(names, 0, "test")[:2])


def test_a_split_without_an_image_is_told():
    require_all("list.csv", ["val", "train", "test", "train"])
    with pytest.raises(InputError, match=r"list\.csv: no image of split val within the limits; raise catalog\.classes"):
        require_all("list.csv", ["train", "test"])
