"""What of a manifest is taken, in which split, and under which keys: from its rows to the catalog."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from s2igan import splits
from s2igan.catalog import SPLITS, Caption, Catalog, Image
from s2igan.errors import InputError
from s2igan.manifest import Row
from s2igan.splits import Limits


def select(
    rows: Sequence[Row],
    limits: Limits,
    table: str,
    disjoint: str = "images",
    raw: Path | None = None,
) -> tuple[Catalog, list[Row]]:
    """The catalog of what `limits` leave of `rows`, and those rows; each limit of 0 means all there are.

    An image's key is that of its rows, else `<class>/<file stem>`, or `-/<file stem>` where no row has a class;
    where two images of a class share a stem, whatever the case, their keys are their paths with _ for /. Captions
    are numbered in the order of their rows, and the first ones are taken.

    - With a column `split`, it holds. If it knows no val and splits are `disjoint` by classes, `val_classes` of the
      training classes become val (`_choose_classes`).
    - Without one, the images of each class are divided into about 70 % train, 10 % val and 20 % test
      (`splits.divide`), so that classes are seen in training and images are not; if `test_classes` is not 0, so
      many classes are for the test, and `val_classes` of the others for val (0: 10 %). Where splits are `disjoint`
      by classes, 0 `test_classes` are 20 %; by speakers or languages, those of 20 % and of no less than one are for
      the test (`_hold_out`). Images that share a recording are in one split.
    - Where each class is in one split, `classes` and `test_classes` limit them; else `classes` alone. Without
      classes, `classes * images_per_class` limits the images, where neither is 0.
    - With `hold_out`: as without a column `split`, and disjoint by what `splits.HOLD_OUT` says. Copies of a recording
      below the folder `raw` are then one recording, and where classes are held out, those of one image are left out,
      and of training what is said by a recording that the test hears.

    Images are drawn by their name in the key where rows have keys, else by path. Raises InputError, which begins
    with `table`, where too little is left.
    """
    if limits.hold_out != splits.AS_LISTED:
        rows, limits = _undivided(rows, limits, table, raw)
        disjoint = splits.HOLD_OUT[limits.hold_out]
    of_image: dict[str, list[Row]] = {}
    for row in rows:
        of_image.setdefault(row.image, []).append(row)
    class_of = {image: found[0].class_name for image, found in of_image.items()}
    split_of = {image: found[0].split for image, found in of_image.items()}
    name_of = {image: found[0].key.split("/")[1] if found[0].key else image for image, found in of_image.items()}
    found_splits = set(split_of.values())
    by_class = disjoint == "classes" and found_splits == {"train", "test"}
    if rows[0].split and not by_class:
        splits.require_all(table, found_splits, "in column split; give each of train, val and test an image")
    elif len(of_image) < splits.MIN_IMAGES:
        raise InputError(f"{table}: {len(of_image)} images; list {splits.MIN_IMAGES} or more, one for each split")
    if not any(class_of.values()):
        chosen = _limit(split_of, name_of, limits.classes * limits.images_per_class, limits.seed, "images")
    else:
        chosen = {}
        members = splits.members(class_of)
        splits_of = {name: {split_of[image] for image in images} for name, images in members.items()}
        if disjoint == "classes" and not rows[0].split and not limits.test_classes:
            limits = replace(limits, test_classes=splits.fifth(min(len(members), limits.classes or len(members))))
        choose = _choose_classes if by_class else _limit_classes
        for name, split in choose(table, splits_of, limits).items():
            within = {image: split or split_of[image] for image in members[name]}
            chosen |= _limit(within, name_of, limits.images_per_class, limits.seed, f"images of {name}")
    if not rows[0].split and not all(chosen.values()):
        if len(chosen) < splits.MIN_IMAGES:
            raise InputError(f"{table}: {len(chosen)} images within the limits; {splits.LIMIT_HINT}")
        test: set[str] = set()
        if disjoint in ("speakers", "languages"):
            test, of_image = _hold_out(table, {image: of_image[image] for image in chosen}, disjoint, limits.seed)
        kept = {i: of_image[i][: limits.captions_per_image or None] for i in chosen if i not in test}
        counts, parts = {image: len(found) for image, found in kept.items()}, ("train", "val") if test else SPLITS
        chosen = splits.divide(counts, class_of, limits.seed, _units(table, kept), parts) | dict.fromkeys(test, "test")
    if limits.hold_out == "class":
        of_image = _each_recording_once(of_image, chosen)
        chosen = {image: split for image, split in chosen.items() if of_image[image]}
    if not (by_class and not limits.val_classes):  # then the check of the catalog says what is missing
        splits.require_all(table, chosen.values())
    taken = {image: of_image[image][: limits.captions_per_image or None] for image in chosen}
    catalog = replace(_catalog(table, taken, chosen, class_of), disjoint=disjoint)
    return catalog, [row for image in taken for row in taken[image]]


def _undivided(rows: Sequence[Row], limits: Limits, table: str, raw: Path | None) -> tuple[list[Row], Limits]:
    """`rows` without splits, copies of a recording under the first one's name; limits of classes for `class` alone."""
    if limits.hold_out == "class":
        images = splits.members({row.image: row.class_name for row in rows})
        rows = [row for row in rows if row.class_name and len(images[row.class_name]) > 1]
        if (count := len({row.class_name for row in rows})) < splits.MIN_IMAGES:
            raise InputError(
                f"{table}: {count} classes of two images, and catalog.hold_out=class needs three; choose another"
            )
    else:
        limits = replace(limits, test_classes=0, val_classes=0)
    paths = [path for path in dict.fromkeys(row.recording for row in rows) if path and raw and (raw / path).is_file()]
    size = {path: (raw / path).stat().st_size for path in paths}
    shared, first, named = Counter(size.values()), {}, {}
    for path in paths:
        if shared[size[path]] > 1:
            named[path] = first.setdefault(hashlib.sha256((raw / path).read_bytes()).digest(), path)
    return [replace(row, split="", recording=named.get(row.recording, row.recording)) for row in rows], limits


