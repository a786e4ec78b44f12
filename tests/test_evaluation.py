"""The protocol on a catalog of three test classes whose images and speech are known."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny import rdg
from torch import nn

from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.errors import InputError
from s2igan.metrics import evaluation
from s2igan.metrics.classifier import build_classifier, load_classifier, save_classifier
from s2igan.metrics.frechet import frechet_distance, gaussian_statistics
from s2igan.rdg.sampling import generate as draw
from s2igan.rdg.sampling import image_seed
from s2igan.sen.embedding import caption_embeddings
from s2igan.sen.model import build_sen, load_sen, save_sen
from s2igan.store import FixedReader, FixedWriter, ImageWriter, RaggedWriter
from s2igan.vision.transforms import to_float
from stages import evaluate, generate

# N items, S size of an image

PARTS, COLOURS = ["crown", "wing"], ["red", "green", "blue"]
IMAGES = 4
RGB = dict(red=(220, 30, 30), green=(30, 220, 30), blue=(30, 30, 220))
CROWN = {"t0": "red", "t1": "green", "t2": "blue"}  # of each test class; the wing is always blue
CONTROLS = ("", "_untrained", "_shuffled", "_oracle")
OF_A_SET = (
    *("is_mean", "is_std", "fid", "kid", "precision", "recall"),
    *("fd_classifier", "precision_classifier", "recall_classifier"),
)


def rows(pictures) -> np.ndarray:
    """All images of a reader, or of some rows of one."""
    return np.stack(pictures.values(slice(None)))


def catalog() -> Catalog:
    """Test classes t0 to t2, which the tests score, and one class each of train and val, which they may not see."""
    images, captions = [], []
    for name, split in (("t0", "test"), ("r0", "train"), ("t1", "test"), ("v0", "val"), ("t2", "test")):
        for n in range(IMAGES):
            key = f"{name}/{n:02d}"
            images.append(Image(key, "", name, split))
            text = f"this bird has a {CROWN.get(name, 'green')} crown and blue wings"
            captions += [Caption(f"{key}/{k:02d}", key, text) for k in range(2)]
    return Catalog(tuple(images), tuple(captions))


def picture(key: str, size: int = 18) -> np.ndarray:
    """Of the class's colour, with a little noise that differs from image to image: uint8 (3, S, S)."""
    class_name, number = key.split("/")[:2]
    colour = np.array(RGB[CROWN.get(class_name, "green")])
    rng = np.random.default_rng([int(class_name[1]), int(number)])
    return (colour[:, None, None] + rng.integers(-20, 21, (3, 1, 1)) + np.zeros((3, size, size))).astype(np.uint8)


SEN = {"feature_dim": 3, "classes": 1, "bands": 8, "conv_channels": [4], "gru_hidden": 4, "attention_hidden": 4}


class MeanColour(nn.Module):
    """Stands for the frozen encoder: a feature a colour channel."""

    feature_dim, input_size, weights_hash = 3, 32, "0123456789abcdef"

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.seen = 0
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, images):
        self.seen += len(images)
        return images.mean(dim=(2, 3)) + 2.0  # never a row of zeros


class Blind(MeanColour):
    """All images look the same to it."""

    input_size, weights_hash = 48, "fedcba9876543210"

    def forward(self, images):
        return torch.ones_like(super().forward(images))


@pytest.fixture
def project(folder):
    return catalog()


def write(path, kind, keys, values, **columns):
    values = np.asarray(values)
    if kind == "images":
        with ImageWriter(path) as out:
            for key, image in zip(keys, values, strict=True):
                out.append(key, image)
        return
    with FixedWriter(path, kind, values.shape[1:], values.dtype, {"seed": 0}, list(columns)) as out:
        out.append(keys, values, **columns)


def speech_of(key: str) -> np.ndarray:
    """An embedding (8,) of the caption's image, of unit length."""
    values = np.random.default_rng([ord(c) for c in key.rsplit("/", 1)[0]]).standard_normal(8)
    return (values / np.linalg.norm(values)).astype(np.float32)


