"""Forward, loss and samplers of everything on another device than the CPU.

On torch's `meta` device tensors have shapes and no values, and meeting a CPU tensor is an error: a table or a constant
left on the CPU is found without a GPU. The tests marked `cuda` run where there is one and compare with the CPU.
"""

from collections import namedtuple

import pytest
import torch
from torch import nn

from minidiff.diffusion import (
    Schedule,
    classifier_free,
    classifier_guided,
    clipped,
    ddim,
    ddpm,
    denoiser,
    final,
    generators,
    given,
    invert,
    randn,
)
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import ClassifierLoss, DiffusionLoss, NoisyClassifierLoss
from minidiff.training import EMA

B, C, H, W = 3, 2, 8, 12
EVERYTHING = UNetConfig(
    channels=C, width=8, mults=(1, 2), blocks=1, attention=(0,), head_dim=4, patch=2, classes=5, text=7, image_emb=11,
    low=1, learned_var=True,
)  # fmt: skip
SCHEDULES = {"linear": Schedule.linear, "cosine": Schedule.cosine, "scaled_linear": Schedule.scaled_linear}
STEPS = 2  # the first adds noise, the last does not
Case = namedtuple("Case", "model cond null x t")


class Reader(nn.Module):
    """A classifier of (x_t, t)."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(C * H * W, 5)

    def forward(self, x, t=None):
        out = self.out(x.flatten(1))
        return out if t is None else out + t[:, None] / 1000


def case(device):
    """A U-Net with every condition; its weights and inputs are drawn on the CPU, the same for each device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = UNet(EVERYTHING)
        for p in model.parameters():
            if p.count_nonzero() == 0:
                nn.init.normal_(p, std=0.1)
        cond = {
            "y": torch.tensor([0, 4, 2]),
            "text": torch.randn(B, 6, 7),
            "mask": torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool(),
            "image_emb": torch.randn(B, 11),
            "low": torch.randn(B, 1, 4, 5),
            "low_t": torch.tensor([1, 50, 900]),
        }
        null = {"y": torch.tensor(5), "text": torch.zeros(6, 7), "image_emb": torch.zeros(11)}
        x = torch.rand(B, C, H, W) * 2 - 1
    move = lambda tensors: {k: v.to(device) for k, v in tensors.items()}  # noqa: E731
    return Case(model.to(device).eval(), move(cond), move(null), x.to(device), torch.tensor([1, 1000, 77]).to(device))


def losses(c, schedule):
    """Every term at fixed levels and noise."""
    eps = c.x.flip(0)
    for predict in ("eps", "x0", "v"):
        yield from DiffusionLoss(schedule, predict, vlb=0.001).terms(c.model, c.x, c.t, eps, **c.cond).values()


def samples(c, schedule, rngs=lambda: None):
    """What every sampler draws, with every kind of guidance and clipping."""
    plain = denoiser(c.model, schedule)
    wild = torch.cat([c.x, -c.x])[:B] * 1.3
    reader = Reader().to(c.x.device).requires_grad_(False)
    if c.x.device.type != "meta":
        reader.load_state_dict({"out.weight": torch.full((5, C * H * W), 0.01), "out.bias": torch.arange(5.0)})

    def log_prob(x_t, t):
        return reader(x_t, t).log_softmax(1).gather(1, c.cond["y"][:, None]).squeeze(1)

    free = classifier_free(plain, c.cond, c.null, 3.0)
    steered = classifier_guided(given(plain, c.cond), schedule, log_prob, 2.0)
    yield final(ddpm(clipped(free, schedule), schedule, wild, STEPS, rngs=rngs()))
    yield final(ddim(clipped(free, schedule, 0.9), schedule, wild, STEPS, eta=1.0, rngs=rngs()))
    yield final(ddim(clipped(steered, schedule), schedule, wild, STEPS))
    yield final(ddpm(clipped(steered, schedule), schedule, wild, STEPS, variance="large", rngs=rngs()))
    yield final(invert(clipped(given(plain, c.cond), schedule), schedule, c.x, STEPS, refine=1))


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]()


