"""oracle: the ceiling of the scores, a perfect listener and painter of each test caption."""

from functools import partial

import click

from s2igan.catalog import read_catalog
from s2igan.command import SEED, Stage, progress
from s2igan.datasets.drawn.species import render_described
from s2igan.machine import workers
from s2igan.parallel import ordered_map
from s2igan.store import FixedWriter
from s2igan.vision.transforms import centre_crop


@click.command(cls=Stage)
@click.option("--enabled/--no-enabled", required=True, help="only drawn birds can be drawn perfectly")
@click.option("--captions_per_image", type=click.IntRange(1), required=True, help="as generate's")
@click.option("--load_size", type=click.IntRange(8), required=True, help="pixels that are drawn, as catalog's")
@click.option("--crop_size", type=click.IntRange(8), required=True, help="pixels that are kept, as generated")
@click.option("--seed", type=SEED, required=True)
def main(enabled, captions_per_image, load_size, crop_size, seed):
    """Reads the catalog; writes data/generated_oracle.h5, without images where it is not enabled."""
    captions = read_catalog("data/catalog").first_of("test", captions_per_image) if enabled else []
    draw = partial(render_described, size=load_size, seed=seed)
    drawn = ordered_map(draw, [(caption.key, caption.text) for caption in captions], workers())
    shape = (3, crop_size, crop_size)
    with FixedWriter("data/generated_oracle.h5", "generated", shape, "uint8", {"seed": seed}) as out:
        for caption, image in zip(captions, progress(drawn, "oracle", len(captions)), strict=True):
            out.append([caption.key], centre_crop(image[None], crop_size).numpy())


if __name__ == "__main__":
    main()
