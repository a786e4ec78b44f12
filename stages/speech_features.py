"""speech_features: what a frozen speech encoder hears in every utterance, once and for all."""

import click

from s2igan.command import Stage, progress
from s2igan.machine import device
from s2igan.speech.encoders import FrozenSpeechEncoder
from s2igan.speech.extraction import samples_of
from s2igan.store import RaggedReader, RaggedWriter


@click.command(cls=Stage)
@click.option("--model", required=True, help="a name on the Hugging Face Hub, or a folder; empty for log-mels alone")
@click.option("--layers", type=click.IntRange(0), multiple=True, help="of the encoder, 0: its input; none: all")
@click.option("--stride", type=click.IntRange(1), required=True, help="of its frames, 50 a second, one is the mean")
def main(model, layers, stride):
    """Reads data/speech.h5; writes data/speech_features.h5, empty without a model."""
    with RaggedReader("data/speech.h5", "speech") as speech:
        rate = speech.attributes["sample_rate"]
        encoder = FrozenSpeechEncoder(model, layers, stride, rate, device()) if model else None
        attributes = {"speech_features": encoder.settings, "speech": speech.attributes} if encoder else {}
        width = encoder.width if encoder else 1
        with RaggedWriter("data/speech_features.h5", "speech_features", width, "float16", attributes) as out:
            for row, key in progress(list(enumerate(speech.keys if encoder else [])), "speech features"):
                out.append(key, encoder(samples_of(key, speech.value(row), rate)))


if __name__ == "__main__":
    main()
