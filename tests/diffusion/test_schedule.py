"""The forward process against what defines it: its one-step kernels, Bayes' rule, and its own inverse."""

import dataclasses
import math

import pytest
import torch

from minidiff.diffusion import Schedule

TOL = 1e-10
# A table whose betas fall: nothing in the formulas may count on growing ones.
FALLING = torch.tensor([0.4, 0.3, 0.15, 0.2, 0.05, 0.01], dtype=torch.float64)
SCHEDULES = {
    "linear": Schedule.linear(50, 1e-3, 0.2),
    "cosine": Schedule.cosine(40),
    "scaled_linear": Schedule.scaled_linear(30),
    "falling": Schedule.from_betas(FALLING),
}


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


def draw(schedule, *shape, seed=0):
    """One row for each level: (t, x0, eps), float64."""
    rng = torch.Generator().manual_seed(seed)
    t = torch.arange(1, schedule.T + 1)
    x0, eps = (torch.randn(len(t), *shape, generator=rng, dtype=torch.float64) for _ in range(2))
    return t, x0, eps


def far(a, b):
    """Largest difference, relative above 1."""
    assert a.shape == b.shape
    return ((a - b).abs().max() / b.abs().max().clamp_min(1)).item()


def levels_between(T):
    """All pairs s < t, as two tensors."""
    pairs = [(t, s) for t in range(1, T + 1) for s in range(t)]
    return (torch.tensor(column) for column in zip(*pairs, strict=True))


# Tables


@pytest.mark.parametrize(
    ("make", "first", "last"),
    [(Schedule.linear, 1e-4, 0.02), (Schedule.scaled_linear, 0.00085, 0.012), (Schedule.cosine, None, 0.999)],
)
def test_ends_of_the_default_tables(make, first, last):
    schedule = make()
    assert schedule.T == 1000 and schedule.alpha_bar.shape == (1001,) and schedule.betas.shape == (1000,)
    assert schedule.alpha_bar.dtype == torch.float64 and schedule.alpha_bar[0] == 1
    if first is not None:
        assert schedule.betas[0].item() == pytest.approx(first, rel=1e-9)
    assert schedule.betas[-1].item() == pytest.approx(last, rel=1e-9)


