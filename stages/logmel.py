"""logmel: speech to log-mel spectrograms."""

import click

from s2igan.command import Number, progress, stage
from s2igan.machine import workers
from s2igan.speech.extraction import log_mels
from s2igan.store import RaggedReader, RaggedWriter


@click.command()
@click.option("--bands", type=click.IntRange(8, 128), required=True, help="mel bands")
@click.option("--window_ms", type=Number(5, 100), required=True)
@click.option("--shift_ms", type=Number(1, 100), required=True)
@click.option("--window", type=click.Choice(["hamming", "hann"]), required=True)
@click.option("--normalise/--no-normalise", required=True, help="mean 0, variance 1 an utterance and band")
@stage
def main(**settings):
    """Reads data/speech.h5; writes data/logmel.h5."""
    with RaggedReader("data/speech.h5", "speech") as speech:
        settings["sample_rate"] = speech.attributes["sample_rate"]
        attributes = {"log_mel": settings, "speech": speech.attributes}
        with RaggedWriter("data/logmel.h5", "logmel", settings["bands"], "float16", attributes) as out:
            utterances = ((key, speech.value(row)) for row, key in enumerate(speech.keys))
            for key, frames in progress(log_mels(utterances, settings, workers()), "log-mel", len(speech)):
                out.append(key, frames)


if __name__ == "__main__":
    main()
