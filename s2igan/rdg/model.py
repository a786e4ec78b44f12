"""RDG as a whole: conditioning augmentation and generator, discriminators, relation supervisor.

And the speech encoder, where it is trained along with them.
"""

# B batch, P places, A speech embedding size, Z noise size, C condition size, S base size, T frames, M mel bands

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from s2igan.models import load_model, load_state, save_model
from s2igan.options import choice, fill, integer, number, seed, switch
from s2igan.rdg.conditioning import ConditioningAugmentation, Whitening
from s2igan.rdg.discriminator import Discriminator
from s2igan.rdg.generator import DENSE, PADDINGS, UPSAMPLINGS, DenseGenerator, StageConfig
from s2igan.rdg.relation import RelationSupervisor
from s2igan.sen.model import SEN, sentence

SCALES = 3


@dataclass(frozen=True)
class RDGConfig:
    """What RDG's networks are made of; the paper's values are in `conf/`."""

    embedding_dim: int  # A, of speech
    image_embedding_dim: int  # E, of the images that the relation supervisor compares
    matching: bool  # whether discriminators have a head in SEN's space
    local: bool  # whether discriminators have a logit for each place of their first features
    base_size: int = choice([8, 16, 32, 64, 128], "pixels of the first scale")
    base_channels: int = integer(4, help="of the generator")
    discriminator_channels: int = integer(1)
    noise_dim: int = integer(1)
    condition_dim: int = integer(1)
    residual_blocks: int = integer(0, help="in each refinement stage")
    dense: str = choice(DENSE, "what a stage sees of the earlier ones (eq. 7)")
    upsampling: str = choice(UPSAMPLINGS, "in the generator")
    padding: str = choice(PADDINGS, "around what the generator convolves")
    gated: bool = switch("the generator's units are gated linear, or leaky ReLUs")
    antialiasing: bool = switch("D smooths before it takes every second pixel")
    detail_size: int = integer(0, help="D convolves features of at least so many pixels a side once more; 0: none")
    condition_scale: float = number(0, min_open=True, help="factor before F^ca")
    whitening: float = number(0, 1, help="of speech and images in SEN's space; 1: all axes alike")
    condition_every_stage: bool = switch("F^ca reaches all stages (eq. 7), or the first alone (AttnGAN)")
    condition_noise: bool = switch("F^ca draws, or gives its mean")
    own_condition: bool = switch("D transforms the condition itself")
    projection: bool = switch("inner product in D's conditional logit")
    relation_outputs: int = choice([0, 3, 4], "0: no supervisor")
    sentence_attention: bool = switch("G attends to the condition, too (MirrorGAN)")
    scales: int = integer(1, SCALES, "of images that are drawn; 1: the full size alone")
    modulation: bool = switch("the condition takes part in each up-sampling layer")
    mirrored: bool = switch("G learns what faces one way; the sign of the noise's first number turns it")
    seed: int = seed()
    attention: bool = False  # whether the generator attends to the places of what SEN hears


