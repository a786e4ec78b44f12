"""All of params.yaml, looked at before anything runs: what a later stage would refuse is refused at once.

Other modules are imported by name, where they are needed, so that no stage depends on the code of all others for it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import yaml
from ruamel.yaml import YAML

from s2igan.errors import InputError

FILE = "params.yaml"
ENCODER_WINDOW, ENCODER_SHIFT = 0.025, 0.02  # seconds, of the frames of frozen speech encoders
NEEDS = (
    ("sen.region_weight", "sen.places"),
    ("sen.region_weight", "image_features.regions"),
    ("rdg.region_weight", "sen.places"),
    ("rdg.competition_weight", "sen.places"),
    ("sen.place_reach", "sen.places"),
)


def parameters() -> dict[str, dict[str, Any]]:
    """The sections of params.yaml in this folder; none where there is no such file, as where a stage runs alone."""
    if not Path(FILE).is_file():
        return {}
    values = YAML(typ="safe", pure=True).load(Path(FILE).read_text(encoding="utf-8"))  # as DVC: 2e-4 is a number
    return {name: section for name, section in values.items() if isinstance(section, dict)}


def stop_at(faults: Iterable[str]) -> None:
    """Raises the first of `faults`, if there is one, as InputError."""
    for fault in faults:
        raise InputError(fault)


def parameter_faults(params: Mapping[str, dict]) -> Iterator[str]:
    """A line for each value that a stage would refuse, and for values that do not fit each other."""
    if not params:
        return
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    refused = []
    for stage, section in ((stage, about["cmd"].split("${")[1].rstrip("}")) for stage, about in stages.items()):
        command, values = import_module(f"stages.{stage}").main, params.get(section, {})
        switches = [option.name for option in command.params if isinstance(option, click.Option) and option.is_flag]
        unclear = [name for name in switches if not isinstance(values.get(name, True), bool)]
        refused += [f"{FILE}: {section}.{name} is {values[name]}; set it to true or false" for name in unclear]
        try:
            command.make_context(stage, list(arguments(values | dict.fromkeys(unclear, False))))
        except click.UsageError as error:
            named = re.sub(r"'?--(no-)?(\w+)'?", rf"{section}.\2", error.format_message())
            refused.append(" ".join(f"{FILE}: {named}".split()))
    yield from refused
    if not refused:
        yield from _misfits(params)


def arguments(section: Mapping[str, Any]) -> Iterator[str]:
    """A section as DVC gives it to a command."""
    for name, value in section.items():
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
        else:
            for item in value if isinstance(value, list) else [value]:
                yield from (f"--{name}", str(item))


def _misfits(params: Mapping[str, dict]) -> Iterator[str]:
    size = 4 * int(params["rdg"]["base_size"])
    for name in ("image_features", "classifier", "judge", "oracle"):
        if (found := params[name]["crop_size"]) != size:
            yield f"{FILE}: {name}.crop_size={found}, but rdg.base_size draws {size} pixels; set it to {size}"
    value = {f"{section}.{name}": value for section, part in params.items() for name, value in part.items()}
    for weight, needed in NEEDS:
        if value[weight] and not value[needed]:
            yield f"{FILE}: {weight} is not 0, so that {needed} cannot be 0; set it, or {weight} to 0"
    sen = params["sen"]
    model = str(params["speech_features"]["model"])
    if model.startswith(("/", ".", "~")) and not Path(model).is_dir():  # else it may be a name on the Hub
        yield f"{FILE}: speech_features.model={model}: no such folder; give its whole path, or a name of the Hub"
    if sen["input"] == "speech_features":
        if not model:
            yield f"{FILE}: sen.input=speech_features, but speech_features.model is empty; name one, or take log_mel"
        if (taken := {"li2020": "log-mels alone", "char_cnn_rnn": "text"}.get(sen["encoder"])) is not None:
            yield f"{FILE}: sen.input=speech_features, but sen.encoder={sen['encoder']} takes {taken}; take log_mel"
    elif model:
        yield f"{FILE}: speech_features.model={model}, but sen.input=log_mel hears none of it; take speech_features"
    if sen["places"] and sen["encoder"] == "pooled":
        yield f"{FILE}: sen.places is not 0, but sen.encoder=pooled has no frames to attend to; set sen.places to 0"
    if params["rdg"]["sentence_attention"] and params["rdg"]["scales"] == 1:
        yield f"{FILE}: rdg.sentence_attention is on, but with rdg.scales=1 no stage attends; set it to false"
    if sen["image_dropout"] and sen["image_projection"] == "none":
        yield f"{FILE}: sen.image_dropout is not 0, but sen.image_projection=none has no layer for it; set it to 0"
    if sen["dropout"] and sen["encoder"] != "pooled":
        yield f"{FILE}: sen.dropout is not 0, but sen.encoder={sen['encoder']} has none, only pooled has; set it to 0"
    if sen["places"] and params["rdg"]["scales"] == 1:
        yield f"{FILE}: sen.places is not 0, but a generator with rdg.scales=1 has no stage that attends; set it to 0"
    config = import_module("s2igan.options").fill(import_module("s2igan.sen.augmentation").Augmentation, sen)
    if config and sen["encoder"] == "char_cnn_rnn":
        yield f"{FILE}: sen.encoder=char_cnn_rnn reads text, which no augmentation is for; leave it off"
    if config.of_power and sen["input"] == "speech_features":
        yield f"{FILE}: sen.vtlp, sen.noise and sen.reverberation are for sen.input=log_mel alone; set them to 0"
    if sen["patience"] and sen["learn_val"] and sen["selection"] == "val":
        yield f"{FILE}: sen.patience is not 0, but with sen.learn_val nothing validates; set one of them off"
    robustness = params["robustness"]
    if robustness["engine"] and (robustness["engine"] == params["tts"]["engine"] or not robustness["voices"]):
        yield f"{FILE}: robustness.engine={robustness['engine']}: name another than tts.engine, and robustness.voices"
    if robustness["voices"] and not robustness["engine"]:
        yield f"{FILE}: robustness.voices are given, but no robustness.engine to speak in them; name one"
    if params["catalog"]["dataset"] != "aviary":
        for name in ("judge", "oracle", "keyword"):
            if params[name]["enabled"]:
                yield f"{FILE}: {name}.enabled: of the birds of dataset=aviary alone all parts are known; set it false"
    try:
        import_module("s2igan.metrics.robustness").conditions(robustness["snr_db"], robustness["rates"], "")
        if other := _quick_engine(robustness):
            import_module("s2igan.speech.synthesis").require_voices(robustness["voices"], other)
        if engine := _quick_engine(params["tts"]):
            tts = params["tts"]
            import_module("s2igan.speech.synthesis").voices_by_language(
                (), tts["train_voices"], tts["test_voices"], engine
            )
    except InputError as error:
        yield f"{FILE}: {error}"
    if (least := least_seconds(params)) > params["catalog"]["min_seconds"]:
        yield (
            f"{FILE}: catalog.min_seconds={params['catalog']['min_seconds']}, but sen.kernel and sen.stride need "
            f"{least:.3g} s; raise it, or lower them"
        )


def least_seconds(params: Mapping[str, dict]) -> float:
    """What SEN's convolutions need of an utterance, in seconds; 0 where there are none."""
    if not params or params["sen"]["encoder"] != "conv_gru":
        return 0.0
    fill, encoder = import_module("s2igan.options").fill, import_module("s2igan.sen.speech_encoder")
    frames = fill(encoder.SpeechEncoderConfig, params["sen"]).min_frames
    if params["sen"]["input"] == "speech_features":
        return ENCODER_WINDOW + (frames - 1) * params["speech_features"]["stride"] * ENCODER_SHIFT
    return (params["logmel"]["window_ms"] + (frames - 1) * params["logmel"]["shift_ms"]) / 1000


