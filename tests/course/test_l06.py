"""Lesson 06: what its helpers train and draw, and how it agrees with the package."""

import matplotlib.pyplot as plt
import pytest
import torch
from answers import answers

from minidiff import data, metrics
from minidiff.course import l06_helpers as show
from minidiff.course import sheets
from minidiff.diffusion import Schedule
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig, measure_scale
from minidiff.models.posterior import DiagonalGaussian

answer = answers("06")


def test_answers_equal_the_package():
    x, y = (torch.rand(2, 3, 2, 6, 9) * 2 - 1)[:2]
    torch.testing.assert_close(answer("downsample")(x, 3), data.downsample(x, 3))
    torch.testing.assert_close(answer("psnr")(x, y).double(), metrics.psnr(x, y), rtol=1e-5, atol=1e-5)
    said, eps = DiagonalGaussian(x, y), torch.randn(3, 2, 6, 9)
    torch.testing.assert_close(answer("sample")(x, y, eps), said.sample(eps))
    torch.testing.assert_close(answer("kl_to_normal")(x, y), said.kl())
    schedule = Schedule.linear(50)
    torch.testing.assert_close(answer("snr")(schedule.alpha_bar[1:], 1.0), schedule.snr()[1:])
    model = Autoencoder(AutoencoderConfig(channels=2, latent=3, width=8, mults=(1, 2), groups=4))
    pictures = torch.randn(40, 2, 8, 8)
    found = answer("scale_factor")(model.encode(pictures).mean.detach()).item()
    assert found == pytest.approx(measure_scale(model, pictures), rel=1e-3)


def test_one_drawn_answer_errs_twice_as_much_as_the_best_guess():
    rng = torch.Generator().manual_seed(0)
    truth = torch.where(torch.rand(200_000, generator=rng) < 0.5, 1.0, -1.0)
    guess = answer("best_guess")(truth + torch.randn(200_000, generator=rng), 1.0, 0.5)
    draw = torch.where(torch.rand(200_000, generator=rng) < (guess + 1) / 2, 1.0, -1.0)
    ratio = (draw - truth).square().mean() / (guess - truth).square().mean()
    assert ratio.item() == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("loss", ("diffusion", "regression"))
def test_an_enlarger_trains(loss):
    torch.manual_seed(0)
    x = torch.rand(8, 1, 32, 32) * 2 - 1
    model = show.enlarger(x.repeat(8, 1, 1, 1), 2, loss=loss)
    low = data.downsample(x, show.FACTOR)
    assert show.regressed(model, low).shape == x.shape


def test_a_regression_learns_what_it_is_shown():
    torch.manual_seed(0)
    small = torch.rand(64, 1, 8, 8) * 2 - 1
    x = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    model = show.enlarger(x, 60, loss="regression", top=0)
    assert (show.regressed(model, small) - x).square().mean() < 0.5 * (x.mean() - x).square().mean()


def test_damage_is_mild_and_repeats():
    low = torch.rand(5, 1, 8, 8) * 2 - 1
    found = show.damaged(low, seed=3)
    assert torch.equal(found, show.damaged(low, seed=3)) and not torch.equal(found, show.damaged(low, seed=4))
    assert 0.01 < (found - low).square().mean() < 0.3 and found.abs().max() <= 1


def test_channels_stand_side_by_side():
    z = torch.stack([torch.full((4, 4), -3.0), torch.full((4, 4), 3.0)])[None]
    found = sheets.channels(z)
    assert found.shape == (1, 1, 4, 9)
    assert (found[..., :4] == -1).all() and (found[..., 5:] == 1).all() and (found[..., 4] == 1).all()


def test_drawings_work():
    sheets.sheet({"a": torch.zeros(3, 1, 8, 8), "b": torch.zeros(3, 3, 16, 16)})
    weights = {"0": 1.0, "0.1": 2.0}
    keys = ("psnr", "nats_a_picture", "psnr_under_noise", "frechet_distance_of_drawn_digits")
    show.trade(dict.fromkeys((*keys, "frechet_distance_of_reconstructions"), weights))
    assert len(plt.gcf().axes) == 3
    plt.close("all")


def test_a_table_has_dashes_where_nothing_was_measured(capsys):
    sheets.table({"right": {"a": 0.5}, "far_off": {"a": 1.25, "b": 3.0}}, ("a", "b"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["a", "b"] and lines[1].split() == ["right", "0.5", "-"]
    assert lines[2].split() == ["far", "off", "1.25", "3"]


def test_results_are_there_together_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    assert sheets.recorded("06_kl_", ("psnr",)) is None
    (tmp_path / "06_kl_psnr.json").write_text('{"value": {"0": 1.5}}')
    assert sheets.recorded("06_kl_", ("psnr",)) == {"psnr": {"0": 1.5}}
    assert sheets.recorded("06_kl_", ("psnr", "scale")) is None
