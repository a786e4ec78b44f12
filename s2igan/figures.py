"""Images for people: grids of samples with words beside them, and curves."""

# n images, S size

import io
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from s2igan.catalog import Caption, Catalog
from s2igan.files import write_bytes

GAP = 4
MARGIN = 10
SCALES = range(3)
# Of each training: what its curves are drawn over, and which of them share a panel.
CURVES: dict[str, tuple[str, dict[str, Sequence[str]]]] = {
    "sen": (
        "epoch",
        {
            "SEN, losses": ("matching", "distinctive", "regions", "val_matching"),
            "SEN, validation mAP": ("val_map",),
        },
    ),
    "rdg": (
        "images",
        {
            "RDG, discriminators": [f"d_{i}" for i in SCALES],
            "RDG, generator": [f"g_{i}" for i in SCALES],
            "RDG, matching": [f"{player}_matching_{i}" for player in "dg" for i in SCALES],
            "RDG, single places": [f"{player}_local_{i}" for player in "dg" for i in SCALES],
            "RDG, regions": [f"{player}_regions_{i}" for player in "dg" for i in SCALES],
            "RDG, other terms": ("relation", "g_relation", "kl", "sen", "g_competition", "g_contrastive", "g_caption"),
        },
    ),
}
Columns = Mapping[str, Sequence[float] | np.ndarray]
PAPER, INK, FAINT = (255, 255, 255), (35, 35, 35), (120, 120, 120)


def evenly(items: Sequence, count: int) -> list:
    """`count` of the items, or all where there are fewer, evenly spaced: the first, the last, and between them."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


def words(caption: Caption) -> str:
    """What stands beside an image: the caption's text, or its class (image), language and speaker."""
    class_name, *image, _ = caption.key.split("/")
    name = "/".join(image) if class_name == "-" else class_name
    return caption.text or ", ".join(filter(None, (name, caption.language, caption.speaker)))


