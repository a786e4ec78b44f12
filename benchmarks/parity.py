"""How far the arithmetic here is from other people's, on fixed random numbers: `make parity`.

python -m benchmarks.parity                # libraries: pip install -e .[parity]
python -m benchmarks.parity ../S2IGAN      # and the authors' published code, from a folder that you bring

Prints a row per comparison: what is compared, with what, the largest difference over the largest value of the peer,
and what is allowed. Ends with exit code 1 if one is larger. Networks have the paper's sizes and the peer's weights.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import click
import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan.metrics.frechet import frechet_distance, gaussian_statistics, kernel_distance
from s2igan.metrics.inception_score import inception_score
from s2igan.metrics.retrieval import average_precision
from s2igan.rdg import losses
from s2igan.rdg.conditioning import ConditioningAugmentation
from s2igan.rdg.discriminator import Discriminator
from s2igan.rdg.generator import DenseGenerator, StageConfig
from s2igan.rdg.relation import Relation, RelationSupervisor
from s2igan.sen.image_encoder import ImageProjection
from s2igan.sen.losses import distinctive_loss, matching_loss
from s2igan.sen.speech_encoder import SpeechEncoder, SpeechEncoderConfig
from s2igan.speech.log_mel import LogMel

Row = tuple[str, str, float, float]  # what, peer, difference, allowed

PEERS = ("pytorch_fid", "librosa", "easydict", "six")  # the last two are the published code's
BATCH, RATE = 4, 22050
FLOAT32, FLOAT64 = 1e-5, 1e-9  # relative
# The published relation net's outputs are the same image, same class, another class, unused.
RELATIONS = torch.tensor([1, 2, 0, 3])


def difference(ours, theirs) -> float:
    """The largest difference of two arrays, or lists of arrays, over the largest value of theirs."""
    pairs = zip(ours, theirs, strict=True) if isinstance(ours, list | tuple) else [(ours, theirs)]
    arrays = [[np.asarray(x.detach() if isinstance(x, Tensor) else x, np.float64) for x in pair] for pair in pairs]
    return float(max(np.abs(a - b).max() / np.abs(b).max() for a, b in arrays))


def libraries() -> Iterator[Row]:
    """Scores, log-mels and the recurrent network, beside the packages that the field uses for them."""
    import librosa
    from pytorch_fid.fid_score import calculate_frechet_distance
    from sklearn.metrics import average_precision_score
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(600, 256)) @ rng.normal(size=(256, 256)) + shift for shift in (0.0, 0.5)]
    statistics = [x for features in sets for x in gaussian_statistics(features)]
    peer = [x for features in sets for x in (features.mean(axis=0), np.cov(features, rowvar=False))]
    yield (
        "Fréchet distance, 600 × 256 features", "pytorch-fid",
        difference(frechet_distance(*statistics), calculate_frechet_distance(*peer)), FLOAT64,
    )  # fmt: skip

    keys = [f"{i:03d}" for i in range(600)]
    options = {"kid_subsets": 10, "kid_subset_size": 200, "rng_seed": 0, "verbose": False}
    score = kid_features_to_metric(*map(torch.from_numpy, sets), **options)[KEY_METRIC_KID_MEAN]
    ours = kernel_distance(*sets, keys, keys, subsets=10, subset_size=200)[0]
    yield "kernel distance, 10 subsets of 200", "torch-fidelity", difference(ours, score), FLOAT64

    logits = torch.from_numpy(rng.normal(size=(600, 50)) * 3)
    score = isc_features_to_metric(logits, splits=10, shuffle=True, rng_seed=0)[KEY_METRIC_ISC_MEAN]
    ours = inception_score(logits.softmax(dim=1).numpy(), keys)[0]
    yield "Inception score, 10 splits", "torch-fidelity", difference(ours, score), FLOAT64

    scores = rng.integers(0, 40, (50, 300)).astype(float)  # with ties
    relevant = rng.random((50, 300)) < 0.1
    relevant[:, 0] = True
    peer = [average_precision_score(*row) for row in zip(relevant, scores, strict=True)]
    ours = average_precision(scores, relevant)
    yield "average precision, 50 rankings with ties", "scikit-learn", difference(ours, peer), FLOAT64

    samples = rng.normal(size=RATE).astype(np.float32) / 10
    for window in ("hamming", "hann"):
        mel = librosa.feature.melspectrogram(
            y=samples, sr=RATE, n_fft=552, hop_length=220, n_mels=40, window=window, center=False
        )
        ours = LogMel(window=window, normalise=False)(samples)
        yield f"log-mel, 1 s, {window.title()} window", "librosa", difference(ours, np.log(mel + 1e-6).T), FLOAT32


def inception_input() -> Iterator[Row]:
    """What reaches Inception-v3's first convolution, of images that need no resize."""
    from torchvision.models import Inception_V3_Weights, inception_v3

    from s2igan.vision.encoders import FrozenEncoder

    images = torch.rand(2, 3, 299, 299)
    seen: list[Tensor] = []
    network = inception_v3(weights=None, transform_input=True, init_weights=False).eval()
    network.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    transforms = Inception_V3_Weights.IMAGENET1K_V1.transforms(crop_size=299, resize_size=299)
    own = inception_v3(weights=None, transform_input=False, init_weights=False).eval()
    own.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(transforms(images))
        FrozenEncoder("inception_v3", own, 299, "")(images * 2 - 1)
    yield "input of Inception-v3's first convolution", "torchvision's transforms", difference(*seen[::-1]), FLOAT32


