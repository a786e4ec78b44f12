"""The trained models for elsewhere: ONNX, safetensors and a model card in one folder, as the Hub takes it."""

# T samples, F frames, M mel bands, A speech embedding size, Z latent size, S base size; one utterance, one image

import copy
import importlib.util
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan.errors import InputError
from s2igan.files import whole_folder
from s2igan.model_card import OUTPUTS, model_card
from s2igan.models import save_model
from s2igan.pipeline import Pipeline
from s2igan.rdg.model import SpeechToImage
from s2igan.sen.model import SEN, heard_by, save_sen
from s2igan.sen.recurrent import BidirectionalGRU, BidirectionalLSTM
from s2igan.speech.log_mel import CONSTANT_BAND, FLOOR, LogMel

OPSET = 17
EXAMPLE_SECONDS = 1.0  # of what is traced; any length runs


class LogMelGraph(nn.Module):
    """`LogMel` without complex numbers, which ONNX's graphs have not: the Fourier transform as a convolution."""

    def __init__(self, log_mel: LogMel):
        super().__init__()
        spectrogram = log_mel._mel.spectrogram
        frequencies = torch.fft.rfft(torch.eye(log_mel.window_length, dtype=torch.float64)).T  # (bins, W)
        waves = torch.cat([frequencies.real, frequencies.imag]) * spectrogram.window
        self.register_buffer("waves", waves.float()[:, None])  # (2 bins, 1, W)
        self.register_buffer("filters", log_mel._mel.mel_scale.fb)  # (bins, M)
        self.shift, self.normalise = log_mel.shift_length, log_mel.normalise

    def forward(self, samples: Tensor) -> Tensor:
        """(T,) -> (F, M)."""
        real, imaginary = F.conv1d(samples[None, None], self.waves, stride=self.shift)[0].chunk(2)  # (bins, F)
        log_mel = ((real.square() + imaginary.square()).T @ self.filters + FLOOR).log()
        if not self.normalise:
            return log_mel
        centred = log_mel - log_mel.mean(dim=0)
        deviation = centred.square().mean(dim=0).sqrt()
        return torch.where(deviation > CONSTANT_BAND, centred / deviation.clamp_min(CONSTANT_BAND), 0.0)


class SpeechEncoderGraph(nn.Module):
    """A speech encoder for one utterance, which has no padding."""

    def __init__(self, sen: SEN):
        super().__init__()
        self.sen = copy.deepcopy(sen).cpu()
        for module in self.sen.modules():
            if isinstance(module, BidirectionalGRU):
                module.__class__ = BidirectionalLSTM  # torch's own GRUs, which ONNX has, not a loop of a fixed length

    def forward(self, log_mel: Tensor) -> Tensor:
        """(F, M) -> unit vector (A,), for attention (1 + P, A)."""
        frames = torch.ones_like(log_mel[:, 0], dtype=torch.long).sum()[None]
        return self.sen.hear(log_mel[None], frames)[0]


class GeneratorGraph(nn.Module):
    """The generator for one image, as pixels in [0, 1]."""

    def __init__(self, generator: SpeechToImage):
        super().__init__()
        self.generator = copy.deepcopy(generator).to("cpu", memory_format=torch.contiguous_format)

    def forward(self, embedding: Tensor, latent: Tensor) -> tuple[Tensor, ...]:
        """(A,) or (1 + P, A), (Z,) -> (S, S, 3), (2S, 2S, 3), (4S, 4S, 3), or those that are drawn."""
        images = self.generator(latent[None], embedding[None])[0]
        return tuple((image[0].permute(1, 2, 0) + 1) / 2 for image in images)


class SpeechToImageGraph(nn.Module):
    """All three in a row."""

    def __init__(self, log_mel: LogMelGraph, encoder: SpeechEncoderGraph, generator: GeneratorGraph):
        super().__init__()
        self.log_mel, self.encoder, self.generator = log_mel, encoder, generator

    def forward(self, samples: Tensor, latent: Tensor) -> Tensor:
        """(T,), (Z,) -> (4S, 4S, 3)."""
        return self.generator(self.encoder(self.log_mel(samples)), latent)[-1]


def export(models: str | Path, folder: str | Path) -> list[str]:
    """Writes the models into the new folder `folder`, and names its files; it appears whole, or not at all.

    `rdg` and `rdg_sen` are the networks that hear and draw, as `s2igan.load(folder)` reads them; `*.onnx` the same for
    onnxruntime; README.md is the model card. What it says of the data and the scores is that of the run beside
    `models`: data/catalog and metrics/. Raises InputError without onnx, and for models that read text or
    hear by a frozen speech encoder.
    """
    models, folder = Path(models), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists; name a new folder")
    if not importlib.util.find_spec("onnx"):
        raise InputError('onnx: not installed; in the clone give: pip install -e ".[export]"')
    pipeline = Pipeline(models)
    if pipeline.reads_text:
        raise InputError(f"{models}/rdg_sen: reads text and hears nothing; export a system that hears")
    if hearing := heard_by(pipeline.config):
        raise InputError(f"{models}/rdg_sen: {hearing[0]}; export has no such encoder, only models of log-mels")
    with whole_folder(folder) as partial:
        save_model(partial / "rdg", "rdg", {"generator": pipeline.generator}, pipeline.drawing)
        save_sen(partial / "rdg_sen", pipeline.sen, pipeline.config)
        for name, content in graphs(pipeline).items():
            (partial / f"{name}.onnx").write_bytes(content)
        (partial / "README.md").write_text(model_card(pipeline, models), encoding="utf-8")
        if folder.exists():
            folder.rmdir()  # empty still, or this fails
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def graphs(pipeline: Pipeline) -> dict[str, bytes]:
    """The models as ONNX, for one utterance of any length and one image, by their names.

    log_mel, speech_encoder and generator, and speech_to_image, which is all three."""
    log_mel, encoder = LogMelGraph(pipeline.log_mel), SpeechEncoderGraph(pipeline.sen)
    generator = GeneratorGraph(pipeline.generator)
    noise = np.random.default_rng(0).standard_normal(int(EXAMPLE_SECONDS * pipeline.sample_rate))
    samples = torch.from_numpy(noise.astype(np.float32))
    latent = torch.zeros(pipeline.generator.latent_dim)
    with torch.no_grad():
        heard = log_mel(samples)
        embedding = encoder(heard)
    whole = SpeechToImageGraph(log_mel, encoder, generator)
    outputs = OUTPUTS[-len(pipeline.sizes) :]
    return {
        "log_mel": _onnx(log_mel, {"samples": samples}, ["log_mel"], {"samples": {0: "T"}, "log_mel": {0: "F"}}),
        "speech_encoder": _onnx(encoder, {"log_mel": heard}, ["embedding"], {"log_mel": {0: "F"}}),
        "generator": _onnx(generator, {"embedding": embedding, "latent": latent}, outputs, {}),
        "speech_to_image": _onnx(whole, {"samples": samples, "latent": latent}, ["image"], {"samples": {0: "T"}}),
    }


def _onnx(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], dynamic: dict) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks that become constants, and of the exporter's age
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            content,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,  # the other exporter needs onnxscript as well
        )
    return content.getvalue()
