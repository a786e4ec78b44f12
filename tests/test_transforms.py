import numpy as np
import pytest
import torch

from s2igan.errors import InputError
from s2igan.vision.transforms import centre_crop, random_crop_flip, to_float, to_uint8, views


def numbered(count: int, size: int) -> torch.Tensor:
    """Images whose red is the row, green the column and blue the image's number."""
    rows = torch.arange(size)[:, None].expand(size, size)
    image = torch.stack([rows, rows.T, torch.zeros(size, size, dtype=torch.long)])
    images = image.repeat(count, 1, 1, 1)
    images[:, 2] = torch.arange(count)[:, None, None]
    return images.to(torch.uint8)


def test_pixel_range_and_exact_inverse():
    pixels = torch.arange(256, dtype=torch.uint8)
    floats = to_float(pixels)
    assert floats.dtype == torch.float32
    assert (floats[0], floats[255]) == (-1.0, 1.0)
    assert torch.equal(to_uint8(floats), pixels)
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_centre_crop_is_the_middle():
    crop = centre_crop(numbered(1, 6), 4)
    assert crop[0, 0, :, 0].tolist() == [1, 2, 3, 4]
    assert crop[0, 1, 0].tolist() == [1, 2, 3, 4]


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(InputError, match="9 with images of 8x8"):
        centre_crop(numbered(1, 8), 9)
    with pytest.raises(InputError):
        random_crop_flip(numbered(1, 8), 9, torch.Generator())


def test_views_centre_mirror_then_random():
    images = numbered(5, 10)
    made = views(images.numpy(), 6, 4, np.random.default_rng(0))
    assert made.shape == (5, 4, 3, 6, 6) and made.dtype == torch.uint8
    assert torch.equal(made[:, 0], centre_crop(images, 6))
    assert torch.equal(made[:, 1], made[:, 0].flip(-1))
    assert len({tuple(view.flatten().tolist()) for view in made[0]}) == 4
    assert views(images, 6, 1, np.random.default_rng(0)).shape == (5, 1, 3, 6, 6)


def test_views_do_not_depend_on_how_a_stream_is_cut():
    images = numbered(6, 10)
    whole = views(images, 6, 4, np.random.default_rng(7))
    rng = np.random.default_rng(7)
    parts = torch.cat([views(images[:2], 6, 4, rng), views(images[2:], 6, 4, rng)])
    assert torch.equal(whole, parts)


def test_images_of_several_shapes_are_seen_to_their_borders():
    wide, tall = numbered(1, 12)[0][:, :6], numbered(1, 12)[0][:, :, :7]
    crops = random_crop_flip([wide, tall] * 300, 6, torch.Generator().manual_seed(0))
    assert {int(crop[1].min()) for crop in crops[::2]} == set(range(7)) and int(crops[::2, 0].min()) == 0
    assert {int(crop[0].min()) for crop in crops[1::2]} == set(range(7))
    assert {int(crop[1].min()) for crop in crops[1::2]} == {0, 1}
    made = views([wide, tall], 6, 4, np.random.default_rng(0))
    assert torch.equal(made[:, 0], torch.stack([wide[..., 3:9], tall[:, 3:9, :6]]))


def test_square_images_are_cut_where_they_always_were():
    """One draw of all rows, then of all columns, then of all coins, whatever the shapes."""
    images = numbered(9, 10)
    one_by_one, at_once = (torch.Generator().manual_seed(5) for _ in range(2))
    crops = random_crop_flip(images, 6, one_by_one)
    top, left, flip = (torch.randint(n, (9,), generator=at_once) for n in (5, 5, 2))
    for i, crop in enumerate(crops):
        place = images[i, :, top[i] : top[i] + 6, left[i] : left[i] + 6]
        assert torch.equal(crop, place.flip(-1) if flip[i] else place)
    limits = np.array([5, 5, 2])
    draws = np.random.default_rng(5).integers(limits, size=(9, 2, 3))
    made = views(images, 6, 4, np.random.default_rng(5))
    for i, (down, across, mirrored) in enumerate(draws[:, 1]):
        place = images[i, :, down : down + 6, across : across + 6]
        assert torch.equal(made[i, 3], place.flip(-1) if mirrored else place)
