"""Speech by Tacotron 2 (Shen et al. 2018), or another of coqui-tts' models, on a GPU if there is one.

Tacotron 2 draws at random as it speaks (dropout of its prenet), and so does Griffin-Lim (its first phases).
`Coqui.speak` seeds every generator from text and voice, which makes speech a function of these and the model.
"""

import contextlib
import functools
import hashlib
import io
import logging
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from s2igan import machine
from s2igan.errors import InputError
from s2igan.speech.audio import SILENT_PEAK

if TYPE_CHECKING:
    from TTS.utils.manage import ModelManager
    from TTS.utils.synthesizer import Synthesizer

DEFAULT_VOICE = "default"  # of a model with one speaker
_WEIGHTS = (".pth", ".pth.tar", ".pt")
_USUAL_WEIGHTS = ("model_file.pth", "model_file.pth.tar", "model.pth", "checkpoint.pth", "best_model.pth")
_ANOTHER_ENGINE = "or choose tts.engine=espeak"


class Coqui:
    """Float32 speech at the rate of the vocoder, or of the model where it has none: the same samples in any order.

    `model` and `vocoder` are names of coqui-tts ("tts_models/en/ljspeech/tacotron2-DDC"), downloaded at their
    first use into its own cache (`$TTS_HOME`, or `~/.local/share/tts`), or paths: a folder with weights and
    config.json, or a file of weights with config.json beside it. An empty `vocoder` is the one that the list of
    coqui-tts names for the model, and Griffin-Lim where it names none.
    InputError when coqui-tts is not installed, a model is not to be had or damaged, or model and vocoder
    do not fit.
    """

    name = "coqui"
    parallel = False

    def __init__(self, model: str, vocoder: str = ""):
        self._device = machine.device()
        self._synthesizer = _load(model, vocoder, self._device)
        self._language = model.split("/")[1] if model.startswith("tts_models/") else ""
        self.sample_rate = int(self._synthesizer.output_sample_rate)
        speakers = getattr(self._synthesizer.tts_model, "speaker_manager", None)
        names = sorted(speakers.speaker_names) if speakers else []
        self._voices = names if len(names) > 1 else [DEFAULT_VOICE]

    def voices(self) -> list[str]:
        """The model's speakers, sorted; "default" where it has but one."""
        return list(self._voices)

    def voice_in(self, voice: str, language: str) -> str:
        """The voice itself, but "" where the model's name in coqui-tts' list says that it speaks another language."""
        return voice if self._language in ("", language.split("-")[0]) else ""

    def require_sayable(self, text: str, voice: str) -> None:
        """Raises InputError when the voice is unknown, and when the model knows no letter or digit of the text."""
        with _quiet():
            self._sayable(text, voice)

    def _sayable(self, text: str, voice: str) -> list[str]:
        """The sentences of `text` that are not all signs."""
        if voice not in self._voices:
            known = ", ".join(self._voices[:5]) + (", …" if len(self._voices) > 5 else "")
            raise InputError(f"voice {voice!r}: the model of coqui has no such voice; choose from {known}")
        sentences = [s for s in self._synthesizer.split_into_sentences(text) if self._can_say(s)]
        if not sentences:
            raise InputError(f"{text!r} has no letter or digit that the model knows; give it words")
        return sentences

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Speech of `text`, float32 in [-1, 1], shape (T,), with coqui's pause between its sentences.

        InputError as `require_sayable`, and when the model gives silence or no sound.
        """
        from TTS.utils.synthesizer import PAD_SILENCE_SAMPLES

        speaker = voice if len(self._voices) > 1 else None
        with _quiet(), _seeded(f"{voice}\n{text}", self._device), torch.inference_mode():
            sentences = self._sayable(text, voice)
            spoken = [self._synthesizer.tts(s, speaker_name=speaker, split_sentences=False) for s in sentences]
        samples = np.concatenate(spoken).astype(np.float32)[:-PAD_SILENCE_SAMPLES]  # each ends with a pause
        if not np.isfinite(samples).all():
            raise InputError(f"{text!r} became NaN or infinity in voice {voice}; the model is damaged, take another")
        peak = np.abs(samples).max(initial=0.0)
        if peak < SILENT_PEAK:
            raise InputError(f"{text!r} is silence in voice {voice}; give it words, or take another model")
        return samples / max(peak, np.float32(1))

    def _can_say(self, sentence: str) -> bool:
        """Whether a letter, a digit or a phoneme is left of a sentence once the model has read it."""
        tokenizer = self._synthesizer.tts_model.tokenizer
        language = self._synthesizer.tts_model.language_manager.language_names[0]
        if not any(character.isalnum() for character in sentence):
            return False
        tokens = map(tokenizer.characters.id_to_char, tokenizer.text_to_ids(sentence, language=language))
        return any(len(token) == 1 and token.isalnum() for token in tokens)  # not "<EOS>"


class _Files(NamedTuple):
    weights: Path
    config: Path


@functools.lru_cache(maxsize=1)  # stages ask for an engine several times
def _load(model: str, vocoder: str, device: torch.device) -> "Synthesizer":
    if not model:
        raise InputError(
            "tts.model: empty; give the name of a coqui model, such as tts_models/en/ljspeech/tacotron2-DDC, or the "
            f"folder of one, {_ANOTHER_ENGINE}"
        )
    manager = _manager()
    if not vocoder and not Path(model).exists() and (item := _listed(manager, model)):
        vocoder = item.get("default_vocoder") or ""
    files = _find(manager, "tts.model", model)
    vocoder_files = _find(manager, "tts.vocoder", vocoder) if vocoder else None
    from TTS.utils.synthesizer import Synthesizer

    with _quiet():
        with _reading("tts.model", files) as config:
            manager._update_paths(files.config.parent, config)
            synthesizer = Synthesizer(tts_checkpoint=files.weights, tts_config_path=config)
        _require_one_language(synthesizer.tts_model, files)
        if vocoder_files:
            with _reading("tts.vocoder", vocoder_files) as config:
                manager._update_paths(vocoder_files.config.parent, config)
                synthesizer._load_vocoder(str(vocoder_files.weights), str(config), use_cuda=False)
            _require_fitting(synthesizer, files, vocoder_files)
    return synthesizer.to(device).eval()


def _manager() -> "ModelManager":
    try:
        with _quiet():
            import TTS.utils.synthesizer  # noqa: F401
            from TTS.utils.manage import ModelManager
    except ImportError as error:
        raise InputError(
            f"tts.engine=coqui: coqui-tts cannot be imported ({_reason(error)}); install requirements.lock "
            f"(`make env` does), {_ANOTHER_ENGINE}"
        ) from error
    return ModelManager(progress_bar=sys.stderr.isatty())


def _listed(manager: "ModelManager", name: str) -> dict[str, Any] | None:
    """What coqui-tts' list has under a name of kind/language/data set/model."""
    item: Any = manager.models_dict
    for part in name.split("/"):
        item = item.get(part) if isinstance(item, dict) else None
    return item if isinstance(item, dict) and name.count("/") == 3 else None


