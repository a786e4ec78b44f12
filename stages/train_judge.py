"""train_judge: reads each part's colour off an image of a bird; for data sets that the project draws itself."""

import click
import numpy as np

from s2igan.checkpoint import TrainingCheckpoint
from s2igan.command import SEED, progress, stage
from s2igan.datasets.drawn.birds import COLOURS, PARTS, render_random
from s2igan.machine import device, workers
from s2igan.metrics.classifier import save_classifier, save_no_classifier, train_classifier

JUDGE_SEED_OFFSET = 1_000_003  # the judge's birds are none of the data set's


@click.command()
@click.option("--enabled/--no-enabled", required=True, help="off where nobody knows which part has which colour")
@click.option("--renders", type=click.IntRange(8), required=True, help="birds to learn from")
@click.option("--load_size", type=click.IntRange(8), required=True, help="pixels that they are drawn at")
@click.option("--channels", type=click.IntRange(1), required=True)
@click.option("--crop_size", type=click.IntRange(8), required=True, help="pixels of a generated image")
@click.option("--epochs", type=click.IntRange(1), required=True)
@click.option("--batch_size", type=click.IntRange(2), required=True)
@click.option("--lr", type=click.FloatRange(0, 1, min_open=True), required=True)
@click.option("--seed", type=SEED, required=True)
@stage
def main(enabled, renders, load_size, **options):
    """Draws birds whose parts are coloured independently; writes models/judge."""
    if not enabled:
        save_no_classifier("models/judge", "judge", "judge.enabled=false: the data set's attributes are not known")
        return
    checkpoint = TrainingCheckpoint("train_judge", {"renders": renders, "load_size": load_size, **options}, [])
    pictures = np.empty((renders, 3, load_size, load_size), dtype=np.uint8)
    colours = np.empty((renders, len(PARTS)), dtype=np.int64)
    drawn = render_random(renders, load_size, options["seed"] + JUDGE_SEED_OFFSET, workers())
    for row, (picture, numbers) in enumerate(progress(drawn, "renders", renders)):
        pictures[row], colours[row] = picture, numbers
    model, _ = train_classifier(
        pictures,
        colours,
        heads=(len(COLOURS),) * len(PARTS),
        device=device(),
        checkpoint=checkpoint,
        progress=progress,
        **options,
    )
    save_classifier("models/judge", "judge", model, {"parts": list(PARTS), "colours": list(COLOURS)})
    checkpoint.clear()


if __name__ == "__main__":
    main()
