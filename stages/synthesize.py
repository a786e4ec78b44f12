"""synthesize: caption text to speech, every utterance as FLAC; the test split in voices unseen in training."""

import click

from s2igan.command import progress, stage
from s2igan.datasets.catalog import read_catalog
from s2igan.machine import workers
from s2igan.speech.engine import ENGINES, create_engine
from s2igan.speech.synthesis import assign_voice, synthesize
from s2igan.store import RaggedWriter


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), required=True)
@click.option("--rate", type=click.IntRange(80, 450), required=True, help="words a minute")
@click.option("--train_voices", multiple=True, required=True, help="voices of training and validation")
@click.option("--test_voices", multiple=True, required=True, help="voices of the test")
@stage
def main(engine, rate, train_voices, test_voices):
    """Reads data/catalog; writes data/speech.h5."""
    if shared := set(train_voices) & set(test_voices):
        raise click.BadParameter(f"tts.test_voices: {sorted(shared)[0]} is a training voice too; take it out")
    catalog = read_catalog("data/catalog")
    tested = {caption.key for caption in catalog.split("test")}
    spoken = [
        (caption.key, caption.text, assign_voice(caption.key, test_voices if caption.key in tested else train_voices))
        for caption in catalog.captions
    ]
    sample_rate = create_engine(engine, rate=rate).sample_rate
    attributes = {
        "sample_rate": sample_rate,
        "engine": engine,
        "options": {"rate": rate},
        "train_voices": list(train_voices),
        "test_voices": list(test_voices),
    }
    with RaggedWriter("data/speech.h5", "speech", 0, "uint8", attributes, ["voice", "seconds"]) as out:
        utterances = synthesize(spoken, engine, {"rate": rate}, workers())
        total = 0.0
        for (key, flac, seconds), (_, _, voice) in zip(
            progress(utterances, "speech", len(spoken)), spoken, strict=True
        ):
            out.append(key, memoryview(flac), voice=voice, seconds=seconds)
            total += seconds
    click.echo(f"{len(spoken)} utterances, {total / 3600:.1f} hours, {len(train_voices)} + {len(test_voices)} voices")


if __name__ == "__main__":
    main()
