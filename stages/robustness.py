"""robustness: retrieval by speech under noise, at other speaking rates and in voices seen in training."""

from collections.abc import Iterator

import click
import numpy as np

from s2igan.catalog import Caption, read_catalog
from s2igan.command import SEED, Number, progress, stage
from s2igan.machine import device, workers
from s2igan.metrics.robustness import (
    SCORES,
    Gallery,
    conditions,
    embed_by_condition,
    robustness_scores,
    rows_to_resynthesise,
)
from s2igan.sen.embedding import GENERATOR_SEN, image_embeddings
from s2igan.sen.model import embed_speech, heard_by, is_text_encoder, load_sen
from s2igan.speech.disturbance import NOISES, RATE_RANGE, SNR_RANGE, Disturbance, disturbed_frames
from s2igan.speech.engine import create_engine
from s2igan.speech.synthesis import assign_voice, synthesize, voices_in
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


@click.command()
@click.option("--captions", type=click.IntRange(1), required=True, help="at most so many test captions")
@click.option("--snr_db", type=Number(*SNR_RANGE), multiple=True, help="signal-to-noise ratios")
@click.option("--rates", type=Number(*RATE_RANGE), multiple=True, help="1.25: a quarter faster")
@click.option("--noise", type=click.Choice(NOISES), required=True, help="speech: of the utterance's own spectrum")
@click.option("--batch_size", type=click.IntRange(1), required=True)
@click.option("--seed", type=SEED, required=True)
@stage
def main(captions, snr_db, rates, noise, batch_size, seed):
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
        voices = [voice_of[caption.key] for caption in chosen]
        again = said_in_seen_voices([chosen[row] for row in rows_to_resynthesise(chosen, voices, trained)], speech)
        spoken = utterances(speech, chosen, wanted, again)
        frames = disturbed_frames(spoken, config, sen.speech.min_frames, seed, workers())
        with_bar = progress(frames, "robustness", len(chosen) + len(again))
        embeddings = embed_by_condition(with_bar, lambda block: embed_speech(sen, block, batch_size))
    scores, table = robustness_scores(gallery, chosen, wanted, embeddings, voices, trained)
    if scores["captions_left_out"]:
        click.echo(f"{scores['captions_left_out']} captions left out: too short for one of the conditions")
    voices_compared = SAID_AGAIN if again else APART
    scores["protocol"] = [clause.format(noise=noise, voices=voices_compared) for clause in PROTOCOL] + heard_by(config)
    write_json("metrics/robustness.json", scores)
    write_tsv("metrics/robustness.tsv", table, COLUMNS)
    for row in table:
        click.echo(f"{row['condition']:16s} mAP {row['map']:.3f}  R@10 {row['r10']:.3f}  of {row['captions']}")


def said_in_seen_voices(captions: list[Caption], speech: RaggedReader) -> list[tuple[str, str, str]]:
    """(key, text, voice) of those captions whose language a voice of training speaks, for the engine to say again."""
    if not captions or not speech.attributes["train_voices"]:  # the engine may have spoken captions of the test alone
        return []
    engine = create_engine(speech.attributes["engine"], **speech.attributes["options"])
    again = []
    for caption in captions:
        voices = voices_in(caption.language, speech.attributes["train_voices"], engine)
        if set(voices) <= set(speech.attributes["train_voices"]):
            again.append((caption.key, caption.text, assign_voice(caption.key, voices)))
    return again


def utterances(
    speech: RaggedReader, captions: list[Caption], wanted: list[Disturbance], again: list[tuple[str, str, str]]
) -> Iterator[tuple[str, np.ndarray, list[Disturbance]]]:
    """Each of the captions as stored, for every condition, then those of `again`."""
    for caption in captions:
        yield caption.key, speech.value(speech.index(caption.key)), wanted
    if again:
        for key, flac, _ in synthesize(again, speech.attributes["engine"], speech.attributes["options"], workers()):
            yield key, np.frombuffer(flac, dtype=np.uint8), [Disturbance("seen_voices")]


if __name__ == "__main__":
    main()
