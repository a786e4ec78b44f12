"""SEGAN's and MirrorGAN's parts: competing attention, the Siamese branch, the decoder, the sentence's attention."""

import math

import numpy as np
import pytest
import torch
from test_systems import one_step
from tiny import Frozen, rdg
from torch.nn import functional as F

from s2igan.rdg.attention import SentenceAttention, recorded_weights
from s2igan.rdg.captions import CaptionDecoder, number_words, pretrain
from s2igan.rdg.losses import competition_loss, contrastive_loss
from s2igan.rdg.training import draw_latent
from s2igan.sen.text_encoder import CharacterEncoder, one_hot
from s2igan.training import Checkpoints


def test_competition_has_the_formula_and_drives_weak_words_to_nothing():
    weights = torch.tensor([[[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]], [[0.9, 0.1, 0], [0.5, 0.5, 0]]], requires_grad=True)
    valid = torch.tensor([[True, True, True], [True, True, False]])
    loss = competition_loss(weights, valid)
    by_pixel = [1 / 9 + 0.04 + 0.01, 1 / 9 + 1 / 9 + 0.04, 0.25 + 0.01, 0.25 + 0.25]
    assert loss.item() == pytest.approx(sum(by_pixel) / 4, rel=1e-5)
    loss.backward()
    assert weights.grad[0, 0].tolist() == pytest.approx([0, 0.1, 0.05])  # 2 w / 4, and nothing for a word that matters


def test_the_siamese_branch_has_the_formula():
    fake, real = torch.randn(4, 5), torch.randn(4, 5)
    groups = torch.tensor([0, 1, 1, 2])
    own, others, pairs = 0.0, 0.0, 0
    for i in range(4):
        for j in range(4):
            distance = math.dist((fake[i] / fake[i].norm()).tolist(), (real[j] / real[j].norm()).tolist())
            if i == j:
                own += distance**2 / 4
            elif groups[i] != groups[j]:
                others, pairs = others + max(0, 1.5 - distance) ** 2, pairs + 1
    found = contrastive_loss(fake, 3 * real, groups, margin=1.5)
    assert pairs == 10 and found.item() == pytest.approx(own + others / pairs, rel=1e-4)
    assert contrastive_loss(torch.eye(4), torch.eye(4), groups).item() == 0
    assert contrastive_loss(real, real, torch.zeros(4)).item() == pytest.approx(0, abs=1e-6)


def test_words_are_numbered_and_read_to_the_end_mark():
    """The decoder's loss in a loop: each word and the end, from the image and the words before it."""
    words = number_words(["A red bird, red", "", "bird"])
    assert words.tolist() == [[1, 3, 2, 3, 0], [0] * 5, [2, 0, 0, 0, 0]]
    decoder, features = CaptionDecoder(6, 4), torch.randn(3, 6)
    decoder.standardise(features)
    standard = (features - features.mean(dim=0)) / (features.std(dim=0) + 1e-3)
    losses = []
    for image, caption in zip(standard, words.tolist(), strict=True):
        said = [word for word in caption if word]
        for t, target in enumerate([*said, 0]):
            before = decoder.embedding(torch.tensor([0, *said[:t]]))
            state = decoder.recurrent((decoder.image(image) + before)[None])[0][0, -1]
            losses.append(-torch.log_softmax(decoder.word(state), dim=0)[target].item())
    assert len(losses) == 8
    assert decoder.loss(features, torch.from_numpy(words)).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_decoder_learns_to_read_and_goes_on_where_it_stopped(checkpoints, monkeypatch, capsys):
    texts = ["a red bird", "a blue bird with a bill"]
    words, features = number_words(texts), np.eye(2, 6, dtype=np.float32)[:, None]
    for name, value in (("EMBEDDING", 16), ("HIDDEN", 16), ("BATCH", 8)):
        monkeypatch.setattr(f"s2igan.rdg.captions.{name}", value)

    def taught(captions, checkpoints=None):
        decoder = CaptionDecoder(6, int(words.max()) + 1)
        return decoder, pretrain(decoder, features, np.array([0, 1]), words, captions, 0.02, 0, checkpoints)

    decoder, loss = taught(8 * 80)
    assert loss < 0.1
    own, other = (
        decoder.loss(torch.from_numpy(features[order, 0]), torch.from_numpy(words)) for order in ([0, 1], [1, 0])
    )
    assert own < 0.1 and other > 0.5
    taught(8 * 72, Checkpoints("decoder", {}, []))
    resumed, _ = taught(8 * 80, Checkpoints("decoder", {}, []))
    assert "going on after step 72 of 80" in capsys.readouterr().err
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, decoder.state_dict()[name]), name


