"""What metrics/report.html shows of a run, from the files that its stages left. What a data set lacks is left out."""

# N captions, P parts, C colours, G images of the test

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from s2igan.catalog import SPLITS, Caption, Catalog, count_classes, read_catalog
from s2igan.datasets.drawn.grammar import read
from s2igan.figures import CURVES, read_curves, sample_captions, words
from s2igan.metrics.attributes import named_colours
from s2igan.metrics.classifier import AnyClassifier, load_classifier, predict
from s2igan.models import hash_files
from s2igan.pipeline import Pipeline
from s2igan.report.embedded import MOST_SECONDS, curve, figure, picture, sound
from s2igan.report.measures import COLUMNS, arrow, published_scores, shown, tables
from s2igan.sen.embedding import caption_embeddings, image_embeddings
from s2igan.store import FixedReader, ImageReader, RaggedReader
from s2igan.vision.transforms import centre_crop

NEAREST = 5  # images that a caption finds
FIGURES = {
    "generated": "Images drawn from test captions, evenly spaced; none was picked by hand.",
    "rdg_training": "The same captions and noise as training went on.",
    "dataset": "Images of the data set.",
}
RETRIEVAL = {"Retrieval, precision at k": ("speech_to_image", "image_to_speech")}
PACKAGES = ("torch", "torchvision", "torchaudio", "timm", "numpy", "espeakng-loader", "coqui-tts", "dvc")
HASHED = ("params.yaml", "data/catalog/images.csv", "data/catalog/captions.csv", "models/[!.]*/*.safetensors")
CONDITIONS = {
    "clean": "as it is",
    "unseen_voices": "in voices unheard in training",
    "seen_voices": "in voices of training",
    "other_engine": "by another speech engine",
}
JUDGED = "mean probability that the judge gives to the colours that the caption names"
HEARD = (
    "cosine of the caption with the nearest test image of its {kind}, less that with the nearest other one; "
    "above 0, it finds its {kind} first"
)


