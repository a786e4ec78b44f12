"""Training of the speech embedding network: what one step does, and how each pass over the captions is judged."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s2igan import training as loop
from s2igan.data_parallel import average_gradients, gathered, own_rows, processes
from s2igan.errors import InputError
from s2igan.machine import PRECISIONS
from s2igan.options import choice, integer, number, seed
from s2igan.sen.augmentation import OFF, Augmentation, Augmenter
from s2igan.sen.image_encoder import CentredFeatures
from s2igan.sen.losses import region_matching_loss
from s2igan.sen.model import SEN, class_labels, embed_speech, in_blocks, pad
from s2igan.store import FixedReader, RaggedReader
from s2igan.training import Checkpoints, History, Row, Schedule

# n captions, B batch, V views, R regions, F image features, D embedding, Q queries, G gallery

POOL_BATCHES = 50  # batches' worth of captions that are sorted by length together
EMBED_BLOCK = 4096  # validation utterances that are read at a time
PRELOAD_BYTES = 1_500_000_000  # what is read often stays in memory up to this, together
DRAWS = ("all", "one_per_image", "balanced")
MEAN_ROWS = 1024  # images at a time, in the mean of their features
CURVES = ("epoch", "lr", "loss", "matching", "distinctive", "val_matching", "val_map")


@dataclass(frozen=True)
class Recipe:
    """The tunable numbers of training; the paper's values are in `conf/scale/paper.yaml`."""

    captions: int = integer(0, help="to learn from, counted as often as they come")
    captions_per_epoch: str = choice(DRAWS, "one_per_image: a random one of each; balanced: each class as often")
    batch_size: int = integer(2)
    lr: float = number(0, 1, min_open=True)
    beta1: float = number(0, 1, max_open=True)
    beta2: float = number(0, 1, max_open=True)
    weight_decay: float = number(0)
    lr_step_captions: int = integer(0, help="captions between decays; 0 for none")
    lr_gamma: float = number(0, 1, min_open=True, help="factor of a decay")
    precision: str = choice(PRECISIONS, "of the speech encoder's products")
    seed: int = seed()
    patience: int = integer(0, help="passes without a better validation that end the run; 0: none do", default=0)


@dataclass(frozen=True)
class Pairs:
    """Captions with their images: a row of each file, and a class number (-1: none), each (n,)."""

    log_mel_rows: np.ndarray
    image_rows: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.log_mel_rows)

    @property
    def groups(self) -> np.ndarray:
        """What tells them apart, (n,), not negative: the class, or the image where there is none."""
        return np.where(self.classes < 0, self.classes.max(initial=-1) + 1 + self.image_rows, self.classes)


@dataclass(frozen=True)
class TrainingResult:
    """What `train` found: the pass whose weights it kept (0: those at initialisation), its mAP, the curves."""

    best_epoch: int
    best_map: float
    curves: list[Row]  # a row a pass, keys as in CURVES


class Best:
    """The weights of the best pass so far, as part of what a checkpoint holds."""

    def __init__(self):
        self.epoch, self.map, self.model, self.passes = 0, float("nan"), None, 0

    def state_dict(self) -> dict:
        return vars(self)

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)