@pytest.fixture
def pictures(project):
    """`generated` and `_oracle` show the real images; `_shuffled` those under another class; `_untrained` grey."""
    write("data/images.h5", "images", [i.key for i in project.images], [picture(i.key) for i in project.images])
    captions = project.split("test")
    keys = [caption.key for caption in captions]
    fakes = np.stack([picture(key, 16) for key in keys])
    write("data/generated.h5", "generated", keys, fakes)
    write("data/generated_oracle.h5", "generated", keys, fakes)
    write("data/generated_shuffled.h5", "generated", keys, np.roll(fakes, 2 * IMAGES, axis=0))
    grey = 120 + np.random.default_rng(0).integers(0, 3, (len(keys), 3, 1, 1)) + np.zeros((1, 3, 16, 16))
    write("data/generated_untrained.h5", "generated", keys, grey.astype(np.uint8))
    config = {"heads": [3], "channels": 4, "image_size": 16, "views": 1}
    save_classifier("models/classifier", "classifier", build_classifier(config), {"classes": ["t0", "t1", "t2"]})
    return project


def image_scores(project, encoder="inception_v3_fid", fid_encoder=None, queries_per_class=2, is_splits=1) -> dict:
    """By MeanColour under the name `encoder`, or by the encoder or two that are given."""
    encoder = MeanColour(encoder) if isinstance(encoder, str) else encoder
    speech = {caption.key: speech_of(caption.key) for caption in project.split("test")}
    networks = (encoder, fid_encoder or encoder)
    return evaluation.image_scores(project, speech, *networks, queries_per_class, is_splits, seed=0)


def test_pictures_that_are_the_real_ones_score_as_such(pictures):
    scores = image_scores(pictures)
    assert scores["fid"] == pytest.approx(0, abs=0.01)  # unbiased covariances of 12 and of twice these 12
    assert scores["map"] == 1 and scores["map_same_images"] == 1
    assert scores["fid_untrained"] > 100 * max(scores["fid"], 0.001)


def test_the_frechet_distance_cannot_see_whose_speech_it_is_and_the_joint_one_can(pictures):
    scores = image_scores(pictures)
    assert scores["fid_shuffled"] == pytest.approx(scores["fid"], abs=1e-9)
    (joint,) = (key for key in scores if key.startswith("fj") and not key.endswith(CONTROLS[1:]))
    assert scores[f"{joint}_oracle"] == scores[joint]
    assert scores[f"{joint}_shuffled"] > scores[joint] + 0.05
    assert scores["map_shuffled"] < 0.4  # each query meets its own colour under another class only


def test_every_score_is_there_for_each_control_and_beside_chance(pictures):
    scores = image_scores(pictures)
    for name in (*OF_A_SET, "map", "map_same_images"):
        for control in CONTROLS:
            assert np.isfinite(scores[f"{name}{control}"])
    assert {name for name in scores if name.endswith("_real")} == {f"{name}_real" for name in (*OF_A_SET, "map")}
    # 24 fakes, of which 22 are not the query's own and 6 are of its class.
    p, harmonic = 5 / 21, sum(1 / k for k in range(1, 23))
    assert scores["map_chance"] == pytest.approx(p + (1 - p) * harmonic / 22)
    # Of the 12 fakes from the query images' captions, 4 are of the query's class.
    p, harmonic = 3 / 11, sum(1 / k for k in range(1, 13))
    assert scores["map_same_images_chance"] == pytest.approx(p + (1 - p) * harmonic / 12)
    counts = {"real_images": 12, "generated_images": 24, "classes": 3, "queries": 6, "query_images": 2, "is_splits": 1}
    assert {name: scores[name] for name in counts} == counts
    assert scores["encoder_weights"] == "0123456789abcdef" and scores["encoder_input_size"] == 32
    json.dumps(scores)


