"""keyword: one colour word of a caption changed, spoken anew, drawn with the same noise (paper, Figure 3)."""

import click
import numpy as np

from s2igan.catalog import read_catalog
from s2igan.command import SEED, Stage
from s2igan.datasets.drawn.birds import COLOURS
from s2igan.datasets.drawn.grammar import changeable, read, recolour
from s2igan.machine import device, workers
from s2igan.pipeline import Pipeline
from s2igan.sen.embedding import caption_embeddings
from s2igan.speech.synthesis import assign_voice
from s2igan.store import FixedWriter

COLUMNS = ["caption", "text", "part", "old", "new"]


@click.command(cls=Stage)
@click.option("--enabled/--no-enabled", required=True, help="only captions of drawn birds can be changed so")
@click.option("--pairs", type=click.IntRange(1), required=True, help="captions to change")
@click.option("--seed", type=SEED, required=True)
def main(enabled, pairs, seed):
    """Reads the catalog, what captions are heard from and models; writes data/keyword_{before,after}.h5."""
    pipeline = Pipeline(device=device())
    captions = read_catalog("data/catalog").split("test") if enabled else []
    rng = np.random.default_rng(seed)
    keys, changed, spoken = [], [], []
    for row in rng.permutation(len(captions)):
        caption = captions[row]
        if len(changed) < pairs and (parts := changeable(caption.text)):
            part = parts[rng.integers(len(parts))]
            old = read(caption.text)[part]
            new = str(rng.choice([colour for colour in COLOURS if colour != old]))
            text = recolour(caption.text, part, new)
            keys.append(caption.key)
            changed.append({"caption": caption.text, "text": text, "part": part, "old": old, "new": new})
            voice = "" if pipeline.reads_text else assign_voice(caption.key, pipeline.voices)
            spoken.append((caption.key, text, voice))
    before = caption_embeddings(keys, device(), places=True)
    after = pipeline.embed_sentences(spoken, workers())
    seeds = pipeline.seeds(keys, seed)
    columns = {name: [row[name] for row in changed] for name in COLUMNS}
    for name, condition in (("before", before), ("after", after)):
        path = f"data/keyword_{name}.h5"
        with FixedWriter(path, "generated", pipeline.shape, "uint8", {"seed": seed}, COLUMNS) as out:
            if keys:
                out.append(keys, pipeline.draw(condition, seeds)[-1], **columns)
    click.echo(f"{len(changed)} captions with one colour word changed" if enabled else "keyword.enabled is off")


if __name__ == "__main__":
    main()
