"""Autoencoders: equal to diffusers', latents of unit variance, and closed forms of their distributions."""

import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig, measure_scale
from minidiff.models.posterior import DiagonalGaussian
from minidiff.models.quantiser import VectorQuantiser, perplexity

SMALL = AutoencoderConfig(channels=2, latent=3, width=8, mults=(1, 2), blocks=1, groups=4)


def posterior(dtype=torch.float64):
    return DiagonalGaussian.of(torch.randn(3, 4, 5, 2, dtype=dtype))


@pytest.mark.parametrize("config", (SMALL, replace(SMALL, attention=False, mults=(1, 2, 3), blocks=2)))
def test_shapes(config):
    model, f = Autoencoder(config), config.factor
    x = torch.randn(3, 2, 8, 4 * f)
    out, mean, log_var = model(x)
    assert out.shape == x.shape and mean.shape == log_var.shape == (3, 3, 8 // f, 4)
    assert type(config)(**asdict(config)) == config


def test_without_noise_it_is_deterministic_and_with_noise_a_sample():
    model, x = Autoencoder(SMALL).eval(), torch.randn(2, 2, 4, 6)
    eps = torch.randn(2, 3, 2, 3)
    assert torch.equal(model(x)[0], model(x)[0])
    found, mean, log_var = model(x, eps)
    torch.testing.assert_close(found, model.decode(mean + (log_var / 2).exp() * eps))
    torch.testing.assert_close(model(x)[0], model.decode(mean))


def test_scaled_latents_have_unit_variance_and_come_back():
    model, x = Autoencoder(SMALL).eval(), torch.rand(40, 2, 8, 8) * 2 - 1
    scale = measure_scale(model, x, batch=7)
    with torch.no_grad():
        latents = model.latents(x)
        assert latents.std().item() == pytest.approx(1, rel=1e-5) and scale == model.scale.item()
        torch.testing.assert_close(model.pictures(latents), model(x)[0], rtol=1e-4, atol=1e-5)
    assert "scale" in model.state_dict()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"latent": 0}, "latent must be an integer of at least 1; got 0"),
        ({"groups": 3}, "groups must divide width; got 3 and 8"),
        ({"mults": ()}, "mults must be one or more integers"),
    ],
)
def test_a_bad_config_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize("shape", ((1, 3, 8, 8), (1, 2, 7, 8), (2, 8, 8)))
def test_a_bad_picture_is_named(shape):
    with pytest.raises(ValueError, match=r"x must be \[B,2,H,W\] with H and W multiples of 2; got"):
        Autoencoder(SMALL).encode(torch.zeros(shape))


def randomised(model):
    for p in model.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return model.eval()


@pytest.mark.parametrize("attention", (True, False))
def test_equals_diffusers(attention):
    diffusers = pytest.importorskip("diffusers")
    theirs = randomised(diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 16, 16), layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, norm_num_groups=4,
        scaling_factor=0.3, mid_block_add_attention=attention,
    ))  # fmt: skip
    ours = Autoencoder.from_diffusers(theirs)
    x, z = torch.randn(2, 3, 16, 24), torch.randn(2, 4, 4, 6)
    with torch.no_grad():
        want, found = theirs.encode(x).latent_dist, ours.encode(x)
        for a, b in ((found.mean, want.mean), (found.log_var, want.logvar), (ours.decode(z), theirs.decode(z).sample)):
            assert (a - b).abs().max() <= 1e-5 * max(1, b.abs().max())
    assert ours.scale.item() == pytest.approx(0.3)


def test_another_layout_is_named():
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, down_block_types=("AttnDownEncoderBlock2D",)
    )
    with pytest.raises(ValueError, match="down_block_types of the model must be DownEncoderBlock2D; got Attn"):
        Autoencoder.from_diffusers(theirs)
    theirs = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
    theirs.extra = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"does not fit an Autoencoder in \['extra.bias', 'extra.weight'\]"):
        Autoencoder.from_diffusers(theirs)


