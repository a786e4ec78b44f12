"""Generator, discriminators, relation supervisor: wiring, sizes and parameter counts."""

import copy

import pytest
import torch
from tiny import rdg
from torch.nn import functional as F

from s2igan.rdg.conditioning import ConditioningAugmentation, JoinCondition, Whitening
from s2igan.rdg.discriminator import AntialiasedConv2d, Discriminator, Logit
from s2igan.rdg.generator import UPSAMPLINGS, DenseGenerator, GatedLinearUnit, StageConfig, UpBlock
from s2igan.rdg.model import load_generator
from s2igan.rdg.planes import PlaneConv2d, enlarge
from s2igan.rdg.relation import RelationSupervisor


def count(module: torch.nn.Module) -> float:
    """Parameters in millions."""
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_parameter_counts_of_the_published_code():
    with torch.device("meta"):
        augment = ConditioningAugmentation(1024, 128)
        generator = DenseGenerator(100, 64, 64, StageConfig(128, dense="previous"))
        discriminators = [Discriminator(64 * 2**i, 64, 128) for i in range(3)]
        relation = RelationSupervisor(1024, outputs=4)
    assert round(count(augment) + count(generator), 2) == 21.29
    assert [round(count(d), 2) for d in discriminators] == [5.72, 18.83, 71.27]
    assert round(count(relation), 2) == 0.26


@pytest.mark.parametrize("base", [8, 16, 64])
def test_three_scales_from_any_base_size(base):
    generator = DenseGenerator(4, 8, base, StageConfig(6, 1))
    pictures = generator(torch.randn(2, 4), torch.randn(2, 6))
    assert [tuple(p.shape) for p in pictures] == [(2, 3, base * k, base * k) for k in (1, 2, 4)]
    assert all(p.abs().max() <= 1 for p in pictures)


def h2_depends_on_h0_directly(dense: str) -> bool:
    """Changes h_0 as the last stage receives it, and nothing else."""
    torch.manual_seed(0)
    generator = DenseGenerator(4, 8, 8, StageConfig(6, 1, dense)).eval()
    seen = {}

    def spoil(module, inputs):
        hidden, condition, places = inputs
        seen["count"] = len(hidden)
        return ([hidden[0] + 1, *hidden[1:]] if len(hidden) > 1 else hidden, condition, places)

    noise, condition = torch.randn(2, 4), torch.randn(2, 6)
    with torch.no_grad():
        before = generator(noise, condition)[2]
        handle = generator.stages[1].register_forward_pre_hook(spoil)
        after = generator(noise, condition)[2]
        handle.remove()
    assert seen["count"] == (2 if dense == "all" else 1)
    return not torch.equal(before, after)


def test_eq_7_the_last_stage_sees_every_earlier_feature():
    assert h2_depends_on_h0_directly("all")
    assert not h2_depends_on_h0_directly("previous")
    assert not h2_depends_on_h0_directly("none")