class SpeechToImage(nn.Module):
    """F^ca and the densely-stacked generator: speech embedding and noise to three images (eq. 7).

    With fewer of `config.scales` the smallest are left out, and the first stage draws the next in as many channels.
    What it takes of speech is what `SEN.hear` returns: embeddings (B, A), or with their places (B, 1 + P, A).
    """

    def __init__(self, config: RDGConfig):
        super().__init__()
        self.noise_dim = config.noise_dim
        self.attention = config.attention
        self.mirrored = config.mirrored
        self.whiten = Whitening(config.embedding_dim, config.whitening) if config.whitening else nn.Identity()
        # The noise of F^ca is drawn with z, so that one seed fixes the whole image.
        self.condition_noise_dim = config.condition_dim if config.condition_noise else 0
        self.augment = ConditioningAugmentation(config.embedding_dim, config.condition_dim, config.condition_scale)
        factor = 2 ** (SCALES - config.scales)  # of the first scale's size: the last is always 4S, N / 4 channels
        place_dim = config.embedding_dim if config.attention else 0
        self.generator = DenseGenerator(
            config.noise_dim,
            config.base_channels // factor,
            config.base_size * factor,
            fill(StageConfig, asdict(config), place_dim=place_dim),
            config.scales,
        )
        for module in self.generator.modules():
            if isinstance(module, nn.Conv2d):
                module.padding_mode = config.padding

    @property
    def latent_dim(self) -> int:
        """How many N(0, 1) numbers an image needs: z, and the noise of F^ca where there is one."""
        return self.noise_dim + self.condition_noise_dim

    def forward(self, latent: Tensor, heard: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """latent (B, latent_dim), speech as heard -> images, the last at 4S; condition, mean, log-variance (B, C)."""
        heard = self.whiten(heard)
        condition, mean, log_variance = self.condition(latent, sentence(heard))
        places = self.augment.scale * heard[:, 1:] if self.attention else None
        images = self.generator(latent[:, : self.noise_dim], condition, places)
        if self.mirrored and not self.training:
            images = [mirror(image, latent, 3) for image in images]
        return images, condition, mean, log_variance

    def condition(self, latent: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """F^ca alone: latent (B, latent_dim), whitened speech (B, A) -> condition, mean, log-variance, each (B, C)."""
        return self.augment(embedding, latent[:, self.noise_dim :] if self.condition_noise_dim else None)


def mirror(planes: Tensor, latent: Tensor, width: int) -> Tensor:
    """`planes` (B, ...) turned round in dimension `width` where the latent's (B, latent_dim) first number is negative.

    With that coin the generator need not learn both sides of everything. In training no coin is thrown: real images
    are turned to face one way (`s2igan.vision.facing`), and so must what it draws.
    """
    turned = (latent[:, 0] < 0).view(-1, *[1] * (planes.dim() - 1))
    return torch.where(turned, planes.flip(width), planes)


class RDG(nn.Module):
    """Every network that RDG trains. `sen` is given where it is trained along; a frozen one is no part of RDG."""

    def __init__(self, config: RDGConfig, sen: SEN | None = None):
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            self.speech_to_image = SpeechToImage(config)
            self.discriminators = nn.ModuleList(
                Discriminator(
                    config.base_size * 2**i,
                    config.discriminator_channels,
                    config.condition_dim,
                    config.own_condition,
                    config.projection,
                    config.embedding_dim if config.matching else 0,
                    config.antialiasing,
                    config.detail_size,
                    config.local,
                )
                for i in range(SCALES - config.scales, SCALES)
            )
            self.relation = None
            if config.relation_outputs:
                self.relation = RelationSupervisor(config.image_embedding_dim, outputs=config.relation_outputs)
            self.apply(_orthogonal)
            # The average of the generator's weights is what is used in the end; it starts as a copy.
            self.average = copy.deepcopy(self.speech_to_image).requires_grad_(False).eval()
        # As built: its weights are SEN's, not RDG's to initialise. What the average draws from is averaged too.
        self.sen = sen
        self.average_sen = copy.deepcopy(sen).requires_grad_(False).eval() if sen is not None else None

    def train(self, mode: bool = True) -> RDG:
        """Sets the mode of what learns; the averages stay in evaluation mode."""
        super().train(mode)
        for average in (self.average, self.average_sen):
            if average is not None:
                average.eval()
        return self

    def fit_whitening(self, embeddings: Tensor) -> None:
        """Takes the axes of `Whitening` from the training captions' embeddings (N, A)."""
        for network in (self.speech_to_image, self.average):
            network.whiten.fit(embeddings)

    def embed(self, speech: Tensor, frames: Tensor | None, average: bool = False) -> Tensor:
        """Speech as heard, as it is; or log-mels (B, T, M) of `frames` (B,), as the trained encoder hears them.

        `average` takes the averaged encoder, as the averaged generator does.
        """
        sen = self.average_sen if average else self.sen
        if sen is None:
            return speech
        with torch.autocast(speech.device.type, enabled=False):  # float32, as in SEN's own training
            return sen.hear(speech, frames)

    def sen_loss(self, speech: Tensor, features: Tensor, groups: Tensor, labels: Tensor) -> Tensor:
        """L_SEN of the trained encoder's embeddings (B, A) with the frozen features (B, F) of their images.

        groups and labels (B,) as in `Objective`. Scalar.
        """
        with torch.autocast(speech.device.type, enabled=False):
            return self.sen.objective(self.sen(speech, features), groups, labels)[0]

    @torch.no_grad()
    def update_average(self, decay: float, batch_norm: bool = True) -> None:
        """EMA of what draws: parameters and, with `batch_norm`, running statistics; live weights stay."""
        _update_average(self.average, self.speech_to_image, decay, batch_norm)
        if self.sen is not None:
            _update_average(self.average_sen, self.sen, decay, batch_norm)

    def save(self, folder: str | Path, extra: dict) -> None:
        """Writes the averaged generator, and the networks that only training needs, with `extra` notes."""
        modules = {
            "generator": self.average,
            "live_generator": self.speech_to_image,
            "discriminators": self.discriminators,
        }
        if self.relation is not None:
            modules["relation"] = self.relation
        save_model(folder, "rdg", modules, {"network": asdict(self.config), **extra})


def _update_average(average: nn.Module, live: nn.Module, decay: float, batch_norm: bool) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(live.parameters()), 1 - decay)
    for kept, now in zip(average.buffers(), live.buffers(), strict=True):
        if batch_norm and kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


def _orthogonal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def load_generator(folder: str | Path, trained: bool = True) -> tuple[SpeechToImage, dict]:
    """The averaged generator that `RDG.save` wrote, in evaluation mode, and its configuration.

    `trained=False` gives the same network as it was at initialisation: the control of the evaluation.
    """
    config, states = load_model(folder, "rdg")
    network = RDGConfig(**config["network"])
    if not trained:
        return RDG(network).average, config
    with torch.random.fork_rng(devices=[]):  # the networks that only training needs take longer than the weights
        model = SpeechToImage(network).requires_grad_(False).eval()
    load_state(model, states["generator"], Path(folder) / "generator.safetensors")
    return model, config
