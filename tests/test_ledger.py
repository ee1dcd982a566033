"""The notation ledger of the book, row by row: the variable is there, is so named, and is what the page says."""

import inspect
import math
import re
from pathlib import Path

import pytest
import torch

from minidiff import data, diffusion, metrics, objectives, pretrained
from minidiff.diffusion import Schedule, ddim, ddpm, denoiser
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig, measure_scale
from minidiff.models.clip import CLIP, CLIPConfig
from minidiff.models.gan import PointConfig, PointGenerator
from minidiff.models.image_encoders import ViTConfig
from minidiff.models.text_encoders import TextTransformerConfig

LEDGER = Path(__file__).resolve().parents[1] / "book" / "notation.md"
B, C, H, W, D, T, Z = 5, 2, 3, 4, 6, 40, 7
SHAPE = (B, C, H, W)


def rows():
    """Variable cell -> shape cell, for each row of the page."""
    lines = [line.split("|")[1:-1] for line in LEDGER.read_text("utf-8").splitlines() if line.startswith("| $")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return {cell[1]: cell[2] for cell in cells}


def parameters(function):
    return inspect.signature(function).parameters


schedule = Schedule.linear(T, 1e-3, 0.2)
t = torch.tensor([1, 2, 17, 39, 40])
rng = torch.Generator().manual_seed(0)
x0, eps = (torch.randn(SHAPE, generator=rng, dtype=torch.float64) for _ in range(2))
signal, noise = schedule.coefficients(t, x0)
power = torch.cumprod(1 - torch.linspace(1e-3, 0.2, T, dtype=torch.float64), 0)  # alpha-bar, by another road


def near(a, b):
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    return True


def x0_is_a_picture_in_range():
    batch = data.load("digits", "test")
    assert batch["x"].ndim == 4 and batch["x"].min() == -1 and batch["x"].max() == 1
    return {"x0", "t", "eps"} <= set(parameters(Schedule.q_sample)) and "x0" in diffusion.Prediction._fields


def x_t_has_the_noise_of_its_level():
    a = power[t - 1].view(B, 1, 1, 1)
    near(schedule.q_sample(x0, t, eps), a.sqrt() * x0 + (1 - a).sqrt() * eps)
    return "x_t" in parameters(Schedule.split) and "x_t" in parameters(Schedule.posterior)


def eps_is_the_noise_and_its_prediction():
    near(schedule.target("eps", x0, eps, t), eps)
    found = denoiser(lambda x_t, t: eps, schedule)(schedule.q_sample(x0, t, eps), t)
    return near(found.eps, eps) and near(found.x0, x0)


def v_is_the_mixture():
    a = power[t - 1].view(B, 1, 1, 1)
    return near(schedule.target("v", x0, eps, t), a.sqrt() * eps - (1 - a).sqrt() * x0)


def y_is_the_class_and_one_more_means_any():
    y = data.load("digits", "test")["y"]
    assert y.shape == (len(y),) and set(y.tolist()) == set(range(10))
    card = pretrained.load("mnist-ddpm").card
    return card["diffusion"]["null_class"] == card["model"]["config"]["classes"] == 10


def T_counts_the_levels():
    return schedule.T == T and len(schedule.betas) == T


def t_runs_from_1_to_T_and_0_is_clean():
    seen = []

    def model(x_t, t):
        seen.extend(t.tolist())
        return x_t

    small, loss = Schedule.linear(3, 0.1, 0.2), {"x": torch.zeros(500, 1, 1, 1)}
    objectives.DiffusionLoss(small)(model, loss)
    assert set(seen) == {1, 2, 3}
    return near(schedule.q_sample(x0, torch.zeros_like(t), eps), x0)


def s_is_the_level_of_the_next_step():
    s = torch.tensor([0, 1, 5, 20, 39])
    near(schedule.posterior(x0, x0, t, torch.zeros_like(t)).mean, x0)  # at s = 0 there is nothing left to know
    moves = [step.t for step in ddpm(denoiser(lambda x, t: x, schedule), schedule, x0.clone(), 4)]
    return moves[-1] == 0 and s.shape == (B,) and "s" in parameters(Schedule.posterior)


def beta_is_the_variance_of_one_step():
    assert "betas" in parameters(Schedule.from_betas)
    return near(schedule.betas, torch.linspace(1e-3, 0.2, T, dtype=torch.float64))


def alpha_bar_starts_at_1():
    return (
        schedule.alpha_bar[0] == 1 and schedule.alpha_bar.dtype == torch.float64 and near(schedule.alpha_bar[1:], power)
    )


def signal_is_the_factor_of_x0():
    assert "signal, noise = self.coefficients" in inspect.getsource(Schedule.q_sample)
    return near(signal.flatten(), power[t - 1].sqrt())


def noise_is_the_factor_of_eps():
    return near(noise.flatten(), (1 - power[t - 1]).sqrt())


def snr_is_signal_over_noise():
    return near(schedule.snr()[1:], power / (1 - power)) and math.isinf(schedule.snr()[0])


def the_two_bounds_of_the_reverse_variance():
    assert parameters(ddpm)["variance"].default == "small"
    s = t - 1
    found = schedule.posterior(x0, x0, t, s)
    near(found.log_var_max.exp().flatten(), schedule.betas[t - 1])
    before = schedule.alpha_bar[s]
    tilde = schedule.betas[t - 1] * (1 - before) / (1 - power[t - 1])
    return near(found.log_var_min.exp().flatten()[1:], tilde[1:])  # at t = 1 it is 0, and floored


def eta_is_0_without_noise_and_1_for_ddpm():
    one = Schedule.linear(T, 1e-3, 0.2)
    fixed = denoiser(lambda x, t: 0.3 * x, one)
    still = [list(ddim(fixed, one, x0, 5, eta=0.0, rngs=diffusion.generators(range(k, k + B))))[-1].x for k in (0, 9)]
    assert torch.equal(*still)
    moving = [
        next(iter(walk)).x
        for walk in (
            ddim(fixed, one, x0, 5, eta=1.0, rngs=diffusion.generators(range(B))),
            ddpm(fixed, one, x0, 5, rngs=diffusion.generators(range(B))),
        )
    ]
    torch.testing.assert_close(*moving, rtol=1e-6, atol=1e-6)
    return True


def scale_is_0_without_and_1_with_the_condition():
    def ask(x_t, t, y):
        value = y.view(-1, 1, 1, 1).expand_as(x_t).to(x_t.dtype)
        return diffusion.Prediction(value, -value)

    y, null = {"y": torch.full((B,), 3.0)}, {"y": torch.tensor([7.0])}
    found = [diffusion.classifier_free(ask, y, null, scale=w)(x0, t).x0.unique().tolist() for w in (0.0, 1.0, 2.0)]
    return found == [[7.0], [3.0], [-1.0]] and "scale" in parameters(diffusion.classifier_guided)


def vlb_weighs_the_bound():
    def model(x_t, t):
        return torch.cat([0.5 * x_t, torch.zeros_like(x_t)], 1)

    terms = objectives.DiffusionLoss(schedule, vlb=0.01).terms(model, x0, t, eps)
    return near(terms["loss"], terms["mse"] + 0.01 * T * terms["vlb"])


def mean_and_cov_are_moments_of_features():
    features = torch.randn(50, D, generator=rng, dtype=torch.float64)
    found = metrics.moments(features)
    return near(found.mean, features.mean(0)) and near(found.cov, torch.cov(features.T))


def k_is_which_neighbour():
    real, fake = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[5.5], [5.6], [9.0]])
    found = [metrics.precision_recall(real, fake, k=k).precision for k in (1, 2)]
    return found[0] == 0 and found[1] == pytest.approx(2 / 3)  # 3 reaches to 1 (k = 1), or to 0 (k = 2)