def _find(manager: "ModelManager", key: str, name: str) -> _Files:
    """The files of a model by its path, or by its name, which may download them."""
    kind = "tts_models" if key == "tts.model" else "vocoder_models"
    if Path(name).exists():
        return _find_local(key, Path(name))
    if not _listed(manager, name) or not name.startswith(kind):
        raise InputError(
            f"{key}: {name!r} is no file, no folder and none of coqui's {kind} (`tts --list_models` shows them); "
            f"give one of these, {_ANOTHER_ENGINE}"
        )
    return _find_listed(manager, key, name)


def _find_local(key: str, path: Path) -> _Files:
    folder = path if path.is_dir() else path.parent
    config = folder / "config.json"
    if not config.is_file():
        raise InputError(f"{config}: missing; {key} needs the config.json that the weights were trained with")
    if path.is_file():
        return _Files(path, config)
    found = sorted(file for file in folder.iterdir() if file.name.endswith(_WEIGHTS))
    usual = [folder / name for name in _USUAL_WEIGHTS if folder / name in found]
    if not found:
        raise InputError(f"{folder}: no weights (*.pth); put them beside config.json, or fix {key}")
    if len(found) > 1 and not usual:
        raise InputError(f"{folder}: {len(found)} files of weights; say in {key} which one, such as {found[0]}")
    return _Files((usual or found)[0], config)


