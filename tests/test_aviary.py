import itertools
import re

import numpy as np
import pytest

from s2igan.datasets.drawn import birds
from s2igan.datasets.drawn.birds import COLOURS, PARTS
from s2igan.datasets.drawn.grammar import read
from s2igan.datasets.drawn.species import (
    _distinct_birds,
    captions,
    image_pose,
    render_described,
    render_image,
    species_table,
)
from s2igan.errors import InputError


@pytest.fixture(scope="module")
def table():
    return species_table(200, 50, 15, seed=0)


def test_any_two_species_differ_in_two_parts_or_more():
    for seed in range(3):
        flock = np.array([b.colours for b in _distinct_birds(200, len(COLOURS), seed)])
        for a, b in itertools.combinations(flock, 2):
            assert (a != b).sum() >= 2


def test_each_colour_of_each_part_is_equally_frequent():
    flock = _distinct_birds(200, len(COLOURS), 0)
    for part in PARTS:
        worn = [b.colour(part) for b in flock]
        assert {worn.count(c) for c in COLOURS} == {25}


def test_split_counts_names_and_values(table):
    splits = [s.split for s in table]
    assert [splits.count(x) for x in ("train", "val", "test")] == [135, 15, 50]
    assert [int(s.name[:3]) for s in table] == list(range(1, 201))
    assert all(re.fullmatch(r"\d{3}\.[A-Za-z-]+", s.name) for s in table)
    train = [s.bird for s in table if s.split == "train"]
    for part in PARTS:
        worn = {b.colour(part) for b in train}
        assert {s.bird.colour(part) for s in table} <= worn
    assert not {s.bird.colours for s in table if s.split != "train"} & {b.colours for b in train}


@pytest.mark.parametrize("counts", [(10, 3, 2), (16, 4, 2), (40, 10, 4)])
def test_a_small_aviary_still_shows_every_value_in_training(counts):
    for seed in range(5):
        table = species_table(*counts, seed=seed)
        assert len({s.name for s in table}) == counts[0]
        for part in PARTS:
            worn = {s.bird.colour(part) for s in table if s.split == "train"}
            assert {s.bird.colour(part) for s in table} == worn and len(worn) > 1


def test_everything_is_a_function_of_its_arguments(table):
    assert species_table(200, 50, 15, seed=0) == table
    assert species_table(200, 50, 15, seed=1) != table
    one = table[7]
    assert image_pose(one.name, 3, 0) == image_pose(one.name, 3, 0)
    poses = {image_pose(s.name, i, seed) for s in table[:5] for i in range(4) for seed in (0, 1)}
    assert len(poses) == 40
    assert captions(one, 2, 2, 0) == captions(one, 2, 2, 0)
    assert captions(one, 2, 10, 0) != captions(one, 3, 10, 0)


def test_known_values_stay_across_machines_and_versions():
    pose = image_pose("001.Any", 0, 0)
    assert (pose.facing_left, pose.texture) == (True, 1979426558)


def test_captions_of_an_image_differ_and_are_true(table):
    for one in table[:20]:
        texts = captions(one, 0, 10, seed=0)
        assert len(set(texts)) == 10
        assert texts == [captions(one, 0, k + 1, 0)[-1] for k in range(10)]
        for text in texts:
            assert all(one.bird.colour(p) == c for p, c in read(text).items())


def test_an_image_is_its_species_bird_in_its_pose(table):
    one = table[3]
    image = render_image(one, 5, 76, seed=0)
    assert image.shape == (76, 76, 3) and image.dtype == np.uint8
    assert np.array_equal(image, birds.render(one.bird, image_pose(one.name, 5, 0), 76))


def test_impossible_counts_are_refused():
    for count in (0, 1000):
        with pytest.raises(InputError, match=str(count)):
            _distinct_birds(count, len(COLOURS), 0)
    with pytest.raises(InputError, match="none for training"):
        species_table(10, 8, 2, 0)
    with pytest.raises(InputError, match="none for training"):
        species_table(10, -1, 2, 0)
    with pytest.raises(InputError, match="cannot show"):
        species_table(5, 4, 0, 0)


def test_a_described_bird_has_the_colours_that_were_named_and_the_rest_of_its_key():
    red, blue, other = (
        render_described((key, f"a bird with a {colour} crown"), 64, 0).astype(int)
        for key, colour in (("a/0/0", "red"), ("a/0/0", "blue"), ("a/0/1", "red"))
    )
    changed = np.abs(red - blue).sum(axis=0) > 60
    assert 0.02 < changed.mean() < 0.25  # the crown, and nothing else
    (r, _, b), (r_blue, _, b_blue) = red[:, changed].mean(axis=1), blue[:, changed].mean(axis=1)
    assert r > 2 * b and b_blue > 1.5 * r_blue
    assert (red != other).mean() > 0.3  # another pose, other colours of what was not named
    again = render_described(("a/0/0", "a bird with a red crown"), 64, 0)
    np.testing.assert_array_equal(red, again)
