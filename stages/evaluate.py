"""evaluate: retrieval by speech, quality and meaning of the generated images, beside chance, controls, ceilings."""

import click

from s2igan.catalog import read_catalog
from s2igan.command import SEED, Stage
from s2igan.machine import device
from s2igan.metrics.attention import attention_scores
from s2igan.metrics.evaluation import attribute_scores, image_scores, retrieval_scores
from s2igan.sen.embedding import GENERATOR_SEN, caption_embeddings
from s2igan.sen.model import heard_by, load_sen
from s2igan.tables import write_json, write_tsv
from s2igan.vision.encoders import EVALUATION_ENCODERS, FrozenEncoder, load_encoder


@click.command(cls=Stage)
@click.option("--encoder", type=click.Choice(EVALUATION_ENCODERS), required=True, help="of the mAP")
@click.option("--weights", required=True, help="file of the encoder's weights; empty for the usual place")
@click.option("--input_size", type=click.IntRange(32), required=True, help="pixels that the encoder sees")
@click.option("--fid_encoder", type=click.Choice(EVALUATION_ENCODERS), required=True, help="of the Fréchet distance")
@click.option("--fid_weights", required=True, help="file of its weights; empty for the usual place")
@click.option("--queries_per_class", type=click.IntRange(1), required=True, help="real images that query, mAP")
@click.option("--is_splits", type=click.IntRange(1), required=True, help="parts of the Inception score")
@click.option("--seed", type=SEED, required=True)
def main(encoder, weights, input_size, fid_encoder, fid_weights, queries_per_class, is_splits, seed):
    """Reads the catalog, features, captions, generated images and models; writes metrics/*.json."""
    catalog = read_catalog("data/catalog")
    keys = [caption.key for caption in catalog.split("test")]
    speech_of = dict(zip(keys, caption_embeddings(keys, device()), strict=True))
    hearing = heard_by(load_sen(GENERATOR_SEN)[1])
    sen, precision = retrieval_scores(catalog, speech_of, device())
    sen["protocol"] += hearing
    write_json("metrics/sen.json", sen)
    write_tsv("metrics/retrieval.tsv", precision)
    networks = load_encoders((encoder, weights), (fid_encoder, fid_weights), input_size)
    scores = image_scores(catalog, speech_of, *networks, queries_per_class, is_splits, seed)
    scores["protocol"] += hearing
    write_json("metrics/eval.json", scores)
    attributes = attribute_scores(catalog) | attention_scores(catalog, device())
    attributes["protocol"] += hearing
    write_json("metrics/attributes.json", attributes)
    shown = {
        **{key: sen[key] for key in ("speech_to_image_map", "speech_to_image_map_chance", "median_rank")},
        **{key: value for key, value in scores.items() if isinstance(value, float)},
        **{key: value for key, value in attributes.items() if isinstance(value, float)},
    }
    for name, value in shown.items():
        click.echo(f"{name:32s} {value:.4g}")


def load_encoders(encoder: tuple[str, str], fid_encoder: tuple[str, str], input_size: int) -> list[FrozenEncoder]:
    """The networks of the mAP and of the distances, each given as name and weights.

    An Inception network measures distances at its own size, which is standard; the fast one at `input_size`.
    """
    fid_size = input_size if fid_encoder[0] == "efficientnet_lite0" else 0
    chosen = ((*encoder, input_size), (*fid_encoder, fid_size))
    return [load_encoder(*settings).to(device()) for settings in chosen]


if __name__ == "__main__":
    main()
