"""`s2igan`: speak a sentence or play a recording and get a picture; follow one item through the pipeline."""

from __future__ import annotations

from pathlib import Path

import click

from s2igan.command import failing_in_one_line


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="s2igan")
def main():
    """Speech-to-image generation: a spoken description becomes a picture, without text in between."""


@main.command()
@click.argument("text", required=False)
@click.option("--wav", type=click.Path(path_type=Path), help="a recording, in place of TEXT, in any audio format")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="the picture to write (.png)")
@click.option("--voice", help="who says TEXT (default: the first test voice)")
@click.option("--seed", type=int, default=0, show_default=True, help="another number, another picture")
@click.option("--count", type=click.IntRange(1, 64), default=1, show_default=True, help="pictures side by side")
@click.option("--save-wav", type=click.Path(path_type=Path), help="also write the sound that was heard")
@click.option("--size", type=click.IntRange(16, 2048), default=256, show_default=True, help="pixels of a picture")
@click.option("--models", type=click.Path(path_type=Path), default=Path("models"), show_default=True)
@failing_in_one_line
def speak(text, wav, output, voice, seed, count, save_wav, size, models):
    """Draws what TEXT, or the recording given by --wav, describes.

    \b
    s2igan speak "this bird has a red crown and a white belly" -o bird.png
    s2igan speak --wav mine.wav -o bird.png
    """
    if bool(text and text.strip()) == bool(wav):
        raise click.UsageError("give either a sentence or --wav FILE")
    from s2igan.figures import sheet
    from s2igan.machine import device
    from s2igan.pipeline import Pipeline
    from s2igan.speech.audio import write_wav

    pipeline = Pipeline(models, device())
    if pipeline.reads and not (wav or save_wav or voice):
        embedding, source = pipeline.embed_sentences([("your sentence", text, "")]), f"read: {text}"
    else:
        if wav:
            samples, name, source = pipeline.listen(wav), str(wav), str(wav)
        else:
            voice = voice or next(iter(pipeline.voices), "")
            samples, name = pipeline.say([("your sentence", text, voice)])[0], "your sentence"
            source = f"{voice} says: {text}"
        if save_wav:
            write_wav(save_wav, samples, pipeline.sample_rate)
        embedding = pipeline.embed([samples], [name])
        source = f"{source} ({len(samples) / pipeline.sample_rate:.1f} s)"
    keys = [f"{i}" for i in range(count)]
    pictures = pipeline.draw(embedding.repeat(count, axis=0), pipeline.seeds(keys, seed))[-1]
    sheet(list(pictures), min(count, 8), output, size)
    click.echo(f"{source} -> {output}")


@main.command()
@click.argument("key")
@click.option("--wav", type=click.Path(path_type=Path), help="write the item's sound here")
@click.option("--png", type=click.Path(path_type=Path), help="write the item's pictures, real and generated, here")
@failing_in_one_line
def trace(key, wav, png):
    """Shows what every stage made of one caption KEY, `<class>/<image>/<nn>` (or the start of one)."""
    from s2igan.trace import trace as follow

    for line in follow(key, wav, png):
        click.echo(line)


@main.command()
@click.argument("dataset")
@click.option("--folder", type=click.Path(path_type=Path), help="where to (default: data/raw/DATASET)")
@failing_in_one_line
def fetch(dataset, folder):
    """Downloads what is public of DATASET (cub, oxford102, stamps), checks and unpacks it."""
    from s2igan.datasets.fetch import fetch_data_set

    folder = folder or Path("data/raw") / dataset
    rest = fetch_data_set(dataset, folder)
    click.echo(f"{dataset} is in {folder}" + (f"; still to do: {rest}" if rest else ""))


if __name__ == "__main__":
    main()
