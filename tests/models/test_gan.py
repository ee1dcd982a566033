"""The players of a GAN: shapes, purity, labels, spectral norm, and what they refuse."""

import dataclasses

import pytest
import torch
from torch import nn

from minidiff.models.gan import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    PointConfig,
    PointDiscriminator,
    PointGenerator,
)


def generator(**config):
    torch.manual_seed(0)
    return Generator(GeneratorConfig(**config)).eval()


def critic(**config):
    torch.manual_seed(0)
    return Discriminator(DiscriminatorConfig(**config)).eval()


def pictures(n, c=1):
    return torch.rand(n, c, 32, 32, generator=torch.Generator().manual_seed(n)) * 2 - 1


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("classes", [0, 7])
def test_shapes_and_range(c, classes):
    y = torch.tensor([0, 6, 2, 2, 5]) if classes else None
    g, d = generator(channels=c, z=11, width=8, classes=classes), critic(channels=c, width=12, classes=classes)
    x = g(100 * torch.randn(5, 11), y)
    assert x.shape == (5, c, 32, 32) and x.abs().max() <= 1
    assert d(x, y).shape == (5,)


def test_a_picture_and_a_logit_do_not_depend_on_the_batch():
    g, d, z = generator(width=8), critic(width=8, spectral=True), torch.randn(6, 64)
    for mode in (g.eval(), g.train()):
        torch.testing.assert_close(mode(z)[2:3], mode(z[2:3]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(d(pictures(6))[4:], d(pictures(6)[4:]), rtol=1e-4, atol=1e-5)
    assert not [m for m in (*g.modules(), *d.modules()) if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def test_pure_in_eval():
    g, d, z = generator(width=8), critic(width=8, spectral=True), torch.randn(3, 64)
    assert torch.equal(g(z), g(z)) and torch.equal(d(pictures(3)), d(pictures(3)))
    before = {k: v.clone() for k, v in d.state_dict().items()}
    d(pictures(5))
    assert all(torch.equal(v, before[k]) for k, v in d.state_dict().items())


def test_upsampling_leaves_no_checkerboard():
    """From a constant 4x4 map the inside of the picture is constant, whatever the weights."""
    g = generator(width=8)
    nn.init.zeros_(g.stem.weight)
    g.stem.bias.data = torch.rand(4 * 8).repeat_interleave(16)  # one number a channel
    inside = g(torch.randn(2, 64))[:, :, 8:24, 8:24]
    torch.testing.assert_close(inside, inside[:, :, :1, :1].expand_as(inside), rtol=0, atol=1e-5)


def test_labels_change_the_picture():
    g, z = generator(width=8, classes=3), torch.randn(1, 64).expand(3, 64)
    x = g(z, torch.arange(3))
    assert min((x[i] - x[j]).abs().max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3


def test_the_label_is_projected_on_the_features():
    d, x, y = critic(width=8, classes=3), pictures(5), torch.tensor([2, 0, 1, 1, 2])
    seen = []
    handle = d.head.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0]))
    labelled = d(x, y)
    handle.remove()
    plain = (seen[0] * d.head.weight).sum(1) + d.head.bias
    torch.testing.assert_close(labelled, plain + (seen[0] * d.label.weight[y]).sum(1))


def test_spectral_norm_makes_the_largest_singular_value_one():
    d = critic(width=8, classes=3, spectral=True).train()
    y = torch.tensor([0, 1, 2])
    for _ in range(60):  # each forward is one power iteration
        d(pictures(3), y)
    for layer in (*d.down, d.head, d.label):
        top = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert top.item() == pytest.approx(1, abs=0.02)
    plain = critic(width=8)
    assert not list(plain.buffers()) and set(dict(plain.named_parameters())) >= {"down.0.weight", "head.weight"}


def test_a_spectral_norm_of_points_bounds_the_slope():
    torch.manual_seed(0)
    d = PointDiscriminator(PointConfig(dim=3, width=20, spectral=True))
    for p in d.parameters():
        p.data *= 30
    for _ in range(60):
        d(torch.randn(4, 3))
    a, b = torch.randn(2, 200, 3)
    assert ((d.eval()(a) - d(b)).abs() <= 1.01 * (a - b).norm(dim=1)).all()


def test_points():
    config = PointConfig(dim=3, z=5, width=7, depth=4)
    g, d = PointGenerator(config), PointDiscriminator(config)
    x = g(torch.randn(6, 5))
    assert x.shape == (6, 3) and d(x).shape == (6,)
    assert sum(isinstance(m, nn.Linear) for m in g.modules()) == 5
    assert sum(isinstance(m, nn.LeakyReLU) for m in d.modules()) == 4


def test_gradients_reach_every_parameter():
    g, d = generator(width=8, classes=3), critic(width=8, classes=3, spectral=True)
    y = torch.tensor([0, 1, 2])
    d(g(torch.randn(3, 64), y), y).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for m in (g, d) for p in m.parameters())


def test_meta_device():
    with torch.device("meta"):
        g, d = Generator(GeneratorConfig()), Discriminator(DiscriminatorConfig())
    assert d(g(torch.empty(2, 64, device="meta"))).shape == (2,)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (GeneratorConfig, "channels", 0),
        (GeneratorConfig, "z", 0),
        (GeneratorConfig, "width", 7),
        (GeneratorConfig, "classes", -1),
        (DiscriminatorConfig, "width", 8.0),
        (DiscriminatorConfig, "channels", True),
        (PointConfig, "depth", 0),
        (PointConfig, "dim", 0),
    ],
)
def test_bad_configs(config, field, value):
    with pytest.raises(ValueError, match=f"{field} must be an integer of at least"):
        config(**{field: value})


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GeneratorConfig().z = 3


def test_bad_inputs():
    g, d = generator(width=8), critic(width=8)
    with pytest.raises(ValueError, match=r"z must be \[B,64\]; got \[2, 63\]"):
        g(torch.zeros(2, 63))
    with pytest.raises(ValueError, match=r"x must be \[B,1,32,32\]; got \[2, 1, 28, 28\]"):
        d(torch.zeros(2, 1, 28, 28))
    for player, x in ((g, torch.zeros(2, 64)), (d, pictures(2))):
        with pytest.raises(ValueError, match="y must be left out"):
            player(x, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="y must be given"):
        generator(width=8, classes=2)(torch.zeros(2, 64))
    with pytest.raises(ValueError, match="y must be given"):
        critic(width=8, classes=2)(pictures(2))
