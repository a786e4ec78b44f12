"""Photographs from files: any format, mode or orientation brought to one load size, in order and in parallel."""

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

FITS = ("crop", "pad")
MOST_ASPECT = 8  # of an image that is not padded: its stored size has no other limit
MOST_PIXELS = 200_000_000  # of a file
# Not all that Pillow knows: it hands EPS to Ghostscript, and some formats have no mark to know them by.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # Pillow itself would clip these to 8 bits

PIL.Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # Pillow warns beyond it, and refuses beyond twice as many


def read_image(path: Path, box: str = "", *, size: int, fit: str = "crop") -> np.ndarray:
    """The image in `path`, upright and in RGB: uint8 (3, h, w), resized with antialiasing (bilinear).

    Its shorter side becomes `size` and nothing is cut off (`fit` crop: a square is cut where one is needed, at
    random in training), or the longer side does, on a white square (pad). `box` is "x y w h" in pixels of the upright
    image, rounded to whole ones: the part to take, as far as it lies within the image. What is transparent becomes
    white, and of an animation or of several pages the first counts. Grey of 16 bits is scaled, not clipped; a
    floating-point image may also run from 0 to 1. Colour profiles are not applied.
    InputError when the file is missing, no image, damaged or too large, when the box does not fit, or when a side
    is more than MOST_ASPECT times the other and `fit` is crop.
    """
    image = _read(Path(path))
    if box:
        image = image.crop(_clipped(box, image.size, Path(path)))
    if fit == "pad":
        image = ImageOps.pad(image, (size, size), PIL.Image.Resampling.BILINEAR, "white")
    else:
        short, long = sorted(image.size)
        if long > MOST_ASPECT * short:
            raise InputError(
                f"{path}: {image.width} x {image.height} pixels, one side more than {MOST_ASPECT} times the other; "
                "cut it, or set catalog.fit=pad"
            )
        width, height = (size * side // short for side in image.size)
        image = image.resize((width, height), PIL.Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def read_images(
    raw: Path, images: Sequence[Image], size: int, fit: str, workers: int
) -> Iterator[np.ndarray | InputError]:
    """`read_image` of each image below the folder `raw`, in order, over `workers` processes.

    An image that cannot be read is yielded as its InputError, not raised: the caller may leave it out.
    """
    yield from ordered_map(partial(_read_or_error, raw=Path(raw), size=size, fit=fit), images, workers)


def _read_or_error(image: Image, raw: Path, size: int, fit: str) -> np.ndarray | InputError:
    try:
        return read_image(raw / image.path, image.box, size=size, fit=fit)
    except InputError as error:
        return error


def _read(path: Path) -> PIL.Image.Image:
    """The first frame of `path`, upright, in mode RGB."""
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
                return _rgb(image, path)
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


def _clipped(box: str, size: tuple[int, int], path: Path) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of `box` that lies within an image of `size`."""
    left, top, width, height = (math.floor(float(word) + 0.5) for word in box.split())
    right, bottom = min(left + max(width, 1), size[0]), min(top + max(height, 1), size[1])
    left, top = max(left, 0), max(top, 0)
    if left >= right or top >= bottom:
        raise InputError(
            f"{path}: box {box!r} lies outside of the image of {size[0]} x {size[1]} pixels; "
            "fix the data set's list of boxes"
        )
    return left, top, right, bottom
