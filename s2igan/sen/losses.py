"""Objective of the speech embedding network (equations 1 to 6), with batch means for batch sums.

Beside it the structured joint embedding loss, by which Li et al.'s speech encoder and the text baseline learn.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# n batch, K further utterances, D embedding, N classes; a class of -1 means that none is known


def matching_loss(speech: Tensor, image: Tensor, classes: Tensor, beta: float = 10.0) -> Tensor:
    """Tell each utterance's image from the batch's others, and each image's utterance (eq. 1-4).

    image (n, D) and the first n rows of speech (n + K, D) are matched row by row; the K further utterances are
    some that each image is told from too (none in the paper). classes (n + K,) integers. Similarities are
    cosines times `beta`. Other pairs of the same class are left out of the denominators (eq. 2); an item of
    class -1 shares its class with no other. Scalar, float32: the mean over the batch of both directions'
    negative log probabilities, added.
    """
    n = len(image)
    scores = beta * F.normalize(image.float(), dim=1) @ F.normalize(speech.float(), dim=1).T  # (n, n + K)
    same_class = (classes[:n, None] == classes) & (classes >= 0)
    own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(same_class & ~own, float("-inf"))
    target = torch.arange(n, device=scores.device)
    return F.cross_entropy(scores[:, :n].T, target) + F.cross_entropy(scores, target)


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

    pairs: str = "matching"  # matching (eqs. 1-4) | joint_embedding
    smoothing: float = 10.0
    matching_weight: float = 1.0
    distinctive_weight: float = 1.0

    def pair_loss(self, speech: Tensor, image: Tensor, groups: Tensor) -> Tensor:
        """Loss of embeddings (n, D) matched row by row; groups (n,) say which pairs are alike."""
        if self.pairs == "joint_embedding":
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