def _quick_engine(section: Mapping[str, Any]) -> Any:
    """The engine of a section, or None where there is none, or where it takes long to load."""
    engines, name = import_module("s2igan.speech.engine"), section["engine"]
    if name in ("", "coqui"):
        return None
    return engines.create_engine(name, **engines.options_for(name, section["rate"], section["model"], ""))


def text_faults(rows: Iterable[Any], params: Mapping[str, dict], table: str | Path) -> Iterator[str]:
    """A line for each row of a manifest whose text no voice of its language can say, as far as is quickly known."""
    texts = [row for row in rows if not row.recording]
    if not texts or not params or (engine := _quick_engine(params["tts"])) is None:
        return
    synthesis, tts = import_module("s2igan.speech.synthesis"), params["tts"]
    voices = {}
    for row in texts:
        if row.language not in voices:
            try:
                both = synthesis.voices_by_language([row.language], tts["train_voices"], tts["test_voices"], engine)
                voices[row.language] = both[row.language][0][0]
            except InputError as error:
                voices[row.language] = ""
                yield f"{table}: line {row.line}: {error}"
        if voice := voices[row.language]:
            for _, fault in synthesis.unsayable([("", row.text, voice)], engine):
                yield f"{table}: line {row.line}: {fault}"


def data_faults(catalog: Any, params: Mapping[str, dict]) -> Iterator[str]:
    """A line for each parameter that a catalog has too little for."""
    if not params:
        return
    drawn = catalog.images_in("train", "val")
    if len(drawn) < params["rdg"]["batch_size"]:
        yield (
            f"{FILE}: rdg.batch_size={params['rdg']['batch_size']}, but {len(drawn)} images are not of the test; "
            f"set it to {len(drawn)} or less, or list more"
        )
    untold = [caption.key for caption in catalog.captions if not caption.text.strip()]
    if params["sen"]["encoder"] == "char_cnn_rnn" and untold:
        yield (
            f"{FILE}: sen.encoder=char_cnn_rnn reads texts, and caption {untold[0]} has none ({len(untold)} of "
            f"{len(catalog.captions)} have none); list it, or choose a system that hears"
        )
    if params["rdg"]["caption_weight"] and not any(caption.text.strip() for caption in catalog.training_captions()):
        yield f"{FILE}: rdg.caption_weight is not 0, but no caption of training has a text to read back; set it to 0"