def _each_recording_once(of_image: Mapping[str, list[Row]], split_of: Mapping[str, str]) -> dict[str, list[Row]]:
    """The descriptions of each image whose recording is in no split before its own, of test, val and train."""
    heard_in: dict[str, str] = {}
    for split in reversed(SPLITS):
        for image in (image for image, found in split_of.items() if found == split):
            for row in of_image[image]:
                heard_in.setdefault(row.recording, split)
    return {
        image: [row for row in of_image[image] if not row.recording or heard_in[row.recording] == split]
        for image, split in split_of.items()
    }


def _units(table: str, of_image: Mapping[str, list[Row]]) -> dict[str, str]:
    """For each image the first, by name, of those that recordings join to it: one of a unit is heard of the others."""
    from scipy.cluster.hierarchy import DisjointSet  # here, since it takes half a second

    units, describes = DisjointSet(of_image), {}
    for image, found in of_image.items():
        for row in found:
            if row.recording:
                units.merge(describes.setdefault(row.recording, image), image)
    if units.n_subsets < splits.MIN_IMAGES:
        raise InputError(
            f"{table}: {units.n_subsets} sets of images once those that share a recording are one; a recording is "
            f"in one split, so list {splits.MIN_IMAGES} or more"
        )
    return {image: min(unit) for unit in units.subsets() for image in unit}


def _hold_out(
    table: str, of_image: Mapping[str, list[Row]], disjoint: str, seed: int
) -> tuple[set[str], dict[str, list[Row]]]:
    """The test's images, and the rows that are left of each image, where splits share no speaker, or no language.

    A fifth of the speakers are the test's. Images that only they describe are too, and of those that others describe
    as well a fifth; a row whose speaker is not of its image's side is dropped. A text without a speaker is of either.
    """
    name = disjoint.removesuffix("s")
    for row in (row for found in of_image.values() for row in found):
        if not getattr(row, name) and (row.recording or name == "language"):
            raise InputError(
                f"{table}: line {row.line}: no {name}, and the test is to hold out {disjoint}; name it on each row"
            )
    names = {getattr(row, name) for found in of_image.values() for row in found} - {""}
    if len(names) < 2:
        raise InputError(f"{table}: {len(names)} {disjoint}, and the test is to hold out one of two; name another")
    held_out = splits.draw(names, splits.fifth(len(names)), seed, f"test {disjoint}")
    sides = {image: {getattr(row, name) in held_out for row in found} for image, found in of_image.items()}
    both = [image for image, found in sides.items() if len(found) > 1]
    test = {image for image, found in sides.items() if found == {True}}
    test |= splits.draw(both, splits.fifth(len(both)), seed, "test")
    left = {
        image: [row for row in found if not getattr(row, name) or (getattr(row, name) in held_out) == (image in test)]
        for image, found in of_image.items()
    }
    return test, left


# ---------------------------------------------------------------- limits


def _limit(split_of: Mapping[str, str], name_of: Mapping[str, str], most: int, seed: int, purpose: str) -> dict:
    """At most so many of the images, each split in proportion; splits stay empty where they are still to come."""
    named = {name_of[image]: image for image in split_of}
    kept = splits.limit_images({name: split_of[image] for name, image in named.items()}, most, seed, purpose)
    return {named[name]: split for name, split in kept.items()}


def _choose_classes(table: str, splits_of: Mapping[str, set[str]], limits: Limits) -> dict[str, str]:
    """Train, val or test for each class within the limits, where each is of train or of test, as published.

    Without `test_classes`, fewer `classes` keep the proportion of test classes (one at least). `val_classes` are
    taken out of train.
    """
    for name, found in splits_of.items():
        if len(found) > 1:
            raise InputError(f"{table}: class {name} is in train and test; splits must be disjoint by class")
    test = [name for name, found in splits_of.items() if found == {"test"}]
    train = [name for name, found in splits_of.items() if found == {"train"}]
    total = len(splits_of)
    most = min(limits.classes or total, total)
    test_count = min(limits.test_classes or max(1, round(most * len(test) / total)), len(test))
    train_count = min(most - test_count, len(train)) if limits.classes else len(train)
    if train_count <= limits.val_classes:
        raise InputError(
            f"{table}: catalog.classes={limits.classes}: {most} classes, with {test_count} for test and "
            f"{limits.val_classes} for val, leave none for training; raise classes or lower test_classes or val_classes"
        )
    trained = splits.draw(train, train_count, limits.seed, "training classes")
    held_out = splits.draw(trained, limits.val_classes, limits.seed, "validation classes")
    chosen = {name: "val" if name in held_out else "train" for name in trained}
    return chosen | dict.fromkeys(splits.draw(test, test_count, limits.seed, "test classes"), "test")