def train(
    model: SEN,
    log_mels: RaggedReader,
    image_features: FixedReader,
    training: Pairs,
    validation: Pairs,
    recipe: Recipe,
    checkpoints: Checkpoints | None = None,
    report: Callable[[History], None] = lambda history: None,
    image_regions: FixedReader | None = None,
    augmentation: Augmentation = OFF,
) -> TrainingResult:
    """Train `model` in place by its objective and leave it with the weights of its best pass over the captions.

    Best is the highest speech-to-image mAP on the validation pairs (view 0 of each image), the
    earliest of equals; without validation pairs, the last pass. The learning rate is multiplied
    by `lr_gamma` after each `lr_step_captions` captions. Adam; a view of the image is drawn
    for each caption in each pass. `precision` bfloat16 is for the products of the speech encoder; all else, and
    validation, is float32. Captions of class -1 teach by the matching loss alone. No caption at all
    leaves the network as it is. `image_regions` (V, R, F), in the order of `image_features`, are for an objective with
    a `region_weight`. `augmentation` changes what is heard in training, by draws from (seed, step). `patience` ends the
    run after so many passes without a better mAP, if there is validation.

    Raises InputError for an utterance too short, captions that are all of one class or image, and
    a loss that is not finite. Source: section 2.2.1.
    """
    by_region, beta = model.objective.region_weight > 0, model.objective.smoothing
    labels = _class_labels(training)
    groups = torch.from_numpy(training.groups)
    _check_lengths(model, log_mels, training, validation)
    speech_of, features_of = _sources(log_mels, image_features, training, validation)
    lengths = np.asarray(log_mels.lengths)[training.log_mel_rows]
    if isinstance(model.image, CentredFeatures):
        model.image.mean.copy_(torch.from_numpy(_mean_features(features_of, training.image_rows)))
    fabric = loop.make_fabric(next(model.parameters()).device, recipe.precision)
    betas = (recipe.beta1, recipe.beta2)
    optimizer = torch.optim.Adam(model.parameters(), recipe.lr, betas, weight_decay=recipe.weight_decay, fused=True)

    augment = Augmenter(augmentation, log_mels, model.speech.min_frames) if augmentation else None
    images = training.image_rows if recipe.captions_per_epoch == "one_per_image" else None
    classes_alike = training.groups if recipe.captions_per_epoch == "balanced" else None

    @lru_cache(maxsize=1)
    def batches_of(epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        views = image_features.shape[0]
        return epoch_batches(lengths, recipe.batch_size, views, recipe.seed, epoch, images, classes_alike)

    per_epoch, epoch_captions = len(batches_of(0)[0]), sum(map(len, batches_of(0)[0]))
    fewest = min(map(len, batches_of(0)[0]))
    if fewest < processes():
        raise InputError(
            f"sen.batch_size={recipe.batch_size}: a pass has a batch of {fewest}, for {processes()} processes; "
            "take fewer processes, or another size"
        )
    passes, rest = divmod(recipe.captions, epoch_captions)
    steps = passes * per_epoch
    if rest:
        steps += 1 + int(np.searchsorted(np.cumsum([len(batch) for batch in batches_of(passes)[0]]), rest))

    def step(number: int) -> tuple[list[str], dict[str, Tensor]]:
        epoch, index = divmod(number, per_epoch)
        batches, views = batches_of(epoch)
        items = batches[index]
        seen = epoch * epoch_captions + sum(len(batch) for batch in batches[:index])
        decays = seen // recipe.lr_step_captions if recipe.lr_step_captions else 0
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * recipe.lr_gamma**decays

        model.train()
        heard = speech_of(training.log_mel_rows[items])
        if augment:
            drawn = loop.step_generator(recipe.seed, number, "augmentation").initial_seed()
            heard = augment(heard, training.log_mel_rows[items], np.random.default_rng(drawn))
        log_mel, frames = map(own_rows, pad(heard))
        features = features_of(training.image_rows[items])[np.arange(len(items)), views[items]]
        places = None
        with fabric.autocast():
            if by_region:
                speech, places = model.speech.with_places(fabric.to_device(log_mel), frames, model.places)
            else:
                speech = model.speech(fabric.to_device(log_mel), frames)
        outputs = model(gathered(speech.float()), fabric.to_device(torch.from_numpy(features)))
        classes = fabric.to_device(torch.from_numpy(labels[items]))
        loss, matching, distinctive = model.objective(outputs, fabric.to_device(groups[items]), classes)
        curves = {"matching": matching, "distinctive": distinctive}
        if by_region:
            of_view = image_regions.values(training.image_rows[items])[np.arange(len(items)), views[items]]  # (B, R, F)
            regions = model.image(fabric.to_device(torch.from_numpy(of_view.astype(np.float32))))
            curves["regions"] = region_matching_loss(gathered(places), regions, fabric.to_device(groups[items]), beta)
            loss = loss + model.objective.region_weight * curves["regions"]
        optimizer.zero_grad()
        fabric.backward(loss)
        average_gradients(model.parameters())
        optimizer.step()
        keys = [log_mels.keys[row] for row in training.log_mel_rows[items]]
        return keys, {"loss": loss, **curves}

    best = Best()

    def complete_row(row: Row) -> Row:
        epoch = -(-int(row["step"]) // per_epoch)
        val_matching, val_map = validate(model, validation, speech_of, features_of, recipe.batch_size)
        if best.model is None or not len(validation) or val_map > best.map:
            best.epoch, best.map = epoch, val_map
            best.model = {key: value.cpu().clone() for key, value in model.state_dict().items()}
        best.passes = epoch
        row |= {"epoch": epoch, "lr": optimizer.param_groups[0]["lr"], "val_matching": val_matching, "val_map": val_map}
        return {name: row[name] for name in (*CURVES, *(["regions"] if by_region else []))}

    history = loop.train(
        Schedule("sen", recipe.seed, steps, row_every=per_epoch),
        step,
        {"model": model, "optimizer": optimizer, "best": best},
        checkpoints,
        complete_row=complete_row,
        report=report,
        is_enough=lambda: bool(len(validation)) and 0 < recipe.patience <= best.passes - best.epoch,
    )
    model.eval()
    if best.model is not None:
        model.load_state_dict(best.model)
    return TrainingResult(best.epoch, best.map, history.rows)


def epoch_batches(
    lengths: np.ndarray,
    batch_size: int,
    view_count: int,
    seed: int,
    epoch: int,
    images: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Cut one epoch into batches of captions of similar length, and draw each caption's view.

    lengths (n,) in frames. Every caption is in one batch: they are shuffled, sorted by length
    within pools of POOL_BATCHES batches, cut, and the batches shuffled, because a GRU spends its
    time on padding. With `images` (n,), what each caption describes, one caption of each image is in a batch, and
    what does not fill a batch is left out, as in the published code. With `groups` (n,), a batch has captions of each
    group equally often, to one: of a small group they come several times in an epoch, of a large one not all, and
    lengths are not sorted. Returns the batches (arrays of indices) and views (n,). All draws come from (seed, epoch),
    so that a resumed epoch is cut as it was.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    views = rng.integers(view_count, size=len(lengths))
    if images is not None:
        order = order[np.sort(np.unique(images[order], return_index=True)[1])]  # of each image the first in the order
        order = order[: len(order) - len(order) % batch_size] if len(order) > batch_size else order
    if groups is not None:
        order = _in_rounds(order, groups, rng)
    pool = POOL_BATCHES * batch_size
    batches = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        part = part if groups is not None else part[np.argsort(lengths[part], kind="stable")]
        batches += [part[cut : cut + batch_size] for cut in range(0, len(part), batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        # One pair alone has nothing to be told apart from.
        batches[-2:] = [np.concatenate(batches[-2:])]
    return [batches[index] for index in rng.permutation(len(batches))], views


def _in_rounds(order: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many captions as `order` (n,), in rounds of one of each group, of which each is in an order of its own."""
    by_group = order[np.argsort(groups[order], kind="stable")]
    members = np.split(by_group, np.flatnonzero(np.diff(groups[by_group])) + 1)
    rounds = np.stack([np.resize(part, -(-len(order) // len(members))) for part in members], axis=1)
    return rng.permuted(rounds, axis=1).reshape(-1)[: len(order)]


def validate(
    model: SEN,
    pairs: Pairs,
    speech_of: Callable[[np.ndarray], list[np.ndarray]],
    features_of: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
) -> tuple[float, float]:
    """Measure the objective's loss of pairs and speech-to-image mAP on pairs whose classes the model never saw.

    The mAP lets each caption query the distinct images; relevant are those of its class, or its
    own image where it has no class. (nan, nan) without pairs.
    """
    if not len(pairs):
        return float("nan"), float("nan")
    model.eval()
    width = speech_of(pairs.log_mel_rows[:1])[0].shape[1]
    blocks = in_blocks(pairs.log_mel_rows, width, EMBED_BLOCK)
    embedded = [embed_speech(model, speech_of(block), batch_size, unit=False) for block in blocks]
    speech = torch.from_numpy(np.concatenate(embedded))  # (n, D)
    image_rows, first, image_of = np.unique(pairs.image_rows, return_index=True, return_inverse=True)
    device = next(model.parameters()).device
    with torch.inference_mode():
        features = torch.from_numpy(features_of(image_rows)[:, 0])
        gallery = model.image(features.to(device)).cpu()  # (G, D)
    alike = pairs.groups

    # The table is in order of classes; batches as they come would have nothing to tell apart.
    order = np.random.default_rng(0).permutation(len(pairs))
    losses = []
    for start in range(0, len(order), batch_size):
        items = order[start : start + batch_size]
        classes = torch.from_numpy(alike[items])
        loss = model.objective.pair_loss(speech[items], gallery[image_of[items]], classes)
        losses.append(loss.item() * len(items))

    gallery = F.normalize(gallery, dim=1)  # cosine, as in the evaluation; a query's length ranks nothing
    precisions = []
    for start in range(0, len(pairs), EMBED_BLOCK):
        block = slice(start, start + EMBED_BLOCK)
        relevant = torch.from_numpy(alike[block, None] == alike[first])
        precisions.append(average_precision(speech[block] @ gallery.T, relevant))
    return sum(losses) / len(pairs), torch.cat(precisions).mean().item()


def average_precision(scores: Tensor, relevant: Tensor) -> Tensor:
    """Rate each query's ranking: the mean, over its relevant items, of the precision at their rank.

    scores (Q, G), higher first, equals in gallery order; relevant (Q, G) bool, one or more a query.
    Returns float64 (Q,).
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    hits = relevant.gather(1, order).double()
    ranks = torch.arange(1, scores.shape[1] + 1, dtype=torch.float64)
    return (hits * hits.cumsum(1) / ranks).sum(1) / hits.sum(1)


def _class_labels(training: Pairs) -> np.ndarray:
    """Class numbers of the catalog -> outputs of the classifier, in ascending order; -1 stays."""
    known = np.unique(training.classes[training.classes >= 0])
    if len(np.unique(training.groups)) < 2:
        raise InputError(
            "sen: all training captions are of one class, or of one image, so there is nothing to tell apart; "
            "give the training split another one"
        )
    return class_labels(training.classes, known)


def _check_lengths(model: SEN, log_mels: RaggedReader, *parts: Pairs) -> None:
    for part in parts:
        lengths = np.asarray(log_mels.lengths)[part.log_mel_rows]
        short = np.flatnonzero(lengths < model.speech.min_frames)
        if len(short):
            key = log_mels.keys[part.log_mel_rows[short[0]]]
            raise InputError(
                f"{key}: {lengths[short[0]]} frames; the speech encoder needs "
                f"{model.speech.min_frames}; take out this and {len(short) - 1} other captions"
            )


def _sources(
    log_mels: RaggedReader,
    image_features: FixedReader,
    training: Pairs,
    validation: Pairs,
) -> tuple[Callable[[np.ndarray], list[np.ndarray]], Callable[[np.ndarray], np.ndarray]]:
    """Two functions of rows, from memory where the rows of both sets fit, else from the files."""
    preload_bytes = PRELOAD_BYTES
    image_rows = np.union1d(training.image_rows, validation.image_rows)
    image_bytes = len(image_rows) * int(np.prod(image_features.shape)) * 4
    features_of = image_features.values
    if image_bytes <= preload_bytes:
        features = image_features.values(image_rows)  # (G, V, F)
        preload_bytes -= image_bytes

        def features_of(rows: np.ndarray) -> np.ndarray:
            return features[np.searchsorted(image_rows, rows)]

    speech_rows = np.union1d(training.log_mel_rows, validation.log_mel_rows)
    frame_bytes = log_mels.value(int(speech_rows[0]))[0].nbytes
    frames = int(np.asarray(log_mels.lengths)[speech_rows].sum())
    speech_of = log_mels.values
    if frames * frame_bytes <= preload_bytes:
        # In the stored precision: float16 takes half of what the batches' float32 would.
        utterances = dict(zip(speech_rows.tolist(), log_mels.values(speech_rows), strict=True))

        def speech_of(rows: np.ndarray) -> list[np.ndarray]:
            return [utterances[row] for row in rows.tolist()]

    return speech_of, features_of


def _mean_features(features_of: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Mean (F,) of the features of all views of these images, each image once."""
    rows = np.unique(rows)
    blocks = [rows[start : start + MEAN_ROWS] for start in range(0, len(rows), MEAN_ROWS)]
    total = sum(features_of(of_block).mean(axis=1, dtype=np.float64).sum(axis=0) for of_block in blocks)
    return (total / len(rows)).astype(np.float32)
