"""How much of retrieval by speech is left when the speech is disturbed, or comes from other voices."""

# N captions, G images, D embedding size, t frames, M mel bands

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from s2igan.catalog import UNKNOWN_LANGUAGE, Caption
from s2igan.errors import InputError
from s2igan.metrics.retrieval import cross_modal_retrieval
from s2igan.speech.disturbance import CLEAN, Disturbance

SCORES = ("map", "r1", "r5", "r10", "median_rank")
RECALL_AT = (1, 5, 10)


def conditions(snr_db: Sequence[float], rates: Sequence[float], noise: str) -> list[Disturbance]:
    """Clean speech, each SNR (`snr20`) and each speaking rate (`rate0.8`).

    Raises InputError for a value given twice.
    """
    wanted = [
        CLEAN,
        *(Disturbance(f"snr{value:g}", snr_db=value, noise=noise) for value in snr_db),
        *(Disturbance(f"rate{value:g}", rate=value) for value in rates),
    ]
    names = [condition.name for condition in wanted]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise InputError(f"robustness: condition {repeated[0]} is asked for twice; give each SNR and rate once")
    return wanted


@dataclass(frozen=True)
class Gallery:
    """The images that captions look for: keys, what each counts as (`Catalog.group_of`), embeddings (G, D)."""

    images: Sequence[str]
    groups: Sequence[str]
    embeddings: np.ndarray


def embed_by_condition(
    spoken: Iterable[tuple[str, Mapping[str, np.ndarray]]],
    embed: Callable[[list[np.ndarray]], np.ndarray],
    block: int = 256,
) -> dict[str, dict[str, np.ndarray]]:
    """(key, log-mel (t, M) by condition) of each utterance -> embedding (D,) by condition and key, in order.

    `embed` turns log-mels into embeddings; it gets `block` of them at a time, so that no more log-mels than
    that are held for each condition.
    """
    waiting: dict[str, dict[str, np.ndarray]] = {CLEAN.name: {}}
    embedded: dict[str, dict[str, np.ndarray]] = {CLEAN.name: {}}

    def embed_waiting(name: str) -> None:
        if part := waiting.pop(name):
            rows = embed(list(part.values()))
            embedded.setdefault(name, {}).update(zip(part, rows, strict=True))

    for key, log_mels in spoken:
        for name, log_mel in log_mels.items():
            waiting.setdefault(name, {})[key] = log_mel
            if len(waiting[name]) == block:
                embed_waiting(name)
    for name in list(waiting):
        embed_waiting(name)
    return embedded


