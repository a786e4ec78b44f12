"""The report's parts with known answers; tests/test_pipeline.py reads the page of a whole run."""

import base64
import io
import json
import re
import subprocess

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from torch import nn

from s2igan.cli import main
from s2igan.models import save_model
from s2igan.report.compare import differences
from s2igan.report.content import Run, hashes
from s2igan.report.embedded import curve, picture, sound
from s2igan.report.measures import published_scores, tables
from s2igan.report.page import write_page
from s2igan.speech.audio import decode, encode_flac

SCORES = {
    **{"map": 0.0791357, "map_chance": 0.021, "map_untrained": 0.026, "map_oracle": 0.3591, "map_real": 0.94473},
    **{"fd_efficientnet_lite0": 1138.29, "fd_efficientnet_lite0_shuffled": 1125.11, "precision": 0.0},
    **{"fid_encoder": "efficientnet_lite0", "speech_to_image_r5": 0.5, "images": 400, "median_rank": 12.0},
    **{"part_colour_accuracy": 0.78, "colour_chance": 0.125, "judge_accuracy": 1.0, "keyword_kept": None},
}


def content(uri: str) -> bytes:
    return base64.b64decode(uri.split(",")[1], validate=True)


def test_scores_stand_beside_their_own_chance_floor_and_ceiling():
    found = tables(SCORES, {"map": "0.0904"})
    good = "Are the images good, and of the right class?"
    assert found[good]["map", "real images find generated ones of their class, mAP"] == {
        **{"score": "0.079", "chance": "0.021", "untrained": "0.026", "shuffled": "", "oracle": "0.359"},
        **{"real": "0.945", "published": "0.0904"},
    }
    distance = found[good]["fd_efficientnet_lite0", "Fréchet distance, efficientnet_lite0"]
    assert distance["score"] == "1138" and distance["shuffled"] == "1125" and distance["chance"] == ""
    assert found[good]["precision", "precision"]["score"] == "0.000"
    assert found["Does speech find its image?"] == {
        ("speech_to_image_r5", "… among the first 5"): {"score": "0.500", "chance": "0.013"},
        ("median_rank", "median rank of the own image"): {"score": "12.0", "chance": ""},
    }
    assert found["Do the images show what was said?"] == {  # without columns that no row has, or a row without a score
        ("part_colour_accuracy", "parts in the spoken colour"): {"score": "0.780", "chance": "0.125", "real": "1.00"}
    }


@pytest.mark.parametrize("dataset, system, size, key, expected", [
    ("cub", "s2igan", 256, "fid", {"map_same_images": "0.090", "fid": "14.50", "is_mean": "4.29 ± .04"}),
    ("oxford102", "stackgan_v2_text", 256, "fid", {"fid": "50.38", "is_mean": "3.35 ± .07"}),
    ("oxford102", "li2020", 256, "fid", {}),
    ("aviary", "s2igan", 256, "fid", {}),
    ("cub", "s2igan", 64, "fid", {}),
    ("cub", "s2igan", 256, "fd_efficientnet_lite0", {}),
    ("cub", "reference", 256, "fid", {}),
])  # fmt: skip
def test_published_figures_stand_only_beside_what_they_compare_with(dataset, system, size, key, expected):
    assert published_scores(dataset, system, size, {key: 20.0}) == expected


def test_a_small_picture_keeps_every_pixel_and_a_large_one_its_look():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16)).astype(np.uint8)
    shown = np.asarray(Image.open(io.BytesIO(content(picture(pixels)))))
    np.testing.assert_array_equal(shown, pixels.transpose(1, 2, 0))
    plain = np.full((3, 256, 256), 90, np.uint8)
    with Image.open(io.BytesIO(content(picture(plain)))) as image:
        assert image.format == "JPEG" and np.abs(np.asarray(image).astype(int) - 90).max() <= 1


def test_sound_is_that_of_the_store_and_a_long_one_is_cut():
    samples = np.random.default_rng(0).integers(-9000, 9000, 30 * 1000).astype(np.int16)
    uri, seconds = sound(encode_flac(samples[:2500], 1000), "a")
    assert seconds == 2.5 and content(uri) == encode_flac(samples[:2500], 1000)
    uri, seconds = sound(encode_flac(samples, 1000), "a")
    heard, rate = decode(content(uri))
    assert (seconds, rate) == (30.0, 1000)
    np.testing.assert_array_equal(heard, (samples[:10_000] / 32768).astype(np.float32))


def test_a_curve_is_the_same_text_twice_and_takes_the_page_s_ink():
    table = {"images": np.array([1.0, 2.0, 3.0]), "d_0": np.array([3.0, np.nan, 1.0]), "none": np.full(3, np.nan)}
    drawn = curve(table, "images", ("d_0", "none", "absent"))
    assert drawn == curve(table, "images", ("d_0", "none", "absent")) and drawn.startswith("<svg")
    assert "currentColor" in drawn and ">d_0<" in drawn and ">none<" not in drawn and "http" not in drawn
    assert curve(table, "images", ("none", "absent")) == ""


def judged(answers, named) -> Run:
    """A run of which the judge's readings are known, and nothing else is."""
    run = object.__new__(Run)
    run.judge, run.names = True, {"parts": ["crown", "belly"], "colours": ["red", "blue"]}
    run.scores = {"attributes": {"judge_parts": {"crown": 1.0, "belly": 0.5}, "parts": {"crown": 0.5, "belly": None}}}
    run.__dict__["readings"] = np.array(answers), np.array(named)
    return run


