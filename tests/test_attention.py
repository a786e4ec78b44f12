"""Attention to speech: places of an utterance, their matching with regions of images, and F^attn of the generator."""

import math

import numpy as np
import pytest
import torch
from tiny import SEN, rdg
from torch.nn import functional as F

from s2igan.rdg.attention import PlaceAttention
from s2igan.sen.losses import region_matching_loss
from s2igan.sen.model import build_sen, embed_speech, sentence
from s2igan.sen.speech_encoder import pool_places
from s2igan.sen.text_encoder import ALPHABET

ENCODERS = [{}, {"mask_padding": False}, {"encoder": "li2020", "width": 0.01},
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
    weights, context = attention.weights(hidden, places), attention(hidden, places)
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


def test_region_matching_leads_places_to_the_regions_of_their_own_image():
    """Places that say what an image's regions show, in another order, leave nothing to learn; others do."""
    shown = unit(4, 3, 16)
    own, others = (
        region_matching_loss(shown.flip(1)[order], shown, torch.arange(4)) for order in (slice(None), [1, 2, 3, 0])
    )
    assert own < 0.2 < others