@pytest.mark.parametrize(("encoder", "names"), [
    ("inception_v3_fid", {"fid", "fjd", "kid"}),
    ("inception_v3", {"fd_inception_v3", "fjd_inception_v3", "kd_inception_v3"}),
    ("efficientnet_lite0", {"fd_efficientnet_lite0", "fjd_efficientnet_lite0", "kd_efficientnet_lite0"}),
])  # fmt: skip
def test_only_the_features_that_the_field_uses_make_a_fid(pictures, encoder, names):
    scores = image_scores(pictures, encoder)
    assert scores["encoder"] == scores["fid_encoder"] == encoder
    measured = {key for key in scores if key.startswith(("fi", "fd", "fj", "k")) and isinstance(scores[key], float)}
    own = {"fd_classifier"}
    assert {key for key in measured if not key.endswith((*CONTROLS[1:], "_real"))} == names | own
    assert set(evaluation.distance_names(encoder)) == names
    expected = {f"{name}{control}" for name in names | own for control in (*CONTROLS, "_real")}
    assert measured == {name for name in expected if not name.startswith("fj") or not name.endswith("_real")}


def test_the_fid_encoder_measures_distances_and_the_other_one_retrieval(pictures):
    """An encoder that sees nothing finds no distance, and every order of the images equally good."""
    sharp, blind = MeanColour("inception_v3"), Blind("inception_v3_fid")
    scores = image_scores(pictures, sharp, blind)
    assert scores["map"] == 1 and scores["map_shuffled"] < 0.4
    assert scores["fid"] == scores["fid_untrained"] == pytest.approx(0, abs=1e-6)
    alone = image_scores(pictures, sharp)
    assert {name: scores[name] for name in scores if name.startswith("map")} == {
        name: alone[name] for name in alone if name.startswith("map")
    }

    scores = image_scores(pictures, Blind("inception_v3"), MeanColour("inception_v3_fid"))
    assert scores["map"] == pytest.approx(6 / 22) == scores["map_shuffled"]  # all tie: the share of the class
    expected = image_scores(pictures, "inception_v3_fid")
    for name in ("fid", "fjd", "kid"):
        for control in CONTROLS:
            assert scores[f"{name}{control}"] == expected[f"{name}{control}"]


def test_both_encoders_and_the_classifier_are_recorded(pictures):
    scores = image_scores(pictures, MeanColour("inception_v3"), Blind("inception_v3_fid"))
    recorded = {name: value for name, value in scores.items() if "encoder" in name or name.startswith("classifier_")}
    weights = hashlib.sha256(Path("models/classifier/classifier.safetensors").read_bytes()).hexdigest()[:16]
    assert recorded == {
        "encoder": "inception_v3", "encoder_weights": "0123456789abcdef", "encoder_input_size": 32,
        "fid_encoder": "inception_v3_fid", "fid_encoder_weights": "fedcba9876543210", "fid_encoder_input_size": 48,
        "classifier_network": "small", "classifier_weights": weights, "classifier_classes": 3,
    }  # fmt: skip


def test_pictures_are_read_a_block_at_a_time(pictures, monkeypatch):
    whole = image_scores(pictures)
    monkeypatch.setattr(evaluation, "BLOCK", 5)
    parts = image_scores(pictures)
    for name in ("fid", "fid_untrained", "map", "map_shuffled"):
        assert parts[name] == pytest.approx(whole[name], abs=1e-5)


@pytest.mark.parametrize(
    ("fid_encoder", "fid_size"), [("efficientnet_lite0", 96), ("inception_v3_fid", 0), ("inception_v3", 0)]
)
def test_evaluate_gives_each_encoder_its_weights_and_size(monkeypatch, fid_encoder, fid_size):
    loaded = []
    monkeypatch.setattr(evaluate, "load_encoder", lambda *told: loaded.append(told) or nn.Linear(1, 1))
    evaluate.load_encoders(("efficientnet_lite0", "a.pth"), (fid_encoder, "b.pth"), 96)
    assert loaded == [("efficientnet_lite0", "a.pth", 96), (fid_encoder, "b.pth", fid_size)]


def test_the_inception_score_is_that_of_the_classifier(pictures):
    """An untrained classifier of equal logits has the score 1, whatever it sees."""
    model = build_classifier({"heads": [3], "channels": 4, "image_size": 16, "views": 1})
    nn.init.zeros_(model.answers[0].weight)
    nn.init.zeros_(model.answers[0].bias)
    save_classifier("models/classifier", "classifier", model)
    scores = image_scores(pictures)
    for control in CONTROLS:
        assert scores[f"is_mean{control}"] == pytest.approx(1) and scores[f"is_std{control}"] == 0


