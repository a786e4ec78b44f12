"""Speech embedding network: two encoders with one space, and a classifier that both share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2igan.errors import InputError
from s2igan.models import load_model, load_state, save_model
from s2igan.options import choice, fill, integer, number
from s2igan.sen.conv_lstm_encoder import ConvLSTMEncoder
from s2igan.sen.image_encoder import CentredFeatures, ImageProjection
from s2igan.sen.losses import Objective
from s2igan.sen.pooled_encoder import PooledEncoder
from s2igan.sen.speech_encoder import SpeechEncoder, SpeechEncoderConfig, Window
from s2igan.sen.text_encoder import CharacterEncoder

# B batch, T frames, M mel bands, P places, R regions, F image features, D embedding, N classes

ENCODERS = ("conv_gru", "li2020", "pooled", "char_cnn_rnn")
INPUTS = ("log_mel", "speech_features")
WIDE = 256  # features of a frame beyond which fewer utterances are read at a time
OBJECTIVES = ("matching", "joint_embedding")
IMAGE_PROJECTIONS = ("linear", "none")


@dataclass(frozen=True)
class SENConfig:
    """What SEN is made of, beside the sizes of the paper's speech encoder (`SpeechEncoderConfig`)."""

    feature_dim: int  # of the frozen image features
    classes: int  # of the classifier of eq. 5; 0 leaves it out
    encoder: str = choice(ENCODERS, "of speech; char_cnn_rnn: of text instead", default="conv_gru")
    input: str = choice(INPUTS, "of conv_gru, pooled; speech_features: layers of a frozen encoder", default="log_mel")
    width: float = number(0, min_open=True, help="of the other encoders; 1: whole", default=1.0)
    dropout: float = number(0, 1, max_open=True, help="of pooled, before each of its layers", default=0.0)
    image_projection: str = choice(IMAGE_PROJECTIONS, "none: features", default="linear")
    image_dropout: float = number(0, 1, max_open=True, help="of the features before that layer", default=0.0)
    objective: str = choice(OBJECTIVES, "what pulls matched pairs together", default="matching")
    smoothing: float = number(0, min_open=True, help="beta of eq. 1", default=10.0)
    matching_weight: float = number(0, default=1.0)
    distinctive_weight: float = number(0, help="0 leaves the classifier out", default=1.0)
    places: int = integer(0, help="of an utterance that the generator attends to; 0: none", default=0)
    place_reach: int = integer(0, help="frames to each side that a place hears, twice; 0: all", default=0)
    region_weight: float = number(0, help="of matching places with regions of the image", default=0.0)
    text_pools: int = integer(0, 3, help="convolutions of char_cnn_rnn that are pooled", default=3)