def sample_captions(catalog: Catalog, count: int) -> list[Caption]:
    """`count` captions of the test split, evenly spaced: as many in each language, each of another image."""
    first: dict[str, dict[str, Caption]] = {}
    for caption in catalog.split("test"):
        first.setdefault(caption.language, {}).setdefault(caption.image, caption)
    languages = evenly(sorted(first), count)
    counts = [count // len(languages) + (i < count % len(languages)) for i in range(len(languages))]
    return [c for name, share in zip(languages, counts, strict=True) for c in evenly(list(first[name].values()), share)]


@cache
def font_file(letters: frozenset[str]) -> str:
    """A font that has all the letters: DejaVu Sans, else the first of this machine; DejaVu Sans where none has."""
    from matplotlib import font_manager  # slow to import
    from matplotlib.ft2font import FT2Font

    def letters_of(file: str) -> set[str]:
        try:
            return set(map(chr, FT2Font(file).get_charmap()))
        except RuntimeError:  # not every file in a folder of fonts is one
            return set()

    of_machine = sorted(font_manager.findSystemFonts(), key=lambda file: ("Regular" not in file, file))
    files = [font_manager.findfont("DejaVu Sans"), *of_machine]
    return next((file for file in files if letters <= letters_of(file)), files[0])


def font_of(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, which has ASCII, or another where the text needs one."""
    own = ImageFont.load_default(size)
    return own if text.isascii() else ImageFont.truetype(font_file(frozenset(text) - set("\n ")), size)


def as_image(pixels: np.ndarray) -> Image.Image:
    """A uint8 image (3, S, S) as Pillow has it."""
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def enlarge(pixels: np.ndarray, size: int) -> Image.Image:
    """A uint8 image (3, S, S) at `size` pixels: small scales by whole pixels, so that they look small."""
    image = as_image(pixels)
    smooth = size / image.width < 2 or size % image.width
    return image.resize((size, size), Image.LANCZOS if smooth else Image.NEAREST)


def grid(
    rows: Sequence[Sequence[np.ndarray]],
    captions: Sequence[str],
    headings: Sequence[str],
    path: str | Path,
    size: int = 128,
    text_width: int = 300,
) -> None:
    """Rows of images (3, S, S), each with its words at the left and one heading a column."""
    columns = max(len(row) for row in rows)
    headings = [textwrap.fill(heading, max(10, size // 7)) for heading in headings]
    head = 10 + 16 * max(heading.count("\n") + 1 for heading in headings) if any(headings) else 0
    width = 2 * MARGIN + text_width + columns * (size + GAP)
    height = 2 * MARGIN + head + len(rows) * (size + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        x = MARGIN + text_width + column * (size + GAP) + size // 2
        font = font_of(heading, 13)
        draw.multiline_text((x, MARGIN), heading, FAINT, font, anchor="ma", spacing=3, align="center")
    for number, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        top = MARGIN + head + number * (size + GAP)
        lines = "\n".join(textwrap.wrap(caption, max(10, text_width // 8)))
        draw.multiline_text((MARGIN, top + size // 2), lines, INK, font_of(lines, 15), anchor="lm", spacing=3)
        for column, pixels in enumerate(row):
            sheet.paste(enlarge(pixels, size), (MARGIN + text_width + column * (size + GAP), top))
    write_bytes(path, png(sheet))


def sheet(images: Sequence[np.ndarray], columns: int, path: str | Path, size: int) -> None:
    """Images (3, S, S) in reading order, `columns` a row."""
    rows = -(-len(images) // columns)
    page = Image.new("RGB", (columns * (size + GAP) + GAP, rows * (size + GAP) + GAP), PAPER)
    for i, pixels in enumerate(images):
        row, column = divmod(i, columns)
        page.paste(enlarge(pixels, size), (GAP + column * (size + GAP), GAP + row * (size + GAP)))
    write_bytes(path, png(page))


def curves(table: Columns, x: str, panels: dict[str, Sequence[str]], path: str | Path) -> None:
    """Lines of the table's columns over column `x`, a panel a group; columns that are missing or all NaN are left out.

    A line joins the numbers of its column over those that are NaN, where nothing was measured.
    """
    pyplot = plotting()
    panels = {title: there for title, names in panels.items() if (there := measured(table, names))}
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.2), squeeze=False)
    for axis, (title, names) in zip(axes[0], panels.items(), strict=True):
        draw_columns(axis, table, x, names)
        axis.set_title(title)
    _save_figure(figure, path)


def plotting() -> ModuleType:
    """matplotlib.pyplot, which needs no screen."""
    import matplotlib  # slow to import

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save_figure(figure, path: str | Path) -> None:
    figure.tight_layout()
    buffer = io.BytesIO()
    # No creation date or version: the same curves give the same file.
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    plotting().close(figure)
    write_bytes(path, buffer.getvalue())


def attention_figure(
    waveforms: Sequence[np.ndarray],
    images: np.ndarray,
    weights: np.ndarray,
    counts: Sequence[int],
    captions: Sequence[str],
    path: str | Path,
) -> None:
    """A column per utterance: its samples (T,), the image (3, S, S), and which stretch of speech painted what.

    weights (n, s, s, P) sum to 1 over the `counts` stretches of each utterance. Stretches have colours in order of
    time; a place of the image has the mean of those that it attends to, grey where it attends to all alike.
    """
    pyplot = plotting()
    columns = len(captions)
    size = (2.6 * columns, 6.4)
    figure, axes = pyplot.subplots(3, columns, figsize=size, squeeze=False, height_ratios=(0.4, 1, 1))
    for (top, middle, bottom), samples, image, attention, count, caption in zip(
        axes.T, waveforms, images, weights, counts, captions, strict=True
    ):
        colours = pyplot.get_cmap("hsv")(np.linspace(0, 0.85, count))[:, :3]  # the circle ends before red again
        edges = np.linspace(0, len(samples), count + 1).astype(int)
        for start, stop, colour in zip(edges, edges[1:], colours, strict=False):
            top.plot(np.arange(start, stop), samples[start:stop], color=colour, linewidth=0.4)
        font = None if caption.isascii() else Path(font_file(frozenset(caption) - {" "}))
        top.set_title("\n".join(textwrap.wrap(caption, 34)), font=font, fontsize=7)
        middle.imshow(image.transpose(1, 2, 0))
        bottom.imshow(attention[..., :count] @ colours)
        for axis in (top, middle, bottom):
            axis.axis("off")
    _save_figure(figure, path)


def read_curves(path: str | Path) -> dict[str, np.ndarray]:
    """Columns of numbers of a TSV that a stage wrote, NaN where there is none."""
    import pandas as pd  # slow to import

    return {str(name): column.to_numpy(float) for name, column in pd.read_csv(path, sep="\t").items()}


def measured(table: Columns, names: Sequence[str]) -> list[str]:
    """Those of the columns `names` that the table has, but for those that are all NaN."""
    return [name for name in names if name in table and (not len(table[name]) or not np.isnan(table[name]).all())]


def draw_columns(axis, table: Columns, x: str, names: Sequence[str]) -> None:
    """A line for each of the columns `names` over column `x`, through the numbers that are not NaN."""
    for name in names:
        places, values = np.array(table[x]), np.array(table[name])
        there = ~np.isnan(values)
        axis.plot(places[there], values[there], label=name, marker="o" if len(table[x]) < 12 else None)
    axis.set_xlabel(x)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)


def png(image: Image.Image) -> bytes:
    """The content of a PNG file, as small as it gets."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
