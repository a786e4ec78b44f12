import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from s2igan.errors import InputError
from s2igan.sen.conv_lstm_encoder import ConvLSTMEncoder
from s2igan.sen.model import SEN, build_sen, embed_speech, load_sen, pad, save_sen
from s2igan.sen.pooled_encoder import PooledEncoder, statistics
from s2igan.sen.recurrent import BidirectionalGRU
from s2igan.sen.speech_encoder import (
    Centred,
    LayerSum,
    SelfAttention,
    SpeechEncoder,
    SpeechEncoderConfig,
    ValidBatchNorm,
    valid_frames,
)
from s2igan.sen.text_encoder import ALPHABET, CharacterEncoder

SMALL = {"bands": 5, "conv_channels": (6, 7), "gru_hidden": 4, "attention_hidden": 3}


def small_sen(**options) -> SEN:
    """A network whose batch norm has seen data, so that evaluation is no identity."""
    model = build_sen({**SMALL, "feature_dim": 9, "classes": 3, **options}, seed=1)
    rng = np.random.default_rng(5)
    log_mel, lengths = pad([rng.normal(2, 3, (40, 5)) for _ in range(8)])
    model.train()
    model.speech(log_mel, lengths)
    return model.eval()


def utterances(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=(length, 5)).astype(np.float16) for length in lengths]


def test_layers_are_summed_by_a_softmax_of_learnt_weights():
    """Two layers of two features: weights of e^1 and e^0, so sigmoid(1) and 1 - sigmoid(1); equal at first."""
    layers, x = LayerSum(2), torch.tensor([[[1.0, 2.0, 10.0, 20.0]]])
    assert layers(x).tolist() == [[[5.5, 11.0]]]
    layers.weights.data = torch.tensor([1.0, 0.0])
    share = 1 / (1 + np.exp(-1))
    assert layers(x).flatten().tolist() == pytest.approx([share * 1 + (1 - share) * 10, share * 2 + (1 - share) * 20])
    layers(x).sum().backward()
    assert layers.weights.grad.tolist() == pytest.approx([-27 * share * (1 - share), 27 * share * (1 - share)])


def test_layers_that_are_alike_are_heard_as_one():
    one = build_sen(SMALL | {"feature_dim": 9, "classes": 3}, seed=1)
    two = build_sen(SMALL | {"feature_dim": 9, "classes": 3, "layers": 2}, seed=1)
    said = utterances(20, 33)
    twice = [np.concatenate([frames, frames], axis=1) for frames in said]
    np.testing.assert_allclose(embed_speech(one, said), embed_speech(two, twice), atol=1e-6)
    assert set(two.state_dict()) - set(one.state_dict()) == {"speech.layer_sum.weights"}


# Of every encoder: how it is built small, its inputs' width, and lengths in frames, or characters, that it takes.
ENCODERS = {
    "conv_gru": (lambda size: SpeechEncoder(SpeechEncoderConfig(**SMALL), size), 5, (16, 17, 18, 19, 20, 33, 61)),
    "li2020": (lambda size: ConvLSTMEncoder(1 / 64, size), 40, (1, 2, 15, 16, 17, 31, 33, 61)),
    "pooled": (lambda size: PooledEncoder(5, 1 / 64, 0.0, size), 5, (1, 2, 15, 33, 61)),
    "char_cnn_rnn": (lambda size: CharacterEncoder(1 / 32, size), len(ALPHABET), (3, 12, 65, 66, 67, 93, 188)),
}


def inputs(name: str, *lengths: int) -> list[np.ndarray]:
    rng, width = np.random.default_rng(2), ENCODERS[name][1]
    if name == "char_cnn_rnn":
        return [np.eye(width, dtype=np.float16)[rng.integers(width, size=length)] for length in lengths]
    return [rng.normal(size=(length, width)).astype(np.float16) for length in lengths]


def encoder(name: str, size: int = 9) -> nn.Module:
    """Its batch norm has seen data, so that evaluation is no identity."""
    torch.manual_seed(0)
    network = ENCODERS[name][0](size)
    network.train()(*pad(inputs(name, 50, 50, 50, 50)))
    return network.eval()


