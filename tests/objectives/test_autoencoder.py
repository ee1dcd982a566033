"""The autoencoder's loss: sums for each sample, closed forms, weights, and a turn of the loop."""

import itertools

import pytest
import torch

from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig
from minidiff.models.patch_critic import PatchCritic, PatchCriticConfig
from minidiff.models.vq_autoencoder import VQAutoencoder, VQAutoencoderConfig
from minidiff.objectives import AutoencoderLoss, PatchCriticLoss, VQLoss
from minidiff.objectives.autoencoder import perceptual_distance
from minidiff.training import Turn, run

CONFIG = AutoencoderConfig(channels=2, latent=3, width=8, mults=(1, 2), groups=4, attention=False)


class Says(torch.nn.Module):
    """A model with known answers."""

    def __init__(self, out, mean, log_var):
        super().__init__()
        self.answer = out, mean, log_var

    def forward(self, x, eps):
        return self.answer


@pytest.mark.parametrize("power", (1, 2))
def test_terms_are_sums_over_a_samples_numbers(power):
    x, out = torch.randn(5, 2, 3, 4), torch.randn(5, 2, 3, 4)
    mean, log_var = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    terms = AutoencoderLoss(kl=0.5, power=power).terms(Says(out, mean, log_var), x, torch.zeros(5, 3, 2, 2))
    for i in range(5):
        error = sum(abs(a - b) ** power for a, b in zip(out[i].flatten().tolist(), x[i].flatten().tolist()))
        assert terms["reconstruction"][i].item() == pytest.approx(error, rel=1e-4)
    kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum((1, 2, 3))
    torch.testing.assert_close(terms["kl"], kl)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 0.5 * kl)


def test_the_perceptual_term_compares_directions():
    x, out = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    latents = torch.zeros(3, 3, 2, 2)
    loss = AutoencoderLoss(kl=0, features=lambda p: (p, 2 * p), perceptual=0.3)
    terms = loss.terms(Says(out, latents, latents), x, latents)
    torch.testing.assert_close(terms["perceptual"], 2 * 32 * perceptual_distance(out, x))
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 0.3 * terms["perceptual"])
    assert perceptual_distance(x, 5 * x).abs().max() < 1e-6


def test_latents_are_off_by_noise_of_many_deviations():
    seen = []

    class Model(torch.nn.Module):
        config = CONFIG

        def forward(self, x, eps, off=None):
            seen.append(off)
            return x, eps, torch.zeros_like(eps)

    torch.manual_seed(0)
    x = torch.zeros(3000, 2, 8, 8)
    AutoencoderLoss(off=0.8)(Model(), {"x": x})
    deviation = seen[0].square().mean((1, 2, 3)).sqrt()  # 0.8 u^2 for a uniform u, from 48 numbers each
    assert seen[0].shape == (3000, 3, 4, 4)
    assert deviation.quantile(0.5).item() == pytest.approx(0.2, rel=0.1)
    assert deviation.mean().item() == pytest.approx(0.8 / 3, rel=0.05) and deviation.max() < 1.1
    AutoencoderLoss()(Model(), {"x": x})
    assert seen[1] is None


def test_what_latents_are_off_by_is_in_their_scaled_units():
    torch.manual_seed(0)
    model, x = Autoencoder(CONFIG).double(), torch.rand(4, 2, 4, 4).double()
    model.scale.fill_(0.25)
    off = torch.randn_like(model.latents(x))
    found, mean, log_var = model(x, None, off)
    torch.testing.assert_close(found, model.pictures(model.latents(x) + off))
    torch.testing.assert_close((mean, log_var), model(x)[1:])


@pytest.mark.parametrize(
    "bad, message", [({"power": 3}, "power must be 1 or 2; got 3"), ({"kl": -1.0}, "kl must be at least 0; got -1.0")]
)
def test_bad_options_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderLoss(**bad)


