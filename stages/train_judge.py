"""train_judge: reads each part's colour off an image of a bird; for data sets that the project draws itself."""

from dataclasses import dataclass

import click
import numpy as np

from s2igan.command import Stage, progress
from s2igan.datasets.drawn.birds import COLOURS, PARTS, render_random
from s2igan.machine import device, workers
from s2igan.metrics.classifier import Recipe, save_classifier, save_no_classifier, train_classifier
from s2igan.options import fill, integer, options, switch
from s2igan.training import Checkpoints, code_of

JUDGE_SEED_OFFSET = 1_000_003  # the judge's birds are none of the data set's


@dataclass(frozen=True)
class Birds:
    """What the judge learns from."""

    enabled: bool = switch("off where nobody knows which part has which colour")
    renders: int = integer(8, help="birds to learn from")
    load_size: int = integer(8, help="pixels that they are drawn at")


@click.command(cls=Stage)
@options(Birds, Recipe, drop=("network",))
def main(**values):
    """Draws birds whose parts are coloured independently; writes models/judge."""
    birds, recipe = fill(Birds, values), fill(Recipe, values, network="small")
    if not birds.enabled:
        save_no_classifier("models/judge", "judge", "judge.enabled=false: the data set's attributes are not known")
        return
    checkpoints = Checkpoints("train_judge", values, [], code_of("train_judge"))
    images = np.empty((birds.renders, 3, birds.load_size, birds.load_size), dtype=np.uint8)
    colours = np.empty((birds.renders, len(PARTS)), dtype=np.int64)
    drawn = render_random(birds.renders, birds.load_size, recipe.seed + JUDGE_SEED_OFFSET, workers())
    for row, (image, numbers) in enumerate(progress(drawn, "renders", birds.renders)):
        images[row], colours[row] = image, numbers
    heads = (len(COLOURS),) * len(PARTS)
    model, _ = train_classifier(images, colours, heads, recipe, name="judge", device=device(), checkpoints=checkpoints)
    names = {"parts": list(PARTS), "colours": list(COLOURS), "parameters": values}
    save_classifier("models/judge", "judge", model, names)
    checkpoints.clear()


if __name__ == "__main__":
    main()