def test_without_a_renderer_there_is_no_ceiling(pictures):
    write("data/generated_oracle.h5", "generated", [], np.zeros((0, 3, 16, 16), np.uint8))
    scores = image_scores(pictures)
    assert not [name for name in scores if name.endswith("_oracle")] and "map_real" in scores


def test_real_images_find_those_of_their_class_but_not_themselves(pictures):
    """Colours of a class differ from those of the others by far, so each query finds its class's images first."""
    scores = image_scores(pictures)
    assert scores["map_real"] == 1 and scores["fid_real"] > scores["fid"]
    p, harmonic = 2 / 10, sum(1 / k for k in range(1, 12))  # 12 images but the query; 3 of its class
    assert scores["map_real_chance"] == pytest.approx(p + (1 - p) * harmonic / 11)


def test_a_split_of_the_inception_score_is_as_large_for_real_images_as_for_generated_ones(pictures, monkeypatch):
    found = []
    monkeypatch.setattr(
        evaluation, "inception_score", lambda _, keys, splits, seed: found.append((len(keys), splits)) or (1.0, 0.0)
    )
    image_scores(pictures, is_splits=6)
    assert found == [(24, 6)] * 4 + [(12, 3)]


def test_no_more_training_images_are_compared_than_were_generated(pictures):
    assert image_scores(pictures)["training_images"] == 8
    real = [image for image in pictures.images if image.split == "test"]
    keys = [f"{real[row].key}/00" for row in evaluation._queries(pictures, real, 2, 0)[0]]
    write("data/generated.h5", "generated", keys, [picture(key, 16) for key in keys])
    assert image_scores(pictures)["training_images"] == len(keys) == 6


def test_the_classifier_s_distance_is_between_its_pooled_features(pictures):
    scores, (model, _) = image_scores(pictures), load_classifier("models/classifier", "classifier")
    real = [image.key for image in pictures.images if image.split == "test"]
    with FixedReader("data/generated_untrained.h5", "generated") as file:
        grey = file.values()
    with torch.no_grad():
        sets = [
            model.pooled(to_float(torch.from_numpy(images)))[:, 0].numpy()
            for images in (np.stack([picture(key)[:, 1:17, 1:17] for key in real]), grey)
        ]
    expected = frechet_distance(*gaussian_statistics(sets[0]), *gaussian_statistics(sets[1]))
    assert scores["fd_classifier_untrained"] == pytest.approx(expected, rel=1e-4) and expected > 0


def test_pictures_of_one_image_a_class_leave_the_queries_nothing_to_find(pictures):
    keys = [c.key for c in pictures.split("test") if c.image.endswith("/00")]
    for control in CONTROLS:
        write(f"data/generated{control}.h5", "generated", keys, [picture(key, 16) for key in keys])
    with pytest.raises(InputError, match="generate from the captions of at least two images of each class"):
        image_scores(pictures, queries_per_class=IMAGES)


@pytest.fixture
def space(project, monkeypatch):
    """Speech embeddings equal to those of the captions' own images, features that differ most by class."""
    notes = {"image_encoder": {"encoder": "inception_v3", "weights_hash": "abc"}, "speech": {"test_voices": ["x", "y"]}}
    save_sen("models/rdg_sen", build_sen(SEN), {**SEN, **notes})
    monkeypatch.setattr(evaluation, "load_classifier", lambda *_: (None, {}))
    rng = np.random.default_rng(0)
    classes = [image.class_name for image in project.images]
    features = np.stack([10 * np.eye(3)[int(name[1]) % 3] + rng.uniform(0, 2, 3) for name in classes])
    views = np.stack([features, rng.standard_normal(features.shape)], axis=1)  # only the centre view may count
    write("data/image_features.h5", "image_features", [i.key for i in project.images], views.astype(np.float32))
    sen, _ = load_sen("models/rdg_sen")
    with torch.inference_mode():
        own = sen.image(torch.from_numpy(features).float()).numpy()
    return project, {image.key: row for image, row in zip(project.images, own, strict=True)}


def retrieval_scores(project, embedding_of):
    speech = {caption.key: embedding_of(caption).astype(np.float32) for caption in project.split("test")}
    return evaluation.retrieval_scores(project, speech, torch.device("cpu"))