def test_a_turn_of_the_loop_learns_a_batch():
    torch.manual_seed(0)
    model, x = Autoencoder(CONFIG), torch.rand(4, 2, 4, 4) * 2 - 1

    class Loader:
        def from_step(self, step):
            return itertools.repeat({"x": x})

    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    history = run([Turn(model, AutoencoderLoss(), optimizer)], Loader(), 150, progress=False)
    assert history["reconstruction"][-1] < 0.5 * history["reconstruction"][0]
    assert set(history) == {"loss", "reconstruction", "kl"}


class Score(torch.nn.Module):
    """A critic whose logits are the first channel, times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.weight * x[:, 0]


def test_the_adversarial_term_wants_high_logits_and_leaves_the_critic_alone():
    critic, x = Score(), torch.zeros(3, 2, 4, 4)
    out, latents = torch.randn(3, 2, 4, 4, requires_grad=True), torch.zeros(3, 3, 2, 2)
    loss = AutoencoderLoss(kl=0, critic=critic, adversarial=0.2)
    terms = loss.terms(Says(out, latents, latents), x, latents)
    want = torch.log1p((-1.5 * out[:, 0]).exp()).mean((1, 2)) * 32
    torch.testing.assert_close(terms["adversarial"], want)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 0.2 * want)
    terms["adversarial"].sum().backward()
    assert out.grad[:, 0].max() < 0 and critic.weight.grad is None and critic.weight.requires_grad


def test_the_critic_of_patches_has_the_hinge_loss_and_leaves_the_autoencoder_alone():
    torch.manual_seed(0)
    model, critic, x = Autoencoder(CONFIG), Score(), torch.randn(3, 2, 4, 4)
    torch.manual_seed(3)
    loss, logs = PatchCriticLoss(model)(critic, {"x": x})
    torch.manual_seed(3)
    found = model(x, torch.randn(3, 3, 2, 2))[0]
    assert not torch.allclose(found, model(x)[0], atol=1e-3)  # the mean would be another picture
    want = (1 - 1.5 * x[:, 0]).clamp_min(0).mean() + (1 + 1.5 * found[:, 0]).clamp_min(0).mean()
    torch.testing.assert_close(loss, want)
    loss.backward()
    assert critic.weight.grad is not None and all(p.grad is None for p in model.parameters())
    assert set(logs) == {"critic", "real", "fake"}


@pytest.mark.parametrize("make", (lambda: Score(), lambda: PatchCritic(PatchCriticConfig(channels=2, width=8))))
def test_two_turns_train_both(make):
    torch.manual_seed(0)
    model, critic, x = Autoencoder(CONFIG), make(), torch.rand(4, 2, 16, 16) * 2 - 1

    class Loader:
        def from_step(self, step):
            return itertools.repeat({"x": x})

    before = [next(m.parameters()).clone() for m in (model, critic)]
    turns = [
        Turn(model, AutoencoderLoss(critic=critic), torch.optim.AdamW(model.parameters(), 1e-3)),
        Turn(critic, PatchCriticLoss(model), torch.optim.AdamW(critic.parameters(), 1e-3)),
    ]
    history = run(turns, Loader(), 3, progress=False)
    assert {"adversarial", "critic", "real", "fake"} <= set(history)
    for old, player in zip(before, (model, critic), strict=True):
        assert not torch.equal(old, next(player.parameters()))


@pytest.mark.parametrize("power", (1, 2))
def test_the_quantised_loss_is_the_sum_of_its_parts(power):
    torch.manual_seed(0)
    model = VQAutoencoder(VQAutoencoderConfig(CONFIG, codes=9))
    x = torch.randn(5, 2, 4, 6)
    out, found = model(x)
    loss, logs = VQLoss(beta=0.7, power=power)(model, {"x": x})
    error = (out - x).abs().pow(power).mean()
    torch.testing.assert_close(loss, error + found.codebook.mean() + 0.7 * found.commitment.mean())
    torch.testing.assert_close(logs["commitment"], found.commitment.mean().detach())


@pytest.mark.parametrize(
    "bad, message", [({"power": 3}, "power must be 1 or 2; got 3"), ({"beta": -1.0}, "beta must be at least 0")]
)
def test_bad_options_of_the_quantised_loss_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        VQLoss(**bad)
