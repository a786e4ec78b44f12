from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from tiny import StoppedError, stopping

from s2igan.errors import InputError
from s2igan.sen import losses
from s2igan.sen import training as module
from s2igan.sen.augmentation import OFF, Augmentation
from s2igan.sen.model import SEN, build_sen
from s2igan.sen.text_encoder import ALPHABET
from s2igan.sen.training import Pairs, Recipe, average_precision, epoch_batches
from s2igan.sen.training import train as train_by_recipe
from s2igan.store import FixedReader, FixedWriter, RaggedReader, RaggedWriter
from s2igan.tables import write_tsv
from s2igan.training import Checkpoints

BANDS, FEATURES, VIEWS = 6, 12, 2
CLASSES, IMAGES, CAPTIONS = 12, 4, 2  # the last four classes are for validation
EPOCH = (CLASSES - 4) * IMAGES * CAPTIONS  # training captions: eight batches
RECIPE = Recipe(
    captions=3 * EPOCH, captions_per_epoch="all", batch_size=8, lr=3e-3, beta1=0.95, beta2=0.999, weight_decay=1e-3,
    lr_step_captions=2 * EPOCH, lr_gamma=0.1, precision="float32", seed=3,
)  # fmt: skip


EVERY = Augmentation(1, 0.2, 1, 0.3, speed=0.1, vtlp=0.1, noise=0.5, reverberation=0.2)


def train(model, log_mels, features, training, validation, checkpoints=None, log=None, augmentation=OFF, **changes):
    recipe = replace(RECIPE, **changes)

    def report(history):
        if log:
            write_tsv(log, history.rows, module.CURVES)

    pairs = training, validation
    return train_by_recipe(model, log_mels, features, *pairs, recipe, checkpoints, report, augmentation=augmentation)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Utterances that say their image: the image's code as a constant spectrum, plus noise."""
    folder = tmp_path_factory.mktemp("sen")
    rng = np.random.default_rng(0)
    to_sound, to_sight = rng.normal(size=(4, BANDS)), rng.normal(size=(4, FEATURES))
    # A class is a pattern of signs, of which validation has four that training never shows.
    codes = [[(n >> bit & 1) * 2.0 - 1 for bit in range(4)] for n in rng.permutation(16)[:CLASSES]]
    rows: list[tuple[int, int, int]] = []
    about = {"log_mel": {"sample_rate": 16000, "shift_ms": 10.0, "normalise": True}}
    with (
        RaggedWriter(folder / "logmel.h5", "logmel", BANDS, np.float16, about, ["levels"]) as speech,
        FixedWriter(folder / "f.h5", "image_features", (VIEWS, FEATURES), np.float32) as sight,
    ):
        for label in range(CLASSES):
            for image in range(IMAGES):
                code = codes[label] + 0.2 * rng.normal(size=4)
                noise = 0.1 * rng.normal(size=(VIEWS, FEATURES))
                sight.append([f"{label}/{image}"], (code @ to_sight + noise)[None])
                for caption in range(CAPTIONS):
                    rows.append((len(rows), label * IMAGES + image, label))
                    noise = 0.5 * rng.normal(size=(int(rng.integers(16, 40)), BANDS))
                    speech.append(f"{label}/{image}/{caption}", code @ to_sound + noise, levels=np.ones((2, BANDS)))
    table = np.array(rows)
    parts = [table[table[:, 2] < CLASSES - 4], table[table[:, 2] >= CLASSES - 4]]
    with (
        RaggedReader(folder / "logmel.h5", "logmel") as log_mels,
        FixedReader(folder / "f.h5", "image_features") as features,
    ):
        yield (log_mels, features, *(Pairs(*part.T) for part in parts))


def network(classes: int = CLASSES - 4, **changes) -> SEN:
    config = {"bands": BANDS, "conv_channels": (8, 8), "gru_hidden": 8, "attention_hidden": 8}
    return build_sen({**config, "feature_dim": FEATURES, "classes": classes, **changes}, seed=0)


def without_classes(pairs: Pairs) -> Pairs:
    return Pairs(pairs.log_mel_rows, pairs.image_rows, np.full(len(pairs), -1))


def test_it_learns_to_find_images_of_unseen_classes(data, tmp_path):
    chance = 0.25  # four classes of as many images
    model = network()
    log = tmp_path / "curves.tsv"
    result = train(model, *data, captions=12 * EPOCH, lr_step_captions=0, log=log)
    assert result.best_map > 2.5 * chance
    assert result.best_map == max(row["val_map"] for row in result.curves)
    assert result.curves[-1]["loss"] < result.curves[0]["loss"]
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    assert [line[0] for line in lines] == ["epoch", *(str(n) for n in range(1, 13))]
    assert not model.training


