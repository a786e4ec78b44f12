import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2igan.catalog import Caption, Catalog
from s2igan.catalog import Image as Record
from s2igan.figures import GAP, MARGIN, curves, enlarge, evenly, font_file, grid, sample_captions, sheet
from s2igan.tables import write_json, write_tsv

RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)


def plain(colour, size=8) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, size, size)).copy()


def pixels(path) -> np.ndarray:
    """(height, width, 3) of a picture."""
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def test_enlarging_by_whole_pixels_repeats_them():
    picture = np.random.default_rng(0).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    expected = picture.repeat(3, axis=1).repeat(3, axis=2).transpose(1, 2, 0)
    np.testing.assert_array_equal(np.asarray(enlarge(picture, 12)), expected)
    np.testing.assert_array_equal(np.asarray(enlarge(picture, 4)), picture.transpose(1, 2, 0))


def test_other_sizes_are_smooth_and_keep_a_plain_colour():
    assert (np.asarray(enlarge(plain((10, 200, 30)), 13)) == (10, 200, 30)).all()
    step = np.zeros((3, 8, 8), np.uint8)
    step[:, :, 4:] = 255
    assert len(np.unique(np.asarray(enlarge(step, 13)))) > 2


def test_a_sheet_has_its_pictures_in_reading_order(tmp_path):
    colours = [RED, GREEN, BLUE, BLACK, (9, 99, 199)]
    sheet([plain(colour) for colour in colours], 3, tmp_path / "deep" / "a.png", 16)
    shown = pixels(tmp_path / "deep" / "a.png")
    assert shown.shape == (2 * (16 + GAP) + GAP, 3 * (16 + GAP) + GAP, 3)
    for i, colour in enumerate(colours):
        row, column = divmod(i, 3)
        top, left = GAP + row * (16 + GAP), GAP + column * (16 + GAP)
        assert (shown[top : top + 16, left : left + 16] == colour).all()
        assert (shown[top - 1, left : left + 16] == WHITE).all() and (shown[top : top + 16, left - 1] == WHITE).all()
    assert (shown[GAP + 16 + GAP :, 2 * (16 + GAP) :] == WHITE).all()  # the place of a sixth


def test_samples_are_of_every_language_in_turn_and_of_different_images():
    images = tuple(Record(f"a/{i}", "", "a", "test") for i in range(4))
    captions = tuple(
        Caption(f"{image.key}/{n:02d}", image.key, "text", language=language)
        for image in images
        for n, language in enumerate(("de", "de", "eu"))
    )
    catalog = Catalog(images, captions)
    assert [c.key for c in sample_captions(catalog, 4)] == ["a/0/00", "a/3/00", "a/0/02", "a/3/02"]
    assert [c.language for c in sample_captions(catalog, 3)] == ["de", "de", "eu"]
    german = replace(catalog, captions=tuple(c for c in captions if c.language == "de"))
    assert sample_captions(german, 2) == evenly(german.first_of("test"), 2)


@pytest.mark.parametrize("words", [("żółw", "łąńś"), ("chữ", "việ"), ("синя", "птах"), ("ωδή", "γάτ")])
def test_words_beside_pictures_are_letters_in_every_script_of_the_font_at_hand(tmp_path, words):
    for name in words:  # boxes, for letters that a font lacks, would look alike
        grid([[plain(RED)]], [name], [""], tmp_path / f"{name}.png")
    first, second = (pixels(tmp_path / f"{name}.png") for name in words)
    assert (first != second).any()


def test_a_font_has_the_letters_or_is_the_usual_one():
    usual = font_file(frozenset("a"))
    assert Path(usual).name == "DejaVuSans.ttf"
    assert font_file(frozenset("aж")) == usual == font_file(frozenset("\uffff"))  # which no font has


def test_a_font_of_this_machine_is_found_where_it_has_the_letters(tmp_path, monkeypatch):
    from matplotlib import font_manager, get_data_path

    broken = tmp_path / "a-Regular.ttf"
    broken.write_bytes(b"no font")
    own = Path(get_data_path()) / "fonts/ttf/STIXGeneral.ttf"
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(own), str(broken)])
    assert font_file(frozenset("ᶁᶄᶊ")) == str(own)  # which DejaVu Sans lacks


