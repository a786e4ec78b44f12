"""One step of RDG moves what it should and nothing else; a resumed run equals an uninterrupted one."""

import copy

import numpy as np
import pytest
import torch
from tiny import Frozen, StoppedError, rdg, stopping
from torch import nn
from torch.nn import functional as F

from s2igan.errors import InputError
from s2igan.rdg import training
from s2igan.rdg.batches import BatchConfig, ImageTable, TrainingSet
from s2igan.rdg.captions import CaptionDecoder
from s2igan.rdg.relation import Relation
from s2igan.rdg.sampling import generate, image_seed
from s2igan.rdg.training import (
    ChannelsLastAdam,
    Preview,
    Recipe,
    Setup,
    build_optimizers,
    draw_fakes,
    draw_latent,
    real_pyramid,
    train,
    training_step,
)
from s2igan.sen.model import build_sen
from s2igan.store import ImageReader, ImageWriter
from s2igan.training import Checkpoints
from s2igan.vision.facing import turned
from s2igan.vision.transforms import to_float

CPU = torch.device("cpu")
RECIPE = dict(
    images=15, lr=1e-3, lr_discriminator=1e-3, beta1=0.5, beta2=0.999, kl_weight=2.0, relation_weight=1.0,
    relation_interval=1, matching_weight=0.0, distillation_weight=0.0, local_weight=0.0, region_weight=0.0,
    competition_weight=0.0, contrastive_weight=0.0, caption_weight=0.0, decoder_captions=1,
    condition_to_discriminator="sampled", r1_weight=0.0, r1_interval=2, ema_decay=0.9, ema_batch_norm=True,
    sen_weight=0.0, translation=0.0, precision="float32", seed=0,
)  # fmt: skip


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.h5"
    rng = np.random.default_rng(0)
    keys = [f"{c}/{i}" for c in "abc" for i in range(4)]
    with ImageWriter(path) as out:
        for key, image in zip(keys, rng.integers(0, 255, (12, 3, 36, 36)), strict=True):
            out.append(key, image)
    with ImageReader(path) as reader:
        yield reader


def training_set(images, rows=None, classes=None, speech=None, labels=None, **changes) -> TrainingSet:
    rng = np.random.default_rng(1)
    rows = np.arange(12) if rows is None else rows
    features, embeddings = rng.standard_normal((12, 2, 12)).astype("f4"), rng.standard_normal((24, 8)).astype("f4")
    options = dict(relation_negative="different_class", matching_captions=0, mismatched=False)
    options |= dict(crop_size=32, relation=True, batch_size=min(4, len(rows)))
    captions = [np.array([2 * r, 2 * r + 1]) for r in rows]
    table = ImageTable(rows, rows // 4 if classes is None else classes, captions, labels)
    config = BatchConfig(**(options | changes))
    return TrainingSet(images, features, embeddings if speech is None else speech, table, config)


def setup_for(model, **changes) -> Setup:
    torch.manual_seed(3)
    projection = nn.Linear(12, 8).requires_grad_(False)
    recipe = Recipe(**(RECIPE | changes))
    return Setup(model, recipe, build_optimizers(model, recipe), projection, Frozen())


def step(model, data, number=0, **changes):
    """One step of a number that says whether it has the terms that come at intervals (here, all have by default)."""
    setup = setup_for(model, **changes)
    batch, latent = data.batch(0, number), draw_latent(model, 4, 0, number, "latent")
    with torch.autocast("cpu", torch.bfloat16, enabled=setup.recipe.precision == "bfloat16"):
        return setup.optimizers, training_step(setup, batch, latent, number)


def snapshot(module):
    return {name: value.clone() for name, value in module.named_parameters()}


def same(before, module):
    return all(torch.equal(before[name], value) for name, value in module.named_parameters())


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_adam_in_the_order_of_the_memory_is_the_librarys(order):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.Linear(4, 1)).to(memory_format=order)
    theirs, x = copy.deepcopy(ours), torch.randn(5, 3, 3, 3)
    optimizers = [ChannelsLastAdam(ours, 0.1, (0.5, 0.9)), torch.optim.Adam(theirs.parameters(), 0.1, (0.5, 0.9))]
    for _ in range(3):
        for network, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            network(x).square().sum().backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_what_speech_is_compared_with_is_whitened_as_speech_is(images):
    model = rdg(matching=True, whitening=1.0)
    data = training_set(images, matching_captions=3)
    model.fit_whitening(torch.from_numpy(data.embeddings))
    batch, whiten = data.batch(0, 0), model.speech_to_image.whiten
    setup = setup_for(model, matching_weight=1.0)
    view = draw_fakes(setup, batch, draw_latent(model, 4, 0, 0, "latent"), 0)
    torch.testing.assert_close(view.real_embedding, whiten(setup.image_embedding(batch.ground_truth)))
    expected = whiten(torch.cat([batch.speech, batch.more_speech]))
    torch.testing.assert_close(view.anchors, expected)
    torch.testing.assert_close(expected.norm(dim=1), torch.ones(7))
    assert not torch.allclose(view.anchors[:4], F.normalize(batch.speech, dim=1), atol=0.1)


