"""What stands behind the page: known answers, without Gradio. The page in a browser: test_demo_page.py."""

import base64
import io
import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from demo_run import TEXTS, write_run
from packaging.requirements import Requirement
from phones import record
from PIL import Image

from s2igan import cli
from s2igan.demo import page
from s2igan.demo.run import MAX_BYTES, VARIATIONS, Limit, Near, Run, line, scores
from s2igan.errors import InputError
from s2igan.find import nearest
from s2igan.pipeline import Heard
from s2igan.speech.audio import decode
from s2igan.store import RaggedReader

LOCK = Path(__file__).parents[1] / "requirements.lock"
TONE = (0.5 * np.sin(np.arange(2 * 22050) / 10)).astype(np.float32)  # 351 Hz at 22050 Hz


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The tiny run, its folder being the present one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        write_run()
        yield Run()


def test_a_visitor_has_so_many_calls_in_a_minute_and_others_have_their_own():
    now = [0.0]
    limit = Limit(2, 60, lambda: now[0])
    limit.admit("a")
    now[0] = 10
    limit.admit("a")
    with pytest.raises(InputError, match="2 drawings in 60 s are enough; wait 50 s"):
        limit.admit("a")
    limit.admit("b")
    now[0] = 60
    limit.admit("a")  # the first one is a minute old
    with pytest.raises(InputError, match="wait 10 s"):
        limit.admit("a")
    now[0] = 1000
    limit.admit("b")
    assert list(limit._past) == ["b"]  # who does not come back is forgotten


def test_a_line_goes_straight_and_stays_on_the_sphere():
    points = line(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 3)
    assert np.allclose(points, [[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]])


def test_the_nearest_come_first():
    points = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    assert nearest(np.array([0.0, 1.0]), points, 2) == ([1, 2], [1.0, 0.8])


def test_a_caption_is_nearest_to_itself_and_sounds_as_it_was_stored(run):
    heard = run.hear(text=TEXTS[1], voice="en-gb")
    captions, images = run.memory.nearest(heard.embedding)
    assert [near.caption.text for near in captions[:2]] == [TEXTS[1]] * 2
    assert captions[0].cosine == pytest.approx(1, abs=1e-4)
    with RaggedReader("data/speech.h5", "speech") as speech:
        assert captions[0].flac == speech.value(speech.index(captions[0].caption.key)).tobytes()
    assert captions[0].image.shape == (3, 32, 32) and (captions[0].image == 20).all()  # of b/0, the third image
    shown = [near.caption.key for near in captions + images]
    assert not any(key.startswith("d/") for key in shown)  # the test split
    assert [near.cosine for near in images] == sorted((near.cosine for near in images), reverse=True)


def test_the_page_draws_what_the_command_draws(run):
    heard = run.hear(text="a red bird")
    scales, variations = run.variations(heard, seed=5)
    assert [scale.shape for scale in scales] == [(3, 8, 8), (3, 16, 16), (3, 32, 32)]
    arguments = ["speak", "a red bird", "-o", "said.png", "--seed", "5", "--size", "32", "--count", "8"]
    assert CliRunner().invoke(cli.main, arguments).exit_code == 0
    sheet = np.asarray(Image.open("said.png")).transpose(2, 0, 1)  # gaps of 4 pixels
    assert np.abs(sheet[:, 4:36, 4:36].astype(int) - scales[-1]).max() <= 1
    assert np.abs(sheet[:, 4:36, 40:72].astype(int) - variations[0]).max() <= 1
    assert len(variations) == VARIATIONS and (variations[0] != variations[1]).any()


def test_a_walk_begins_and_ends_with_the_descriptions_themselves(run):
    start, end = run.hear(text="a red bird"), run.hear(text=TEXTS[1])
    images = run.walk(start, end)
    for image, heard in ((images[0], start), (images[-1], end)):
        assert np.abs(image.astype(int) - run.variations(heard)[0][-1]).max() <= 1
    assert (run.walk(start, start) == images[0]).all()


def test_one_word_changes_and_the_same_noise_draws_both(run):
    before, after, images = run.change("this bird has a red crown", "crown", "orange")
    assert (before.name, after.name) == ("this bird has a red crown", "this bird has an orange crown")
    for image, heard in zip(images, (before, after), strict=True):
        assert np.abs(image.astype(int) - run.variations(heard)[0][-1]).max() <= 1
    with pytest.raises(InputError, match="names no colour of the tail; it names crown"):
        run.change("this bird has a red crown", "tail", "orange")


@pytest.mark.parametrize(("given", "told"), [
    ({}, "nothing to draw yet: record or upload a description, or type one"),
    ({"text": " \n"}, "nothing to draw yet"),
    ({"text": "red " * 100}, "399 characters; 300 are the most"),
    ({"text": "a bird", "voice": "nobody"}, "voice nobody: choose one of en-gb, en-us"),
])  # fmt: skip
def test_what_is_no_description_is_told_as_such(run, given, told):
    with pytest.raises(InputError, match=told):
        run.hear(**given)