def test_speech_that_lies_on_its_picture_finds_it_and_its_class(space):
    project, own = space
    scores, table = retrieval_scores(project, lambda caption: own[caption.image])
    assert scores["speech_to_image_r1"] == scores["image_to_speech_r1"] == 1
    assert scores["speech_to_image_map"] == pytest.approx(1) and scores["image_to_speech_map"] == pytest.approx(1)
    assert scores["median_rank"] == scores["image_to_speech_median_rank"] == 1
    counts = {"captions": 24, "images": 12, "classes": 3, "voices": 2}  # the test split alone
    assert {name: scores[name] for name in counts} == counts
    assert (scores["encoder"], scores["encoder_weights"]) == ("inception_v3", "abc")
    # 4 images and 8 captions of a class: precision falls when they are all found.
    assert [row["k"] for row in table] == [1, 2, 5, 10]
    assert [row["speech_to_image"] for row in table] == pytest.approx([1, 1, 4 / 5, 4 / 10])
    assert [row["image_to_speech"] for row in table] == pytest.approx([1, 1, 1, 8 / 10])


def test_a_perfect_ear_is_the_ceiling_of_retrieval(space, monkeypatch):
    """Every second caption leaves out the crown, which alone tells the species: then all images tie."""
    project, own = space
    assert not [name for name in retrieval_scores(project, lambda caption: own[caption.image])[0] if "oracle" in name]
    monkeypatch.setattr(evaluation, "load_classifier", lambda *_: (object(), {"parts": PARTS, "colours": COLOURS}))
    for silent, forth, back in ((False, 1, 1), (True, (1 + 4 / 12) / 2, None)):
        captions = [
            replace(c, text="a bird with blue wings") if silent and c.key.endswith("01") else c
            for c in project.captions
        ]
        scores, _ = retrieval_scores(replace(project, captions=tuple(captions)), lambda caption: own[caption.image])
        assert scores["speech_to_image_map_oracle"] == pytest.approx(forth)
        if back:
            assert scores["image_to_speech_map_oracle"] == pytest.approx(back)


def test_chance_is_that_of_a_random_order(space):
    project, own = space
    scores, _ = retrieval_scores(project, lambda caption: own[caption.image])
    for name, relevant, gallery in (("speech_to_image_map_chance", 4, 12), ("image_to_speech_map_chance", 8, 24)):
        p, harmonic = (relevant - 1) / (gallery - 1), sum(1 / k for k in range(1, gallery + 1))
        assert scores[name] == pytest.approx(p + (1 - p) * harmonic / gallery)


def answers(shown: list[list[int]]) -> np.ndarray:
    """Images that say themselves what a judge reads of them: colour number of part p at pixel p."""
    pictures = np.zeros((len(shown), 3, 16, 16), np.uint8)
    pictures[:, 0, 0, : len(PARTS)] = shown
    return pictures


@pytest.fixture
def judged(project, monkeypatch):
    """Generated images show what was said; `_shuffled` a wrong crown; `_untrained` all red."""
    judge = SimpleNamespace(image_size=16)
    monkeypatch.setattr(evaluation, "load_classifier", lambda *_: (judge, {"parts": PARTS, "colours": COLOURS}))
    monkeypatch.setattr(
        evaluation, "predict", lambda _, pictures: [np.eye(3)[rows(pictures)[:, 0, 0, p]] for p in range(len(PARTS))]
    )

    def true(key, shift=0):
        return [(COLOURS.index(CROWN.get(key.split("/")[0], "green")) + shift) % 3, COLOURS.index("blue")]

    write("data/images.h5", "images", [i.key for i in project.images], answers([true(i.key) for i in project.images]))
    keys = [caption.key for caption in project.split("test")]
    write("data/generated.h5", "generated", keys, answers([true(key) for key in keys]))
    write("data/generated_shuffled.h5", "generated", keys, answers([true(key, 1) for key in keys]))
    write("data/generated_oracle.h5", "generated", keys, answers([true(key) for key in keys]))
    write("data/generated_untrained.h5", "generated", keys, answers([[0, 0] for _ in keys]))
    columns = dict(part=["crown"] * 8, new=["green"] * 8)
    few = keys[:8]  # red crowns that are to turn green
    write("data/keyword_before.h5", "generated", few, answers([true(key) for key in few]), **columns)
    after = [[1, 2]] * 5 + [[0, 2]] + [[1, 0]] * 2  # one does not turn; two change their wings as well
    write("data/keyword_after.h5", "generated", few, answers(after), **columns)
    return project


