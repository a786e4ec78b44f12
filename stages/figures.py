"""figures: what a person looks at: the data, generated beside real, the keyword test, the curves."""

import click
import numpy as np

from s2igan.catalog import Caption, read_catalog
from s2igan.command import SEED, Stage
from s2igan.figures import CURVES, attention_figure, curves, evenly, grid, read_curves, sample_captions, sheet, words
from s2igan.machine import device
from s2igan.pipeline import Pipeline
from s2igan.rdg.sampling import draw_with_attention
from s2igan.sen.embedding import caption_embeddings
from s2igan.sen.model import count_places
from s2igan.speech.audio import decode
from s2igan.store import FixedReader, ImageReader, RaggedReader
from s2igan.vision.transforms import centre_crop

FOLDER = "metrics/figures"
COLUMNS = 4  # utterances whose attention is drawn


@click.command(cls=Stage)
@click.option("--samples", type=click.IntRange(1), required=True, help="rows of a figure")
@click.option("--birds", type=click.IntRange(1), required=True, help="images on each sheet: real ones, drawn ones")
@click.option("--seed", type=SEED, required=True)
def main(samples, birds, seed):
    """Reads the catalog, images, generated ones, models and curves; writes metrics/figures/*.png."""
    catalog = read_catalog("data/catalog")
    rng = np.random.default_rng(seed)
    with ImageReader("data/images.h5") as images:
        chosen = np.sort(rng.permutation(len(images))[:birds])
        squares = centre_crop(images.values(chosen), images.attributes["load_size"])
        sheet(list(squares.numpy()), 10, f"{FOLDER}/dataset.png", 96)

        picked = sample_captions(catalog, samples)
        keys = [caption.key for caption in picked]
        pipeline = Pipeline(device=device())
        speech = caption_embeddings(keys, device(), places=True)
        drawn = pipeline.draw(np.repeat(speech, 2, axis=0), pipeline.seeds([k + s for k in keys for s in "ab"], seed))
        real = images.values([images.index(caption.image) for caption in picked])
    real = centre_crop(real, drawn[-1].shape[-1]).numpy()
    rows = [[real[i], *(scale[2 * i] for scale in drawn), drawn[-1][2 * i + 1]] for i in range(len(picked))]
    sizes = [f"{scale.shape[-1]} px" for scale in drawn]
    headings = ["real", *sizes, "other noise"]
    grid(rows, [words(caption) for caption in picked], headings, f"{FOLDER}/samples.png")

    with FixedReader("data/generated.h5", "generated") as generated:
        chosen = evenly(range(len(generated)), birds)  # by number alone, so that nobody picks
        sheet(list(generated.values(chosen)), 10, f"{FOLDER}/generated.png", 96)

    with (
        FixedReader("data/keyword_before.h5", "generated") as before,
        FixedReader("data/keyword_after.h5", "generated") as after,
    ):
        many = slice(0, samples)
        rows = [list(pair) for pair in zip(before.values(many), after.values(many), strict=True)]
        texts, parts, old, new = (before.column(name)[many] for name in ("caption", "part", "old", "new"))
    captions = [f"{t}  [{p}: {o} to {n}]" for t, p, o, n in zip(texts, parts, old, new, strict=True)]
    headings = ["as spoken", "word changed"]
    if not rows:  # a data set whose words nobody can change; DVC wants the file all the same
        rows, captions, headings = [[]], ["There is no keyword test of this data set: keyword.enabled is off."], []
    grid(rows, captions, headings, f"{FOLDER}/keyword.png", text_width=380)

    draw_attention(pipeline, picked[:COLUMNS], speech[:COLUMNS], seed)

    for training, (x, panels) in CURVES.items():
        curves(read_curves(f"metrics/{training}_training.tsv"), x, panels, f"{FOLDER}/{training}_curves.png")


def draw_attention(pipeline: Pipeline, captions: list[Caption], heard: np.ndarray, seed: int) -> None:
    """Which stretch of each utterance paints what; of a generator that attends, from captions as it hears them."""
    path = f"{FOLDER}/attention.png"
    if not pipeline.generator.attention or pipeline.reads_text:  # DVC wants the file all the same
        grid([[]], ["This system attends to no stretch of the speech."], [], path)
        return
    keys = [caption.key for caption in captions]
    drawn, weights = draw_with_attention(pipeline.generator, heard, pipeline.seeds(keys, seed), device())
    with RaggedReader("data/speech.h5", "speech") as speech:
        waveforms = [decode(speech.value(speech.index(key)).tobytes(), key)[0] for key in keys]
    counts = count_places(heard).tolist()
    attention_figure(waveforms, drawn, weights, counts, [words(caption) for caption in captions], path)


if __name__ == "__main__":
    main()
