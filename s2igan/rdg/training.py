"""The training loop of RDG: discriminators, relation supervisor, generator, average; once in a while the rest."""

# B batch, A speech embedding size, C condition size, E image embedding size

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan.checkpoint import TrainingCheckpoint, step_generator
from s2igan.command import progress
from s2igan.errors import InputError
from s2igan.rdg import losses
from s2igan.rdg.augmentation import translate
from s2igan.rdg.batches import Batch, TrainingSet
from s2igan.rdg.model import RDG, SCALES
from s2igan.rdg.relation import Relation
from s2igan.sen.losses import matching_loss
from s2igan.vision.transforms import to_uint8

CHECKPOINT_SECONDS = 60
CURVE_POINTS = 60
SHEETS = 6
# Eq. 8, in the order of its pairs: same class, other class, the ground truth itself, the fake.
RELATIONS = (Relation.POSITIVE, Relation.NEGATIVE, Relation.UNDESIRED, Relation.POSITIVE)


@dataclass(frozen=True)
class Recipe:
    """The tunable numbers of one training step; the paper's values are in `conf/scale/paper.yaml`."""

    lr: float
    lr_discriminator: float
    beta1: float
    beta2: float
    kl_weight: float
    relation_weight: float
    relation_interval: int
    matching_weight: float
    distillation_weight: float
    mismatched: bool
    condition_to_discriminator: str  # sampled | mean
    r1_weight: float
    r1_interval: int
    ema_decay: float
    ema_batch_norm: bool
    sen_weight: float  # of L_SEN, where the speech encoder is trained
    colour_weight: float
    translation: float  # largest shift of what D sees, as a share of the side; 0: none
    precision: str  # float32 | bfloat16


def real_pyramid(images: Tensor) -> list[Tensor]:
    """Images (B, 3, 4S, 4S) at the sizes of the three scales, S first."""
    return [F.avg_pool2d(images, 2**i) if i else images for i in reversed(range(SCALES))]


class Optimizers:
    """Adam for each of the three players, and for the speech encoder where it is trained."""

    def __init__(self, model: RDG, recipe: Recipe):
        def adam(module: nn.Module, lr: float) -> torch.optim.Adam:
            return torch.optim.Adam(module.parameters(), lr, (recipe.beta1, recipe.beta2), fused=True)

        self.generator = adam(model.speech_to_image, recipe.lr)
        self.discriminators = adam(model.discriminators, recipe.lr_discriminator)
        if model.relation is not None:
            self.relation = adam(model.relation, recipe.lr)
        if model.sen is not None:
            # Only L_SEN teaches the image side and the classifier.
            self.sen = adam(model.sen if recipe.sen_weight else model.sen.speech, recipe.lr)

    def state_dict(self) -> dict:
        return {name: optimizer.state_dict() for name, optimizer in vars(self).items()}

    def load_state_dict(self, state: dict) -> None:
        for name, optimizer in vars(self).items():
            optimizer.load_state_dict(state[name])


