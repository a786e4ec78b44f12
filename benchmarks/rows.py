"""The rows of `make bench`: what is done here, beside the usual way to do it. `benchmarks.__main__` runs them.

A row's two sides run in turn in one process, and their medians count. Where a peer computes a number, both numbers
must be equal, or the row fails.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import click
import numpy as np
import soundfile
import torch
from PIL import Image
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks import memory, training
from s2igan.machine import device, fast_bfloat16
from s2igan.metrics.frechet import frechet_distance, gaussian_statistics
from s2igan.metrics.retrieval import BLOCK, average_precision
from s2igan.options import fill
from s2igan.pipeline import Pipeline
from s2igan.rdg.batches import BatchConfig, ImageTable, TrainingSet
from s2igan.rdg.model import RDG, RDGConfig
from s2igan.sen import training as sen_training
from s2igan.sen.model import build_sen, pad, save_sen
from s2igan.speech.engine import create_engine, options_for
from s2igan.speech.extraction import log_mels
from s2igan.speech.recordings import transcode
from s2igan.speech.synthesis import synthesize
from s2igan.store import FixedReader, FixedWriter, ImageReader, ImageWriter, RaggedReader, RaggedWriter
from s2igan.vision.encoders import encode_images

RATE, BANDS = 22050, 40
EPOCH = 8832  # captions of SEN's epoch on CUB: 69 batches of 128
COLOURS = ["red", "bright yellow", "dark grey", "brown", "white", "black", "pale blue", "green"]
PARTS = ["crown", "belly", "wings", "tail", "back", "throat", "breast", "nape"]
BILLS = ["short", "long", "curved", "pointed", "thick", "tiny"]


@dataclass(frozen=True)
class Options:
    """How a row is measured: `quick` for tiny sizes, `large` for the data stages at CUB's size."""

    quick: bool = False
    large: bool = False
    published: Path | None = None
    batch: int = 4  # images of RDG's step
    rounds: int = 3

    def size(self, whole: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else whole

    def config(self, system: str = "s2igan") -> dict:
        """The configuration at scale=paper, or smoke."""
        from dag import composed  # of the tests, which benchmarks.memory makes known

        return composed(f"scale={'smoke' if self.quick else 'paper'}", f"system={system}")


@dataclass(frozen=True)
class Row:
    """What was measured, of which less is better: `aim` is the least ratio, or without a peer the most of `ours`."""

    name: str
    ours: float
    peer: float | None
    peer_name: str
    unit: str
    aim: float
    note: str = ""  # why the aim is not reached, or what else there is to say

    @property
    def ratio(self) -> float | None:
        """How many times as much the peer takes; None without one."""
        return None if self.peer is None else self.peer / self.ours

    @property
    def reached(self) -> bool:
        """Whether the aim is."""
        return self.ours <= self.aim if self.ratio is None else self.ratio >= self.aim

    def as_dict(self) -> dict:
        """As results.json has it."""
        return {**asdict(self), "ratio": self.ratio}


def seconds_of(function: Callable) -> float:
    """How long a call takes, with what it left a GPU to do."""
    start = time.perf_counter()
    function()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def side_by_side(ours: Callable, peer: Callable, rounds: int) -> tuple[float, float]:
    """Median seconds of each, in turn, after a round that warms up."""
    seconds: tuple[list, list] = ([], [])
    for _ in range(rounds + 1):
        for function, spent in zip((ours, peer), seconds, strict=True):
            spent.append(seconds_of(function))
    return float(np.median(seconds[0][1:])), float(np.median(seconds[1][1:]))


def product_speed(precision: str, size: int) -> float:
    """Operations a second of a matrix product of so many rows and columns."""
    left, right = torch.randn(2, size, size, dtype=getattr(torch, precision), device=device())
    return 2 * size**3 / float(np.median([seconds_of(lambda: left @ right) for _ in range(20)]))


@contextmanager
def one_core() -> Iterator[None]:
    """One thread, for all that computes in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def require_equal(what: str, ours, peer, tolerance: float) -> None:
    """ClickException where they differ by more than this, over the peer's largest value."""
    found = float(np.abs(np.asarray(ours) - np.asarray(peer)).max() / np.abs(peer).max())
    if not found <= tolerance:
        raise click.ClickException(f"{what}: {found:.1e} from the peer's; {tolerance:.0e} is allowed")


def sentences(count: int) -> list[str]:
    """Captions in the manner of the CUB data set, always the same."""
    draw = random.Random(0)
    return [
        f"this bird has a {draw.choice(COLOURS)} {draw.choice(PARTS)}, a {draw.choice(COLOURS)} "
        f"{draw.choice(PARTS)} and a {draw.choice(BILLS)} {draw.choice(COLOURS)} bill"
        for _ in range(count)
    ]


def rdg_step(o: Options) -> Iterator[Row]:
    """A step of RDG, against the authors' code, or else the same networks stepped as it does."""
    if o.published is not None and device().type == "cpu":
        peer_name, peer = "the authors' code, float32", training.published_step(o.published, o.batch, o.quick)
    else:
        peer_name = "the same networks, stepped as published, float32"
        peer = training.step_as_published(o.config("reference"), o.batch)
    published_work = training.work(peer)
    for precision, aim in (("float32", 2.0), ("bfloat16", 3.5)):
        for system in ("s2igan", "reference"):
            step = training.own_step(o.config(system), o.batch, precision)
            ours, theirs = side_by_side(step, peer, o.rounds)
            name = f"RDG, a step of {o.batch}, {precision}, system={system}"
            operations = training.work(step)
            share = operations / ours / product_speed(precision, o.size(2048, 64))
            note = f"{operations / 1e9:.3g} of {published_work / 1e9:.3g} GFLOP, {share:.0%} of a matrix product's rate"
            note += "" if precision == "float32" or fast_bfloat16(device()) else "; no bfloat16 here"
            yield Row(name, ours, theirs, peer_name, "s", aim, note)


class InLoop:
    """Image features for SEN's training, computed whenever they are asked for."""

    def __init__(self, encoder: torch.nn.Module, images: np.ndarray):
        self.encoder, self.images, self.shape = encoder, images, (1, encoder.feature_dim)

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Features (n, 1, F)."""
        return encode_images(self.encoder, self.images[rows])[:, None]


def sen_epoch(o: Options) -> Iterator[Row]:
    """SEN on image features that are there, against the frozen encoder in the loop."""
    config, count, rng = o.config(), o.size(256, 16), np.random.default_rng(0)
    sen, size = config["sen"], config["image_features"]["crop_size"]
    encoder = training.frozen_encoder(config["image_features"]["encoder"], config["image_features"]["input_size"])
    loop = InLoop(encoder, rng.integers(0, 256, (count, 3, size, size), np.uint8))
    recipe = fill(sen_training.Recipe, sen, captions=count, precision="float32")
    rows, nobody = np.arange(count), np.empty(0, np.int64)
    pairs, none = sen_training.Pairs(rows, rows, rows % 2), sen_training.Pairs(nobody, nobody, nobody)
    model = build_sen({**sen, "bands": BANDS, "feature_dim": encoder.feature_dim, "classes": 2})
    with tempfile.TemporaryDirectory() as folder:
        with RaggedWriter(f"{folder}/logmel.h5", "logmel", BANDS, "float16") as out:
            for row, frames in enumerate(utterance_lengths(count)):
                out.append(str(row), rng.normal(size=(frames, BANDS)))
        with FixedWriter(f"{folder}/features.h5", "features", loop.shape, "float32") as out:
            out.append([str(row) for row in rows], loop.values(rows))
        with (
            RaggedReader(f"{folder}/logmel.h5", "logmel") as speech,
            FixedReader(f"{folder}/features.h5", "features") as cached,
        ):

            def peer() -> None:
                with mock.patch.object(sen_training, "PRELOAD_BYTES", 0):
                    sen_training.train(model, speech, loop, pairs, none, recipe)

            seconds = side_by_side(
                lambda: sen_training.train(model, speech, cached, pairs, none, recipe), peer, o.rounds
            )
    ours, theirs = (EPOCH / count * spent for spent in seconds)
    note = f"from {count} captions; what is left is the speech encoder itself, which no cache of features saves"
    yield Row(f"SEN, an epoch of {EPOCH}, cached features", ours, theirs, f"{encoder.name} in the loop", "s", 50, note)


def utterance_lengths(count: int) -> np.ndarray:
    """Frames of utterances: 4 s in the middle, a tenth above 6 s."""
    return np.random.default_rng(0).lognormal(np.log(400), 0.32, count).astype(int).clip(100)


def batches_by_length(o: Options) -> Iterator[Row]:
    """The speech encoder, forwards and backwards, on batches of similar length, against one length for all."""
    lengths, size, rng = utterance_lengths(o.size(EPOCH, 64)), o.size(128, 8), np.random.default_rng(0)
    sen = o.config()["sen"]
    encoder = build_sen({**sen, "bands": BANDS, "feature_dim": 8, "classes": 0}).speech.train()
    chosen = sen_training.epoch_batches(lengths, size, 1, 0, 0)[0][: o.size(3, 2)]
    batches = [[rng.normal(size=(lengths[row], BANDS)) for row in rows] for rows in chosen]

    def learn(least: int) -> None:
        for batch in batches:
            log_mels, frames = pad(batch)
            missing = max(0, least - log_mels.shape[1])
            encoder(torch.nn.functional.pad(log_mels, (0, 0, 0, missing)), frames).sum().backward()

    ours, theirs = side_by_side(lambda: learn(0), lambda: learn(lengths.max()), o.rounds)
    note = f"{len(batches)} batches; {np.mean(lengths) / 100:.1f} s on average, the longest {lengths.max() / 100:.1f} s"
    yield Row(f"speech encoder, batches of {size} by length", ours, theirs, "padded to the longest", "s", 2, note)


def recordings(o: Options) -> Iterator[Row]:
    """Recordings to log-mels in HDF5, as two stages make them, a core."""
    import librosa

    log_mel = {"bands": BANDS, "window_ms": 25.0, "shift_ms": 10.0, "window": "hamming", "normalise": False}
    with tempfile.TemporaryDirectory() as temporary, one_core():
        folder = Path(temporary)
        engine = create_engine("espeak", rate=175)
        files = []
        for i, text in enumerate(sentences(o.size(200, 4))):
            files.append((str(i), folder / f"{i}.wav"))
            soundfile.write(files[-1][1], engine.speak(text, engine.voices()[0]), engine.sample_rate)

        def ours() -> None:
            with RaggedWriter(folder / "speech.h5", "speech", 0, "uint8") as out:
                for key, flac, _ in transcode(files, RATE, 1):
                    out.append(key, memoryview(flac))
            with (
                RaggedReader(folder / "speech.h5", "speech") as speech,
                RaggedWriter(folder / "logmel.h5", "logmel", BANDS, "float16") as out,
            ):
                utterances = ((key, speech.value(row)) for row, key in enumerate(speech.keys))
                for key, frames, _ in log_mels(utterances, {"sample_rate": RATE, **log_mel}, 1):
                    out.append(key, frames)

        def peer() -> None:
            for key, path in files:
                samples, _ = librosa.load(path, sr=RATE)
                mel = librosa.feature.melspectrogram(
                    y=samples, sr=RATE, n_fft=552, hop_length=220, n_mels=BANDS, window="hamming", center=False
                )
                np.save(folder / f"{key}.npy", np.log(mel + 1e-6).T)

        seconds = side_by_side(ours, peer, o.rounds)
        with RaggedReader(folder / "logmel.h5", "logmel") as found:
            require_equal("log-mels", found.value(1), np.load(folder / "1.npy"), 1e-3)
    name, note = f"{len(files)} recordings to log-mels in HDF5, a core", "ours also writes and reads FLAC in between"
    yield Row(name, *seconds, "librosa and .npy", "s", 4, note)


def captions(o: Options) -> Iterator[Row]:
    """Captions to FLAC in HDF5, against the engine alone, a core."""
    tts = o.config()["tts"]
    options = options_for("espeak", tts["rate"], "", "")
    engine, voices = create_engine("espeak", **options), tts["train_voices"]
    spoken = [(str(i), text, voices[i % len(voices)]) for i, text in enumerate(sentences(o.size(300, 4)))]
    with tempfile.TemporaryDirectory() as folder, one_core():

        def ours() -> None:
            with RaggedWriter(f"{folder}/speech.h5", "speech", 0, "uint8") as out:
                for key, flac, _ in synthesize(spoken, "espeak", options, 1):
                    out.append(key, memoryview(flac))

        def peer() -> None:
            for _, text, voice in spoken:
                engine.speak(text, voice)

        seconds = side_by_side(ours, peer, o.rounds)
    yield Row(f"{len(spoken)} captions to FLAC in HDF5, a core", *seconds, "eSpeak NG alone", "s", 0.6)


class Files(torch.utils.data.Dataset):
    """Training items from a JPEG and .npy files each."""

    def __init__(self, folder: Path, count: int, crop_size: int):
        from torchvision.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

        self.folder, self.count = folder, count
        self.transform = Compose(
            [RandomCrop(crop_size), RandomHorizontalFlip(), ToTensor(), Normalize([0.5] * 3, [0.5] * 3)]
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> tuple[Tensor, np.ndarray, list[np.ndarray]]:
        others = [item, *np.random.randint(self.count, size=2)]
        features = [np.load(self.folder / f"features{i}.npy")[np.random.randint(10)] for i in others]
        return self.transform(Image.open(self.folder / f"{item}.jpg")), np.load(self.folder / f"{item}.npy"), features


def training_batches(o: Options) -> Iterator[Row]:
    """Random batches of RDG, from memory and from HDF5, against a DataLoader of files, a core."""
    config, count, rng = o.config(), o.size(480, 16), np.random.default_rng(0)
    load_size, crop_size, batch = config["catalog"]["load_size"], config["image_features"]["crop_size"], o.size(24, 8)
    keys = [str(i) for i in range(count)]
    with tempfile.TemporaryDirectory() as temporary, one_core():
        folder = Path(temporary)
        features, speech = rng.normal(size=(count, 10, 2048)), rng.normal(size=(count, 1024))
        features, speech = features.astype(np.float32), speech.astype(np.float32)
        with ImageWriter(folder / "images.h5") as out:
            for i, key in enumerate(keys):
                small = Image.fromarray(rng.integers(0, 255, (12, 12, 3), np.uint8))
                image = small.resize((load_size * 4 // 3, load_size), Image.Resampling.BICUBIC)
                image.save(folder / f"{key}.jpg", quality=95)
                out.append(key, np.asarray(image).transpose(2, 0, 1))
                np.save(folder / f"{key}.npy", speech[i])
                np.save(folder / f"features{key}.npy", features[i])
        table = ImageTable(np.arange(count), np.arange(count) % 8, [np.array([i]) for i in range(count)])
        settings = fill(
            BatchConfig, config["rdg"], crop_size=crop_size, relation=True, batch_size=batch, matching_captions=0
        )
        loader = torch.utils.data.DataLoader(Files(folder, count, crop_size), batch, shuffle=True, drop_last=True)
        with ImageReader(folder / "images.h5") as images:
            for name, bytes_in_memory in (("memory", 1 << 40), ("HDF5", 0)):
                with mock.patch("s2igan.rdg.batches.IN_MEMORY_BYTES", bytes_in_memory):
                    data = TrainingSet(images, features, speech, table, settings)
                # One batch after another, as training takes them.
                ours, theirs = side_by_side(
                    lambda data=data: deque(map(partial(data.batch, 0), range(len(loader))), maxlen=0),
                    lambda: deque(loader, maxlen=0), o.rounds,
                )  # fmt: skip
                peer_name = "JPEG and .npy, DataLoader"
                yield Row(f"{len(loader)} batches of {batch} from {name}, a core", ours, theirs, peer_name, "s", 5)


def by_pytorch_fid(sets: Sequence[np.ndarray]) -> float:
    """The Fréchet distance of two sets of features (N, F) by pytorch-fid."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    return calculate_frechet_distance(*(x for s in sets for x in (s.mean(axis=0), np.cov(s, rowvar=False))))


def by_torch_fidelity(sets: Sequence[np.ndarray]) -> float:
    """The same by torch-fidelity."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = [fid_features_to_statistics(torch.from_numpy(s)) for s in sets]
    return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]


def by_torchmetrics(sets: Sequence[np.ndarray]) -> float:
    """The same by torchmetrics, in blocks, as it takes images."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    network = torch.nn.Identity()
    network.num_features = sets[0].shape[1]
    metric = FrechetInceptionDistance(feature=network)
    for features, real in zip(sets, (True, False), strict=True):
        for block in torch.from_numpy(features).split(1000):
            metric.update(block, real=real)
    return float(metric.compute())


def frechet(o: Options, peer: Callable[[Sequence[np.ndarray]], float], peer_name: str) -> Iterator[Row]:
    """The Fréchet distance from features to number, against a library."""
    count, width, rng = o.size(50_000, 400), o.size(2048, 64), np.random.default_rng(0)
    sets = [rng.normal(size=(count, width)) * rng.uniform(0.1, 2, width) + shift for shift in (0.0, 0.1)]
    distances = []

    def ours() -> None:
        statistics = [gaussian_statistics(features) for features in sets]
        distances.append(frechet_distance(*statistics[0], *statistics[1]))

    seconds = side_by_side(ours, lambda: distances.append(peer(sets)), o.rounds)
    require_equal("Fréchet distance", distances[0], distances[1], 1e-6)
    covariances = sum(seconds_of(lambda features=features: gaussian_statistics(features)) for features in sets)
    note = f"from features on; ours spends {covariances / seconds[0]:.0%} on covariances"
    yield Row(f"Fréchet distance, {count} x {width}", *seconds, peer_name, "s", 4, note)


def retrieval(o: Options) -> Iterator[Row]:
    """Average precision of queries, against scikit-learn's query by query."""
    from sklearn.metrics import average_precision_score

    queries, gallery, rng = o.size(500, 20), o.size(30_000, 300), np.random.default_rng(0)
    scores = rng.normal(size=(queries, gallery)).astype(np.float32)
    relevant = np.arange(queries)[:, None] % 50 == np.arange(gallery) % 50

    def ours() -> np.ndarray:
        blocks = range(0, queries, BLOCK)
        return np.concatenate([average_precision(scores[i : i + BLOCK], relevant[i : i + BLOCK]) for i in blocks])

    def peer() -> list[float]:
        return [average_precision_score(*row) for row in zip(relevant, scores, strict=True)]

    found: list = []
    seconds = side_by_side(lambda: found.append(ours()), lambda: found.append(peer()), o.rounds)
    require_equal("average precision", found[0], found[1], 1e-12)
    note = f"ours spends {seconds_of(lambda: np.sort(scores, axis=1)) / seconds[0]:.0%} on sorting"
    yield Row(f"mAP, {queries} queries x {gallery}", *seconds, "scikit-learn in a loop", "s", 20, note)


def untrained_models(folder: Path, config: dict) -> Path:
    """What `s2igan speak` needs, with random weights: the folder."""
    log_mel, tts = {"sample_rate": RATE, **config["logmel"]}, config["tts"]
    speech = {"engine": "espeak", "options": options_for("espeak", tts["rate"], "", ""), "sample_rate": RATE}
    speech["test_voices"] = tts["test_voices"]
    image_encoder = {"encoder": "efficientnet_lite0", "weights": "", "weights_hash": "0", "input_size": 64}
    network = {"bands": BANDS, "feature_dim": 1280, "classes": 2, "image_encoder": image_encoder}
    sen = {**config["sen"], **network, "log_mel": log_mel, "speech": speech}
    model = build_sen(sen)
    save_sen(folder / "rdg_sen", model, sen)
    size = model.speech.embedding_dim
    sizes = {"embedding_dim": size, "image_embedding_dim": size, "matching": False, "local": False}
    RDG(fill(RDGConfig, config["rdg"], **sizes)).save(folder / "rdg", {"sen": sen})
    return folder


def draw_warm(o: Options) -> Iterator[Row]:
    """A recording to its image by models in memory, against the generator's forward pass."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = untrained_models(Path(temporary), o.config())
        models = Pipeline(folder, device())
        soundfile.write(folder / "one.wav", models.say([("one", sentences(1)[0], "")])[0], models.sample_rate)
        speech = torch.from_numpy(models.hear(recording=folder / "one.wav").speech[None]).to(device())
        latent = torch.randn(1, models.generator.latent_dim).to(device())

        def ours() -> list[np.ndarray]:
            return models.draw(models.hear(recording=folder / "one.wav").speech[None], [0])

        @torch.inference_mode()
        def peer() -> object:
            return models.generator(latent, speech)

        seconds = side_by_side(ours, peer, 5 * o.rounds)
    name = f"a recording to an image of {models.shape[-1]} pixels, warm"
    yield Row(name, *seconds, "the generator alone", "s", 1 / 1.3)


def speak_cold(o: Options) -> Iterator[Row]:
    """`s2igan speak` in a new process, with models of scale=demo's size, against `import torch` in one."""
    from dag import composed

    with tempfile.TemporaryDirectory() as temporary:
        folder = untrained_models(Path(temporary), composed(f"scale={'smoke' if o.quick else 'demo'}"))
        environment = os.environ | {"PYTHONPATH": str(memory.ROOT)}

        def run(*command: str) -> None:
            subprocess.run([sys.executable, *command], check=True, capture_output=True, env=environment)

        speak = ("-m", "s2igan.cli", "speak", sentences(1)[0], "--models", str(folder), "-o", str(folder / "bird.png"))
        seconds = side_by_side(lambda: run(*speak), lambda: run("-c", "import torch"), o.rounds)
    yield Row("s2igan speak, a new process", *seconds, "import torch", "s", 0.5)


def data_stages(o: Options) -> Iterator[Row]:
    """Of each data stage, the peak of its memory, and how time and memory grow with the captions."""
    images = [40, 80] if o.quick else [100, 1000, *([11_788] if o.large else [])]  # 11,788: CUB
    found = []
    for count in images:
        with tempfile.TemporaryDirectory() as folder:
            found.append(memory.data_stages(Path(folder), count))
    for stage in found[0]:
        seconds, gigabytes = zip(*(stages[stage] for stages in found), strict=True)
        most = memory.CAPTIONS * images[-1]
        yield Row(f"{stage}, memory, {most} captions", gigabytes[-1], None, "", "GiB", 2, f"{seconds[-1]:.0f} s")
        few = "128 items are done in one process, more of them in all"
        for what, values, aim, note in (("time", seconds, 1.05, ""), ("memory", gigabytes, 0.1, few)):
            slope = float(np.polyfit(np.log(images), np.log(values), 1)[0])
            yield Row(f"{stage}, growth of {what} to {most} captions", slope, None, "", "log-log slope", aim, note)


ROWS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "sen_epoch": sen_epoch,
    "batches_by_length": batches_by_length,
    "recordings": recordings,
    "captions": captions,
    "training_batches": training_batches,
    "frechet_pytorch_fid": lambda o: frechet(o, by_pytorch_fid, "pytorch-fid"),
    "frechet_torch_fidelity": lambda o: frechet(o, by_torch_fidelity, "torch-fidelity"),
    "frechet_torchmetrics": lambda o: frechet(o, by_torchmetrics, "torchmetrics"),
    "retrieval": retrieval,
    "draw_warm": draw_warm,
    "speak_cold": speak_cold,
    "data_stages": data_stages,
    "rdg_step": rdg_step,  # last, since the authors' code changes what torch does
}
