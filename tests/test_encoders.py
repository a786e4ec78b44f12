import hashlib
import shutil
import socket

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from weights import write_fid_inception

from s2igan.errors import InputError
from s2igan.metrics.classifier import build_classifier
from s2igan.vision.encoders import (
    BACKBONES,
    EVALUATION_ENCODERS,
    FID_FILE,
    INCEPTION_FILE,
    encode_images,
    encode_regions,
    load_encoder,
)
from s2igan.vision.transforms import to_float


@pytest.fixture(scope="module")
def lite():
    return load_encoder("efficientnet_lite0", input_size=64)


@pytest.fixture(scope="module")
def inception_state():
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    return inception_v3(weights=None, aux_logits=True, init_weights=False).state_dict()


@pytest.fixture(scope="module")
def fid_file(tmp_path_factory):
    return write_fid_inception(tmp_path_factory.mktemp("fid") / FID_FILE)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints" / INCEPTION_FILE


def photographs(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def test_lite0_describes_itself_and_never_learns(lite):
    assert (lite.name, lite.feature_dim, lite.input_size) == ("efficientnet_lite0", 1280, 64)
    assert len(lite.weights_hash) == 16 and lite.weights_hash.startswith("57934424")
    lite.train()
    assert not any(module.training for module in lite.modules())
    assert not any(parameter.requires_grad for parameter in lite.parameters())


def test_folded_batch_norms_change_nothing(lite):
    """The network that the package publishes, norms and all, gives the same features, and the same gradient."""
    import timm

    file = BACKBONES["efficientnet_lite0"].weights()
    published = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = torch.load(file, weights_only=True)
    published.load_state_dict(dict(zip(published.state_dict(), state.values(), strict=True)))
    published.reset_classifier(0)
    published.eval()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in lite.modules())
    generator = torch.Generator().manual_seed(0)
    seen = [(torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1).requires_grad_()]
    seen.append(seen[0].detach().clone().requires_grad_())
    ours, theirs = lite(seen[0]), published(seen[1])  # its mean and deviation are 0.5: the range is the same
    assert torch.allclose(ours, theirs, atol=1e-4)
    for features in (ours, theirs):
        features.square().sum().backward()
    assert torch.allclose(seen[0].grad, seen[1].grad, rtol=1e-3, atol=1e-3 * seen[1].grad.abs().max().item())


def test_lite0_names_what_photographs_show():
    """Its features, under the classifier of the same file, say palace and daisy (ImageNet)."""
    encoder = load_encoder("efficientnet_lite0")
    assert encoder.input_size == 224
    states = torch.load(BACKBONES["efficientnet_lite0"].weights(), weights_only=True)
    weight, bias = list(states.values())[-2:]
    pictures = [load_sample_image(name)[:, 106:533] for name in ("china.jpg", "flower.jpg")]
    features = encode_images(encoder, np.stack(pictures).transpose(0, 3, 1, 2))
    logits = torch.from_numpy(features) @ weight.T + bias
    assert logits.argmax(1).tolist() == [698, 985]


def test_regions_are_what_the_features_are_the_mean_of(lite):
    images = photographs(3, 64)
    images[0, :, :32] = 0
    features, regions = encode_regions(lite, images, 2)
    np.testing.assert_array_equal(features, encode_images(lite, images))
    assert regions.shape == (3, 4, 1280)
    np.testing.assert_allclose(regions.mean(axis=1), features, atol=1e-5)
    _, whole = encode_regions(lite, images, 1)
    np.testing.assert_allclose(whole[:, 0], features, atol=1e-5)


def test_features_do_not_depend_on_the_batch_size(lite):
    images = photographs(7, 48)
    alone, together = encode_images(lite, images, 1), encode_images(lite, images, 4)
    assert alone.shape == (7, 1280) and alone.dtype == np.float32
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_images(lite):
    images = torch.zeros(1, 3, 80, 80, requires_grad=True)
    lite(images).sum().backward()
    assert float(images.grad.abs().sum()) > 0


def test_inception_from_the_hub_cache(hub, inception_state):
    torch.save(inception_state, hub)
    encoder = load_encoder("inception_v3")
    assert (encoder.feature_dim, encoder.input_size) == (2048, 299)
    assert encoder.weights_hash == hashlib.sha256(hub.read_bytes()).hexdigest()[:16]


