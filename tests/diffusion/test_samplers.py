"""Samplers: identities in float64, and closed-form optimal denoisers whose data distribution must come back."""

import math

import pytest
import torch

from minidiff.diffusion import (
    Prediction,
    Schedule,
    clipped,
    ddim,
    ddpm,
    denoiser,
    final,
    generators,
    invert,
    randn,
    timesteps,
)

SCHEDULE = Schedule.linear(30, 0.005, 0.3)
FALLING = Schedule.from_betas(torch.tensor([0.4, 0.3, 0.15, 0.2, 0.05, 0.3, 0.5]))


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def curvy(schedule, var=None):
    """A nonlinear denoiser that depends on x and t."""

    def denoise(x_t, t):
        level = t.view(-1, *[1] * (x_t.ndim - 1)).to(x_t) / schedule.T
        x0 = torch.tanh(x_t.roll(1, -1) * 1.3 - level)
        v = None if var is None else torch.full_like(x_t, var)
        return Prediction(x0, schedule.split("x0", x0, x_t, t)[1], v)

    return denoise


def same(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


# Levels


@pytest.mark.parametrize("T", [1, 2, 7, 60])
def test_any_number_of_steps_goes_from_T_to_0(T):
    for steps in range(1, T + 1):
        ts = timesteps(T, steps)
        assert len(ts) == steps + 1 and ts[0] == T and ts[-1] == 0
        assert all(s < t for t, s in zip(ts, ts[1:]))
        gaps = [t - s for t, s in zip(ts, ts[1:])]
        assert max(gaps) - min(gaps) <= 1 + (T % steps > 0)  # even, but for rounding


def test_thirty_steps_of_a_thousand_are_thirty():
    """A stride of 1000 // 30 would make 31, or stop short of either end."""
    ts = timesteps(1000, 30)
    assert len(ts) == 31 and ts[:2] == [1000, 967] and ts[-2:] == [33, 0]


def test_levels_can_be_given():
    assert timesteps(10, [10, 3]) == timesteps(10, [10, 3, 0]) == [10, 3, 0]
    assert timesteps(10) == list(range(10, -1, -1))


@pytest.mark.parametrize("steps", [0, -1, 11, [9, 3], [10, 3, 3], [10, 3, 5], [10, 0, 0], [], [0], [10, 3, -1]])
def test_levels_that_are_none_are_refused(steps):
    with pytest.raises(ValueError, match="steps must"):
        timesteps(10, steps)


def test_samplers_visit_the_levels():
    for sampler in (ddpm, ddim):
        steps = list(sampler(curvy(SCHEDULE), SCHEDULE, normal(2, 3), [30, 20, 5, 1]))
        assert [step.t for step in steps] == [20, 5, 1, 0]
    rising = list(invert(curvy(SCHEDULE), SCHEDULE, normal(2, 3), [30, 20, 5, 1]))
    assert [step.t for step in rising] == [1, 5, 20, 30]


# Identities


@pytest.mark.parametrize("schedule", [SCHEDULE, FALLING])
@pytest.mark.parametrize("steps", [None, 4, 1])
def test_ddim_at_eta_1_is_ddpm_with_the_same_noise(schedule, steps):
    x, seeds = normal(3, 2, 5), [4, 5, 6]
    one = ddpm(curvy(schedule), schedule, x, steps, rngs=generators(seeds))
    two = ddim(curvy(schedule), schedule, x, schedule.T if steps is None else steps, eta=1.0, rngs=generators(seeds))
    for a, b in zip(one, two, strict=True):
        assert a.t == b.t
        same(a.x, b.x)
        same(a.x0, b.x0)


def test_ddim_against_the_paper():
    """Song et al. (2021), eq. 12, written out with plain numbers."""
    x, eta, ts = normal(1, 1), 0.6, [30, 17, 4, 0]
    denoise, (rng,) = curvy(SCHEDULE), generators([9])
    steps = list(ddim(denoise, SCHEDULE, x, ts, eta=eta, rngs=generators([9])))
    for t, s, step in zip(ts, ts[1:], steps, strict=False):
        a_t, a_s = SCHEDULE.alpha_bar[t].item(), SCHEDULE.alpha_bar[s].item()
        p = denoise(x, torch.tensor([t]))
        sigma = eta * math.sqrt((1 - a_s) / (1 - a_t)) * math.sqrt(1 - a_t / a_s)
        x = math.sqrt(a_s) * (x - math.sqrt(1 - a_t) * p.eps) / math.sqrt(a_t) + math.sqrt(1 - a_s - sigma**2) * p.eps
        if s:
            x = x + sigma * torch.randn(1, generator=rng).double()
        same(step.x, x)


@pytest.mark.parametrize("sampler", [ddpm, ddim])
def test_fewer_steps_are_all_steps_of_a_respaced_schedule(sampler):
    ts = [30, 22, 9, 8, 1, 0]
    betas = [1 - SCHEDULE.alpha_bar[t] / SCHEDULE.alpha_bar[s] for t, s in zip(ts, ts[1:])]
    short = Schedule.from_betas(torch.stack(betas[::-1]))
    level = torch.tensor(ts[::-1])
    options = {} if sampler is ddpm else {"eta": 0.7}
    x, denoise = normal(3, 4), curvy(SCHEDULE)
    long = sampler(denoise, SCHEDULE, x, ts, rngs=generators([1, 2, 3]), **options)
    renamed = sampler(lambda x_t, t: denoise(x_t, level[t]), short, x, 5, rngs=generators([1, 2, 3]), **options)
    for a, b in zip(long, renamed, strict=True):
        same(a.x, b.x)


@pytest.mark.parametrize(("fraction", "variance"), [(0.0, "small"), (1.0, "large")])
def test_learned_variance_lies_between_small_and_large(fraction, variance):
    x, seeds = normal(3, 4), [1, 2, 3]
    learned = ddpm(curvy(SCHEDULE, fraction), SCHEDULE, x, 6, rngs=generators(seeds))
    fixed = ddpm(curvy(SCHEDULE), SCHEDULE, x, 6, variance=variance, rngs=generators(seeds))
    same(final(learned), final(fixed))


def test_learned_variance_is_interpolated_in_the_logarithm():
    x = normal(1, 1)
    noise = randn([1], generators([1]), like=x)
    step = next(ddpm(curvy(SCHEDULE, 0.25), SCHEDULE, x, [30, 12], rngs=generators([1])))
    a_t, a_s = SCHEDULE.alpha_bar[30].item(), SCHEDULE.alpha_bar[12].item()
    beta = 1 - a_t / a_s
    small = beta * (1 - a_s) / (1 - a_t)
    mean = math.sqrt(a_s) * beta / (1 - a_t) * step.x0 + math.sqrt(a_t / a_s) * (1 - a_s) / (1 - a_t) * x
    same(step.x, mean + math.sqrt(beta**0.25 * small**0.75) * noise)


@pytest.mark.parametrize("sampler", ["small", "large", "learned", "ddim 1"])
@pytest.mark.parametrize("steps", [30, 3, 1])
def test_the_last_step_adds_no_noise(sampler, steps):
    x, rngs = normal(3, 4), generators([1, 2, 3])
    if sampler == "ddim 1":
        run = ddim(curvy(SCHEDULE), SCHEDULE, x, steps, eta=1.0, rngs=rngs)
    elif sampler == "learned":
        run = ddpm(curvy(SCHEDULE, 1.0), SCHEDULE, x, steps, rngs=rngs)
    else:
        run = ddpm(curvy(SCHEDULE), SCHEDULE, x, steps, variance=sampler, rngs=rngs)
    *_, last = run
    assert last.t == 0
    same(last.x, last.x0)
    drawn = torch.randn(4, generator=rngs[0])  # steps - 1 draws came before
    (fresh,) = generators([1])
    for _ in range(steps):
        expected = torch.randn(4, generator=fresh)
    assert torch.equal(drawn, expected)


def test_samplers_leave_their_input_alone_and_gradients_on_outside():
    x = normal(2, 3).requires_grad_()
    before = x.detach().clone()
    for run in (ddpm(curvy(SCHEDULE), SCHEDULE, x, 3), ddim(curvy(SCHEDULE), SCHEDULE, x, 3)):
        for step in run:
            assert torch.is_grad_enabled() and not step.x.requires_grad
    assert torch.equal(x, before)


# Closed-form optimal denoisers: what goes in must come out.

LONG = Schedule.linear(1000)
MEAN = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.5, 0.0], [-0.7, 0.3, 0.4]], dtype=torch.float64)
COV = ROOT @ ROOT.T
N = 4000