def test_gaussian_equals_diffusers():
    vae = pytest.importorskip("diffusers.models.autoencoders.vae")
    parameters = torch.randn(3, 4, 5, 2, dtype=torch.float64) * 20  # some log-variances beyond the clamp
    ours, theirs = DiagonalGaussian.of(parameters), vae.DiagonalGaussianDistribution(parameters)
    z = torch.randn(3, 2, 5, 2, dtype=torch.float64)
    torch.testing.assert_close(ours.kl(), theirs.kl())
    torch.testing.assert_close(ours.nll(z), theirs.nll(z))
    torch.testing.assert_close(ours.mean, theirs.mode())
    eps = torch.randn(3, 2, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(ours.sample(eps), theirs.sample(torch.Generator().manual_seed(5)))


def test_kl_is_that_of_torch():
    p = posterior()
    one = torch.distributions.Normal(p.mean, (p.log_var / 2).exp())
    want = torch.distributions.kl_divergence(one, torch.distributions.Normal(0.0, 1.0)).flatten(1).sum(1)
    torch.testing.assert_close(p.kl(), want)
    z = torch.randn_like(p.mean)
    torch.testing.assert_close(p.nll(z), -one.log_prob(z).flatten(1).sum(1))


def test_extreme_variances_stay_finite():
    p = DiagonalGaussian.of(torch.tensor([[0.0, 0.0, -1e9, 1e9]]))
    assert p.log_var.tolist() == [[-30, 20]] and p.kl().isfinite().all()
    with pytest.raises(ValueError, match=r"parameters must be \[B,2Z,...\]; got \[2, 3\]"):
        DiagonalGaussian.of(torch.zeros(2, 3))


def test_quantiser_equals_diffusers():
    vae = pytest.importorskip("diffusers.models.autoencoders.vae")
    theirs, ours = vae.VectorQuantizer(7, 3, beta=0.25, legacy=False), VectorQuantiser(7, 3)
    theirs.embedding.weight.data.normal_()
    ours.table.weight.data.copy_(theirs.embedding.weight)
    grads = []
    for model in (theirs, ours):
        z = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
        if model is theirs:
            out, loss, (_, _, codes) = model(z)
        else:
            found = model(z)
            out, codes = found.z, found.codes.flatten()
            loss = (found.codebook + 0.25 * found.commitment).mean()
        (loss + (out * torch.arange(4.0)).sum()).backward()
        table = model.embedding.weight if model is theirs else model.table.weight
        grads.append((out, loss, codes, z.grad, table.grad))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_quantiser_takes_the_nearest():
    model = VectorQuantiser(2, 2)
    model.table.weight.data = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    z = torch.tensor([[[[0.1, 0.9]], [[0.2, 0.8]]]])  # [1,2,1,2]
    found = model(z)
    assert found.codes.tolist() == [[[0, 1]]]
    assert torch.equal(model.look_up(found.codes), found.z)
    assert found.codebook.item() == pytest.approx((0.1**2 + 0.2**2 + 0.1**2 + 0.2**2) / 4)
    with pytest.raises(ValueError, match=r"z must be \[B,2,h,w\]; got \[1, 3, 1, 1\]"):
        model(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match="codes must be an integer of at least 1; got 0"):
        VectorQuantiser(0, 2)


def test_perplexity_counts_what_is_in_use():
    assert perplexity(torch.zeros(5, dtype=torch.long), 9) == 1
    codes = torch.tensor([0, 0, 0, 1])
    assert perplexity(codes, 4) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_it_overfits_a_batch():
    torch.manual_seed(0)
    model, x = Autoencoder(replace(SMALL, channels=1)), torch.randn(2, 1, 4, 4)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    first = (model(x)[0] - x).square().mean().item()
    for _ in range(120):
        optimizer.zero_grad()
        loss = (model(x)[0] - x).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 * first