def test_the_best_pass_is_the_one_kept(data, monkeypatch):
    scores = iter([0.2, 0.9, 0.9])
    seen = []

    def validate(model, *_):
        seen.append(model.image.linear.weight.detach().clone())
        return 0.0, next(scores)

    monkeypatch.setattr(module, "validate", validate)
    model = network()
    result = train(model, *data)
    assert (result.best_epoch, result.best_map) == (2, 0.9)
    assert torch.equal(model.image.linear.weight, seen[1])
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("encoder", ["conv_gru", "li2020", "pooled", "char_cnn_rnn"])
def test_bfloat16_is_float32_with_fewer_digits(encoder):
    torch.manual_seed(0)
    config = {"encoder": encoder, "bands": 40, "conv_channels": (8, 8), "gru_hidden": 8, "width": 0.05}
    unprojected = {} if encoder == "conv_gru" else {"image_projection": "none"}  # these end in a centred layer
    model = build_sen({**config, **unprojected, "feature_dim": 12, "classes": 0}, seed=0)
    letters = 40 if encoder != "char_cnn_rnn" else len(ALPHABET)
    speech = torch.randn(6, 250, letters)
    lengths = torch.tensor([250, 201, 250, 240, 230, 220])
    slopes, found = [], []
    for precise in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            found.append(model.speech(speech, lengths).float())
        weights = list(model.speech.parameters())
        slopes.append(torch.cat([s.flatten() for s in torch.autograd.grad(found[-1].square()[:, 0].sum(), weights)]))
    assert not torch.equal(*found)
    assert torch.cosine_similarity(*found).min() > 0.95
    assert torch.cosine_similarity(*slopes, dim=0) > 0.95


def test_dropout_of_image_features_is_before_the_layer_and_in_training_alone():
    """The layer hands on the first 64 features as they are; of ones, three of four are 0, others each time."""
    image = build_sen({"feature_dim": 1000, "classes": 0, "gru_hidden": 32, "image_dropout": 0.75}).image
    torch.nn.init.eye_(image.linear.weight)
    torch.nn.init.zeros_(image.linear.bias)
    features = torch.ones(200, 1000)
    size = image.linear.out_features
    assert torch.allclose(image.eval()(features), torch.full((200, size), size**-0.5))
    dropped = image.train()(features) == 0
    assert dropped.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert len(dropped.unique(dim=0)) == 200


@pytest.mark.parametrize(("steps", "changes", "encoder"), [
    (8, {}, {}),  # a pass has 8
    (13, {"augmentation": EVERY, "captions_per_epoch": "balanced", "patience": 1}, {}),
    (11, {}, {"encoder": "pooled", "width": 0.02, "dropout": 0.5, "image_dropout": 0.5}),
])  # fmt: skip
def test_a_resumed_run_equals_an_uninterrupted_one(data, tmp_path, checkpoints, monkeypatch, steps, changes, encoder):
    whole, log = network(**encoder), tmp_path / "whole.tsv"
    expected = train(whole, *data, log=log, **changes)

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(losses, "sen_loss", stopping(losses.sen_loss, steps))
        train(network(**encoder), *data, Checkpoints("train_sen", {}, []), **changes)
    resumed, second_log = network(**encoder), tmp_path / "resumed.tsv"
    found = train(resumed, *data, Checkpoints("train_sen", {}, []), second_log, **changes)
    assert found == expected
    assert second_log.read_bytes() == log.read_bytes()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_augmentation_that_does_nothing_leaves_every_loss_as_it_was(data):
    """Masks of no width: the same draws, batches and sums as without; what does something changes what is heard."""
    plain = train(network(), *data, captions=EPOCH).curves
    assert train(network(), *data, captions=EPOCH, augmentation=Augmentation(3, 0.0, 3, 0.0)).curves == plain
    for change in ({"time_masks": 1}, {"band_masks": 1}, {"speed": 0.2}, {"vtlp": 0.2}, {"noise": 1.0}):
        changed = train(network(), *data, captions=EPOCH, augmentation=Augmentation(**change)).curves
        assert changed[0]["loss"] != plain[0]["loss"] and np.isfinite(changed[0]["loss"]), change


