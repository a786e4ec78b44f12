"""Retrieval scores: cross-modal retrieval of the speech embeddings, image retrieval of the fakes.

Similarity is the cosine. Tied items share a rank: they count as one threshold in average
precision (as in scikit-learn) and as their mean in precision at k, so that neither the order of a
file nor a constant embedding can raise a score.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from s2igan.catalog import Catalog
from s2igan.errors import InputError

# Q queries, G gallery items, D dimensions

BLOCK = 256  # queries at once: 256 x 30,000 similarities are 30 MiB


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Average precision of each row: sum over thresholds of (gain in recall) x precision.

    Equal to scikit-learn's `average_precision_score` row by row. The threshold of a relevant item is its score; of how
    many items pass it, two sorted rows tell.

    scores: (Q, G), higher is nearer, -inf leaves an item out if it is not relevant; relevant:
    (Q, G) bool, one at least in each row. Returns (Q,) float64.
    """
    found = np.empty(len(scores))
    for query, row in enumerate(scores):
        own, everything = np.sort(row[relevant[query]]), np.sort(row)  # ascending
        passed, all_passed = (len(part) - np.searchsorted(part, own) for part in (own, everything))
        found[query] = (passed / all_passed).mean()
    return found


def _ranked(scores: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Relevance from the nearest item on, (Q, G) bool, and each item's last tied position.

    The second is None where nothing is tied.
    """
    order = np.argsort(-scores, axis=1)  # ties may fall as they like: see `last`
    hits = np.take_along_axis(relevant, order, axis=1)
    ranked = np.take_along_axis(scores, order, axis=1)
    tied = ranked[:, 1:] == ranked[:, :-1]
    if not tied.any():
        return hits, None
    size = hits.shape[1]
    last = np.broadcast_to(np.arange(size), hits.shape).copy()
    last[:, :-1][tied] = size  # not the end of its group: take the next end to the right
    return hits, np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]


def chance_average_precision(relevant: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Expected average precision of a random order; exact, so no simulation is needed.

    With R relevant of n items, position k is relevant with probability R/n, and each of the k - 1
    before it with p = (R - 1)/(n - 1); summed over k: p + (1 - p) (1 + 1/2 + … + 1/n) / n.

    relevant: R >= 1, gallery: n >= R, both int of one shape. Returns float64 of that shape.
    """
    relevant, gallery = np.broadcast_arrays(np.asarray(relevant), np.asarray(gallery))
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, gallery.max(initial=1) + 1))])
    p = (relevant - 1) / np.maximum(gallery - 1, 1)
    return p + (1 - p) * harmonic[gallery] / gallery


def tied_average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Expected average precision where items of one score stand in a random order: scores (G,), relevant (G,) bool.

    Of n tied items with r relevant ones, behind N others with R, place k is relevant with probability r / n, and
    holds then (R + 1 + (k - 1)(r - 1)/(n - 1)) / (N + k) in expectation. All tied, it is `chance_average_precision`.
    """
    total, before, before_relevant = 0.0, 0, 0
    for score in np.unique(scores)[::-1]:
        tied = scores == score
        n, r = int(tied.sum()), int(relevant[tied].sum())
        k = np.arange(1, n + 1)
        total += r / n * ((before_relevant + 1 + (k - 1) * (r - 1) / max(n - 1, 1)) / (before + k)).sum()
        before, before_relevant = before + n, before_relevant + r
    return total / int(relevant.sum())


def speaker_control(catalog: Catalog) -> dict[str, float]:
    """What is reached by one who knows only who speaks, and what each speaker spoke of in training: mAP and counts.

    A test image ranks by how often its class was described in training by the caption's speaker; those that tie are
    in a random order, so that it is chance for speakers unheard, and where no class is. Only for captions whose
    speaker is known; nothing where there are none.
    """
    group_of = catalog.group_of()
    spoke_of = Counter(
        (caption.speaker, group_of[caption.image]) for caption in catalog.training_captions() if caption.recording
    )
    gallery = np.array([group_of[image.key] for image in catalog.images_in("test")])
    asked = Counter((c.speaker, group_of[c.image]) for c in catalog.split("test") if c.recording and c.speaker)
    if not asked:
        return {}
    found = {
        (speaker, group): tied_average_precision(np.array([spoke_of[speaker, of] for of in gallery]), gallery == group)
        for speaker, group in asked
    }
    mean = sum(found[query] * count for query, count in asked.items()) / asked.total()
    return {"speech_to_image_map_speaker": mean, "speaker_captions": asked.total()}


def _unit_rows(features: np.ndarray, what: str) -> np.ndarray:
    """Rows of length 1, float32. Raises InputError on NaN, infinity or a row of zeros."""
    features = np.asarray(features, dtype=np.float32)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    bad = ~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"retrieval: row {row} of the {what} is zero, NaN or infinite; check the encoder's output")
    return features / norms


def _similarities(query: np.ndarray, gallery: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Cosines of unit rows, a block of queries at a time: (slice, (block, G))."""
    for start in range(0, len(query), BLOCK):
        rows = slice(start, min(start + BLOCK, len(query)))
        yield rows, query[rows] @ gallery.T


