"""One step of RDG moves what it should and nothing else; a resumed run equals an uninterrupted one."""

import copy

import numpy as np
import pytest
import torch
from tiny import rdg
from torch import nn
from torch.nn import functional as F

from s2igan.checkpoint import TrainingCheckpoint
from s2igan.errors import InputError
from s2igan.rdg import training
from s2igan.rdg.batches import TrainingSet
from s2igan.rdg.losses import relation_loss
from s2igan.rdg.relation import Relation
from s2igan.rdg.sampling import generate, image_seed
from s2igan.rdg.training import Optimizers, Recipe, draw_latent, real_pyramid, train, training_step
from s2igan.sen.model import build_sen
from s2igan.store import FixedReader, FixedWriter

RECIPE = dict(
    lr=1e-3,
    lr_discriminator=1e-3,
    beta1=0.5,
    beta2=0.999,
    kl_weight=2.0,
    relation_weight=1.0,
    relation_interval=1,
    matching_weight=0.0,
    distillation_weight=0.0,
    mismatched=False,
    condition_to_discriminator="sampled",
    r1_weight=0.0,
    r1_interval=2,
    ema_decay=0.9,
    ema_batch_norm=True,
    sen_weight=0.0,
    colour_weight=0.0,
    translation=0.0,
    precision="float32",
)


class Frozen(nn.Module):
    """Stands for the frozen encoder: the mean colour of each quarter of an image, (B, 3, S, S) -> (B, 12)."""

    def forward(self, images):
        return F.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.h5"
    rng = np.random.default_rng(0)
    keys = [f"{c}/{i}" for c in "abc" for i in range(4)]
    with FixedWriter(path, "images", (3, 36, 36), "uint8") as out:
        out.append(keys, rng.integers(0, 255, (12, 3, 36, 36)))
    with FixedReader(path, "images") as reader:
        yield reader


def training_set(images, rows=None, classes=None, **changes) -> TrainingSet:
    rng = np.random.default_rng(1)
    rows = np.arange(12) if rows is None else rows
    options = dict(crop_size=32, positive="same_class", negative="different_class")
    features, speech = rng.standard_normal((12, 2, 12)).astype("f4"), rng.standard_normal((24, 8)).astype("f4")
    return TrainingSet(
        images,
        features,
        changes.pop("speech", speech),
        rows,
        rows // 4 if classes is None else classes,
        [np.array([2 * r, 2 * r + 1]) for r in rows],
        **(options | changes),
    )


def step(model, data, number=0, with_r1=False, with_fake_relation=True, **changes):
    torch.manual_seed(3)
    projection = nn.Linear(12, 8).requires_grad_(False)
    recipe = Recipe(**(RECIPE | changes))
    optimizers = Optimizers(model, recipe)
    batch = data.batch(0, number, 4)
    latent = draw_latent(model, 4, 0, number, "latent")
    terms = (with_r1, with_fake_relation)
    return optimizers, training_step(model, optimizers, batch, latent, projection, Frozen(), recipe, *terms)


def snapshot(module):
    return {name: value.clone() for name, value in module.named_parameters()}


def same(before, module):
    return all(torch.equal(before[name], value) for name, value in module.named_parameters())


def test_each_player_is_moved_by_its_own_optimizer_alone(images):
    data = training_set(images)
    for frozen in ("generator", "discriminators", "relation"):
        model = rdg()
        players = {
            "generator": model.speech_to_image,
            "discriminators": model.discriminators,
            "relation": model.relation,
        }
        before = {name: snapshot(module) for name, module in players.items()}
        original = Optimizers.__init__

        def without(self, *arguments, original=original, frozen=frozen):
            original(self, *arguments)
            getattr(self, frozen).step = lambda: None

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Optimizers, "__init__", without)
            step(model, data)
        for name, module in players.items():
            assert same(before[name], module) == (name == frozen), (name, frozen)