def test_cosine_is_rebuilt_from_the_clipped_betas():
    schedule = Schedule.cosine(20, max_beta=0.9)
    assert schedule.betas.max().item() <= 0.9 + 1e-12
    f = [math.cos((t / 20 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(21)]
    expected = 1.0
    for t in range(1, 21):
        expected *= 1 - min(0.9, 1 - f[t] / f[t - 1])
        assert schedule.alpha_bar[t].item() == pytest.approx(expected, rel=1e-12)


def test_betas_come_back():
    assert far(Schedule.from_betas(FALLING).betas, FALLING) < TOL


def test_snr_falls_from_infinity(schedule):
    snr = schedule.snr()
    assert snr.shape == (schedule.T + 1,) and snr[0] == math.inf and bool((snr[1:] < snr[:-1]).all())
    signal, noise = schedule.coefficients(torch.tensor([3]), torch.zeros(1, 2, dtype=torch.float64))
    assert snr[3].item() == pytest.approx((signal**2 / noise**2).item(), rel=1e-12)


def test_one_level_works():
    schedule = Schedule.from_betas(torch.tensor([0.3]))
    x0, x_t = torch.full((2, 1), 2.0), torch.full((2, 1), 5.0)
    q = schedule.posterior(x0, x_t, torch.tensor([1, 1]), torch.tensor([0, 0]))
    assert torch.equal(q.mean, x0) and bool(q.log_var_min.isfinite().all())
    for make in (Schedule.linear, Schedule.cosine, Schedule.scaled_linear):
        assert make(1).T == 1


# Closed forms


def test_composition_of_one_step_kernels(schedule):
    t, x0, eps = draw(schedule, 2, 3)
    mean, var = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    means, variances = [], []
    for beta in schedule.betas:  # x_t = sqrt(1 - beta) x_{t-1} + sqrt(beta) noise
        mean, var = (1 - beta).sqrt() * mean, (1 - beta) * var + beta
        means.append(mean)
        variances.append(var)
    signal, noise = (torch.stack(c)[:, None, None] for c in (means, [v.sqrt() for v in variances]))
    assert far(schedule.q_sample(x0, t, eps), signal * x0 + noise * eps) < TOL


def test_level_0_is_clean_data(schedule):
    _, x0, eps = draw(schedule, 3)
    assert torch.equal(schedule.q_sample(x0, torch.zeros(len(x0), dtype=torch.long), eps), x0)


def test_v_turns_x0_and_eps_by_the_angle_of_the_level(schedule):
    """v = d x_t / d angle, with x_t = cos(angle) x0 + sin(angle) eps (Salimans & Ho, 2022, section 4)."""
    t, x0, eps = draw(schedule, 2, 3)
    angle = torch.atan2((1 - schedule.alpha_bar[1:]).sqrt(), schedule.alpha_bar[1:].sqrt())[:, None, None]
    assert far(schedule.target("v", x0, eps, t), angle.cos() * eps - angle.sin() * x0) < TOL


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
def test_split_undoes_target(schedule, kind):
    t, x0, eps = draw(schedule, 2, 3)
    x_t = schedule.q_sample(x0, t, eps)
    got_x0, got_eps = schedule.split(kind, schedule.target(kind, x0, eps, t), x_t, t)
    # Dividing by a tiny signal loses as many digits as the division has.
    tolerance = TOL / schedule.alpha_bar[-1].sqrt().item() * 1e-3 + TOL
    assert far(got_x0, x0) < tolerance and far(got_eps, eps) < tolerance


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
def test_split_of_any_output_explains_x_t(schedule, kind):
    t, out, x_t = draw(schedule, 2, 3, seed=1)
    x0, eps = schedule.split(kind, out, x_t, t)
    signal, noise = schedule.coefficients(t, x_t)
    assert far(signal * x0 + noise * eps, x_t) < TOL


def test_posterior_is_bayes_rule_for_any_jump(schedule):
    """q(x_s | x_t, x_0) is proportional to q(x_s | x_0) q(x_t | x_s), a product of two Gaussians in x_s."""
    t, s = levels_between(min(schedule.T, 12))
    rng = torch.Generator().manual_seed(2)
    x0, x_t = (torch.randn(len(t), 2, generator=rng, dtype=torch.float64) for _ in range(2))
    q = schedule.posterior(x0, x_t, t, s)
    one_step = schedule.betas
    for i, (b, a) in enumerate(zip(t.tolist(), s.tolist(), strict=True)):
        survives = torch.prod(1 - one_step[a:b])  # alpha_bar_t / alpha_bar_s
        assert abs(q.log_var_max[i].exp().item() - (1 - survives).item()) < TOL
        if a == 0:
            assert far(q.mean[i], x0[i]) < TOL
            continue
        start = torch.prod(1 - one_step[:a])  # alpha_bar_s
        precision = 1 / (1 - start) + survives / (1 - survives)
        mean = (start.sqrt() * x0[i] / (1 - start) + survives.sqrt() * x_t[i] / (1 - survives)) / precision
        assert far(q.mean[i], mean) < TOL
        assert abs(q.log_var_min[i].item() + precision.log().item()) < TOL


def test_variance_at_the_last_step_is_that_of_the_one_before(schedule):
    """beta-tilde_1 = 0 has no log; it is floored at beta-tilde_2."""
    one = torch.ones(1, 1, dtype=torch.float64)
    last = schedule.posterior(one, one, torch.tensor([1]), torch.tensor([0]))
    before = schedule.posterior(one, one, torch.tensor([2]), torch.tensor([1]))
    assert torch.equal(last.log_var_min, before.log_var_min)


def test_respacing_is_a_schedule_of_its_own(schedule):
    ts = sorted({schedule.T, schedule.T - 1, schedule.T // 2, 2, 0})  # jumps of different lengths
    betas = torch.stack([1 - schedule.alpha_bar[t] / schedule.alpha_bar[s] for s, t in zip(ts, ts[1:])])
    short = Schedule.from_betas(betas)
    rng = torch.Generator().manual_seed(3)
    x0, x_t = (torch.randn(len(ts) - 1, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    k = torch.arange(1, len(ts))
    got = schedule.posterior(x0, x_t, torch.tensor(ts[1:]), torch.tensor(ts[:-1]))
    expected = short.posterior(x0, x_t, k, k - 1)
    assert far(got.mean, expected.mean) < TOL and far(got.log_var_max, expected.log_var_max) < TOL
    assert far(got.log_var_min[1:], expected.log_var_min[1:]) < TOL  # at s = 0 each has the floor of its own steps


def test_coefficients_keep_the_dtype_of_the_data():
    schedule, t = Schedule.linear(), torch.tensor([1, 500, 1000])
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        like = torch.zeros(3, 1, 2, 2, dtype=dtype)
        for c in schedule.coefficients(t, like):
            assert c.dtype == dtype and c.shape == (3, 1, 1, 1) and bool((c > 0).all())
        assert schedule.q_sample(like, t, like).dtype == dtype


# Refusals


def test_linear_stretched_to_ten_levels_is_refused():
    """The usual rescaling of the linear schedule, by 1000 / T, makes beta_T = 2 at T = 10."""
    with pytest.raises(ValueError, match="between 0 and 1.* to 2"):
        Schedule.linear(10, beta_1=1e-4 * 100, beta_T=0.02 * 100)


@pytest.mark.parametrize("betas", [[0.1, 1.0], [0.0, 0.1], [-0.1], [float("nan")], [], [[0.1]]])
def test_betas_that_are_none_are_refused(betas):
    with pytest.raises(ValueError, match="beta"):
        Schedule.from_betas(torch.tensor(betas))


@pytest.mark.parametrize(
    "table",
    [
        torch.tensor([1.0, 0.5], dtype=torch.float32),
        torch.tensor([1.0], dtype=torch.float64),
        torch.tensor([0.9, 0.5], dtype=torch.float64),
        torch.tensor([1.0, 0.5, 0.5], dtype=torch.float64),
        torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64),
        torch.tensor([1.0, 0.5, math.nan], dtype=torch.float64),
    ],
)
def test_tables_that_are_none_are_refused(table):
    with pytest.raises(ValueError, match="alpha_bar must"):
        Schedule(table)


@pytest.mark.parametrize("T", [0, -1, 2.5, "10"])
@pytest.mark.parametrize("make", [Schedule.linear, Schedule.cosine, Schedule.scaled_linear])
def test_numbers_of_levels_that_are_none_are_refused(make, T):
    with pytest.raises(ValueError, match="T must be"):
        make(T)


@pytest.mark.parametrize("level", [-1, 7, 1000])
def test_levels_outside_the_table_are_refused(level):
    schedule, x = Schedule.from_betas(FALLING), torch.zeros(1, 2)
    assert schedule.T == 6
    with pytest.raises((IndexError, RuntimeError)):
        schedule.q_sample(x, torch.tensor([level]), x)


@pytest.mark.parametrize(
    "t", [torch.tensor([1.0, 2.0]), torch.tensor([1, 2], dtype=torch.int32), torch.tensor([1]), torch.tensor(1)]
)
def test_levels_of_the_wrong_kind_are_refused(t):
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"t must be int64 of shape \[2\]"):
        Schedule.from_betas(FALLING).q_sample(x, t, x)


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="eps must have the shape"):
        Schedule.from_betas(FALLING).q_sample(torch.zeros(2, 3), torch.tensor([1, 2]), torch.zeros(2, 1))


@pytest.mark.parametrize("call", ["target", "split"])
def test_unknown_targets_are_refused(call):
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="'noise'"):
        getattr(Schedule.from_betas(FALLING), call)("noise", x, x, torch.tensor([1]))


def test_schedules_are_frozen():
    schedule = Schedule.from_betas(FALLING)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.alpha_bar = torch.ones(3, dtype=torch.float64)
