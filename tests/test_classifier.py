import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from click.testing import CliRunner
from tiny import StoppedError, stopping
from torch import nn
from weights import write_inception

from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.errors import InputError
from s2igan.metrics import classifier
from s2igan.metrics.classifier import (
    Recipe,
    Rows,
    build_classifier,
    classifier_hash,
    cosine_rate,
    describe,
    load_classifier,
    predict,
    save_classifier,
)
from s2igan.store import ImageReader, ImageWriter
from s2igan.training import Checkpoints
from s2igan.vision.encoders import encode_images, load_encoder
from s2igan.vision.transforms import to_float
from stages import train_classifier as stage

PALETTE = np.array([[220, 40, 40], [40, 60, 220], [240, 220, 60]], dtype=np.uint8)


def train_classifier(images, labels, heads=(3, 3), *, start=None, checkpoints=None, epochs=2, **changes):
    """Whole passes over the images."""
    values = {"network": "small", "channels": 8, "crop_size": 16, "batch_size": 16, "lr": 4e-3, "seed": 0}
    values |= changes
    batch = min(values["batch_size"], len(images))
    recipe = Recipe(images=epochs * (len(images) // batch) * batch, **values)
    return classifier.train_classifier(images, labels, heads, recipe, start=start, checkpoints=checkpoints)


def spots(count, seed=0, size=20):
    """Two spots of independent colour: the upper one is head 0's, the lower one head 1's."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 160, (count, 3, size, size), dtype=np.uint8)
    labels = rng.integers(3, size=(count, 2))
    for image, label in zip(images, labels, strict=True):
        for top, colour in zip((4, 12), label, strict=True):
            y, x = top + rng.integers(-1, 2), rng.integers(6, 12)
            image[:, y : y + 3, x : x + 3] = PALETTE[colour][:, None, None]
    return images, labels


def same_weights(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_learns_the_colour_of_small_spots_head_by_head():
    images, labels = spots(600)
    model, curves = train_classifier(images, labels, epochs=8)
    assert len(curves) == 8 and curves[-1]["loss"] < curves[0]["loss"]
    unseen, truth = spots(200, seed=1)
    heads = predict(model, unseen)
    assert [head.shape for head in heads] == [(200, 3), (200, 3)]
    np.testing.assert_allclose(heads[0].sum(axis=1), 1, rtol=1e-5)
    read = np.stack([head.argmax(axis=1) for head in heads], axis=1)
    assert (read == truth).mean() > 0.95


def test_a_prediction_does_not_depend_on_its_batch():
    images, _ = spots(10)
    model = build_classifier({"heads": [3], "channels": 8, "image_size": 16})
    whole, alone = (predict(model, images, batch_size=size)[0] for size in (10, 1))
    np.testing.assert_allclose(whole, alone, rtol=1e-5)
    assert predict(model, images[:0])[0].shape == (0, 3)


def test_features_are_each_head_s_pooled_ones_and_its_answer_is_linear_in_them():
    """Without attention, a view is the mean over the places of the last feature map."""
    images, _ = spots(6, size=16)
    model = build_classifier({"heads": [3, 5], "channels": 8, "image_size": 16, "views": 1}).eval()
    nn.init.zeros_(model.attention.weight)
    nn.init.zeros_(model.attention.bias)
    features, heads = describe(model, images, batch_size=4)
    with torch.no_grad():
        mean = model.features(to_float(torch.from_numpy(images))).mean(dim=(2, 3)).numpy()
    assert features.shape == (6, model.feature_dim) and model.feature_dim == 2 * mean.shape[1]
    np.testing.assert_allclose(features, np.tile(mean, 2), rtol=1e-4, atol=1e-6)
    for answer, own, found in zip(model.answers, np.split(features, 2, axis=1), heads, strict=True):
        expected = answer(torch.from_numpy(own)).softmax(dim=1).detach()
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert describe(model, images[:0])[0].shape == (0, model.feature_dim)


def test_larger_images_are_read_in_their_middle():
    images, _ = spots(4)
    model = build_classifier({"heads": [3], "channels": 8, "image_size": 16})
    middle = predict(model, images[:, :, 2:18, 2:18])[0]
    np.testing.assert_array_equal(predict(model, images)[0], middle)


@pytest.fixture
def short_body(monkeypatch):
    """A body of two layers in Inception's place; like it, it drops features from the global random state."""

    def build(dropout, **_):
        layers = [nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        body = nn.Sequential(*layers, nn.Dropout(dropout))
        body.add_module("fc", nn.Linear(8, 1000))
        return body

    monkeypatch.setattr(torchvision.models, "inception_v3", build)


@pytest.mark.parametrize(("network", "steps"), [("small", 3), ("inception_v3", 5)])  # a pass has 3
def test_a_resumed_run_equals_an_uninterrupted_one(checkpoints, monkeypatch, short_body, network, steps):
    images, labels = spots(48)
    options = {"epochs": 3, "network": network}
    whole, whole_curves = train_classifier(images, labels, **options)
    real = classifier.random_crop_flip
    monkeypatch.setattr(classifier, "random_crop_flip", stopping(real, steps))
    with pytest.raises(StoppedError):
        train_classifier(images, labels, checkpoints=Checkpoints("train_classifier", {}, []), **options)
    made = []
    monkeypatch.setattr(classifier, "random_crop_flip", lambda *arguments: made.append(1) or real(*arguments))
    resumed, curves = train_classifier(images, labels, checkpoints=Checkpoints("train_classifier", {}, []), **options)
    assert len(made) == 9 - steps
    assert same_weights(whole, resumed) and curves == whole_curves


def test_a_loss_that_is_not_finite_names_the_images(monkeypatch):
    monkeypatch.setattr(classifier.F, "cross_entropy", lambda *_, **__: torch.tensor(np.nan, requires_grad=True))
    images, labels = spots(4)
    told = (
        "classifier: loss is nan at step 1; give the same command again, and if that ends here, too, lower "
        "classifier.lr, or .*: image 0, image 1, image 2, image 3$"
    )
    with pytest.raises(InputError, match=told):
        train_classifier(images, labels)


def test_rate_rises_then_falls_to_nothing():
    rates = [cosine_rate(step, 100) for step in range(100)]
    assert max(rates) == 1 and np.argmax(rates) == 14 and rates[-1] < 0.001
    assert rates[:15] == sorted(rates[:15]) and rates[15:] == sorted(rates[15:], reverse=True)


def test_errors_say_what_was_found():
    images, _ = spots(8)
    with pytest.raises(InputError, match="image size 48"):
        build_classifier({"heads": [3], "image_size": 48})
    model = build_classifier({"heads": [3], "channels": 8, "image_size": 32})
    with pytest.raises(InputError, match="images of 20x20"):
        predict(model, images)


# Inception-v3. At its smallest size, 75 pixels, where nothing asks for its own, and with random weights in the
# layout of the published file.


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    return write_inception(tmp_path_factory.mktemp("inception") / "weights.pth")


def start(inception_file) -> dict[str, torch.Tensor]:
    return load_encoder("inception_v3", str(inception_file)).network.state_dict()


def test_inception_answers_by_a_linear_layer_on_the_encoders_features(inception_file):
    images, _ = spots(3, size=20)
    encoder = load_encoder("inception_v3", str(inception_file))  # 299 pixels
    model = build_classifier({"network": "inception_v3", "heads": [3, 5], "image_size": 20})
    model.body.load_state_dict(encoder.network.state_dict())
    features = torch.from_numpy(encode_images(encoder, images))
    np.testing.assert_allclose(describe(model, images)[0], features, rtol=1e-4, atol=1e-5)
    for answer, found in zip(model.answers, predict(model, images), strict=True):
        expected = (features @ answer.weight.T + answer.bias).softmax(dim=1).detach()
        assert expected.std(dim=0).max() > 1e-4  # it does answer by the image
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_whole_of_inception_learns_and_its_body_slowly(inception_file, monkeypatch):
    """The first step of Adam moves each weight by its learning rate, whatever the gradient's size."""
    monkeypatch.setattr(classifier, "INCEPTION_SIDE", 75)
    images, labels = spots(4)
    before = start(inception_file)
    fresh = build_classifier({"network": "inception_v3", "heads": [3, 3], "image_size": 16}, seed=3)
    model, _ = train_classifier(
        images, labels, start=before, network="inception_v3", epochs=1, lr=1e-3, weight_decay=0, seed=3
    )
    for name in ("Conv2d_1a_3x3.conv.weight", "Mixed_6c.branch1x1.conv.weight", "Mixed_7c.branch_pool.conv.weight"):
        moved = (model.body.state_dict()[name] - before[name]).abs()
        assert moved.median().item() == pytest.approx(1e-4, rel=0.05), name
    for answer, at_first in zip(model.answers, fresh.answers, strict=True):
        assert (answer.weight - at_first.weight).abs().median().item() == pytest.approx(1e-3, rel=0.05)


def test_inception_learns_by_its_seed_alone(short_body):
    """Dropout, too, draws from the seed, and leaves the caller's random state as it was."""
    images, labels = spots(48)
    trained = []
    for global_seed, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(global_seed)
        state = torch.get_rng_state()
        trained.append(train_classifier(images, labels, network="inception_v3", seed=seed)[0])
        assert torch.equal(torch.get_rng_state(), state)
    assert same_weights(trained[0], trained[1]) and not same_weights(trained[0], trained[2])
    inputs = torch.ones(64, 3, 16, 16)
    assert trained[0].train()(inputs)[0].std(dim=0).min() > 0  # it does drop
    assert trained[0].eval()(inputs)[0].std(dim=0).max() < 1e-5


def test_inception_is_built_again_without_imagenet_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "empty"))
    monkeypatch.setattr(classifier, "INCEPTION_SIDE", 75)
    images, labels = spots(4)
    model, _ = train_classifier(images, labels, network="inception_v3", epochs=1)
    save_classifier(tmp_path / "classifier", "classifier", model, {"classes": ["a", "b", "c"]})
    assert {file.name for file in (tmp_path / "classifier").iterdir()} == {"classifier.safetensors", "model.json"}
    again, names = load_classifier(tmp_path / "classifier", "classifier")
    assert names == {"classes": ["a", "b", "c"]} and not again.training and same_weights(model, again)
    for first, second in zip(predict(model, images), predict(again, images), strict=True):
        np.testing.assert_array_equal(first, second)
    assert predict(again, images[:0])[0].shape == (0, 3)


def test_rows_stand_for_a_copy_and_are_read_batch_by_batch():
    class Reader:
        def values(self, rows):
            assert len(rows) <= 16 and (np.diff(rows) > 0).all()
            return images[rows]

    images, labels = spots(60)
    chosen = np.flatnonzero(np.arange(60) % 4 != 3)
    rows = Rows(Reader(), chosen)
    assert len(rows) == 45
    np.testing.assert_array_equal(rows.values(slice(40, 56)), images[chosen][40:])
    np.testing.assert_array_equal(rows.values(np.array([1, 3])), images[[1, 4]])
    copied, _ = train_classifier(images[chosen], labels[chosen])
    read, _ = train_classifier(rows, labels[chosen])
    assert same_weights(copied, read)
    np.testing.assert_array_equal(predict(copied, rows, 16)[0], predict(copied, images[chosen], 16)[0])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two test classes of eight images among others that the classifier may not see."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifier, "INCEPTION_SIDE", 75)
    names = (("c0", "train"), ("c1", "test"), ("c2", "val"), ("c3", "test"))
    images = tuple(Image(f"{name}/{n:02d}", "", name, split) for name, split in names for n in range(8))
    captions = tuple(Caption(f"{image.key}/00", image.key, "a bird") for image in images)
    write_catalog("data/catalog", Catalog(images, captions))
    pictures, _ = spots(len(images), size=20)
    with ImageWriter("data/images.h5") as out:
        for image, picture in zip(images, pictures, strict=True):
            out.append(image.key, picture)
    return pictures


def run_stage(*changes: str) -> dict:
    values = dict(network="small", weights="", channels=8, crop_size=16, images=24, batch_size=4, lr=0.002, seed=1)
    values |= dict(zip(changes[::2], changes[1::2], strict=True))
    arguments = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    result = CliRunner().invoke(stage.main, arguments)
    assert result.exit_code == 0, result.output
    return json.loads(Path("metrics/classifier.json").read_text())


def test_the_stage_learns_from_three_quarters_of_the_test_classes(project):
    scores = run_stage()
    expected = {"classes": 2, "training_images": 12, "held_out_images": 4, "chance": 0.5, "network": "small"}
    assert {name: scores[name] for name in expected} == expected and scores["start_weights"] == ""
    tested = np.r_[8:16, 24:32]
    held_out = np.arange(16) % 4 == 3
    labels = np.repeat([0, 1], 8)[:, None]
    model, curves = train_classifier(
        project[tested][~held_out], labels[~held_out], (2,), channels=8, crop_size=16, epochs=2, batch_size=4,
        lr=0.002, seed=1,
    )  # fmt: skip
    saved, names = load_classifier("models/classifier", "classifier")
    assert names["classes"] == ["c1", "c3"] and names["parameters"]["crop_size"] == 16 and same_weights(model, saved)
    (answers,) = predict(model, project[tested][held_out])
    assert scores["accuracy"] == (answers.argmax(1) == labels[held_out, 0]).mean()
    assert scores["training_accuracy"] == pytest.approx(curves[-1]["accuracy"], abs=1e-5)
    assert scores["classifier_weights"] == sha("models/classifier/classifier.safetensors")


def test_every_fourth_image_of_a_class_is_held_out_however_the_classes_lie():
    labels = np.array([0, 1, 1, 0, 1, 1, 0, 2, 0, 1, 0])
    assert stage.held_out_rows(labels).nonzero()[0].tolist() == [5, 8]  # the fourth 1 and the fourth 0
    assert not stage.held_out_rows(np.arange(8)).any()  # a class of one image keeps it


def sha(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def test_the_stage_fine_tunes_inception(project, inception_file, monkeypatch):
    sizes = []
    values = ImageReader.values
    monkeypatch.setattr(ImageReader, "values", lambda self, rows: sizes.append(len(rows)) or values(self, rows))
    scores = run_stage("network", "inception_v3", "weights", str(inception_file), "images", "12", "lr", "1e-6")
    assert max(sizes) == 4  # a batch, never all images
    assert scores["network"] == "inception_v3" and scores["start_weights"] == sha(inception_file)
    assert scores["classifier_weights"] == classifier_hash("models/classifier")
    model, _ = load_classifier("models/classifier", "classifier")
    before = start(inception_file)
    for name, weights in model.body.named_parameters():  # three steps of a millionth
        torch.testing.assert_close(weights, before[name], rtol=0, atol=1e-5)
    assert not list(Path().glob(".checkpoints/*"))


def test_without_imagenet_weights_the_stage_says_where_they_go(project, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "hub")
    arguments = "--network inception_v3 --weights= --channels 8 --crop_size 16 --images 4 --batch_size 4"
    result = CliRunner().invoke(stage.main, [*arguments.split(), "--lr", "0.1", "--seed", "0"])
    assert result.exit_code == 1
    (error,) = [line for line in result.output.splitlines() if line.startswith("error:")]
    assert "hub/checkpoints/inception_v3_google-0cc3c7bd.pth: missing" in error and "classifier network small" in error