def test_conditioning_augmentation_by_hand():
    augment = ConditioningAugmentation(1, 1, scale=2.0)
    with torch.no_grad():
        augment.linear.weight[:] = torch.tensor([[1.0], [3.0], [0.0], [0.0]])
        augment.linear.bias[:] = 0
    # GLU halves: values (2, 6), gates (0, 0) -> 0.5 each: mean 1, log-variance 3.
    condition, mean, log_variance = augment(torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    assert mean.item() == pytest.approx(1) and log_variance.item() == pytest.approx(3)
    assert condition.item() == pytest.approx(1 + 2 * torch.tensor(1.5).exp().item())
    assert augment(torch.tensor([[1.0]]), None)[0].item() == pytest.approx(1)


def test_unconditional_logit_does_not_see_the_condition():
    torch.manual_seed(0)
    for options in ({}, {"own_condition": True, "projection": True}):
        network = Discriminator(16, 4, 6, **options).eval()
        images = torch.randn(3, 3, 16, 16)
        one, other = network(images, torch.randn(3, 6)), network(images, torch.randn(3, 6))
        assert torch.equal(one[1], other[1])
        assert not torch.allclose(one[2], other[2])


def test_projection_is_an_inner_product_with_pooled_features():
    torch.manual_seed(0)
    network = Discriminator(16, 4, 6, projection=True).eval()
    features, condition = torch.randn(2, 32, 4, 4), torch.randn(2, 6)
    with torch.no_grad():
        whole = network.logits(features, condition)[1]
        inner = (network.projection(condition) * features.mean((2, 3))).sum(1)
        network.projection.weight.zero_()
        assert torch.allclose(whole - inner, network.logits(features, condition)[1], atol=1e-5)


def test_the_same_seed_builds_the_same_network_and_another_seed_another():
    one, same, other = rdg(), rdg(), rdg(seed=1)
    weights = [m.speech_to_image.augment.linear.weight for m in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_average_includes_batch_norm_statistics_and_leaves_the_live_weights():
    model = rdg()
    live = model.speech_to_image
    with torch.no_grad():
        for value in [*live.parameters(), *(b for b in live.buffers() if b.is_floating_point())]:
            value.fill_(1.0)
        for value in [*model.average.parameters(), *(b for b in model.average.buffers() if b.is_floating_point())]:
            value.fill_(0.0)
    model.update_average(0.9)
    tensors = [*model.average.parameters(), *(b for b in model.average.buffers() if b.is_floating_point())]
    assert all(torch.allclose(t, torch.full_like(t, 0.1)) for t in tensors)
    assert all((p == 1).all() for p in live.parameters())


def test_average_without_batch_norm_copies_the_statistics():
    model = rdg()
    for buffer in model.speech_to_image.buffers():
        buffer.fill_(3)
    model.update_average(0.9, batch_norm=False)
    assert all((b == 3).all() for b in model.average.buffers())


def test_saved_generator_draws_the_same_and_the_untrained_one_does_not(tmp_path, monkeypatch):
    model = rdg()
    with torch.no_grad():
        for parameter in model.average.parameters():
            parameter.add_(0.05)
    model.average.eval()
    model.save(tmp_path / "rdg", {})
    latent, speech = torch.randn(2, model.average.latent_dim), torch.randn(2, 8)
    untrained, _ = load_generator(tmp_path / "rdg", trained=False)
    monkeypatch.setattr("s2igan.rdg.model.RDG", None)  # `speak` waits for no discriminators
    torch.manual_seed(0)
    trained, _ = load_generator(tmp_path / "rdg")
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == drawn and not any(p.requires_grad for p in trained.parameters()) and not trained.training
    with torch.no_grad():
        expected = model.average(latent, speech)[0][-1]
        assert torch.equal(trained(latent, speech)[0][-1], expected)
        assert not torch.allclose(untrained(latent, speech)[0][-1], expected)
    monkeypatch.undo()
    assert torch.equal(untrained.augment.linear.weight, rdg().average.augment.linear.weight)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("size", [3, 4, 5, 7])
def test_convolution_with_a_spread_condition_equals_the_plain_one(size, padding):
    torch.manual_seed(0)
    join = JoinCondition(5, 3, 4).double()
    join.convolution.padding_mode = padding
    features, condition = torch.randn(2, 3, size, size).double(), torch.randn(2, 5).double()
    plane = condition[:, :, None, None].expand(-1, -1, size, size)
    plain = join.convolution(torch.cat([plane, features], dim=1))
    assert torch.allclose(join(features, condition), plain, atol=1e-12)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_gates_and_logits_are_the_librarys_in_any_order_of_memory(order):
    torch.manual_seed(0)
    x = torch.randn(3, 6, 4, 4).contiguous(memory_format=order)
    torch.testing.assert_close(GatedLinearUnit()(x), torch.nn.functional.glu(x, dim=1))
    logit = Logit(6).to(memory_format=order)
    expected = torch.nn.functional.conv2d(x, logit.weight, logit.bias)
    torch.testing.assert_close(logit(x).flatten(), expected.flatten())


def test_batch_norm_of_each_relation_apart_gives_them_one_spread():
    """A hidden unit that sees a - b: near 0 for a pair of one class, wide for two classes."""
    truth = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    near, far = truth + 0.01 * truth.flip(0), truth + 10 * truth.flip(0)
    supervisor = RelationSupervisor(1, hidden=1)
    supervisor.layers[0].weight.data = torch.tensor([[1.0, -1.0]])
    supervisor.layers[0].bias.data.zero_()
    supervisor.layers = supervisor.layers[:2]
    spreads = [hidden.std(correction=0).item() for hidden in supervisor(truth, [near, far])]
    assert spreads == pytest.approx([1, 1], abs=0.1)


@pytest.mark.parametrize("sets", [1, 2, 3])
def test_sets_that_pass_together_see_what_they_see_by_themselves(sets):
    torch.manual_seed(0)
    together = Discriminator(16, 4, 6, projection=True, local=True)
    apart = copy.deepcopy(together)
    images, condition = torch.randn(sets, 3, 3, 16, 16), torch.randn(3, 6)
    features, *logits = together(images.flatten(0, 1), condition.repeat(sets, 1), sets)
    expected = [apart(one, condition) for one in images]
    for seen, by_themselves in zip([features, *logits], zip(*expected, strict=True), strict=True):
        assert torch.allclose(seen, torch.cat(by_themselves), atol=1e-5)
    for kept, other in zip(together.buffers(), apart.buffers(), strict=True):
        assert torch.allclose(kept.float(), other.float(), atol=1e-6)  # running statistics, set after set


@pytest.mark.parametrize("size", [4, 8, 16])
@pytest.mark.parametrize("kernel, stride", [(3, 1), (3, 2), (4, 2)])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_a_convolution_of_planes_is_the_librarys_at_every_size(size, kernel, stride, padding):
    torch.manual_seed(0)
    ours = PlaneConv2d(3, 5, kernel, stride).double()
    theirs = torch.nn.Conv2d(3, 5, kernel, stride, 1, bias=False, padding_mode=padding).double()
    ours.padding_mode = padding
    ours.load_state_dict(theirs.state_dict())
    planes = [torch.randn(2, 3, size, size, dtype=torch.float64).requires_grad_()]
    planes.append(planes[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_())
    seen = [layer(x) for layer, x in zip((theirs, ours), planes, strict=True)]
    torch.testing.assert_close(*seen)
    for y in seen:
        y.square().sum().backward()
    torch.testing.assert_close(planes[0].grad, planes[1].grad)
    torch.testing.assert_close(theirs.weight.grad, ours.weight.grad)


@pytest.mark.parametrize("mode", UPSAMPLINGS)
@pytest.mark.parametrize("factor", [2, 4])
def test_enlarging_is_the_librarys(mode, factor):
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    expected = F.interpolate(x, scale_factor=factor, mode=mode)
    torch.testing.assert_close(enlarge(x, 4 * factor, mode), expected)
    for padding, theirs in (("zeros", "constant"), ("replicate", "replicate")):
        torch.testing.assert_close(enlarge(x, 4 * factor, mode, padding), F.pad(expected, [1] * 4, mode=theirs))


def test_planes_met_first_without_gradients_can_be_learned_from_afterwards():
    """What is kept from drawing by `torch.inference_mode` would refuse a backward pass."""
    layer, x = PlaneConv2d(1, 1, 3, 1), torch.randn(1, 1, 7, 7)
    with torch.inference_mode():
        layer(x)
        enlarge(x, 14, "bilinear")
    (layer(x).sum() + enlarge(layer(x), 14, "bilinear").sum()).backward()
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("size", [8, 16])
def test_an_antialiased_convolution_smooths_then_takes_every_second_pixel(size):
    layer, x = AntialiasedConv2d(3, 5).double(), torch.randn(2, 3, size, size, dtype=torch.float64)
    smoothed = F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 2, stride=1)
    torch.testing.assert_close(layer(x), F.conv2d(smoothed, layer.weight, stride=2))


def test_a_discriminator_convolves_large_features_once_more():
    torch.manual_seed(0)
    plain, detailed = (Discriminator(64, 2, 6, antialiasing=True, detail_size=size) for size in (0, 16))
    more = [9 * width**2 + 2 * width for width in (2, 4)]  # at 32 x 32 and 16 x 16: kernel and batch norm
    assert sum(p.numel() for p in detailed.parameters()) - sum(p.numel() for p in plain.parameters()) == sum(more)
    assert [layer[0].stride for layer in detailed.features] == [(2, 2), (1, 1)] * 2 + [(2, 2)] * 2
    images, condition = torch.randn(2, 3, 64, 64), torch.randn(2, 6)
    for network in (plain, detailed):
        assert network(images, condition)[0].shape == (2, 16, 4, 4)


def test_an_antialiased_discriminator_does_not_see_what_alternates_from_pixel_to_pixel():
    mesh = torch.ones(16, 16)
    mesh[:, 1::2] = -1
    grey = torch.zeros(2, 3, 16, 16)
    change = {}
    for antialiasing in (True, False):
        torch.manual_seed(0)
        first = Discriminator(16, 4, 6, antialiasing=antialiasing).features[0]
        change[antialiasing] = (first(grey + mesh) - first(grey))[..., 1:-1, 1:-1].abs().max().item()
    assert change[True] < 1e-6 < 0.1 < change[False]


@pytest.mark.parametrize("modulation", [False, True])
def test_a_generator_that_repeats_the_border_draws_no_frame(modulation):
    torch.manual_seed(0)
    for padding in ("zeros", "replicate"):
        generator = rdg(padding=padding, modulation=modulation, upsampling="bilinear").eval().speech_to_image.generator
        plain = [torch.ones(1, channels, size, size) for channels, size in ((8, 8), (4, 16))]
        drawn = generator.to_image[-1](generator.stages[-1](plain, torch.ones(1, 6)))
        spread = (drawn - drawn.mean(dim=(2, 3), keepdim=True)).abs().max().item()
        assert spread < 1e-5 if padding == "replicate" else spread > 1e-2


def test_local_logits_see_the_surroundings_of_their_place_alone():
    torch.manual_seed(0)
    network = Discriminator(32, 4, 6, local=True).eval()
    image, condition = torch.randn(1, 3, 32, 32), torch.randn(1, 6)
    before = network(image, condition)
    # A pixel of the corner, and one in the middle; 4 x 4 kernels of stride 2 see 2 y - 1 to 2 y + 2.
    for pixel, seen in ((0, [0]), (16, [7, 8])):
        changed = image.clone()
        changed[..., pixel, pixel] += 1
        places = (before[3] != network(changed, condition)[3]).view(16, 16).nonzero().tolist()
        assert places == [[y, x] for y in seen for x in seen]
    assert len(Discriminator(32, 4, 6)(image.repeat(2, 1, 1, 1), condition.repeat(2, 1))) == 3


def test_a_unit_without_a_gate_is_a_leaky_relu_of_half_as_many_channels():
    block, x = UpBlock(6, 4, "bilinear", gated=False).eval(), torch.randn(2, 6, 4, 4)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="bilinear"), block[1].weight, padding=1)
    torch.testing.assert_close(block(x), F.leaky_relu(expected / (1 + block[2].eps) ** 0.5, 0.2))
    gated, plain = (DenseGenerator(4, 8, 8, StageConfig(6, 1, gated=gated)) for gated in (True, False))
    widths = [[m.out_channels for m in g.stages.modules() if isinstance(m, torch.nn.Conv2d)] for g in (gated, plain)]
    assert widths == [[16, 16, 8, 8, 8, 8, 4, 4], [8, 8, 8, 4, 4, 4, 4, 2]] and all(
        picture.shape == other.shape
        for picture, other in zip(*(g(torch.zeros(2, 4), torch.zeros(2, 6)) for g in (gated, plain)), strict=True)
    )


