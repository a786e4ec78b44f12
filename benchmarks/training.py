"""Speed and parameter counts of RDG: one training step at a scale's sizes, on random images and speech.

    python -m benchmarks.training                     # the sizes of params.yaml
    python -m benchmarks.training --scale paper --system reference --batch 4 --steps 2

The last line says what share of the speed of a plain matrix product the step reaches.
"""

import resource
import time
from pathlib import Path

import click
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import inception_v3

from s2igan.machine import PRECISIONS, device, training_precision
from s2igan.options import fill
from s2igan.rdg.batches import Batch
from s2igan.rdg.model import RDG, RDGConfig
from s2igan.rdg.training import Recipe, Setup, build_optimizers, draw_latent, training_step
from s2igan.training import make_fabric
from s2igan.vision.encoders import FrozenEncoder, load_encoder


def frozen_encoder(name: str, input_size: int) -> FrozenEncoder:
    """The scale's encoder; Inception with random weights, which cost as much time as the real ones."""
    if name != "inception_v3":
        return load_encoder(name, "", input_size)
    network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.fc = torch.nn.Identity()
    return FrozenEncoder(name, network, input_size, "random")


def product_speed(dtype: torch.dtype, size: int = 2048, repeats: int = 20) -> float:
    """Operations a second of a matrix product in this precision."""
    left, right = torch.randn(2, size, size, dtype=dtype, device=device())
    for _ in range(3):
        left @ right
    finish()
    started = time.perf_counter()
    for _ in range(repeats):
        left @ right
    finish()
    return repeats * 2 * size**3 / (time.perf_counter() - started)


def finish() -> None:
    """Waits for what a GPU was told to do."""
    if device().type == "cuda":
        torch.cuda.synchronize()


@click.command()
@click.option("--scale", default="demo", type=click.Choice(["smoke", "demo", "large", "gpu", "paper"]))
@click.option("--system", default="s2igan", help="of conf/system/; with its speech encoder frozen")
@click.option("--batch", default=0, help="images a step (default: the scale's)")
@click.option("--precision", default="", type=click.Choice(["", *PRECISIONS]), help="default: the scale's")
@click.option("--steps", default=5, type=click.IntRange(1))
def main(scale, system, batch, precision, steps):
    """Prints parameter counts, losses, images a second, and the share of a matrix product's speed."""
    with initialize_config_dir(str(Path("conf").resolve()), version_base=None):
        composed = compose("config", overrides=[f"scale={scale}", f"system={system}"])
    config = OmegaConf.to_container(composed, resolve=True)
    rdg, features = config["rdg"], config["image_features"]
    rdg["precision"] = training_precision("rdg.precision", precision or rdg["precision"], device())
    recipe = fill(Recipe, rdg)
    batch = batch or rdg["batch_size"]
    embedding = 2 * config["sen"]["gru_hidden"]
    sizes = {"embedding_dim": embedding, "image_embedding_dim": embedding, "matching": recipe.matching_weight > 0}
    model = RDG(fill(RDGConfig, rdg, **sizes))
    model.to(device(), memory_format=torch.channels_last).train()
    encoder = frozen_encoder(features["encoder"], features["input_size"]).to(device())
    projection = torch.nn.Linear(encoder.feature_dim, embedding).requires_grad_(False).to(device())
    counted = (
        ("generator with F^ca", model.speech_to_image),
        *((f"discriminator {i}", d) for i, d in enumerate(model.discriminators)),
        *([("relation supervisor", model.relation)] if model.relation else []),
    )
    for name, module in counted:
        click.echo(f"{name:22s} {sum(p.numel() for p in module.parameters()) / 1e6:8.2f} M parameters")

    size = 4 * rdg["base_size"]
    generator = torch.Generator().manual_seed(0)
    frozen = [torch.randn(batch, encoder.feature_dim, generator=generator).to(device()) for _ in range(3)]
    groups = torch.arange(batch + rdg["matching_captions"]).to(device())
    speech, more = (
        torch.nn.functional.normalize(torch.randn(count, embedding, generator=generator)).to(device())
        for count in (batch, rdg["matching_captions"])
    )
    images, others = (torch.rand(2, batch, 3, size, size, generator=generator) * 2 - 1).to(device())
    shifts = torch.rand(batch, 2, 2, generator=generator).to(device()) * 2 - 1
    data = Batch(
        images=images,
        speech=speech,
        mismatched=others if rdg["mismatched"] else None,
        **dict(zip(("ground_truth", "same_class", "other_class"), frozen, strict=True)),
        groups=groups[:batch],
        more_speech=more,
        more_groups=groups[batch:],
        shifts=shifts,
    )
    fabric = make_fabric(device(), recipe.precision)
    setup = Setup(model, recipe, build_optimizers(model, recipe), projection, encoder, fabric.backward)
    started = 0.0

    def one(step: int) -> dict[str, torch.Tensor]:
        latent = draw_latent(model, batch, 0, step, "benchmark").to(device())
        with fabric.autocast():
            return training_step(setup, data, latent, step)

    for step in range(steps + 1):  # the first step warms up
        if step == 1:
            finish()
            started = time.perf_counter()
        curves = one(step)
        assert all(torch.isfinite(value) for value in curves.values())
        click.echo(f"step {step}: " + " ".join(f"{name} {float(value):.2f}" for name, value in curves.items()))
    finish()
    seconds = (time.perf_counter() - started) / steps
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    click.echo(f"{seconds:.2f} s a step of {batch}, {batch / seconds:.2f} images/s, {memory:.1f} GiB at most")
    # Of step 1, without the costly terms, as most are, where the scale has an interval for them.
    with FlopCounterMode(display=False) as operations:
        one(1)
    count, peak = operations.get_total_flops(), product_speed(getattr(torch, recipe.precision))
    click.echo(
        f"{recipe.precision}: {count / 1e9:.1f} GFLOP a step, {count / seconds / 1e9:.0f} GFLOP/s, "
        f"{count / seconds / peak:.0%} of a matrix product's {peak / 1e9:.0f}"
    )


if __name__ == "__main__":
    main()