def gaussian(x_t, t):
    """E[x0 | x_t] for x0 ~ N(MEAN, COV); all rows are at one level."""
    a = LONG.alpha_bar[t[0]]
    gain = a.sqrt() * COV @ torch.linalg.inv(a * COV + (1 - a) * torch.eye(3, dtype=torch.float64))
    x0 = MEAN + (x_t - a.sqrt() * MEAN) @ gain.T
    return Prediction(x0, (x_t - a.sqrt() * x0) / (1 - a).sqrt())


ENDS, SHARE = torch.tensor([[0.8, -0.5], [-0.3, 0.9]], dtype=torch.float64), 0.3


def two_points(x_t, t):
    """E[x0 | x_t] for x0 = ENDS[0] with probability SHARE, else ENDS[1]."""
    a = LONG.alpha_bar[t[0]]
    far = ((x_t[:, None] - a.sqrt() * ENDS) ** 2).sum(-1) / (2 * (1 - a))  # [B, 2]
    weight = (torch.tensor([SHARE, 1 - SHARE], dtype=torch.float64).log() - far).softmax(-1)
    x0 = weight @ ENDS
    return Prediction(x0, (x_t - a.sqrt() * x0) / (1 - a).sqrt())


RUNS = {
    "ddpm": lambda denoise, x: ddpm(denoise, LONG, x, 600),
    "ddpm large": lambda denoise, x: ddpm(denoise, LONG, x, 500, variance="large"),
    "ddim eta 0": lambda denoise, x: ddim(denoise, LONG, x, 200),
    "ddim eta 1": lambda denoise, x: ddim(denoise, LONG, x, 500, eta=1.0),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_gaussian_comes_back(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        x = final(RUNS[name](gaussian, normal(N, 3, seed=12)))
    assert (x.mean(0) - MEAN).abs().div((COV.diag() / N).sqrt()).max() < 5
    error = ((COV.diag()[:, None] * COV.diag() + COV**2) / N).sqrt()  # of a sample covariance, for a Gaussian
    assert (x.T.cov() - COV).abs().div(error).max() < 5


@pytest.mark.parametrize("name", RUNS)
def test_two_points_come_back(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(13)
        x = final(RUNS[name](two_points, normal(N, 2, seed=14)))
    nearest = torch.cdist(x, ENDS)
    assert nearest.min(1).values.max() < 1e-3  # every sample is one of the two
    share = (nearest.argmin(1) == 0).double().mean().item()
    assert abs(share - SHARE) < 5 * math.sqrt(SHARE * (1 - SHARE) / N)
    gap = ENDS[0] - ENDS[1]
    same(x.mean(0), ENDS[1] + share * gap, 1e-3)
    same(x.T.cov(correction=0), share * (1 - share) * gap[:, None] * gap, 1e-3)


# Inversion


@pytest.mark.parametrize(("denoise", "width"), [(gaussian, 3), (two_points, 2)])
def test_inversion_finds_the_noise_that_a_picture_came_from(denoise, width):
    x_T = normal(5, width, seed=1)
    x0 = final(ddim(denoise, LONG, x_T, 60))
    same(final(ddim(denoise, LONG, final(invert(denoise, LONG, x0, 60, refine=30)), 60)), x0, 1e-8)
    if denoise is gaussian:  # two points collapse all noise to two pictures, so only their way back is unique
        same(final(invert(denoise, LONG, x0, 60, refine=30)), x_T, 1e-6)


def test_more_steps_and_refinements_invert_better():
    x0 = MEAN + normal(5, 3, seed=2) @ ROOT.T

    def lost(steps, refine):
        x_T = final(invert(gaussian, LONG, x0, steps, refine=refine))
        return (final(ddim(gaussian, LONG, x_T, steps)) - x0).abs().max().item()

    assert lost(200, 0) < lost(50, 0) / 2
    assert lost(50, 5) < lost(50, 0) / 10


def test_inversion_never_asks_for_level_0():
    asked = []

    def spy(x_t, t):
        asked.extend(t.tolist())
        return curvy(SCHEDULE)(x_t, t)

    final(invert(spy, SCHEDULE, normal(2, 3), 10, refine=1))
    assert min(asked) >= 1 and max(asked) == 30


# Seeds


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.GroupNorm(4, 16), torch.nn.SiLU(), torch.nn.Conv2d(16, 3, 3)
        )


@pytest.mark.parametrize("kind", ["ddpm", "ddim 0", "ddim 1"])
def test_a_seed_gives_its_picture_in_any_batch(kind):
    net = network()
    denoise = clipped(denoiser(lambda x, t: torch.nn.functional.pad(net(x), (1, 1, 1, 1)), SCHEDULE), SCHEDULE)

    def draw(seeds):
        rngs = generators(seeds)
        x = randn((3, 6, 8), rngs)
        if kind == "ddpm":
            return final(ddpm(denoise, SCHEDULE, x, 12, rngs=rngs))
        return final(ddim(denoise, SCHEDULE, x, 12, eta=float(kind[-1]), rngs=rngs))

    whole = draw([3, 1, 4, 1, 5])
    parts = torch.cat([draw([3, 1]), draw([4, 1, 5])])
    assert (whole - parts).abs().max() <= 2 / 255  # one grey level of [-1, 1]
    assert (whole[1] - whole[3]).abs().max() <= 2 / 255  # the same seed twice
    assert (whole[0] - whole[1]).abs().max() > 0.1
    torch.rand(3)  # the global stream plays no part
    assert torch.equal(draw([3, 1, 4, 1, 5]), whole)


def test_without_generators_the_global_stream_is_used():
    def draw():
        torch.manual_seed(5)
        return final(ddpm(curvy(SCHEDULE), SCHEDULE, normal(2, 3), 5))

    with torch.random.fork_rng(devices=[]):
        assert torch.equal(draw(), draw())
        torch.manual_seed(6)
        assert not torch.equal(draw(), final(ddpm(curvy(SCHEDULE), SCHEDULE, normal(2, 3), 5)))


def test_randn_takes_the_dtype_and_rows_of_what_it_is_given():
    x = randn((2, 3), generators([1, 2, 1]), like=torch.zeros(1, dtype=torch.float64))
    assert x.shape == (3, 2, 3) and x.dtype == torch.float64
    assert torch.equal(x[0], x[2]) and not torch.equal(x[0], x[1])


# Refusals


@pytest.mark.parametrize("sampler", [ddpm, ddim])
@pytest.mark.parametrize("count", [1, 3])
def test_one_generator_a_picture(sampler, count):
    with pytest.raises(ValueError, match=f"rngs must hold one generator a picture, 2; got {count}"):
        final(sampler(curvy(SCHEDULE), SCHEDULE, normal(2, 3), 5, rngs=generators(range(count))))


@pytest.mark.parametrize("eta", [-0.1, 1.5])
def test_eta_outside_0_to_1_is_refused(eta):
    with pytest.raises(ValueError, match=f"eta must lie in .* got {eta}"):
        final(ddim(curvy(SCHEDULE), SCHEDULE, normal(2, 3), 5, eta=eta))


def test_unknown_variances_are_refused():
    with pytest.raises(ValueError, match="variance must be .* got 'huge'"):
        final(ddpm(curvy(SCHEDULE), SCHEDULE, normal(2, 3), 5, variance="huge"))


@pytest.mark.parametrize("sampler", [ddpm, ddim, invert])
def test_too_many_steps_are_refused(sampler):
    with pytest.raises(ValueError, match=r"steps must lie in 1..T = 30; got 31"):
        final(sampler(curvy(SCHEDULE), SCHEDULE, normal(2, 3), 31))


def test_final_of_nothing_is_refused():
    with pytest.raises(ValueError, match="yielded no step"):
        final(iter(()))
