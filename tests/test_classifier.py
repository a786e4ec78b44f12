import numpy as np
import pytest
import torch

from s2igan.checkpoint import TrainingCheckpoint
from s2igan.errors import InputError
from s2igan.metrics.classifier import (
    build_classifier,
    cosine_rate,
    load_classifier,
    predict,
    save_classifier,
    train_classifier,
)

PALETTE = np.array([[220, 40, 40], [40, 60, 220], [240, 220, 60]], dtype=np.uint8)
SHORT = {"heads": (3, 3), "channels": 8, "crop_size": 16, "epochs": 2, "batch_size": 16}


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
    model, curves = train_classifier(images, labels, **{**SHORT, "epochs": 8})
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


def test_larger_images_are_read_in_their_middle():
    images, _ = spots(4)
    model = build_classifier({"heads": [3], "channels": 8, "image_size": 16})
    middle = predict(model, images[:, :, 2:18, 2:18])[0]
    np.testing.assert_array_equal(predict(model, images)[0], middle)


def test_same_seed_same_network_and_no_global_randomness():
    images, labels = spots(48)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, _ = train_classifier(images, labels, seed=5, **SHORT)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second, _ = train_classifier(images, labels, seed=5, **SHORT)
    other, _ = train_classifier(images, labels, seed=6, **SHORT)
    assert same_weights(first, second) and not same_weights(first, other)


class KilledError(Exception):
    pass


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(tmp_path))
    images, labels = spots(48)
    options = {**SHORT, "epochs": 3}
    whole, whole_curves = train_classifier(images, labels, **options)
    checkpoint = TrainingCheckpoint("train_classifier", {"epochs": 3}, [])

    def killed_in_the_second_epoch(epochs, _):
        yield 0
        raise KilledError

    with pytest.raises(KilledError):
        train_classifier(
            images, labels, checkpoint=checkpoint, progress=killed_in_the_second_epoch, **options
        )
    done = []

    def watch(epochs, _):
        done.extend(epochs)
        return epochs

    resumed, curves = train_classifier(
        images, labels, checkpoint=checkpoint, progress=watch, **options
    )
    assert done == [1, 2]
    assert same_weights(whole, resumed) and curves == whole_curves


def test_saved_and_loaded_predicts_the_same(tmp_path):
    images, labels = spots(32)
    model, _ = train_classifier(images, labels, **SHORT)
    names = {"parts": ["upper", "lower"], "colours": ["red", "blue", "yellow"]}
    save_classifier(tmp_path / "judge", "judge", model, names)
    again, found = load_classifier(tmp_path / "judge", "judge")
    assert found == names
    for first, second in zip(predict(model, images), predict(again, images), strict=True):
        np.testing.assert_array_equal(first, second)
    with pytest.raises(InputError):
        load_classifier(tmp_path / "judge", "classifier")


def test_rows_may_come_from_a_reader():
    class Reader:
        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def values(self, rows):
            assert (np.diff(rows) > 0).all()  # as HDF5 demands
            return self.images[rows]

    images, labels = spots(32)
    plain, _ = train_classifier(images, labels, **SHORT)
    read, _ = train_classifier(Reader(images), labels, **SHORT)
    assert same_weights(plain, read)


def test_rate_rises_then_falls_to_nothing():
    rates = [cosine_rate(step, 100) for step in range(100)]
    assert max(rates) == 1 and np.argmax(rates) == 14 and rates[-1] < 0.001
    assert rates[:15] == sorted(rates[:15]) and rates[15:] == sorted(rates[15:], reverse=True)


def test_errors_say_what_was_found():
    images, labels = spots(8)
    with pytest.raises(InputError, match="a label of head 1 is not within 0 to 1"):
        train_classifier(images, labels, **{**SHORT, "heads": (3, 2)})
    with pytest.raises(InputError, match="labels"):
        train_classifier(images, labels[:, :1], **SHORT)
    with pytest.raises(InputError, match="image size 48"):
        build_classifier({"heads": [3], "image_size": 48})
    model = build_classifier({"heads": [3], "channels": 8, "image_size": 32})
    with pytest.raises(InputError, match="images of 20x20"):
        predict(model, images)