def cross_modal_retrieval(
    query: np.ndarray,
    gallery: np.ndarray,
    query_classes: Sequence,
    gallery_classes: Sequence,
    query_pairs: np.ndarray,
) -> dict[str, float]:
    """Retrieval of one modality by another, e.g. images by spoken captions; `map` to `r10` are in [0, 1].

    - `map`: mean over queries of average precision; relevant = every item of the query's class.
    - `map_chance`: the same for a random order, exactly.
    - `r1`, `r5`, `r10`: share of queries whose own item (not merely one of its class) is among
      the nearest 1, 5, 10; with several own items, the nearest of them. Ties count against.
    - `median_rank`: median of that own item's rank, 1 is best.

    query: (Q, D), gallery: (G, D); classes: (Q,) and (G,) names or numbers; query_pairs: (Q,) row
    of the own item in the gallery, or (Q, m) with -1 as filling. Memory grows with G, not Q·G.
    Raises InputError on NaN or zero rows.
    """
    query, gallery = _unit_rows(query, "queries"), _unit_rows(gallery, "gallery")
    query_classes, gallery_classes = np.asarray(query_classes), np.asarray(gallery_classes)
    pairs = np.asarray(query_pairs).reshape(len(query), -1)  # (Q, m)
    precisions, chances, ranks = [], [], []
    for rows, scores in _similarities(query, gallery):
        relevant = query_classes[rows, None] == gallery_classes[None, :]
        precisions.append(average_precision(scores, relevant))
        chances.append(chance_average_precision(relevant.sum(axis=1), len(gallery)))
        own = np.take_along_axis(scores, np.maximum(pairs[rows], 0), axis=1)
        own = np.where(pairs[rows] < 0, -np.inf, own)
        best = own.max(axis=1, keepdims=True)
        # Own items do not push each other back, so of tied ones only strangers count against.
        ranks.append((scores >= best).sum(axis=1) - (own == best).sum(axis=1) + 1)
    ranks = np.concatenate(ranks)
    return {
        "map": float(np.concatenate(precisions).mean()),
        "map_chance": float(np.concatenate(chances).mean()),
        "r1": float((ranks <= 1).mean()),
        "r5": float((ranks <= 5).mean()),
        "r10": float((ranks <= 10).mean()),
        "median_rank": float(np.median(ranks)),
    }