def test_the_generator_follows_only_the_last_term_of_eq_8(images):
    """With no adversarial gradient, the relation's gradient comes from (GT, fake) alone, and needs its weight."""
    data, model = training_set(images), rdg()
    model.discriminators.requires_grad_(False)
    batch = data.batch(0, 0, 4)
    projection = nn.Linear(12, 8).requires_grad_(False)
    fakes, *_ = model.speech_to_image(draw_latent(model, 4, 0, 0, "x"), batch.speech)
    truth, fake = projection(batch.ground_truth), projection(Frozen()(fakes[-1]))
    loss = relation_loss(model.relation(truth, [fake])[0], Relation.POSITIVE)
    last_scale = model.speech_to_image.generator.to_image[2][0].weight
    gradient = torch.autograd.grad(loss, last_scale, retain_graph=True)[0]
    assert gradient.abs().sum() > 0
    # RS is applied to the last image only.
    loss = relation_loss(model.relation(truth, [projection(Frozen()(fakes[-1]))])[0], Relation.POSITIVE)
    first_scale = model.speech_to_image.generator.to_image[0][0].weight
    assert torch.autograd.grad(loss, first_scale, allow_unused=True)[0] is None


def test_without_a_relation_supervisor_there_is_no_relation_term(images):
    model = rdg(relation_outputs=0)
    optimizers, curves = step(model, training_set(images), with_fake_relation=False)
    assert model.relation is None and set(vars(optimizers)) == {"generator", "discriminators"}
    assert not [name for name in curves if "relation" in name]


def test_the_supervisor_learns_from_real_pairs_in_a_step_without_the_fake_one(images):
    model = rdg()
    before, generator = snapshot(model.relation), copy.deepcopy(model)
    generator.relation = None
    _, curves = step(model, training_set(images), with_fake_relation=False)
    assert "relation" in curves and "g_relation" not in curves and not same(before, model.relation)
    # Nothing of it reaches the generator: its step is that of no supervisor at all.
    step(generator, training_set(images), with_fake_relation=False)
    assert same(snapshot(generator.speech_to_image), model.speech_to_image)


def test_mismatched_speech_is_of_another_class(images):
    data = training_set(images)
    for number in range(20):
        batch = data.batch(0, number, 4)
        for own, other in zip(batch.speech, batch.mismatched, strict=True):
            rows = [int((data.speech == x.numpy()).all(axis=1).argmax()) for x in (own, other)]
            assert rows[0] // 8 != rows[1] // 8  # two captions an image, four images a class


def test_mismatched_speech_without_classes_is_another_pictures(images):
    data = training_set(images, classes=np.full(12, -1), relation=False)
    for number in range(30):
        batch = data.batch(0, number, 4)
        for own, other in zip(batch.speech, batch.mismatched, strict=True):
            rows = [int((data.speech == x.numpy()).all(axis=1).argmax()) for x in (own, other)]
            assert rows[0] // 2 != rows[1] // 2


def test_every_option_gives_finite_losses(images):
    data = training_set(images)
    for changes in (
        {"mismatched": True, "condition_to_discriminator": "mean"},
        {"r1_weight": 1.0, "with_r1": True},
    ):
        _, curves = step(rdg(own_condition=True, projection=True), data, **changes)
        assert all(torch.isfinite(v) for v in curves.values())
    assert {"r1_0", "r1_1", "r1_2"} <= set(curves)


def test_mismatched_adds_two_terms_to_each_discriminator(images):
    data = training_set(images)
    plain = step(rdg(), data)[1]
    more = step(rdg(), data, mismatched=True)[1]
    assert all(more[f"d_{i}"] > plain[f"d_{i}"] for i in range(3))


def test_matching_adds_its_terms_to_discriminators_and_generator(images):
    data = training_set(images, matching_captions=5)
    plain, with_it = rdg(matching=True), rdg(matching=True)
    before = snapshot(plain.discriminators[0].embedding)
    _, curves = step(plain, data)
    assert not any("matching" in name for name in curves) and same(before, plain.discriminators[0].embedding)
    _, curves = step(with_it, data, matching_weight=5.0, distillation_weight=2.0)
    assert {f"{player}_matching_{i}" for player in "dg" for i in range(3)} <= set(curves)
    for i in range(3):
        assert not same(before, with_it.discriminators[i].embedding)
    assert not same(snapshot(plain.speech_to_image), with_it.speech_to_image)


def test_the_matching_head_learns_from_real_pictures_alone(images):
    """Whatever the generator draws, the head's step is the same."""
    data = training_set(images, matching_captions=5)
    heads = []
    for scale in (1.0, 3.0):
        model = rdg(matching=True, discriminator_norm=False)
        with torch.no_grad():
            for parameter in model.speech_to_image.generator.to_image.parameters():
                parameter.mul_(scale)
        step(model, data, matching_weight=5.0, distillation_weight=2.0)
        heads.append(model.discriminators[2].embedding)
    assert same(snapshot(heads[0]), heads[1])


