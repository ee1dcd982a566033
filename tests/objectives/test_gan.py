"""Losses of a GAN: closed forms, penalties against a double backward by hand, turns that leave the other alone."""

import pytest
import torch
from torch import nn

from minidiff.models.gan import PointConfig, PointDiscriminator, PointGenerator
from minidiff.objectives import (
    HINGE,
    NON_SATURATING,
    SATURATING,
    WASSERSTEIN,
    CriticLoss,
    GeneratorLoss,
    gradient_penalty,
    r1,
)
from minidiff.training import EMA, Turn, run

Z, D = 5, 3
REAL = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
FAKE = torch.tensor([-3.0, 0.25, 1.5], dtype=torch.float64)
GAMES = {"saturating": SATURATING, "non_saturating": NON_SATURATING, "hinge": HINGE, "wasserstein": WASSERSTEIN}


class Tanh(nn.Module):
    """A critic small enough to differentiate twice by hand: a . tanh(W x + b)."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.W, self.b, self.a = (
            nn.Parameter(torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype))
            for shape in ((4, D), (4,), (4,))
        )
        self.seen = []

    def forward(self, x):
        out = torch.tanh(nn.functional.linear(x, self.W, self.b)) @ self.a
        self.seen.append(out.dtype)
        return out


def by_hand(m, x):
    """The squared norm of the gradient at each of x [n,D]: [n], and for each its derivatives by W, b and a."""
    W, b, a = m.W.detach(), m.b.detach(), m.a.detach()
    squares, each = [], []
    for point in x:
        h = torch.tanh(W @ point + b)
        s = 1 - h**2
        g = W.T @ (a * s)
        Wg = W @ g
        d_u = 2 * Wg * a * (-2 * h * s)
        each.append({"W": 2 * torch.outer(a * s, g) + torch.outer(d_u, point), "b": d_u, "a": 2 * s * Wg})
        squares.append(g @ g)
    return torch.stack(squares), each


def points(n, seed=1, dtype=torch.float64):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def players(spectral=False, dtype=torch.float32):
    torch.manual_seed(0)
    config = PointConfig(dim=D, z=Z, width=7, spectral=spectral)
    return PointGenerator(config).to(dtype), PointDiscriminator(config).to(dtype)


class Loader:
    def from_step(self, step):
        while True:
            yield {"x": points(6, seed=step, dtype=torch.float32)}
            step += 1


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.5, 0.9))


def turns(spectral=False, **loss):
    g, d = players(spectral)
    return [Turn(d, CriticLoss(g, Z, **loss), adam(d)), Turn(g, GeneratorLoss(d, Z), adam(g), ema=EMA(g, 0.9))]


def state(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(model, before):
    return all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


# --- losses against their formulas -------------------------------------------------------------------------------


def test_closed_forms():
    p, q = REAL.sigmoid(), FAKE.sigmoid()  # D(real), D(fake)
    for name in ("saturating", "non_saturating"):
        torch.testing.assert_close(GAMES[name].critic(REAL, FAKE), -p.log() - (1 - q).log())
    torch.testing.assert_close(SATURATING.generator(FAKE), (1 - q).log())
    torch.testing.assert_close(NON_SATURATING.generator(FAKE), -q.log())
    torch.testing.assert_close(HINGE.critic(REAL, FAKE), torch.tensor([0.0, 3.25, 3.0], dtype=torch.float64))
    torch.testing.assert_close(WASSERSTEIN.critic(REAL, FAKE), torch.tensor([-5.0, 1.25, 1.0], dtype=torch.float64))
    for game in (HINGE, WASSERSTEIN):
        torch.testing.assert_close(game.generator(FAKE), -FAKE)


def log1pexp(x):
    return torch.logaddexp(x.double(), torch.zeros_like(x, dtype=torch.float64))


ORACLES = {
    "saturating": (lambda real, fake: log1pexp(-real) + log1pexp(fake), lambda fake: -log1pexp(fake)),
    "non_saturating": (lambda real, fake: log1pexp(-real) + log1pexp(fake), lambda fake: log1pexp(-fake)),
    "hinge": (
        lambda real, fake: (1 - real.double()).clamp_min(0) + (1 + fake.double()).clamp_min(0),
        lambda fake: -fake.double(),
    ),
    "wasserstein": (lambda real, fake: fake.double() - real.double(), lambda fake: -fake.double()),
}


@pytest.mark.parametrize("name", GAMES)
def test_large_logits_keep_their_digits(name):
    game, (critic, generator) = GAMES[name], ORACLES[name]
    x = torch.tensor([-200.0, -90.0, -30.0, 0.5, 30.0, 90.0, 200.0])  # exp(90) is infinite in float32
    real, fake = torch.cartesian_prod(x, x).T
    for found, true in ((game.critic(real, fake), critic(real, fake)), (game.generator(x), generator(x))):
        assert found.dtype == torch.float32 and true.isfinite().all()
        torch.testing.assert_close(found.double(), true, rtol=1e-6, atol=1e-38)
    x.requires_grad_()
    assert torch.autograd.grad((game.critic(x, -x) + game.generator(x)).sum(), x)[0].isfinite().all()


def test_the_saturating_slope_vanishes_where_the_fake_is_found_out():
    logits = torch.tensor([-12.0, 0.0, 12.0], dtype=torch.float64, requires_grad=True)
    d = logits.detach().sigmoid()
    (saturating,) = torch.autograd.grad(SATURATING.generator(logits).sum(), logits)
    (other,) = torch.autograd.grad(NON_SATURATING.generator(logits).sum(), logits)
    torch.testing.assert_close(saturating, -d)
    torch.testing.assert_close(other, d - 1)
    assert saturating[0].abs() < 1e-5 < 0.99 < other[0].abs()  # D(fake) near 0: one says nothing, the other everything
    assert saturating[2].abs() > 0.99


def test_the_best_logit_is_the_log_ratio_of_the_densities():
    p, q = 0.7, 0.2
    logit = torch.tensor([p / q], dtype=torch.float64).log().requires_grad_()
    zero = torch.zeros_like(logit)
    critic = NON_SATURATING.critic
    loss = p * critic(logit, zero) + q * critic(zero, logit)  # the parts at `zero` are constant
    assert torch.autograd.grad(loss.sum(), logit)[0].abs().item() < 1e-12


# --- penalties ---------------------------------------------------------------------------------------------------


def test_r1_equals_a_double_backward_by_hand():
    m, x = Tanh(), points(5)
    squares, each = by_hand(m, x)
    found = r1(m, x)
    torch.testing.assert_close(found, squares)
    grads = dict(zip(("W", "b", "a"), torch.autograd.grad(found.sum(), (m.W, m.b, m.a)), strict=True))
    for name, grad in grads.items():
        torch.testing.assert_close(grad, sum(one[name] for one in each))


def test_the_gradient_penalty_equals_a_double_backward_by_hand():
    m, real, fake, share = Tanh(), points(5), points(5, seed=2), torch.tensor([0.0, 1.0, 0.3, 0.5, 0.9]).double()
    between = torch.stack([r + s * (f - r) for r, f, s in zip(real, fake, share, strict=True)])
    squares, each = by_hand(m, between)
    norm = squares.sqrt()
    found = gradient_penalty(m, real, fake, share)
    torch.testing.assert_close(found, (norm - 1) ** 2)
    grads = dict(zip(("W", "b", "a"), torch.autograd.grad(found.sum(), (m.W, m.b, m.a)), strict=True))
    for name, grad in grads.items():
        torch.testing.assert_close(grad, sum((n - 1) / n * one[name] for n, one in zip(norm, each, strict=True)))


def test_penalties_of_pictures_take_one_share_a_picture():
    class Sum(nn.Module):
        def forward(self, x):
            return x.square().flatten(1).sum(1) / 2  # its gradient is x itself

    real, fake, share = torch.zeros(2, 3, 4, 5), torch.ones(2, 3, 4, 5), torch.tensor([0.5, 1.0])
    norms = share * 60**0.5
    torch.testing.assert_close(gradient_penalty(Sum(), real, fake, share), (norms - 1) ** 2)
    torch.testing.assert_close(r1(Sum(), fake), torch.tensor([60.0, 60.0]))


def test_penalties_are_float32_under_autocast_and_where_gradients_are_off():
    m, x = Tanh(torch.float32), points(4).float()
    plain = r1(m, x)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = r1(m, x)
    assert found.dtype == torch.float32 and torch.equal(found, plain)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_mixed_precision_leaves_the_penalty_alone(precision):
    g, _ = players()
    m = Tanh(torch.float32)
    run([Turn(m, CriticLoss(g, Z, r1=1.0, gp=1.0), adam(m))], Loader(), 1, precision=precision, progress=False)
    logits, *penalties = m.seen
    assert logits == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert penalties == [torch.float32, torch.float32]


# --- the two losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_the_terms_are_what_the_formulas_say(game):
    g, d = players(dtype=torch.float64)
    x, z, share = points(4), torch.randn(4, Z, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    terms = CriticLoss(g, Z, game, r1=0.3, gp=7.0).terms(d, x, z, share)
    torch.testing.assert_close(terms["real"], d(x))
    torch.testing.assert_close(terms["fake"], d(g(z)))
    penalty = 0.15 * r1(d, x) + 7 * gradient_penalty(d, x, g(z).detach(), share)
    torch.testing.assert_close(terms["critic"], game.critic(d(x), d(g(z))) + penalty)
    assert set(CriticLoss(g, Z, game).terms(d, x, z, share)) == {"critic", "real", "fake"}
    torch.testing.assert_close(GeneratorLoss(d, Z, game).terms(g, z)["generator"], game.generator(d(g(z))))


def test_a_call_draws_noise_and_logs_means():
    g, d = players()
    batch = {"x": points(6).float()}
    torch.manual_seed(3)
    loss, logs = CriticLoss(g, Z, gp=1.0)(d, batch)
    torch.manual_seed(3)
    z, share = torch.randn(6, Z), torch.rand(6)
    terms = CriticLoss(g, Z, gp=1.0).terms(d, batch["x"], z, share)
    torch.testing.assert_close(loss, terms["critic"].mean())
    assert set(logs) == {"critic", "real", "fake", "gp"} and not any(v.requires_grad for v in logs.values())
    torch.testing.assert_close(logs["fake"], terms["fake"].mean().detach())
    loss, logs = GeneratorLoss(d, Z)(g, batch)
    assert loss.requires_grad and set(logs) == {"generator"} and logs["generator"].item() == loss.item()


def test_the_critics_turn_leaves_the_generator_alone():
    g, d = players()
    before = state(g)
    run([Turn(d, CriticLoss(g, Z, r1=1.0, gp=1.0), adam(d))], Loader(), 2, progress=False)
    assert same(g, before) and all(p.grad is None for p in g.parameters())


def test_the_generators_turn_leaves_the_critic_alone():
    g, d = players(spectral=True)
    before = state(d.train())
    run([Turn(g, GeneratorLoss(d, Z), adam(g))], Loader(), 2, progress=False)
    assert same(d, before) and all(p.grad is None and p.requires_grad for p in d.parameters())
    assert d.training and all(m.training for m in d.modules())
    with pytest.raises(RuntimeError):
        GeneratorLoss(d, Z).terms(g, torch.zeros(2, Z + 1))
    assert d.training and all(p.requires_grad for p in d.parameters())


def test_the_generator_is_moved_towards_higher_logits():
    g, d = players()
    z = torch.randn(64, Z)
    before = d(g(z)).mean().item()
    run([Turn(g, GeneratorLoss(d, Z), adam(g))], Loader(), 20, progress=False)
    assert d(g(z)).mean().item() > before + 0.01


def test_labels_reach_both_players():
    heard = []

    class Player(nn.Module):
        def __init__(self, name, out):
            super().__init__()
            self.name, self.layer = name, nn.Linear(D, out)

        def forward(self, x, y):
            heard.append((self.name, y.tolist()))
            out = self.layer(x) + y[:, None]
            return out if self.name == "g" else out[:, 0]

    g, d = Player("g", D), Player("d", 1)
    batch = {"x": points(3).float(), "y": torch.tensor([4, 0, 2])}
    CriticLoss(g, D, r1=1.0)(d, batch)
    GeneratorLoss(d, D)(g, batch)
    one, two = [4, 0, 2], [4, 0, 2, 4, 0, 2]
    assert heard == [("g", one), ("d", two), ("d", one), ("g", one), ("d", one)]
    CriticLoss(g, D, prepare=lambda b: {**b, "y": b["y"] + 1})(d, batch)
    assert heard[-1] == ("d", [5, 1, 3, 5, 1, 3]) and set(batch) == {"x", "y"}


def test_a_batch_without_pictures_is_refused():
    g, d = players()
    for loss, model in ((CriticLoss(g, Z), d), (GeneratorLoss(d, Z), g)):
        with pytest.raises(ValueError, match=r"""needs the key "x".*got \['y'\]"""):
            loss(model, {"y": torch.zeros(2)})


# --- in the loop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spectral", [False, True])
def test_a_game_resumes_bit_identically(tmp_path, spectral):
    whole = turns(spectral, r1=0.5)
    history = run(whole, Loader(), 6, progress=False)
    run(turns(spectral, r1=0.5), Loader(), 3, progress=False, checkpoint=tmp_path / "game")
    again = turns(spectral, r1=0.5)
    resumed = run(again, Loader(), 6, progress=False, checkpoint=tmp_path / "game", resume=True)
    assert history == resumed and set(history) == {"critic", "real", "fake", "r1", "generator"}
    for a, b in zip(whole, again, strict=True):
        assert same(a.model, state(b.model))
    assert same(whole[1].ema.model, state(again[1].ema.model))


def test_several_moves_of_the_critic_for_one_of_the_generator():
    made = turns()
    made[1].every = 3
    history = run(made, Loader(), 6, progress=False)
    assert [v == v for v in history["generator"]] == [False, False, True, False, False, True]
    assert all(v == v for v in history["critic"])


def test_a_game_finds_a_gaussian():
    """From a first guess far away, the averaged generator meets mean and spread."""
    from minidiff.data import Batches

    torch.manual_seed(0)
    x = torch.tensor([1.0, -2.0]) + torch.tensor([0.3, 0.7]) * torch.randn(2000, 2)
    config = PointConfig(z=2, width=16, depth=1)
    g, d = PointGenerator(config), PointDiscriminator(config)
    ema, (a, b) = EMA(g, 0.95), (torch.optim.Adam(m.parameters(), lr=5e-3, betas=(0.0, 0.99)) for m in (d, g))
    game = [Turn(d, CriticLoss(g, 2, r1=1.0), a), Turn(g, GeneratorLoss(d, 2), b, ema=ema)]
    run(game, Batches({"x": x}, 64, seed=0), 300, clip=None, progress=False)
    made = ema.model(torch.randn(2000, 2))
    assert (made.mean(0) - x.mean(0)).abs().max() < 0.25
    assert ((made.std(0) / x.std(0)).log().abs() < 0.5).all()


def test_losses_on_meta():
    g, d = (m.to("meta") for m in players())
    loss, _ = CriticLoss(g, Z, r1=1.0, gp=1.0)(d, {"x": torch.empty(4, D, device="meta")})
    other, _ = GeneratorLoss(d, Z)(g, {"x": torch.empty(4, D, device="meta")})
    (loss + other).backward()
    assert loss.device.type == "meta" and all(p.grad.device.type == "meta" for m in (g, d) for p in m.parameters())


@pytest.mark.cuda
def test_cuda_gives_what_the_cpu_gives():
    x, z, share = points(4).float(), torch.randn(4, Z), torch.rand(4)
    found = {}
    for device in ("cpu", "cuda"):
        g, d = (m.to(device) for m in players())
        terms = CriticLoss(g, Z, r1=1.0, gp=1.0).terms(d, x.to(device), z.to(device), share.to(device))
        found[device] = {**terms, **GeneratorLoss(d, Z).terms(g, z.to(device))}
    for name, value in found["cpu"].items():
        torch.testing.assert_close(found["cuda"][name].cpu(), value, rtol=1e-3, atol=1e-4)
