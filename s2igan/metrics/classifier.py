"""Classifiers of images: that of the Inception score, and the attribute judge.

The classifier of the Inception score has one head over the classes; the judge of drawn birds has
one head a part over the colours. Both are trained on real images only. Two networks: a small one
that starts from nothing, and Inception-v3 fine-tuned from ImageNet, as in the StackGAN papers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan import training as loop
from s2igan.errors import InputError
from s2igan.models import hash_files, load_model, load_state, save_model
from s2igan.options import integer, number, seed
from s2igan.training import Checkpoints, Row, Schedule, pass_order, step_generator
from s2igan.vision.transforms import centre_crop, random_crop_flip, to_float

# B batch, S image side, C channels, L places of the last feature map, H heads, A views a head

SMALLEST_MAP = 8  # side of the last feature map: a bill still has a place of its own there
WARM_UP = 0.15  # share of the steps in which the learning rate rises
BRIGHTNESS = 0.1  # random gain 0.9 to 1.1; more would turn one colour into another
INCEPTION_SIDE = 299  # pixels that Inception-v3 sees
INCEPTION_DROPOUT = 0.2  # of StackGAN's Inception
BODY_RATE = 0.1  # learning rate of a pretrained body, as a share of its new heads'


def _block(channels: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class Classifier(nn.Module):
    """Logits of several questions about one image; each head looks where its answer is.

    Convolutions halve the image down to 8 x 8; each head then pools the features under its own
    attention maps (over the image's content and place) and answers linearly, which finds small
    parts that a global mean would drown.

    heads: number of classes of each head; channels: width of the first block; image_size: side S,
    a power of two of at least 16. Input (B, 3, S, S) float in [-1, 1].
    """

    def __init__(self, heads: Sequence[int], channels: int = 24, image_size: int = 64, views: int = 2):
        super().__init__()
        if image_size < 2 * SMALLEST_MAP or image_size & (image_size - 1):
            raise InputError(f"classifier: image size {image_size}; choose 16, 32, 64, 128 or 256")
        self.config = {
            "network": "small",
            "heads": list(heads),
            "channels": channels,
            "image_size": image_size,
            "views": views,
        }
        self.image_size, self.views = image_size, views
        blocks = [_block(3, channels, 2)]
        width = channels
        for _ in range(int(math.log2(image_size // SMALLEST_MAP)) - 1):
            wider = min(2 * width, 4 * channels)
            blocks += [_block(width, wider, 2), _block(wider, wider, 1)]
            width = wider
        self.features = nn.Sequential(*blocks)
        places = SMALLEST_MAP * SMALLEST_MAP
        self.attention = nn.Conv2d(width, len(heads) * views, 1)
        self.place = nn.Parameter(torch.zeros(len(heads) * views, places))
        self.answers = nn.ModuleList(nn.Linear(views * width, classes) for classes in heads)
        self.feature_dim = len(heads) * views * width

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> what each head sees under its attention (B, H, A·C)."""
        maps, weights = self._attend(images)
        pooled = weights @ maps.transpose(1, 2)  # (B, H·A, C)
        return pooled.unflatten(1, (len(self.answers), self.views)).flatten(2)

    def looks_at(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> how much each head looks at each place (B, H, 8, 8), 1 in all."""
        _, weights = self._attend(images)
        return weights.unflatten(1, (len(self.answers), self.views)).mean(dim=2).unflatten(2, (SMALLEST_MAP,) * 2)

    def _attend(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, L), and each head's maps over them (B, H·A, L)."""
        maps = self.features(images).flatten(2)
        weights = self.attention(maps.unflatten(2, (SMALLEST_MAP, SMALLEST_MAP))).flatten(2)
        return maps, (weights + self.place).softmax(dim=2)

    def answer(self, pooled: Tensor) -> list[Tensor]:
        """What `pooled` gives -> a list of H logits (B, classes of the head)."""
        return [answer(pooled[:, h]) for h, answer in enumerate(self.answers)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [-1, 1] -> a list of H logits (B, classes of the head)."""
        return self.answer(self.pooled(images))

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """All parameters, at the full learning rate."""
        return [(list(self.parameters()), 1.0)]


class InceptionClassifier(nn.Module):
    """torchvision's Inception-v3 with a new linear layer a head in place of its 1000 classes.

    The Inception score of birds is that of an Inception fine-tuned on the 50 test classes (StackGAN,
    Zhang et al., ICCV 2017, section 4), of which weights and inference were published, not the training.
    Inference is theirs: images resized to 299, softmax over the 50. The training is what is usual: the
    whole network learns, its body at a tenth of the new layer's rate; no auxiliary head.

    heads: number of classes of each head; image_size: side S of the images it is meant for.
    Input (B, 3, S, S) float in [-1, 1], any S.
    """

    def __init__(self, heads: Sequence[int], image_size: int = 256):
        from torchvision.models import inception_v3  # slow to import

        super().__init__()
        self.config = {"network": "inception_v3", "heads": list(heads), "image_size": image_size}
        self.image_size = image_size
        self.body = inception_v3(
            weights=None, aux_logits=False, transform_input=False, init_weights=False, dropout=INCEPTION_DROPOUT
        )
        width = self.body.fc.in_features
        self.body.fc = nn.Identity()
        self.answers = nn.ModuleList(nn.Linear(width, classes) for classes in heads)
        self.feature_dim = width

    def pooled(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> pooled features (B, 2048)."""
        size = (INCEPTION_SIDE, INCEPTION_SIDE)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return self.body(images)  # in -1…1, as its ImageNet weights expect

    def answer(self, pooled: Tensor) -> list[Tensor]:
        """What `pooled` gives -> a list of H logits (B, classes of the head)."""
        return [answer(pooled) for answer in self.answers]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [-1, 1] -> a list of H logits (B, classes of the head)."""
        return self.answer(self.pooled(images))

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """The parameters of body and heads, each with its share of the learning rate."""
        return [(list(self.body.parameters()), BODY_RATE), (list(self.answers.parameters()), 1.0)]


NETWORKS = {"small": Classifier, "inception_v3": InceptionClassifier}
AnyClassifier = Classifier | InceptionClassifier


def build_classifier(config: dict, seed: int = 0) -> AnyClassifier:
    """A new network of a classifier's `config`, its weights drawn from the seed alone.

    `config["network"]` is one of NETWORKS, small where it is missing; the rest are its arguments.
    """
    arguments = dict(config)
    network = NETWORKS[arguments.pop("network", "small")]
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.default_generator.manual_seed(seed)
        return network(**arguments)


def save_classifier(folder: Path, kind: str, model: AnyClassifier, names: dict | None = None) -> None:
    """Write the network and what its answers mean (`names`, any JSON) as kind classifier/judge."""
    save_model(folder, kind, {"classifier": model}, {"network": model.config, "names": names or {}})


def classifier_hash(folder: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the weights that `save_classifier` wrote."""
    return hash_files(Path(folder) / "classifier.safetensors")


def save_no_classifier(folder: Path, kind: str, reason: str) -> None:
    """Says in the place of a network why there is none; `load_classifier` then gives None."""
    save_model(folder, kind, {}, {"network": None, "names": {"reason": reason}})


def load_classifier(folder: Path, kind: str) -> tuple[AnyClassifier | None, dict]:
    """The network that `save_classifier` wrote, ready to predict, and its `names`; None where there is none."""
    config, states = load_model(folder, kind)
    if config["network"] is None:
        return None, config["names"]
    model = build_classifier(config["network"])
    load_state(model, states["classifier"], Path(folder) / "classifier.safetensors")
    return model.eval().to(memory_format=torch.channels_last), config["names"]


def cosine_rate(step: int, steps: int) -> float:
    """Factor of the learning rate: up over the first steps, then along a cosine to 0."""
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


class Rows:
    """Some rows of an array, of a store reader or of other Rows, read when they are asked for."""

    def __init__(self, images, rows: Sequence[int] | np.ndarray):
        rows = np.asarray(rows, dtype=np.int64)
        nested = isinstance(images, Rows)
        self.images, self.rows = (images.images, images.rows[rows]) if nested else (images, rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> list[str]:
        """What the rows are called: their keys where they have some, else their numbers."""
        names = getattr(self.images, "keys", None)
        return [names[row] if names else f"image {row}" for row in self.rows.tolist()]

    def values(self, rows: np.ndarray | slice) -> np.ndarray | list[np.ndarray]:
        """The arrays of `rows`, which count from 0 to len(self) - 1."""
        rows = self.rows[rows]
        return self.images.values(rows) if hasattr(self.images, "values") else self.images[rows]


@dataclass(frozen=True)
class Recipe:
    """The tunable numbers of training, and the network that is trained."""

    channels: int = integer(1, help="width of the small network")
    crop_size: int = integer(8, help="pixels of a generated image")
    images: int = integer(1, help="to learn from, counted as often as they come")
    batch_size: int = integer(2)
    lr: float = number(0, 1, min_open=True, help="of all that is new")
    seed: int = seed()
    network: str = "small"  # of NETWORKS
    label_smoothing: float = 0.05
    weight_decay: float = 0.02


class Draws:
    """The random generator of crops, flips and brightness within a pass, as part of what a checkpoint holds."""

    def __init__(self):
        self.generator = torch.Generator()

    def state_dict(self) -> dict:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        self.generator.set_state(state["generator"])


def train_classifier(
    images,
    labels: np.ndarray,
    heads: Sequence[int],
    recipe: Recipe,
    *,
    name: str = "classifier",
    start: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
    checkpoints: Checkpoints | None = None,
) -> tuple[AnyClassifier, list[Row]]:
    """Train on random crops, flips and small changes of brightness; cross-entropy, mean of heads.

    The same arguments give the same network.

    images: N of (3, h, w) uint8, an array, a store reader or Rows, so that they need not fit in memory; labels:
    (N, H) int; `start` the state of Inception's body to begin from (none: random weights); `name` the section of the
    configuration that messages name. Returns the network in eval mode and, a pass, `epoch`, `loss`, and `accuracy` (of
    the augmented batches, mean of heads).
    """
    total = len(images)
    targets = torch.from_numpy(labels)
    config = {"network": recipe.network, "heads": list(heads), "image_size": recipe.crop_size}
    if recipe.network == "small":
        config["channels"] = recipe.channels
    model = build_classifier(config, recipe.seed)
    if start is not None:
        model.body.load_state_dict(start)
    fabric = loop.make_fabric(torch.device(device))
    model.to(fabric.device, memory_format=torch.channels_last).train()  # convolutions are faster so
    shares = [share for _, share in model.rates()]
    optimizer = torch.optim.AdamW(
        [{"params": parameters} for parameters, _ in model.rates()], lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    batch_size = min(recipe.batch_size, total)
    per_pass = total // batch_size  # a last small batch would upset batch norm
    steps = -(-recipe.images // batch_size)
    draws = Draws()

    def step(number: int) -> tuple[list[str], dict[str, Tensor]]:
        epoch, index = divmod(number, per_pass)
        if index == 0:  # one generator a pass: for its order, then for its batches
            draws.generator = step_generator(recipe.seed, epoch)
            torch.randperm(total, generator=draws.generator)
        # Files are read in rising order; within a batch it means nothing.
        order = pass_order(total, recipe.seed, epoch)
        rows = order[index * batch_size : (index + 1) * batch_size].sort().values
        taken = Rows(images, rows)
        crops = random_crop_flip(taken.values(slice(None)), recipe.crop_size, draws.generator)
        inputs = to_float(crops)  # (B, 3, S, S)
        gain = 1 + BRIGHTNESS * (2 * torch.rand(len(rows), 1, 1, 1, generator=draws.generator) - 1)
        inputs = fabric.to_device((inputs + 1) * gain - 1)  # black stays black
        target = fabric.to_device(targets[rows])  # (B, H)
        logits = model(inputs)
        terms = [
            F.cross_entropy(answer, target[:, h], label_smoothing=recipe.label_smoothing)
            for h, answer in enumerate(logits)
        ]
        loss = torch.stack(terms).mean()
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = recipe.lr * share * cosine_rate(number, steps)
        optimizer.step()
        answers = torch.stack([answer.argmax(dim=1) for answer in logits], dim=1)
        return taken.keys, {"loss": loss, "accuracy": (answers == target).float().mean()}

    def complete_row(row: Row) -> Row:
        return {"epoch": -(-int(row["step"]) // per_pass), "loss": row["loss"], "accuracy": row["accuracy"]}

    history = loop.train(
        Schedule(name, recipe.seed, steps, row_every=per_pass, shown=("loss", "accuracy")),
        step,
        {"model": model, "optimizer": optimizer, "draws": draws},
        checkpoints,
        complete_row=complete_row,
    )
    return model.eval(), history.rows


def predict(model: AnyClassifier, images, batch_size: int = 128) -> list[np.ndarray]:
    """Class probabilities of each head: a list of H arrays (N, classes) float32. See `describe`."""
    return describe(model, images, batch_size)[1]


@torch.no_grad()
def describe(model: AnyClassifier, images, batch_size: int = 128) -> tuple[np.ndarray, list[np.ndarray]]:
    """The features that the answers rest on (N, F) float32, and each head's probabilities (N, classes) float32.

    Larger images are cropped to their middle; nothing else is changed, and no value depends
    on the batch. images: (N, 3, S, S) uint8, an array, a store reader or Rows. Raises InputError when
    they are smaller than the network's.
    """
    model.eval()
    device = next(model.parameters()).device
    size = model.image_size
    features, parts = [np.zeros((0, model.feature_dim), np.float32)], []
    source = Rows(images, np.arange(len(images)))
    for start in range(0, len(images), batch_size):
        batch = source.values(slice(start, start + batch_size))
        crops = centre_crop(batch, size)
        pooled = model.pooled(to_float(crops).to(device))
        features.append(pooled.flatten(1).cpu().numpy())
        parts.append([answer.softmax(dim=1).cpu().numpy() for answer in model.answer(pooled)])
    if not parts:
        parts = [[np.zeros((0, answer.out_features), np.float32) for answer in model.answers]]
    return np.concatenate(features), [np.concatenate(head) for head in zip(*parts, strict=True)]