def test_attribute_scores_count_what_the_judge_reads(judged):
    scores = evaluation.attribute_scores(judged)
    assert scores["judge_accuracy"] == 1
    assert scores["part_colour_accuracy"] == scores["part_colour_accuracy_all_parts"] == 1
    assert scores["part_colour_accuracy_oracle"] == 1
    assert scores["part_colour_accuracy_shuffled"] == pytest.approx(1 / 2)  # wings right, crowns wrong
    assert scores["part_colour_accuracy_untrained"] == pytest.approx(1 / 6)  # a third of the crowns
    assert scores["colour_chance"] == pytest.approx(1 / 3)
    assert scores["keyword_changed"] == pytest.approx(7 / 8) and scores["keyword_changed_before"] == 0
    assert scores["keyword_kept"] == pytest.approx(6 / 8)
    assert scores["parts"] == scores["judge_parts"] == {"crown": 1, "wing": 1}
    counts = {"generated_images": 24, "colours_named": 48, "judged_real_images": 12, "keyword_pairs": 8}
    assert {name: scores[name] for name in counts} == counts and scores["keyword_other_parts"] == 8
    json.dumps(scores)


def test_a_part_that_no_caption_names_is_not_counted(judged):
    """Captions of t0 say nothing of wings, and its images have the wrong ones."""
    quiet = tuple(
        Caption(c.key, c.image, "this bird has a red crown") if c.image.startswith("t0") else c for c in judged.captions
    )
    keys = [caption.key for caption in judged.split("test")]
    with FixedReader("data/generated.h5", "generated") as file:
        shown = file.values()
    shown[[key.startswith("t0") for key in keys], 0, 0, 1] = COLOURS.index("green")
    Path("data/generated.h5").unlink()
    write("data/generated.h5", "generated", keys, shown)
    scores = evaluation.attribute_scores(Catalog(judged.images, quiet))
    assert scores["part_colour_accuracy"] == 1 and scores["colours_named"] == 40


@pytest.mark.parametrize("counts", [(4, 4), (5, 3, 2), (1, 1, 1, 1), (10, 4, 6), (7, 1, 1, 1, 1, 1, 1, 1)])
def test_another_class_is_a_permutation_that_leaves_none_with_its_own(counts):
    classes = [f"c{n}" for n, count in enumerate(counts) for _ in range(count)]
    classes = [classes[i] for i in np.random.default_rng(9).permutation(len(classes))]
    partner = generate.another_class(classes, 0)
    assert sorted(partner) == list(range(len(classes)))
    assert all(classes[other] != name for other, name in zip(partner, classes, strict=True))
    np.testing.assert_array_equal(partner, generate.another_class(classes, 0))


def test_another_class_depends_on_the_seed_and_spreads_over_classes():
    classes = [f"c{n % 10}" for n in range(200)]
    first, second = generate.another_class(classes, 0), generate.another_class(classes, 1)
    assert (first != second).mean() > 0.8
    assert Counter(classes[i] for i in first) == Counter(classes)


def write_log_mels(project):
    """Noise of its own for each image, which all of its captions share."""
    with RaggedWriter("data/logmel.h5", "logmel", 8, "float16") as out:
        for caption in project.captions:
            rng = np.random.default_rng([ord(c) for c in caption.image])
            out.append(caption.key, rng.standard_normal((40 + rng.integers(20), 8)))


def run_generate(*changes: str):
    arguments = ["--captions_per_image", "1", "--batch_size", "5", "--seed", "3", *changes]
    result = CliRunner().invoke(generate.main, arguments)
    assert result.exit_code == 0, result.output


def generated(control: str) -> tuple[list[str], np.ndarray, list[int]]:
    with FixedReader(f"data/generated{control}.h5", "generated") as file:
        return file.keys, file.values(), file.column("seed")