@pytest.mark.parametrize("shown", ["black", "white", "photograph"])
def test_inception_sees_what_torchvisions_own_pipeline_shows_it(tmp_path, inception_state, monkeypatch, shown):
    """The first convolution's input, of its weights' transforms and of the network that loading them builds."""
    from torchvision.models import Inception_V3_Weights, inception_v3
    from torchvision.transforms.functional import to_pil_image

    torch.save(inception_state, tmp_path / "inception.pth")
    monkeypatch.setattr(Inception_V3_Weights, "get_state_dict", lambda self, **_: inception_state)
    theirs = inception_v3(weights=Inception_V3_Weights.IMAGENET1K_V1).eval()
    flower = load_sample_image("flower.jpg")[50:392, 150:492]
    picture = np.full_like(flower, 255 * (shown == "white")) if shown != "photograph" else flower  # 342 pixels
    weights = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    image = torch.from_numpy(picture[22:321, 22:321].transpose(2, 0, 1).copy())[None]  # its crop, of 299
    ours = load_encoder("inception_v3", str(tmp_path / "inception.pth"))
    classifier = build_classifier({"network": "inception_v3", "heads": [3]}).eval()
    seen = []
    for network in (theirs, ours.network, classifier.body):
        network.Conv2d_1a_3x3.register_forward_hook(lambda module, inputs, _: seen.append(inputs[0].contiguous()))
    with torch.inference_mode():
        theirs(weights(to_pil_image(picture))[None])
        ours(to_float(image))
        classifier(to_float(image))
    for found in seen[1:]:
        torch.testing.assert_close(found, seen[0], rtol=0, atol=1e-6)


def test_the_fid_encoder_gives_the_features_of_torch_fidelity(fid_file):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    encoder = load_encoder("inception_v3_fid", str(fid_file))
    assert (encoder.name, encoder.feature_dim, encoder.input_size) == ("inception_v3_fid", 2048, 299)
    assert encoder.weights_hash == hashlib.sha256(fid_file.read_bytes()).hexdigest()[:16]
    images = torch.from_numpy(photographs(2, 64))
    extractor = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(fid_file))
    with torch.inference_mode():
        (expected,) = extractor(images)
        antialiased = torch.nn.functional.interpolate(images.float(), (299, 299), mode="bilinear", antialias=True)
        (other,) = extractor(antialiased.round().to(torch.uint8))
    found = encode_images(encoder, images)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    # The comparison means something: features tell images apart, and one way to resize from another.
    assert (expected[0] - expected[1]).std() > 0.005 and (expected - other).std() > 0.005


def test_the_fid_encoder_knows_one_size_only(fid_file):
    with pytest.raises(InputError, match="input size: 224, but inception_v3_fid always resizes to 299"):
        load_encoder("inception_v3_fid", str(fid_file), 224)
    assert load_encoder("inception_v3_fid", str(fid_file), 299).input_size == 299


def test_a_missing_fid_file_is_fetched_to_where_torch_fidelity_keeps_it(hub, fid_file, monkeypatch):
    asked = []

    def fetch(url, path, hash_prefix, progress):
        asked.append((url.rsplit("/", 1)[1], hash_prefix))
        shutil.copy(fid_file, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):  # the second time it is there
        load_encoder("inception_v3_fid")
    assert asked == [(FID_FILE, "6726825d")]
    from torch_fidelity import feature_extractor_inceptionv3

    def refuse(*_, **__):
        raise AssertionError("torch-fidelity does not find the file")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    feature_extractor_inceptionv3.FeatureExtractorInceptionV3("inception", ["2048"])


def test_explicit_weights_come_first(hub, tmp_path, inception_state):
    hub.write_bytes(b"not read")
    path = tmp_path / "mine.pth"
    torch.save({k: v for k, v in inception_state.items() if not k.startswith("AuxLogits")}, path)
    assert load_encoder("inception_v3", str(path), 75).input_size == 75


@pytest.mark.parametrize(("name", "file", "host"), [
    ("inception_v3", INCEPTION_FILE, "https://download.pytorch.org/models"),
    ("inception_v3_fid", FID_FILE, "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"),
])  # fmt: skip
def test_without_a_network_the_error_says_where_the_file_goes(hub, monkeypatch, name, file, host):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    before = socket.getdefaulttimeout()
    with pytest.raises(InputError) as caught:
        load_encoder(name)
    message = str(caught.value)
    assert message.startswith(f"{hub.parent / file}: missing, and the download failed (no network); ")
    assert f"put {host}/{file} there" in message and "\n" not in message
    assert socket.getdefaulttimeout() == before


@pytest.mark.parametrize(("arguments", "message"), [
    (("efficientnet_lite0", "", 16), "choose 32 or more"),
    (("efficientnet_lite0", "/nowhere/at.pth"), "/nowhere/at.pth: missing"),
])  # fmt: skip
def test_bad_requests_are_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message):
        load_encoder(*arguments)


def test_damaged_and_foreign_weight_files_are_named(tmp_path):
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"half a download")
    foreign = tmp_path / "foreign.pth"
    torch.save({"weight": torch.zeros(3)}, foreign)
    for name in EVALUATION_ENCODERS:
        with pytest.raises(InputError, match="damaged.pth: not a readable"):
            load_encoder(name, str(damaged))
        with pytest.raises(InputError, match="foreign.pth: does not hold"):
            load_encoder(name, str(foreign))
