"""Attention to speech: places of an utterance, their matching with regions of images, and F^attn of the generator."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import SEN, rdg
from torch.nn import functional as F

from s2igan.datasets.drawn.birds import PARTS
from s2igan.datasets.drawn.grammar import named_at
from s2igan.figures import attention_figure
from s2igan.metrics.attention import attention_of_parts, in_words, words_in_time
from s2igan.rdg.attention import PlaceAttention, recorded_weights
from s2igan.rdg.sampling import draw_with_attention, latents
from s2igan.sen.losses import region_matching_loss
from s2igan.sen.model import build_sen, embed_speech, sentence
from s2igan.sen.speech_encoder import pool_places
from s2igan.sen.text_encoder import ALPHABET
from s2igan.speech.espeak import Espeak

ENCODERS = [{}, {"place_reach": 2}, {"mask_padding": False}, {"encoder": "li2020", "width": 0.01},
            {"encoder": "char_cnn_rnn", "width": 0.1, "image_projection": "none"}]  # fmt: skip


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_places_are_means_of_equal_stretches():
    frames = torch.tensor([[1.0, 2, 3, 4, 5], [7, 9, 11, math.nan, math.nan], [8, *[math.nan] * 4]])[..., None]
    pooled, valid = pool_places(frames, torch.tensor([5, 3, 1]), 3)
    # Of 5 frames floor(3 t / 5) is 0, 0, 1, 1, 2; of 3 each is a place; of one there is one place.
    assert pooled[..., 0].tolist() == [[1.5, 3.5, 5], [7, 9, 11], [8, 0, 0]]
    assert valid.tolist() == [[True] * 3, [True] * 3, [True, False, False]]


@pytest.mark.parametrize("changes", ENCODERS, ids=str)
def test_an_utterance_is_heard_alike_in_any_batch_and_begins_with_its_embedding(changes):
    sen = build_sen(SEN | {"places": 4} | changes).eval()
    width = len(ALPHABET) if changes.get("encoder") == "char_cnn_rnn" else 40
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((length, width)).astype(np.float32) for length in (7, 60, 90)]
    heard = embed_speech(sen, inputs, places=True)
    alone = np.concatenate([embed_speech(sen, [x], places=True) for x in inputs])
    np.testing.assert_allclose(heard, alone, atol=1e-5)
    np.testing.assert_allclose(heard[:, 0], embed_speech(sen, inputs), atol=1e-6)
    lengths = np.linalg.norm(heard, axis=2)
    assert np.allclose(lengths[1:, :2], 1, atol=1e-5) and set(lengths.round(4).ravel()) <= {0, 1}
    first = embed_speech(sen, inputs[:1], places=True)[0]  # of 7 frames or characters there is one place
    assert first[1].any() and (changes.get("encoder") == "li2020" or not first[2:].any())


@pytest.mark.parametrize("reach", [0, 1])
def test_a_place_hears_no_further_than_its_reach(reach):
    """10 places of 3 frames, which convolutions of one frame make. Another sound in the last place is heard there and,
    over two frames to each side, in the place before it; a recurrent network carries it further."""
    sen = build_sen(SEN | {"places": 10, "place_reach": reach, "kernel": 1, "stride": 1}).eval()
    log_mel = torch.randn(1, 30, 40)
    other = log_mel.clone()
    other[:, 27:] += 1
    with torch.no_grad():
        one, two = (sen.hear(x, torch.tensor([30]))[0, 1:] for x in (log_mel, other))
    moved = [not torch.allclose(a, b, atol=1e-6) for a, b in zip(one, two, strict=True)]
    assert moved == [False] * 8 + [True] * 2 if reach else sum(moved) > 3


def test_without_places_an_utterance_is_its_embedding():
    sen = build_sen(SEN).eval()
    log_mels, lengths = torch.randn(2, 20, 40), torch.tensor([20, 12])
    assert torch.equal(sen.hear(log_mels, lengths), F.normalize(sen.speech(log_mels, lengths), dim=1))
    embeddings = torch.randn(2, 8)
    assert sentence(embeddings) is embeddings


def test_attention_has_the_formula_sums_to_one_and_ignores_padding():
    """AttnGAN's eq. 2 written out; the second utterance has one place, the third two."""
    attention = PlaceAttention(5, 3)
    attention.requires_grad_(False)
    hidden, places = torch.randn(3, 3, 2, 2), unit(3, 4, 5)
    places[1, 1:], places[2, 2:] = 0, 0
    with recorded_weights(attention) as recorded:
        context = attention(hidden, places)
    (weights,) = recorded
    projected = places @ attention.project.weight.T
    for b, count in enumerate((4, 1, 2)):
        for j in range(4):
            pixel = hidden[b, :, j // 2, j % 2]
            scores = [math.exp(float(pixel @ projected[b, k])) for k in range(count)]
            beta = torch.tensor([score / sum(scores) for score in scores] + [0.0] * (4 - count))
            assert torch.allclose(weights[b, j], beta, atol=1e-6)
            assert torch.allclose(context[b, :, j // 2, j % 2], beta @ projected[b], atol=1e-6)
    assert torch.allclose(weights.sum(dim=2), torch.ones(3, 4))
    assert torch.allclose(context[1], projected[1, 0][:, None, None].expand(3, 2, 2), atol=1e-6)


def test_a_generator_attends_to_the_places_and_not_to_what_pads_them():
    model = rdg(attention=True).speech_to_image.eval()
    latent, heard = torch.randn(2, model.latent_dim), unit(2, 4, 8)
    padded = torch.cat([heard, torch.zeros(2, 3, 8)], dim=1)
    with torch.no_grad():
        images, *conditions = model(latent, heard)
        for one, other in zip(images, model(latent, padded)[0], strict=True):
            assert torch.allclose(one, other, atol=1e-6)
        moved = torch.cat([heard[:, :1], unit(2, 3, 8, seed=1)], dim=1)
        others, *same = model(latent, moved)
    assert all(torch.equal(a, b) for a, b in zip(conditions, same, strict=True))  # F^ca hears the whole alone
    assert torch.equal(images[0], others[0])  # h_0 comes before any attention
    assert not torch.allclose(images[1], others[1], atol=1e-4) and not torch.allclose(images[2], others[2], atol=1e-4)


def test_a_mirrored_image_and_what_it_attends_to_are_turned_by_the_sign_of_the_noise():
    speech, seeds, cpu = unit(6, 4, 8).numpy(), range(6), torch.device("cpu")
    turned = latents(seeds, 10)[:, 0].numpy() < 0
    assert 0 < turned.sum() < 6
    plain, mirrored = (
        draw_with_attention(rdg(attention=True, mirrored=mirrored).average, speech, seeds, cpu)
        for mirrored in (False, True)
    )
    for before, after, side in zip(plain, mirrored, (3, 2), strict=True):  # images (N, 3, H, W), weights (N, H, W, P)
        np.testing.assert_array_equal(after[~turned], before[~turned])
        np.testing.assert_array_equal(after[turned], np.flip(before[turned], side))
        assert (after[turned] != before[turned]).any()


def test_region_matching_has_attngans_formulas():
    """Eqs. 7 to 13 of Xu et al. 2018 in loops; a pair of one class is left out, an utterance has one place."""
    places, regions, classes = unit(3, 4, 6), torch.randn(3, 2, 6), torch.tensor([0, 1, 1])
    places[1, 1:] = 0
    v = F.normalize(regions, dim=2)
    relevance = torch.empty(3, 3)
    for i, count in enumerate((4, 1, 4)):
        for j in range(3):
            s = torch.tensor([[10 * float(places[i, k] @ v[j, r]) for r in range(2)] for k in range(count)])
            shares = s.exp() / s.exp().sum(dim=0)
            total = 0.0
            for k in range(count):
                alpha = (5 * shares[k]).exp() / (5 * shares[k]).exp().sum()
                context = alpha @ v[j]
                total += math.exp(5 * float(F.cosine_similarity(context, places[i, k], dim=0)))
            relevance[i, j] = math.log(total) / 5
    scores = (10 * relevance).exp()
    expected = 0.0
    for i, others in enumerate(([0, 1, 2], [0, 1], [0, 2])):  # 1 and 2 are of one class
        expected -= math.log(scores[i, i] / scores[i, others].sum()) + math.log(scores[i, i] / scores[others, i].sum())
    assert region_matching_loss(places, regions, classes).item() == pytest.approx(expected / 3, rel=1e-5)
    longer = torch.cat([places, torch.zeros(3, 2, 6)], dim=1)
    assert region_matching_loss(longer, regions, classes).item() == pytest.approx(expected / 3, rel=1e-5)


SENTENCE = "this bird has a bright red crown, and its back and wings are blue"


def test_the_words_of_a_part_are_found_in_the_text_and_in_time():
    spans = {part: [SENTENCE[start:stop] for start, stop in found] for part, found in named_at(SENTENCE).items()}
    assert spans == {"crown": ["red", "crown"], "back": ["blue", "back"], "wing": ["blue", "wings"]}
    starts = [0, *(place + 1 for place, letter in enumerate(SENTENCE) if letter == " ")]
    times = [(start, float(second), second + 1.0) for second, start in enumerate(starts)]  # 14 words, one a second
    inside = words_in_time(SENTENCE, times, PARTS, 28)
    assert {PARTS[part]: np.flatnonzero(within).tolist() for part, within in inside.items()} == {
        "crown": [10, 11, 12, 13],  # words 5 and 6
        "back": [18, 19, 26, 27],
        "wing": [22, 23, 26, 27],
    }
    assert PARTS.index("crown") not in words_in_time(SENTENCE, times, PARTS, 1)  # the only middle is in another word


def test_espeak_tells_when_each_word_is_heard():
    engine = Espeak(200)
    times = engine.word_times(SENTENCE, "en-us")
    assert [SENTENCE[at:].split()[0].strip(",") for at, *_ in times] == SENTENCE.replace(",", "").split()
    begins, ends = np.array([time[1:] for time in times]).T
    assert (begins[1:] >= ends[:-1]).all() and (ends > begins).all() and begins[0] == 0
    assert ends[-1] == pytest.approx(len(engine.speak(SENTENCE, "en-us")) / engine.sample_rate, abs=1e-3)
    # What comes before a word does not depend on what follows it: said alone, its beginning is as long.
    first = engine.speak("this bird has", "en-us")
    assert begins[3] == pytest.approx(len(first) / engine.sample_rate, abs=0.25)


def test_attention_in_words_is_its_share_beside_chance_and_other_parts():
    # Two parts look at one pixel each of a plane of two; the pixels attend to stretches 0 and 1, and to 3 alone.
    looks = np.array([[[[1.0, 0.0]], [[0.0, 3.0]]]])  # (1, 2, 1, 2)
    weights = np.array([[[[0.25, 0.75, 0, 0], [0, 0, 0, 1.0]]]])  # (1, 1, 2, 4)
    attention = attention_of_parts(weights, looks)
    assert attention.tolist() == [[[0.25, 0.75, 0, 0], [0, 0, 0, 1]]]
    inside = [{0: np.array([True, False, False, False]), 1: np.array([False, False, True, True])}]
    scores = in_words(attention, inside)
    assert scores["attention_in_words"] == (0.25 + 1) / 2
    assert scores["attention_in_words_chance"] == (0.25 + 0.5) / 2
    assert scores["attention_in_words_other"] == 0.0
    assert scores["attention_most"]["share"] == 0.5 and scores["attention_most"]["count"] == 2
    assert in_words(attention, [{}]) == {}


def test_the_figure_has_a_column_for_each_utterance(tmp_path):
    rng = np.random.default_rng(0)
    weights = np.zeros((2, 4, 4, 3))
    weights[0, ..., 0], weights[1, :, :2, 0], weights[1, :, 2:, 1] = 1, 1, 1
    for count in (1, 2):
        arguments = (rng.standard_normal((2, 300)), rng.integers(0, 255, (2, 3, 8, 8), np.uint8), weights, [1, 2])
        attention_figure(*(part[:count] for part in arguments), ["a red bird"] * count, tmp_path / f"{count}.png")
    one, two = (np.asarray(Image.open(tmp_path / f"{count}.png").convert("RGB")) for count in (1, 2))
    assert abs(two.shape[1] - 2 * one.shape[1]) < 20
    red, pink = (np.abs(two.astype(int) - colour).sum(axis=2) < 30 for colour in ((255, 0, 0), (255, 0, 236)))
    assert red[:, : two.shape[1] // 2].sum() > 2000 and not pink[:, : two.shape[1] // 2].any()
    assert red[:, two.shape[1] // 2 :].sum() > 1000 and pink[:, two.shape[1] // 2 :].sum() > 1000
