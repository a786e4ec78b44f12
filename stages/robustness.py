"""robustness: retrieval by speech under noise, at other rates, in voices of training and of another engine."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click
import numpy as np

from s2igan.catalog import Caption, read_catalog
from s2igan.command import SEED, Number, Stage, progress
from s2igan.machine import device, workers
from s2igan.metrics.robustness import (
    SCORES,
    Gallery,
    conditions,
    embed_by_condition,
    robustness_scores,
    to_say_again,
)
from s2igan.sen.embedding import GENERATOR_SEN, image_embeddings
from s2igan.sen.model import embed_speech, heard_by, is_text_encoder, load_sen
from s2igan.speech.disturbance import NOISES, RATE_RANGE, SNR_RANGE, Disturbance, disturbed_frames
from s2igan.speech.engine import ENGINES, Engine, create_engine, options_for
from s2igan.speech.synthesis import assign_voice, require_voices, synthesize, unsayable
from s2igan.splits import draw
from s2igan.store import RaggedReader
from s2igan.tables import write_json, write_tsv

PROTOCOL = (
    "captions of the test split, drawn by seed, search all of its images",
    "map: relevant = same class, or the own image without classes; r@k and median rank: the own image",
    "snr<dB>: {noise} noise, dB over the whole utterance",
    "rate<f>: f times as fast at the same pitch",
    "voices: {voices}",
)
SAID_AGAIN = "captions that an engine said in voices unseen in training, and the same ones said again in seen voices"
COLUMNS = ("condition", "snr_db", "rate", *SCORES, "map_chance", "captions")
APART = "captions in voices unseen in training, and other captions in seen ones"
OTHER_ENGINE = "other_engine: the same captions, without recordings, said by {engine}, voices {voices}"


class Said(NamedTuple):
    """Captions (key, text, voice) for an engine to say: the condition that they make, and the engine."""

    condition: str
    engine: str
    options: dict[str, Any]
    captions: list[tuple[str, str, str]]


@click.command(cls=Stage)
@click.option("--captions", type=click.IntRange(1), required=True, help="at most so many test captions")
@click.option("--snr_db", type=Number(*SNR_RANGE), multiple=True, help="signal-to-noise ratios")
@click.option("--rates", type=Number(*RATE_RANGE), multiple=True, help="1.25: a quarter faster")
@click.option("--noise", type=click.Choice(NOISES), required=True, help="speech: of the utterance's own spectrum")
@click.option("--batch_size", type=click.IntRange(1), required=True)
@click.option("--seed", type=SEED, required=True)
@click.option("--engine", type=click.Choice(["", *ENGINES]), required=True, help="another one than tts; empty for none")
@click.option("--model", required=True, help="of that engine, as in tts")
@click.option("--rate", type=click.IntRange(80, 450), required=True, help="words a minute (espeak)")
@click.option("--voices", multiple=True, help="of that engine")
def main(captions, snr_db, rates, noise, batch_size, seed, engine, model, rate, voices):
    """Reads the catalog, speech, image features and models/rdg_sen; writes metrics/robustness.{json,tsv}."""
    wanted = conditions(snr_db, rates, noise)
    catalog = read_catalog("data/catalog")
    tested = catalog.split("test")
    drawn = draw((caption.key for caption in tested), captions, seed, "robustness")
    chosen = [caption for caption in tested if caption.key in drawn]
    searched = [image.key for image in catalog.images_in("test")]
    group_of = catalog.group_of()
    sen, config = load_sen(GENERATOR_SEN)
    if is_text_encoder(config):  # the files are there, as for every system, and say that nothing was heard
        write_json("metrics/robustness.json", {"protocol": ["the encoder reads text: there is no speech to disturb"]})
        write_tsv("metrics/robustness.tsv", [], COLUMNS)
        return
    sen.to(device())
    gallery = Gallery(searched, [group_of[key] for key in searched], image_embeddings(sen, searched, device()))
    with RaggedReader("data/speech.h5", "speech") as speech:
        engine_voices = speech.column("voice")
        voice_of = {c.key: c.speaker if c.recording else engine_voices[speech.index(c.key)] for c in catalog.captions}
        trained = {voice_of[caption.key] for caption in catalog.training_captions()}
        speakers = [voice_of[caption.key] for caption in chosen]
        again = said_in_seen_voices(to_say_again(chosen, speakers, trained), speech)
        if engine:
            texts = [caption for caption in chosen if not caption.recording]
            again.append(said_by_another_engine(texts, engine, options_for(engine, rate, model, ""), voices))
        spoken = utterances(speech, chosen, wanted, again)
        frames = disturbed_frames(spoken, config, sen.speech.min_frames, seed, workers())
        with_bar = progress(frames, "robustness", len(chosen) + sum(len(said.captions) for said in again))
        embeddings = embed_by_condition(with_bar, lambda block: embed_speech(sen, block, batch_size))
    scores, table = robustness_scores(gallery, chosen, wanted, embeddings, speakers, trained)
    if scores["captions_left_out"]:
        click.echo(f"{scores['captions_left_out']} captions left out: too short for one of the conditions")
    voices_compared = SAID_AGAIN if embeddings.get("seen_voices") else APART
    scores["protocol"] = [clause.format(noise=noise, voices=voices_compared) for clause in PROTOCOL]
    scores["protocol"] += [OTHER_ENGINE.format(engine=engine, voices=", ".join(voices))] if engine else []
    scores["protocol"] += heard_by(config)
    write_json("metrics/robustness.json", scores)
    write_tsv("metrics/robustness.tsv", table, COLUMNS)
    for row in table:
        click.echo(f"{row['condition']:16s} mAP {row['map']:.3f}  R@10 {row['r10']:.3f}  of {row['captions']}")


def said_in_seen_voices(captions: list[Caption], speech: RaggedReader) -> list[Said]:
    """The captions whose language a voice of training speaks, said again by the engine of training."""
    name, options, voices = (speech.attributes[part] for part in ("engine", "options", "train_voices"))
    if not captions or not voices:  # the engine may have spoken captions of the test alone
        return []
    return [Said("seen_voices", name, options, said_in(voices, captions, create_engine(name, **options)))]


def said_by_another_engine(captions: list[Caption], name: str, options: dict, voices: Sequence[str]) -> Said:
    """The captions that one of `voices` of this engine can say. InputError for a voice that it has not."""
    engine = create_engine(name, **options)
    require_voices(voices, engine)
    said = said_in(voices, captions, engine)
    cannot = {key for key, _ in unsayable(said, engine)}
    return Said("other_engine", name, options, [caption for caption in said if caption[0] not in cannot])


def said_in(voices: Sequence[str], captions: list[Caption], engine: Engine) -> list[tuple[str, str, str]]:
    """(key, text, voice) of the captions whose language one of `voices` speaks."""
    said = []
    for caption in captions:
        language = caption.language
        if own := [voice for voice in voices if not language or engine.voice_in(voice, language) == voice]:
            said.append((caption.key, caption.text, assign_voice(caption.key, own)))
    return said


def utterances(
    speech: RaggedReader, captions: list[Caption], wanted: list[Disturbance], again: list[Said]
) -> Iterator[tuple[str, np.ndarray, list[Disturbance]]]:
    """Each of the captions as stored, for every condition, then those of `again`."""
    for caption in captions:
        yield caption.key, speech.value(speech.index(caption.key)), wanted
    for said in again:
        rate = speech.attributes["sample_rate"]
        for key, flac, _ in synthesize(said.captions, said.engine, said.options, workers(), rate):
            yield key, np.frombuffer(flac, dtype=np.uint8), [Disturbance(said.condition)]


if __name__ == "__main__":
    main()