class Run:
    """The files of one run in this folder, and its networks on `device`."""

    def __init__(self, device: torch.device):
        self.device = device
        self.catalog: Catalog = read_catalog("data/catalog")
        self.pipeline = Pipeline(device=device)
        judge, self.names = load_classifier(Path("models/judge"), "judge")
        self.judge: AnyClassifier | None = judge if judge is None else judge.to(device)
        self.scores = {
            name: json.loads(Path(f"metrics/{name}.json").read_text()) for name in ("sen", "eval", "attributes")
        }
        self.params_text = Path("params.yaml").read_text(encoding="utf-8") if Path("params.yaml").is_file() else ""
        self.params: Mapping = yaml.safe_load(self.params_text) or {}
        self.group_of = self.catalog.group_of()
        self.kind = "class" if any(image.class_name for image in self.catalog.images) else "image"
        self.gallery = [image.key for image in self.catalog.images_in("test")]

    def content(self, samples: int, captions: int, seed: int) -> dict:
        """All of the page: `samples` captions and keyword pairs, `captions` of the best and as many of the worst."""
        catalog, numbers = self.catalog, {**self.scores["attributes"], **self.scores["eval"], **self.scores["sen"]}
        system = self.params.get("system", "")
        published = published_scores(catalog.dataset, system, self.pipeline.shape[-1], numbers)
        scores = tables(numbers, published)
        return {
            "title": ", ".join(filter(None, (catalog.dataset, system, f"seed {seed}"))),
            "about": self.about(),
            "tables": scores,
            "arrow": arrow,
            "controls": {
                column: text
                for column, text in COLUMNS.items()
                if text and any(column in row for rows in scores.values() for row in rows.values())
            },
            "protocol": {name: found["protocol"] for name, found in self.scores.items() if len(found) > 1},
            "cards": self.cards(samples, seed),
            "most_seconds": MOST_SECONDS,
            "kind": self.kind,
            "keyword": self.keyword(samples),
            "extremes": self.extremes(captions),
            "parts": self.parts(),
            "robustness": robustness(),
            "curves": [(title, svg) for title, svg in training_curves() if svg],
            "figures": {
                text: figure(path)
                for name, text in FIGURES.items()
                if (path := Path(f"metrics/figures/{name}.png")).is_file()
            },
            "parameters": self.params_text,
            "versions": {name: version(name) for name in PACKAGES},
            "hashes": hashes(),
        }

    def about(self) -> dict[str, str]:
        """What was run, in words."""
        catalog, speech = self.catalog, self.pipeline.config.get("speech") or {}
        counts = []
        for split in SPLITS:
            spoken, images = catalog.split(split), catalog.images_in(split)
            classes = count_classes(images)
            counts.append(
                f"{split}: {len(images)} images"
                + f" of {classes} classes" * bool(classes)
                + f", {len(spoken)} captions"
            )
        speakers = {caption.speaker for caption in catalog.split("test")} - {""}
        languages = sorted({caption.language for caption in catalog.captions} - {""})
        engine = "none: it reads text" if self.pipeline.reads_text else speech.get("engine", "")
        if voices := speech.get("test_voices"):
            engine += f", {len(voices)} voices in the test: {', '.join(voices)}"
        rdg, heard = self.params.get("rdg", {}), self.pipeline.config.get("parameters", {}).get("captions")
        learned = [f"{heard} captions (SEN)"] if heard else []
        learned += [f"{rdg['images']} images (RDG)"] if "images" in rdg else []
        rows = {
            "data set": catalog.dataset,
            "images and captions": "; ".join(counts),
            "held out": f"{catalog.disjoint} of the test are not in training",
            "system": self.params.get("system", ""),
            "speech": engine,
            "speakers in the test": str(len(speakers) or ""),
            "languages": ", ".join(languages),
            "drawn at": " → ".join(map(str, self.pipeline.sizes)) + " pixels",
            "learned from": ", ".join(learned) + ", counted as often as they come" * bool(learned),
            "precision of training": self.scores["eval"].get("rdg_precision", ""),
        }
        return {name: text for name, text in rows.items() if text}

    def cards(self, count: int, seed: int) -> list[dict]:
        """Captions, what was drawn from them at each scale, and the test images nearest to them."""
        picked = sample_captions(self.catalog, count)
        keys = [caption.key for caption in picked]
        speech = caption_embeddings(keys, self.device, places=True)
        seeds = self.pipeline.seeds([key + noise for key in keys for noise in "ab"], seed)  # as in samples.png
        drawn = self.pipeline.draw(np.repeat(speech, 2, axis=0), seeds)
        cosines = (speech if speech.ndim == 2 else speech[:, 0]) @ self.seen.T
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
        wanted = [*(self.gallery[i] for i in nearest.ravel()), *(caption.image for caption in picked)]
        real = dict(zip(wanted, self.real(wanted), strict=True))
        made = []
        for i, caption in enumerate(picked):
            own = self.group_of[caption.image]
            made.append({
                "words": words(caption),
                "sound": self.sound(caption),
                "real": real[caption.image],
                "drawn": [(scale.shape[-1], picture(scale[2 * i])) for scale in drawn],
                "again": picture(drawn[-1][2 * i + 1]),
                "found": [
                    {
                        "picture": real[self.gallery[j]],
                        "cosine": shown(float(cosines[i, j])),
                        "right": self.group_of[self.gallery[j]] == own,
                        "own": self.gallery[j] == caption.image,
                        "name": self.group_of[self.gallery[j]],
                    }
                    for j in nearest[i]
                ],
            })  # fmt: skip
        return made

    @cached_property
    def seen(self) -> np.ndarray:
        """The test images in SEN's space, unit vectors (G, D)."""
        return image_embeddings(self.pipeline.sen, self.gallery, self.device)

    def real(self, keys: Sequence[str]) -> list[str]:
        """Images of the data set, cut as the drawn ones are."""
        with ImageReader("data/images.h5") as images:
            found = images.values([images.index(key) for key in keys])
        return [picture(pixels) for pixels in centre_crop(found, self.pipeline.shape[-1]).numpy()]

    def sound(self, caption: Caption) -> dict | None:
        """What the networks heard, to play; None where they read."""
        if self.pipeline.reads_text:
            return None
        with RaggedReader("data/speech.h5", "speech") as speech:
            row = speech.index(caption.key)
            uri, seconds = sound(speech.value(row).tobytes(), caption.key)
            who = caption.speaker if caption.recording else speech.column("voice")[row]
        return {"uri": uri, "seconds": f"{seconds:.1f} s", "cut": seconds > MOST_SECONDS, "who": who}

    def extremes(self, count: int) -> dict:
        """The best and the worst captions of those that were drawn, by a measure that is told."""
        spoken = {caption.key: caption for caption in self.catalog.captions}
        with FixedReader("data/generated.h5", "generated") as generated:
            keys = generated.keys
            values = self._margins(keys) if self.judge is None else self._agreement()
            order = np.argsort(-values, kind="stable")
            order = order[np.isfinite(values[order])]  # not without a named colour, or another class's image
            count = min(count, len(order) // 2)
            made: dict = {
                "measure": HEARD.format(kind=self.kind) if self.judge is None else JUDGED,
                "of": len(keys),
                "best": [],
                "worst": [],
            }
            if not count:
                return made
            for name, rows in {"best": order[:count], "worst": order[len(order) - count :][::-1]}.items():
                captions = [spoken[keys[row]] for row in rows]
                drawn = [picture(pixels) for pixels in generated.values(rows)]
                made[name] = [
                    {
                        "words": words(caption),
                        "value": f"{values[row]:.3f}",
                        "drawn": image,
                        "real": real,
                        "note": self._misread(row),
                    }
                    for caption, row, image, real in zip(
                        captions, rows, drawn, self.real([caption.image for caption in captions]), strict=True
                    )
                ]
        return made

    def _margins(self, keys: Sequence[str]) -> np.ndarray:
        cosines = caption_embeddings(keys, self.device) @ self.seen.T  # (N, G)
        groups = np.array([self.group_of[key] for key in self.gallery])
        own = np.array([self.group_of[key.rsplit("/", 1)[0]] for key in keys])[:, None] == groups
        return np.where(own, cosines, -np.inf).max(axis=1) - np.where(own, -np.inf, cosines).max(axis=1)

    @cached_property
    def readings(self) -> tuple[np.ndarray, np.ndarray]:
        """The judge's probabilities of the generated images (N, P, C), and the colours said (N, P), -1 if none is."""
        text_of = {caption.key: caption.text for caption in self.catalog.captions}
        with FixedReader("data/generated.h5", "generated") as generated:
            answers = np.stack(predict(self.judge, generated), axis=1)
            said = [read(text_of[key]) for key in generated.keys]
        return answers, named_colours(said, self.names["parts"], self.names["colours"])

    def _agreement(self) -> np.ndarray:
        """The judge's mean probability (N,) of the colours that a caption names, NaN where it names none."""
        answers, named = self.readings
        of_named = np.take_along_axis(answers, named.clip(0)[..., None], axis=2)[..., 0]
        return np.ma.array(of_named, mask=named < 0).mean(axis=1).filled(np.nan)

    def _misread(self, row: int) -> str:
        """The parts of one generated image that the judge, if there is one, reads otherwise than they were said."""
        if self.judge is None:
            return ""
        answers, named = self.readings
        found, parts, colours = answers[row].argmax(axis=1), self.names["parts"], self.names["colours"]
        wrong = [p for p in range(len(parts)) if named[row, p] not in (-1, found[p])]
        return "; ".join(f"{parts[p]} {colours[named[row, p]]}, read {colours[found[p]]}" for p in wrong)

    def parts(self) -> dict | None:
        """Of each part, how often the judge reads real images right and generated ones as said; and what it reads."""
        if self.judge is None:
            return None
        (answers, named), colours = self.readings, self.names["colours"]
        scores, made = self.scores["attributes"], []
        for p, part in enumerate(self.names["parts"]):
            rows = named[:, p] >= 0
            counts = np.zeros((len(colours), len(colours)), np.int64)
            np.add.at(counts, (named[rows, p], answers[rows, p].argmax(axis=1)), 1)
            shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
            made.append({
                "part": part, "real": scores["judge_parts"][part], "generated": scores["parts"][part],
                "said": [
                    (colour, list(zip(count.tolist(), share.tolist(), strict=True)))
                    for colour, count, share in zip(colours, counts, shares, strict=True)
                ],
            })  # fmt: skip
        return {"parts": made, "colours": colours}

    def keyword(self, count: int) -> list[dict]:
        """Pairs of the keyword test, with what the judge reads."""
        with (
            FixedReader("data/keyword_before.h5", "generated") as before,
            FixedReader("data/keyword_after.h5", "generated") as after,
        ):
            count = min(count, len(before))
            if not count:
                return []
            many = slice(0, count)
            pairs = before.values(many), after.values(many)
            texts, said, parts, old, new = (
                before.column(name)[many] for name in ("caption", "text", "part", "old", "new")
            )
        made = [
            {"words": t, "after_words": s, "part": p, "old": o, "new": n, "before": picture(b), "after": picture(a)}
            for t, s, p, o, n, b, a in zip(texts, said, parts, old, new, *pairs, strict=True)
        ]
        if self.judge is not None:
            first, then = (
                np.stack([part.argmax(axis=1) for part in predict(self.judge, images)], axis=1) for images in pairs
            )
            for row, pair in enumerate(made):
                part = self.names["parts"].index(pair["part"])
                other = np.delete(first[row] == then[row], part)
                pair["read"] = self.names["colours"][then[row, part]]
                pair["right"] = pair["read"] == pair["new"]
                pair["kept"] = f"{other.sum()} of {len(other)}"
        return made


def robustness() -> list[dict]:
    """What is left of retrieval by condition, then by language; nothing where the encoder reads text."""
    table = pd.read_csv("metrics/robustness.tsv", sep="\t").to_dict("records")
    languages = json.loads(Path("metrics/robustness.json").read_text()).get("languages", {})
    return [row | {"told": _condition(row)} for row in table] + [
        row | {"told": f"as it is, in {name}"} for name, row in languages.items()
    ]


def _condition(row: Mapping) -> str:
    noisy = not math.isnan(row["snr_db"])
    disturbed = f"noise {row['snr_db']:g} dB below the speech" if noisy else f"{row['rate']:g} times as fast"
    return CONDITIONS.get(row["condition"], disturbed)


def training_curves() -> list[tuple[str, str]]:
    """Title and SVG of each panel that the stages left numbers for."""
    made = []
    curves = {f"{training}_training": of_it for training, of_it in CURVES.items()} | {"retrieval": ("k", RETRIEVAL)}
    for name, (x, panels) in curves.items():
        path = Path(f"metrics/{name}.tsv")
        if path.is_file():
            table = read_curves(path)
            made += [(title, curve(table, x, names)) for title, names in panels.items()]
    return made


def hashes() -> list[tuple[str, str, str]]:
    """What the run was made of and made: file, count of numbers in a network, first digits of the SHA-256."""
    made = []
    for path in (path for pattern in HASHED for path in sorted(Path().glob(pattern))):
        count = f"{_numbers(path):,}" if path.suffix == ".safetensors" else ""
        made.append((path.as_posix(), count, hash_files(path)))
    return made


def _numbers(path: Path) -> int:
    """How many numbers a safetensors file holds, by its header."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
