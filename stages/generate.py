"""generate: an image from the speech of every test caption, and the same by the two controls."""

import click
import numpy as np

from s2igan.catalog import read_catalog
from s2igan.command import SEED, Stage, progress
from s2igan.machine import device
from s2igan.rdg.model import load_generator
from s2igan.rdg.sampling import generate, image_seed
from s2igan.sen.embedding import caption_embeddings
from s2igan.store import FixedWriter

CONTROLS = ("", "_untrained", "_shuffled")


@click.command(cls=Stage)
@click.option("--captions_per_image", type=click.IntRange(1), required=True, help="how many of each test image")
@click.option("--batch_size", type=click.IntRange(1), required=True)
@click.option("--seed", type=SEED, required=True)
def main(captions_per_image, batch_size, seed):
    """Reads models, catalog and what captions are heard from; writes data/generated{,_untrained,_shuffled}.h5.

    `_untrained` is the same network at initialisation; `_shuffled` the trained one with every
    caption's speech exchanged for that of a caption of another class (or image).
    """
    catalog = read_catalog("data/catalog")
    group_of = catalog.group_of()
    captions = catalog.first_of("test", captions_per_image)
    keys, images = [caption.key for caption in captions], [caption.image for caption in captions]
    partner = partners([group_of[image] for image in images], images, seed)
    seeds = [image_seed(key, seed) for key in keys]
    speech = caption_embeddings(keys, device(), places=True)
    for control in CONTROLS:
        model, config = load_generator("models/rdg", trained=control != "_untrained")
        condition = speech[partner] if control == "_shuffled" else speech
        size = 4 * config["network"]["base_size"]
        path = f"data/generated{control}.h5"
        about = {"seed": seed, "precision": config.get("precision", "float32")}
        with FixedWriter(path, "generated", (3, size, size), "uint8", about, ["seed"]) as out:
            start = 0
            with progress(None, f"generated{control}", len(keys)) as bar:
                for drawn in generate(model, condition, seeds, batch_size, device()):
                    rows = slice(start, start + len(drawn[-1]))
                    out.append(keys[rows], drawn[-1], seed=seeds[rows])
                    start = rows.stop
                    bar.update(len(drawn[-1]))


def partners(kinds: list[str], images: list[str], seed: int) -> np.ndarray:
    """For each row, the row whose speech the control `_shuffled` takes: of another class, each row once.

    Where one class holds more than half of them, not all can have another's: then that of another image, each row
    once; where one image has more than half of the captions, as it falls among the other images'.
    """
    for groups in (kinds, images):
        if 2 * np.unique(groups, return_counts=True)[1].max() <= len(groups):
            return another_class(groups, seed)
    rng, own = np.random.default_rng(seed), np.array(images)
    return np.array([rng.choice(np.flatnonzero(own != image)) for image in images])


def another_class(classes: list[str], seed: int) -> np.ndarray:
    """A permutation of the rows that leaves none with its own class (where no class holds more than half)."""
    classes = np.array(classes)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]  # class by class, shuffled within
    largest = np.unique(classes, return_counts=True)[1].max()
    partner = np.empty(len(classes), dtype=np.int64)
    partner[order] = np.roll(order, largest)
    return partner


if __name__ == "__main__":
    main()