def test_the_judge_s_readings_are_counted_by_part_and_colour():
    # Red crown seen as red; red crown seen as blue, blue belly as blue; nothing said.
    answers = [[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.3, 0.7]], [[0.5, 0.5], [0.5, 0.5]]]
    run = judged(answers, [[0, -1], [0, 1], [-1, -1]])
    np.testing.assert_allclose(run._agreement(), [0.9, 0.45, np.nan])
    assert [run._misread(row) for row in range(3)] == ["", "crown red, read blue", ""]
    crown, belly = run.parts()["parts"]
    assert crown["said"] == [("red", [(1, 0.5), (1, 0.5)]), ("blue", [(0, 0.0), (0, 0.0)])]
    assert belly["said"] == [("red", [(0, 0.0), (0, 0.0)]), ("blue", [(0, 0.0), (1, 1.0)])]
    assert (crown["real"], crown["generated"], belly["generated"]) == (1.0, 0.5, None)


def test_what_a_kill_left_behind_is_none_of_the_run_s_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("rdg", ".rdg.4711.partial"):
        save_model(tmp_path / "models" / folder, "rdg", {"generator": nn.Linear(3, 2)}, {})
    assert [entry[:2] for entry in hashes()] == [("models/rdg/generator.safetensors", "8")]


def test_text_of_a_data_set_is_text_on_the_page(tmp_path):
    write_page(tmp_path / "a.html", "compare.html.jinja", names=("<script>", "b"), revisions=("1", "2"), groups={},
               parameters=[("a.b", "1 < 2", "&")])  # fmt: skip
    page = (tmp_path / "a.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and "1 &lt; 2" in page and "&amp;" in page


def test_parameters_differ_by_name_and_at_any_depth():
    first = {"seed": 0, "rdg": {"lr": 0.1, "dense": "all"}, "old": {"a": 1}}
    second = {"seed": 0, "rdg": {"lr": 0.2, "dense": "all"}, "new": 3}
    assert list(differences(first, second)) == [("rdg.lr", "0.1", "0.2"), ("old.a", "1", ""), ("new", "", "3")]


def git(*words: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)


def commit_run(seed: int, scores: dict, started: int | None = None) -> None:
    """Leaves and commits what a run of one stage with this seed leaves, started with the seed `started`."""
    for name, text in {
        "params.yaml": yaml.safe_dump({"eval": {"seed": seed, "fid_encoder": "inception_v3_fid"}}, sort_keys=False),
        "metrics/eval.json": json.dumps(scores),
        "dvc.lock": yaml.safe_dump({"stages": {"evaluate": {
            "cmd": f"exec python -m stages.evaluate --seed {started if started is not None else seed} "
            "--fid_encoder inception_v3_fid",
            "params": {"params.yaml": {"eval": {"seed": seed, "fid_encoder": "inception_v3_fid"}}},
            "outs": [{"path": "metrics/eval.json", "md5": str(scores)}],
        }}}, sort_keys=False),
    }.items():  # fmt: skip
        with open(name, "w") as file:
            file.write(text)
    git("add", "-A")
    git("commit", "-qm", f"seed {seed}")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A repository with a run on main, another as an experiment `exp-b`, and one whose scores are another run's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    git("init", "-q", "-b", "main")
    commit_run(0, {"fid": 20.0, "map": 0.5, "is_mean": 4.0, "queries": 7})
    commit_run(1, {"fid": 18.5, "map": 0.25, "map_chance": 0.1, "queries": 9})
    git("update-ref", "refs/exps/ab/cdef/exp-b", "HEAD")
    commit_run(2, {"fid": 1.0}, started=1)
    git("update-ref", "refs/exps/ab/cdef/exp-c", "HEAD")
    git("reset", "-q", "--hard", "HEAD~2")


def compare(*names: str):
    return CliRunner().invoke(main, ["report", "--compare", *names, "-o", "c.html"], catch_exceptions=False)


def test_two_runs_stand_side_by_side(runs, tmp_path):
    result = compare("main", "exp-b")
    assert (result.exit_code, result.stdout) == (0, "c.html\n"), result.stderr
    page = (tmp_path / "c.html").read_text()
    rows = dict(re.findall(r'<tr id="(\w+)">(.*?)</tr>', page, re.DOTALL))
    cells = {key: re.findall(r"<td[^>]*?(good|bad|)\">([^<]*)</td>", row) for key, row in rows.items()}
    assert cells["fid"] == [("", "20.0"), ("", "18.5"), ("good", "−1.50")]
    assert cells["map"] == [("", "0.500"), ("", "0.250"), ("bad", "−0.250")]
    assert cells["queries"] == [("", "7.00"), ("", "9.00"), ("", "+2.00")]
    assert cells["is_mean"] == [("", "4.00"), ("", ""), ("", "")] and cells["map_chance"][2] == ("", "")
    assert re.search(r"eval\.seed</th><td[^>]*>0</td><td[^>]*>1</td>", page)
    compare("main", "exp-b")
    assert (tmp_path / "c.html").read_text() == page


@pytest.mark.parametrize("name, told", [
    ("exp-x", "exp-x: no commit, no experiment; see git log"),
    ("exp-c", "exp-c: its scores are not of its parameters"),
])  # fmt: skip
def test_a_run_that_cannot_be_compared_is_named(runs, name, told, tmp_path):
    result = compare("main", name)
    assert result.exit_code == 1 and result.stderr.startswith(f"error: {told}")
    assert not (tmp_path / "c.html").exists()