@pytest.mark.parametrize(("power", "stretch"), [(0.0, 1.0), (0.5, 2**0.5), (1.0, 2.0)])
def test_whitening_stretches_the_axes_in_which_captions_differ_little(power, stretch):
    captions = torch.tensor([[2.0, 0], [-2, 0], [0, 1], [0, -1]])  # variances 2 and 0.5
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    whiten = Whitening(2, power)
    assert torch.equal(whiten(torch.tensor([0.6, 0.8])), torch.tensor([0.6, 0.8])), "not before it knows any"
    whiten.fit(captions @ turn)
    found = whiten(torch.tensor([[3.0, 3.0], [0.0, 0.0]]) @ turn)
    expected = torch.tensor([[1.0, stretch], [0.0, 0.0]]) @ turn
    torch.testing.assert_close(found, F.normalize(expected, dim=1))


def test_whitening_ends_where_noise_begins():
    whiten = Whitening(2, 1.0)
    whiten.fit(torch.tensor([[1.0, 0], [-1, 0]]))  # nothing in the other axis
    torch.testing.assert_close(whiten.matrix, torch.diag(torch.tensor([1.0, 1000**0.5])))


def test_what_the_generator_hears_is_whitened_and_the_average_and_a_saved_model_hear_alike(tmp_path):
    torch.manual_seed(0)
    plain, model = rdg(condition_noise=False), rdg(condition_noise=False, whitening=0.5)
    speech, latent = F.normalize(torch.randn(50, 8) * torch.arange(1, 9), dim=1), torch.randn(50, 4)
    model.fit_whitening(speech)
    model.save(tmp_path / "rdg", {})
    loaded, _ = load_generator(tmp_path / "rdg")
    drawn = model.average(latent, speech)[0][-1]
    torch.testing.assert_close(drawn, plain.average(latent, model.average.whiten(speech))[0][-1])
    assert not torch.allclose(drawn, plain.average(latent, speech)[0][-1])
    assert torch.equal(drawn, loaded(latent, speech)[0][-1])
    assert torch.equal(model.speech_to_image.whiten.matrix, model.average.whiten.matrix)
