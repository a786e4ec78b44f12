"""Training of RDG: one step, player by player in the paper's order, and the run that repeats it."""

# B batch, A speech embedding size, C condition size, E image embedding size, F frozen features

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan import training as loop
from s2igan.data_parallel import average_gradients, gathered, own_rows, processes
from s2igan.errors import InputError
from s2igan.machine import PRECISIONS
from s2igan.options import choice, integer, number, seed, switch
from s2igan.rdg import losses
from s2igan.rdg.attention import recorded_weights
from s2igan.rdg.augmentation import translate
from s2igan.rdg.batches import Batch, TrainingSet
from s2igan.rdg.captions import CaptionDecoder
from s2igan.rdg.model import RDG, SCALES
from s2igan.rdg.relation import Relation
from s2igan.sen.losses import matching_loss, region_matching_loss
from s2igan.sen.model import sentence
from s2igan.training import Checkpoints, History, Row, Schedule, step_generator
from s2igan.vision.transforms import to_uint8

CURVE_POINTS = 60
SHEETS = 6
SHOWN = ("d_2", "g_2", "relation")  # beside the progress bar
# Eq. 8, in the order of its pairs: same class, other class, the ground truth itself, the fake.
RELATIONS = (Relation.POSITIVE, Relation.NEGATIVE, Relation.UNDESIRED, Relation.POSITIVE)


@dataclass(frozen=True)
class Recipe:
    """The tunable numbers of training; the paper's values are in `conf/scale/paper.yaml`."""

    images: int = integer(1, help="to learn from, counted as often as they come")
    lr: float = number(0, 1, min_open=True)
    lr_discriminator: float = number(0, 1, min_open=True)
    beta1: float = number(0, 1, max_open=True)
    beta2: float = number(0, 1, max_open=True)
    kl_weight: float = number(0)
    relation_weight: float = number(0, help="0 leaves the supervisor out")
    relation_interval: int = integer(1, help="steps between supervisions")
    matching_weight: float = number(0, help="of eqs. 1 to 4 in G; 0: not at all")
    distillation_weight: float = number(0, help="SEN's image embedding in D")
    local_weight: float = number(0, help="of D's logits of single places")
    region_weight: float = number(0, help="of matching places with regions in G; 0: not at all")
    competition_weight: float = number(0, help="of attention competition in G (SEGAN)")
    contrastive_weight: float = number(0, help="of the Siamese branch in G (SEGAN)")
    caption_weight: float = number(0, help="of reading the caption from G's images (MirrorGAN)")
    decoder_captions: int = integer(1, help="that the caption decoder learns from first")
    condition_to_discriminator: str = choice(["sampled", "mean"])
    r1_weight: float = number(0, help="gradient penalty on real images")
    r1_interval: int = integer(1, help="steps between penalties")
    ema_decay: float = number(0, 1, max_open=True)
    ema_batch_norm: bool = switch("average batch-norm statistics too")
    sen_weight: float = number(0, help="of L_SEN, if the encoder is trained")
    translation: float = number(0, 0.5, help="DiffAugment's, share of the side")
    precision: str = choice(PRECISIONS, "of the step's products")
    seed: int = seed()

    @property
    def heads(self) -> dict[str, bool]:
        """The discriminators' further heads that this recipe teaches, as fields of `RDGConfig`."""
        return {"matching": self.matching_weight > 0 or self.region_weight > 0, "local": self.local_weight > 0}


@dataclass(frozen=True)
class Setup:
    """What stays from step to step: who plays, by which recipe, and what is frozen.

    `image_embedding` is SEN's image projection, frozen features (B, F) -> (B, E), and `frozen_encoder` images ->
    (B, F); without a term that compares images nobody calls them. `decoder` is that of `caption_weight`, frozen.
    """

    model: RDG
    recipe: Recipe
    optimizers: dict[str, ChannelsLastAdam]
    image_embedding: Callable[[Tensor], Tensor] | None
    frozen_encoder: Callable[[Tensor], Tensor] | None
    backward: Callable[[Tensor], None] = torch.Tensor.backward
    decoder: CaptionDecoder | None = None

    def embed(self, features: Tensor) -> Tensor:
        """Frozen features (B, F) -> their place in SEN's space, whitened as speech is, (B, E)."""
        return self.model.speech_to_image.whiten(self.image_embedding(features))

    def minimise(self, loss: Tensor, *players: str) -> None:
        """One step of these players' optimizers down the gradient of `loss`."""
        for player in players:
            self.optimizers[player].zero_grad(set_to_none=True)
        self.backward(loss)
        for player in players:
            average_gradients(self.optimizers[player].learned)
            self.optimizers[player].step()


