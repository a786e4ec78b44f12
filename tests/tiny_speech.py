"""Frozen speech encoders of a few hundred weights, as `transformers` reads them, and what stands for Flite."""

import sys
from pathlib import Path

import torch

WIDTH, LAYERS = 12, 3
# Says a text as a tone of 0.1 s a letter, of the voice's pitch; kal at 8 kHz, as the real one.
FLITE = """#!{python}
import array, math, sys, wave
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if sys.argv[1:] == ["-lv"]:
    print("Voices available: kal awb_time rms slt ")
elif "crash" in given["-t"]:
    sys.exit("Segmentation fault")
else:
    rate, pitch = (8000 if given["-voice"] == "kal" else 16000), dict(kal=100, rms=150, slt=200)[given["-voice"]]
    loud = 0 if "silence" in given["-t"] else 9000
    count = rate * len(given["-t"]) // 10
    with wave.open(given["-o"], "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(array.array("h", [int(loud * math.sin(2 * math.pi * pitch * n / rate)) for n in range(count)]))
"""


def write_flite(folder: Path) -> str:
    """A program in `folder` that takes what Flite takes, and its path."""
    program = folder / "flite"
    program.write_text(FLITE.replace("{python}", sys.executable))
    program.chmod(0o755)
    return str(program)


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
