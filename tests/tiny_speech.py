"""Frozen speech encoders of a few hundred weights, as `transformers` reads them, for tests without a network."""

from pathlib import Path

import torch

WIDTH, LAYERS = 12, 3


def write_encoder(folder: Path, kind: str, seed: int = 0, **config) -> str:
    """A model of this kind with random weights, in `folder`, which is returned; `config` are values that differ."""
    import transformers as hf

    speech = {
        "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 16,
        "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    whisper = {"vocab_size": 20, "d_model": WIDTH, "encoder_layers": LAYERS, "decoder_layers": 1} | {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("attention_heads", 2), ("ffn_dim", 16))
    }
    whisper |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    bert = {"vocab_size": 20, "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2}
    values, network, extractor = {
        "hubert": (speech, hf.HubertModel, hf.Wav2Vec2FeatureExtractor),
        "wavlm": (speech, hf.WavLMModel, hf.Wav2Vec2FeatureExtractor),
        "taught": (speech | {"vocab_size": 20}, hf.HubertForCTC, hf.Wav2Vec2FeatureExtractor),
        "whisper": (whisper, hf.WhisperModel, hf.WhisperFeatureExtractor),
        "bert": (bert, hf.BertModel, hf.Wav2Vec2FeatureExtractor),
    }[kind]
    hf.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network(network.config_class(**values | config))
        with torch.no_grad():
            for parameter in model.parameters():  # as they are drawn, layers hardly change what goes through them
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    extractor().save_pretrained(folder)
    return str(folder)