@pytest.mark.parametrize("name", ENCODERS)
def test_an_embedding_does_not_see_its_batch_or_its_padding(name):
    network, items = encoder(name), inputs(name, *ENCODERS[name][2])
    padded, lengths = pad(items)
    wide = torch.cat([padded, torch.zeros(len(items), 30, padded.shape[2])], dim=1)
    wide[~valid_frames(lengths, wide.shape[1])] = float("nan")
    with torch.inference_mode():
        together = network(wide, lengths)
        for row, item in enumerate(items):
            torch.testing.assert_close(together[row], network(*pad([item]))[0], rtol=1e-4, atol=1e-6)


def test_statistics_are_those_of_the_frames_that_count():
    frames = torch.tensor([[[1.0, -5.0], [3.0, -5.0], [99.0, 99.0]], [[2.0, 0.0], [2.0, 3.0], [2.0, 6.0]]])
    found = statistics(frames, torch.tensor([2, 3]))
    expected = [[2.0, -5.0, 1.0, 0.0, 3.0, -5.0], [2.0, 3.0, 0.0, 6**0.5, 2.0, 6.0]]  # means, deviations, maxima
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("name", ["conv_gru", "li2020"])
def test_training_statistics_come_from_valid_frames_only(name):
    states = []
    for extra in (0, 25):
        network = encoder(name).train()
        padded, lengths = pad(inputs(name, 20, 47, 60))
        embedding = network(torch.cat([padded, torch.full((3, extra, padded.shape[2]), 7.0)], dim=1), lengths)
        states.append((embedding, network.norms[-1].running_var.clone()))
    torch.testing.assert_close(*states, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_gradient_reaches_every_parameter(name):
    network = encoder(name).train()
    network(*pad(inputs(name, *ENCODERS[name][2]))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", ENCODERS)
def test_without_an_output_the_embedding_is_a_unit_vector(name):
    with torch.inference_mode():
        embedding = encoder(name, 0)(*pad(inputs(name, 40, 20)))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_li_et_al_s_sizes_are_the_published_ones():
    with torch.device("meta"):
        network = ConvLSTMEncoder()
    assert [c.weight.shape[0] for c in network.convolutions] == [64, 64, 128, 256, 256, 512, 512, 1024]
    assert network.embedding_dim == 1024
    # Convolutions 9 (64 + 64·64 + 64·128 + 128·256 + 256² + 256·512 + 512² + 512·1024), norms 2·2816,
    # LSTM 2·4·(512·1024 + 512² + 2·512).
    assert sum(p.numel() for p in network.parameters()) == 9_253_440 + 5_632 + 6_299_648


def test_default_sizes_are_the_published_ones():
    encoder = SpeechEncoder(SpeechEncoderConfig())
    assert [tuple(c.weight.shape) for c in encoder.convolutions] == [(64, 40, 6), (128, 64, 6)]
    assert (encoder.embedding_dim, encoder.min_frames) == (1024, 16)


def test_valid_batch_norm_by_hand():
    norm = ValidBatchNorm(1)
    x = torch.tensor([[[1.0, 3.0, 99.0]], [[5.0, 7.0, 9.0]]])  # one channel
    valid = torch.tensor([[True, True, False], [True, True, True]])
    y = norm(x, valid).detach()  # valid: 1 3 5 7 9, mean 5, variance 8
    expected = (torch.tensor([1.0, 3, 5, 5, 7, 9]) - 5) / (8 + 1e-5) ** 0.5
    torch.testing.assert_close(y.flatten()[[0, 1, 3, 4, 5]], expected[[0, 1, 3, 4, 5]])
    assert float(y[0, 0, 2]) == 0.0
    torch.testing.assert_close(norm.running_mean, torch.tensor([0.5]))


def test_gru_equals_a_packed_one():
    ours = BidirectionalGRU(3, 4, 2)
    packed = nn.GRU(3, 4, 2, bidirectional=True, batch_first=True)
    of_ours, theirs = [], []
    for layer in range(2):
        for module, suffix in ((ours.forwards, ""), (ours.backwards, "_reverse")):
            for name, value in module[layer].named_parameters():
                theirs.append(getattr(packed, name.replace("_l0", f"_l{layer}{suffix}")))
                theirs[-1].data.copy_(value.data)
                of_ours.append(value)
    x = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    lengths = torch.tensor([4, 6, 1])
    expected = packed(pack_padded_sequence(x, lengths, True, enforce_sorted=False))[0]
    expected = pad_packed_sequence(expected, batch_first=True)[0]
    valid = valid_frames(lengths, 6)[..., None]
    found = ours(x, lengths) * valid
    torch.testing.assert_close(found, expected)
    slopes = torch.autograd.grad(found.square().sum(), [x, *of_ours])
    torch.testing.assert_close(slopes, torch.autograd.grad(expected.square().sum(), [x, *theirs]))


def test_attention_weighs_each_channel_by_itself():
    attention = SelfAttention(2, 1)
    with torch.no_grad():
        attention.hidden.weight.copy_(torch.tensor([[1.0, 0.0]]))
        attention.weight.weight.copy_(torch.tensor([[1.0], [0.0]]))
        for layer in (attention.hidden, attention.weight):
            layer.bias.zero_()
        x = torch.tensor([[[0.0, 2.0], [1.0, 4.0], [50.0, 50.0]]])
        found = attention(x, torch.tensor([[True, True, False]]))[0]
    # Channel 0: weights softmax(tanh 0, tanh 1) = (1, e^0.7616) / sum; channel 1: equal weights.
    e = np.exp(np.tanh(1.0))
    np.testing.assert_allclose(found.numpy(), [e / (1 + e), 3.0], rtol=1e-6)


def test_the_published_leak_of_padding_is_repeated_on_request():
    encoder = small_sen(mask_padding=False).speech
    items = utterances(20, 60)
    with torch.inference_mode():
        together, alone = encoder(*pad(items))[0], encoder(*pad(items[:1]))[0]
    assert float((together - alone).abs().max()) > 1e-3


def test_too_short_utterances_are_named():
    model = small_sen()
    with pytest.raises(InputError, match="utterance 2: 3 frames"):
        embed_speech(model, utterances(20, 30, 3))


@pytest.mark.parametrize("mask_padding", [True, False])  # unmasked: one utterance at a time, as published
def test_embed_speech_keeps_the_order_and_ignores_the_batch_size(mask_padding):
    model = small_sen(mask_padding=mask_padding)
    items = utterances(50, 20, 33, 16, 64, 21)
    found = embed_speech(model, items, 2)
    assert found.shape == (6, 8) and found.dtype == np.float32
    np.testing.assert_allclose(found, embed_speech(model, items, 6), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[3], embed_speech(model, items[3:4])[0], rtol=1e-4, atol=1e-6)
    assert embed_speech(model, []).shape == (0, 8)


def test_a_saved_network_embeds_as_before(tmp_path):
    model = small_sen()
    config = {**SMALL, "feature_dim": 9, "classes": 3, "image_encoder": {"name": "efficientnet_lite0"}}
    save_sen(tmp_path / "sen", model, config)
    loaded, found = load_sen(tmp_path / "sen")
    assert found["image_encoder"] == {"name": "efficientnet_lite0"} and not loaded.training
    items = utterances(30, 40)
    np.testing.assert_array_equal(embed_speech(loaded, items), embed_speech(model, items))
    save_sen(tmp_path / "other", model, {**config, "gru_hidden": 5})
    with pytest.raises(InputError, match="speech.safetensors"):
        load_sen(tmp_path / "other")


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    config = {**SMALL, "feature_dim": 9, "classes": 0}
    first, second, third = (build_sen(config, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.image.linear.weight, second.image.linear.weight)
    assert not torch.equal(first.image.linear.weight, third.image.linear.weight)
    assert first.classifier is None


def test_a_centred_embedding_has_lost_what_all_share():
    x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    centred = Centred(2).train()
    assert torch.equal(centred(x), torch.tensor([[-1.0, -10.0], [1.0, 10.0]]))
    assert torch.equal(centred.eval()(x[:1]), torch.tensor([[1.0 - 0.2, 10.0 - 2.0]]))  # a tenth of the batch's mean
    for _ in range(200):
        centred.train()(x + 100)
    torch.testing.assert_close(centred.eval()(x + 100), torch.tensor([[-1.0, -10.0], [1.0, 10.0]]), atol=1e-3, rtol=0)