def test_a_recording_is_heard_at_the_rate_of_the_models(run):
    soundfile.write("mine.wav", np.stack([TONE, TONE], axis=1)[::2], 11025)
    heard = run.hear("mine.wav", "and not this text")
    assert heard.name == "your recording" and abs(len(heard.samples) - len(TONE)) <= 2
    assert np.allclose(heard.log_mel, run.pipeline.log_mel(heard.samples))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ((np.zeros(31 * 8000), 8000), "^bad.wav: longer than 30 s; cut out the description$"),
        ((np.zeros(8000), 8000), "^bad.wav: silent; check the microphone"),
        (b"no sound at all", "^bad.wav: not "),
        (b"", "^bad.wav: empty file; record it again$"),
        (bytes(MAX_BYTES + 1), "^bad.wav: 10 MB; 10 MB are the most"),
    ],
)
def test_a_wrong_file_is_named_without_its_folder(run, content, told):
    folder = Path("uploads")
    folder.mkdir(exist_ok=True)
    if isinstance(content, bytes):
        (folder / "bad.wav").write_bytes(content)
    else:
        soundfile.write(folder / "bad.wav", *content)
    with pytest.raises(InputError, match=told):
        run.hear((folder / "bad.wav").absolute())


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("phone.m4a", "aac", 44100), ("browser.webm", "libopus", 48000), ("old.3gp", "aac", 44100)],
)
def test_what_phones_and_browsers_record_is_heard(run, name, codec, rate):
    record(name, codec, 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate), rate)
    samples = run.hear(name).samples
    assert abs(len(samples) / 22050 - 2) < 0.1
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert spectrum.argmax() * 22050 / len(samples) == pytest.approx(440, abs=1)
    record(name, codec, np.zeros(31 * rate), rate)
    with pytest.raises(InputError, match=f"^{name}: longer than 30 s"):
        run.hear(name)


def test_scores_stand_beside_chance_floor_and_ceiling(run):
    rows = dict(scores())
    assert rows["real images find generated ones of their class, mAP ↑"] == [0.25, 0.02, None, None, 0.5, None]
    assert rows["parts in the spoken colour ↑"] == [0.75, 0.125, None, None, None, None]
    table = page.score_table(list(rows.items()))
    assert "<td><b>0.250</b></td><td>0.020</td><td></td><td></td><td>0.500</td><td></td>" in table
    assert "<b>7.914</b>" in table
    assert "dvc repro" in page.score_table(scores("nowhere"))


def test_what_is_shown_is_what_was_drawn_and_no_words_become_tags(run):
    pixels = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    shown = page.picture(pixels, 64, 'a "red" <b>')
    png = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", shown)[1])
    assert (np.asarray(Image.open(io.BytesIO(png))) == pixels.transpose(1, 2, 0)).all()
    assert 'alt="a &quot;red&quot; &lt;b&gt;"' in shown
    heard = run.hear(text=TEXTS[3])
    whole = page.sound(heard, 22050) + page.drawn(*run.variations(heard), heard.name)
    whole += page.neighbours(*run.memory.nearest(heard.embedding, 8))
    assert "&lt;b&gt;&amp; a green tail&lt;/b&gt;" in whole and "<b>" not in whole
    assert whole.count("<audio") == 1 + 6  # what was heard, and the captions of training and validation
    flac = base64.b64decode(re.search(r"data:audio/flac;base64,([^\"]+)", page.sound(heard, 22050))[1])
    assert np.abs(decode(flac)[0] - heard.samples).max() < 1e-4


def test_a_text_that_was_read_has_no_sound():
    assert page.sound(Heard("a bird", None, None, np.zeros(2)), 0) == page.section(
        "Read", '<div class="s2-note">“a bird”</div>'
    )


def test_a_caption_without_a_recording_has_no_player(run):
    captions, _ = run.memory.nearest(run.hear(text="a red bird").embedding)
    assert "<audio" not in page.neighbours([Near(near.caption, near.cosine, near.image) for near in captions], [])


@pytest.mark.skipif(not find_spec("gradio"), reason="the page needs Gradio: the extra `demo`")
def test_gradio_fits_the_lock():
    """So that `pip install -e ".[demo]"` changes no package that the pipeline runs with."""
    pins = dict(
        line.split(";")[0].strip().lower().split("==") for line in LOCK.read_text().splitlines() if "==" in line
    )
    wanted = [Requirement(text) for text in metadata.requires("gradio")]
    here = [one for one in wanted if one.name in pins and (one.marker is None or one.marker.evaluate({"extra": ""}))]
    assert len(here) > 10 and [str(one) for one in here if not one.specifier.contains(pins[one.name])] == []


def test_without_gradio_one_line_says_how_to_install_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(cli.main, ["demo"])
    assert result.exit_code == 1
    assert re.fullmatch(
        r'error: the page needs Gradio \(.*\); install it: python -m pip install -e "\.\[demo\]"\n', result.stderr
    )