def _limit_classes(table: str, splits_of: Mapping[str, set[str]], limits: Limits) -> dict[str, str]:
    """The classes within the limits, each with its split, which is empty where it is for the images to say."""
    undivided = all(found == {""} for found in splits_of.values())
    if undivided and limits.test_classes:
        names = set(splits.limit(splits_of, limits.classes, limits.seed, "classes"))
        test = splits.draw(names, limits.test_classes, limits.seed, "test classes")
        val_count = limits.val_classes or max(1, (len(names) + 5) // 10)
        val = splits.draw(names - test, val_count, limits.seed, "validation classes")
        if not names - test - val or not val:
            raise InputError(
                f"{table}: {len(names)} classes with {len(test)} for test and {limits.val_classes or 'one'} for val "
                "leave none for training; lower both limits, or set catalog.test_classes to 0 to divide by image"
            )
        return {name: "test" if name in test else "val" if name in val else "train" for name in sorted(names)}
    if undivided or any(len(found) > 1 for found in splits_of.values()):
        return dict.fromkeys(splits.limit(splits_of, limits.classes, limits.seed, "classes"), "")
    parts = {split: [name for name, found in splits_of.items() if found == {split}] for split in SPLITS}
    sizes = {split: len(names) for split, names in parts.items()}
    count = splits.shares(sizes, limits.classes)
    count["test"] = min(limits.test_classes, sizes["test"]) or count["test"]
    if 0 < limits.classes < sum(sizes.values()):
        count["train"] = min(sizes["train"], limits.classes - count["val"] - count["test"])
        if count["train"] < 1:
            raise InputError(
                f"{table}: catalog.classes={limits.classes} with {count['test']} for test and {count['val']} for val "
                "leave none for training; raise catalog.classes or lower the others"
            )
    drawn = {split: splits.draw(parts[split], count[split], limits.seed, "classes") for split in SPLITS}
    return {name: split for split in SPLITS for name in sorted(drawn[split])}


# ---------------------------------------------------------------- keys


def _catalog(
    table: str, of_image: Mapping[str, list[Row]], split_of: Mapping[str, str], class_of: Mapping[str, str]
) -> Catalog:
    """Keys depend on the whole manifest, not on what the limits leave of it: `class_of` has all its images."""
    class_names = unique_names(set(class_of.values()) - {""}, [str])
    keys = {image: rows[0].key.rpartition("/")[0] for image, rows in of_image.items()}
    if not all(keys.values()):
        for name, paths in splits.members(class_of).items():
            for path, image in unique_names(paths, [stem, without_ending, str]).items():
                keys[path] = f"{class_names.get(name, '-')}/{image}"
    images, captions = [], []
    for path in sorted(split_of, key=keys.__getitem__):
        key, class_name = keys[path], class_names.get(class_of[path], "")
        row = of_image[path][0]
        if key.split("/")[0] != (class_name or "-"):
            raise InputError(f"{table}: line {row.line}: key {row.key}; begin it with {class_name or '-'}/")
        images.append(Image(key, path, class_name, split_of[path], row.box))
        said = [
            Caption(row.key or f"{key}/{n:02d}", key, row.text, row.recording, row.language, row.speaker)
            for n, row in enumerate(of_image[path])
        ]
        captions += sorted(said, key=lambda caption: caption.key) if row.key else said
    return Catalog(tuple(images), tuple(captions))


def key_name(text: str) -> str:
    """`text` as part of a key: ASCII without spaces, commas, quotes and slashes, _ in their place."""
    return re.sub(r"[^!-~]|[/\\,\"'`]", "_", text)


def unique_names(paths: Iterable[str], forms: Sequence[Callable[[str], str]]) -> dict[str, str]:
    """A key name for each path, by the first of `forms` that gives it to no other path, whatever the case.

    The last resort is the path's own hash. The order of the paths does not matter.
    """
    forms = [*forms, hashed]
    level = dict.fromkeys(paths, 0)
    while True:
        names = {path: key_name(forms[i](path)) for path, i in level.items()}
        count = Counter(name.casefold() for name in names.values())
        shared = [path for path, name in names.items() if count[name.casefold()] > 1 and level[path] + 1 < len(forms)]
        if not shared:
            return names
        for path in shared:
            level[path] += 1


def stem(path: str) -> str:
    """The file's name without its ending."""
    return PurePosixPath(path).stem


def without_ending(path: str) -> str:
    """The whole path without the file's ending."""
    return str(PurePosixPath(path).with_suffix(""))


def hashed(path: str) -> str:
    """The whole path and eight hexadecimal digits of its SHA-256."""
    return f"{path}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"
