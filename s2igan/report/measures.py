"""The scores that people ask for first, in order and in words, as metrics/*.json has them."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from s2igan.errors import InputError
from s2igan.metrics.evaluation import distance_names
from s2igan.table1 import PUBLISHED

COLUMNS = {
    "score": "",
    "chance": "what guessing gives; of a changed word, what the judge reads before the change",
    "untrained": "the same network at initialisation",
    "shuffled": "the trained network, each image exchanged for that of another caption's speech",
    "oracle": "a ceiling: a perfect listener, and the true renderer",
    "real": "real images in place of generated ones; for distances, precision and recall, those of training",
    "published": "the paper's, of this data set and size; its FID is most likely another implementation's",
}
MEASURES = {
    "Does speech find its image?": {
        "speech_to_image_map": "speech finds images of its class, mAP",
        "image_to_speech_map": "images find speech of their class, mAP",
        "speech_to_image_map_speaker": "… by a listener who knows only the speaker, mAP",
        "speech_to_image_r1": "speech finds its own image first",
        "speech_to_image_r5": "… among the first 5",
        "speech_to_image_r10": "… among the first 10",
        "median_rank": "median rank of the own image",
    },
    "Are the images good, and of the right class?": {
        "map": "real images find generated ones of their class, mAP",
        "map_same_images": "the same by the authors' protocol, mAP",
        "fid": "Fréchet distance",
        "fjd": "joint Fréchet distance of image and speech",
        "kid": "kernel distance",
        "fd_classifier": "Fréchet distance, our classifier",
        "is_mean": "Inception score",
        "precision": "precision",
        "recall": "recall",
        "precision_classifier": "precision, our classifier",
        "recall_classifier": "recall, our classifier",
    },
    "Do the images show what was said?": {
        "part_colour_accuracy": "parts in the spoken colour",
        "part_colour_accuracy_all_parts": "all parts in their class's colour",
        "keyword_changed": "a changed colour word changes its part",
        "keyword_kept": "… and leaves the other parts",
        "attention_in_words": "a part's attention lies in the words that name it",
    },
}
# What stands beside a score under a name of its own.
BESIDE = {
    ("part_colour_accuracy", "chance"): "colour_chance",
    ("part_colour_accuracy_all_parts", "chance"): "colour_chance",
    ("part_colour_accuracy", "real"): "judge_accuracy",
    ("keyword_changed", "chance"): "keyword_changed_before",
}
PAPER_SIZE = 256  # pixels of the paper's images


def read_scores(folder: str | Path = "metrics") -> dict[str, Any]:
    """What the *.json of `folder` have, by name. Raises InputError for one that is damaged."""
    found: dict[str, Any] = {}
    for path in sorted(Path(folder).glob("*.json")):
        try:
            found |= json.loads(path.read_text())
        except (ValueError, TypeError):
            raise InputError(f"{path}: not a file of scores; run `dvc repro` to make it anew") from None
    return found


def shown(value: float) -> str:
    """A score in words: three digits, or as many as its integer part has."""
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3}f}"


def less_is_better(key: str) -> bool:
    """Whether a score is a distance or a rank."""
    return bool(re.match(r"fid|fjd|kid|fd_|kd_|.*median_rank", key))


def arrow(key: str) -> str:
    """Where better is."""
    return "↓" if less_is_better(key) else "↑"


def labels(scores: Mapping[str, Any], wanted: Collection[str] = ()) -> dict[str, dict[str, str]]:
    """The measures of each group that `scores` have, by their names there; distances say whose features they are of.

    Of the `wanted` ones alone, by the keys of MEASURES, where any are given.
    """
    encoder = scores.get("fid_encoder", "")
    named = dict(zip(("fid", "fjd", "kid"), distance_names(encoder), strict=True))
    found = {
        group: {
            named.get(key, key): f"{label}, {encoder}" if key in named else label
            for key, label in measures.items()
            if scores.get(named.get(key, key)) is not None and (not wanted or key in wanted)
        }
        for group, measures in MEASURES.items()
    }
    return {group: there for group, there in found.items() if there}


def tables(scores: Mapping[str, Any], published: Mapping[str, str]) -> dict[str, dict[tuple[str, str], dict[str, str]]]:
    """Group -> (key, label) of each measure -> column -> text; without the columns that a group has nothing for."""
    made = {}
    for group, there in labels(scores).items():
        rows = {key: {column: _cell(scores, published, key, column) for column in COLUMNS} for key in there}
        used = [column for column in COLUMNS if any(row[column] for row in rows.values())]
        made[group] = {(key, there[key]): {column: row[column] for column in used} for key, row in rows.items()}
    return made


def value(scores: Mapping[str, Any], key: str, column: str) -> float | None:
    """The score `key`, or what stands beside it in a column of COLUMNS; None where there is no such number."""
    if column == "chance" and (recall := re.fullmatch(r"speech_to_image_r(\d+)", key)):
        return min(1.0, int(recall[1]) / scores["images"])
    return scores.get(BESIDE.get((key, column), key if column == "score" else f"{key}_{column}"))


def _cell(scores: Mapping[str, Any], published: Mapping[str, str], key: str, column: str) -> str:
    if column == "published":
        return published.get(key, "")
    found = value(scores, key, column)
    return "" if found is None else shown(found)


def published_scores(dataset: str, system: str, size: int, scores: Mapping[str, Any]) -> dict[str, str]:
    """The paper's figures that these may be compared with: of its data sets, at its size, with the field's FID."""
    places = {"cub": 0, "oxford102": 1}
    if dataset not in places or system not in PUBLISHED or size != PAPER_SIZE or "fid" not in scores:
        return {}
    figures = PUBLISHED[system][places[dataset]].split(" / ")
    named = dict(zip(("map_same_images", "fid", "is_mean"), figures, strict=False))
    per_cent = named.pop("map_same_images")
    return named if per_cent == "–" else {"map_same_images": shown(float(per_cent) / 100), **named}
