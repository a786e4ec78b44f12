"""train_judge: reads each part's colour off an image of a bird; for data sets that the project draws itself."""

import click
import numpy as np

from s2igan.command import Stage, progress
from s2igan.datasets.drawn.birds import COLOURS, PARTS, render_random
from s2igan.machine import device, workers
from s2igan.metrics.classifier import Recipe, save_classifier, save_no_classifier, train_classifier
from s2igan.options import fill, options
from s2igan.training import Checkpoints, code_of

JUDGE_SEED_OFFSET = 1_000_003  # the judge's birds are none of the data set's


@click.command(cls=Stage)
@options(Recipe)
@click.option("--enabled/--no-enabled", required=True, help="off where nobody knows which part has which colour")
@click.option("--renders", type=click.IntRange(8), required=True, help="birds to learn from")
@click.option("--load_size", type=click.IntRange(8), required=True, help="pixels that they are drawn at")
def main(**values):
    """Draws birds whose parts are coloured independently; writes models/judge."""
    recipe, renders, load_size = fill(Recipe, values), values["renders"], values["load_size"]
    if not values["enabled"]:
        save_no_classifier("models/judge", "judge", "judge.enabled=false: the data set's attributes are not known")
        return
    checkpoints = Checkpoints("train_judge", values, [], code_of("train_judge"))
    images = np.empty((renders, 3, load_size, load_size), dtype=np.uint8)
    colours = np.empty((renders, len(PARTS)), dtype=np.int64)
    drawn = render_random(renders, load_size, recipe.seed + JUDGE_SEED_OFFSET, workers())
    for row, (image, numbers) in enumerate(progress(drawn, "renders", renders)):
        images[row], colours[row] = image, numbers
    heads = (len(COLOURS),) * len(PARTS)
    model, _ = train_classifier(images, colours, heads, recipe, name="judge", device=device(), checkpoints=checkpoints)
    names = {"parts": list(PARTS), "colours": list(COLOURS), "parameters": values}
    save_classifier("models/judge", "judge", model, names)
    checkpoints.clear()


if __name__ == "__main__":
    main()
