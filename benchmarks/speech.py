"""Speed of synthesis and of log-mels on one core.

python -m benchmarks.speech
python -m benchmarks.speech --engine coqui --model tts_models/en/ljspeech/tacotron2-DDC --count 10
"""

import random
import time

import click
import torch
import yaml

from s2igan.command import report_user_errors
from s2igan.speech.audio import decode, encode_flac
from s2igan.speech.engine import ENGINES, create_engine, options_for
from s2igan.speech.log_mel import LogMel

COLOURS = ["red", "bright yellow", "dark grey", "brown", "white", "black", "pale blue", "green"]
PARTS = ["crown", "belly", "wings", "tail", "back", "throat", "breast", "nape"]
BILLS = ["short", "long", "curved", "pointed", "thick", "tiny"]


def sentences(count: int) -> list[str]:
    """Captions in the manner of the CUB data set, always the same."""
    draw = random.Random(0)
    return [
        f"this bird has a {draw.choice(COLOURS)} {draw.choice(PARTS)}, a {draw.choice(COLOURS)} "
        f"{draw.choice(PARTS)} and a {draw.choice(BILLS)} {draw.choice(COLOURS)} bill"
        for _ in range(count)
    ]


@click.command()
@click.option("--engine", type=click.Choice(ENGINES), default="espeak", show_default=True)
@click.option("--model", default="", help="name or folder of a model (coqui)")
@click.option("--vocoder", default="", help="name or folder of its vocoder, empty for the model's own (coqui)")
@click.option("--count", type=click.IntRange(min=1), default=300, show_default=True)
@report_user_errors
def main(engine: str, model: str, vocoder: str, count: int) -> None:
    """Print how many times faster than speech synthesis is, and the time of a log-mel."""
    torch.set_num_threads(1)
    with open("params.yaml") as file:
        spoken_with = yaml.safe_load(file)["tts"]
    speaker = create_engine(engine, **options_for(engine, spoken_with["rate"], model, vocoder))
    log_mel = LogMel(speaker.sample_rate)
    voices = spoken_with["train_voices"] if engine == spoken_with["engine"] else speaker.voices()
    captions = [(text, voices[i % len(voices)]) for i, text in enumerate(sentences(count))]

    speaker.speak(*captions[0])  # the first call reads the library from disk
    start = time.process_time()
    utterances = [speaker.speak(*caption) for caption in captions]
    synthesis = time.process_time() - start

    start = time.process_time()
    payloads = [encode_flac(samples, speaker.sample_rate) for samples in utterances]
    encoding = time.process_time() - start

    start = time.process_time()
    decoded = [decode(payload)[0] for payload in payloads]
    decoding = time.process_time() - start

    log_mel(decoded[0])
    start = time.process_time()
    for samples in decoded:
        log_mel(samples)
    analysis = time.process_time() - start

    seconds = sum(map(len, utterances)) / speaker.sample_rate
    kilobytes = sum(map(len, payloads)) / 1000
    print(f"{count} sentences of {seconds / count:.2f} s, {len(voices)} voices; CPU time, one core")
    print(f"synthesis         {seconds / synthesis:7.0f} x real time")
    print(f"synthesis + FLAC  {seconds / (synthesis + encoding):7.0f} x real time")
    print(f"FLAC              {kilobytes / seconds:7.1f} kB per second of speech")
    print(f"decode            {1000 * decoding / count:7.2f} ms an utterance")
    print(f"log-mel           {1000 * analysis / count:7.2f} ms an utterance")


if __name__ == "__main__":
    main()
