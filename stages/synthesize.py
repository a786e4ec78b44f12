"""synthesize: captions to speech as FLAC: recordings as they are, text read aloud, the test in voices of its own."""

from itertools import chain
from pathlib import Path

import click

from s2igan.catalog import read_catalog
from s2igan.command import Stage, progress
from s2igan.errors import InputError
from s2igan.machine import workers
from s2igan.speech.engine import ENGINES, create_engine, options_for
from s2igan.speech.recordings import RECORDINGS, SAMPLE_RATE, transcode
from s2igan.speech.synthesis import assign_voice, synthesize, unsayable, voices_by_language
from s2igan.store import RaggedWriter


@click.command(cls=Stage)
@click.option("--engine", type=click.Choice(ENGINES), required=True)
@click.option("--rate", type=click.IntRange(80, 450), required=True, help="words a minute (espeak)")
@click.option("--model", required=True, help="a model's name or folder (coqui), the program (flite), voices (piper)")
@click.option("--vocoder", required=True, help="name or folder of its vocoder, empty for the model's own (coqui)")
@click.option("--train_voices", multiple=True, required=True, help="voices of training and validation")
@click.option("--test_voices", multiple=True, required=True, help="voices of the test")
def main(engine, rate, model, vocoder, train_voices, test_voices):
    """Reads data/catalog and the recordings that it names; writes data/speech.h5."""
    options = options_for(engine, rate, model, vocoder)
    catalog = read_catalog("data/catalog")
    tested = {caption.key for caption in catalog.split("test")}
    written = [caption for caption in catalog.captions if not caption.recording]
    sample_rate, voices, spoken = SAMPLE_RATE, {}, []
    if written:
        speaker = create_engine(engine, **options)
        sample_rate = speaker.sample_rate
        voices = voices_by_language((caption.language for caption in written), train_voices, test_voices, speaker)
        for caption in written:
            said_by = voices[caption.language][caption.key in tested]
            spoken.append((caption.key, caption.text, assign_voice(caption.key, said_by)))
        for key, fault in unsayable(spoken, speaker):
            raise InputError(f"caption {key}: {fault}")
        if len(speaker.voices()) == 1:
            click.echo(f"warning: {engine} has one voice here: the test is spoken in the voice of training", err=True)
        for language, (train, test) in voices.items():
            if new := [voice for voice in (*train, *test) if voice not in (*train_voices, *test_voices)]:
                click.echo(f"text in {language}: tts lists too few voices that speak it; also using {', '.join(new)}")
    files = [(c.key, Path(catalog.raw) / c.recording) for c in catalog.captions if c.recording]
    synthetic = synthesize(spoken, engine, options, workers())
    recorded = transcode(files, sample_rate, workers())
    voice_of = {key: voice for key, _, voice in spoken}
    voice_of |= {c.key: c.speaker or "unknown" for c in catalog.captions if c.recording}
    heard = {voice_of[caption.key] for caption in catalog.training_captions()}
    unheard = {voice_of[key] for key in tested} - heard
    ordered = [list(dict.fromkeys(chain.from_iterable(part))) for part in zip(*voices.values(), strict=True)]
    attributes = {
        "sample_rate": sample_rate,
        "engine": engine if spoken else RECORDINGS,
        "options": options if spoken else {},
        "train_voices": [voice for voice in ordered[0] if voice in heard] if spoken else sorted(heard),
        "test_voices": ordered[1] if spoken else sorted(unheard),
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
        f"{len(heard)} voices of training, {len(unheard)} of the test alone"
    )


if __name__ == "__main__":
    main()
