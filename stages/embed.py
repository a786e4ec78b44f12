"""embed: the speech embedding of every caption."""

import click

from s2igan.command import progress, stage
from s2igan.machine import device
from s2igan.sen.embedding import BLOCK, open_captions
from s2igan.sen.model import embed_speech, load_sen, rows_at_once
from s2igan.store import FixedWriter


@click.command()
@click.option("--batch_size", type=click.IntRange(1), required=True)
@stage
def main(batch_size):
    """Reads models/sen and the captions that it hears or reads; writes data/embeddings.h5."""
    model, config = load_sen("models/sen")
    model.to(device())
    shape = (model.speech.embedding_dim,)
    with (
        open_captions(config) as log_mels,
        FixedWriter("data/embeddings.h5", "embeddings", shape, "float32", {"sen": config}) as out,
    ):
        with progress(None, "embeddings", len(log_mels)) as bar:
            size = rows_at_once(log_mels.width, BLOCK)
            for start in range(0, len(log_mels), size):
                keys = log_mels.keys[start : start + size]
                block = log_mels.values(range(start, start + len(keys)))
                out.append(keys, embed_speech(model, block, batch_size))
                bar.update(len(keys))


if __name__ == "__main__":
    main()
