"""The autoencoder's loss: sums for each sample, closed forms, weights, and a turn of the loop."""

import itertools

import pytest
import torch

from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig
from minidiff.objectives import AutoencoderLoss
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