class Published:
    """The authors' modules, loaded from their folder; what they need and nobody here has stands aside."""

    def __init__(self, folder: Path):
        sys.path.insert(0, str(folder))
        # Curves for TensorBoard are not compared. Some of the functions move tensors to a GPU whatever the settings.
        sys.modules["tensorboardX"] = ModuleType("tensorboardX")
        sys.modules["tensorboardX"].FileWriter = sys.modules["tensorboardX"].summary = None
        Tensor.cuda = lambda self, *_: self
        from cfg.Pretrain import config as sen_config
        from utils import config as gan_config

        fill(gan_config.cfg, yaml.safe_load((folder / "cfg/birds_3stages.yml").read_text()))
        fill(sen_config.cfg, yaml.safe_load((folder / "cfg/Pretrain/bird_train.yml").read_text()))
        gan_config.cfg.CUDA = sen_config.cfg.CUDA = False
        gan_config.cfg.TRAIN.BATCH_SIZE = sen_config.cfg.TRAIN.BATCH_SIZE = BATCH
        from steps import pre_util, trainer

        from models import AudioModels, ImageModels, model

        self.cfg, self.networks, self.trainer, self.sen_losses = gan_config.cfg, model, trainer, pre_util
        self.speech_encoder, self.image_encoder = AudioModels.CNN_RNN_ENCODER, ImageModels.LINEAR_ENCODER
        # That file works through a folder as soon as it is imported.
        tree = ast.parse((folder / "data_processing/Audio_to_mel.py").read_text())
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.FunctionDef)]
        names: dict = {}
        exec(compile(tree, "Audio_to_mel.py", "exec"), names)
        self.log_mel, self.audio = names["audio_processing"], names


def sound_and_score(code: Published) -> Iterator[Row]:
    """Log-mels, on frames of 552 samples within the utterance in place of 551 centred ones; the Inception score."""
    spectrogram = code.audio["librosa"].feature.melspectrogram
    frames = {"n_fft": 552, "center": False}
    code.audio["librosa"] = SimpleNamespace(
        feature=SimpleNamespace(melspectrogram=lambda **told: spectrogram(**told | frames))
    )
    samples = np.random.default_rng(0).normal(size=RATE).astype(np.float32) / 10
    yield (
        "log-mel, normalised, Hann window", "published, on our frames",
        difference(LogMel(window="hann")(samples), code.log_mel(samples)), 1e-4,
    )  # fmt: skip
    probabilities = np.random.default_rng(0).dirichlet(np.ones(50), 600)
    ours = inception_score(probabilities, [f"{i:03d}" for i in range(600)], splits=1)[0]
    theirs = code.trainer.compute_inception_score(probabilities)[0]
    yield "Inception score, whole", "published", difference(ours, theirs), FLOAT64