def _find_listed(manager: "ModelManager", key: str, name: str) -> _Files:
    folder = manager.output_prefix / name.replace("/", "--")
    new = not folder.exists()
    if not manager.tos_agreed(_listed(manager, name), folder):  # coqui-tts would ask on the terminal
        raise InputError(f"{key}: {name} cannot be had without agreeing to its licence by hand; take another model")
    try:
        with _quiet():
            weights, config, _ = manager.download_model(name)
    except BaseException as error:
        if new:  # half a download would pass for a whole one the next time
            shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, Exception):
            raise
        if new:
            told = f"{name} is not in {folder.parent} and cannot be downloaded"
            hint = "put its weights (.pth) and config.json into a folder and give that"
        else:
            told, hint = f"{folder} is not whole", "remove this folder and run again"
        raise InputError(f"{key}: {told} ({_reason(error)}); {hint}, {_ANOTHER_ENGINE}") from error
    return _Files(weights, config)


@contextlib.contextmanager
def _reading(key: str, files: _Files) -> Iterator[Path]:
    """A copy of config.json, in which paths may be changed; what goes wrong with either file is told."""
    try:
        with tempfile.TemporaryDirectory(prefix="coqui-") as folder:
            yield Path(shutil.copy(files.config, folder))
    except Exception as error:  # whatever foreign files bring about in a foreign library
        raise InputError(
            f"{key}: {files.weights} cannot be loaded with its {files.config.name} ({_reason(error)}); check that "
            "both are whole and belong together"
        ) from error


def _require_one_language(model: torch.nn.Module, files: _Files) -> None:
    from TTS.tts.utils.text.tokenizer import TTSTokenizer

    languages = model.language_manager.num_languages
    if languages != 1 or not isinstance(getattr(model, "tokenizer", None), TTSTokenizer):
        raise InputError(
            f"tts.model: {files.config} is of a model for several languages or for cloning voices; take one that "
            "speaks one language, such as tts_models/en/ljspeech/tacotron2-DDC"
        )


def _require_fitting(synthesizer: "Synthesizer", files: _Files, vocoder_files: _Files) -> None:
    if hasattr(synthesizer.tts_model, "waveform_decoder"):
        raise InputError(f"tts.vocoder: {files.config} is of a model that needs none; leave it empty")
    given, taken = (config.audio["num_mels"] for config in (synthesizer.tts_config, synthesizer.vocoder_config))
    if given != taken:
        raise InputError(
            f"tts.vocoder: {vocoder_files.config} takes {taken} mel bands and the model gives {given}; take a vocoder "
            "that was made for the model"
        )


@contextlib.contextmanager
def _seeded(said: str, device: torch.device) -> Iterator[None]:
    """Every generator that coqui's models draw from starts from a hash of `said`, and is put back afterwards."""
    seed = int.from_bytes(hashlib.sha256(said.encode("utf-8", errors="replace")).digest()[:4], "big")
    states = random.getstate(), np.random.get_state()
    try:
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        ):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that coqui-tts logs, warns of or prints to standard output gets through."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _reason(error: BaseException) -> str:
    """What went wrong, on one line of moderate length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}{'…' if len(text) > 160 else ''}"