@pytest.mark.parametrize("still", ["generator", "discriminators", "relation"])
def test_each_player_is_moved_by_its_own_optimizer_alone(images, still):
    model = rdg()
    players = {"generator": model.speech_to_image, "discriminators": model.discriminators, "relation": model.relation}
    before = {name: snapshot(module) for name, module in players.items()}
    setup = setup_for(model)
    setup.optimizers[still].step = lambda: None
    training_step(setup, training_set(images).batch(0, 0), draw_latent(model, 4, 0, 0, "latent"), 0)
    for name, module in players.items():
        assert same(before[name], module) == (name == still), name


def test_the_generator_follows_only_the_last_term_of_eq_8(images, monkeypatch):
    """Its step is the same whatever the weight of the terms of real pairs, and another with that of the fake pair."""
    data, real = training_set(images), training.losses.relation_loss

    def stepped(**weights):
        """The generator after one step in which the supervisor stands still and its terms have these weights."""
        model, calls = rdg(), []

        def weighted(logits, relation):
            calls.append(relation)
            name = ("same", "other", "itself", "fake", "generator")[len(calls) - 1]
            return weights.get(name, 1.0) * real(logits, relation)

        monkeypatch.setattr(training.losses, "relation_loss", weighted)
        setup = setup_for(model)
        setup.optimizers["relation"].step = lambda: None
        training_step(setup, data.batch(0, 0), draw_latent(model, 4, 0, 0, "latent"), 0)
        assert calls == [*training.RELATIONS, Relation.POSITIVE]
        return model.speech_to_image

    plain = snapshot(stepped())
    assert same(plain, stepped(same=0.0, other=5.0, itself=0.0, fake=3.0))
    assert not same(plain, stepped(generator=50.0))


def test_the_supervisor_learns_from_real_pairs_in_a_step_without_the_fake_one(images):
    model = rdg()
    before, generator = snapshot(model.relation), copy.deepcopy(model)
    generator.relation = None
    _, curves = step(model, training_set(images), number=1, relation_interval=2)
    assert "relation" in curves and "g_relation" not in curves and not same(before, model.relation)
    # Nothing of it reaches the generator: its step is that of no supervisor at all.
    step(generator, training_set(images), number=1, relation_interval=2)
    assert same(snapshot(generator.speech_to_image), model.speech_to_image)


@pytest.mark.parametrize("kinds", [{}, {"classes": np.full(12, -1)}, {"relation_negative": "redrawn_once"}])
def test_a_mismatched_image_is_the_relations_negative(images, kinds):
    """Another image with this speech, of another class where there are classes; `redrawn_once` reaches D, too."""
    data, same_class = training_set(images, mismatched=True, **kinds), 0
    for number in range(40):
        batch = data.batch(0, number)
        pictures = np.stack(images.values()) / 127.5 - 1
        for own, other, feature in zip(data.chosen(0, number), batch.mismatched, batch.other_class, strict=True):
            (row, _), *_ = np.argwhere((data.features == feature.numpy()).all(axis=2))
            crops = np.lib.stride_tricks.sliding_window_view(pictures[row], (32, 32), axis=(1, 2))
            crops = np.moveaxis(crops, 0, 2).reshape(25, 3, 32, 32)
            assert (
                min(np.abs(crops - seen.numpy()).max(axis=(1, 2, 3)).min() for seen in (other, other.flip(-1))) < 1e-6
            )
            same_class += own // 4 == row // 4
            assert own != row or kinds.get("relation_negative")
    assert same_class == 0 if not kinds else same_class > 0


def test_local_terms_are_means_over_places(images):
    """At such a rate weights stay, so that both players' terms are of the network as it was built."""
    model, data = rdg(local=True), training_set(images)
    _, curves = step(model, data, local_weight=0.5, lr=1e-30, lr_discriminator=1e-30)
    batch, latent = data.batch(0, 0), draw_latent(model, 4, 0, 0, "latent")
    fakes, condition, *_ = model.speech_to_image(latent, batch.speech)
    for i, discriminator in enumerate(model.discriminators):
        real, fake = (discriminator(seen, condition)[3] for seen in (real_pyramid(batch.images)[i], fakes[i]))
        says_real, says_fake, fools = (
            -torch.log(torch.sigmoid(sign * logits)).mean() for logits, sign in ((real, 1), (fake, -1), (fake, 1))
        )
        assert curves[f"d_local_{i}"].item() == pytest.approx((says_real + says_fake).item(), rel=1e-4)
        assert curves[f"g_local_{i}"].item() == pytest.approx(fools.item(), rel=1e-4)