def test_a_run_ends_when_validation_has_not_risen_for_so_many_passes(data, checkpoints, monkeypatch):
    """Also where it is taken up again after its last pass."""
    scores = iter([0.2, 0.5, 0.5, 0.4, 0.9])
    monkeypatch.setattr(module, "validate", lambda *_: (0.0, next(scores, 0.0)))
    for _ in range(2):
        result = train(network(), *data, Checkpoints("train_sen", {}, []), captions=9 * EPOCH, patience=2)
        assert (result.best_epoch, result.best_map, len(result.curves)) == (2, 0.5, 4)
    assert next(scores) == 0.9
    log_mels, features, training, _ = data
    nothing = Pairs(*(np.zeros(0, np.int64) for _ in range(3)))
    assert len(train(network(), log_mels, features, training, nothing, patience=1).curves) == 3


def test_captions_that_end_within_a_pass_take_no_further_step(data, monkeypatch):
    """The rate falls where it was told to, and validation comes at the end too."""
    sizes, rates = [], []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))[1]
    )
    real = module.pad
    monkeypatch.setattr(module, "pad", lambda batch: (sizes.append(len(batch)), real(batch))[1])
    result = train(network(), *data, captions=EPOCH + 20, lr_step_captions=EPOCH + 8)
    assert sizes == [8] * 11 and rates == pytest.approx([3e-3] * 9 + [3e-4] * 2)
    assert [row["epoch"] for row in result.curves] == [1, 2] and result.curves[-1]["val_map"] > 0


@pytest.mark.parametrize("classes", [np.zeros(4, np.int64), np.full(4, -1)])
def test_training_captions_of_one_class_or_picture_have_nothing_to_tell_apart(data, classes):
    log_mels, features, _, validation = data
    pairs = Pairs(np.arange(4), np.zeros(4, np.int64), classes)
    with pytest.raises(InputError, match="of one class, or of one image, so there is nothing to tell apart"):
        train(network(0), log_mels, features, pairs, validation)


def test_reading_from_the_files_gives_the_same_network(data, monkeypatch):
    one, other = network(), network()
    train(one, *data, captions=EPOCH)
    monkeypatch.setattr(module, "PRELOAD_BYTES", 0)
    train(other, *data, captions=EPOCH)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_without_classes_the_matching_loss_teaches_alone(data):
    log_mels, features, training, validation = data
    parts = (without_classes(training), without_classes(validation))
    result = train(network(0), log_mels, features, *parts, captions=6 * EPOCH)
    assert all(row["distinctive"] == 0.0 for row in result.curves)
    assert result.curves[-1]["matching"] < result.curves[0]["matching"]
    assert result.best_map > 0.21  # chance, sixteen images with one right: about 0.21


def test_without_validation_the_last_pass_is_kept(data):
    log_mels, features, training, _ = data
    nothing = Pairs(*(np.zeros(0, np.int64) for _ in range(3)))
    result = train(network(), log_mels, features, training, nothing)
    assert result.best_epoch == 3 and np.isnan(result.best_map)


def test_a_loss_that_is_not_finite_names_the_step_and_the_captions(data, monkeypatch):
    monkeypatch.setattr(losses, "sen_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    told = (
        "sen: loss is nan at step 1; give the same command again, and if that ends here, too, lower sen.lr, or look at "
        r".*: (\d/\d/\d+(, )?){8}$"
    )
    with pytest.raises(InputError, match=told):
        train(network(), *data)


def test_a_short_utterance_is_named_by_its_key(data, tmp_path):
    _, features, *_ = data
    with RaggedWriter(tmp_path / "l.h5", "logmel", BANDS, np.float16) as writer:
        writer.append("a/b/00", np.zeros((20, BANDS)))
        writer.append("a/b/01", np.zeros((3, BANDS)))
    pairs = Pairs(np.array([0, 1]), np.array([0, 1]), np.array([-1, -1]))
    with RaggedReader(tmp_path / "l.h5", "logmel") as log_mels:
        with pytest.raises(InputError, match="a/b/01: 3 frames"):
            train(network(0), log_mels, features, pairs, pairs)


def test_batches_hold_every_caption_once_and_are_alike_in_length():
    lengths = np.random.default_rng(0).integers(16, 600, 1001)
    batches, views = epoch_batches(lengths, 10, 3, seed=1, epoch=4)
    assert sorted(np.concatenate(batches)) == list(range(1001))
    assert min(len(batch) for batch in batches) >= 2  # the odd one joined another batch
    padding = sum(len(b) * lengths[b].max() - lengths[b].sum() for b in batches)
    assert padding < 0.05 * lengths.sum()
    assert set(views) == {0, 1, 2} and len(views) == 1001
    again, _ = epoch_batches(lengths, 10, 3, seed=1, epoch=4)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    other, _ = epoch_batches(lengths, 10, 3, seed=1, epoch=5)
    assert not np.array_equal(np.concatenate(other), np.concatenate(batches))
    assert np.corrcoef(range(len(batches)), [lengths[b].mean() for b in batches])[0, 1] < 0.5


