import dataclasses

import numpy as np
from PIL import Image

from s2igan.datasets.drawn.birds import (
    COLOURS,
    HABITATS,
    LENGTHS,
    PARTS,
    SIZES,
    Bird,
    Pose,
    _draw,
    random_bird,
    random_pose,
    render,
    render_random,
)


def part_map(bird: Bird, pose: Pose, size: int) -> np.ndarray:
    """Which part each pixel of `render` shows: (size, size) int8, an index into PARTS, else -1."""
    owner = _draw(bird, pose, size).owner
    return owner[:, ::-1] if pose.facing_left else owner


def flock(count, seed=0):
    rng = np.random.default_rng(seed)
    return [(random_bird(rng), random_pose(rng)) for _ in range(count)]


def test_the_picture_is_the_same_at_every_size():
    for bird, pose in flock(6, 1):
        large = Image.fromarray(render(bird, pose, 304)).resize((76, 76), Image.Resampling.BOX)
        gap = np.abs(np.asarray(large, float) - render(bird, pose, 76))
        assert gap.mean() < 2.5


def test_facing_left_is_the_mirror_image():
    bird, pose = flock(1)[0]
    right = render(bird, dataclasses.replace(pose, facing_left=False), 76)
    left = render(bird, dataclasses.replace(pose, facing_left=True), 76)
    assert np.array_equal(left, right[:, ::-1])
    shown = part_map(bird, dataclasses.replace(pose, facing_left=True), 76)
    bill = shown == PARTS.index("bill")
    assert bill[:, :38].sum() > bill[:, 38:].sum()


def test_every_part_is_large_enough_to_learn_and_inside_the_frame():
    share = np.zeros((60, len(PARTS)))
    for i, (bird, pose) in enumerate(flock(60, 2)):
        shown = part_map(bird, pose, 76)
        share[i] = [(shown == p).mean() for p in range(len(PARTS))]
        edge = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
        assert (edge == -1).all()
    least = dict(zip(PARTS, share.min(0), strict=True))
    assert least["bill"] > 0.022 and least["tail"] > 0.035
    assert min(least[p] for p in ("crown", "back", "belly", "wing")) > 0.045
    assert share.sum(1).min() > 0.3


def test_each_parts_colour_can_be_read_off_at_64_pixels():
    names, base = list(COLOURS), np.array(list(COLOURS.values()), float)
    right, total = 0, 0
    for bird, pose in flock(60, 3):
        image, shown = render(bird, pose, 64).astype(float), part_map(bird, pose, 64)
        for p, part in enumerate(PARTS):
            seen = np.median(image[shown == p], axis=0)
            right += names[np.abs(base - seen).sum(1).argmin()] == bird.colour(part)
            total += 1
    assert right / total > 0.98


def test_a_changed_colour_changes_that_part_only():
    bird, pose = flock(1, 4)[0]
    for p, part in enumerate(PARTS):
        other = "white" if bird.colour(part) != "white" else "black"
        colours = [other if q == p else c for q, c in enumerate(bird.colours)]
        changed = render(dataclasses.replace(bird, colours=tuple(colours)), pose, 128)
        gap = np.abs(changed.astype(float) - render(bird, pose, 128)).sum(-1)
        shown = part_map(bird, pose, 128)
        assert gap[shown == p].mean() > 60
        assert gap[shown != p].mean() < 3  # its outline, no more
        assert gap[-3:].max() == 0  # the ground


def test_white_and_black_birds_stand_out_in_every_habitat():
    for habitat in HABITATS:
        for colour in ("white", "black"):
            bird = Bird((colour,) * 6, habitat=habitat)
            image, shown = render(bird, Pose(), 64).mean(-1), part_map(bird, Pose(), 64)
            assert abs(image[shown >= 0].mean() - image[shown < 0].mean()) > 40


def test_lengths_and_size_show():
    def area(part, **attributes):
        bird = Bird(("red", "blue", "white", "green", "black", "yellow"), **attributes)
        shown = part_map(bird, Pose(scale=0.8), 152)
        return (shown == PARTS.index(part)).sum()

    assert area("bill", bill_length="long") > 1.1 * area("bill", bill_length="short")
    assert area("tail", tail_length="long") > 1.1 * area("tail", tail_length="short")
    assert area("belly", size="large") > 1.05 * area("belly", size="small")


def test_random_birds_wear_every_value():
    birds = [bird for bird, _ in flock(200, 5)]
    for part in PARTS:
        assert {b.colour(part) for b in birds} == set(COLOURS)
    assert {b.bill_length for b in birds} == {b.tail_length for b in birds} == set(LENGTHS)
    assert {b.size for b in birds} == set(SIZES) and {b.habitat for b in birds} == set(HABITATS)


def test_random_birds_are_the_same_in_any_number_of_processes():
    alone = list(render_random(40, 16, 3, workers=1))
    for (picture, colours), (again, numbers) in zip(alone, render_random(40, 16, 3, workers=2), strict=True):
        np.testing.assert_array_equal(picture, again)
        np.testing.assert_array_equal(colours, numbers)
    assert alone[0][0].shape == (3, 16, 16) and alone[0][1].shape == (len(PARTS),)
    few = list(render_random(3, 16, 3, workers=1))
    np.testing.assert_array_equal(few[2][0], alone[2][0])  # a bird does not depend on how many
    assert (next(render_random(1, 16, 4, workers=1))[0] != alone[0][0]).any()
    colours = np.stack([numbers for _, numbers in alone])
    assert set(colours.ravel()) == set(range(len(COLOURS)))
