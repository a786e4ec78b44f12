import numpy as np
import pytest
import torch

from s2igan.errors import InputError
from s2igan.sen.conv_lstm_encoder import ConvLSTMEncoder
from s2igan.sen.model import pad
from s2igan.sen.speech_encoder import valid_frames

WIDTH = 1 / 64


def utterances(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=(length, 40)).astype(np.float16) for length in lengths]


def small(output_dim: int = 0) -> ConvLSTMEncoder:
    """A network whose batch norm has seen data, so that evaluation is no identity."""
    torch.manual_seed(0)
    encoder = ConvLSTMEncoder(WIDTH, output_dim)
    encoder.train()(*pad(utterances(50, 50, 50, 50)))
    return encoder.eval()


def test_sizes_are_the_published_ones():
    with torch.device("meta"):
        encoder = ConvLSTMEncoder()
    assert [c.weight.shape[0] for c in encoder.convolutions] == [64, 64, 128, 256, 256, 512, 512, 1024]
    assert encoder.embedding_dim == 1024
    # Convolutions 9 (64 + 64·64 + 64·128 + 128·256 + 256² + 256·512 + 512² + 512·1024), norms 2·2816,
    # LSTM 2·4·(512·1024 + 512² + 2·512).
    assert sum(p.numel() for p in encoder.parameters()) == 9_253_440 + 5_632 + 6_299_648


def test_an_embedding_does_not_see_its_batch_or_its_padding():
    encoder = small(9)
    items = utterances(1, 2, 15, 16, 17, 31, 33, 61)
    log_mel, lengths = pad(items)
    wide = torch.cat([log_mel, torch.zeros(len(items), 10, 40)], dim=1)
    wide[~valid_frames(lengths, wide.shape[1])] = float("nan")
    with torch.inference_mode():
        together = encoder(wide, lengths)
        for row, item in enumerate(items):
            torch.testing.assert_close(together[row], encoder(*pad([item]))[0], rtol=1e-4, atol=1e-6)


def test_training_statistics_come_from_valid_frames_only():
    states = []
    for extra in (0, 25):
        torch.manual_seed(0)
        encoder = ConvLSTMEncoder(WIDTH).train()
        log_mel, lengths = pad(utterances(20, 47, 60))
        embedding = encoder(torch.cat([log_mel, torch.full((3, extra, 40), 7.0)], dim=1), lengths)
        states.append((embedding, encoder.norms[-1].running_var.clone()))
    torch.testing.assert_close(states[0][0], states[1][0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(states[0][1], states[1][1])


def test_the_gradient_reaches_every_parameter():
    encoder = small(9).train()
    encoder(*pad(utterances(40, 64))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_without_an_output_the_embedding_is_a_unit_vector():
    with torch.inference_mode():
        embedding = small()(*pad(utterances(40, 20)))
    assert embedding.shape == (2, 16)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_lengths_are_checked():
    with pytest.raises(InputError, match="length 21 with 20 frames"):
        small()(torch.zeros(1, 20, 40), torch.tensor([21]))
