"""All adversarial arithmetic: pure functions of tensors, mean over the batch, logits throughout.

Logits may come in bfloat16; the losses are float32.
"""

# B batch, C condition size, A speech embedding size, S size

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from s2igan.rdg.relation import Relation


def real_loss(logits: Tensor) -> Tensor:
    """-log D(x): these logits (B,) should say real."""
    return F.softplus(-logits.float()).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """-log(1 - D(x)): these logits (B,) should say fake."""
    return F.softplus(logits.float()).mean()


def discriminator_loss(
    real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor], mismatched: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """L_{D_i} of eq. 12 from (unconditional, conditional) logits of one scale: tell real from fake, twice.

    `mismatched`, other real images with this speech, is the published code's further pair (StackGAN-v2):
    unconditionally real, conditionally fake.
    """
    loss = real_loss(real[0]) + fake_loss(fake[0]) + real_loss(real[1]) + fake_loss(fake[1])
    if mismatched is not None:
        loss = loss + real_loss(mismatched[0]) + fake_loss(mismatched[1])
    return loss


def generator_loss(fake: tuple[Tensor, Tensor]) -> Tensor:
    """L_{G_i} of eq. 10 from (unconditional, conditional) logits of one scale: be taken for real, twice."""
    return real_loss(fake[0]) + real_loss(fake[1])


def kl_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of conditioning augmentation, mean over batch and components.

    Both (B, C). Section 3.1 of StackGAN; the mean over components is the published code's.
    """
    mean, log_variance = mean.float(), log_variance.float()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()


def relation_loss(logits: Tensor, relation: Relation) -> Tensor:
    """-log P(L_j | R_j), one term of eq. 8, from logits (B, relations)."""
    target = torch.full((len(logits),), int(relation), device=logits.device)
    return F.cross_entropy(logits.float(), target)


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Mean squared gradient norm of the logits at real images (Mescheder et al. 2018, R1); not in the paper."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean()


def matching_aware_penalty(logits: Tensor, images: Tensor, condition: Tensor) -> Tensor:
    """(|gradient at the images| + |gradient at the condition|)^6 of conditional logits, mean over the batch.

    At real images (B, 3, S, S) with their own speech, condition (B, C), D should be flat (MA-GP of DF-GAN, p = 6: Tao
    et al. 2022); not in the paper.
    """
    gradients = torch.autograd.grad(logits.sum(), (images, condition), create_graph=True)
    at_images, at_condition = (gradient.float().flatten(1).norm(dim=1) for gradient in gradients)
    return (at_images + at_condition).pow(6).mean()


def distillation_loss(image: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of D's and SEN's embedding of the same real images, each (B, A); not in the paper."""
    return 1 - F.cosine_similarity(image.float(), teacher.float(), dim=1).mean()