def test_balanced_batches_have_each_class_as_often():
    """Of 3 captions and of 90, in batches that 4 classes do not divide: to one in a batch and in a pass."""
    groups = np.repeat([7, 3, 9, 1], [3, 90, 20, 17])
    lengths = np.random.default_rng(0).integers(16, 600, len(groups))
    batches, _ = epoch_batches(lengths, 10, 2, seed=1, epoch=0, groups=groups)
    assert [len(batch) for batch in batches] == [10] * 13
    for batch in batches:
        assert set(np.unique(groups[batch], return_counts=True)[1]) <= {2, 3}
    taken = np.concatenate(batches)
    assert set(np.unique(groups[taken], return_counts=True)[1]) <= {32, 33}
    assert set(taken[groups[taken] == 7]) == {0, 1, 2} and len(set(taken[groups[taken] == 3])) in (32, 33)
    other, _ = epoch_batches(lengths, 10, 2, seed=1, epoch=1, groups=groups)
    assert not np.array_equal(np.sort(taken), np.sort(np.concatenate(other)))


def test_one_caption_an_image_makes_the_published_number_of_steps():
    """CUB: 8,855 images of ten captions, 69 whole batches of 128 a pass, another caption the next time."""
    images = np.repeat(np.arange(8855), 10)
    lengths = np.random.default_rng(0).integers(100, 500, size=len(images))
    passes = [np.concatenate(epoch_batches(lengths, 128, 2, 0, epoch, images)[0]) for epoch in (0, 1)]
    assert all(len(items) == 69 * 128 == len(set(images[items])) for items in passes)
    assert all(np.abs(np.bincount(items % 10) - 883).max() < 120 for items in passes)  # any of the ten
    assert 0.07 < np.isin(*passes).mean() < 0.13
    batches, _ = epoch_batches(lengths, 128, 2, 0, 0, images)
    assert {len(batch) for batch in batches} == {128} and not np.array_equal(*map(np.sort, passes))


def test_a_pass_over_images_counts_its_captions(data, monkeypatch):
    """32 images in batches of 5: six steps a pass, of 30 captions; the rate falls after two of them."""
    seen = []
    monkeypatch.setattr(module, "validate", lambda *arguments: (seen.append(0) or 0.0, 0.5))
    changes = {"captions": 90, "batch_size": 5, "lr_step_captions": 60, "captions_per_epoch": "one_per_image"}
    curves = train(network(), *data, **changes).curves
    assert len(seen) == 3 and [row["lr"] for row in curves] == pytest.approx([3e-3, 3e-3, 3e-4])


def test_average_precision_equals_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(6, 40, generator=generator)
    relevant = torch.rand(6, 40, generator=generator) < 0.2
    expected = [average_precision_score(r, s) for r, s in zip(relevant, scores, strict=True)]
    assert average_precision(scores, relevant).tolist() == pytest.approx(expected)


def test_no_caption_leaves_the_network_as_it_was_built(data, tmp_path):
    model, built = network(), network()
    result = train(model, *data, captions=0, log=tmp_path / "curves.tsv")
    assert result.best_epoch == 0 and np.isnan(result.best_map) and result.curves == []
    for name, value in built.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert (tmp_path / "curves.tsv").read_text() == "epoch\tlr\tloss\tmatching\tdistinctive\tval_matching\tval_map\n"


def test_joint_embedding_learns_towards_the_features_themselves(data):
    config = {"bands": BANDS, "conv_channels": (8, 8), "gru_hidden": 8, "attention_hidden": 8, "feature_dim": FEATURES}
    model = build_sen({**config, "classes": 0, "objective": "joint_embedding", "image_projection": "none"}, seed=0)
    assert model.speech.embedding_dim == FEATURES and not list(model.image.parameters())
    result = train(model, *data, captions=8 * EPOCH, lr_step_captions=0)
    _, features, training, _ = data
    every_view = features.values(np.unique(training.image_rows)).reshape(-1, FEATURES)
    np.testing.assert_allclose(model.image.mean.numpy(), every_view.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert torch.equal(model.image(model.image.mean[None]), torch.zeros(1, FEATURES))
    assert result.curves[-1]["matching"] < 0.5 * result.curves[0]["matching"]
    assert result.best_map > 0.5  # chance 0.25
