"""What faces two ways is turned to face one way, and no label says which."""

import numpy as np
import torch
from tiny import rdg

from s2igan.datasets.drawn.birds import random_bird, random_pose, render
from s2igan.vision.facing import turned


def birds(count: int, size: int = 48) -> tuple[list[np.ndarray], np.ndarray]:
    """Images (3, S, S) of as many birds of all colours and poses, and whether each faces left."""
    rng = np.random.default_rng(0)
    drawn = [(random_bird(rng), random_pose(rng)) for _ in range(count)]
    pictures = [render(bird, pose, size).transpose(2, 0, 1) for bird, pose in drawn]
    return pictures, np.array([pose.facing_left for _, pose in drawn])


def test_birds_of_any_colour_and_pose_are_all_turned_to_the_side_of_the_first():
    pictures, left = birds(120)
    assert 40 < left.sum() < 80
    np.testing.assert_array_equal(turned(pictures), left != left[0])


def test_the_mirror_images_are_turned_to_the_other_side_alike():
    pictures, left = birds(40)
    expected = turned(pictures)
    np.testing.assert_array_equal(turned([image[:, :, ::-1].copy() for image in pictures]), expected)
    pictures[7] = pictures[7][:, :, ::-1].copy()
    expected[7] = ~expected[7]
    np.testing.assert_array_equal(turned(pictures), expected)


def test_images_of_several_sizes_and_shapes_are_compared():
    pictures, left = birds(40)
    mixed = [padded(image, 7 * (i % 5), 3 * (i % 4)) for i, image in enumerate(pictures)]
    np.testing.assert_array_equal(turned(mixed), left != left[0])


def padded(image: np.ndarray, sides: int, top: int) -> np.ndarray:
    """The image with its border repeated: so many pixels at either side, and above."""
    return np.pad(image, ((0, 0), (top, 0), (sides, sides)), mode="edge")


def test_what_has_no_side_stays_as_it_is():
    flat = np.full((3, 24, 24), 7, np.uint8)
    ring = np.zeros((3, 24, 24), np.uint8)
    ring[:, 6:18, 6:18] = 200
    assert not turned([flat, ring, flat, ring]).any()
    assert turned([birds(1)[0][0]]).tolist() == [False]


def test_the_generator_learns_one_side_and_a_coin_of_the_noise_turns_what_it_draws():
    model, plain = rdg(mirrored=True).speech_to_image, rdg().speech_to_image
    generator = torch.Generator().manual_seed(1)
    latent, heard = (torch.randn(8, size, generator=generator) for size in (model.latent_dim, 8))
    coins = latent[:, 0] < 0
    assert 0 < coins.sum() < 8
    with torch.no_grad():
        for one, other in zip(model.train()(latent, heard)[0], plain.train()(latent, heard)[0], strict=True):
            assert torch.equal(one, other)
        for one, other in zip(model.eval()(latent, heard)[0], plain.eval()(latent, heard)[0], strict=True):
            assert torch.equal(one[~coins], other[~coins]) and torch.equal(one[coins], other[coins].flip(3))
