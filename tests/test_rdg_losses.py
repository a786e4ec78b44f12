"""Losses against values worked out by hand; tests/test_systems.py writes eqs. 8 to 12 out for a whole step."""

import math

import pytest
import torch

from s2igan.rdg import losses


def logit(probability: float) -> torch.Tensor:
    return torch.tensor([math.log(probability / (1 - probability))])


def test_eq_12_is_the_sum_of_four_logarithms():
    real, fake = (logit(0.9), logit(0.8)), (logit(0.3), logit(0.4))
    expected = -(math.log(0.9) + math.log(0.7) + math.log(0.8) + math.log(0.6))
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-5)


def test_logits_of_any_size_give_finite_losses():
    huge = torch.tensor([1e4, -1e4])
    assert torch.isfinite(losses.real_loss(huge)) and torch.isfinite(losses.fake_loss(huge))


def test_r1_is_the_squared_norm_of_the_gradient():
    images = torch.randn(4, 3, 2, 2, requires_grad=True)
    weight = torch.arange(12.0).view(3, 2, 2)
    penalty = losses.r1_penalty((images * weight).sum((1, 2, 3)), images)
    assert penalty.item() == pytest.approx(sum(i * i for i in range(12)))


def test_distillation_is_over_when_directions_agree():
    seen = torch.tensor([[1.0, 1.0], [0.0, 2.0]])
    assert losses.distillation_loss(seen, 3 * seen).item() == pytest.approx(0, abs=1e-6)
    assert losses.distillation_loss(seen, torch.tensor([[1.0, -1.0], [0.0, -1.0]])).item() == pytest.approx(1.5)
