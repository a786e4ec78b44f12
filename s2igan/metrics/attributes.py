"""Attribute scores of drawn birds: does the image show what the caption says?

A judge (see `classifier`) reads the colour of each part off an image; this file only counts.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from s2igan.errors import InputError

# N images, P parts; a colour is its number in the list of colours, -1 says nothing

NORMAL_975 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


def wilson_interval(successes: int, trials: int, z: float = NORMAL_975) -> tuple[float, float]:
    """Wilson score interval of a share, 95 % by default; (0, 1) when nothing was tried.

    Stays within [0, 1] and keeps its coverage near 0 and 1. Source: Wilson 1927.
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return float(max(0.0, (centre - half) / scale)), float(min(1.0, (centre + half) / scale))


def share(right: np.ndarray) -> dict:
    """Share, Wilson interval and count of a boolean array; share None when it is empty."""
    successes, trials = int(right.sum()), int(right.size)
    return {
        "share": successes / trials if trials else None,
        "interval": list(wilson_interval(successes, trials)),
        "count": trials,
    }


def named_colours(named: Sequence[Mapping[str, str]], parts: Sequence[str], colours: Sequence[str]) -> np.ndarray:
    """Numbers of the colours that captions name: (N, P) int, -1 where a part is not named.

    named: part -> colour, a mapping a caption. Raises InputError for an unknown part or colour.
    """
    numbers = np.full((len(named), len(parts)), -1, dtype=np.int64)
    part_number = {part: i for i, part in enumerate(parts)}
    colour_number = {colour: i for i, colour in enumerate(colours)}
    for row, caption in enumerate(named):
        for part, colour in caption.items():
            if part not in part_number:
                raise InputError(f"part {part!r}: unknown; the parts are {', '.join(parts)}")
            if colour not in colour_number:
                raise InputError(f"colour {colour!r} of {part}: unknown; the colours are {', '.join(colours)}")
            numbers[row, part_number[part]] = colour_number[colour]
    return numbers


def part_colour_accuracy(
    read: np.ndarray,
    named: np.ndarray,
    parts: Sequence[str],
    colours: int,
    truth: np.ndarray | None = None,
) -> dict:
    """How often a part that the caption names has the colour it names.

    `accuracy`: mean over parts of each part's share, so that often-named parts weigh no more;
    `pooled`: share of all readings with its Wilson 95 % interval and count; `parts`: the same a
    part (share None where no caption names it); `chance`: 1 / colours. With truth (the drawn
    bird's colours) `all_parts` holds the same over all parts, named or not.

    read, named, truth: (N, P) int in [0, colours), -1 in named where the caption is silent
    (`named_colours` makes it). Raises InputError on shapes that differ, a reading out of range,
    or captions that name nothing.
    """
    read, named = np.asarray(read), np.asarray(named)
    if read.ndim != 2 or read.shape != named.shape or read.shape[1] != len(parts):
        raise InputError(
            f"attributes: readings {read.shape}, captions {named.shape}, {len(parts)} parts; "
            "give one reading an image and part"
        )
    if read.size and not (0 <= read.min() and read.max() < colours > named.max()):
        raise InputError(f"attributes: a colour number is not within 0 to {colours - 1}")
    mentioned = named >= 0
    if not mentioned.any():
        raise InputError("attributes: no caption names a part's colour; nothing can be scored")
    right = read == named
    by_part = {part: share(right[mentioned[:, p], p]) for p, part in enumerate(parts)}
    shares = [score["share"] for score in by_part.values() if score["count"]]
    scores = {
        "accuracy": float(np.mean(shares)),
        "chance": 1 / colours,
        "pooled": share(right[mentioned]),
        "parts": by_part,
    }
    if truth is not None:
        scores["all_parts"] = part_colour_accuracy(read, truth, parts, colours)
    return scores


def keyword_scores(
    before: np.ndarray,
    after: np.ndarray,
    part: np.ndarray,
    new_colour: np.ndarray,
    kept_reference: np.ndarray | None = None,
) -> dict:
    """The paper's Figure 3 as numbers: change a colour word, and only that part may change.

    `keyword_changed`: share of pairs whose 'after' image shows the new colour on the named part;
    `keyword_changed_before`: the same of the 'before' image, the level to compare with;
    `keyword_kept`: share of the other parts that are read alike before and after. Each with its
    Wilson 95 % interval and count.

    before, after: (N, P) int readings; part, new_colour: (N,) int. kept_reference: (N, P) int to
    compare the other parts with in place of `before`, -1 leaves a part out.
    Raises InputError on shapes that differ or a part out of range.
    """
    before, after = np.asarray(before), np.asarray(after)
    part, new_colour = (np.asarray(numbers, dtype=np.int64) for numbers in (part, new_colour))  # also where empty
    reference = before if kept_reference is None else np.asarray(kept_reference)
    if before.ndim != 2 or not before.shape == after.shape == reference.shape:
        raise InputError(f"keyword scores: readings {before.shape} and {after.shape}; give pairs of images")
    if not part.shape == new_colour.shape == (len(before),):
        raise InputError(
            f"keyword scores: {part.size} parts and {new_colour.size} colours for {len(before)} pairs; give one a pair"
        )
    if part.size and not (0 <= part.min() and part.max() < before.shape[1]):
        raise InputError(f"keyword scores: a part is not within 0 to {before.shape[1] - 1}")
    rows = np.arange(len(before))
    other = np.ones(before.shape, dtype=bool)
    other[rows, part] = False
    other &= reference >= 0
    return {
        "keyword_changed": share(after[rows, part] == new_colour),
        "keyword_changed_before": share(before[rows, part] == new_colour),
        "keyword_kept": share((after == reference)[other]),
    }
