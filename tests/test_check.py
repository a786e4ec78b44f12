"""What a run would refuse, told before it: by `s2igan check`, and by the first stage."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile
from click.testing import CliRunner
from dag import ROOT, composed, configure
from miniatures_speech import write_picture, write_rows, write_sound

from s2igan import cli
from s2igan.parameters import arguments, parameter_faults
from stages import prepare, train_rdg

WORDS = {"en": ("cat", "dog", "fish", "boat", "tree"), "es": ("gato", "perro", "pez", "barco", "árbol")}


@pytest.fixture
def rows(folder):
    """Five things in two pictures each: the Spanish word is one recording, by Ana or Ben, the English is read aloud."""
    rows = []
    for number, (english, spanish) in enumerate(zip(*WORDS.values(), strict=True)):
        write_sound(Path("own/sounds", f"{english}.wav"), number, 0, 8000 if english == "fish" else 16000)
        for style in "xy":
            image = f"images/{english}-{style}.png"
            write_picture(Path("own", image), number)
            who = ("Ana", "Ben")[number % 2]
            spoken = {"recording": f"sounds/{english}.wav", "text": spanish, "speaker": who, "language": "es"}
            read = {"recording": "", "text": english, "speaker": "", "language": "en"}
            rows += [{"image": image, "class": "thing"} | said for said in (spoken, read)]
    write_rows(Path("own"), rows)
    return rows


def check(*arguments: str):
    result = CliRunner().invoke(cli.main, ["check", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout.splitlines()


def test_a_good_list_is_counted(rows):
    code, _ = check("own")
    _, lines = check("own/manifest.csv", "--json")
    report = json.loads("\n".join(lines))
    assert code == 0 and report["faults"] == report["unusable"] == report["left_out"] == []
    assert report["languages"] == {
        language: {"descriptions": 10, "recorded": recorded, "speakers": speakers, "images": 10, "left_out": 0}
        for language, recorded, speakers in (("es", 10, 2), ("en", 0, 0))
    }
    assert report["speakers"] == {"Ana": 6, "Ben": 4} and report["classes"] == {"thing": 10}
    assert report["sample_rates"] == {"8000": 1, "16000": 4} and report["recordings_of_several_images"] == 5
    # Both pictures of a thing are in one split, so one thing is the test's, and its word unheard.
    assert {split: of["images"] for split, of in report["splits"].items()} == {"train": 6, "val": 2, "test": 2}
    for of in report["words"].values():
        assert (of["words"], of["of_fewer_than_three_images"], of["in_the_test"]) == (5, 5, 1)
        assert len(of["never_heard_in_training"]) == 1


def test_all_faults_of_a_list_are_told_at_once(rows):
    soundfile.write("own/sounds/dog.wav", np.zeros(16000), 16000)
    Path("own/images/boat-x.png").write_text("no image")
    rows[0] |= {"speaker": "ana"}
    rows[3] |= {"text": ""}
    rows[5] |= {"language": "English"}
    rows[7] |= {"image": "images/none.png"}
    rows += [rows[1] | {"text": "красный"}]
    write_rows(Path("own"), rows)
    configure("dataset=manifest", "scale=smoke", rdg={"lr": 0})
    code, lines = check("own")
    faults = [line.removeprefix("fault: ") for line in lines if line.startswith("fault: ")]
    told = [
        "own/manifest.csv: line 5: neither recording nor text; give one of them",
        "own/manifest.csv: line 7: language English; write its ISO 639 code, such as en or pt-BR",
        "own/manifest.csv: line 4: recording sounds/cat.wav has speaker Ana, but ana on line 2",
        "own/manifest.csv: line 4: speaker Ana is ana on line 2; write it one way",
        "own/manifest.csv: line 9: image images/none.png: missing",
        "params.yaml: Invalid value for rdg.lr: 0.0 is not in the range 0<x<=1.",
        "own/manifest.csv: line 22: 'красный' has CYRILLIC letters, which voice en-us",
    ]
    assert code == 1 and all(sum(fault.startswith(start) for fault in faults) == 1 for start in told), faults
    assert lines[-1].startswith(f"{len(faults)} faults") and lines[-1].endswith("; 2 files that cannot be used")
    assert (
        "cannot be used: 1 recordings in es: silent; check the microphone and record it again (sounds/dog.wav)" in lines
    )


@pytest.mark.parametrize("dataset", ["aviary", "manifest"])  # before the first run of one's own data, and after
def test_too_few_images_for_a_batch_are_told(rows, dataset):
    configure(f"dataset={dataset}", "rdg.batch_size=9")
    code, lines = check("own")
    assert code == 1 and lines[-2:] == [
        "fault: params.yaml: rdg.batch_size=9, but 8 images are not of the test; set it to 8 or less, or list more",
        "1 faults, which stop a run; 0 files that cannot be used",
    ]


def test_of_five_classes_one_is_held_out_at_the_scale_that_is_the_default(rows):
    write_rows(Path("own"), [row | {"class": Path(row["image"]).name[:3]} for row in rows])
    configure("dataset=manifest", "catalog.hold_out=class", "rdg.batch_size=4")
    code, lines = check("own", "--json")
    report = json.loads("\n".join(lines))
    assert code == 0 and {split: of["classes"] for split, of in report["splits"].items()} == {
        "train": 3, "val": 1, "test": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("fit", "cut"), [("crop", 3), ("pad", 0)])
def test_images_are_cut_where_they_are_not_padded(rows, fit, cut):
    for number, path in enumerate(sorted(Path("own/images").iterdir())):
        PIL.Image.new("RGB", (90 if number < 3 else 60, 60)).save(path)
    configure("dataset=manifest", "scale=smoke", f"catalog.fit={fit}")
    _, lines = check("own")
    assert f"images: {cut} are not square and cut; {cut} lose more than a quarter" in lines


def test_a_list_without_a_usable_row_is_told(rows):
    for path in Path("own/images").iterdir():
        path.write_text("no image")
    code, lines = check("own")
    assert code == 1 and "fault: own/manifest.csv: no row is left that can be used" in lines
    write_rows(Path("own"), [rows[0] | {"language": "English"}])
    result = CliRunner().invoke(cli.main, ["check", "own"])
    told = (
        "error: own/manifest.csv: line 2: language English; write its ISO 639 code, such as en or pt-BR; own/manifest"
    )
    assert result.exit_code == 1 and result.stderr.startswith(told)
    assert CliRunner().invoke(cli.main, ["check", "none"]).stderr.startswith("error: none: missing; write the list")


@pytest.mark.parametrize(("changes", "told"), [
    ({"rdg": {"lr": 0}}, "params.yaml: Invalid value for rdg.lr: 0.0 is not in the range 0<x<=1."),
    ({"rdg": {"modulation": "maybe"}}, "params.yaml: rdg.modulation is maybe; set it to true or false"),
    ({"sen": {"kernal": 3}}, "params.yaml: No such option sen.kernal."),
    ({"rdg": {"base_size": 32}}, "image_features.crop_size=32, but rdg.base_size draws 128 pixels; set it to 128"),
    ({"sen": {"region_weight": 1, "places": 8}},
     "sen.region_weight is not 0, so that image_features.regions cannot be 0; set it"),
    ({"rdg": {"region_weight": 1}}, "rdg.region_weight is not 0, so that sen.places cannot be 0; set it"),
    ({"rdg": {"competition_weight": 1}}, "rdg.competition_weight is not 0, so that sen.places cannot be 0; set it"),
    ({"sen": {"places": 8}, "rdg": {"scales": 1}},
     "sen.places is not 0, but a generator with rdg.scales=1 has no stage that attends"),
    ({"sen": {"places": 8, "encoder": "pooled"}},
     "sen.places is not 0, but sen.encoder=pooled has no frames to attend to"),
    ({"sen": {"image_dropout": 0.5, "image_projection": "none"}},
     "sen.image_dropout is not 0, but sen.image_projection=none has no layer for it; set it to 0"),
    ({"sen": {"input": "speech_features", "encoder": "char_cnn_rnn"}, "speech_features": {"model": "own"}},
     "sen.input=speech_features, but sen.encoder=char_cnn_rnn takes text; take log_mel"),
    ({"speech_features": {"model": "own"}}, "speech_features.model=own, but sen.input=log_mel hears none of it"),
    ({"robustness": {"voices": ["slt"]}}, "robustness.voices are given, but no robustness.engine to speak in them"),
    ({"catalog": {"dataset": "cub"}, "judge": {"enabled": False}, "oracle": {"enabled": False}},
     "keyword.enabled: of the birds of dataset=aviary alone all parts are known; set it false"),
    ({"sen": {"dropout": 0.5}}, "sen.dropout is not 0, but sen.encoder=conv_gru has none, only pooled has"),
    ({"robustness": {"rates": [1.25, 1.25]}}, "condition rate1.25 is asked for twice"),
    ({"catalog": {"min_seconds": 0.1}}, "catalog.min_seconds=0.1, but sen.kernel and sen.stride need 0.225 s"),
    ({"sen": {"input": "speech_features"}}, "sen.input=speech_features, but speech_features.model is empty; name one"),
    ({"speech_features": {"model": "/none"}}, "speech_features.model=/none: no such folder; give its whole path"),
    ({"sen": {"noise": 0.5, "input": "speech_features"}, "speech_features": {"model": "own"}},
     "sen.vtlp, sen.noise and sen.reverberation are for sen.input=log_mel alone; set them to 0"),
    ({"sen": {"speed": 0.1, "encoder": "char_cnn_rnn"}}, "reads text, which no augmentation is for"),
    ({"sen": {"patience": 3, "learn_val": True}}, "sen.patience is not 0, but with sen.learn_val nothing validates"),
    ({"robustness": {"engine": "flite"}}, "robustness.engine=flite: name another than tts.engine, and robustness."),
    ({"robustness": {"engine": "flite", "model": "no-flite", "voices": ["slt"]}},
     "params.yaml: engine flite: no program no-flite; install it (apt-get install flite)"),
    ({"tts": {"test_voices": ["tlh"]}}, "params.yaml: voice 'tlh': eSpeak NG has no such voice"),
    ({"tts": {"test_voices": ["en-us+f3"]}}, "tts.test_voices: en-us+f3 is a training voice too"),
])  # fmt: skip
def test_the_first_stage_refuses_what_a_later_one_would(folder, changes, told):
    params = configure("scale=smoke", **changes)
    result = CliRunner().invoke(prepare.main, list(arguments(params["prepare"])))
    assert result.exit_code == 1 and told in result.stderr.splitlines()[-1], result.stderr
    assert not Path("data").exists()


def test_a_stage_that_runs_alone_names_the_parameter_before_its_own_options_are_read(folder):
    """As after `dvc exp run -S rdg.mirrored=maybe`, where nothing before train_rdg has changed."""
    params = configure("scale=smoke", rdg={"mirrored": "maybe"})
    result = CliRunner().invoke(train_rdg.main, list(arguments(params["rdg"])))
    assert (result.exit_code, result.stderr) == (
        1, "error: params.yaml: rdg.mirrored is maybe; set it to true or false\n"
    )  # fmt: skip


def test_the_first_stage_names_the_line_of_a_text_without_a_voice(rows):
    rows[1] |= {"language": "tlh"}
    write_rows(Path("own"), rows)
    params = configure("dataset=manifest", "scale=smoke", "catalog.raw=own")
    result = CliRunner().invoke(prepare.main, list(arguments(params["prepare"])))
    assert result.exit_code == 1 and not Path("data").exists()
    assert result.stderr.splitlines()[-1].startswith(
        "error: own/manifest.csv: line 3: language tlh: espeak has no voice"
    )


@pytest.mark.parametrize(("scale", "system"), [
    ("demo", "s2igan"), ("large", "s2igan"), ("gpu", "s2igan"), ("paper", "s2igan"), ("paper", "reference"),
    ("table", "stackgan_v2_text"),
])  # fmt: skip
def test_what_conf_composes_passes(scale, system, monkeypatch):
    monkeypatch.chdir(ROOT)
    params = composed(f"scale={scale}", f"system={system}")
    assert list(parameter_faults({name: part for name, part in params.items() if isinstance(part, dict)})) == []
