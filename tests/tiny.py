"""Small networks that several tests build, and what stops a training."""

from torch import nn
from torch.nn import functional as F

from s2igan.rdg.model import RDG, RDGConfig


def rdg(sen=None, **changes) -> RDG:
    """RDG of some thousand parameters; `sen` trains a speech encoder along."""
    values = dict(
        embedding_dim=8,
        image_embedding_dim=8,
        base_size=8,
        base_channels=8,
        discriminator_channels=4,
        noise_dim=4,
        condition_dim=6,
        residual_blocks=1,
        dense="all",
        upsampling="nearest",
        condition_scale=1.0,
        condition_noise=True,
        own_condition=False,
        projection=False,
        matching=False,
        relation_outputs=3,
        seed=0,
    )
    return RDG(RDGConfig(**values | changes), sen)


class Frozen(nn.Module):
    """Stands for the frozen image encoder: the mean colour of each quarter of an image, (B, 3, S, S) -> (B, 12)."""

    def forward(self, images):
        return F.adaptive_avg_pool2d(images, 2).flatten(1)


class StoppedError(Exception):
    """Stands for whatever ends a process."""