def precision_at(
    query: np.ndarray,
    gallery: np.ndarray,
    query_classes: Sequence,
    gallery_classes: Sequence,
    ks: Sequence[int],
) -> list[float]:
    """Mean over queries of the share of the k nearest that are of the query's class, for each k.

    query: (Q, D), gallery: (G, D), k from 1 to G. Raises InputError on NaN or zero rows.
    """
    query, gallery = _unit_rows(query, "queries"), _unit_rows(gallery, "gallery")
    query_classes, gallery_classes = np.asarray(query_classes), np.asarray(gallery_classes)
    ks = np.asarray(ks, dtype=np.int64)
    total = np.zeros(len(ks))
    for rows, scores in _similarities(query, gallery):
        hits, last = _ranked(scores, query_classes[rows, None] == gallery_classes[None, :])
        hits = hits.astype(np.float64)
        if last is not None:  # a tied item is as relevant as its group is on average
            groups = last + len(gallery) * np.arange(len(hits))[:, None]
            sizes = np.bincount(groups.ravel(), minlength=groups.size)
            sums = np.bincount(groups.ravel(), hits.ravel(), minlength=groups.size)
            hits = (sums / np.maximum(sizes, 1))[groups]
        total += (np.cumsum(hits, axis=1)[:, ks - 1] / ks).sum(axis=0)
    return (total / len(query)).tolist()


def choose_queries(image_keys: Sequence[str], classes: Sequence, *, per_class: int = 2, seed: int = 0) -> np.ndarray:
    """Rows of `per_class` random images of each class, ordered by class, then key.

    The chosen keys depend on the seed and on the keys of their own class alone: neither on the
    order of the list nor on what other classes there are.

    image_keys, classes: (N,). Returns (classes · per_class,) int. Raises InputError naming a
    class with too few images.
    """
    image_keys = np.asarray(image_keys, dtype=str)
    classes = np.asarray(classes)
    chosen = []
    for name in np.unique(classes):
        rows = np.flatnonzero(classes == name)
        if len(rows) < per_class:
            raise InputError(
                f"class {name}: {len(rows)} image(s), {per_class} are needed as queries; "
                "add images, leave the class out of the test split, or ask for fewer queries"
            )
        rows = rows[np.argsort(image_keys[rows])]
        rng = np.random.default_rng([seed, zlib.crc32(str(name).encode())])
        chosen.append(rows[np.sort(rng.choice(len(rows), per_class, replace=False))])
    return np.concatenate(chosen)


def image_retrieval_map(
    query_features: np.ndarray,
    query_classes: Sequence,
    query_images: Sequence[str],
    fake_features: np.ndarray,
    fake_classes: Sequence,
    fake_images: Sequence[str],
    same_images: bool,
) -> tuple[float, float]:
    """Mean average precision of real images that query generated ones; relevant = same class.

    same_images=False (`map`): the gallery is every fake except, for each query, those made from
    the query image's own captions. same_images=True (`map_same_images`, the authors' protocol):
    the gallery is only the fakes made from the captions of the query images, own ones included.

    Returns the score, and its exact expectation for a random order.
    query_features: (Q, F), fake_features: (G, F) of one encoder; *_images: the image key a query
    is, or a fake's caption speaks of. Raises InputError naming a query with nothing to find.
    Source: Wang et al. 2020 (S2IGAN), section 2.4 (queries: two random images of each test class).
    """
    query_features = _unit_rows(query_features, "query features")
    fake_features = _unit_rows(fake_features, "fake features")
    query_classes, query_images, fake_classes, fake_images = map(
        np.asarray, (query_classes, query_images, fake_classes, fake_images)
    )
    if same_images:
        kept = np.isin(fake_images, query_images)
        fake_features, fake_classes, fake_images = fake_features[kept], fake_classes[kept], fake_images[kept]
    precisions, chances = [], []
    for rows, scores in _similarities(query_features, fake_features):
        relevant = query_classes[rows, None] == fake_classes[None, :]
        if not same_images:
            own = query_images[rows, None] == fake_images[None, :]
            scores[own] = -np.inf
            relevant &= ~own
        found = relevant.sum(axis=1)
        if not found.all():
            row = rows.start + int(np.flatnonzero(found == 0)[0])
            raise InputError(
                f"{query_images[row]}: no generated image of class {query_classes[row]} is left "
                "to find; generate from the captions of at least two images of each class"
            )
        precisions.append(average_precision(scores, relevant))
        chances.append(chance_average_precision(found, np.isfinite(scores).sum(axis=1)))
    return float(np.concatenate(precisions).mean()), float(np.concatenate(chances).mean())
