"""RDG as a whole: conditioning augmentation and generator, discriminators, relation supervisor.

And the speech encoder, where it is trained along with them.
"""

# B batch, A speech embedding size, Z noise size, C condition size, S base size, T frames, M mel bands

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan.checkpoint import SavedModel, load_model, load_state, save_model
from s2igan.rdg.conditioning import ConditioningAugmentation
from s2igan.rdg.discriminator import Discriminator
from s2igan.rdg.generator import DenseGenerator
from s2igan.rdg.relation import RelationSupervisor
from s2igan.sen.model import SEN

SCALES = 3


class SpeechToImage(nn.Module):
    """F^ca and the densely-stacked generator: speech embedding and noise to three images (eq. 7)."""

    def __init__(
        self,
        embedding_dim: int,
        condition_dim: int,
        noise_dim: int,
        base_channels: int,
        base_size: int,
        residual_blocks: int,
        dense: str,
        upsampling: str,
        condition_scale: float,
        condition_noise: bool,
    ):
        super().__init__()
        self.noise_dim = noise_dim
        # The noise of F^ca is drawn with z, so that one seed fixes the whole picture.
        self.condition_noise_dim = condition_dim if condition_noise else 0
        self.augment = ConditioningAugmentation(embedding_dim, condition_dim, condition_scale)
        self.generator = DenseGenerator(
            noise_dim, condition_dim, base_channels, base_size, residual_blocks, dense, upsampling, SCALES
        )

    @property
    def latent_dim(self) -> int:
        """How many N(0, 1) numbers an image needs: z, and the noise of F^ca where there is one."""
        return self.noise_dim + self.condition_noise_dim

    def forward(self, latent: Tensor, embedding: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """latent (B, latent_dim), embedding (B, A) -> images at S, 2S, 4S; condition, mean, log-variance (B, C)."""
        condition, mean, log_variance = self.condition(latent, embedding)
        return self.generator(latent[:, : self.noise_dim], condition), condition, mean, log_variance

    def condition(self, latent: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """F^ca alone: latent (B, latent_dim), embedding (B, A) -> condition, mean, log-variance, each (B, C)."""
        return self.augment(embedding, latent[:, self.noise_dim :] if self.condition_noise_dim else None)


class RDG(nn.Module):
    """Every network that RDG trains, built from values.

    `config` is kept as it is given, for saving; see `conf/` for the paper's values. `relation_outputs` 0 builds no
    relation supervisor. `sen` is given where it is trained along; a frozen one is no part of RDG.
    """

    def __init__(
        self,
        *,
        embedding_dim: int,
        image_embedding_dim: int,
        base_size: int,
        base_channels: int,
        discriminator_channels: int,
        noise_dim: int,
        condition_dim: int,
        residual_blocks: int,
        dense: str,
        upsampling: str,
        condition_scale: float,
        condition_noise: bool,
        discriminator_norm: bool,
        own_condition: bool,
        projection: bool,
        matching: bool,
        relation_outputs: int,
        relation_norm: str,
        initialisation: str,
        seed: int,
        sen: SEN | None = None,
    ):
        super().__init__()
        self.config = {k: v for k, v in locals().items() if k not in ("self", "__class__", "sen")}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.speech_to_image = SpeechToImage(
                embedding_dim,
                condition_dim,
                noise_dim,
                base_channels,
                base_size,
                residual_blocks,
                dense,
                upsampling,
                condition_scale,
                condition_noise,
            )
            self.discriminators = nn.ModuleList(
                Discriminator(
                    base_size * 2**i,
                    discriminator_channels,
                    condition_dim,
                    discriminator_norm,
                    own_condition,
                    projection,
                    embedding_dim if matching else 0,
                )
                for i in range(SCALES)
            )
            self.relation = None
            if relation_outputs:
                self.relation = RelationSupervisor(image_embedding_dim, outputs=relation_outputs, norm=relation_norm)
            if initialisation == "orthogonal":
                self.apply(_orthogonal)
            # The average of the generator's weights is what is used in the end; it starts as a copy.
            self.average = copy.deepcopy(self.speech_to_image).requires_grad_(False).eval()
        # As built: its weights are SEN's, not RDG's to initialise. What the average draws from is averaged too.
        self.sen = sen
        self.average_sen = copy.deepcopy(sen).requires_grad_(False).eval() if sen is not None else None

    def embed(self, speech: Tensor, frames: Tensor | None, average: bool = False) -> Tensor:
        """Speech embeddings (B, A) as they are; or log-mels (B, T, M) of `frames` (B,), by the trained encoder.

        `average` takes the averaged encoder, as the averaged generator does.
        """
        sen = self.average_sen if average else self.sen
        if sen is None:
            return speech
        with torch.autocast(speech.device.type, enabled=False):  # float32, as in SEN's own training
            return F.normalize(sen.speech(speech, frames), dim=1)

    def sen_loss(self, speech: Tensor, features: Tensor, groups: Tensor, labels: Tensor) -> Tensor:
        """L_SEN of the trained encoder's embeddings (B, A) with the frozen features (B, F) of their pictures.

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

    def save(self, folder: str | Path, extra: dict, inside: Mapping[str, SavedModel] | None = None) -> None:
        """Writes the averaged generator, and the networks that only training needs, with `extra` notes.

        `inside` are models to keep within the folder, see `save_model`.
        """
        modules = {
            "generator": self.average,
            "live_generator": self.speech_to_image,
            "discriminators": self.discriminators,
        }
        if self.relation is not None:
            modules["relation"] = self.relation
        save_model(folder, "rdg", modules, {"network": self.config, **extra}, inside)


def _update_average(average: nn.Module, live: nn.Module, decay: float, batch_norm: bool) -> None:
    parameters = dict(live.named_parameters())
    averaged = dict(average.named_parameters())
    torch._foreach_lerp_(list(averaged.values()), [parameters[k] for k in averaged], 1 - decay)
    for (_, kept), (_, now) in zip(average.named_buffers(), live.named_buffers(), strict=True):
        if batch_norm and kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


def _orthogonal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def load_generator(folder: str | Path, trained: bool = True) -> tuple[SpeechToImage, dict]:
    """The averaged generator that `RDG.save` wrote, in evaluation mode, and its configuration.

    `trained=False` gives the same network as it was at initialisation: the control of the evaluation.
    """
    config, states = load_model(folder, "rdg")
    model = RDG(**config["network"]).average
    if trained:
        load_state(model, states["generator"], Path(folder) / "generator.safetensors")
    return model.eval(), config
