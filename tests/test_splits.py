import hashlib

from s2igan.splits import Limits, draw, limit, shares

NAMES = [f"n{i:02d}" for i in range(20)]


def in_order(names, seed, purpose):
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest())


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