def fill(config: dict, values: dict) -> None:
    """Puts nested values over those of a configuration."""
    for key, value in values.items():
        if isinstance(value, dict):
            fill(config[key], value)
        else:
            config[key] = value


def copy(*modules: tuple[nn.Module, nn.Module]) -> None:
    """Gives the second of each pair the weights of the first, which come in the same order and shape."""
    for theirs, ours in modules:
        state, new = ours.state_dict(), theirs.state_dict()
        assert [x.shape for x in state.values()] == [x.shape for x in new.values()], (type(theirs), type(ours))
        ours.load_state_dict(dict(zip(state, new.values(), strict=True)))


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def sen(code: Published) -> Iterator[Row]:
    """Both encoders of SEN and its losses."""
    theirs = code.speech_encoder()
    ours = SpeechEncoder(SpeechEncoderConfig(mask_padding=False))
    copy((theirs.att.att_heads[0].hidden, ours.attention.hidden), (theirs.att.att_heads[0].out, ours.attention.weight))
    copy((theirs.bnorm1, ours.norms[0]), (theirs.bnorm2, ours.norms[1]))
    for convolution, their_convolution in zip(ours.convolutions, (theirs.Conv1, theirs.Conv2), strict=True):
        convolution.weight.data = their_convolution.weight.data
        their_convolution.bias.data.zero_()  # batch norm subtracts it
    for name, value in theirs.rnn.named_parameters():
        kind, layer = name.removesuffix("_reverse").rsplit("_l", 1)
        network = (ours.gru.backwards if name.endswith("_reverse") else ours.gru.forwards)[int(layer)]
        getattr(network, f"{kind}_l0").data = value.data
    log_mels, frames = draw(BATCH, 300, 40), [300, 251, 180, 92]
    embeddings = [ours(log_mels, torch.tensor(frames)), theirs(log_mels, frames)]
    yield "speech encoder, training, padded batch", "published", difference(*embeddings), FLOAT32
    (weight,) = torch.autograd.grad(embeddings[0][:, 0].sum(), ours.convolutions[0].weight)
    (peer,) = torch.autograd.grad(embeddings[1][:, 0].sum(), theirs.Conv1.weight)
    yield "… gradient of its first convolution", "published", difference(weight, peer), 1e-3
    with torch.no_grad():
        embeddings = [ours.eval()(log_mels, torch.tensor(frames)), theirs.eval()(log_mels, frames)]
    yield "speech encoder, evaluation", "published", difference(*embeddings), FLOAT32
    theirs, ours = code.image_encoder(), ImageProjection(2048, 1024)
    copy((theirs, ours))
    image = [network(draw(BATCH, 2048)) for network in (ours, theirs)]
    yield "image encoder behind Inception", "published", difference(*image), FLOAT32

    classes = torch.tensor([3, 5, 5, 9])
    ours = matching_loss(embeddings[0], image[0], classes)
    theirs = sum(code.sen_losses.batch_loss(image[1], embeddings[1], classes))
    yield "matching loss, eqs. 1 to 4", "published", difference(ours, theirs), FLOAT32
    logits = draw(2, BATCH, 150)
    theirs = sum(nn.CrossEntropyLoss()(x, classes) for x in logits)
    yield "distinctive loss, eq. 5", "published", difference(distinctive_loss(*logits, classes), theirs), FLOAT32


