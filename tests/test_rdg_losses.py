"""Adversarial, relation and divergence losses against values worked out by hand."""

import math

import pytest
import torch

from s2igan.rdg import losses
from s2igan.rdg.relation import Relation


def logit(probability: float, count: int = 1) -> torch.Tensor:
    return torch.full((count,), math.log(probability / (1 - probability)))


def test_eq_12_is_the_sum_of_four_logarithms():
    real, fake = (logit(0.9), logit(0.8)), (logit(0.3), logit(0.4))
    expected = -(math.log(0.9) + math.log(0.7) + math.log(0.8) + math.log(0.6))
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-5)


def test_mismatched_pairs_add_unconditional_real_and_conditional_fake():
    real = fake = (logit(0.5), logit(0.5))
    both = losses.discriminator_loss(real, fake, (logit(0.9), logit(0.2)))
    assert both.item() == pytest.approx(4 * math.log(2) - math.log(0.9) - math.log(0.8), rel=1e-5)


def test_eq_10_wants_both_logits_to_say_real():
    assert losses.generator_loss((logit(0.25), logit(0.5))).item() == pytest.approx(math.log(8), rel=1e-5)


def test_losses_are_means_over_the_batch():
    assert losses.real_loss(logit(0.2, 7)).item() == pytest.approx(-math.log(0.2), rel=1e-5)


def test_logits_of_any_size_give_finite_losses():
    huge = torch.tensor([1e4, -1e4])
    assert torch.isfinite(losses.real_loss(huge)) and torch.isfinite(losses.fake_loss(huge))


def test_divergence_by_hand():
    assert losses.kl_loss(torch.zeros(3, 2), torch.zeros(3, 2)).item() == 0
    # KL(N(1, e) || N(0, 1)) = (1 + e - 1 - 1) / 2 a component.
    value = losses.kl_loss(torch.ones(3, 2), torch.ones(3, 2)).item()
    assert value == pytest.approx((math.e - 1) / 2, rel=1e-6)


def test_relation_loss_by_hand():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1]]))
    for relation, probability in zip(Relation, (0.7, 0.2, 0.1), strict=True):
        assert losses.relation_loss(logits, relation).item() == pytest.approx(-math.log(probability), rel=1e-5)


def test_r1_is_the_squared_norm_of_the_gradient():
    images = torch.randn(4, 3, 2, 2, requires_grad=True)
    weight = torch.arange(12.0).view(3, 2, 2)
    penalty = losses.r1_penalty((images * weight).sum((1, 2, 3)), images)
    assert penalty.item() == pytest.approx(sum(i * i for i in range(12)))


def test_distillation_is_over_when_directions_agree():
    seen = torch.tensor([[1.0, 1.0], [0.0, 2.0]])
    assert losses.distillation_loss(seen, 3 * seen).item() == pytest.approx(0, abs=1e-6)
    assert losses.distillation_loss(seen, torch.tensor([[1.0, -1.0], [0.0, -1.0]])).item() == pytest.approx(1.5)
