"""The embedded data set: species of drawn birds, their images and their captions.

Nothing is stored: everything here is a pure function of its arguments, so any image or caption can be
made again alone, on any machine, in any order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from s2igan.datasets.drawn import birds, grammar
from s2igan.datasets.drawn.birds import COLOURS, HABITATS, LENGTHS, PARTS, SIZES, Bird, Pose
from s2igan.errors import InputError

MAX_SPECIES = 999  # names carry three digits, as CUB's do

_KINDS = {
    ("short", "small"): "Finch",
    ("short", "large"): "Grosbeak",
    ("long", "small"): "Sunbird",
    ("long", "large"): "Kingfisher",
}


@dataclass(frozen=True)
class Species:
    """One class of the data set. `split` is train, val or test."""

    name: str
    bird: Bird
    split: str


def species_table(species: int, test_species: int, val_species: int, seed: int) -> list[Species]:
    """Named species with their split, in the order of their names, such as
    "001.Red-crowned-Blue-winged-Finch".

    `test_species` are held out, `val_species` are taken from the rest. Whatever a caption can say of a
    bird of val or test (a part's colour, a length, the size) is seen in train, though never in the same
    combination of colours; where the training species are too few to wear all colours on every part,
    the whole aviary has fewer colours.
    Raises InputError if the counts leave no training species or too few even so.
    """
    if min(test_species, val_species) < 0 or test_species + val_species >= species:
        raise InputError(
            f"species: {species} with {test_species} for test and {val_species} for val "
            "leave none for training; raise species or lower the others"
        )
    flock, split = _covered_split(species, test_species, val_species, seed)
    return [Species(_name(i + 1, bird), bird, str(s)) for i, (bird, s) in enumerate(zip(flock, split, strict=True))]


def image_pose(species_name: str, index: int, seed: int) -> Pose:
    """The pose of a species' image number `index`."""
    return birds.random_pose(_rng("pose", species_name, index, seed))


def render_image(species: Species, index: int, size: int, seed: int) -> np.ndarray:
    """A species' image number `index`: (size, size, 3) uint8."""
    return birds.render(species.bird, image_pose(species.name, index, seed), size)


def render_described(caption: tuple[str, str], size: int, seed: int) -> np.ndarray:
    """What a perfect listener and painter draws of a caption (key, text): uint8 (3, size, size).

    The parts that the text names have the colours that it names; what else there is, pose included, is drawn at
    random from the key and the seed.
    """
    key, text = caption
    rng = _rng("described", key, seed)
    bird, named = birds.random_bird(rng), grammar.read(text)
    colours = tuple(named.get(part, colour) for part, colour in zip(PARTS, bird.colours, strict=True))
    return birds.render(replace(bird, colours=colours), birds.random_pose(rng), size).transpose(2, 0, 1)


def captions(species: Species, image_index: int, count: int, seed: int) -> list[str]:
    """The first `count` captions of an image, no two of them equal."""
    texts: list[str] = []
    for k in range(count):
        rng = _rng("caption", species.name, image_index, k, seed)
        text = grammar.describe(species.bird, rng)
        while text in texts:
            text = grammar.describe(species.bird, rng)
        texts.append(text)
    return texts


def _covered_split(count: int, test_count: int, val_count: int, seed: int) -> tuple[list[Bird], np.ndarray]:
    """As many colours as the training species can show, and a split in which they do."""
    for palette in range(len(COLOURS), 1, -1):
        if 4 * count > palette ** (len(PARTS) - 1):
            break  # too few combinations that differ in two parts
        flock = _distinct_birds(count, palette, seed)
        values = [_spoken(bird) for bird in flock]
        rng = _rng("split", count, test_count, val_count, seed)
        for _ in range(1000):
            split = np.full(count, "train", dtype="<U5")
            order = rng.permutation(count)
            split[order[:test_count]] = "test"
            split[order[test_count : test_count + val_count]] = "val"
            train = [v for v, s in zip(values, split, strict=True) if s == "train"]
            seen = [set(column) for column in zip(*train, strict=True)]
            if all(v in s for row in values for v, s in zip(row, seen, strict=True)):
                return flock, split
    raise InputError(
        f"species: {count - test_count - val_count} for training cannot show every value that the "
        "others have; raise species or lower test_species and val_species"
    )


def _rng(*key: str | int) -> np.random.Generator:
    """A generator of its own for every key, the same on every machine."""
    digest = hashlib.sha256("\n".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _spoken(bird: Bird) -> tuple[str, ...]:
    return (*bird.colours, bird.bill_length, bird.tail_length, bird.size)


def _name(number: int, bird: Bird) -> str:
    crown, wing = bird.colour("crown").capitalize(), bird.colour("wing").capitalize()
    kind = _KINDS[bird.bill_length, bird.size]
    return f"{number:03d}.{crown}-crowned-{wing}-winged-{kind}"


def _distinct_birds(count: int, palette: int, seed: int) -> list[Bird]:
    """Birds in `palette` colours, any two of which differ in two parts or more; each part wears each colour equally
    often (within one).

    Raises InputError for a count outside 1 to 999.
    """
    if not 1 <= count <= MAX_SPECIES:
        raise InputError(f"species: {count}; give 1 to {MAX_SPECIES}")
    rng = _rng("species", count, seed)
    names = [tuple(COLOURS)[i] for i in rng.permutation(len(COLOURS))[:palette]]

    def balanced(values: Sequence[str]) -> np.ndarray:
        start = rng.permutation(len(values))  # no value is favoured where count does not divide
        return rng.permutation(start[np.arange(count) % len(values)])

    colours = np.stack([balanced(names) for _ in PARTS], 1)  # (count, parts)
    # Two rows are too close when they agree on all parts but one. Exchanging one part's colour between
    # two rows mends that and keeps every colour as frequent as it was.
    while (row := _too_close(colours)) is not None:
        part, other = rng.integers(len(PARTS)), rng.integers(count)
        colours[[row, other], part] = colours[[other, row], part]
    rest = [balanced(v) for v in (LENGTHS, LENGTHS, SIZES, HABITATS)]
    return [
        Bird(tuple(names[c] for c in row), LENGTHS[b], LENGTHS[t], SIZES[s], HABITATS[h])
        for row, b, t, s, h in zip(colours, *rest, strict=True)
    ]


def _too_close(colours: np.ndarray) -> int | None:
    """A row that differs from an earlier one in fewer than two parts."""
    seen: set[tuple[int, ...]] = set()
    for row, values in enumerate(colours.tolist()):
        keys = [(k, *values[:k], *values[k + 1 :]) for k in range(len(values))]
        if not seen.isdisjoint(keys):
            return row
        seen.update(keys)
    return None
