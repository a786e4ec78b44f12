"""Pictures, sound and curves as text within one file of HTML."""

# S size, T samples

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from s2igan.figures import as_image, draw_columns, measured, plotting, png
from s2igan.speech.audio import decode, encode_flac

EXACT = 128  # pixels: larger images are stored with loss
QUALITY = 88
MOST_SECONDS = 10  # of one sound: a recording may take minutes
INK = "#010203"  # stands for the page's own colour of text, in light and in dark


def data_uri(kind: str, content: bytes) -> str:
    """A file within the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture(pixels: np.ndarray) -> str:
    """A uint8 image (3, S, S)."""
    image = as_image(pixels)
    return data_uri("image/png", png(image)) if image.width <= EXACT else _jpeg(image)


def figure(path: str | Path) -> str:
    """A picture file, at a fraction of its size."""
    with Image.open(path) as image:
        return _jpeg(image.convert("RGB"))


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=QUALITY, subsampling=0)
    return data_uri("image/jpeg", buffer.getvalue())


def sound(flac: bytes, name: str) -> tuple[str, float]:
    """What the store has of an utterance, its first MOST_SECONDS where it is longer; and how long it all is, in s."""
    samples, rate = decode(flac, name)
    if len(samples) > MOST_SECONDS * rate:
        flac = encode_flac(samples[: MOST_SECONDS * rate], rate)
    return data_uri("audio/flac", flac), len(samples) / rate


def curve(table: Mapping[str, np.ndarray], x: str, names: Sequence[str]) -> str:
    """SVG of the table's columns `names` over column `x`, those without a number left out; "" where none has one.

    Equal tables, equal text: without date, version, or address of a name space.
    """
    pyplot = plotting()
    names = [name for name in measured(table, names) if len(table[name])]
    if not names:
        return ""
    inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    style: dict = {"svg.fonttype": "none", "svg.hashsalt": "/".join((x, *names)), **dict.fromkeys(inks, INK)}
    with pyplot.rc_context(style):
        panel, axis = pyplot.subplots(figsize=(4.6, 2.9))
        draw_columns(axis, table, x, names)
        axis.spines[["top", "right"]].set_visible(False)
        panel.tight_layout()
        buffer = io.StringIO()
        panel.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(panel)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>| xmlns(:\w+)?=\"[^\"]*\"", "", text[text.index("<svg") :], flags=re.DOTALL)
    return text.replace(INK, "currentColor")
