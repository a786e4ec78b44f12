"""Speech-to-image generation. For Python programs: `s2igan.load("models")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from s2igan.api import Models


def load(models: str | Path = "models", device: str | None = None) -> Models:
    """The trained models in the folder `models` (with `rdg` and `rdg_sen`), ready to hear and draw.

    `device` is torch's name of one, such as "cuda"; None takes `$S2IGAN_DEVICE`, the first GPU, or the CPU.
    Raises `s2igan.errors.InputError` where a model is missing or damaged.
    """
    from s2igan.api import Models  # here: it takes torch along, and every stage imports this package

    return Models(models, device)
