"""Frozen speech encoders: networks of `transformers` that learnt from many hours, in place of log-mels."""

# T samples, F frames, L layers, C features of a layer

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional

from s2igan import machine
from s2igan.errors import InputError
from s2igan.speech.audio import resample
from s2igan.speech.extraction import log_mel_of
from s2igan.speech.log_mel import LogMel

SELF_SUPERVISED = ("hubert", "wav2vec2", "wavlm")  # kinds of `transformers`, as a model's config.json names them
KINDS = (*SELF_SUPERVISED, "whisper")
NAMES = ("model", "layers", "stride", "sample_rate", "weights_hash")  # of its settings
HOP = 320  # samples from one of Whisper's frames to the next
UNTAUGHT = ("Model", "ForPreTraining")  # ends of the names of architectures that no text has tuned


class FrozenSpeechEncoder:
    """Mono samples at `sample_rate`, float in [-1, 1], (T,) -> hidden layers of a frozen network, float32 (F, L C).

    - `model`: a name on the Hugging Face Hub, or a folder, with a network of KINDS. Of Whisper, the encoder alone.
    - `layers`: which of its hidden layers, side by side; 0 is what the first layer takes, none means all.
    - `stride`: frames are means of so many, the last of what is left. The networks have 50 a second.
    - One utterance at a time and unpadded, so features depend on nothing else. Whisper is the exception: it learnt from
      windows of 30 s, so an utterance is filled with silence to 30 s, as in its own code, and the frames are cut to
      ceil(T / 320), T at 16 kHz; a longer one goes through in pieces of 30 s.

    `settings` is all that builds it again: these, `weights_hash` (the first 16 hex digits of a SHA-256 of the weights)
    and `trained_with`, "speech" or "speech and text". Raises InputError for a model that is missing, is of another
    kind or lacks weights, and for layers that it has not.
    """

    def __init__(
        self, model: str, layers: Sequence[int], stride: int, sample_rate: int, device: torch.device | str = "cpu"
    ):
        config, self._extractor, self._network = _load(model)
        count = config.num_hidden_layers
        if max(layers, default=0) > count:
            raise InputError(f"speech_features.layers: {max(layers)}, but {model} has 0 to {count}; choose among those")
        self.layers, self.stride, self.sample_rate = list(layers) or list(range(count + 1)), stride, sample_rate
        self.width = len(self.layers) * config.hidden_size
        self._rate = self._extractor.sampling_rate
        self._window = self._extractor.n_samples if config.model_type == "whisper" else 0
        convolutions = [(1, HOP)] if self._window else zip(config.conv_kernel, config.conv_stride, strict=True)
        self._convolutions = list(convolutions)
        taught = self._window or not all(name.endswith(UNTAUGHT) for name in config.architectures or ["?"])
        self.settings = {
            "model": model,
            "layers": self.layers,
            "stride": stride,
            "sample_rate": sample_rate,
            "weights_hash": _hash(self._network),
            "trained_with": "speech and text" if taught else "speech",
        }
        self._network.to(device)

    def samples(self, frames: int) -> int:
        """The fewest samples at `sample_rate` that make so many frames, one or more."""
        needed = (frames - 1) * self.stride + 1
        for kernel, stride in reversed(self._convolutions):
            needed = (needed - 1) * stride + kernel
        return (needed - 1) * self.sample_rate // self._rate + 1  # as many as `resample` rounds up to what is needed

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray) -> np.ndarray:
        if len(samples) < (least := self.samples(1)):
            raise InputError(f"{len(samples)} samples; the encoder needs {least}: record a longer utterance")
        heard = resample(samples, self.sample_rate, self._rate)
        pieces = np.split(heard, range(self._window, len(heard), self._window)) if self._window else [heard]
        frames = torch.cat([self._hear(piece) for piece in pieces])  # (F, L C)
        pooled = functional.avg_pool1d(frames.T[None], self.stride, ceil_mode=True)[0].T
        return pooled.contiguous().cpu().numpy()

    def _hear(self, samples: np.ndarray) -> torch.Tensor:
        given = self._extractor(samples, sampling_rate=self._rate, return_tensors="pt")
        given = given[self._extractor.model_input_names[0]].to(self._network.device)
        states = self._network(given, output_hidden_states=True).hidden_states
        frames = torch.cat([states[layer][0] for layer in self.layers], dim=1)
        return frames[: -(-len(samples) // HOP)] if self._window else frames


def open_front_end(config: Mapping[str, Any], device: torch.device | str | None = None) -> LogMel | FrozenSpeechEncoder:
    """What turns samples into the frames that a SEN of this `config` takes; the one built last is kept.

    A frozen encoder is on `device`, by default the machine's. Raises InputError as it does, and where its weights are
    others than SEN learnt with.
    """
    if "speech_features" not in config:
        return log_mel_of(**config["log_mel"])
    model, layers, stride, rate, learnt = (config["speech_features"][name] for name in NAMES)
    encoder = _kept(model, tuple(layers), stride, rate, str(device or machine.device()))
    if (found := encoder.settings["weights_hash"]) != learnt:
        raise InputError(
            f"{model}: weights {found}, but SEN learnt with {learnt}; put those back, or run "
            "`dvc repro -f speech_features`"
        )
    return encoder


_kept = lru_cache(maxsize=1)(FrozenSpeechEncoder)


def _load(model: str) -> tuple[Any, Any, torch.nn.Module]:
    """Configuration, feature extractor and network in evaluation mode."""
    import huggingface_hub
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # of heads that are left out, and of each try to reach the Hub
    logging.disable_progress_bar()
    huggingface_hub.utils.logging.set_verbosity_error()
    try:
        config = AutoConfig.from_pretrained(model)
        if config.model_type not in KINDS:
            raise InputError(
                f"speech_features.model={model}: a model of kind {config.model_type}; name one of {', '.join(KINDS)}"
            )
        extractor = AutoFeatureExtractor.from_pretrained(model)
        network, about = AutoModel.from_pretrained(model, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        cache, told = huggingface_hub.constants.HF_HUB_CACHE, " ".join(str(error).split())[:120]
        found = "a folder that lacks something" if os.path.isdir(model) else f"no folder here, not in {cache}"
        raise InputError(
            f"speech_features.model={model}: {found}, nor on the Hugging Face Hub ({told}); name a folder with "
            f"config.json, preprocessor_config.json and model.safetensors, or give, with a network: hf download {model}"
        ) from error
    # Masks are for training, and of Whisper the decoder is not used.
    unused = ("masked_spec_embed", "decoder.")
    if missing := sorted(name for name in about["missing_keys"] if not name.startswith(unused)):
        others = f"{missing[0]} and {len(missing) - 1} others"
        raise InputError(f"speech_features.model={model}: has no weights for {others}; fetch it again")
    return config, extractor, (network.get_encoder() if config.model_type == "whisper" else network).eval()


def _hash(network: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(network.state_dict().items()):
        digest.update(name.encode() + values.numpy().tobytes())
    return digest.hexdigest()[:16]
