"""Objective of the speech embedding network (equations 1 to 6), with batch means for batch sums.

Beside it the structured joint embedding loss, by which Li et al.'s speech encoder and the text baseline learn, and
AttnGAN's matching of places with regions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# n batch, K further utterances, P places of an utterance, R regions of an image, D embedding, N classes; a class of -1
# means that none is known


def matching_loss(speech: Tensor, image: Tensor, classes: Tensor, beta: float = 10.0) -> Tensor:
    """Tell each utterance's image from the batch's others, and each image's utterance (eq. 1-4).

    image (n, D) and the first n rows of speech (n + K, D) are matched row by row; the K further utterances are
    some that each image is told from too (none in the paper). classes (n + K,) integers. Similarities are
    cosines times `beta`. Other pairs of the same class are left out of the denominators (eq. 2); an item of
    class -1 shares its class with no other. Scalar, float32: the mean over the batch of both directions'
    negative log probabilities, added.
    """
    return _told_apart(beta * F.normalize(image.float(), dim=1) @ F.normalize(speech.float(), dim=1).T, classes)


def _told_apart(scores: Tensor, classes: Tensor) -> Tensor:
    """Eqs. 2 to 4 of the scores (n, n + K) of images with utterances, classes (n + K,): scalar."""
    n = len(scores)
    same_class = (classes[:n, None] == classes) & (classes >= 0)
    own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(same_class & ~own, float("-inf"))
    target = torch.arange(n, device=scores.device)
    return F.cross_entropy(scores[:, :n].T, target) + F.cross_entropy(scores, target)


def region_matching_loss(places: Tensor, regions: Tensor, classes: Tensor, beta: float = 10.0) -> Tensor:
    """Tell each utterance's image by what its regions share with the utterance's places, and each image's utterance.

    The word-level half of AttnGAN's DAMSM (Xu et al. 2018, eqs. 7 to 13), of places for words. places (n, P, D) of
    length 1, or 0 where there is none; regions (n, R, D), taken at length 1; classes (n,) as in `matching_loss`.
    s = `beta` e . v, with a factor because both are unit vectors (eq. 7); normalised over the places (eq. 8); each
    place's context c is a mean of the regions by softmax of gamma_1 times that (eq. 9); an image's relevance is
    log(sum_k exp(gamma_2 cos(c_k, e_k))) / gamma_2 (eq. 10); gamma_3 times it, both directions are told apart as in
    `matching_loss` (eqs. 11 to 13). Scalar, float32.
    """
    gamma_1, gamma_2, gamma_3 = 5.0, 5.0, 10.0  # AttnGAN's
    places, regions = places.float(), F.normalize(regions.float(), dim=2)
    padding = ~places.any(dim=2)[:, None]  # (n, 1, P)
    cosines = torch.einsum("ikd,jrd->ijkr", places, regions)  # of utterance i and image j, (n, n, P, R)
    shares = (beta * cosines).masked_fill(padding[..., None], float("-inf")).softmax(dim=2)
    weights = (gamma_1 * shares).softmax(dim=3)
    # c itself would be (n, n, P, D): its length comes from the regions' inner products.
    lengths = ((weights @ (regions @ regions.transpose(1, 2))) * weights).sum(dim=3).clamp(min=1e-12).sqrt()
    alike = (weights * cosines).sum(dim=3) / lengths  # cos(c, e), (n, n, P)
    relevance = (gamma_2 * alike).masked_fill(padding, float("-inf")).logsumexp(dim=2) / gamma_2
    return _told_apart(gamma_3 * relevance.T, classes)


def joint_embedding_loss(speech: Tensor, image: Tensor, classes: Tensor) -> Tensor:
    """Score each image's own caption higher, by 1, than the captions of other classes (Li et al. 2020).

    speech and image (n, D) are matched row by row, classes (n,) as in `matching_loss`; a score is the inner
    product of an image and a caption. Scalar: the hinge max(0, score(image_i, speech_j) -
    score(image_i, speech_i) + 1), the mean over all pairs (i, j) of different classes; 0 without any. The
    structured joint embedding of Reed et al. 2016, from images to captions.
    """
    scores = image @ speech.T  # (image n, speech n)
    hinge = F.relu(scores - scores.diagonal()[:, None] + 1)
    own = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    other_class = ~own & ((classes[:, None] != classes) | (classes < 0)[:, None])
    return (hinge * other_class).sum() / other_class.sum().clamp(min=1)


def distinctive_loss(speech_logits: Tensor, image_logits: Tensor, classes: Tensor) -> Tensor:
    """Tell the class from either modality (eq. 5).

    Logits (n, N) of the shared classifier, classes (n,). Scalar: the cross-entropies of speech and
    of image, each a mean over the items whose class is known, added; 0 if no class is known or N is 0.
    """
    known = classes >= 0
    if not speech_logits.shape[1] or not bool(known.any()):
        return speech_logits.new_zeros(())
    target = classes[known]
    return F.cross_entropy(speech_logits[known], target) + F.cross_entropy(image_logits[known], target)


def sen_loss(
    matching: Tensor,
    distinctive: Tensor,
    matching_weight: float = 1.0,
    distinctive_weight: float = 1.0,
) -> Tensor:
    """Total objective of SEN (eq. 6): weighted sum of both losses, weights 1 in the paper."""
    return matching_weight * matching + distinctive_weight * distinctive


@dataclass(frozen=True)
class Objective:
    """L_SEN by its values: what pulls matched pairs together, the weights of eq. 6, and beta of eq. 1."""

    objective: str = "matching"  # matching (eqs. 1-4) | joint_embedding
    smoothing: float = 10.0
    matching_weight: float = 1.0
    distinctive_weight: float = 1.0
    region_weight: float = 0.0  # of `region_matching_loss`, which is not of the paper

    def pair_loss(self, speech: Tensor, image: Tensor, groups: Tensor) -> Tensor:
        """Loss of embeddings (n, D) matched row by row; groups (n,) say which pairs are alike."""
        if self.objective == "joint_embedding":
            return joint_embedding_loss(speech, image, groups)
        return matching_loss(speech, image, groups, self.smoothing)

    def __call__(
        self, outputs: tuple[Tensor, Tensor, Tensor, Tensor], groups: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What SEN returned for a batch, groups and classes (n,) of its pairs -> total, pair and distinctive loss.

        `classes` are those of the classifier (-1: none); `groups` tell pairs apart, also where no class does.
        """
        speech, image, speech_logits, image_logits = outputs
        matching = self.pair_loss(speech, image, groups)
        distinctive = distinctive_loss(speech_logits, image_logits, classes)
        return sen_loss(matching, distinctive, self.matching_weight, self.distinctive_weight), matching, distinctive