CHANGES = {  # of the recipe, and the terms that a step then has beside those of the plain one
    "mean": (dict(condition_to_discriminator="mean"), set()),
    "r1": (dict(r1_weight=1.0), {"r1_0", "r1_1", "r1_2"}),
    "matching": (dict(matching_weight=5.0), {f"{player}_matching_{i}" for player in "dg" for i in range(3)}),
    "distillation": (
        dict(matching_weight=5.0, distillation_weight=2.0),
        {f"{player}_matching_{i}" for player in "dg" for i in range(3)},
    ),
    "local": (dict(local_weight=0.5), set()),  # what it weighs is counted at any weight
    "translation": (dict(translation=0.25), set()),
    "kl": (dict(kl_weight=0.0), set()),
    "relation": (dict(relation_weight=2.0), set()),
    "lr": (dict(lr=1e-2), set()),
    "lr_discriminator": (dict(lr_discriminator=1e-2), set()),
    "ema": (dict(ema_decay=0.5), set()),
    "ema_batch_norm": (dict(ema_batch_norm=False), set()),
    "bfloat16": (dict(precision="bfloat16"), set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_option_changes_the_step_and_adds_its_terms_alone(images, change):
    changes, terms = CHANGES[change]
    data = training_set(images, matching_captions=5)
    plain, changed = (rdg(matching=True, local=True, own_condition=True, projection=True) for _ in range(2))
    (_, before), (_, curves) = step(plain, data), step(changed, data, **changes)
    assert set(curves) - set(before) == terms and set(before) <= set(curves)
    assert all(torch.isfinite(value) for value in curves.values())
    states = zip(plain.state_dict().values(), changed.state_dict().values(), strict=True)
    assert not all(torch.equal(a, b) for a, b in states)


def test_bfloat16_is_float32_with_fewer_digits(images):
    data = training_set(images)
    (_, precise), (_, coarse) = step(rdg(), data), step(rdg(), data, precision="bfloat16")
    assert precise.keys() == coarse.keys()
    for name, value in precise.items():
        assert coarse[name].dtype == torch.float32 and coarse[name].item() == pytest.approx(value.item(), rel=0.1), name
    assert any(coarse[name] != value for name, value in precise.items())


def test_the_matching_head_learns_from_real_pictures_alone(images):
    """Whatever the generator draws, the head's step is the same."""
    data = training_set(images, matching_captions=5)
    heads = []
    for scale in (1.0, 3.0):
        model = rdg(matching=True)
        with torch.no_grad():
            for parameter in model.speech_to_image.generator.to_image.parameters():
                parameter.mul_(scale)
        step(model, data, matching_weight=5.0, distillation_weight=2.0)
        heads.append(model.discriminators[2].embedding)
    assert same(snapshot(heads[0]), heads[1])


def test_matching_captions_come_with_their_pictures_classes(images):
    batch = training_set(images, matching_captions=40).batch(0, 0)
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
    (only,) = real_pyramid(images, 1)
    assert torch.equal(only, images)


class Sounds:
    """Stands for data/logmel.h5: utterances (t, 5) of 24 lengths."""

    def values(self, rows):
        return [np.random.default_rng(row).standard_normal((16 + row, 5)).astype("f4") for row in rows]


def small_sen():
    sizes = {"bands": 5, "conv_channels": (6,), "gru_hidden": 4, "attention_hidden": 3}
    return build_sen({**sizes, "feature_dim": 12, "classes": 3}, seed=1)


def run(images, stop_at=None, trained=False, images_in_all=15, report=lambda history: None, decoder=None):
    """Twelve images in batches of five: a pass is two steps."""
    model = rdg(sen=small_sen() if trained else None)
    heard = {"speech": Sounds(), "labels": np.arange(12) // 4} if trained else {}
    torch.manual_seed(3)
    changes = {"images": images_in_all, "r1_weight": 0.5, "relation_interval": 2}
    data = training_set(images, batch_size=5, mismatched=trained, **heard)
    if decoder is not None:
        changes["caption_weight"] = 20.0
        data.words = np.tile([[1, 2, 0], [3, 0, 0]], (12, 1))
    preview = Preview(torch.ones(2, 20, 5), torch.tensor([20, 17])) if trained else Preview(torch.ones(2, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "training_step", stopping(training_step, stop_at))
        history = train(
            *(model, data, Recipe(**(RECIPE | changes | {"sen_weight": 1.0})), preview, CPU),
            image_embedding=nn.Linear(12, 8),
            frozen_encoder=Frozen(),
            decoder=decoder,
            checkpoints=Checkpoints("rdg", {"trained": trained}, []),
            report=report,
        )
    return model, history


@pytest.mark.parametrize("trained", [False, True])
def test_a_run_stopped_at_random_moments_equals_an_undisturbed_one(images, checkpoints, monkeypatch, trained):
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(checkpoints / "whole"))
    whole, history = run(images, trained=trained, images_in_all=28)
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(checkpoints / "cut"))
    for more in np.random.default_rng(trained).integers(1, 3, size=2):  # steps since the last time
        with pytest.raises(StoppedError):
            run(images, stop_at=more, trained=trained, images_in_all=28)
    resumed, resumed_history = run(images, trained=trained, images_in_all=28)
    assert ("sen" in history.rows[0]) == trained
    if trained:
        assert not torch.equal(next(small_sen().parameters()), next(whole.sen.parameters()))
    for (name, value), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    assert history.rows == resumed_history.rows and len(history.rows) == 6
    assert all(np.array_equal(a, b) for a, b in zip(history.sheets, resumed_history.sheets, strict=True))


def test_a_run_that_goes_on_keeps_the_caption_decoder_that_it_began_with(images, checkpoints, monkeypatch):
    """It is taught again before that, which need not give the same bytes: here it is another one."""
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(checkpoints / "whole"))
    whole, history = run(images, decoder=CaptionDecoder(12, 4))
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(checkpoints / "cut"))
    with pytest.raises(StoppedError):
        run(images, stop_at=1, decoder=CaptionDecoder(12, 4))
    resumed, resumed_history = run(images, decoder=CaptionDecoder(12, 4, seed=1))
    assert "g_caption" in history.rows[0] and history.rows == resumed_history.rows
    for (name, value), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_curves_count_images_and_a_report_comes_with_each_row(images, checkpoints):
    """28 images in batches of 5 are six steps."""
    seen = []
    _, history = run(images, images_in_all=28, report=lambda history: seen.append(len(history.rows)))
    assert [(row["step"], row["images"]) for row in history.rows] == [(n, 5 * n) for n in range(1, 7)]
    assert len(history.sheets) == 6 and set(seen) == set(range(1, 7))


