import io
import struct
import warnings
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from s2igan.catalog import Image
from s2igan.errors import InputError
from s2igan.images import read_image, read_images

A = np.arange(16, dtype=np.uint8).reshape(4, 4) * 10  # no symmetry
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def save(path: Path, pixels, **options) -> Path:
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(np.asarray(pixels))
    image.save(path, **options)
    return path


def first(path: Path, **options) -> tuple[int, ...]:
    """The upper left pixel."""
    return tuple(read_image(path, **{"size": 4} | options)[:, 0, 0].tolist())


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG of 1 bit a pixel, chunk by chunk, whatever its size claims."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [  # EXIF 2.3, 4.6.4: which side of the scene the first row and the first column of the file show
        (1, A),
        (2, A[:, ::-1]),
        (3, A[::-1, ::-1]),
        (4, A[::-1]),
        (5, A.T),
        (6, A[:, ::-1].T),  # first row: right side, first column: top
        (7, A[::-1, ::-1].T),
        (8, A[::-1].T),
        (9, A),  # no such orientation
    ],
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_exif_orientation_is_honoured(tmp_path, orientation, stored, suffix):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(read_image(path, size=4), np.stack([A] * 3))


def test_a_box_counts_in_the_upright_picture(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.png", np.ascontiguousarray(A[:, ::-1].T), exif=exif)
    assert first(path, box="3 1 1 1", size=1) == (A[1, 3],) * 3


def test_a_damaged_exif_block_is_passed_over(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 1.5
    whole = exif.tobytes()
    stored = np.ascontiguousarray(A[:, ::-1].T)
    for damaged, expected in (
        (b"Exif\0\0MM\0\x2a\xff\xff\xff\xff", stored),
        (b"Exif\0\0nothing", stored),
        (whole.replace(b"\x01\x1a", b"\x01\x25"), A),  # a field that Pillow cannot write again
    ):
        path = save(tmp_path / "a.png", stored, exif=damaged)
        np.testing.assert_array_equal(read_image(path, size=4)[0], expected)


@pytest.mark.parametrize(("mode", "value", "suffix", "expected"), [
    ("1", 1, "png", WHITE),
    ("1", 0, "tif", (0, 0, 0)),
    ("L", 77, "png", (77, 77, 77)),
    ("L", 77, "jpg", (77, 77, 77)),
    ("RGB", RED, "bmp", RED),
    ("RGB", (9, 8, 7), "webp", (9, 8, 7)),
    ("RGB", (9, 8, 7), "jp2", (9, 8, 7)),
    ("RGBA", (255, 0, 0, 0), "png", WHITE),
    ("RGBA", (255, 0, 0, 255), "png", RED),
    ("RGBA", (255, 0, 0, 51), "png", (255, 204, 204)),  # a fifth of red on white
    ("RGBA", (0, 0, 0, 0), "webp", WHITE),
    ("LA", (0, 51), "png", (204, 204, 204)),
    ("LA", (90, 255), "tif", (90, 90, 90)),
    ("CMYK", (0, 255, 255, 0), "tif", RED),
    ("CMYK", (0, 0, 0, 255), "tif", (0, 0, 0)),
])  # fmt: skip
def test_every_mode_becomes_rgb_on_white(tmp_path, mode, value, suffix, expected):
    lossless = {"lossless": True, "exact": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", PIL.Image.new(mode, (8, 8), value), **lossless)
    with PIL.Image.open(path) as image:
        assert image.mode in (mode, "RGB") or suffix == "webp"
    assert first(path) == expected


def test_palettes_with_and_without_a_transparent_colour(tmp_path):
    image = PIL.Image.new("P", (8, 8), 1)
    image.putpalette([*BLUE, *RED, 0, 255, 0])
    for suffix in ("png", "gif"):
        assert first(save(tmp_path / f"a.{suffix}", image)) == RED
        assert first(save(tmp_path / f"b.{suffix}", image, transparency=1)) == WHITE
        assert first(save(tmp_path / f"c.{suffix}", image, transparency=0)) == RED
    assert first(save(tmp_path / "d.png", image, transparency=b"\xff\x33")) == (255, 204, 204)


def test_a_transparent_colour_of_a_picture_without_palette(tmp_path):
    for mode, clear, solid in (("L", 7, 8), ("RGB", (1, 2, 3), (1, 2, 4)), ("I;16", 2570, 2313)):
        image = PIL.Image.new(mode, (4, 4), solid)
        image.putpixel((0, 0), clear)
        found = read_image(save(tmp_path / "a.png", image, transparency=clear), size=4)
        expected = {"L": (8, 8, 8), "RGB": (1, 2, 4), "I;16": (9, 9, 9)}[mode]
        assert (tuple(found[:, 0, 0]), tuple(found[:, 1, 1])) == (WHITE, expected)


def test_cmyk_jpegs_of_photoshop_are_not_negatives(tmp_path):
    """They store 255 for no ink. Pillow writes them so and turns them back, with or without Adobe's marker."""
    image = PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # ink: red
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=100)
    data = stored.getvalue()
    marker = data.index(b"\xff\xee\x00\x0eAdobe")
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "b.jpg").write_bytes(data[:marker] + data[marker + 16 :])
    for name in ("a.jpg", "b.jpg"):
        assert np.abs(np.subtract(first(tmp_path / name), RED)).max() <= 2


@pytest.mark.parametrize(
    ("dtype", "suffix", "mode"),
    [("uint16", "png", "I;16"), ("uint16", "tif", "I;16"), (">u2", "tif", "I;16B"), ("int32", "tif", "I"),
     ("float32", "tif", "F"), ("uint16", "pgm", "I")],
)  # fmt: skip
def test_grey_of_16_bits_is_scaled_and_not_clipped(tmp_path, dtype, suffix, mode):
    values = np.array([[0, 257, 300], [32896, 40000, 65535], [1, 2, 514]])
    path = tmp_path / f"a.{suffix}"
    if dtype == ">u2":
        image = PIL.Image.frombytes("I;16B", (3, 3), values.astype(">u2").tobytes())
        image.save(path)
    else:
        save(path, values.astype(dtype))
    with PIL.Image.open(path) as image:
        assert image.mode == mode
    found = read_image(path, size=3)
    # 300 / 257 = 1.17, 40000 / 257 = 155.6
    np.testing.assert_array_equal(found, np.stack([[[0, 1, 1], [128, 156, 255], [0, 0, 2]]] * 3))


def test_floating_point_from_0_to_1_is_full_range(tmp_path):
    path = save(tmp_path / "a.tif", np.array([[0, 0.2], [0.5, 1]], np.float32))
    np.testing.assert_array_equal(read_image(path, size=2)[0], [[0, 51], [128, 255]])


@pytest.mark.parametrize("value", [-1.0, 65536.0, np.nan, np.inf])
def test_grey_beyond_16_bits_is_refused(tmp_path, value):
    path = save(tmp_path / "a.tif", np.array([[0, value]], np.float32))
    with pytest.raises(InputError, match=r"a\.tif: grey values from .* to .*; save it with 8 or 16 bits"):
        read_image(path, size=2)


def test_colours_of_16_bits_keep_their_high_byte(tmp_path):
    pixels = np.array([[[0, 0x8000, 0xFFFF]]], ">u2")
    (tmp_path / "a.ppm").write_bytes(b"P6 1 1 65535\n" + pixels.tobytes())
    assert first(tmp_path / "a.ppm", size=1) == (0, 128, 255)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif", "mpo"])
def test_of_an_animation_the_first_frame_counts(tmp_path, suffix):
    frames = [PIL.Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    path = save(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with PIL.Image.open(path) as image:
        assert image.n_frames == 2
    assert np.abs(np.subtract(first(path), RED)).max() <= 3


# ---------------------------------------------------------------- what is cut out


def test_the_shorter_side_becomes_the_load_size_and_nothing_is_cut_off(tmp_path):
    wide = np.tile(np.arange(9, dtype=np.uint8), (4, 1))
    np.testing.assert_array_equal(read_image(save(tmp_path / "w.png", wide), size=4), np.stack([wide] * 3))
    tall = save(tmp_path / "t.png", np.ascontiguousarray(wide.T))
    np.testing.assert_array_equal(read_image(tall, size=4), np.stack([wide.T] * 3))
    assert read_image(save(tmp_path / "p.png", np.zeros((30, 41), np.uint8)), size=304).shape == (3, 304, 415)
    with pytest.raises(
        InputError, match=r"p.png: 33 x 4 pixels, one side more than 8 times .*; cut it, or set catalog"
    ):
        read_image(save(tmp_path / "p.png", np.zeros((4, 33), np.uint8)), size=4)


def test_a_photograph_is_cut_and_resized_as_the_published_code_does(tmp_path):
    """CUB's first example: its box reaches over the border, is clipped, and its shorter side becomes 304."""
    from torchvision.transforms.functional import resize

    pixels = np.random.default_rng(0).integers(0, 256, (334, 500, 3), dtype=np.uint8)
    expected = resize(PIL.Image.fromarray(pixels).crop((0, 0, 465, 334)), 304)
    found = read_image(save(tmp_path / "a.png", pixels), "-21 -64 486 486", size=304)
    assert found.shape == (3, 304, 423)
    np.testing.assert_array_equal(found, np.asarray(expected).transpose(2, 0, 1))


def test_padded_the_longer_side_becomes_the_load_size_on_white(tmp_path):
    PIL.Image.new("RGB", (4, 8), RED).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", size=8, fit="pad")
    assert (found[:, :, [0, 1, 6, 7]] == 255).all()
    assert (found[1:, :, 2:6] == 0).all() and (found[0] == 255).all()


@pytest.mark.parametrize(("box", "rows", "columns"), [
    ("1 2 2 2", [2, 3], [1, 2]),
    ("0 0 4 4", [0, 1, 2, 3], [0, 1, 2, 3]),
    ("1.4 0.5 2.0 2.0", [1, 2], [1, 2]),  # to the nearest pixel, half a pixel up
    ("1 1 2 1", [1], [1, 2]),  # of any shape
    ("-2 -1 4 4", [0, 1, 2], [0, 1]),
    ("2 3 3 3", [3], [2, 3]),
    ("-1 -1 6 6", [0, 1, 2, 3], [0, 1, 2, 3]),
    ("3 3 .2 .2", [3], [3]),
])  # fmt: skip
def test_a_box_is_cut_as_far_as_it_lies_within_the_image(tmp_path, box, rows, columns):
    found = read_image(save(tmp_path / "a.png", A), box, size=min(len(rows), len(columns)))
    np.testing.assert_array_equal(found, np.stack([A[np.ix_(rows, columns)]] * 3))


def test_smaller_is_averaged_and_larger_is_smooth(tmp_path):
    board = ((np.indices((64, 64)).sum(0) % 2) * 255).astype(np.uint8)
    small = read_image(save(tmp_path / "a.png", board), size=8)
    assert small.min() >= 120 and small.max() <= 135  # without antialiasing: 0 or 255
    ramp = read_image(save(tmp_path / "b.png", np.array([[0, 200], [0, 200]], np.uint8)), size=16)[0, 0]
    assert (np.diff(ramp.astype(int)) >= 0).all() and len(set(ramp.tolist())) > 6


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("box", ["4 0 2 2", "0 3 2 2", "-2 0 2 2", "0 -5 2 2"])
def test_a_box_that_does_not_fit_is_told(tmp_path, box):
    with pytest.raises(InputError, match=f"a.png: box '{box}' lies outside of the image of 4 x 3 pixels.*; "):
        read_image(save(tmp_path / "a.png", A[:3]), box, size=2)


def test_what_is_no_picture_is_told(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    for name, content in {
        "text.jpg": b"version https://git-lfs.github.com/spec/v1\n" * 9,
        "empty.jpg": b"",
        "short.jpg": b"\xff\xd8\xff",
        "nothing.png": png(0, 0),
        "flat.png": png(5, 0),
        "vector.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    }.items():
        (tmp_path / name).write_bytes(content)
    for name, told in {
        "no.jpg": "missing; put the image there",
        "folder.jpg": "a folder; put the image there",
        "text.jpg": "not an image",
        "empty.jpg": "empty file; download it again",
        "short.jpg": "(not an image|truncated or damaged)",
        "nothing.png": "not an image",
        "flat.png": "not an image",
        "vector.eps": "not an image",  # Ghostscript is not asked
    }.items():
        with pytest.raises(InputError, match=f"{name}: {told}.*") as error:
            read_image(tmp_path / name, size=4)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp", "tif", "ppm", "jp2"])
def test_a_truncated_picture_is_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    read_image(path, size=8)
    data = path.read_bytes()
    for kept in (0.02, 0.3, 0.6, 0.95):
        path.write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(InputError, match=rf"a\.{suffix}: .*; download it again, or save it anew"):
            read_image(path, size=8)


def test_a_damaged_picture_is_refused(tmp_path):
    path = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: truncated or damaged \(.*; download it again"):
        read_image(path, size=8)


def test_more_than_200_megapixels_are_refused_before_they_are_decoded(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(20_000, 10_001))
    with pytest.raises(InputError, match=r"bomb\.png: more than 200 megapixels; save it smaller"):
        read_image(tmp_path / "bomb.png", size=8)
    (tmp_path / "large.png").write_bytes(png(15_000, 10_000))  # allowed, but there is nothing in it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=r"large\.png: truncated or damaged"):
            read_image(tmp_path / "large.png", size=8)


# ---------------------------------------------------------------- many


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_come_in_order_and_unreadable_ones_as_their_errors(tmp_path, workers):
    make = partial(np.full, (6, 6), dtype=np.uint8)
    (tmp_path / "c").mkdir()
    images = []
    for n in range(70):  # more than two blocks of work
        if n == 41:
            (tmp_path / "c" / "41.png").write_text("no image")
        elif n != 7:
            save(tmp_path / "c" / f"{n}.png", make(fill_value=n))
        images.append(Image(f"c/{n}", f"c/{n}.png", "c", "train", "9 9 3 3" if n == 55 else ""))
    found = list(read_images(tmp_path, images, 4, "crop", workers))
    told = {n: str(item) for n, item in enumerate(found) if isinstance(item, InputError)}
    assert {n: line.split(":")[0] for n, line in told.items()} == {n: f"{tmp_path}/c/{n}.png" for n in (7, 41, 55)}
    assert ": missing;" in told[7] and "not an image" in told[41] and "outside" in told[55]
    for n, item in enumerate(found):
        if n not in told:
            assert item.shape == (3, 4, 4) and (item == n).all()