slope = torch.tensor([3.0, 4.0])  # of a critic whose gradient has the length 5 everywhere
points, z = torch.randn(B, 2, generator=rng), torch.randn(B, Z, generator=rng)


def critic_terms(**weights):
    generator = PointGenerator(PointConfig(z=Z))
    return objectives.CriticLoss(generator, Z, **weights).terms(lambda x: x @ slope, points, z, torch.rand(B))


def z_is_the_generators_noise():
    assert PointGenerator(PointConfig(z=Z))(z).shape == (B, 2)
    return "z" in parameters(objectives.CriticLoss.terms) and "z" in parameters(objectives.GeneratorLoss.terms)


def r1_weighs_half_the_squared_gradient():
    torch.manual_seed(0)
    plain = critic_terms()["critic"]
    torch.manual_seed(0)
    return torch.allclose(critic_terms(r1=0.6)["critic"] - plain, torch.full((B,), 0.3 * 25), rtol=1e-4)


def gp_weighs_the_squared_distance_from_1():
    torch.manual_seed(0)
    plain = critic_terms()["critic"]
    torch.manual_seed(0)
    return torch.allclose(critic_terms(gp=10.0)["critic"] - plain, torch.full((B,), 10 * 16.0), rtol=1e-4)


clip = CLIP(CLIPConfig(ViTConfig(size=8, width=8, layers=1), TextTransformerConfig(width=8, layers=1), dim=D))
images, texts, factor = clip(torch.randn(B, 3, 8, 8), torch.tensor([[1, 5, 2]] * B))