class SEN(nn.Module):
    """Dual encoder of section 2.2 and the objective that it learns by.

    `speech` is one of ENCODERS, built; `image` maps frozen features into the same space, `CentredFeatures`
    where they are that space. `classes` 0 leaves the classifier of eq. 5 out. `places` is how many of an utterance
    are heard beside its embedding.
    """

    def __init__(self, speech: nn.Module, image: nn.Module, classes: int, objective: Objective, places: int):
        super().__init__()
        self.places = places
        self.speech = speech
        self.image = image
        self.objective = objective
        self.classifier = nn.Linear(speech.embedding_dim, classes) if classes else None

    def forward(self, speech: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Embed and classify matched pairs, from what the speech encoder made of them.

        speech embeddings (B, D), image features (B, F) -> speech (B, D), image (B, D), speech logits (B, N),
        image logits (B, N); N is 0 without a classifier.
        """
        image = self.image(features)
        if self.classifier is None:
            return speech, image, speech[:, :0], image[:, :0]
        return speech, image, self.classifier(speech), self.classifier(image)

    def hear(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Utterances as a generator takes them, from the speech encoder's input (B, T, M) of lengths (B,).

        Embeddings (B, D) of length 1; where there are places, (B, 1 + P, D): the embedding, then its places
        (`Encoder.with_places`), unit vectors, and zeros where there is none.
        """
        if not self.places:
            return F.normalize(self.speech(x, lengths), dim=1)
        embedding, places = self.speech.with_places(x, lengths, self.places)
        return torch.cat([F.normalize(embedding, dim=1)[:, None], places], dim=1)


def sentence(heard: Tensor) -> Tensor:
    """Of what `SEN.hear` returned, with places or without, the embeddings (B, D)."""
    return heard if heard.ndim == 2 else heard[:, 0]


def count_places(heard: np.ndarray) -> np.ndarray:
    """Of what `SEN.hear` returned with places (B, 1 + P, D), how many each utterance has, (B,)."""
    return heard[:, 1:].any(axis=2).sum(axis=1)


def build_sen(config: Mapping, seed: int = 0) -> SEN:
    """Build the network that `config` describes, with weights drawn from `seed` alone.

    config: fields of SENConfig and SpeechEncoderConfig. What is not given is the paper's; other keys are left alone.
    """
    values = fill(SENConfig, config)
    projected = values.image_projection == "linear"
    size = values.feature_dim
    with torch.random.fork_rng(devices=[]):  # leave the caller's generator as it was
        torch.default_generator.manual_seed(seed)
        # Unprojected, the features are the space, and the encoder ends in their size.
        output_dim = 0 if projected else size
        if values.encoder == "conv_gru":
            speech = SpeechEncoder(fill(SpeechEncoderConfig, config), output_dim)
        elif values.encoder == "li2020":
            speech = ConvLSTMEncoder(values.width, output_dim)
        elif values.encoder == "pooled":
            sizes = fill(SpeechEncoderConfig, config)
            speech = PooledEncoder(sizes.layers * sizes.bands, values.width, values.dropout, output_dim)
        else:
            speech = CharacterEncoder(values.width, output_dim, values.text_pools)
        image = (
            ImageProjection(size, speech.embedding_dim, values.image_dropout) if projected else CentredFeatures(size)
        )
        model = SEN(speech, image, values.classes, fill(Objective, config), values.places)
        if values.places and values.place_reach:
            speech.window = Window(*speech.widths, values.place_reach)
        return model


def class_labels(classes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Outputs of the shared classifier: class numbers (n,) -> their places among `known`, which ascend, else -1."""
    return np.where(np.isin(classes, known), np.searchsorted(known, classes), -1)


def is_text_encoder(config: dict) -> bool:
    """Whether the encoder of this configuration takes text and not speech."""
    return config.get("encoder") == "char_cnn_rnn"


def speech_file(config: dict) -> str:
    """The file, data/<kind>.h5, that the speech encoder of this configuration takes."""
    return "data/speech_features.h5" if config.get("input") == "speech_features" else "data/logmel.h5"


def heard_by(config: dict) -> list[str]:
    """A clause of a protocol: which frozen encoder heard the speech, and whether it knew text; none for log-mels."""
    if "speech_features" not in config:
        return []
    found = config["speech_features"]
    layers = ", ".join(map(str, found["layers"]))
    text = "self-supervised, it never saw text"
    if found["trained_with"] != "speech":
        text = "trained with text, so that nothing here speaks for a language without writing"
    return [f"speech heard by {found['model']}, layers {layers}, weights {found['weights_hash']}: {text}"]


def in_blocks(rows: Sequence[int] | np.ndarray, width: int, most: int) -> Iterator[Sequence[int] | np.ndarray]:
    """Captions in `rows`, as many at a time as to have in memory: `most`, or fewer where a frame has over WIDE numbers.

    One block without a row where there are none.
    """
    size = max(128, min(most, most * WIDE // width))
    for start in range(0, max(1, len(rows)), size):
        yield rows[start : start + size]


def save_sen(folder: Path | str, model: SEN, config: dict) -> None:
    """Write the network's weights and `config`, atomically.

    config: what `build_sen` needs, and what a reader must know to feed the network (image encoder,
    its input size and weights hash, log-mel settings); plain JSON values.
    """
    save_model(folder, "sen", _modules(model), config)


def load_sen(folder: Path | str) -> tuple[SEN, dict]:
    """Read what `save_sen` wrote: the network in evaluation mode and its configuration.

    Raises InputError if the folder holds no SEN, or weights that do not fit their configuration.
    """
    config, states = load_model(folder, "sen")
    model = build_sen(config)
    for name, module in _modules(model).items():
        load_state(module, states.get(name, {}), Path(folder) / f"{name}.safetensors")
    return model.eval(), config


def _modules(model: SEN) -> dict[str, nn.Module]:
    modules = {"speech": model.speech, "image": model.image, "classifier": model.classifier}
    return {name: module for name, module in modules.items() if module is not None and module.state_dict()}


def embed_speech(
    model: SEN, log_mels: Sequence[np.ndarray], batch_size: int = 128, unit: bool = True, places: bool = False
) -> np.ndarray:
    """Embed utterances, each a log-mel (t, M), to float32 unit vectors (N, D) in input order.

    With `places`, to what a generator takes, (N, 1 + P, D) where the network has places (`SEN.hear`).

    An embedding does not depend on its neighbours or on `batch_size`, to float tolerance: a network that was built
    with `mask_padding=False` sees one utterance at a time, as in the published export. Without `unit` it has the
    length that the encoder gives it, which the joint embedding loss looks at, and nothing else. Raises InputError
    for an utterance too short.
    """
    lengths = np.array([len(log_mel) for log_mel in log_mels], np.int64)
    short = np.flatnonzero(lengths < model.speech.min_frames)
    if len(short):
        raise InputError(
            f"utterance {short[0]}: {lengths[short[0]]} frames; the speech encoder needs "
            f"{model.speech.min_frames}, so leave out or lengthen the recording"
        )
    if not getattr(model.speech, "mask_padding", True):
        batch_size = 1
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    shape = (1 + model.places,) if places and model.places else ()
    embeddings = np.empty((len(log_mels), *shape, model.speech.embedding_dim), np.float32)
    order = np.argsort(lengths, kind="stable")  # neighbours in length need little padding
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            padded, frames = pad([log_mels[row] for row in rows])
            hear = model.hear if shape else model.speech
            embedded = hear(padded.to(device), frames)
            embeddings[rows] = (F.normalize(embedded, dim=1) if unit and not shape else embedded).cpu().numpy()
    model.train(was_training)
    return embeddings


def pad(log_mels: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Stack log-mels (t, M) of any length: float32 (B, T, M) with zeros behind, lengths (B,)."""
    lengths = [len(log_mel) for log_mel in log_mels]
    padded = np.zeros((len(log_mels), max(lengths), log_mels[0].shape[1]), np.float32)
    for row, log_mel in enumerate(log_mels):
        padded[row, : lengths[row]] = log_mel
    return torch.from_numpy(padded), torch.tensor(lengths)
