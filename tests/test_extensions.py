"""A data set, a speech engine, an image encoder or a system of one's own is few lines: here a toy of each.

Each is added to a copy of the package as its author would, and run by the stages. Lines outside conf/ are counted.
"""

import difflib
import importlib
import json
import shutil
import sys

import dag
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

MOST_LINES = 40
# Per addition: a new file's text, or, in a file that there is, texts and what takes their places.
DATA_SET = {
    "s2igan/datasets/squares.py": '''
"""Squares, each with its colour's name beside it in a text file; a folder is a class."""

from s2igan.errors import InputError
from s2igan.manifest import Row


def rows(raw, limits):
    for text in sorted(raw.glob("*/*.txt")):
        image = text.with_suffix(".png")
        if not image.is_file():
            raise InputError(f"{image}: missing; draw it, or remove {text}")
        for line in text.read_text().splitlines():
            yield Row(image.relative_to(raw).as_posix(), text=line, class_name=text.parent.name, language="en")
''',
    "conf/dataset/squares.yaml": """
# @package _global_
defaults:
  - manifest
catalog:
  dataset: squares
  raw: raw
  load_size: 40
""",
}
ENGINE = {
    "s2igan/speech/tones.py": '''
"""Says a word as a sine, the higher the longer the word."""

import numpy as np


class Tones:
    name = "tones"
    sample_rate = 16000
    parallel = False

    def __init__(self, rate):
        self.seconds = 60 / rate  # a word

    def voices(self):
        return ["flat", "sharp"]

    def voice_in(self, voice, language):
        return voice

    def require_sayable(self, text, voice):
        pass

    def speak(self, text, voice):
        pitches = [100 * len(word) * (2 if voice == "sharp" else 1) for word in text.split()]
        time = np.arange(round(self.seconds * self.sample_rate)) / self.sample_rate
        return np.concatenate([np.sin(2 * np.pi * pitch * time) / 2 for pitch in pitches]).astype(np.float32)
''',
    "s2igan/speech/engine.py": ("ENGINES = {", 'ENGINES = {\n    "tones": "s2igan.speech.tones:Tones",\n   '),
    "conf/tts/tones.yaml": """
# @package _global_
tts:
  engine: tones
  model: ""
  vocoder: ""
  rate: 240
  train_voices: [flat]
  test_voices: [sharp]
""",
}
ENCODER = {
    "s2igan/vision/encoders.py": (
        "BACKBONES = {",
        """BACKBONES = {
    "grid": Backbone(
        lambda path: nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten()),
        *(lambda: Path(__file__), 64, 4, 48, (0.0,) * 3, (1.0,) * 3),
    ),
""",
    )
}
SYSTEM = {
    "s2igan/sen/model.py": ("OBJECTIVES = (", 'OBJECTIVES = ("triplet", '),
    "s2igan/sen/losses.py": (
        "    def pair_loss(",
        '''    def triplet_loss(self, speech, image, groups):
        """The most similar image of another group, as far as it is not a margin of 0.2 behind the utterance's own."""
        scores = F.normalize(speech, dim=1) @ F.normalize(image, dim=1).T
        hardest = scores.masked_fill(groups[:, None] == groups, -1.0).amax(dim=1)
        return F.relu(0.2 + hardest - scores.diagonal()).mean()

    def pair_loss(''',
        '        if self.objective == "joint_embedding":',
        """        if self.objective == "triplet":
            return self.triplet_loss(speech, image, groups)
        if self.objective == "joint_embedding":""",
    ),
    "s2igan/table1.py": ("SYSTEMS = {", 'SYSTEMS = {\n    "triplet": "a triplet loss in SEN",'),
    "conf/system/triplet.yaml": """
# @package _global_
defaults:
  - s2igan
system: triplet
sen:
  objective: triplet
""",
}
ADDED = {"data set": DATA_SET, "engine": ENGINE, "encoder": ENCODER, "system": SYSTEM}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def lines_added(folder, changes: dict[str, str | tuple[str, ...]]) -> int:
    """Makes new files, and replaces texts of others; how many lines outside conf/ are new."""
    added = 0
    for name, change in changes.items():
        before = (folder / name).read_text() if isinstance(change, tuple) else ""
        after = before or change.lstrip()
        for old, new in zip(change[::2], change[1::2], strict=True) if before else ():
            assert after.count(old) == 1, f"{name}: {old}"
            after = after.replace(old, new)
        (folder / name).write_text(after)
        if not name.startswith("conf/"):
            added += sum(line.startswith("+ ") for line in difflib.ndiff(before.splitlines(), after.splitlines()))
    return added


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the package with its configuration, in place of the package, and the squares' raw files."""
    folder = tmp_path_factory.mktemp("extensions")
    for name in ("s2igan", "stages", "conf"):
        shutil.copytree(dag.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(dag.ROOT / "dvc.yaml", folder)
    for what, changes in ADDED.items():
        assert lines_added(folder, changes) < MOST_LINES, what
    for name, colour in COLOURS.items():
        (folder / "raw" / name).mkdir(parents=True)
        for n in range(5):
            Image.new("RGB", (50 + n, 60), colour).save(folder / f"raw/{name}/{n}.png")
            (folder / f"raw/{name}/{n}.txt").write_text(f"a {name} square\nit is {name}, number {n}\n")

    def forget():
        ours = [name for name in sys.modules if name.split(".")[0] in ("s2igan", "stages")]
        return {name: sys.modules.pop(name) for name in ours}

    own = forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr(dag, "ROOT", folder)
        yield folder
    forget()
    sys.modules.update(own)


CHOICES = ["dataset=squares", "scale=smoke"]


def test_a_data_set(project):
    config = dag.composed(*CHOICES)
    assert "squares: 30 descriptions of 15 images" in dag.run_stage("prepare", config)
    dag.run_stage("catalog", config)
    catalog = importlib.import_module("s2igan.catalog").read_catalog("data/catalog")
    assert catalog.dataset == "squares" and {c.text.split()[1] for c in catalog.captions[::2]} == set(COLOURS)
    for name in COLOURS:
        parts = [image.split for image in catalog.images if image.class_name == name]
        assert sorted(parts) == ["test", "train", "train", "train", "val"]


def test_an_engine(project):
    config = dag.composed(*CHOICES, "tts=tones")
    assert "30 captions spoken" in dag.run_stage("synthesize", config)
    audio, store = (importlib.import_module(f"s2igan.{name}") for name in ("speech.audio", "store"))
    with store.RaggedReader("data/speech.h5", "speech") as speech:
        for key in ("blue/0/00", "red/0/00"):
            samples, rate = audio.decode(speech.value(speech.index(key)).tobytes())
            colour = samples[rate // 4 : rate // 2]  # the second word of three, 60 / 240 s each
            octave = 2 if speech.column("voice")[speech.index(key)] == "sharp" else 1
            assert np.abs(np.fft.rfft(colour)).argmax() * 4 == 100 * len(key.split("/")[0]) * octave
    dag.run_stage("logmel", config)


def test_an_image_encoder(project):
    config = dag.composed(*CHOICES, "image_features.encoder=grid", "eval.encoder=grid", "eval.fid_encoder=grid")
    dag.run_stage("image_features", config)
    with importlib.import_module("s2igan.store").FixedReader("data/image_features.h5", "image_features") as features:
        assert features.attributes["encoder"] == "grid" and features.shape[1:] == (48,)
        seen = features.values()[features.keys.index("green/0"), 0].reshape(3, 16)
    np.testing.assert_allclose(seen, np.repeat([[0.0], [1.0], [0.0]], 16, axis=1), atol=1e-6)
    evaluate = importlib.import_module("stages.evaluate")
    scorers = evaluate.load_encoders(("grid", ""), ("grid", ""), 64)
    assert [scorer.name for scorer in scorers] == ["grid", "grid"]


def test_a_system(project):
    config = dag.composed(*CHOICES, "system=triplet")
    objective = importlib.import_module("s2igan.sen.losses").Objective("triplet")
    speech, image = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    # Behind their own by 0.2 + 0.6 - 1 and 0.2 + 0 - 0.8, both below 0; exchanged by 0.2 + 1 - 0.6, 0.2 + 0.8 - 0.
    groups = torch.tensor([0, 1])
    assert [objective.pair_loss(speech, x, groups).item() for x in (image, image.flip(0))] == pytest.approx([0, 0.8])
    assert "kept epoch" in dag.run_stage("train_sen", config)
    assert json.loads((project / "models/sen/model.json").read_text())["config"]["objective"] == "triplet"


def test_what_a_converter_refuses_and_an_unknown_name_end_in_one_line(project):
    def told(**changes):
        prepare = importlib.import_module("stages.prepare").main
        values = dag.composed(*CHOICES)["prepare"] | changes
        result = CliRunner().invoke(prepare, dag.arguments(values), catch_exceptions=False)
        assert result.exit_code == 1
        return result.stderr

    (project / "raw/red/0.png").rename(project / "raw/red.png")
    assert "error: raw/red/0.png: missing; draw it, or remove raw/red/0.txt" in told()
    known = "aviary, cub, emoji, flickr8k, ktuberling, manifest, oxford102, places, squares, stamps"
    assert f"error: catalog.dataset=circles: unknown; choose one of {known}" in told(dataset="circles")
    assert "nowhere: no such folder; data/raw/squares/README.md says what goes" in told(raw="nowhere")