def test_a_loss_that_is_not_finite_names_the_images_before_a_checkpoint_keeps_it(images, checkpoints, monkeypatch):
    monkeypatch.setattr(training.losses, "kl_loss", lambda mean, _: (mean * float("nan")).sum())
    told = (
        "rdg: kl is nan at step 1; give the same command again, and if that ends here, too, lower rdg.lr, or "
        r".*: [abc]/\d(, [abc]/\d){4}$"
    )
    with pytest.raises(InputError, match=told):
        run(images)
    assert not list(checkpoints.rglob("*.pt"))


def coloured_world(folder):
    """Images in shades of two colours, whose captions' embeddings say which colour and nothing else."""
    rng = np.random.default_rng(0)
    colours = rng.integers(2, size=64)
    values = np.where(colours[:, None], [220, 60, 40], [40, 80, 220])[:, :, None, None]
    pictures = np.clip(values + rng.normal(0, 10, (64, 3, 1, 1)), 0, 255).repeat(36, axis=2).repeat(36, axis=3)
    with ImageWriter(folder / "world.h5") as out:
        for i, (colour, picture) in enumerate(zip(colours, pictures, strict=True)):
            out.append(f"{colour}/{i:02d}", picture)
    speech = np.zeros((64, 8), np.float32)
    speech[np.arange(64), colours] = 1
    return colours, speech


