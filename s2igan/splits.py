"""How much of a data set to take and what trains, validates and tests.

What is chosen is chosen by name alone: stable when others come or go, the same on every machine.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from s2igan.catalog import SPLITS
from s2igan.errors import InputError
from s2igan.options import choice, integer, seed

MIN_IMAGES = 3  # images that can be divided: one a split
AS_LISTED = "as_listed"
# What the test can be made to hold out, and what splits are then disjoint by; as listed, the data set says it.
HOLD_OUT = {AS_LISTED: "", "speaker": "speakers", "language": "languages", "class": "classes", "image": "images"}
LIMIT_HINT = "raise catalog.classes or catalog.images_per_class, or set them to 0 for all"


@dataclass(frozen=True)
class Limits:
    """How much of a data set to take: at most so many of each, 0 for all there are; what is held out, and the seed.

    `classes` in all, `test_classes` of them for the test, `val_classes` taken out of training; where a data set
    has no classes, `classes * images_per_class` images in all. `selection` says what they mean where. With `hold_out`
    other than AS_LISTED, splits of the data set's own do not count.
    """

    classes: int = integer(0, help="at most so many; 0 for all there are", default=0)
    test_classes: int = integer(0, help="of them for the test; 0 for all", default=0)
    val_classes: int = integer(0, help="training classes for model selection", default=0)
    images_per_class: int = integer(0, help="at most so many; 0 for all there are", default=0)
    captions_per_image: int = integer(0, help="at most so many; 0 for all there are", default=0)
    hold_out: str = choice([*HOLD_OUT], help="what is in the test alone; or as the data set has it", default=AS_LISTED)
    seed: int = seed(default=0)


def draw(names: Iterable[str], count: int, seed: int, purpose: str) -> set[str]:
    """`count` of `names` (all where there are fewer), each as likely as the next.

    A name's place in the order comes from a hash of it, `seed` and `purpose`, so that a further name
    changes the choice by one at most.
    """
    return set(in_order(names, seed, purpose)[:count])


def in_order(names: Iterable[str], seed: int, purpose: str) -> list[str]:
    """`names`, each once, in the order in which `draw` takes them."""
    return sorted(set(names), key=lambda name: hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest())


def in_turn(unheard: Iterable[str], heard: Iterable[str], seed: int, purpose: str) -> list[str]:
    """One of `unheard` and one of `heard` in turn, each in an order of its own, then the rest."""
    parts = in_order(unheard, seed, f"unseen {purpose}"), in_order(heard, seed, f"seen {purpose}")
    return [name for pair in zip_longest(*parts) for name in pair if name]


def fifth(count: int) -> int:
    """A fifth, rounded, and at least one: what is for the test."""
    return max(1, (2 * count + 5) // 10)


def limit(names: Iterable[str], most: int, seed: int, purpose: str) -> list[str]:
    """The names, sorted; where `most` is not 0, at most so many of them, drawn by `draw`."""
    names = set(names)
    return sorted(draw(names, most, seed, purpose) if most else names)


def shares(sizes: Mapping[str, int], most: int) -> dict[str, int]:
    """How many of each part to keep so that `most` remain in all, in the proportion of `sizes`.

    Each part keeps one if `most` allows, two if there is room for twice as many. 0 keeps everything.
    """
    total = sum(sizes.values())
    if most == 0 or most >= total:
        return dict(sizes)
    least = min(2, most // len(sizes))
    kept = {part: min(size, max(least, size * most // total)) for part, size in sizes.items()}
    while (excess := sum(kept.values()) - most) != 0:
        beyond = {part: kept[part] - sizes[part] * most / total for part in kept}
        if excess > 0:
            part = max((part for part in kept if kept[part] > least), key=beyond.__getitem__)
        else:
            part = min((part for part in kept if kept[part] < sizes[part]), key=beyond.__getitem__)
        kept[part] -= 1 if excess > 0 else -1
    return kept


def limit_images(split_of: Mapping[str, str], most: int, seed: int, purpose: str) -> dict[str, str]:
    """The split of the images that remain when there are at most `most` (0: all), each split in proportion."""
    parts = {split: [name for name in split_of if split_of[name] == split] for split in ("", *SPLITS)}
    parts = {split: names for split, names in parts.items() if names}
    count = shares({split: len(names) for split, names in parts.items()}, most)
    kept = set().union(*(draw(names, count[split], seed, purpose) for split, names in parts.items()))
    return {name: split for name, split in split_of.items() if name in kept}


def require_all(where: Path | str, found: Iterable[str], rest: str = f"within the limits; {LIMIT_HINT}") -> None:
    """Raises InputError, ending in `rest`, if `found` lacks a split."""
    found = set(found)
    for split in SPLITS:
        if split not in found:
            raise InputError(f"{where}: no image of split {split} {rest}")


def divide(
    descriptions: Mapping[str, int],
    class_of: Mapping[str, str],
    seed: int,
    unit_of: Mapping[str, str] | None = None,
    parts: tuple[str, ...] = SPLITS,
) -> dict[str, str]:
    """Train, val or test for each image, by image within each class.

    Of the n images of a class 0.2 n are for test and 0.1 n for val, rounded, and at least one of each; a class of
    fewer than three is for training only. Where no class has three, all images count as one class. A split whose
    images have fewer than two `descriptions` gets further ones from train, as long as train keeps two
    descriptions and an image of each of its classes. Images with the same `unit_of`, one of them, count as that
    one. `parts` without test divides into the others.
    """
    units = members({name: unit_of[name] if unit_of else name for name in descriptions})
    sizes = {unit: sum(descriptions[name] for name in names) for unit, names in units.items()}
    groups = members({unit: class_of[unit] for unit in units})
    if max(map(len, groups.values())) < len(parts):
        groups = {"": list(units)}
    split_of = dict.fromkeys(units, "train")
    for names in groups.values():
        if len(names) < len(parts):
            continue
        test = draw(names, fifth(len(names)) if "test" in parts else 0, seed, "test")
        val = draw(set(names) - test, max(1, (len(names) + 5) // 10), seed, "val")
        split_of |= dict.fromkeys(test, "test") | dict.fromkeys(val, "val")
    group_of = {name: group for group, names in groups.items() for name in names}
    for split in parts[1:]:
        _fill(split, split_of, sizes, group_of)
    return {name: split_of[unit] for unit, names in units.items() for name in names}


def _fill(split: str, split_of: dict[str, str], descriptions: Mapping[str, int], group_of: Mapping[str, str]) -> None:
    """Moves images from train until `split` has two descriptions, those with the fewest first."""
    for name in sorted(split_of, key=lambda name: (descriptions[name], name)):
        trained = [other for other, part in split_of.items() if part == "train" and other != name]
        if sum(descriptions[other] for other, part in split_of.items() if part == split) >= 2:
            return
        enough = sum(descriptions[other] for other in trained) >= 2
        if split_of[name] == "train" and enough and group_of[name] in {group_of[other] for other in trained}:
            split_of[name] = split


def members(class_of: Mapping[str, str]) -> dict[str, list[str]]:
    """The names of each class, in their order."""
    of_class: dict[str, list[str]] = {}
    for image, name in class_of.items():
        of_class.setdefault(name, []).append(image)
    return of_class
