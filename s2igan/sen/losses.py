"""Objective of the speech embedding network (equations 1 to 6), with batch means for batch sums."""

import torch
import torch.nn.functional as F
from torch import Tensor

# n batch, D embedding, N classes; a class of -1 means that none is known


def matching_loss(speech: Tensor, image: Tensor, classes: Tensor, beta: float = 10.0) -> Tensor:
    """Tell each utterance's image from the batch's others, and each image's utterance (eq. 1-4).

    speech and image (n, D) are matched row by row; classes (n,) integers. Similarities are cosines
    times `beta`. Other pairs of the same class are left out of the denominators (eq. 2); an item
    of class -1 shares its class with no other. Scalar: the mean over the batch of both directions'
    negative log probabilities, added.
    """
    scores = beta * F.normalize(speech, dim=1) @ F.normalize(image, dim=1).T  # (speech n, image n)
    same_class = (classes[:, None] == classes) & (classes >= 0)[:, None]
    own = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    scores = scores.masked_fill(same_class & ~own, float("-inf"))
    target = torch.arange(len(classes), device=classes.device)
    return F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)


def distinctive_loss(speech_logits: Tensor, image_logits: Tensor, classes: Tensor) -> Tensor:
    """Tell the class from either modality (eq. 5).

    Logits (n, N) of the shared classifier, classes (n,). Scalar: the cross-entropies of speech and
    of image, each a mean over the items whose class is known, added; 0 if no class is known.
    """
    known = classes >= 0
    if not bool(known.any()):
        return speech_logits.new_zeros(())
    target = classes[known]
    return F.cross_entropy(speech_logits[known], target) + F.cross_entropy(
        image_logits[known], target
    )


def sen_loss(
    matching: Tensor,
    distinctive: Tensor,
    matching_weight: float = 1.0,
    distinctive_weight: float = 1.0,
) -> Tensor:
    """Total objective of SEN (eq. 6): weighted sum of both losses, weights 1 in the paper."""
    return matching_weight * matching + distinctive_weight * distinctive
