import gzip
import sys
from collections import Counter

import pytest
from data_sets import load
from miniatures_svg import FOLDER, SCENES, scene_of, write_ktuberling

from s2igan.catalog import check
from s2igan.datasets import ktuberling
from s2igan.datasets.svg import Scene
from s2igan.errors import InputError
from s2igan.splits import Limits


@pytest.fixture
def raw(tmp_path):
    write_ktuberling(tmp_path)
    return tmp_path


def test_a_class_is_a_word_whatever_the_scene(raw):
    """A bow to shoot with is none to wear, and a bauble no ball."""
    catalog = check(load("ktuberling", raw, Limits()))
    assert {image.path: image.class_name for image in catalog.images} == {
        "objects/potato/ear_1.png": "ear", "objects/potato/ear_2.png": "ear", "objects/potato/ear_3.png": "ear",
        "objects/potato/tie.png": "tie", "objects/xmas/ball_S.png": "xmas_ball",
        "objects/xmas/ball_L.png": "xmas_ball", "objects/xmas/a.png": "star", "objects/xmas/b.png": "star",
        "objects/xmas/c.png": "star", "objects/xmas/ear.png": "ear",
        "objects/robots/ear9.png": "ear", "objects/robots/ear7.png": "ear", "objects/robots/bow.png": "tux-bow",
    }  # fmt: skip
    assert not any(caption.text for caption in catalog.captions)


@pytest.mark.parametrize("seed", range(4))
def test_an_object_is_heard_in_the_languages_of_its_split(raw, seed):
    catalog = check(load("ktuberling", raw, Limits(seed=seed)))
    split = {image.path: image.split for image in catalog.images}
    drawings = ("potato/ear_1", "potato/ear_3", "xmas/ear", "robots/ear9")
    assert Counter(split[f"objects/{image}.png"] for image in drawings) == {"train": 2, "val": 1, "test": 1}
    for one, other in (("potato/ear_1", "potato/ear_2"), ("robots/ear7", "robots/ear9")):  # one drawing, turned
        assert split[f"objects/{one}.png"] == split[f"objects/{other}.png"]
    assert {image.class_name for image in catalog.images if image.split != "train"} == {"ear", "star"}
    heard = {part: {caption.speaker for caption in catalog.split(part)} for part in ("train", "val", "test")}
    assert heard["val"] == {"nn"} and heard["test"] <= {"uk", "gl"} and "uk" in heard["test"]
    assert heard["train"] == {"ca", "fr", "ru", *"da de el en es fi ga it lt nds nl pt ro sl sr sv wa".split()}
    assert all(caption.speaker == caption.language for caption in catalog.captions)


def test_captions_are_numbered_by_language_and_the_first_differ(raw):
    whole = {caption.key: caption for caption in load("ktuberling", raw, Limits()).captions}
    caption = whole["tie/potato_tie/00"]
    assert (caption.language, caption.recording) == ("ca", f"{FOLDER}/sounds/ca/a_tie.wav")
    # A sound that a language lists without a file is not there.
    assert {key for key in whole if key.startswith("tie/")} == {f"tie/potato_tie/{n}" for n in ("00", "07", "17")}
    anew = load("ktuberling", raw, Limits(hold_out="image")).training_captions()
    assert {"uk", "nn", "gl"} <= {caption.language for caption in anew}
    few = load("ktuberling", raw, Limits(captions_per_image=1)).captions
    assert all(whole[caption.key] == caption for caption in few)
    assert len({caption.language for caption in few}) > 3


def test_what_is_missing_is_told_with_the_mend(tmp_path, raw):
    with pytest.raises(InputError, match="ktuberling/pics: no scenes; run `s2igan fetch ktuberling`"):
        list(ktuberling.rows(tmp_path / "none", Limits()))
    (raw / "objects").rename(raw / "other")
    with pytest.raises(InputError, match="objects: missing; run `s2igan fetch ktuberling`"):
        list(ktuberling.rows(raw, Limits()))
    (raw / "other").rename(raw / "objects")
    sounds = raw / FOLDER / "sounds"
    (sounds / "wa.soundtheme").write_text("<language>")
    with pytest.raises(InputError, match=r"wa.soundtheme: missing or damaged \(.*\); run `s2igan fetch ktuberling`"):
        list(ktuberling.rows(raw, Limits()))


def test_objects_are_cut_out_of_their_scenes(tmp_path):
    """Beside the page, in the size and colour that their groups give them, and nothing of what lies there too."""
    pytest.importorskip("resvg_py", reason="the extra `svg`")
    scene = Scene(scene_of({"one": "", "two": ""}).encode())
    for name, colour in (("one", (0, 0, 255, 255)), ("two", (255, 0, 0, 255))):
        image = scene.object(name)
        assert max(image.size) in range(280, 321) and image.width / image.height == pytest.approx(2, rel=0.03)
        colours = Counter(image.getdata())
        assert {c for c in colours if c[3] == 255} == {colour} and colours[colour] > 0.95 * image.width * image.height
    with pytest.raises(InputError, match="no object three; fetch the data set again"):
        scene.object("three")
    with pytest.raises(InputError, match="nothing is seen of object empty"):
        Scene(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><g id="empty"/></svg>').object("empty")


def test_all_objects_are_drawn_or_none(tmp_path, monkeypatch):
    write_ktuberling(tmp_path, drawn=False)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "resvg_py", None)
        with pytest.raises(InputError, match="potato.svg: resvg-py: not installed; in the clone give"):
            ktuberling.unpack(tmp_path)
    assert not (tmp_path / "objects").exists()
    pytest.importorskip("resvg_py", reason="the extra `svg`")
    for _ in range(2):
        ktuberling.unpack(tmp_path)
        drawn = {f"{path.parent.name}/{path.stem}" for path in tmp_path.glob("objects/*/*.png")}
        assert drawn == {f"{scene}/{name}" for scene, objects in SCENES.items() for name in objects}
    board = tmp_path / FOLDER / "pics/xmas.svgz"
    board.write_bytes(gzip.compress(scene_of({"ball_S": ""}).encode()))
    with pytest.raises(InputError, match="xmas.svgz: no object ball_L"):
        ktuberling.unpack(tmp_path)