def test_forward_on_meta():
    c = case("meta")
    out = c.model(c.x, c.t, **c.cond)
    assert out.shape == (B, 2 * C, H, W) and out.device.type == "meta"


def test_losses_on_meta():
    schedule = Schedule.linear()
    c = case("meta")
    values = list(losses(c, schedule))
    assert len(values) == 9 and all(v.shape == (B,) and v.device.type == "meta" for v in values)
    sum(v.sum() for v in values).backward()
    assert all(p.grad.device.type == "meta" for p in c.model.parameters())


def test_a_call_draws_on_meta():
    schedule = Schedule.linear()
    c = case("meta")
    loss, logs = DiffusionLoss(schedule, vlb=0.001)(c.model, {"x": c.x, **c.cond})
    noisy, more = NoisyClassifierLoss(schedule)(Reader().to("meta"), {"x": c.x, "y": c.cond["y"]})
    plain, most = ClassifierLoss()(Reader().to("meta"), {"x": c.x, "y": c.cond["y"]})
    for value in (loss, noisy, plain, *logs.values(), *more.values(), *most.values()):
        assert value.shape == () and value.device.type == "meta"


def test_samplers_on_meta():
    for x in samples(case("meta"), Schedule.linear()):
        assert x.shape == (B, C, H, W) and x.device.type == "meta"


def test_noise_of_generators_goes_where_it_is_asked():
    x = randn((C, H, W), generators(range(B)), like=torch.zeros(1, device="meta"))
    assert x.shape == (B, C, H, W) and x.device.type == "meta"


def test_ema_on_meta():
    c = case("meta")
    ema = EMA(c.model)
    ema.update(c.model)
    assert all(p.device.type == "meta" for p in ema.model.parameters())


def test_a_tensor_left_on_the_cpu_is_found():
    """The test of the tests: meta does refuse what is on the CPU."""
    c = case("meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        c.model(c.x, c.t, **{**c.cond, "text": torch.randn(B, 6, 7)})


@pytest.mark.cuda
def test_cuda_gives_what_the_cpu_gives(schedule):
    here, there = case("cpu"), case("cuda")
    with torch.backends.cudnn.flags(allow_tf32=False), torch.no_grad():
        torch.testing.assert_close(
            there.model(there.x, there.t, **there.cond).cpu(), here.model(here.x, here.t, **here.cond),
            rtol=1e-3, atol=1e-4,
        )  # fmt: skip
        for a, b in zip(losses(there, schedule), losses(here, schedule), strict=True):
            assert a.device.type == "cuda"
            torch.testing.assert_close(a.cpu(), b, rtol=1e-2, atol=1e-3)
    with torch.backends.cudnn.flags(allow_tf32=False):
        rngs = lambda: generators(range(B))  # noqa: E731  (CPU streams: the same noise on both)
        for a, b in zip(samples(there, schedule, rngs), samples(here, schedule, rngs), strict=True):
            assert a.device.type == "cuda"
            torch.testing.assert_close(a.cpu(), b, rtol=1e-2, atol=1e-2)


@pytest.mark.cuda
def test_training_runs_on_cuda(schedule):
    from minidiff.training import fit

    class Loader:
        def from_step(self, step):
            c = case("cpu")
            while True:
                yield {"x": c.x, **c.cond}

    model = UNet(EVERYTHING)
    ema, history = fit(model, DiffusionLoss(schedule, vlb=0.001), Loader(), 3, progress=False)
    assert next(ema.model.parameters()).device.type == next(model.parameters()).device.type == "cuda"
    assert len(history["loss"]) == 3 and all(v == v for v in history["loss"])


@pytest.mark.cuda
def test_a_level_outside_the_table_is_refused_before_cuda_asserts():
    """Types and shapes are checked on the host; values on CUDA are not read, to spare the wait."""
    x = torch.zeros(2, 1, device="cuda")
    with pytest.raises(ValueError, match="t must be int64"):
        Schedule.linear().q_sample(x, torch.tensor([1.0, 2.0], device="cuda"), x)
