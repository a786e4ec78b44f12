"""Translation moves real and generated images by whole pixels, and gradients through it."""

import torch

from s2igan.rdg.augmentation import translate


def test_translation_by_hand():
    image = torch.arange(1.0, 17).view(1, 1, 4, 4).expand(2, 3, 4, 4)
    moved = translate(image, torch.tensor([[1.0, -1.0], [0.0, 0.0]]), 0.25)  # one pixel down and to the left; none
    assert moved[0, 0].tolist() == [[2, 3, 4, 4], [2, 3, 4, 4], [6, 7, 8, 8], [10, 11, 12, 12]]
    assert torch.equal(moved[1], image[1])


def test_every_scale_moves_alike():
    large = torch.zeros(1, 3, 16, 16)
    large[..., 4:8, 8:12] = 1
    small = torch.nn.functional.avg_pool2d(large, 4)
    shifts = torch.tensor([[0.5, -1.0]])  # an eighth of the side down, a quarter to the left
    pooled = torch.nn.functional.avg_pool2d(translate(large, shifts, 0.25), 4)
    assert pooled[0, 0].nonzero().tolist() == [[1, 1], [2, 1]] and translate(small, shifts, 0.25).sum() == 3
    assert translate(large, shifts, 0.25)[0, 0, 6:10, 4:8].min() == 1


def test_gradients_reach_what_stays_in_the_image_and_the_border_that_is_repeated():
    images = torch.ones(1, 3, 4, 4, requires_grad=True)
    translate(images, torch.tensor([[1.0, 0.0]]), 0.5).sum().backward()
    assert images.grad[0, 0].tolist() == [[3] * 4, [1] * 4, [0] * 4, [0] * 4]


def test_no_share_leaves_the_images_as_they_are():
    images = torch.randn(2, 3, 4, 4)
    assert translate(images, torch.ones(2, 2), 0.0) is images
