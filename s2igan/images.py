"""Photographs from files: any format, mode or orientation brought to one size, in order and in parallel."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageOps

from s2igan.catalog import Image
from s2igan.errors import InputError
from s2igan.parallel import ordered_map

MOST_PIXELS = 200_000_000  # of a file or of a cut
# Not all that Pillow knows: it hands EPS to Ghostscript, and some formats have no mark to know them by.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # Pillow itself would clip these to 8 bits

PIL.Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow warns beyond it, and refuses beyond twice as many


def read_image(path: Path, box: str = "", *, size: int) -> np.ndarray:
    """The image in `path`, upright and in RGB: uint8 (3, size, size), resized with antialiasing (bicubic).

    `box` is "x y w h" in pixels of the upright image, square to within a pixel, rounded to whole pixels; beyond
    the border the pixels at the edge go on, or white where the image has transparency. Without a box, the
    square in the middle is taken. What is transparent becomes white, and of an animation or of several pages the
    first counts. Grey of 16 bits is scaled, not clipped; a floating-point image may also run from 0 to 1.
    Colour profiles are not applied.
    InputError when the file is missing, no image, damaged or too large, or when the box does not fit.
    """
    image, cut_out = _read(Path(path))
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    if box:
        cut = _cut_box(pixels, box, Path(path), cut_out)
    else:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        cut = pixels[top : top + side, left : left + side]
    resized = PIL.Image.fromarray(cut).resize((size, size), PIL.Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def square_box(x: float, y: float, w: float, h: float, scale: float) -> str:
    """The square about the middle of a box whose half side is scale * max(w, h), as "x y w h".

    CUB's birds are cut with scale 0.75 (StackGAN, Zhang et al. 2017). InputError for a box without area.
    """
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise InputError(f"box {x} {y} {w} {h}: no area; fix the data set's list of boxes")
    half = scale * max(w, h)
    left, top = x + w / 2 - half, y + h / 2 - half
    return " ".join(str(round(value, 3)) for value in (left, top, 2 * half, 2 * half))


def read_images(raw: Path, images: Sequence[Image], size: int, workers: int) -> Iterator[np.ndarray | InputError]:
    """`read_image` of each image below the folder `raw`, in order, over `workers` processes.

    An image that cannot be read is yielded as its InputError, not raised: the caller may leave it out.
    """
    yield from ordered_map(partial(_read_or_error, raw=Path(raw), size=size), images, workers)


def _read_or_error(image: Image, raw: Path, size: int) -> np.ndarray | InputError:
    try:
        return read_image(raw / image.path, image.box, size=size)
    except InputError as error:
        return error


def _read(path: Path) -> tuple[PIL.Image.Image, bool]:
    """The first frame of `path`, upright, in mode RGB; whether it had transparency."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "missing"
        raise InputError(f"{path}: {found}; put the image there, or unpack the data set again")
    hint = "download it again, or save it anew as PNG or JPEG"
    try:
        if not path.stat().st_size:
            raise InputError(f"{path}: empty file; {hint}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd EXIF entries, and between one and two MAX_IMAGE_PIXELS
            with PIL.Image.open(path, formats=FORMATS) as image:
                image.load()
                with suppress(Exception):  # a damaged EXIF block says nothing about the pixels, which are loaded
                    ImageOps.exif_transpose(image, in_place=True)
                return _rgb(image, path), image.has_transparency_data
    except InputError:
        raise
    except PIL.Image.DecompressionBombError:
        raise InputError(
            f"{path}: more than {MOST_PIXELS // 1_000_000} megapixels; save it smaller if it is to be trusted"
        ) from None
    except PIL.UnidentifiedImageError:
        raise InputError(f"{path}: not an image ({', '.join(FORMATS)}); {hint}") from None
    except OSError as error:
        if error.errno is not None:
            raise InputError(f"{path}: {error.strerror}; check the file and its permissions") from None
        raise InputError(f"{path}: truncated or damaged ({error}); {hint}") from None
    except Exception as error:  # Pillow's decoders raise many kinds, and only the file is to blame
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error}); {hint}") from None


def _rgb(image: PIL.Image.Image, path: Path) -> PIL.Image.Image:
    if image.mode in SIXTEEN_BIT:
        return _scaled(image, path)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    # Photoshop's CMYK JPEGs are stored inverted; Pillow has turned them.
    return image.convert("RGB")


def _scaled(image: PIL.Image.Image, path: Path) -> PIL.Image.Image:
    """Grey from 0 to 65535, or floating point from 0 to 1, as RGB of 8 bits."""
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 65535):  # NaN is neither
        raise InputError(f"{path}: grey values from {low:g} to {high:g}; save it with 8 or 16 bits")
    grey = np.round(values * 255 if image.mode == "F" and high <= 1 else values / 257)
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return PIL.Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _cut_box(pixels: np.ndarray, box: str, path: Path, cut_out: bool) -> np.ndarray:
    """The part (h, w, 3) of `pixels` (H, W, 3) in `box`; beyond the border the edge is repeated.

    An image that was `cut_out` lies on white, and white it is beyond the border.
    """
    hint = "fix the data set's list of boxes"
    try:
        x, y, w, h = (float(word) for word in box.split())
    except ValueError:
        raise InputError(f"{path}: box {box!r} is not four numbers x y w h; {hint}") from None
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise InputError(f"{path}: box {box!r} has no area; {hint}")
    if abs(w - h) > 1:
        raise InputError(f"{path}: box {box!r} is not square; give a square one (square_box)")
    if w * h > MOST_PIXELS:
        raise InputError(f"{path}: box {box!r} has more than {MOST_PIXELS // 1_000_000} megapixels; {hint}")
    left, top, width, height = (math.floor(value + 0.5) for value in (x, y, w, h))
    columns = np.arange(left, left + max(width, 1))
    rows = np.arange(top, top + max(height, 1))
    if columns[0] >= pixels.shape[1] or columns[-1] < 0 or rows[0] >= pixels.shape[0] or rows[-1] < 0:
        raise InputError(
            f"{path}: box {box!r} lies outside of the image of {pixels.shape[1]} x {pixels.shape[0]} pixels; {hint}"
        )
    inside_rows, inside_columns = rows.clip(0, pixels.shape[0] - 1), columns.clip(0, pixels.shape[1] - 1)
    cut = pixels[inside_rows[:, None], inside_columns]
    if cut_out:
        cut[rows != inside_rows] = 255
        cut[:, columns != inside_columns] = 255
    return cut
