import math

import pytest
import torch
import torch.nn.functional as F

from s2igan.sen.losses import Objective, distinctive_loss, joint_embedding_loss, matching_loss

AXES = torch.eye(2)


def slow_matching_loss(speech, image, classes, beta):
    """Equations 1 to 4 letter by letter, with means over the batch."""
    n = len(classes)

    def similarity(a, v):
        return float(a @ v / (a.norm() * v.norm()))

    def mask(i, j):
        return 0 if classes[i] == classes[j] and classes[i] >= 0 and i != j else 1

    total = 0.0
    for i in range(n):
        own = math.exp(beta * similarity(speech[i], image[i]))
        to_image = sum(mask(i, j) * math.exp(beta * similarity(speech[i], image[j])) for j in range(n))
        to_speech = sum(mask(i, j) * math.exp(beta * similarity(speech[j], image[i])) for j in range(n))
        total -= math.log(own / to_image) + math.log(own / to_speech)
    return total / n


def test_further_utterances_count_for_the_images_alone():
    """Two images, a third caption without an image; the second image shares its class with that caption."""
    image = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    speech = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    groups = torch.tensor([0, 1, 1])
    e = math.exp(1.0)  # beta 1: cosines of 1 and 0
    images_speech = (-math.log(e / (e + 1 + 1)) - math.log(e / (e + 1))) / 2  # the third is left out for the second
    speech_image = -math.log(e / (e + 1))
    found = matching_loss(speech, image, groups, beta=1.0)
    assert found.item() == pytest.approx(images_speech + speech_image, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_matching_loss_equals_the_formulas(seed):
    generator = torch.Generator().manual_seed(seed)
    speech = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    image = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    classes = torch.randint(-1, 3, (9,), generator=generator)
    found = matching_loss(speech, image, classes, 10.0)
    assert float(found) == pytest.approx(slow_matching_loss(speech, image, classes, 10.0))


def test_matching_gradient_stays_finite_behind_the_mask():
    speech = AXES.clone().requires_grad_()
    matching_loss(speech, AXES.flip(0), torch.tensor([4, 4])).backward()
    assert torch.equal(speech.grad, torch.zeros(2, 2))


def test_distinctive_loss_by_hand():
    uniform, sure = torch.zeros(3, 4), 100 * F.one_hot(torch.tensor([2, 0, 3]), 4).float()
    classes = torch.tensor([2, 0, 3])
    assert float(distinctive_loss(uniform, uniform, classes)) == pytest.approx(2 * math.log(4))
    assert float(distinctive_loss(sure, uniform, classes)) == pytest.approx(math.log(4))
    assert float(distinctive_loss(sure, sure, classes)) == pytest.approx(0.0, abs=1e-6)
    # Speech logits (log 3, 0) for class 0: -log(3/4); image (0, 0): log 2.
    speech, image = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    loss = distinctive_loss(speech, image, torch.tensor([0]))
    assert float(loss) == pytest.approx(math.log(4 / 3) + math.log(2))


def test_distinctive_loss_leaves_out_items_without_a_class():
    logits = torch.tensor([[5.0, 1.0], [0.0, 0.0]])
    loss = distinctive_loss(logits, logits, torch.tensor([-1, 1]))
    assert float(loss) == pytest.approx(2 * math.log(2))
    assert float(distinctive_loss(logits[:, :0], logits[:, :0], torch.tensor([-1, -1]))) == 0.0


def test_joint_embedding_by_hand():
    # score(image_i, speech_j): rows (2, 0), (0, 3). Hinges: 0 - 2 + 1 -> 0 and 0 - 3 + 1 -> 0.
    image, speech = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), AXES
    assert float(joint_embedding_loss(speech, image, torch.tensor([0, 1]))) == 0.0
    # Swapped: rows (0, 2), (3, 0). Hinges 2 - 0 + 1 and 3 - 0 + 1, mean 3.5.
    assert float(joint_embedding_loss(speech.flip(0), image, torch.tensor([0, 1]))) == 3.5
    # One direction: from each image to the captions. Only image 0 errs, by 1 - 0.5 + 1.
    image = torch.tensor([[0.5, 1.0], [0.0, 5.0]])
    assert float(joint_embedding_loss(speech, image, torch.tensor([0, 1]))) == 0.75


def test_joint_embedding_compares_pairs_of_different_classes_alone():
    # Scores (1, 2, 0), (4, 1, 1), (0, 3, 2); items 0 and 1 are alike. Left are (0, 2), (1, 2), (2, 0), (2, 1):
    # hinges 0, 1, 0, 2, their mean 3 / 4.
    image = torch.tensor([[1.0, 2.0, 0.0], [4.0, 1.0, 1.0], [0.0, 3.0, 2.0]])
    assert float(joint_embedding_loss(torch.eye(3), image, torch.tensor([5, 5, 2]))) == 0.75
    # Without a class each is of its own: 2 + 0 + 4 + 1 + 0 + 2 over six pairs.
    assert float(joint_embedding_loss(torch.eye(3), image, torch.full((3,), -1))) == 1.5
    assert float(joint_embedding_loss(torch.eye(3), image, torch.tensor([1, 1, 1]))) == 0.0


def test_the_objective_adds_its_parts_by_their_weights():
    outputs = (AXES, AXES.flip(0), torch.zeros(2, 4), torch.zeros(2, 4))
    classes = torch.tensor([0, 1])
    total, matching, distinctive = Objective("matching", 2.0, 0.5, 3.0)(outputs, classes, classes)
    assert float(matching) == pytest.approx(2 * math.log1p(math.exp(2.0)))
    assert float(distinctive) == pytest.approx(2 * math.log(4))
    assert float(total) == pytest.approx(0.5 * float(matching) + 3 * float(distinctive))
    total, pairs, _ = Objective("joint_embedding", distinctive_weight=0.0)(outputs, classes, classes)
    assert float(total) == float(pairs) == 2.0  # both hinges 1 - 0 + 1