def test_matching_captions_come_with_their_pictures_classes(images):
    batch = training_set(images, matching_captions=40).batch(0, 0, 4)
    data = training_set(images)
    rows = [int((data.speech == x.numpy()).all(axis=1).argmax()) for x in batch.more_speech]
    assert [row // 8 for row in rows] == batch.more_groups.tolist()  # two captions an image, four images a class
    own = [int((data.speech == x.numpy()).all(axis=1).argmax()) for x in batch.speech]
    assert [row // 8 for row in own] == batch.groups.tolist()
    assert len(set(rows)) > 15  # of 24


def test_real_pictures_come_at_the_sizes_of_the_scales():
    images = torch.arange(16.0).view(1, 1, 4, 4).expand(1, 3, 4, 4)
    small, middle, large = real_pyramid(images)
    assert torch.equal(large, images)
    assert torch.allclose(middle[0, 0], torch.tensor([[2.5, 4.5], [10.5, 12.5]]))
    assert small.flatten().tolist() == [7.5] * 3


class CutError(Exception):
    pass


class Sounds:
    """Stands for data/logmel.h5: utterances (t, 5) of 24 lengths."""

    def values(self, rows):
        return [np.random.default_rng(row).standard_normal((16 + row, 5)).astype("f4") for row in rows]


def small_sen():
    sizes = {"bands": 5, "conv_channels": (6,), "gru_hidden": 4, "attention_hidden": 3}
    return build_sen({**sizes, "feature_dim": 12, "classes": 3}, seed=1)


def run(images, folder, stop_after=None, monkeypatch=None, epochs=3, trained=False):
    model = rdg(sen=small_sen() if trained else None)
    heard = {"speech": Sounds(), "labels": np.arange(12) // 4} if trained else {}
    torch.manual_seed(3)
    projection = nn.Linear(12, 8).requires_grad_(False)
    checkpoint = TrainingCheckpoint("rdg", {"folder": str(folder)}, [])
    checkpoint.path = folder / "checkpoint.pt"
    checkpoint.folder = folder
    calls = {"n": 0}
    original = training.training_step

    def counted(*arguments):
        if calls["n"] == stop_after:
            raise CutError
        calls["n"] += 1
        return original(*arguments)

    monkeypatch.setattr(training, "training_step", counted)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1)
    try:
        history = train(
            model,
            training_set(images, **heard),
            Recipe(**(RECIPE | {"r1_weight": 0.5, "relation_interval": 2, "mismatched": trained, "sen_weight": 1.0})),
            epochs=epochs,
            batch_size=5,
            seed=0,
            image_embedding=projection,
            fake_features=Frozen(),
            preview=torch.ones(2, 20, 5) if trained else torch.ones(2, 8),
            preview_frames=torch.tensor([20, 17]) if trained else None,
            device=torch.device("cpu"),
            checkpoint=checkpoint,
        )
    finally:
        monkeypatch.setattr(training, "training_step", original)
    return model, history


@pytest.mark.parametrize("trained", [False, True])
def test_a_resumed_run_equals_an_uninterrupted_one(images, tmp_path, monkeypatch, trained):
    whole, history = run(images, tmp_path / "whole", monkeypatch=monkeypatch, trained=trained)
    with pytest.raises(CutError):
        run(images, tmp_path / "cut", stop_after=3, monkeypatch=monkeypatch, trained=trained)
    resumed, resumed_history = run(images, tmp_path / "cut", monkeypatch=monkeypatch, trained=trained)
    assert ("sen" in history.rows[0]) == trained
    if trained:
        assert not torch.equal(next(small_sen().parameters()), next(whole.sen.parameters()))
    for (name, value), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    assert history.rows == resumed_history.rows and len(history.rows) == 6
    assert all(np.array_equal(a, b) for a, b in zip(history.sheets, resumed_history.sheets, strict=True))


def test_a_loss_that_is_not_finite_stops_before_a_checkpoint_keeps_it(images, tmp_path, monkeypatch):
    original = training.training_step

    def diverging(*arguments):
        return original(*arguments) | {"g_1": torch.tensor(float("nan"))}

    monkeypatch.setattr(training, "training_step", diverging)
    monkeypatch.setattr(training, "CURVE_POINTS", 1)  # the row of curves comes at the end only
    with pytest.raises(InputError, match="rdg: the loss g_1 is not finite at step 1; lower rdg.lr"):
        run(images, tmp_path, monkeypatch=monkeypatch)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_an_epoch_is_a_permutation_and_a_batch_depends_on_seed_and_step_alone(images):
    data = training_set(images)
    epoch = [data.batch(0, step, 4) for step in range(3)]
    again = [data.batch(0, step, 4) for step in (2, 1, 0)][::-1]
    assert all(torch.equal(a.images, b.images) for a, b in zip(epoch, again, strict=True))
    assert not torch.equal(epoch[0].images, data.batch(1, 0, 4).images)
    truths = torch.cat([batch.ground_truth for batch in epoch])
    # Each image once: both views of an image differ, but no image comes twice.
    rows = [int(np.flatnonzero((data.features == t.numpy()).all(2).any(1))[0]) for t in truths]
    assert sorted(rows) == list(range(12))


def test_partners_are_of_the_class_and_of_another(images):
    data = training_set(images)
    rng = np.random.default_rng(0)
    for i in range(12):
        for _ in range(20):
            same_class, other = data._same_class(i, rng), data._other_class(i, rng)
            assert same_class // 4 == i // 4 and same_class != i and other // 4 != i // 4


def test_published_negative_can_be_of_the_same_class(images):
    data = training_set(images, negative="redrawn_once")
    rng = np.random.default_rng(0)
    drawn = [data._other_class(0, rng) // 4 for _ in range(400)]
    # Of the same class only when both draws are: (1/3)^2.
    assert 0.05 < np.mean(np.array(drawn) == 0) < 0.18


@pytest.mark.parametrize("changes", [{"classes": np.array([0, 1, 2])}, {"classes": np.full(3, -1)}])
@pytest.mark.parametrize("positive", ["same_class", "augmented_view"])
def test_an_image_alone_in_its_class_has_another_view_of_itself(images, changes, positive):
    data = training_set(images, rows=np.array([0, 4, 8]), positive=positive, **changes)
    batch = data.batch(0, 0, 3)
    for truth, same, other in zip(batch.ground_truth, batch.same_class, batch.other_class, strict=True):
        (row, view), (partner, other_view), (foreign, _) = (
            np.argwhere((data.features == x.numpy()).all(axis=2))[0] for x in (truth, same, other)
        )
        assert row == partner and view != other_view and foreign != row


def test_too_large_a_batch_says_so(images):
    with pytest.raises(InputError, match="batch_size=50: only 12"):
        train(
            rdg(), training_set(images), Recipe(**RECIPE), epochs=1, batch_size=50, seed=0,
            image_embedding=None, fake_features=None, preview=torch.ones(1, 8), device=torch.device("cpu"),
        )  # fmt: skip


def test_a_picture_does_not_depend_on_its_batch():
    model = copy.deepcopy(rdg().average).eval()
    speech = np.random.default_rng(0).standard_normal((5, 8)).astype("f4")
    seeds = [image_seed(f"k{i}", 0) for i in range(5)]
    device = torch.device("cpu")
    one = np.concatenate([b[-1] for b in generate(model, speech, seeds, 1, device)])
    all_at_once = next(generate(model, speech, seeds, 5, device))[-1]
    assert np.abs(one.astype(int) - all_at_once).max() <= 1
    assert image_seed("k0", 0) != image_seed("k0", 1) != image_seed("k1", 1)


def test_a_batch_for_a_trained_encoder_has_the_sounds_of_its_captions(images):
    data = training_set(images, speech=Sounds(), labels=np.array([0] * 4 + [1] * 4 + [-1] * 4))
    batch = data.batch(0, 0, 4)
    plain = training_set(images).batch(0, 0, 4)
    assert torch.equal(batch.images, plain.images) and plain.frames is None  # the same draws
    embedded = training_set(images).speech
    for row, (speech, frames, embedding) in enumerate(zip(batch.speech, batch.frames, plain.speech, strict=True)):
        caption = int((embedded == embedding.numpy()).all(axis=1).argmax())
        assert frames == 16 + caption
        assert torch.equal(speech[:frames], torch.from_numpy(Sounds().values([caption])[0]))
        assert batch.groups[row] == caption // 8 and batch.labels[row] == (-1 if caption // 8 == 2 else caption // 8)
