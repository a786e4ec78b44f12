"""Choosing some of many by name alone: stable when others come or go, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def draw(names: Iterable[str], count: int, seed: int, purpose: str) -> set[str]:
    """`count` of `names` (all where there are fewer), each as likely as the next.

    A name's place in the order comes from a hash of it, `seed` and `purpose`, so that a further name
    changes the choice by one at most.
    """
    return set(sorted(set(names), key=lambda name: _order(name, seed, purpose))[:count])


def limit(names: Iterable[str], most: int, seed: int, purpose: str) -> list[str]:
    """The names, sorted; where `most` is not 0, at most so many of them, drawn by `draw`."""
    names = set(names)
    return sorted(draw(names, most, seed, purpose) if most else names)


def _order(name: str, seed: int, purpose: str) -> bytes:
    return hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()
