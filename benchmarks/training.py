"""One training step of RDG on random images and speech: ours, the same networks stepped as published, the authors'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import inception_v3

from s2igan.machine import device
from s2igan.options import fill
from s2igan.rdg import losses
from s2igan.rdg.batches import Batch
from s2igan.rdg.model import RDG, RDGConfig
from s2igan.rdg.relation import Relation
from s2igan.rdg.training import RELATIONS, Recipe, Setup, build_optimizers, draw_latent, real_pyramid, training_step
from s2igan.training import make_fabric
from s2igan.vision.encoders import FrozenEncoder, load_encoder

Step = Callable[[], object]


def frozen_encoder(name: str, input_size: int) -> FrozenEncoder:
    """The scale's encoder; Inception with random weights, which cost as much time as the real ones."""
    if name != "inception_v3":
        return load_encoder(name, "", input_size)
    network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.fc = nn.Identity()
    return FrozenEncoder(name, network, input_size, "random")


def networks(config: dict) -> tuple[RDG, FrozenEncoder, nn.Module]:
    """RDG of this configuration, the frozen encoder, and SEN's image projection, all on the device."""
    rdg, features, embedding = config["rdg"], config["image_features"], 2 * config["sen"]["gru_hidden"]
    sizes = {"embedding_dim": embedding, "image_embedding_dim": embedding}
    encoder = frozen_encoder(features["encoder"], features["input_size"])
    projection = nn.Linear(encoder.feature_dim, embedding).requires_grad_(False)
    model = RDG(fill(RDGConfig, rdg, **sizes, **fill(Recipe, rdg).heads)).train()
    return model.to(device()), encoder.to(device()), projection.to(device())


def random_batch(config: dict, size: int, feature_dim: int) -> Batch:
    """Noise in the shapes of a batch."""
    rdg, embedding = config["rdg"], 2 * config["sen"]["gru_hidden"]
    pixels, more = 4 * rdg["base_size"], rdg["matching_captions"]
    images, others = torch.rand(2, size, 3, pixels, pixels) * 2 - 1
    frozen = torch.randn(3, size, feature_dim)
    groups = torch.arange(size + more)
    values = {
        "images": images,
        "mismatched": others if rdg["mismatched"] else None,
        "speech": F.normalize(torch.randn(size, embedding)),
        "more_speech": F.normalize(torch.randn(more, embedding)),
        **dict(zip(("ground_truth", "same_class", "other_class"), frozen, strict=True)),
        "groups": groups[:size],
        "more_groups": groups[size:],
        "shifts": torch.rand(size, 2, 2) * 2 - 1,
    }
    return Batch(**{name: None if value is None else value.to(device()) for name, value in values.items()})


def own_step(config: dict, size: int, precision: str) -> Step:
    """A step as `train_rdg` makes it."""
    recipe = fill(Recipe, config["rdg"], precision=precision)
    model, encoder, projection = networks(config)
    model.to(memory_format=torch.channels_last)
    fabric = make_fabric(device(), precision)
    setup = Setup(model, recipe, build_optimizers(model, recipe), projection, encoder, fabric.backward)
    batch = random_batch(config, size, encoder.feature_dim)

    def step() -> dict[str, Tensor]:
        latent = draw_latent(model, size, 0, 1, "benchmark").to(device())
        with fabric.autocast():
            return training_step(setup, batch, latent, 1)

    return step


