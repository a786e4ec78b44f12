"""logmel: speech to log-mel spectrograms."""

import click

from s2igan.command import Number, Stage, progress
from s2igan.errors import InputError
from s2igan.machine import workers
from s2igan.parameters import least_seconds, parameters
from s2igan.speech.extraction import log_mels
from s2igan.store import RaggedReader, RaggedWriter


@click.command(cls=Stage)
@click.option("--bands", type=click.IntRange(8, 128), required=True, help="mel bands")
@click.option("--window_ms", type=Number(5, 100), required=True)
@click.option("--shift_ms", type=Number(1, 100), required=True)
@click.option("--window", type=click.Choice(["hamming", "hann"]), required=True)
@click.option("--normalise/--no-normalise", required=True, help="mean 0, variance 1 an utterance and band")
def main(**settings):
    """Reads data/speech.h5; writes data/logmel.h5, if no utterance is too short for the speech encoder."""
    with RaggedReader("data/speech.h5", "speech") as speech:
        require_seconds(speech, least_seconds(parameters()))
        settings["sample_rate"] = speech.attributes["sample_rate"]
        attributes = {"log_mel": settings, "speech": speech.attributes}
        with RaggedWriter("data/logmel.h5", "logmel", settings["bands"], "float16", attributes, ["levels"]) as out:
            utterances = ((key, speech.value(row)) for row, key in enumerate(speech.keys))
            for key, frames, levels in progress(log_mels(utterances, settings, workers()), "log-mel", len(speech)):
                out.append(key, frames, levels=levels)


def require_seconds(speech: RaggedReader, least: float) -> None:
    """Raises InputError if an utterance is shorter: a text that an engine says in no time."""
    seconds = speech.column("seconds") if least else []
    if short := [row for row, found in enumerate(seconds) if found < least]:
        raise InputError(
            f"caption {speech.keys[short[0]]}: said in {seconds[short[0]]:.2f} s; sen.kernel and sen.stride need "
            f"{least:.3g} s (so many are too short: {len(short)}): lower tts.rate, or write more words"
        )


if __name__ == "__main__":
    main()