def test_a_table_has_pictures_beside_their_words(tmp_path):
    rows = [[plain(RED), plain(GREEN)], [plain(BLUE), plain(BLACK)]]
    grid(rows, ["a red bird", "a blue bird"], ["real", "drawn"], tmp_path / "a.png", size=32, text_width=100)
    shown = pixels(tmp_path / "a.png")
    head = 26
    assert shown.shape == (2 * MARGIN + head + 2 * (32 + GAP), 2 * MARGIN + 100 + 2 * (32 + GAP), 3)
    for row, colours in enumerate([(RED, GREEN), (BLUE, BLACK)]):
        top = MARGIN + head + row * (32 + GAP)
        for column, colour in enumerate(colours):
            left = MARGIN + 100 + column * (32 + GAP)
            assert (shown[top : top + 32, left : left + 32] == colour).all()
        assert (shown[top : top + 32, MARGIN : MARGIN + 100] != 255).any()  # its words
        assert (shown[top : top + 32, :MARGIN] == 255).all()
    for column in range(2):
        left = MARGIN + 100 + column * (32 + GAP)
        assert (shown[MARGIN : MARGIN + head - 4, left : left + 32] != 255).any()  # its heading
    assert (shown[: MARGIN + head, : MARGIN + 90] == 255).all()


def test_a_long_heading_is_as_wide_as_its_column(tmp_path):
    for name, heading in (("a", "short"), ("b", "a red crown and a white belly")):
        grid([[plain(RED)] * 2], [""], [heading, ""], tmp_path / f"{name}.png", size=96, text_width=20)
    short, long = (pixels(tmp_path / f"{name}.png") for name in "ab")
    assert long.shape == (short.shape[0] + 2 * 16, *short.shape[1:])  # three lines
    head, column = MARGIN + 26 + 2 * 16, MARGIN + 20 + 96 + GAP
    assert (long[:head, : MARGIN + 20] == 255).all() and (long[:head, column:] == 255).all()


def test_a_table_without_headings_begins_with_its_pictures(tmp_path):
    grid([[plain(RED)]], [""], [""], tmp_path / "a.png", size=16, text_width=20)
    shown = pixels(tmp_path / "a.png")
    assert (shown[MARGIN : MARGIN + 16, MARGIN + 20 : MARGIN + 36] == RED).all()
    assert (shown != 255).any(axis=2).sum() == 16 * 16


def draw_curves(path):
    columns = {"epoch": [1.0, 2.0, 3.0], "loss": [3.0, 2.0, float("nan")], "map": [0.1, 0.2, 0.4]}
    curves(columns, "epoch", {"losses": ["loss", "absent"], "mAP": ["map"]}, path)


def test_curves_have_a_panel_a_group(tmp_path):
    draw_curves(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (920, 320)
        shown = np.asarray(image.convert("RGB")).astype(int)
    first_colour = np.abs(shown - (31, 119, 180)).max(axis=2) < 8  # matplotlib's first line colour
    assert first_colour[:, :460].any() and first_colour[:, 460:].any()


def test_a_line_joins_what_was_measured(tmp_path):
    nan = float("nan")
    curves({"step": [1.0, 2.0, 3.0], "loss": [3.0, nan, 1.0]}, "step", {"losses": ["loss"]}, tmp_path / "a.png")
    curves({"step": [1.0, 3.0], "loss": [3.0, 1.0]}, "step", {"losses": ["loss"]}, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_panel_of_which_nothing_was_measured_is_left_out(tmp_path):
    columns, losses = {"epoch": [1.0, 2.0], "loss": [3.0, 1.0]}, {"losses": ["loss"]}
    curves({**columns, "map": [float("nan")] * 2}, "epoch", {**losses, "mAP": ["map"]}, tmp_path / "a.png")
    curves(columns, "epoch", losses, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_tsv_has_a_column_a_name_and_six_digits(tmp_path):
    rows = [{"epoch": 1, "loss": 1 / 3}, {"epoch": 2, "map": 1234567.0}, {"epoch": 3, "loss": 1e-9, "map": 0.0}]
    write_tsv(tmp_path / "deep" / "a.tsv", rows)
    assert (tmp_path / "deep" / "a.tsv").read_text() == (
        "epoch\tloss\tmap\n1\t0.333333\tnan\n2\tnan\t1.23457e+06\n3\t1e-09\t0\n"
    )


def test_scores_are_rounded_at_every_depth_and_nothing_else_is(tmp_path):
    scores = {
        "map": 2 / 3, "count": 123456789, "name": "fid", "none": None, "flag": True,
        "parts": {"crown": 0.12345678, "interval": [0.1 + 0.2, (1e-7 / 3, 5)]},
    }  # fmt: skip
    write_json(tmp_path / "a.json", scores)
    found = json.loads((tmp_path / "a.json").read_text())
    rounded = {"map": 0.666667, "parts": {"crown": 0.123457, "interval": [0.3, [3.33333e-08, 5]]}}
    assert found == scores | rounded and list(found) == list(scores)  # in the order given