def step_as_published(config: dict, size: int) -> Step:
    """The same networks in the order of the authors' code, in float32.

    D sees real, mismatched and fake images one after the other; the frozen encoder sees ten batches of images in
    the loop, some for nothing; G's step computes gradients of D, too.
    """
    model, encoder, projection = networks(config)
    players = [model.speech_to_image, *model.discriminators, model.relation]
    optimizers = [torch.optim.Adam(player.parameters(), 2e-4, (0.5, 0.999)) for player in players]
    batch = random_batch(config, size, encoder.feature_dim)
    real, wrong = (real_pyramid(images) for images in (batch.images, batch.images.flip(0)))
    same = wrong[-1].flip(2)

    def embed(images: Tensor) -> Tensor:
        return projection(encoder(images))

    def minimise(loss: Tensor, player: int) -> None:
        loss.backward()
        optimizers[player].step()
        model.zero_grad()

    def step() -> None:
        latent = draw_latent(model, size, 0, 1, "benchmark").to(device())
        fakes, _, mean, log_variance = model.speech_to_image(latent, batch.speech)
        for i, discriminator in enumerate(model.discriminators):
            sets = (real[i], fakes[i].detach(), wrong[i])
            minimise(losses.discriminator_loss(*(discriminator(x, mean.detach())[1:3] for x in sets)), 1 + i)
        truth, *others = (embed(images) for images in (real[-1], same, wrong[-1], fakes[-1].detach()))
        logits = model.relation(truth, [*others[:2], truth, others[2]])
        terms = [losses.relation_loss(*pair) for pair in zip(logits, RELATIONS, strict=True)]
        minimise(torch.stack(terms).sum(), -1)
        total = losses.kl_loss(mean, log_variance)
        for discriminator, fake, images in zip(model.discriminators, fakes, real, strict=True):
            total = total + losses.generator_loss(discriminator(fake, mean)[1:3])
            truth, drawn = embed(images), embed(fake)
        minimise(total + losses.relation_loss(model.relation(truth, [drawn])[0], Relation.POSITIVE), 0)
        model.update_average(0.999, False)

    return step


def published_step(folder: Path, size: int, quick: bool) -> Step:
    """A step by the authors' own functions, from the folder of their code, on the CPU; Inception has random weights."""
    from unittest import mock

    from torch.utils import model_zoo

    from benchmarks.parity import Published

    code = Published(folder.resolve())
    code.cfg.TRAIN.BATCH_SIZE = size
    if quick:
        code.cfg.GAN.GF_DIM = code.cfg.GAN.DF_DIM = 8
    from models import ImageModels

    weights = inception_v3(weights=None, init_weights=False).state_dict()
    with mock.patch.object(model_zoo, "load_url", lambda *_, **__: weights):
        frozen = [ImageModels.Inception_v3().eval(), code.image_encoder().eval()]
    for network in frozen:
        network.requires_grad_(False)
    generator = code.networks.G_NET()
    discriminators = [code.networks.D_NET64(), code.networks.D_NET128(), code.networks.D_NET256()]
    for network in (generator, *discriminators):
        network.apply(code.trainer.weights_init)
    optimizer, optimizers = code.trainer.define_optimizers(generator, discriminators)
    relation = code.networks.MD_NET()
    real, wrong = (real_pyramid(torch.rand(size, 3, 256, 256) * 2 - 1) for _ in range(2))
    self = SimpleNamespace(
        criterion=nn.BCELoss(), num_Ds=3, netG=generator, netsD=discriminators, netMD=relation, optimizerG=optimizer,
        optimizersD=optimizers, optimizerMD=torch.optim.Adam(relation.parameters(), 2e-4, (0.5, 0.999)),
        image_cnn=frozen[0], image_encoder=frozen[1], real_imgs=real, wrong_imgs=wrong, similar_imgs=wrong[-1].flip(0),
        real_labels=torch.ones(size), fake_labels=torch.zeros(size), same_labels=torch.zeros(size),
        wrong_labels=2 * torch.ones(size), txt_embedding=torch.randn(size, 1024), class_ids=torch.arange(size),
    )  # fmt: skip
    trainer, average = code.trainer.condGANTrainer, code.trainer.copy_G_params(generator)

    def step() -> None:
        self.fake_imgs, self.mu, self.logvar = generator(torch.randn(size, 100), self.txt_embedding)
        for i in range(3):
            trainer.train_Dnet(self, i, 1)
        trainer.train_MDnet(self, 1)
        trainer.train_Gnet(self, 1)
        for kept, now in zip(average, generator.parameters(), strict=True):
            kept.mul_(0.999).add_(now.data, alpha=0.001)

    return step


def work(step: Step) -> float:
    """Floating-point operations of a step."""
    with FlopCounterMode(display=False) as operations:
        step()
    return operations.get_total_flops()