def images_and_texts_have_length_1():
    torch.testing.assert_close(images.norm(dim=1), torch.ones(B))
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(B))
    return {"images", "texts"} <= set(parameters(objectives.contrastive))


def logit_scale_is_a_logarithm():
    return torch.equal(clip.logit_scale.exp(), factor)


LATENT = AutoencoderConfig(channels=C, latent=Z, width=8, mults=(1, 2), groups=4, attention=False)
h, w = 8, 9
torch.manual_seed(0)
autoencoder, pictures = Autoencoder(LATENT), torch.randn(B, C, h * LATENT.factor, w * LATENT.factor)
latents = autoencoder.encode(pictures)
small = data.degrade(LATENT.factor)({"x": pictures})


def mean_and_log_var_say_what_a_latent_is():
    assert {"mean", "log_var"} == set(latents._fields)
    return torch.allclose(latents.sample(torch.ones(B, Z, h, w)), latents.mean + latents.log_var.exp().sqrt())


def kl_weighs_the_divergence():
    eps = torch.zeros(B, Z, h, w)
    terms = objectives.AutoencoderLoss(kl=0.3).terms(autoencoder, pictures, eps)
    return torch.allclose(terms["loss"], terms["reconstruction"] + 0.3 * latents.kl())


def scale_gives_latents_variance_1():
    measure_scale(autoencoder, pictures)
    return autoencoder.latents(pictures).std().item() == pytest.approx(1, rel=1e-5)


def low_is_small_and_low_t_its_level():
    return torch.equal(small["low"], data.downsample(pictures, LATENT.factor)) and not small["low_t"].any()


L = 10
TOWERS = ViTConfig(size=8, width=8, layers=1, heads=2), TextTransformerConfig(9, length=L, width=D, layers=1, heads=2)
reader = CLIP(CLIPConfig(*TOWERS, dim=5)).eval()
asked = data.WordTokenizer(["a", "red", "star", "blue", "box"], length=L)(["a red star", "", "a box", "blue", "red"])
heard = reader.text.tokens(asked["tokens"])


def text_and_mask_are_a_caption():
    from minidiff.models.unet import UNet, UNetConfig

    unet = UNet(UNetConfig(channels=C, width=8, mults=(1,), blocks=1, head_dim=4, attention=(0,), text=D)).eval()
    for parameter in unet.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x_t = torch.randn(B, C, 4, 4)
    said = unet(x_t, t, text=heard, mask=asked["mask"])
    padding = heard.masked_fill(asked["mask"][..., None], 0.0)
    return torch.allclose(said, unet(x_t, t, text=heard + 5 * padding, mask=asked["mask"]), atol=1e-5)