def rdg(code: Published) -> Iterator[Row]:
    """Generator, discriminators and relation supervisor, and what each of them learns from one batch."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # sums in another order differ by up to 4e-3 after so many batch norms
    published, cfg = code.networks, code.cfg
    theirs = published.G_NET()
    theirs.apply(code.trainer.weights_init)
    augment = ConditioningAugmentation(1024, 128)
    generator = DenseGenerator(100, 64, 64, StageConfig(128, dense="previous"))
    copy(
        (theirs.ca_net.fc, augment.linear), (theirs.h_net1, generator.initial),
        (theirs.h_net2, generator.stages[0]), (theirs.h_net3, generator.stages[1]),
        *zip((theirs.img_net1, theirs.img_net2, theirs.img_net3), generator.to_image, strict=True),
    )  # fmt: skip
    noise, speech = draw(BATCH, 100), F.normalize(draw(BATCH, 1024), dim=1)
    theirs.ca_net.reparametrize = lambda mean, log_variance: mean + draw(BATCH, 128) * torch.exp(0.5 * log_variance)
    condition, mean, log_variance = augment(speech, draw(BATCH, 128))
    fakes = generator(noise, condition)
    their_fakes, their_mean, their_log_variance = theirs(noise, speech)
    yield (
        "F^ca: mean and log-variance",
        "published",
        difference([mean, log_variance], [their_mean, their_log_variance]),
        FLOAT32,
    )
    yield "generator, images of 64, 128 and 256 pixels", "published", difference(fakes, their_fakes), 1e-4

    real, wrong = (torch.rand(BATCH, 3, 256, 256, generator=torch.Generator().manual_seed(i)) * 2 - 1 for i in (1, 2))
    pyramids = [[F.avg_pool2d(images, k) if k > 1 else images for k in (4, 2, 1)] for images in (real, wrong)]
    ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
    still = SimpleNamespace(step=lambda: None)
    eye, projection = nn.Sequential(nn.AdaptiveAvgPool2d(16), nn.Flatten(), nn.Linear(768, 2048)), code.image_encoder()
    self = SimpleNamespace(
        criterion=nn.BCELoss(), mu=their_mean, logvar=their_log_variance, num_Ds=3, netG=theirs,
        real_imgs=pyramids[0], wrong_imgs=pyramids[1], similar_imgs=pyramids[1][-1].flip(0), fake_imgs=their_fakes,
        real_labels=ones, fake_labels=zeros, same_labels=zeros, wrong_labels=2 * ones,
        netsD=[published.D_NET64(), published.D_NET128(), published.D_NET256()], optimizersD=[still] * 3,
        netMD=published.MD_NET(), optimizerMD=still, optimizerG=still, image_cnn=eye, image_encoder=projection,
    )  # fmt: skip
    frozen = ImageProjection(2048, 1024)
    copy((projection, frozen))
    for network in (eye, projection, frozen):
        network.requires_grad_(False)
    adversarial = torch.zeros(())
    discriminators = []
    for i, their_d in enumerate(self.netsD):
        their_d.apply(code.trainer.weights_init)
        ours = Discriminator(64 * 2**i, 64, 128)
        copied = [module for name, module in their_d.named_children() if name.startswith("img_code")]
        copy(
            (nn.ModuleList(copied), ours.features), (their_d.jointConv[0], ours.join.convolution),
            (their_d.jointConv[1], ours.conditional[0]), (their_d.logits[0], ours.conditional[-1]),
            (their_d.uncond_logits[0], ours.unconditional),
        )  # fmt: skip
        discriminators.append(ours)
        told = mean.detach()
        sets = [pyramids[0][i], fakes[i].detach(), pyramids[1][i]]  # in one pass, as in training
        _, *logits = (of_all.chunk(3) for of_all in ours(torch.cat(sets), told.repeat(3, 1), 3))
        loss = losses.discriminator_loss(*zip(*logits, strict=True))
        loss.backward()
        their_loss = code.trainer.condGANTrainer.train_Dnet(self, i, count=1)
        yield (
            f"L_D of {64 * 2**i} pixels, mismatched pair and all, eq. 12",
            "published",
            difference(loss, their_loss),
            FLOAT32,
        )
        yield (
            "… gradient of its first convolution",
            "published",
            difference(ours.features[0][0].weight.grad, their_d.img_code_s16[0].weight.grad),
            1e-2,
        )
        adversarial = adversarial + losses.generator_loss(ours(fakes[i], mean)[1:])
    supervisor = RelationSupervisor(1024, outputs=4)
    self.netMD.L2.weight.data.mul_(3)
    copy((self.netMD.L1, supervisor.layers[0]), (self.netMD.b1, supervisor.layers[1]))
    for name in ("weight", "bias"):
        getattr(supervisor.layers[3], name).data = getattr(self.netMD.L2, name).data[RELATIONS]

    def embed(images: Tensor) -> Tensor:
        return frozen(eye(images))

    pairs = [embed(images) for images in (self.similar_imgs, wrong, real, fakes[-1].detach())]
    relations = (Relation.POSITIVE, Relation.NEGATIVE, Relation.UNDESIRED, Relation.POSITIVE)
    logits = supervisor(embed(real), pairs)
    ours = sum(losses.relation_loss(*pair) for pair in zip(logits, relations, strict=True))
    theirs_relation = code.trainer.condGANTrainer.train_MDnet(self, count=1)
    yield "relation supervisor's loss, eq. 8", "published", difference(ours, theirs_relation), FLOAT32

    (logits,) = supervisor(embed(real), [embed(fakes[-1])])
    kl = losses.kl_loss(mean, log_variance)
    total = adversarial + losses.relation_loss(logits, Relation.POSITIVE) + cfg.TRAIN.COEFF.KL * kl
    total.backward()
    their_kl, their_total = code.trainer.condGANTrainer.train_Gnet(self, count=1)
    yield "Kullback-Leibler term", "published", difference(cfg.TRAIN.COEFF.KL * kl, their_kl), FLOAT32
    yield (
        "L_G with relation and Kullback-Leibler terms, eqs. 9 and 10",
        "published",
        difference(total, their_total),
        FLOAT32,
    )
    yield (
        "… gradient of F^ca's linear layer",
        "published",
        difference(augment.linear.weight.grad, theirs.ca_net.fc.weight.grad),
        1e-2,
    )
    sizes = [sum(p.numel() for p in network.parameters()) for network in (theirs, *self.netsD, self.netMD)]
    ours = [sum(p.numel() for m in modules for p in m.parameters()) for modules in (
        (augment, generator), *((d,) for d in discriminators), (supervisor,),
    )]  # fmt: skip
    yield (
        "numbers of parameters: G, three D, relation net",
        "published",
        difference(np.array(ours), np.array(sizes)),
        0.0,
    )


@click.command()
@click.argument("published", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
def main(published: Path | None) -> None:
    """Compare with libraries, and with the authors' code in the folder PUBLISHED."""
    if missing := [name for name in PEERS if find_spec(name) is None]:
        raise click.ClickException(f"{', '.join(missing)}: not installed; python -m pip install -e '.[parity]'")
    parts = [libraries(), inception_input()]
    if published is not None:
        code = Published(published.resolve())
        parts += [sound_and_score(code), sen(code), rdg(code)]
    click.echo("| what | beside | difference | allowed |\n|---|---|---|---|")
    failed = 0
    for part in parts:
        for what, peer, found, allowed in part:
            failed += not found <= allowed
            mark = "" if found <= allowed else " **too far**"
            click.echo(f"| {what} | {peer} | {found:.0e}{mark} | {allowed:.0e} |")
    if failed:
        raise click.ClickException(f"{failed} of the comparisons differ by more than is allowed")


if __name__ == "__main__":
    main()
