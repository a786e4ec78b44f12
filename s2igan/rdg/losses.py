"""All adversarial arithmetic: pure functions of tensors, mean over the batch, logits throughout.

Logits may come in bfloat16; the losses are float32.
"""

# B batch, C condition size, A speech embedding size, S size, P places

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


def distillation_loss(image: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of D's and SEN's embedding of the same real images, each (B, A); not in the paper."""
    return 1 - F.cosine_similarity(image.float(), teacher.float(), dim=1).mean()


def competition_loss(weights: Tensor, valid: Tensor) -> Tensor:
    """Attention competition (SEGAN, Tan et al. 2019): weights that lie below their mean are driven to 0.

    weights (B, N, P) of N pixels, of each the sum is 1 over the places that `valid` (B, P) marks. Scalar: the sum
    over places of min(weight, 1 / places of the utterance)², the mean over pixels and batch. What is above, the words
    that matter, gets no gradient.
    """
    mean = 1 / valid.sum(dim=1)[:, None, None].clamp(min=1)
    return torch.minimum(weights.float(), mean).square().sum(dim=2).mean()


def contrastive_loss(fake: Tensor, real: Tensor, groups: Tensor, margin: float = 1.0) -> Tensor:
    """Generated images lie near the image whose caption drew them, far from others (Hadsell et al. 2006; SEGAN).

    Embeddings (B, A), taken at length 1, and groups (B,): images of one group are no others. Scalar: the mean of d²
    over the pairs, and of max(0, margin - d)² over pairs of two groups, d the Euclidean distance; added.
    """
    fake, real = F.normalize(fake.float(), dim=1), F.normalize(real.float(), dim=1)
    distances = torch.cdist(fake, real, compute_mode="donot_use_mm_for_euclid_dist")
    apart = groups[:, None] != groups
    others = F.relu(margin - distances).square() * apart
    return distances.diagonal().square().mean() + others.sum() / apart.sum().clamp(min=1)
