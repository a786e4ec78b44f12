"""embed: the speech embedding of every caption."""

import click

from s2igan.command import Stage, progress
from s2igan.machine import device
from s2igan.sen.embedding import BLOCK, open_captions
from s2igan.sen.model import embed_speech, in_blocks, load_sen
from s2igan.store import FixedWriter


@click.command(cls=Stage)
@click.option("--batch_size", type=click.IntRange(1), required=True)
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
            for rows in in_blocks(range(len(log_mels)), log_mels.width, BLOCK):
                keys = [log_mels.keys[row] for row in rows]
                out.append(keys, embed_speech(model, log_mels.values(rows), batch_size))
                bar.update(len(rows))


if __name__ == "__main__":
    main()