def training_step(
    model: RDG,
    optimizers: Optimizers,
    batch: Batch,
    latent: Tensor,
    image_embedding: Callable[[Tensor], Tensor] | None,
    fake_features: Callable[[Tensor], Tensor] | None,
    recipe: Recipe,
    with_r1: bool,
    with_fake_relation: bool,
) -> dict[str, Tensor]:
    """One step of eqs. 9 to 12 and 8; returns the losses by name. Terms that the system lacks are not there.

    `image_embedding` is SEN's image projection, frozen features (B, F) -> (B, E); `fake_features` the
    frozen encoder, images -> (B, F); without a relation supervisor nobody calls them. `latent` is
    (B, latent_dim). `with_r1` and `with_fake_relation` say whether this step has the costly terms: the gradient
    penalty, and the relation of the fake, which needs the frozen encoder. The relations of real images cost
    nothing and are learnt in every step.
    """
    curves: dict[str, Tensor] = {}
    reals = real_pyramid(batch.images)
    speech = model.embed(batch.speech, batch.frames)
    fakes, condition, mean, log_variance = model.speech_to_image(latent, speech)
    d_condition = mean if recipe.condition_to_discriminator == "mean" else condition
    if recipe.mismatched:
        with torch.no_grad():
            others_speech = model.embed(batch.mismatched, batch.mismatched_frames)
            drawn, centre, _ = model.speech_to_image.condition(latent, others_speech)
        mismatched_condition = centre if recipe.condition_to_discriminator == "mean" else drawn

    if model.relation is not None or recipe.matching_weight > 0:
        real_embedding = image_embedding(batch.ground_truth)
    anchors, groups = speech.detach(), batch.groups  # what the matching loss tells images by
    if batch.more_speech is not None:
        anchors, groups = torch.cat([anchors, batch.more_speech]), torch.cat([groups, batch.more_groups])
    has_teacher = model.sen is None or recipe.sen_weight > 0  # is there an image embedding that has learned?

    # Discriminators, eqs. 11 and 12.
    optimizers.discriminators.zero_grad(set_to_none=True)
    fixed = d_condition.detach()
    total = torch.zeros((), device=fixed.device)
    real_shifts, fake_shifts = batch.shifts if recipe.translation else (None, None)
    seen_fakes = [translate(fake, fake_shifts, recipe.translation) for fake in fakes]
    for i, (discriminator, real, fake) in enumerate(zip(model.discriminators, reals, seen_fakes, strict=True)):
        real = translate(real, real_shifts, recipe.translation)
        if with_r1:
            real = real.detach().requires_grad_()
        features = discriminator.features(real)
        real_logits = discriminator.logits(features, fixed)
        fake_logits = discriminator(fake.detach(), fixed)
        mismatched = discriminator.logits(features, mismatched_condition) if recipe.mismatched else None
        loss = losses.discriminator_loss(real_logits, fake_logits, mismatched)
        curves[f"d_{i}"] = loss.detach()
        if recipe.matching_weight > 0:
            seen = discriminator.embed(features)
            matching = matching_loss(anchors, seen, groups)  # eqs. 1 to 4, as XMC-GAN has them (Zhang et al. 2021)
            curves[f"d_matching_{i}"] = matching.detach()
            loss = loss + matching
            if has_teacher:
                loss = loss + recipe.distillation_weight * losses.distillation_loss(seen, real_embedding)
        if with_r1:
            penalty = losses.r1_penalty(real_logits[0] + real_logits[1], real)
            curves[f"r1_{i}"] = penalty.detach()
            loss = loss + recipe.r1_weight * recipe.r1_interval * penalty
        total = total + loss
    total.backward()
    optimizers.discriminators.step()

    # Relation supervisor, eq. 8: it learns from all four pairs, from the fake one where the step has it.
    if model.relation is not None:
        others = [image_embedding(batch.same_class), image_embedding(batch.other_class), real_embedding]
        if with_fake_relation:
            others.append(image_embedding(fake_features(fakes[-1].float())))  # resizing knows no bfloat16
        optimizers.relation.zero_grad(set_to_none=True)
        logits = model.relation(real_embedding, [other.detach() for other in others])
        terms = [losses.relation_loss(of_pair, relation) for of_pair, relation in zip(logits, RELATIONS, strict=False)]
        sum(terms).backward()
        optimizers.relation.step()
        curves["relation"] = sum(terms[:3]).detach()

    # Generator, eqs. 9 and 10, and the divergence of conditioning augmentation. The opponents stand still.
    optimizers.generator.zero_grad(set_to_none=True)
    opponents = [player for player in (model.discriminators, model.relation) if player is not None]
    for player in opponents:
        player.requires_grad_(False)
    divergence = losses.kl_loss(mean, log_variance)
    curves["kl"] = divergence.detach()
    total = recipe.kl_weight * divergence
    for i, (discriminator, fake) in enumerate(zip(model.discriminators, seen_fakes, strict=True)):
        features = discriminator.features(fake)
        loss = losses.generator_loss(discriminator.logits(features, d_condition))
        curves[f"g_{i}"] = loss.detach()
        if recipe.matching_weight > 0:
            matching = matching_loss(anchors, discriminator.embed(features), groups)
            curves[f"g_matching_{i}"] = matching.detach()
            loss = loss + recipe.matching_weight * matching
        total = total + loss
    if with_fake_relation:
        loss = losses.relation_loss(model.relation(real_embedding, others)[-1], Relation.POSITIVE)
        curves["g_relation"] = loss.detach()
        total = total + recipe.relation_weight * loss
    if recipe.colour_weight > 0:
        loss = sum(losses.colour_consistency_loss(*pair) for pair in pairwise(fakes))
        curves["g_colour"] = loss.detach()
        total = total + recipe.colour_weight * loss
    if model.sen is not None:  # it learns along, from the images that its embeddings give, and from L_SEN
        optimizers.sen.zero_grad(set_to_none=True)
        if recipe.sen_weight > 0:
            loss = model.sen_loss(speech, batch.ground_truth, batch.groups, batch.labels)
            curves["sen"] = loss.detach()
            total = total + recipe.sen_weight * loss
    total.backward()
    optimizers.generator.step()
    if model.sen is not None:
        optimizers.sen.step()
    for player in opponents:
        player.requires_grad_(True)

    model.update_average(recipe.ema_decay, recipe.ema_batch_norm)
    return curves


