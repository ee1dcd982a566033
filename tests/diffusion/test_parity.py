"""Parity with diffusers, the field's reference, over random inputs and every level.

Its `timesteps` start at 0: our level t is its t - 1. Differences are taken relative to the largest reference value,
above 1. It cumulates its tables in float32, where 1 - alpha_bar_1 = 1e-4 keeps three digits; what divides by that is
compared with its own formulas on its own betas, cumulated in float64 (`precise`).
"""

import pytest
import torch

from minidiff.diffusion import Prediction, Schedule, ddim, ddpm, generators, randn

diffusers = pytest.importorskip("diffusers")

T, TOL = 1000, 1e-5
PAIRS = {
    "linear": (Schedule.linear(T), {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}),
    "cosine": (Schedule.cosine(T), {"beta_schedule": "squaredcos_cap_v2"}),
    "scaled_linear": (
        Schedule.scaled_linear(T),
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    ),
}
LEVELS = torch.arange(1, T + 1)


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


def far(ours, ref):
    assert ours.shape == ref.shape
    return ((ours - ref).abs().max() / ref.abs().max().clamp_min(1)).item()


def draw(*shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(T, *shape, generator=rng) for _ in range(2)]


def reference(kind, options, precise=False, **more):
    ref = getattr(diffusers, kind)(num_train_timesteps=T, clip_sample=False, **options, **more)
    if precise:
        ref.betas = ref.betas.double()
        ref.alphas = 1 - ref.betas
        ref.alphas_cumprod = ref.alphas.cumprod(0)
    return ref


def test_tables(pair):
    schedule, options = pair
    ref = reference("DDPMScheduler", options)
    assert far(schedule.alpha_bar[1:].float(), ref.alphas_cumprod) <= TOL
    assert far(schedule.betas.float(), ref.betas) <= TOL


def test_q_sample(pair):
    schedule, options = pair
    x0, eps = draw(3, 2, 5)
    ref = reference("DDPMScheduler", options).add_noise(x0, eps, LEVELS - 1)
    assert far(schedule.q_sample(x0, LEVELS, eps), ref) <= TOL


def test_v_target(pair):
    schedule, options = pair
    x0, eps = draw(3, 2, 5, seed=1)
    ref = reference("DDPMScheduler", options).get_velocity(x0, eps, LEVELS - 1)
    assert far(schedule.target("v", x0, eps, LEVELS), ref) <= TOL


def test_posterior_mean(pair, monkeypatch):
    schedule, options = pair
    x0, x_t = draw(2, 3, seed=2)
    ref = reference("DDPMScheduler", options, precise=True, prediction_type="sample")
    # Without noise, the mean alone is left.
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda shape, **_: torch.zeros(shape))
    expected = torch.cat([ref.step(x0[t : t + 1], t, x_t[t : t + 1]).prev_sample for t in range(T)])
    assert far(schedule.posterior(x0, x_t, LEVELS, LEVELS - 1).mean, expected) <= TOL


@pytest.mark.parametrize(("name", "log_var"), [("fixed_small", "log_var_min"), ("fixed_large", "log_var_max")])
def test_posterior_variance(pair, name, log_var):
    schedule, options = pair
    x0, x_t = draw(1, seed=3)
    ref = reference("DDPMScheduler", options, variance_type=name)
    expected = torch.stack([ref._get_variance(t) for t in range(T)])
    got = getattr(schedule.posterior(x0, x_t, LEVELS, LEVELS - 1), log_var).exp().squeeze(1)
    assert far(got[1:], expected[1:]) <= TOL
    if name == "fixed_small":  # beta-tilde_1 is 0; the reference clamps it at 1e-20, we at beta-tilde_2
        assert far(got[:1], expected[1:2]) <= TOL


def test_logarithms_of_variances(pair):
    """An absolute comparison says little where variances are 1e-5."""
    schedule, options = pair
    ref = reference("DDPMScheduler", options, precise=True, variance_type="fixed_small_log")
    expected = torch.stack([2 * ref._get_variance(t).log() for t in range(1, T)])
    one = torch.ones(T, 1)
    got = schedule.posterior(one, one, LEVELS, LEVELS - 1).log_var_min.squeeze(1)[1:]
    assert far(got, expected) <= TOL


def follow(sampler, schedule, shape, steps, **options):
    """Runs a sampler on an imperfect prediction; yields (t, s, x before, eps, noise drawn, x after) of each move."""
    seen, rngs, rng = [], generators([4, 5]), torch.Generator().manual_seed(6)
    x = randn(shape, rngs)
    drawn = generators([4, 5])  # the same streams, to know the noise that the sampler adds
    randn(shape, drawn)

    def denoise(x_t, t):
        noise = schedule.coefficients(t, x_t)[1]
        eps = noise * x_t + 0.3 * torch.randn(x_t.shape, generator=rng)  # keeps x near unit variance
        seen.append((x_t, eps))
        return Prediction(*schedule.split("eps", eps, x_t, t))

    before = T
    for step in sampler(denoise, schedule, x, steps, rngs=rngs, **options):
        x_t, eps = seen[-1]
        yield before, step.t, x_t, eps, drawn, step.x
        before = step.t


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("steps", [T, 40])
def test_ddim(pair, eta, steps):
    schedule, options = pair
    ref = reference("DDIMScheduler", options, set_alpha_to_one=True)
    ref.set_timesteps(steps)
    shape, count = (2, 3), 0
    for t, s, x, eps, drawn, after in follow(ddim, schedule, shape, steps, eta=eta):
        assert t - s == T // steps
        noise = randn(shape, drawn) if eta and s else torch.zeros_like(x)
        expected = ref.step(eps, t - 1, x, eta=eta, variance_noise=noise if eta else None).prev_sample
        assert far(after, expected) <= TOL, (t, s)
        count += 1
    assert count == steps


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm(pair, variance, monkeypatch):
    schedule, options = pair
    ref = reference("DDPMScheduler", options, precise=True, variance_type=f"fixed_{variance}")
    shape, count = (2, 3), 0
    for t, s, x, eps, drawn, after in follow(ddpm, schedule, shape, None, variance=variance):
        noise = randn(shape, drawn) if s else torch.zeros_like(x)
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, noise=noise, **__: noise)
        assert far(after, ref.step(eps, t - 1, x).prev_sample) <= TOL, (t, s)
        count += 1
    assert count == T
