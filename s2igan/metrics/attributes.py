"""Attribute scores of drawn birds: does the image show what the caption says?

A judge (see `classifier`) reads the colour of each part off an image; this file only counts.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from s2igan.errors import InputError

# N images, P parts; a colour is its number in the list of colours, -1 says nothing


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson score interval of a share, 95 %; (0, 1) when nothing was tried.

    Stays within [0, 1] and keeps its coverage near 0 and 1. Source: Wilson 1927.
    """
    if trials == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # slow to import

    return tuple(binomtest(successes, trials).proportion_ci(0.95, method="wilson"))


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

    named: part -> colour, a mapping a caption.
    """
    numbers = np.full((len(named), len(parts)), -1, dtype=np.int64)
    for row, caption in enumerate(named):
        for part, colour in caption.items():
            numbers[row, list(parts).index(part)] = list(colours).index(colour)
    return numbers


def part_colour_accuracy(read: np.ndarray, named: np.ndarray, parts: Sequence[str], colours: int) -> dict:
    """How often a part that the caption names has the colour it names.

    `accuracy`: mean over parts of each part's share, so that often-named parts weigh no more;
    `pooled`: share of all readings with its Wilson 95 % interval and count; `parts`: the same a
    part (share None where no caption names it); `chance`: 1 / colours.

    read, named: (N, P) int in [0, colours), -1 in named where the caption is silent (`named_colours` makes it).
    Raises InputError for captions that name nothing.
    """
    mentioned = named >= 0
    if not mentioned.any():
        raise InputError("attributes: no caption names a part's colour; nothing can be scored")
    right = read == named
    by_part = {part: share(right[mentioned[:, p], p]) for p, part in enumerate(parts)}
    shares = [score["share"] for score in by_part.values() if score["count"]]
    return {
        "accuracy": float(np.mean(shares)),
        "chance": 1 / colours,
        "pooled": share(right[mentioned]),
        "parts": by_part,
    }


def keyword_scores(before: np.ndarray, after: np.ndarray, part: np.ndarray, new_colour: np.ndarray) -> dict:
    """The paper's Figure 3 as numbers: change a colour word, and only that part may change.

    `keyword_changed`: share of pairs whose 'after' image shows the new colour on the named part;
    `keyword_changed_before`: the same of the 'before' image, the level to compare with;
    `keyword_kept`: share of the other parts that are read alike before and after. Each with its
    Wilson 95 % interval and count.

    before, after: (N, P) int readings; part, new_colour: (N,) int.
    """
    part, new_colour = (np.asarray(numbers, dtype=np.int64) for numbers in (part, new_colour))  # also where empty
    rows = np.arange(len(before))
    other = np.ones(before.shape, dtype=bool)
    other[rows, part] = False
    return {
        "keyword_changed": share(after[rows, part] == new_colour),
        "keyword_changed_before": share(before[rows, part] == new_colour),
        "keyword_kept": share((after == before)[other]),
    }
