"""image_features: what the frozen image encoder sees in several views of every image, once and for all."""

import click
import numpy as np

from s2igan.command import Stage, progress
from s2igan.machine import device
from s2igan.store import FixedWriter, ImageReader
from s2igan.vision.encoders import ENCODERS, encode_images, encode_regions, load_encoder
from s2igan.vision.transforms import views as cut_views

BATCH = 64


@click.command(cls=Stage)
@click.option("--encoder", type=click.Choice(ENCODERS), required=True, help="one that lets gradients through")
@click.option("--weights", required=True, help="file of the encoder's weights; empty for the usual place")
@click.option("--input_size", type=click.IntRange(32), required=True, help="pixels that the encoder sees")
@click.option("--crop_size", type=click.IntRange(8), required=True, help="pixels of a view")
@click.option("--views", type=click.IntRange(2), required=True, help="centre, mirrored centre, random crops")
@click.option("--regions", type=click.IntRange(0), required=True, help="a side: 4 gives 16 of each view; 0: none")
def main(encoder, weights, input_size, crop_size, views, regions):
    """Reads data/images.h5; writes data/image_features.h5, and data/image_regions.h5, empty without `regions`."""
    network = load_encoder(encoder, weights, input_size).to(device())
    attributes = {
        "encoder": encoder,
        "weights": weights,
        "weights_hash": network.weights_hash,
        "input_size": input_size,
        "crop_size": crop_size,
    }
    shape = (views, network.feature_dim)
    by_region = (views, regions**2, network.feature_dim) if regions else (1,)
    with (
        ImageReader("data/images.h5") as images,
        FixedWriter("data/image_features.h5", "image_features", shape, "float32", attributes) as out,
        FixedWriter("data/image_regions.h5", "image_regions", by_region, "float16", attributes) as out_regions,
    ):
        for start in progress(range(0, len(images), BATCH), "image features"):
            keys = images.keys[start : start + BATCH]
            block = images.values(range(start, start + len(keys)))
            cut = cut_views(block, crop_size, views, np.random.default_rng(start)).flatten(0, 1)
            if regions:
                features, of_regions = encode_regions(network, cut, regions)
                out_regions.append(keys, of_regions.reshape(len(keys), *by_region))
            else:
                features = encode_images(network, cut)
            out.append(keys, features.reshape(len(keys), *shape))


if __name__ == "__main__":
    main()
