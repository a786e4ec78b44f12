"""Every kind of data set through the whole DAG at scale=smoke, from a miniature in its own layout to metrics."""

import json
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from dag import ROOT, composed, ordered, run_stage
from miniatures import write_cub, write_oxford102
from miniatures_speech import write_flickr8k, write_manifest, write_places
from miniatures_stamps import write_stamps
from miniatures_svg import write_emoji, write_ktuberling

from s2igan.catalog import read_catalog
from s2igan.metrics.retrieval import chance_average_precision
from s2igan.store import FixedReader, RaggedReader

WRITERS = {
    "cub": write_cub,
    "oxford102": write_oxford102,
    "flickr8k": write_flickr8k,
    "places": write_places,
    "stamps": write_stamps,
    "ktuberling": write_ktuberling,
    "emoji": write_emoji,
    "manifest": write_manifest,
}


# What `catalog` and `synthesize` make of these is of a kind with another's: captions of Reed et al. (cub), recordings
# of images without classes (flickr8k) and with them (stamps), texts in several languages (manifest).
READ = ("oxford102", "places", "ktuberling", "emoji")


@contextmanager
def stages_run(name, stages, tmp_path_factory):
    """A folder in which these stages run on a miniature, and what they said."""
    folder = tmp_path_factory.mktemp(name)
    raw = folder / "data/raw" / name
    shutil.copytree(ROOT / "data/raw" / name, raw, ignore=lambda _, names: [n for n in names if n != "README.md"])
    WRITERS[name](raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("S2IGAN_WORKERS", "2" if name == "manifest" else "1")
        # A miniature has few classes and images.
        few = ("catalog.val_classes=1", "rdg.batch_size=4", "eval.queries_per_class=1")
        params = composed(f"dataset={name}", "scale=smoke", *few)
        yield name, folder, {stage: run_stage(stage, params) for stage in stages}


@pytest.fixture(params=[name for name in WRITERS if name not in READ], scope="module")
def run(request, tmp_path_factory):
    """The whole DAG."""
    with stages_run(request.param, ordered(), tmp_path_factory) as done:
        yield done


@pytest.mark.parametrize("name", READ)
def test_a_data_set_is_read_as_another_of_its_kind(name, tmp_path_factory):
    with stages_run(name, ("prepare", "catalog", "synthesize"), tmp_path_factory) as done:
        test_speech_is_read_aloud_or_taken_as_recorded(done)
        test_no_picture_and_no_held_out_class_leaks_into_training(done)


def test_a_data_set_runs_from_its_own_files_to_scores_and_figures(run):
    name, folder, _ = run
    catalog = read_catalog(folder / "data/catalog")
    assert (catalog.dataset, catalog.raw) == (name, f"data/raw/{name}")
    sen, scores, attributes, robustness = (
        json.loads((folder / f"metrics/{file}.json").read_text())
        for file in ("sen", "eval", "attributes", "robustness")
    )
    tested = catalog.split("test")
    assert (sen["captions"], sen["images"]) == (len(tested), len(catalog.first_of("test")))
    group_of = catalog.group_of()
    kinds = [group_of[caption.image] for caption in catalog.first_of("test")]
    chance = [chance_average_precision(kinds.count(group_of[c.image]), len(kinds)) for c in tested]
    assert sen["speech_to_image_map_chance"] == pytest.approx(float(np.mean(chance)), rel=1e-4)
    assert scores["fd_efficientnet_lite0"] > 0 and "map_same_images" in scores
    classes = {image.class_name for image in catalog.images} - {""}
    assert ("is_mean" in scores) == ("fd_classifier" in scores) == bool(classes)
    assert "fd_efficientnet_lite0_real" in scores and not [score for score in scores if score.endswith("_oracle")]
    if name in ("cub", "oxford102"):
        assert 0 < scores["map_chance"] < 1
    assert attributes == {"protocol": ["judge.enabled=false: the data set's attributes are not known"]}
    limit = composed(f"dataset={name}", "scale=smoke")["robustness"]["captions"]  # of stamps all, for each language
    assert robustness["captions"] == min(limit, len(tested))
    # The controls are what they are called: neither is the run itself.
    drawn = {}
    for control in ("", "_untrained", "_shuffled"):
        with FixedReader(folder / f"data/generated{control}.h5", "generated") as file:
            drawn[control] = file.values()
    assert (drawn[""] != drawn["_untrained"]).any() and (drawn[""] != drawn["_shuffled"]).any(axis=(1, 2, 3)).all()
    for figure in ("dataset", "samples", "generated", "keyword", "sen_curves", "rdg_curves", "rdg_training"):
        assert (folder / f"metrics/figures/{figure}.png").stat().st_size > 500


def test_the_report_leaves_out_what_a_data_set_has_not(run):
    name, folder, _ = run
    page = (folder / "metrics/report.html").read_text()
    headings = re.findall(r'<h2 id="(\w+)">', page)
    assert headings == [*"run scores samples extremes robustness curves figures made".split()]  # no judge, no keyword
    assert page.count("<audio") == 2 and "None" not in page and ">nan<" not in page
    classes = {image.class_name for image in read_catalog(folder / "data/catalog").images} - {""}
    assert 'data-column="oracle"' not in page and ('id="is_mean"' in page) == bool(classes)


def test_training_says_what_was_held_out(run):
    name, _, said = run
    held_out = "classes" if name in ("cub", "oxford102") else "images"
    assert said["train_sen"].rstrip().endswith(f"on held-out {held_out}")
    assert said["keyword"] == "keyword.enabled is off\n"


def test_speech_is_read_aloud_or_taken_as_recorded(run):
    name, folder, _ = run
    with RaggedReader(folder / "data/speech.h5", "speech") as speech:
        engine, voices = speech.attributes["engine"], set(speech.column("voice"))
    catalog = read_catalog(folder / "data/catalog")
    if name in ("cub", "oxford102", "emoji"):
        assert engine == "espeak" and all(caption.text for caption in catalog.captions)
    elif name in ("flickr8k", "places", "stamps", "ktuberling"):
        # No text is used at all, as for a language without writing.
        assert engine == "recordings" and not any(caption.text for caption in catalog.captions)
        assert voices == {caption.speaker or "unknown" for caption in catalog.captions}


def test_no_picture_and_no_held_out_class_leaks_into_training(run):
    name, folder, _ = run
    catalog = read_catalog(folder / "data/catalog")
    of = {split: {i.class_name for i in catalog.images if i.split == split} for split in ("train", "val", "test")}
    paths = {split: {i.path for i in catalog.images if i.split == split} for split in of}
    assert not paths["train"] & paths["test"] and not paths["val"] & paths["test"]
    if name in ("cub", "oxford102"):
        assert not of["train"] & of["test"] and not of["val"] & of["test"] and not of["train"] & of["val"]


@pytest.mark.parametrize("name", WRITERS)
def test_the_paper_s_scale_composes_for_every_data_set(name):
    params = composed(f"dataset={name}", "scale=paper")
    assert params["catalog"]["dataset"] == name and params["catalog"]["load_size"] == 304
    assert params["rdg"]["base_size"] == 64 and params["image_features"]["encoder"] == "inception_v3"
    assert params["eval"]["fid_encoder"] == "inception_v3_fid"
    assert params["prepare"]["raw"] == params["catalog"]["raw"] == f"data/raw/{name}"
    assert not any(params["catalog"][limit] for limit in ("classes", "images_per_class", "captions_per_image"))