# Variable cell of the page -> what holds it; the shapes of the page are checked apart.
HOLDS = {
    "`x0`": x0_is_a_picture_in_range,
    "`x_t`": x_t_has_the_noise_of_its_level,
    "`eps`": eps_is_the_noise_and_its_prediction,
    "`v`": v_is_the_mixture,
    "`y`": y_is_the_class_and_one_more_means_any,
    "`schedule.T`": T_counts_the_levels,
    "`t`": t_runs_from_1_to_T_and_0_is_clean,
    "`s`": s_is_the_level_of_the_next_step,
    "`betas[t-1]`": beta_is_the_variance_of_one_step,
    "`alpha_bar[t]`": alpha_bar_starts_at_1,
    "`signal`": signal_is_the_factor_of_x0,
    "`noise`": noise_is_the_factor_of_eps,
    "`schedule.snr()`": snr_is_signal_over_noise,
    '`variance="large"`, `"small"`': the_two_bounds_of_the_reverse_variance,
    "`eta`": eta_is_0_without_noise_and_1_for_ddpm,
    "`scale`": scale_is_0_without_and_1_with_the_condition,
    "`vlb`": vlb_weighs_the_bound,
    "`mean`, `cov`": mean_and_cov_are_moments_of_features,
    "`k`": k_is_which_neighbour,
    "`z`": z_is_the_generators_noise,
    "`r1`": r1_weighs_half_the_squared_gradient,
    "`gp`": gp_weighs_the_squared_distance_from_1,
    "`images`, `texts`": images_and_texts_have_length_1,
    "`logit_scale`": logit_scale_is_a_logarithm,
    "`mean`, `log_var`": mean_and_log_var_say_what_a_latent_is,
    "`kl`": kl_weighs_the_divergence,
    "`autoencoder.scale`": scale_gives_latents_variance_1,
    "`low`, `low_t`": low_is_small_and_low_t_its_level,
    "`text`, `mask`": text_and_mask_are_a_caption,
}
log_bounds = schedule.posterior(x0, x0, t, t - 1)[1:]
found_moments = metrics.moments(torch.randn(50, D, generator=rng))
SHAPES = {
    "`x0`": [x0], "`y`": [t], "`t`": [t], "`s`": [t - 1], "`betas[t-1]`": [schedule.betas],
    "`alpha_bar[t]`": [schedule.alpha_bar], "`signal`": [signal], "`noise`": [noise],
    '`variance="large"`, `"small"`': log_bounds, "`mean`, `cov`": found_moments, "`z`": [z],
    "`images`, `texts`": [images, texts], "`mean`, `log_var`": [latents.mean, latents.log_var],
    "`low`, `low_t`": [small["low"], small["low_t"]], "`text`, `mask`": [heard, asked["mask"]],
}  # fmt: skip


@pytest.mark.parametrize("variable", rows())
def test_row(variable):
    assert variable in HOLDS, f"nothing holds {variable}: add it to HOLDS of this file"
    assert HOLDS[variable]()


def test_every_check_has_its_row():
    assert set(HOLDS) == set(rows())


@pytest.mark.parametrize("variable", SHAPES)
def test_shapes_are_those_of_the_page(variable):
    sizes = {"B": B, "C": C, "H": H, "W": W, "D": D, "T": T, "T+1": T + 1, "Z": Z, "1": 1, "h": h, "w": w,
             "L": L}  # fmt: skip
    written = [tuple(sizes[n] for n in found.split(",")) for found in re.findall(r"\[([^]]+)\]", rows()[variable])]
    tensors = SHAPES[variable]
    assert [tuple(x.shape) for x in tensors] == (written * len(tensors) if len(written) == 1 else written)


def test_rows_with_a_shape_are_all_checked():
    with_shape = {variable for variable, shape in rows().items() if "[" in shape}
    assert with_shape == set(SHAPES)