@dataclass
class History:
    """What training leaves to look at: the curves' rows, and sheets of the same samples over time."""

    rows: list[dict[str, float]]
    sheets: list[np.ndarray]


def train(
    model: RDG,
    data: TrainingSet,
    recipe: Recipe,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    image_embedding: Callable[[Tensor], Tensor] | None,
    fake_features: Callable[[Tensor], Tensor] | None,
    preview: Tensor,
    preview_frames: Tensor | None = None,
    device: torch.device,
    checkpoint: TrainingCheckpoint | None = None,
) -> History:
    """Trains `model` in place for `epochs` passes over the pictures.

    `preview` (n, A) are speech embeddings drawn again and again with the same noise, as sample sheets; with
    `preview_frames` (n,), log-mels (n, T, M) that the encoder in training embeds each time.
    Goes on from `checkpoint` where it has a state; a resumed run equals an uninterrupted one.
    Raises InputError for more images a batch than there are, and for a loss that is not finite.
    """
    if batch_size > len(data):
        raise InputError(f"rdg.batch_size={batch_size}: only {len(data)} training images; make it smaller")
    model.to(device, memory_format=torch.channels_last).train()  # convolutions are faster so
    for average in (model.average, model.average_sen):
        if average is not None:
            average.eval()
    optimizers = Optimizers(model, recipe)
    total_steps = epochs * (len(data) // batch_size)
    log_every = max(1, total_steps // CURVE_POINTS)
    sheet_every = max(1, total_steps // SHEETS)
    history, sums, step = History([], []), {}, 0
    if checkpoint and (state := checkpoint.load()):
        model.load_state_dict(state["model"])
        optimizers.load_state_dict(state["optimizers"])
        history = History(state["rows"], [sheet.numpy() for sheet in state["sheets"]])
        sums, step = state["sums"], state["step"]
    latents = draw_latent(model, len(preview), seed, 0, "preview").to(device)

    saved = time.monotonic()
    bar = progress(None, "RDG", total_steps, step)
    while step < total_steps:
        batch = _to(data.batch(seed, step, batch_size), device)
        latent = draw_latent(model, batch_size, seed, step, "latent").to(device)
        with_r1 = recipe.r1_weight > 0 and step % recipe.r1_interval == 0
        with_fake_relation = model.relation is not None and step % recipe.relation_interval == 0
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            curves = training_step(
                model,
                optimizers,
                batch,
                latent,
                image_embedding,
                fake_features,
                recipe,
                with_r1,
                with_fake_relation,
            )
        step += 1
        bar.update()

        for name, value in curves.items():
            total, count = sums.get(name, (0.0, 0))
            sums[name] = (total + float(value), count + 1)
            if not np.isfinite(sums[name][0]):  # before a checkpoint keeps it
                raise InputError(f"rdg: the loss {name} is not finite at step {step}; lower rdg.lr and run again")
        if step % log_every == 0 or step == total_steps:
            row = {name: total / count for name, (total, count) in sums.items()}
            history.rows.append({"step": step, "images": step * batch_size, **row})
            bar.set_postfix({k: f"{row[k]:.2f}" for k in ("d_2", "g_2", "relation") if k in row})
            sums = {}
        if step % sheet_every == 0:
            history.sheets.append(sample(model, preview.to(device), preview_frames, latents))
        if checkpoint and time.monotonic() - saved > CHECKPOINT_SECONDS:
            sheets = [torch.from_numpy(sheet) for sheet in history.sheets]
            checkpoint.save(
                {
                    "model": model.state_dict(),
                    "optimizers": optimizers.state_dict(),
                    "rows": history.rows,
                    "sheets": sheets,
                    "sums": sums,
                    "step": step,
                }
            )
            saved = time.monotonic()
    bar.close()
    return history


@torch.no_grad()
def sample(model: RDG, speech: Tensor, frames: Tensor | None, latent: Tensor) -> np.ndarray:
    """Images of the last scale, uint8 (n, 3, 4S, 4S), by the averaged networks."""
    embeddings = model.embed(speech, frames, average=True)
    return to_uint8(model.average(latent, embeddings)[0][-1]).cpu().numpy()


def draw_latent(model: RDG, count: int, seed: int, step: int, purpose: str) -> Tensor:
    """N(0, 1) numbers (count, latent_dim) from nothing but the arguments."""
    generator = step_generator(seed, step, purpose)
    return torch.randn(count, model.speech_to_image.latent_dim, generator=generator)


def _to(batch: Batch, device: torch.device) -> Batch:
    return Batch(**{name: value if value is None else value.to(device) for name, value in vars(batch).items()})
