"""The diffusion losses: their terms written out by hand, and the bound against its definition."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from minidiff.diffusion import Schedule
from minidiff.objectives import DiffusionLoss, bound_term, discretized_gaussian_nll, gaussian_kl, logit_normal

SCHEDULE = Schedule.linear(12, 0.01, 0.4)
B, C = 4, 2
LEVELS = torch.tensor([1, 12, 5, 2])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pixels(*shape, seed=0):
    """Random 8-bit values in [-1, 1]."""
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed)).double() / 127.5 - 1


class Net(nn.Module):
    """A small network of x_t, t and y, with C or 2C channels."""

    def __init__(self, out=C, dtype=torch.float64):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(C, out, 3, padding=1, dtype=dtype)

    def forward(self, x_t, t, y=None):
        out = torch.tanh(self.conv(x_t) + t.view(-1, 1, 1, 1) / 12)
        return out if y is None else out * (1 + y.view(-1, 1, 1, 1))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


# Squared error


@pytest.mark.parametrize("predict", ["eps", "x0", "v"])
def test_terms_are_the_squared_error_of_each_sample(predict):
    x0, eps, y, net = normal(B, C, 3, 5), normal(B, C, 3, 5, seed=1), torch.arange(B), Net()
    terms = DiffusionLoss(SCHEDULE, predict).terms(net, x0, LEVELS, eps, y=y)
    assert set(terms) == {"loss"} and terms["loss"].shape == (B,)
    for i, t in enumerate(LEVELS.tolist()):
        a = SCHEDULE.alpha_bar[t].item()
        x_t = math.sqrt(a) * x0[i] + math.sqrt(1 - a) * eps[i]
        want = {"eps": eps[i], "x0": x0[i], "v": math.sqrt(a) * eps[i] - math.sqrt(1 - a) * x0[i]}[predict]
        out = net(x_t[None], LEVELS[i : i + 1], y[i : i + 1])[0]
        same(terms["loss"][i], ((want - out) ** 2).sum() / want.numel())


def test_terms_are_deterministic_and_a_call_draws():
    net, loss, x0 = Net(dtype=torch.float32), DiffusionLoss(SCHEDULE), normal(B, C, 3, 5, dtype=torch.float32)
    eps = normal(B, C, 3, 5, seed=1, dtype=torch.float32)
    assert torch.equal(*(loss.terms(net, x0, LEVELS, eps)["loss"] for _ in range(2)))
    (one, _), (two, _) = (loss(net, {"x": x0}) for _ in range(2))
    assert one.item() != two.item()
    torch.manual_seed(3)
    three, _ = loss(net, {"x": x0})
    torch.manual_seed(3)
    assert torch.equal(loss(net, {"x": x0})[0], three)


def test_a_call_draws_every_level_equally_and_standard_noise():
    seen = []
    zeros = torch.zeros(6000, 1, 1, 1)

    def model(x_t, t):
        seen.append((x_t.flatten(), t))
        return x_t

    DiffusionLoss(Schedule.linear(5, 0.1, 0.5))(model, {"x": zeros})
    x_t, t = seen[0]
    counts = t.bincount(minlength=6)
    assert counts[0] == 0 and len(counts) == 6  # levels 1..T, never 0
    assert (counts[1:] - 1200).abs().max() < 5 * math.sqrt(6000 * 0.2 * 0.8)
    eps = x_t / (1 - Schedule.linear(5, 0.1, 0.5).alpha_bar[t]).sqrt()
    assert abs(eps.mean().item()) < 5 / math.sqrt(6000) and abs(eps.var().item() - 1) < 5 * math.sqrt(2 / 6000)


def test_the_coarse_term_is_the_squared_error_of_means_of_four_pixels():
    x0, eps, net = normal(B, C, 6, 4), normal(B, C, 6, 4, seed=1), Net()
    plain = DiffusionLoss(SCHEDULE, "v").terms(net, x0, LEVELS, eps)["loss"]
    terms = DiffusionLoss(SCHEDULE, "v", coarse=3.0).terms(net, x0, LEVELS, eps)
    out = net(SCHEDULE.q_sample(x0, LEVELS, eps), LEVELS)
    error = SCHEDULE.target("v", x0, eps, LEVELS) - out
    means = error.unflatten(2, (3, 2)).unflatten(4, (2, 2)).mean((3, 5))  # [B,C,3,2]
    same(terms["coarse"], means.square().mean((1, 2, 3)))
    same(terms["mse"], plain)
    same(terms["loss"], plain + 3 * terms["coarse"])


def test_a_call_draws_its_levels_as_it_is_told():
    seen = []

    def model(x_t, t):
        seen.append(t)
        return x_t

    def levels(n, T):
        return torch.arange(n) % T + 1

    DiffusionLoss(SCHEDULE, levels=levels)(model, {"x": torch.zeros(30, 1, 1, 1)})
    assert seen[0].tolist() == [i % 12 + 1 for i in range(30)]


@pytest.mark.parametrize("mean, std, share", [(-1.0, 1.0, 0.5), (0.5, 0.7, 1.0), (0.0, 2.0, 0.0)])
def test_logit_normal_levels_follow_their_law(mean, std, share):
    torch.manual_seed(1)
    n, T = 20_000, 8
    t = logit_normal(mean, std, share)(n, T)
    assert t.dtype == torch.int64 and t.min() == 1 and t.max() == T
    edges = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    cdf = share * Normal(mean, std).cdf(torch.logit(edges)) + (1 - share) * edges
    want, found = cdf.diff(), t.bincount(minlength=T + 1)[1:] / n
    assert ((found - want).abs() < 5 * (want * (1 - want) / n).sqrt()).all()


def test_logit_normal_levels_stay_levels_at_the_ends():
    assert set(logit_normal(60.0)(100, 10).tolist()) == {10} and set(logit_normal(-60.0)(100, 10).tolist()) == {1}
    for bad in ({"std": 0.0}, {"share": 1.5}):
        with pytest.raises(ValueError, match="std must be above 0 and share in"):
            logit_normal(**bad)


def test_a_call_returns_the_mean_and_detached_logs():
    net = Net(2 * C)
    value, logs = DiffusionLoss(SCHEDULE, vlb=0.01)(net, {"x": pixels(B, C, 3, 5), "y": torch.arange(B)})
    assert value.shape == () and value.requires_grad
    assert set(logs) == {"loss", "mse", "vlb"}
    assert all(v.shape == () and not v.requires_grad for v in logs.values())
    same(logs["loss"], value.detach())
    same(logs["loss"], logs["mse"] + 0.01 * 12 * logs["vlb"])


def test_prepare_comes_first_and_everything_but_x_is_a_condition():
    seen = {}

    def model(x_t, t, **cond):
        seen.update(cond)
        return x_t

    batch = {"x": normal(B, C, 3, 5), "y": torch.arange(B), "extra": torch.ones(B)}
    kept = dict(batch)
    DiffusionLoss(SCHEDULE, prepare=lambda b: {"x": b["x"] * 0, "text": b["y"] + 1})(model, batch)
    assert set(seen) == {"text"} and torch.equal(seen["text"], torch.arange(B) + 1)
    seen.clear()
    for prepare in (dict, lambda b: b):
        DiffusionLoss(SCHEDULE, prepare=prepare)(model, batch)
        assert set(seen) == {"y", "extra"} and set(batch) == set(kept)  # the batch is left as it was


def test_a_batch_without_x_is_refused():
    with pytest.raises(ValueError, match=r"a batch needs the key \"x\".* got \['images', 'y'\]"):
        DiffusionLoss(SCHEDULE)(Net(), {"images": normal(B, C, 3, 5), "y": torch.arange(B)})


def test_loss_arithmetic_is_in_the_dtype_of_the_data():
    x0 = normal(B, C, 3, 5, dtype=torch.float32)
    terms = DiffusionLoss(SCHEDULE).terms(lambda x_t, t: x_t.bfloat16(), x0, LEVELS, x0)
    assert terms["loss"].dtype == torch.float32


# The hybrid loss


def test_each_half_of_the_output_learns_from_its_own_term():
    x0, eps, lam = pixels(B, C, 3, 5), normal(B, C, 3, 5, seed=1), 0.02
    out = normal(B, 2 * C, 3, 5, seed=2).requires_grad_()
    terms = DiffusionLoss(SCHEDULE, vlb=lam).terms(lambda x_t, t: out, x0, LEVELS, eps)
    of = {k: torch.autograd.grad(terms[k].sum(), out, retain_graph=True)[0] for k in ("mse", "vlb", "loss")}
    assert of["vlb"][:, :C].count_nonzero() == 0 and bool((of["vlb"][:, C:] != 0).all())
    assert of["mse"][:, C:].count_nonzero() == 0 and bool((of["mse"][:, :C] != 0).all())
    same(of["loss"], of["mse"] + lam * SCHEDULE.T * of["vlb"])  # lambda weights a sum of T terms
    plain = DiffusionLoss(SCHEDULE).terms(lambda x_t, t: out, x0, LEVELS, eps)
    same(plain["loss"], terms["mse"])
    same(terms["loss"], terms["mse"] + lam * SCHEDULE.T * terms["vlb"])


def test_the_hybrid_loss_needs_a_learned_variance():
    x0 = pixels(B, C, 3, 5)
    with pytest.raises(ValueError, match="vlb > 0 needs a model with a learned variance"):
        DiffusionLoss(SCHEDULE, vlb=0.1).terms(Net(), x0, LEVELS, x0)


def test_gradients_stay_finite_for_wild_outputs():
    x0 = torch.tensor([-1.0, 1.0, 0.0, 0.5]).view(B, 1, 1, 1).expand(B, C, 3, 5)
    for size in (0.0, 1.0, 30.0):
        out = (size * normal(B, 2 * C, 3, 5, dtype=torch.float32)).requires_grad_()
        for t in (1, 2, 12):
            loss = DiffusionLoss(SCHEDULE, vlb=0.01).terms(
                lambda x_t, t, out=out: out, x0, torch.full((B,), t), torch.zeros_like(x0)
            )
            (grad,) = torch.autograd.grad(loss["mse"].sum() + loss["vlb"].sum(), out)
            assert bool(grad.isfinite().all()), (size, t)


# The pieces of the bound


def test_kl_against_torch():
    m1, m2, v1, v2 = (normal(50, seed=i) for i in range(4))
    expected = kl_divergence(Normal(m1, (v1 / 2).exp()), Normal(m2, (v2 / 2).exp()))
    same(gaussian_kl(m1, v1, m2, v2), expected)
    assert gaussian_kl(m1, v1, m1, v1).abs().max() == 0


def test_pixel_likelihood_against_high_precision():
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(0)
    cases = [(k, mean, log_var) for k in (0, 1, 128, 254, 255) for mean in (-1.3, 0.0, 0.9) for log_var in (-2, 3)]
    for _ in range(60):  # near the mean for narrow Gaussians, and in both tails
        k, log_var = int(rng.integers(256)), rng.uniform(-9, 1)
        cases.append((k, k / 127.5 - 1 + rng.uniform(-6, 6) * math.exp(log_var / 2), log_var))
    checked = 0
    with mpmath.workdps(60):
        for k, mean, log_var in cases:
            x, m = mpmath.mpf(k) / mpmath.mpf("127.5") - 1, mpmath.mpf(mean)
            std = mpmath.exp(mpmath.mpf(log_var) / 2)
            lower = mpmath.mpf(0) if k == 0 else mpmath.ncdf((x - mpmath.mpf(1) / 255 - m) / std)
            upper = mpmath.mpf(1) if k == 255 else mpmath.ncdf((x + mpmath.mpf(1) / 255 - m) / std)
            mass = upper - lower
            got = discretized_gaussian_nll(*(torch.tensor(v, dtype=torch.float64) for v in (float(x), mean, log_var)))
            if mass > 1e-11:
                assert got.item() == pytest.approx(float(-mpmath.log(mass)), rel=1e-10, abs=1e-10)
                checked += 1
            else:
                assert got.item() >= 25  # kept finite
    assert checked > 60


def test_pixel_likelihoods_sum_to_1():
    x = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for mean, log_var in ((0.3, -2.5), (-0.9, -1.0), (1.5, 1.0)):  # wide enough that no bin meets the floor of 1e-12
        mean, log_var = torch.tensor(mean, dtype=torch.float64), torch.tensor(log_var, dtype=torch.float64)
        same(discretized_gaussian_nll(x, mean, log_var).neg().exp().sum(), torch.ones((), dtype=torch.float64))


def test_both_tails_keep_their_digits_in_float32():
    """A plain difference of cdfs is 0 in the upper tail, five standard deviations out."""
    mean, log_var = torch.zeros(2), torch.full((2,), 2 * math.log(0.1))
    x = torch.tensor([-64.5, 64.5]) / 127.5
    low, high = discretized_gaussian_nll(x, mean, log_var)
    exact = discretized_gaussian_nll(x[1].double(), torch.zeros((), dtype=torch.float64), log_var[1].double())
    assert low.item() == pytest.approx(high.item(), rel=1e-5)
    assert low.item() == pytest.approx(exact.item(), rel=1e-5)


# The bound against its definition, E_q[log q(x_1..x_T | x_0) - log p(x_0..x_T)], on a schedule of three levels

BETAS = torch.tensor([0.1, 0.35, 0.6], dtype=torch.float64)
SLOPE, SHIFT = [0.0, 0.4, 0.7, 0.9], [0.0, 0.3, -0.2, 0.1]  # eps_hat = SLOPE[t] x_t + SHIFT[t]
RAW = [0.0, -0.4, 0.2, 1.5]  # the network's variance output, -1 for beta-tilde and 1 for beta


def reverse(t, x_t):
    """p(x_{t-1} | x_t), with the mean of Ho et al. (2020), eq. 11."""
    alpha_bar = torch.cumprod(1 - BETAS, 0)
    a_t, beta = alpha_bar[t - 1], BETAS[t - 1]
    mean = (x_t - beta / (1 - a_t).sqrt() * (SLOPE[t] * x_t + SHIFT[t])) / (1 - beta).sqrt()
    k = max(t, 2)  # beta-tilde_1 = 0 is floored at beta-tilde_2
    small = BETAS[k - 1] * (1 - alpha_bar[k - 2]) / (1 - alpha_bar[k - 1])
    fraction = (RAW[t] + 1) / 2
    return Normal(mean, (beta**fraction * small ** (1 - fraction)).sqrt())


def log_pixel(p, x0):
    """log of the mass of the bin around x0."""
    upper = torch.ones_like(p.mean) if x0 > 0.999 else p.cdf(x0 + 1 / 255)
    lower = torch.zeros_like(p.mean) if x0 < -0.999 else p.cdf(x0 - 1 / 255)
    return (upper - lower).log()


@pytest.mark.parametrize("pixel", [0, 33, 200, 255])
def test_the_bound_is_its_definition(pixel):
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)  # exact for polynomials up to degree 15
    z, w = torch.tensor(nodes), torch.tensor(weights / weights.sum())
    x0 = torch.tensor(pixel / 127.5 - 1, dtype=torch.float64)

    # The definition, over all chains x_1, x_2, x_3.
    chain, log_ratio = x0, torch.zeros((), dtype=torch.float64)
    weight = torch.ones((), dtype=torch.float64)
    for t in (1, 2, 3):
        q = Normal((1 - BETAS[t - 1]).sqrt() * chain[..., None], BETAS[t - 1].sqrt())
        new = q.mean + q.stddev * z
        p = reverse(t, new)
        log_p = log_pixel(p, x0) if t == 1 else p.log_prob(chain[..., None])
        log_ratio = log_ratio[..., None] + q.log_prob(new) - log_p
        weight, chain = weight[..., None] * w, new
    definition = (weight * (log_ratio - Normal(0.0, 1.0).log_prob(chain))).sum()

    # The same from the loss: the prior's term and the three that the network is trained on.
    schedule = Schedule.from_betas(BETAS)
    a = schedule.alpha_bar[3]
    bound = kl_divergence(Normal(a.sqrt() * x0, (1 - a).sqrt()), Normal(torch.zeros_like(a), torch.ones_like(a)))

    def model(x_t, t):
        eps_hat = torch.tensor(SLOPE)[t].view(-1, 1, 1, 1) * x_t + torch.tensor(SHIFT)[t].view(-1, 1, 1, 1)
        return torch.cat([eps_hat, torch.tensor(RAW)[t].view(-1, 1, 1, 1).expand_as(x_t)], dim=1)

    torch.set_default_dtype(torch.float64)
    try:
        for t in (1, 2, 3):
            terms = DiffusionLoss(schedule, vlb=1.0).terms(
                model, x0.expand(8, 1, 1, 1), torch.full((8,), t), z.view(8, 1, 1, 1)
            )
            bound = bound + (w * terms["vlb"]).sum() * math.log(2)  # bits to nats
    finally:
        torch.set_default_dtype(torch.float32)
    same(bound, definition)


@pytest.mark.parametrize("predict", ["eps", "x0", "v"])
def test_the_bound_does_not_depend_on_what_the_network_predicts(predict):
    x0, x0_hat, x_t, var = pixels(B, C, 3, 5), *(normal(B, C, 3, 5, seed=i) for i in (1, 2, 3))
    eps_hat = SCHEDULE.split("x0", x0_hat, x_t, LEVELS)[1]
    out = SCHEDULE.target(predict, x0_hat, eps_hat, LEVELS)
    expected = bound_term(SCHEDULE, "x0", x0_hat, var, x0, x_t, LEVELS)
    got = bound_term(SCHEDULE, predict, out, var, x0, x_t, LEVELS)
    assert got.shape == (B,)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_a_perfect_network_pays_nothing_above_level_1():
    x0, x_t = pixels(B, C, 3, 5), normal(B, C, 3, 5, seed=1)
    t = torch.tensor([2, 3, 7, 12])
    same(bound_term(SCHEDULE, "x0", x0, torch.zeros_like(x0), x0, x_t, t), torch.zeros(B, dtype=torch.float64))