def test_it_learns_to_draw_the_colour_that_speech_says(tmp_path):
    """After 150 steps, images follow their condition; chance is 0.5."""
    colours, speech = coloured_world(tmp_path)
    config = dict(crop_size=32, relation=False, batch_size=16, matching_captions=0)
    config |= dict(relation_negative="different_class", mismatched=True)
    recipe = Recipe(**RECIPE | {"images": 16 * 150, "lr": 1e-3, "lr_discriminator": 1e-3})
    model = rdg(relation_outputs=0, condition_noise=False, condition_scale=4.0, projection=True, own_condition=True)
    features = np.zeros((64, 2, 12), np.float32)
    with ImageReader(tmp_path / "world.h5") as images:
        table = ImageTable(np.arange(64), colours, [np.array([i]) for i in range(64)])
        data = TrainingSet(images, features, speech, table, BatchConfig(**config))
        train(
            *(model, data, recipe, Preview(torch.from_numpy(speech[:2])), CPU),
            image_embedding=None,
            frozen_encoder=None,
        )
    (drawn,) = generate(model.average, speech, range(64), 64, CPU)
    red_above_blue = drawn[-1][:, 0].mean(axis=(1, 2)) > drawn[-1][:, 2].mean(axis=(1, 2))
    assert (red_above_blue == colours).mean() > 0.9


def test_training_images_of_a_mirrored_generator_face_one_way_and_others_are_turned_by_chance(images):
    """Crops as large as the images have no place to be cut at, so that only the side differs."""
    sides = turned(images.values(np.arange(12)))
    assert 0 < sides.sum() < 12
    for one_way in (True, False):
        data = training_set(images, crop_size=36, one_way=one_way)
        kept = []
        for step in range(9):
            chosen, batch = data.chosen(0, step), data.batch(0, step)
            for i, crop in zip(chosen, batch.images, strict=True):
                stored = to_float(torch.from_numpy(images.values([i])[0]))
                expected = stored.flip(-1) if sides[i] else stored
                kept.append(torch.equal(crop, expected))
                assert kept[-1] or torch.equal(crop, expected.flip(-1))
        assert all(kept) == one_way and 0.2 < np.mean(kept)


def test_an_epoch_is_a_permutation_and_a_batch_depends_on_seed_and_step_alone(images):
    data = training_set(images)
    epoch = [data.batch(0, step) for step in range(3)]
    again = [data.batch(0, step) for step in (2, 1, 0)][::-1]
    assert all(torch.equal(a.images, b.images) for a, b in zip(epoch, again, strict=True))
    assert not torch.equal(epoch[0].images, data.batch(1, 0).images)
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
    data = training_set(images, relation_negative="redrawn_once")
    rng = np.random.default_rng(0)
    drawn = [data._other_class(0, rng) // 4 for _ in range(400)]
    # Of the same class only when both draws are: (1/3)^2.
    assert 0.05 < np.mean(np.array(drawn) == 0) < 0.18


@pytest.mark.parametrize("changes", [{"classes": np.array([0, 1, 2])}, {"classes": np.full(3, -1)}])
def test_an_image_alone_in_its_class_has_another_view_of_itself(images, changes):
    data = training_set(images, rows=np.array([0, 4, 8]), **changes)
    batch = data.batch(0, 0)
    for truth, same, other in zip(batch.ground_truth, batch.same_class, batch.other_class, strict=True):
        (row, view), (partner, other_view), (foreign, _) = (
            np.argwhere((data.features == x.numpy()).all(axis=2))[0] for x in (truth, same, other)
        )
        assert row == partner and view != other_view and foreign != row


def test_too_large_a_batch_says_so(images):
    with pytest.raises(InputError, match="batch_size=50: only 12"):
        training_set(images, batch_size=50)


def test_a_picture_does_not_depend_on_its_batch():
    model = copy.deepcopy(rdg().average).eval()
    speech = np.random.default_rng(0).standard_normal((5, 8)).astype("f4")
    seeds = [image_seed(f"k{i}", 0) for i in range(5)]
    one = np.concatenate([b[-1] for b in generate(model, speech, seeds, 1, CPU)])
    all_at_once = next(generate(model, speech, seeds, 5, CPU))[-1]
    assert np.abs(one.astype(int) - all_at_once).max() <= 1
    assert image_seed("k0", 0) != image_seed("k0", 1) != image_seed("k1", 1)


def test_a_batch_for_a_trained_encoder_has_the_sounds_of_its_captions(images):
    data = training_set(images, speech=Sounds(), labels=np.array([0] * 4 + [1] * 4 + [-1] * 4))
    batch = data.batch(0, 0)
    plain = training_set(images).batch(0, 0)
    assert torch.equal(batch.images, plain.images) and plain.frames is None  # the same draws
    embedded = training_set(images).speech
    for row, (speech, frames, embedding) in enumerate(zip(batch.speech, batch.frames, plain.speech, strict=True)):
        caption = int((embedded == embedding.numpy()).all(axis=1).argmax())
        assert frames == 16 + caption
        assert torch.equal(speech[:frames], torch.from_numpy(Sounds().values([caption])[0]))
        assert batch.groups[row] == caption // 8 and batch.labels[row] == (-1 if caption // 8 == 2 else caption // 8)
