"""Files of weights as they are published, with random numbers in them that neither die away nor burst."""

from pathlib import Path
from unittest import mock

import torch


def write_inception(path: Path) -> Path:
    """torchvision's Inception-v3 for ImageNet, with its auxiliary classifier."""
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, aux_logits=True, init_weights=False)
    generator = torch.Generator().manual_seed(0)
    for tensor in network.state_dict().values():
        if tensor.ndim == 4:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
    torch.save(network.state_dict(), path)
    return path


def write_fid_inception(path: Path) -> Path:
    """The Inception of the Fréchet Inception distance, as torch-fidelity publishes it."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.save({}, path)
    with mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict"):  # it cannot be built without a file
        network = FeatureExtractorInceptionV3("any", ["2048"], feature_extractor_weights_path=str(path))
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 4:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(0, 0.1, generator=generator)
    torch.save(network.state_dict(), path)
    return path
