"""Does what a part's place attends to lie in the time of that part's words? Of drawn birds, read aloud by eSpeak."""

# N captions, H parts, P places in time, S size of the attention's plane

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from s2igan.catalog import Catalog
from s2igan.datasets.drawn.grammar import named_at
from s2igan.figures import evenly
from s2igan.metrics.attributes import share
from s2igan.metrics.classifier import load_classifier
from s2igan.rdg.model import load_generator
from s2igan.rdg.sampling import draw_with_attention
from s2igan.sen.embedding import caption_embeddings
from s2igan.sen.model import count_places
from s2igan.speech.engine import create_engine
from s2igan.store import FixedReader, RaggedReader
from s2igan.vision.transforms import to_float

CAPTIONS = 300  # at most, of the generated ones
PROTOCOL = (
    "attention: what the last stage attends to where the judge looks for a part, summed over the places in time whose "
    "middle lies in the words that name the part and its colour",
    "attention_in_words_other: the same words, from where the judge looks for the other parts that the caption names",
)


def attention_scores(catalog: Catalog, device: torch.device) -> dict:
    """Scores of a generator that attends, where a judge and the times of words are known; else none.

    Redraws up to CAPTIONS of data/generated.h5 from the captions, models/rdg and models/rdg_sen.
    """
    model, config = load_generator("models/rdg")
    if not model.attention or config["sen"]["speech"].get("engine") != "espeak":
        return {}
    judge, names = load_classifier("models/judge", "judge")
    if judge is None:
        return {}
    engine = create_engine("espeak", **config["sen"]["speech"]["options"])
    with RaggedReader("data/speech.h5", "speech") as speech:
        voice_of = dict(zip(speech.keys, speech.column("voice"), strict=True))
    with FixedReader("data/generated.h5", "generated") as generated:
        rows = evenly(range(len(generated)), CAPTIONS)
        seed_of = generated.column("seed")
        keys, seeds = [generated.keys[row] for row in rows], [seed_of[row] for row in rows]
    heard = caption_embeddings(keys, device, places=True)
    images, weights = draw_with_attention(model, heard, seeds, device)
    with torch.inference_mode():
        looks = F.interpolate(judge.looks_at(to_float(torch.from_numpy(images))), weights.shape[1:3], mode="bilinear")
    text_of = {caption.key: caption.text for caption in catalog.captions}
    counts = count_places(heard)
    inside = [
        words_in_time(text_of[key], engine.word_times(text_of[key], voice_of[key]), names["parts"], count)
        for key, count in zip(keys, counts, strict=True)
    ]
    return in_words(attention_of_parts(weights, looks.numpy()), inside)


def words_in_time(
    text: str, times: Sequence[tuple[int, float, float]], parts: Sequence[str], count: int
) -> dict[int, np.ndarray]:
    """For each part that a caption names, by its number, which of `count` equal stretches of it are its words, (P,).

    times: where each word begins in the text, when it begins and ends. A stretch counts by its middle; a part whose
    words have the middle of none is left out.
    """
    middles = (np.arange(count) + 0.5) / count * times[-1][2]
    found = {}
    for part, spans in named_at(text).items():
        said = [(begin, end) for at, begin, end in times if any(start <= at < stop for start, stop in spans)]
        inside = np.array([any(begin <= middle < end for begin, end in said) for middle in middles])
        if inside.any():
            found[parts.index(part)] = inside
    return found


def attention_of_parts(weights: np.ndarray, looks: np.ndarray) -> np.ndarray:
    """Attention (N, S, S, P) where someone looks for each part (N, H, S, S) -> of each part (N, H, P), 1 in all."""
    looks = looks / looks.sum(axis=(2, 3), keepdims=True)
    return np.einsum("nhij,nijp->nhp", looks, weights)


def in_words(attention: np.ndarray, inside: Sequence[dict[int, np.ndarray]]) -> dict:
    """How much of each named part's attention (N, H, P) lies in its words, (P,) at most of each part of a caption.

    `_chance` is the words' share of the utterance, `_most` how often the stretch most attended to is in the words.
    """
    own, other, chance, most = [], [], [], []
    for of_parts, words in zip(attention, inside, strict=True):
        for part, within in words.items():
            where = np.flatnonzero(within)
            own.append(of_parts[part, where].sum())
            other += [of_parts[another, where].sum() for another in words if another != part]
            chance.append(within.mean())
            most.append(within[of_parts[part, : len(within)].argmax()])
    if not own:
        return {}
    return {
        "attention_in_words": float(np.mean(own)),
        "attention_in_words_chance": float(np.mean(chance)),
        "attention_in_words_other": float(np.mean(other)) if other else None,
        "attention_most": share(np.array(most)),
        "attention_protocol": list(PROTOCOL),
    }