class ChannelsLastAdam(torch.optim.Adam):
    """Fused Adam that takes each parameter in the order of its memory.

    On a CPU the library first copies gradients whose memory is channels-last into another order, and uses them as they
    were: a twentieth of a step's time for nothing.
    """

    def __init__(self, module: nn.Module, lr: float, betas: tuple[float, float]):
        self.learned = list(module.parameters())
        super().__init__([nn.Parameter(_as_stored(p.detach())) for p in self.learned], lr, betas, fused=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.learned:
            parameter.grad = None

    def step(self, closure: None = None) -> None:
        for view, parameter in zip(self.param_groups[0]["params"], self.learned, strict=True):
            view.grad = None if parameter.grad is None else _as_stored(parameter.grad)
        super().step(closure)


def _as_stored(x: Tensor) -> Tensor:
    """The same memory, of (O, H, K, K) in channels-last order as (O, K, K, H)."""
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def build_optimizers(model: RDG, recipe: Recipe) -> dict[str, ChannelsLastAdam]:
    """Adam for each of the three players, and for the speech encoder where it is trained."""

    def adam(module: nn.Module, lr: float) -> ChannelsLastAdam:
        return ChannelsLastAdam(module, lr, (recipe.beta1, recipe.beta2))

    optimizers = {
        "generator": adam(model.speech_to_image, recipe.lr),
        "discriminators": adam(model.discriminators, recipe.lr_discriminator),
    }
    if model.relation is not None:
        optimizers["relation"] = adam(model.relation, recipe.lr)
    if model.sen is not None:
        # Only L_SEN teaches the image side and the classifier.
        optimizers["sen"] = adam(model.sen if recipe.sen_weight else model.sen.speech, recipe.lr)
    return optimizers


@dataclass(frozen=True)
class View:
    """What the players look at in one step: the batch, and what F^ca and generator make of its speech."""

    batch: Batch
    speech: Tensor  # (B, A)
    fakes: list[Tensor]  # at S, 2S, 4S, or those of them that the system draws
    seen_fakes: list[Tensor]  # the same as discriminators see them, moved a little
    mean: Tensor  # (B, C), of F^ca
    log_variance: Tensor  # (B, C)
    condition: Tensor  # (B, C), what the discriminators are told
    real_embedding: Tensor | None  # (B, E), of the ground truth
    anchors: Tensor  # (B + K, A), speech that the matching loss tells images by
    groups: Tensor  # (B + K,)
    places: Tensor  # (B, P, A), of what the generator attends to; P = 0 where it attends to nothing
    with_r1: bool  # has this step the gradient penalty?
    with_fake_relation: bool  # and the relation of the fake, for which the frozen encoder must see it?
    with_semantics: bool  # and the Siamese branch and the caption decoder, for which it must, too?
    attention: list[Tensor]  # (B, N, P) of each stage that attends


def training_step(setup: Setup, batch: Batch, latent: Tensor, step: int) -> dict[str, Tensor]:
    """One step of eqs. 8 to 12; returns the losses by name. Terms that the system lacks are not there.

    `latent` (B, latent_dim). The step's number says whether it has the costly terms, which come at intervals.
    """
    view = draw_fakes(setup, batch, latent, step)
    curves = discriminator_step(setup, view)
    fake_features = None
    if view.with_fake_relation or view.with_semantics:
        fake_features = setup.frozen_encoder(view.fakes[-1].float())  # resizing knows no bfloat16
    related = embed_related(setup, view, fake_features)
    curves |= relation_step(setup, view, related)
    curves |= generator_step(setup, view, related, fake_features)
    setup.model.update_average(setup.recipe.ema_decay, setup.recipe.ema_batch_norm)
    return curves


def discriminator_step(setup: Setup, view: View) -> dict[str, Tensor]:
    """The discriminators tell real images from fake ones, with speech and without (eqs. 11 and 12)."""
    model, recipe, batch, curves = setup.model, setup.recipe, view.batch, {}
    condition = view.condition.detach()
    total = torch.zeros((), device=condition.device)
    count = model.config.scales
    others = [] if batch.mismatched is None else [real_pyramid(batch.mismatched, count)]
    conditions = condition.repeat(2 + len(others), 1)  # of real, fake and mismatched images
    scales = zip(model.discriminators, view.seen_fakes, real_pyramid(batch.images, count), *others, strict=True)
    for i, (discriminator, fake, *reals) in enumerate(scales, SCALES - count):
        reals = [translate(real, batch.shifts[:, 0], recipe.translation) for real in reals]
        if view.with_r1:
            reals[0] = reals[0].detach().requires_grad_()
        sets = [reals[0], fake.detach(), *reals[1:]]
        seen = discriminator(torch.cat(sets), conditions, len(sets))
        features, unconditional, conditional, *local = (of_all.chunk(len(sets)) for of_all in seen)
        loss = losses.discriminator_loss(*zip(unconditional, conditional, strict=True))
        curves[f"d_{i}"] = loss.detach()
        if local:
            places = losses.real_loss(local[0][0]) + losses.fake_loss(local[0][1])
            curves[f"d_local_{i}"] = places.detach()
            loss = loss + recipe.local_weight * places
        if recipe.matching_weight > 0:  # eqs. 1 to 4, as XMC-GAN has them (Zhang et al. 2021)
            embedding = discriminator.embed(features[0])
            matching = matching_loss(view.anchors, gathered(embedding), view.groups)
            curves[f"d_matching_{i}"] = matching.detach()
            loss = loss + matching
            if model.sen is None or recipe.sen_weight > 0:  # is there an image embedding that has learnt?
                distillation = losses.distillation_loss(embedding, view.real_embedding)
                loss = loss + recipe.distillation_weight * distillation
        if recipe.region_weight > 0:  # the same of places and regions (XMC-GAN's words and regions)
            regions = gathered(discriminator.embed_regions(features[0]))
            regions = region_matching_loss(gathered(view.places), regions, batch.groups)
            curves[f"d_regions_{i}"] = regions.detach()
            loss = loss + regions
        if view.with_r1:
            penalty = losses.r1_penalty(unconditional[0] + conditional[0], reals[0])
            curves[f"r1_{i}"] = penalty.detach()
            loss = loss + recipe.r1_weight * recipe.r1_interval * penalty
        total = total + loss
    setup.minimise(total, "discriminators")
    return curves


def relation_step(setup: Setup, view: View, related: list[Tensor]) -> dict[str, Tensor]:
    """The relation supervisor learns from all four pairs, from the fake one where the step has it (eq. 8)."""
    if setup.model.relation is None:
        return {}
    logits = setup.model.relation(view.real_embedding, [other.detach() for other in related])
    terms = [losses.relation_loss(of_pair, relation) for of_pair, relation in zip(logits, RELATIONS, strict=False)]
    setup.minimise(sum(terms), "relation")
    return {"relation": sum(terms[:3]).detach()}


def generator_step(setup: Setup, view: View, related: list[Tensor], fake_features: Tensor | None) -> dict[str, Tensor]:
    """The generator against opponents that stand still (eqs. 9 and 10); F^ca and a speech encoder learn along."""
    model, recipe, batch = setup.model, setup.recipe, view.batch
    opponents = [player for player in (model.discriminators, model.relation) if player is not None]
    for player in opponents:
        player.requires_grad_(False)
    divergence = losses.kl_loss(view.mean, view.log_variance)
    curves = {"kl": divergence.detach()}
    total = recipe.kl_weight * divergence
    scales = zip(model.discriminators, view.seen_fakes, strict=True)
    for i, (discriminator, fake) in enumerate(scales, SCALES - model.config.scales):
        features, unconditional, conditional, *local = discriminator(fake, view.condition)
        loss = losses.generator_loss((unconditional, conditional))
        curves[f"g_{i}"] = loss.detach()
        if local:
            places = losses.real_loss(local[0])
            curves[f"g_local_{i}"] = places.detach()
            loss = loss + recipe.local_weight * places
        if recipe.matching_weight > 0:
            matching = matching_loss(view.anchors, gathered(discriminator.embed(features)), view.groups)
            curves[f"g_matching_{i}"] = matching.detach()
            loss = loss + recipe.matching_weight * matching
        if recipe.region_weight > 0:
            regions = gathered(discriminator.embed_regions(features))
            regions = region_matching_loss(gathered(view.places), regions, batch.groups)
            curves[f"g_regions_{i}"] = regions.detach()
            loss = loss + recipe.region_weight * regions
        total = total + loss
    if view.with_fake_relation:
        loss = losses.relation_loss(model.relation(view.real_embedding, related)[-1], Relation.POSITIVE)
        curves["g_relation"] = loss.detach()
        total = total + recipe.relation_weight * loss
    for weight, name, loss in semantic_terms(setup, view, fake_features):
        curves[name] = loss.detach()
        total = total + weight * loss
    if model.sen is not None and recipe.sen_weight > 0:
        loss = model.sen_loss(gathered(view.speech), gathered(batch.ground_truth), batch.groups, batch.labels)
        curves["sen"] = loss.detach()
        total = total + recipe.sen_weight * loss
    setup.minimise(total, "generator", *(["sen"] if model.sen is not None else []))
    for player in opponents:
        player.requires_grad_(True)
    return curves


def semantic_terms(setup: Setup, view: View, fake_features: Tensor | None) -> Iterator[tuple[float, str, Tensor]]:
    """SEGAN's and MirrorGAN's terms of the generator, where the recipe has them: weight, name, loss."""
    recipe, batch = setup.recipe, view.batch
    if recipe.competition_weight > 0:
        valid = view.places.any(dim=2)
        terms = [losses.competition_loss(weights, valid) for weights in view.attention]
        yield recipe.competition_weight, "g_competition", torch.stack(terms).mean()
    if view.with_semantics and recipe.contrastive_weight > 0:
        fake = gathered(setup.embed(fake_features))
        loss = losses.contrastive_loss(fake, gathered(view.real_embedding), batch.groups)
        yield recipe.contrastive_weight, "g_contrastive", loss
    if view.with_semantics and recipe.caption_weight > 0:
        yield recipe.caption_weight, "g_caption", setup.decoder.loss(gathered(fake_features), batch.words)


def draw_fakes(setup: Setup, batch: Batch, latent: Tensor, step: int) -> View:
    """F^ca and the generator (eq. 7) on the batch's speech, and all else that the players share."""
    model, recipe = setup.model, setup.recipe
    told = 1 if recipe.condition_to_discriminator == "mean" else 0
    whiten, heard = model.speech_to_image.whiten, model.embed(batch.speech, batch.frames)
    with recorded_weights(model.speech_to_image) as attention:
        fakes, *conditions = model.speech_to_image(latent, heard)
    speech = sentence(heard)
    real_embedding = None
    if model.relation is not None or recipe.matching_weight > 0 or recipe.contrastive_weight > 0:
        real_embedding = setup.embed(batch.ground_truth)
    anchors, groups = whiten(gathered(speech.detach())), batch.groups
    if batch.more_speech is not None:
        anchors = torch.cat([anchors, whiten(batch.more_speech)])
        groups = torch.cat([groups, batch.more_groups])
    supervised = step % recipe.relation_interval == 0
    return View(
        batch=batch,
        speech=speech,
        fakes=fakes,
        seen_fakes=[translate(fake, batch.shifts[:, 1], recipe.translation) for fake in fakes],
        mean=conditions[1],
        log_variance=conditions[2],
        condition=conditions[told],
        real_embedding=real_embedding,
        anchors=anchors,
        groups=groups,
        places=whiten(heard[:, 1:].detach()) if model.speech_to_image.attention else speech[:, :0, None],
        with_r1=recipe.r1_weight > 0 and step % recipe.r1_interval == 0,
        with_fake_relation=model.relation is not None and supervised,
        with_semantics=recipe.contrastive_weight + recipe.caption_weight > 0 and supervised,
        attention=attention,
    )


def embed_related(setup: Setup, view: View, fake_features: Tensor | None) -> list[Tensor]:
    """Embeddings (B, E) of what eq. 8 pairs with the ground truth, in the order of RELATIONS."""
    if setup.model.relation is None:
        return []
    batch = view.batch
    related = [setup.embed(batch.same_class), setup.embed(batch.other_class), view.real_embedding]
    if view.with_fake_relation:
        related.append(setup.embed(fake_features))
    return related


def real_pyramid(images: Tensor, scales: int = SCALES) -> list[Tensor]:
    """Images (B, 3, 4S, 4S) at the sizes of the last `scales` of S, 2S and 4S, the largest last."""
    return [F.avg_pool2d(images, 2**i) if i else images for i in reversed(range(scales))]


@dataclass(frozen=True)
class Preview:
    """Speech that is drawn again and again with the same noise: as heard, or log-mels and their frames."""

    speech: Tensor  # (n, A) or (n, 1 + P, A), or (n, T, M)
    frames: Tensor | None = None  # (n,)


def train(
    model: RDG,
    data: TrainingSet,
    recipe: Recipe,
    preview: Preview,
    device: torch.device,
    *,
    image_embedding: nn.Module | None,
    frozen_encoder: nn.Module | None,
    decoder: CaptionDecoder | None = None,
    checkpoints: Checkpoints | None = None,
    report: Callable[[History], None] = lambda history: None,
) -> History:
    """Trains `model` in place on `recipe.images` images, or as many as make whole batches; see `Setup`, `Preview`.

    Raises InputError for a loss that is not finite.
    """
    fabric = loop.make_fabric(device, recipe.precision)
    torch.backends.cudnn.benchmark = True  # images keep their size, so that a GPU may look for its fastest convolutions
    model.to(fabric.device, memory_format=torch.channels_last).train()  # convolutions are faster so
    for frozen in (image_embedding, frozen_encoder, decoder):
        if frozen is not None:
            frozen.requires_grad_(False).to(fabric.device)
    optimizers = build_optimizers(model, recipe)
    setup = Setup(model, recipe, optimizers, image_embedding, frozen_encoder, fabric.backward, decoder)
    batch_size = data.config.batch_size
    if batch_size % processes():
        raise InputError(
            f"rdg.batch_size={batch_size}: {processes()} processes cannot have as many images each; "
            "take another size, or another number of processes"
        )
    # No file holds the decoder, and taught again it need not be the same to the last digit.
    state: dict[str, loop.Stateful] = {"model": model, **optimizers}
    if decoder is not None:
        state["decoder"] = decoder

    def step(number: int) -> tuple[list[str], dict[str, Tensor]]:
        batch = Batch(**{name: fabric.to_device(value) for name, value in batch_of(number).items()})
        latent = fabric.to_device(own_rows(draw_latent(model, batch_size, recipe.seed, number, "latent")))
        with fabric.autocast():
            return data.keys(recipe.seed, number), training_step(setup, batch, latent, number)

    preview_latent = draw_latent(model, len(preview.speech), recipe.seed, 0, "preview").to(fabric.device)

    @torch.no_grad()
    def draw_sheet() -> np.ndarray:
        """The preview at the last scale, uint8 (n, 3, 4S, 4S), by the averaged networks."""
        heard = model.embed(preview.speech.to(fabric.device), preview.frames, average=True)
        return to_uint8(model.average(preview_latent, heard)[0][-1]).cpu().numpy()

    def complete_row(row: Row) -> Row:
        return {"step": row.pop("step"), "images": row.pop("items"), **row}

    steps = -(-recipe.images // batch_size)
    with loop.prefetched(lambda number: vars(data.batch(recipe.seed, number).share()), fabric.device) as batch_of:
        return loop.train(
            Schedule("rdg", recipe.seed, steps, max(1, steps // CURVE_POINTS), max(1, steps // SHEETS), SHOWN),
            step,
            state,
            checkpoints,
            complete_row=complete_row,
            draw_sheet=draw_sheet,
            report=report,
        )


def draw_latent(model: RDG, count: int, seed: int, step: int, purpose: str) -> Tensor:
    """N(0, 1) numbers (count, latent_dim) from nothing but the arguments."""
    generator = step_generator(seed, step, purpose)
    return torch.randn(count, model.speech_to_image.latent_dim, generator=generator)
