"""A single stage and speech in each of its layers: blocks, sizes and losses against the formulas written out."""

import pytest
import torch
from test_systems import BATCH, built, one_step, shapes
from tiny import rdg
from torch.nn import functional as F

from s2igan.rdg.fusion import FusionUpBlock, PixelAttention, SpeechModulation, VisualSpeechFusion
from s2igan.rdg.training import draw_latent


def perceptron(layers, x):
    return torch.relu(x @ layers[0].weight.T + layers[0].bias) @ layers[2].weight.T + layers[2].bias


def fused(module: VisualSpeechFusion, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    seen = torch.stack([x.mean(1), x.max(1).values], dim=1)
    attended = x * torch.sigmoid(F.conv2d(seen, module.attention.convolution.weight, padding=3))
    normed = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    scale, shift = (
        perceptron(p, condition)[:, :, None, None] for p in (module.modulation.scale, module.modulation.shift)
    )
    modulated = normed + scale * normed + shift
    means = torch.cat([attended.mean((2, 3)), modulated.mean((2, 3))], dim=1)
    weight = torch.sigmoid(means @ module.weight.weight.T + module.weight.bias)[:, :, None, None]
    return weight * attended + (1 - weight) * modulated


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_a_block_is_its_formula(upsampling):
    torch.manual_seed(0)
    block = FusionUpBlock(6, 4, upsampling, 5).double()
    for fusion in block.fusions:
        torch.nn.init.zeros_(fusion.attention.convolution.bias)
    x, condition = torch.randn(3, 6, 4, 4).double(), torch.randn(3, 5).double()

    def doubled(x):
        return F.interpolate(x, scale_factor=2, mode=upsampling)

    h = F.conv2d(
        doubled(F.leaky_relu(fused(block.fusions[0], x, condition), 0.2)), block.convolutions[0].weight, padding=1
    )
    h = F.conv2d(F.leaky_relu(fused(block.fusions[1], h, condition), 0.2), block.convolutions[1].weight, padding=1)
    # A shortcut of 1 x 1 is the same before up-sampling and after it.
    expected = F.conv2d(doubled(x), block.shortcut.weight) + h
    torch.testing.assert_close(block(x, condition), expected)


def test_attention_and_modulation_by_hand():
    attention = PixelAttention()
    torch.nn.init.zeros_(attention.convolution.weight)
    x = torch.randn(2, 3, 4, 4)
    torch.nn.init.zeros_(attention.convolution.bias)
    torch.testing.assert_close(attention(x), x / 2)  # sigmoid(0)
    modulation = SpeechModulation(1, 1)
    for layers, value in ((modulation.scale, 2.0), (modulation.shift, 5.0)):
        for layer in (layers[0], layers[2]):
            torch.nn.init.zeros_(layer.bias)
            torch.nn.init.ones_(layer.weight)
        layers[2].weight.data *= value
    # Features -1 and 1 are normal already; the condition 3 makes scale 6 and shift 15, -3 is silent.
    plane = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(2, 1, 1, 2)
    found = modulation(plane, torch.tensor([[3.0], [-3.0]]))
    torch.testing.assert_close(found.flatten(1), torch.tensor([[8.0, 22.0], [-1.0, 1.0]]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("modulation", [False, True])
@pytest.mark.parametrize("scales", [1, 2, 3])
def test_fewer_scales_are_the_last_of_three(scales, modulation):
    model, three = rdg(scales=scales, modulation=modulation), rdg()
    images = model.speech_to_image(torch.randn(2, model.speech_to_image.latent_dim), torch.randn(2, 8))[0]
    assert [image.shape[-1] for image in images] == [8, 16, 32][-scales:]
    for discriminator, other in zip(model.discriminators, list(three.discriminators)[-scales:], strict=True):
        assert shapes(discriminator) == shapes(other)
    ours, theirs = (shapes(m.speech_to_image.generator.initial.linear) for m in (model, three))
    assert ours == theirs  # as many channels at 4 x 4


@pytest.mark.parametrize("scales", [1, 3])
def test_speech_takes_part_in_every_up_sampling_layer(scales):
    model = rdg(scales=scales, modulation=True, condition_noise=False).speech_to_image
    blocks = [module for module in model.modules() if isinstance(module, FusionUpBlock)]
    assert len(blocks) == 3  # from 4 x 4 to 32 x 32
    speech = torch.randn(2, 8)
    with torch.no_grad():
        condition = model.condition(torch.randn(2, model.latent_dim), speech)[0]
    for block in blocks:
        x = torch.randn(2, block.shortcut.in_channels, 4, 4)
        for fusion in block.fusions:
            before = block(x, condition)
            hook = fusion.register_forward_pre_hook(lambda module, given: (given[0], given[1].flip(0)))
            assert not torch.allclose(block(x, condition), before)
            hook.remove()


def test_the_losses_of_fusion_are_the_formulas():
    """Eq. 12 with mismatched pairs at the full size alone."""
    alone = {"precision": "float32", "matching_weight": 0.0, "translation": 0.0, "r1_weight": 0.0, "local_weight": 0.0}
    alone |= {"lr": 1e-30, "lr_discriminator": 1e-30}  # the weights stay, so that all losses are of one network
    _, model, _, batch, curves = one_step("fusion", **alone)
    assert set(curves) == {"d_2", "g_2", "kl"}
    (discriminator,) = model.discriminators
    (fake,), condition, *_ = model.speech_to_image(draw_latent(model, BATCH, 0, 0, "latent"), batch.speech)
    seen = (batch.images, fake, batch.mismatched)
    (_, *of_real), (_, *of_fake), (_, *of_other) = (discriminator(x, condition) for x in seen)
    eq_12 = sum(F.softplus(-x).mean() for x in (*of_real, of_other[0]))
    eq_12 = eq_12 + sum(F.softplus(x).mean() for x in (*of_fake, of_other[1]))
    assert curves["d_2"].item() == pytest.approx(eq_12.item(), rel=1e-4)
    assert curves["g_2"].item() == pytest.approx(sum(F.softplus(-x).mean().item() for x in of_fake), rel=1e-4)


def test_the_parts_go_with_other_systems():
    for system in ("s2igan", "reference", "end_to_end"):
        _, model, _, _, curves = one_step(system, modulation=True)
        assert all(torch.isfinite(value) for value in curves.values())
    assert any(
        ".stages.1.up.fusions.0.modulation.scale.0.weight" in name
        for name in shapes(built("s2igan", modulation=True)[1])
    )