def robustness_scores(
    gallery: Gallery,
    captions: Sequence[Caption],
    wanted: Sequence[Disturbance],
    embeddings: Mapping[str, Mapping[str, np.ndarray]],
    voices: Sequence[str],
    trained: Collection[str],
) -> tuple[dict, list[dict]]:
    """Scores of every condition under flat names, `<condition>_<score>`, and a row a condition for the plot.

    `embeddings` (D,) by condition and caption; a caption without, since it cannot take each condition, is left out
    and counted. `voices` is who speaks each caption, "" where nobody knows, `trained` who speaks in training. Voices
    are compared on clean speech: captions in voices unseen in training with the same ones said again, in seen voices
    (`embeddings["seen_voices"]`). Where there are none, captions in unseen voices are compared with others in seen
    voices; without any in one of the two groups there are counts alone. Captions that another engine said, if any
    (`embeddings["other_engine"]`), are a group of their own. `languages` has the scores of each language's
    clean captions, where there are several, in all and by whether training heard their voices.
    """
    taken = [row for row, caption in enumerate(captions) if caption.key in embeddings[CLEAN.name]]
    counts = {"captions": len(taken), "captions_left_out": len(captions) - len(taken), "images": len(gallery.images)}
    if not taken:
        return counts, []
    captions, voices = [captions[row] for row in taken], [voices[row] for row in taken]

    def embedded(name: str, rows: Iterable[int]) -> np.ndarray:
        return np.stack([embeddings[name][captions[row].key] for row in rows])

    all_rows = np.arange(len(captions))
    clean = embedded(CLEAN.name, all_rows)
    scores: dict = {}
    table = []
    for condition in wanted:
        found = _scores(gallery, captions, embedded(condition.name, all_rows), all_rows)
        scores |= {f"{condition.name}_{score}": found[score] for score in SCORES}
        table.append({"condition": condition.name, "snr_db": condition.snr_db, "rate": condition.rate, **found})
    again = embeddings.get("seen_voices", {})
    if len(rows := np.flatnonzero([caption.key in again for caption in captions])):
        groups = {"unseen_voices": (rows, clean[rows]), "seen_voices": (rows, embedded("seen_voices", rows))}
    else:
        groups = {name: (rows, clean[rows]) for name, rows in by_voice(voices, trained).items()}
    scored = list(groups) if all(len(rows) for rows, _ in groups.values()) else []
    other = embeddings.get("other_engine", {})
    if len(rows := np.flatnonzero([caption.key in other for caption in captions])):
        groups["other_engine"] = (rows, embedded("other_engine", rows))
        scored.append("other_engine")
    for name, (rows, speech) in groups.items():
        if name in scored:
            found = _scores(gallery, captions, speech, rows)
            scores |= {f"{name}_{score}": found[score] for score in (*SCORES, "map_chance")}
            table.append({"condition": name, "snr_db": None, "rate": 1.0, **found})
        scores[f"{name}_captions"] = len(rows)
    scores[f"{CLEAN.name}_map_chance"] = table[0]["map_chance"]
    # In a random order each image is as likely as the next to be in a place.
    searched = len(gallery.images)
    scores |= {f"r{k}_chance": min(k, searched) / searched for k in RECALL_AT}
    scores |= counts | {"voices": len(set(voices) - {""})}
    languages = np.array([caption.language or UNKNOWN_LANGUAGE for caption in captions])
    names = sorted(set(languages.tolist()))
    if len(names) > 1:
        heard = by_voice(voices, trained)
        scores["languages"] = {}
        for name in names:
            rows = np.flatnonzero(languages == name)
            of_language = scores["languages"][name] = _scores(gallery, captions, clean[rows], rows)
            for group, of_group in heard.items():
                if len(both := np.intersect1d(rows, of_group)):
                    of_language[group] = _scores(gallery, captions, clean[both], both)
    return scores, table


def to_say_again(captions: Sequence[Caption], voices: Sequence[str], trained: Collection[str]) -> list[Caption]:
    """The captions that an engine said, so they have no recording, in a voice that training did not hear."""
    spoken = zip(captions, voices, strict=True)
    return [caption for caption, voice in spoken if not caption.recording and voice not in trained]


def by_voice(voices: Sequence[str], trained: Collection[str]) -> dict[str, np.ndarray]:
    """Rows by whether training heard the voice; an unknown one, "", is in neither group."""
    return {
        "unseen_voices": np.flatnonzero([bool(voice) and voice not in trained for voice in voices]),
        "seen_voices": np.flatnonzero([bool(voice) and voice in trained for voice in voices]),
    }


def _scores(gallery: Gallery, captions: Sequence[Caption], speech: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """SCORES, chance and count of some captions, `rows`, with embeddings `speech`; the gallery is whole.

    `map`: relevant = the images of the caption's group, which is its class, or its own image alone where the data set
    has no classes. R@k and median rank: its own image.
    """
    row_of = {key: row for row, key in enumerate(gallery.images)}
    own = np.array([row_of[captions[row].image] for row in rows])
    groups = [gallery.groups[row] for row in own]
    found = cross_modal_retrieval(speech, gallery.embeddings, groups, gallery.groups, own)
    return {**{score: found[score] for score in SCORES}, "map_chance": found["map_chance"], "captions": len(rows)}