def test_the_controls_are_the_network_at_its_start_and_speech_of_another_class(project):
    write_catalog("data/catalog", project)
    write_log_mels(project)
    model = rdg()
    model.save("models/rdg", {})
    save_sen("models/rdg_sen", build_sen(SEN), SEN)
    run_generate()
    keys, fresh, seeds = generated("")
    assert keys == [caption.key for caption in project.split("test") if caption.key.endswith("/00")]
    assert seeds == [image_seed(key, 3) for key in keys]
    assert fresh.shape == (12, 3, 32, 32)
    np.testing.assert_array_equal(fresh, generated("_untrained")[1])  # nothing is learned yet

    with torch.no_grad():
        for weights in model.average.parameters():
            weights.mul_(1.5)
    model.save("models/rdg", {})
    run_generate()
    trained, untrained, shuffled = (generated(control)[1] for control in generate.CONTROLS)
    np.testing.assert_array_equal(untrained, fresh)
    assert (trained != fresh).any(axis=(1, 2, 3)).all() and (trained != shuffled).any(axis=(1, 2, 3)).all()
    classes = [key.split("/")[0] for key in keys]
    speech = caption_embeddings(keys, torch.device("cpu"))[generate.another_class(classes, 3)]
    (expected,) = (batch[-1] for batch in draw(model.average, speech, seeds, 12, torch.device("cpu")))
    assert np.abs(shuffled.astype(int) - expected).max() <= 1  # batches of 5 round otherwise than one of 12
    assert generated("_shuffled")[::2] == (keys, seeds)


def test_shuffled_speech_is_of_another_class_or_else_of_another_picture():
    kinds, images = list("aabbcc"), ["a1", "a2", "b1", "b1", "c1", "c1"]
    partner = generate.partners(kinds, images, seed=0)
    assert sorted(partner) == list(range(6)) and all(kinds[i] != kinds[j] for i, j in enumerate(partner))
    kinds, images = list("aaaab"), ["a1", "a2", "a3", "a3", "b1"]
    partner = generate.partners(kinds, images, seed=0)
    assert sorted(partner) == list(range(5)) and all(images[i] != images[j] for i, j in enumerate(partner))
    images = ["a1"] * 5 + ["b1"]  # five cannot each have another's of one: all have the same one
    assert generate.partners(images, images, seed=0)[:5].tolist() == [5] * 5
    assert generate.partners(images, images, seed=0)[5] < 5


def test_a_classifier_of_pictures_of_another_size_is_refused(pictures):
    """Of smaller ones, it would be shown the middle of each generated picture."""
    model = build_classifier({"heads": [3], "channels": 4, "image_size": 32, "views": 1})
    save_classifier("models/classifier", "classifier", model)
    told = "classifier.crop_size: models/classifier knows images of 32 pixels, data/generated.h5 has 16; set it to"
    with pytest.raises(InputError, match=told):
        image_scores(pictures)


def test_a_ceiling_of_another_size_is_refused(pictures):
    write("data/generated_oracle.h5", "generated", ["t0/00/00"], np.zeros((1, 3, 18, 18), np.uint8))
    told = "oracle.crop_size: data/generated_oracle.h5 has images of 18 pixels, data/generated.h5 of 16; set it to 16"
    with pytest.raises(InputError, match=told):
        image_scores(pictures)


@pytest.mark.parametrize(("speaker", "recording", "words"), [
    ("", "", "voices as tts.test_voices"),
    ("", "a.wav", "speakers not named"),
    ("Ann", "a.wav", "1 of 1 speakers unheard in training"),
    ("Vic", "a.wav", "0 of 1 speakers unheard in training"),  # RDG learns from val too
])  # fmt: skip
def test_the_protocol_says_who_speaks_as_far_as_that_is_known(speaker, recording, words):
    made = catalog()
    split = {image.key: image.split for image in made.images}
    who = {"train": "Tom", "val": "Vic", "test": speaker}
    captions = tuple(replace(c, recording=recording, speaker=who[split[c.image]]) for c in made.captions)
    assert evaluation._split(replace(made, captions=captions)).endswith(words)
    told = evaluation._split(replace(made, captions=captions, disjoint="languages"))
    assert told.startswith("test split, images and languages unseen in training")
