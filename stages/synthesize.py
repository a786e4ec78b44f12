"""synthesize: captions to speech as FLAC: recordings as they are, text read aloud, the test in voices of its own."""

from pathlib import Path

import click

from s2igan.catalog import read_catalog
from s2igan.command import progress, stage
from s2igan.machine import workers
from s2igan.speech.engine import ENGINES, create_engine, options_for
from s2igan.speech.recordings import RECORDINGS, SAMPLE_RATE, transcode
from s2igan.speech.synthesis import assign_voice, synthesize
from s2igan.store import RaggedWriter


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), required=True)
@click.option("--rate", type=click.IntRange(80, 450), required=True, help="words a minute (espeak)")
@click.option("--model", required=True, help="name or folder of a model (coqui)")
@click.option("--vocoder", required=True, help="name or folder of its vocoder, empty for the model's own (coqui)")
@click.option("--train_voices", multiple=True, required=True, help="voices of training and validation")
@click.option("--test_voices", multiple=True, required=True, help="voices of the test")
@stage
def main(engine, rate, model, vocoder, train_voices, test_voices):
    """Reads data/catalog and the recordings that it names; writes data/speech.h5."""
    options = options_for(engine, rate, model, vocoder)
    catalog = read_catalog("data/catalog")
    tested = {caption.key for caption in catalog.split("test")}
    written = [caption for caption in catalog.captions if not caption.recording]
    spoken = [
        (caption.key, caption.text, assign_voice(caption.key, test_voices if caption.key in tested else train_voices))
        for caption in written
    ]
    if spoken and (shared := set(train_voices) & set(test_voices)):
        if len(create_engine(engine, **options).voices()) == 1:
            click.echo(f"warning: {engine} has one voice here: the test is spoken in the voice of training", err=True)
        else:
            raise click.BadParameter(f"tts.test_voices: {sorted(shared)[0]} is a training voice too; take it out")
    if foreign := {caption.language for caption in written} - {"", "en"}:
        click.echo(f"warning: text in {', '.join(sorted(foreign))}: are tts.train_voices of that language?", err=True)
    sample_rate = create_engine(engine, **options).sample_rate if spoken else SAMPLE_RATE
    files = [(c.key, Path(catalog.raw) / c.recording) for c in catalog.captions if c.recording]
    synthetic = synthesize(spoken, engine, options, workers()) if spoken else iter(())
    recorded = transcode(files, sample_rate, workers()) if files else iter(())
    voice_of = {key: voice for key, _, voice in spoken}
    voice_of |= {c.key: c.speaker or "unknown" for c in catalog.captions if c.recording}
    heard = {voice_of[caption.key] for caption in catalog.training_captions()}
    attributes = {
        "sample_rate": sample_rate,
        "engine": engine if spoken else RECORDINGS,
        "options": options if spoken else {},
        "train_voices": [voice for voice in train_voices if voice in heard] if spoken else sorted(heard),
        "test_voices": list(test_voices) if spoken else sorted({voice_of[key] for key in tested} - heard),
    }
    with RaggedWriter("data/speech.h5", "speech", 0, "uint8", attributes, ["voice", "seconds"]) as out:
        total = 0.0
        for caption in progress(catalog.captions, "speech"):
            key, flac, seconds = next(recorded if caption.recording else synthetic)
            assert key == caption.key
            out.append(key, memoryview(flac), voice=voice_of[key], seconds=seconds)
            total += seconds
    click.echo(
        f"{len(spoken)} captions spoken, {len(files)} recordings, {total / 3600:.1f} hours; "
        f"{len(heard)} voices of training, {len({voice_of[key] for key in tested} - heard)} of the test alone"
    )


if __name__ == "__main__":
    main()