def test_the_sentence_is_attended_to_by_the_formula():
    attention = SentenceAttention(5, 3)
    hidden, condition = torch.randn(2, 3, 2, 2), torch.randn(2, 5)
    with torch.no_grad():
        found = attention(hidden, condition)
        for b in range(2):
            projected = attention.project.weight @ condition[b]
            for y in range(2):
                for x in range(2):
                    scores = (hidden[b, :, y, x] * projected).exp()
                    assert torch.allclose(found[b, :, y, x], projected * scores / scores.sum(), atol=1e-6)


def test_weights_are_recorded_where_a_generator_attends():
    model = rdg(attention=True).speech_to_image.eval()
    latent, heard = torch.randn(2, model.latent_dim), F.normalize(torch.randn(2, 4, 8), dim=2)
    with recorded_weights(model) as weights:
        model(latent, heard)
    model(latent, heard)
    assert [tuple(found.shape) for found in weights] == [(2, 64, 3), (2, 256, 3)]
    assert all(torch.allclose(found.sum(dim=2), torch.ones(())) for found in weights)


def test_finer_frames_give_a_place_for_each_word():
    text = one_hot("this bird has a bright red crown, and its back and wings are blue", "x")
    characters, lengths = torch.from_numpy(text).float()[None], torch.tensor([len(text)])
    for pooled, frames, seen in ((3, 1, 66), (1, 1 + math.ceil((65 - 24) / 3), 24)):
        encoder = CharacterEncoder(1 / 32, 8, pooled)
        assert encoder.convolve(characters, lengths)[1].item() == frames and encoder._reach(1) == seen


# The terms in a step, at a rate at which weights stay, so that all losses are of one network.

STILL = {"lr": 1e-30, "lr_discriminator": 1e-30, "precision": "float32", "translation": 0.0}


def test_segan_has_its_terms_of_the_images_that_it_draws():
    sen, model, _, batch, curves = one_step("segan", **STILL)
    latent = draw_latent(model, 4, 0, 0, "latent")
    with torch.no_grad(), recorded_weights(model.speech_to_image) as weights:
        fakes = model.speech_to_image(latent, batch.speech)[0]
    valid = torch.ones(4, sen.places, dtype=torch.bool)
    competition = sum(competition_loss(found, valid) for found in weights) / 2
    assert len(weights) == 2 and curves["g_competition"].item() == pytest.approx(competition.item(), rel=1e-4)
    seen, real = sen.image(Frozen()(fakes[-1])), sen.image(batch.ground_truth)
    assert curves["g_contrastive"].item() == pytest.approx(contrastive_loss(seen, real, batch.groups).item(), rel=1e-4)


def test_mirrorgan_reads_the_caption_from_the_image_that_it_draws():
    _, model, _, batch, curves = one_step("mirrorgan", **STILL)
    fakes = model.speech_to_image(draw_latent(model, 4, 0, 0, "latent"), batch.speech)[0]
    expected = CaptionDecoder(12, 5).loss(Frozen()(fakes[-1]), batch.words)
    assert curves["g_caption"].item() == pytest.approx(expected.item(), rel=1e-4)
