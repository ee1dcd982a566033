"""The loop: turns, randomness, divergence, what it waits for, and the state that it leaves behind."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from minidiff.diffusion import Schedule
from minidiff.objectives import DiffusionLoss
from minidiff.training import EMA, History, TrainingDiverged, Turn, fit, run, warmup_cosine
from minidiff.training.log import READ_EVERY
from minidiff.training.loop import step_seed


class Loader:
    """Batches that depend on the step alone. `change` edits the batch of a step (from 0)."""

    def __init__(self, change=lambda step, batch: batch):
        self.change = change

    def from_step(self, step):
        while True:
            rng = torch.Generator().manual_seed(step)
            yield self.change(step, {"x": torch.randn(6, 4, generator=rng), "y": torch.arange(6)})
            step += 1


class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 4))

    def forward(self, x, t=None):
        return self.body(x)


def square(model, batch):
    loss = (model(batch["x"]) - batch["x"].flip(1)).square().mean()
    return loss, {"loss": loss.detach()}


def sgd(model, lr=0.1, **more):
    return torch.optim.SGD(model.parameters(), lr=lr, **more)


def turn(model=None, loss=square, lr=0.1, **more):
    model = Net() if model is None else model
    return Turn(model, loss, sgd(model, lr), **more)


def train(turns, steps, loader=None, **more):
    return run(turns, loader or Loader(), steps, progress=False, **more)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Turns


def test_a_step_is_what_it_says():
    """Against a plain loop, without dropout."""
    net, by_hand = Net().eval(), Net()
    for m in (net, by_hand):
        m.body[1].p = 0.0
    history = train([turn(net)], 5, clip=None)
    optimizer, losses = sgd(by_hand), []
    for _, batch in zip(range(5), Loader().from_step(0)):
        loss, _ = square(by_hand, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert torch.equal(weights(net), weights(by_hand))
    assert isinstance(history, History) and history == {"loss": losses}


def test_turns_move_in_order_on_the_same_batch():
    seen = []

    def spy(name):
        def loss(model, batch):
            seen.append((name, batch["x"][0, 0].item()))
            return square(model, batch)[0], {}

        return loss

    train([turn(loss=spy("a")), turn(loss=spy("b"))], 3)
    firsts = [batch["x"][0, 0].item() for _, batch in zip(range(3), Loader().from_step(0))]
    assert seen == [(name, first) for first in firsts for name in "ab"]


def test_every_and_what_the_history_holds():
    def other(model, batch):
        loss, _ = square(model, batch)
        return loss, {"other": loss.detach() * 2}

    slow = turn(loss=other, every=3)
    before, moved = weights(slow.model), []
    history = train([turn(), slow], 7, hooks=[lambda done: moved.append(not torch.equal(before, weights(slow.model)))])
    assert moved == [False, False, True, True, True, True, True]
    assert set(history) == {"loss", "other"} and len(history["loss"]) == len(history["other"]) == 7
    assert not any(math.isnan(v) for v in history["loss"])
    assert [math.isnan(v) for v in history["other"]] == [True, True, False, True, True, False, True]


def test_history_across_several_reads():
    history = train([turn()], 2 * READ_EVERY + 7)
    assert len(history["loss"]) == 2 * READ_EVERY + 7
    shorter = train([turn()], READ_EVERY + 1)
    assert history["loss"][: READ_EVERY + 1] == shorter["loss"]


def test_two_turns_must_not_log_one_name():
    with pytest.raises(ValueError, match=r"each turn must log names of its own; turn 1 logs \['loss'\] again"):
        train([turn(), turn()], 1)


def test_after_comes_before_the_ema():
    net, calls = Net(), []

    def clamp(model):
        calls.append(model)
        with torch.no_grad():
            for p in model.parameters():
                p.clamp_(-0.1, 0.1)

    ema = EMA(net, 0.0)
    train([turn(net, after=clamp, ema=ema, every=2)], 5)
    assert len(calls) == 2 and calls[0] is net and ema.updates == 2
    assert weights(net).abs().max() <= 0.1 and weights(ema.model).abs().max() <= 0.1 + 1e-7


@pytest.mark.parametrize("clip", [None, 0.01, 100.0])
def test_clip_bounds_the_gradient_norm(clip):
    net = Net()
    before = weights(net)
    train([turn(net, lr=1.0)], 1, clip=clip)
    moved = (weights(net) - before).norm().item()
    free = Net()
    train([turn(free, lr=1.0)], 1, clip=None)
    whole = (weights(free) - before).norm().item()
    assert 0.02 < whole < 99
    assert moved == pytest.approx(0.01 if clip == 0.01 else whole, rel=1e-3)


def test_learning_rates_follow_their_factor():
    net, used = Net(), []
    groups = [{"params": net.body[0].parameters(), "lr": 0.5}, {"params": net.body[3].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.2)
    step = optimizer.step
    optimizer.step = lambda *a, **k: used.append([g["lr"] for g in optimizer.param_groups]) or step(*a, **k)
    train([Turn(net, square, optimizer, lr=lambda step: 1 / (1 + step))], 3)
    assert used == [[0.5, 0.2], [0.25, 0.1], [pytest.approx(0.5 / 3), pytest.approx(0.2 / 3)]]


def test_warm_up_and_cosine():
    values = [warmup_cosine(step, 110, 10) for step in range(111)]
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10] == 1 and values[60] == pytest.approx(0.5) and values[110] == pytest.approx(0)
    assert all(b < a for a, b in zip(values[10:], values[11:]))
    assert warmup_cosine(0, 10, 0) == 1  # no warm-up
    assert 0 < warmup_cosine(3, 5, 10) < 1  # a run shorter than its warm-up


def test_fit_trains_and_averages():
    net = Net()
    fitted = fit(net, square, Loader(), 150, lr=0.02, warmup=5, ema_decay=0.9, progress=False)
    assert fitted.ema.updates == 150 and not fitted.ema.model.training
    losses = fitted.history["loss"]
    assert len(losses) == 150 and sum(losses[-20:]) < 0.8 * sum(losses[:20])
    assert 0 < (weights(net) - weights(fitted.ema.model)).abs().max() < 0.5


def test_hooks_are_called_with_the_steps_done():
    seen = []
    train([turn()], 3, hooks=[seen.append, lambda done: seen.append(-done)])
    assert seen == [1, -1, 2, -2, 3, -3]


def test_compiled_models_keep_their_names_and_weights(monkeypatch):
    original = nn.Module.compile
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self) or original(self, backend="eager"))
    a, b = Net(), Net()
    train([turn(a)], 3, compile=True)
    train([turn(b)], 3)
    assert compiled == [a] and list(a.state_dict()) == list(b.state_dict())
    torch.testing.assert_close(weights(a), weights(b))


# Randomness


def test_a_run_leaves_the_global_streams_as_they_were():
    for fail in (False, True):
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        if fail:
            with pytest.raises(ZeroDivisionError):
                train([turn()], 3, hooks=[lambda done: 1 / 0])
        else:
            train([turn()], 3)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert random.getstate() == states[1] and np.random.get_state()[1].tolist() == states[2]


def test_the_seed_alone_decides():
    def outcome(seed, stream):
        torch.manual_seed(stream)
        net = Net()
        train([turn(net)], 4, seed=seed)
        return weights(net)

    assert torch.equal(outcome(0, stream=1), outcome(0, stream=2))
    assert not torch.equal(outcome(0, stream=1), outcome(1, stream=1))


def test_every_step_and_rank_has_its_own_seed():
    seeds = {step_seed(seed, rank, step) for seed in range(5) for rank in range(5) for step in range(40)}
    assert len(seeds) == 1000 and all(0 <= s < 2**63 for s in seeds)


# Divergence


def poison(at, value=math.nan):
    """Makes the loss of step `at` (from 1), and only that one, not finite."""

    def change(step, batch):
        return {**batch, "x": batch["x"] * value} if step + 1 == at else batch

    return Loader(change)


def robust(model, batch):
    """A loss whose gradient is 0 where it is not finite: only the flag can tell."""
    loss = (model(batch["x"].nan_to_num(0, 0, 0)) - 1).square().mean() + batch["x"].detach().sum()
    return loss, {"mean": batch["x"].mean()}


def calm(model, batch):
    return square(model, {"x": batch["x"].nan_to_num(0, 0, 0)})


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("at", [1, 50, 51])
def test_a_bad_loss_stops_training_within_fifty_steps(at, value):
    done = []
    with pytest.raises(TrainingDiverged, match=f"turn 1 \\(function\\) was not finite at step {at}, .*no checkpoint"):
        train([turn(loss=calm), turn(loss=robust)], 200, poison(at, value), hooks=[done.append])
    assert len(done) < at + READ_EVERY


def test_the_message_names_step_learning_rate_and_last_good_checkpoint(tmp_path):
    path = tmp_path / "run.ckpt"
    bad = turn(loss=robust, lr=0.3)
    bad.lr = lambda step: 1 / (1 + step)
    with pytest.raises(TrainingDiverged) as caught:
        train([bad], 200, poison(13), checkpoint=path, save_every=10)
    text = str(caught.value)
    assert "at step 13" in text and f"learning rate {0.3 / 13:g};" in text  # the rate of that step, not of the read
    assert f"the last good checkpoint is {path}, step 10" in text
    resumed = turn(loss=robust, lr=0.3)
    history = train([resumed], 12, checkpoint=path, resume=True, save_every=10)
    assert len(history["mean"]) == 12  # what was kept is good to go on from


def test_a_bad_loss_is_found_before_any_checkpoint_is_written(tmp_path):
    path = tmp_path / "run.ckpt"
    for at in (1, 3):
        with pytest.raises(TrainingDiverged, match=f"at step {at}"):
            train([turn(loss=robust)], 200, poison(at), checkpoint=path, save_every=3)
        assert not path.exists()


def test_the_first_bad_loss_is_named_not_the_first_turn():
    def bad_from(at):
        def loss(model, batch):
            return square(model, batch)[0] * torch.where(batch["step"] >= at, torch.nan, 1.0), {}

        return loss

    loader = Loader(lambda step, batch: {**batch, "step": torch.tensor(step + 1)})
    with pytest.raises(TrainingDiverged, match="turn 1 .* at step 3, learning rate 0.25;"):
        train([turn(loss=bad_from(5)), turn(loss=bad_from(3), lr=0.25)], 20, loader)


def test_a_bad_loss_at_the_very_end_is_found():
    with pytest.raises(TrainingDiverged, match="at step 5"):
        train([turn(loss=robust)], 5, poison(5))


# Waiting for the device


class Watch(TorchDispatchMode):
    """Counts the operations that hand a tensor's value to the host."""

    names = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket.__name__ in self.names
        return func(*args, **(kwargs or {}))


def test_a_step_waits_for_nothing(monkeypatch, tmp_path):
    watch, at = Watch(), []
    for name in ("tolist", "numpy", "__array__", "cpu"):
        original = getattr(torch.Tensor, name)

        def counted(self, *args, original=original, **kwargs):
            watch.count += 1
            return original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    schedule = Schedule.linear(10, 0.01, 0.4)
    moving = Turn(net, DiffusionLoss(schedule), optimizer, lr=lambda step: 0.5, ema=EMA(net))
    loader = Loader(lambda step, batch: {"x": batch["x"]})
    with watch:
        train([moving], 130, loader, hooks=[lambda done: at.append(watch.count)])
    waits = [i + 1 for i, (a, b) in enumerate(zip([at[0], *at], at)) if b > a]
    assert waits == [50, 100, 130]
    with watch:
        assert torch.ones(()).item() == 1  # the watch does see what it is for
    assert watch.count == at[-1] + 1


# Precision, and what is left behind


def spied(seen):
    class Spy(Net):
        def forward(self, x, t=None):
            out = super().forward(x)
            seen.append((torch.is_autocast_enabled("cpu"), self.body[0](x).dtype))
            return out

    return Spy()


def test_precision_can_change_between_runs_of_one_process():
    kinds = {"bf16": (True, torch.bfloat16), "no": (False, torch.float32)}
    for precision in ("bf16", "no", "bf16"):
        seen, outputs = [], []

        def loss(model, batch, outputs=outputs):
            assert not torch.is_autocast_enabled("cpu")  # loss arithmetic is in float32
            outputs.append(model(batch["x"]).dtype)
            return square(model, batch)

        train([turn(spied(seen), loss=loss)], 1, precision=precision)
        assert seen == [kinds[precision]] * 2 and outputs == [torch.float32], precision


def unwrapped(model):
    return "_original_forward" not in vars(model) and getattr(model.forward, "__func__", None) is type(model).forward


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_models_are_unwrapped_at_the_end(precision):
    net = Net()
    train([turn(net)], 2, precision=precision)
    assert unwrapped(net) and net.eval()(torch.ones(1, 4)).dtype == torch.float32
    assert unwrapped(copy.deepcopy(net))
    with pytest.raises(ZeroDivisionError):
        train([turn(net)], 2, precision=precision, hooks=[lambda done: 1 / 0])
    assert unwrapped(net)


def test_models_are_unwrapped_when_a_checkpoint_is_refused(tmp_path):
    net, path = Net(), tmp_path / "run.ckpt"
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="damaged"):
        train([turn(net)], 2, precision="bf16", checkpoint=path, resume=True)
    assert unwrapped(net)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA has fp16")
def test_fp16_on_a_cpu_is_refused_and_leaves_nothing_broken():
    with pytest.raises(ValueError, match="(?i)fp16"):
        train([turn()], 1, precision="fp16")
    train([turn()], 1)


# Refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "precision must be .* got 'float8'"),
        ({"steps": 0}, "steps must be an integer of at least 1; got 0"),
        ({"steps": 2.5}, "steps must be .* got 2.5"),
        ({"save_every": 0}, "save_every must be .* got 0"),
        ({"turns": []}, "turns must not be empty"),
    ],
)
def test_arguments_that_are_none_are_refused(options, message):
    turns, steps = options.pop("turns", [turn()]), options.pop("steps", 2)
    with pytest.raises(ValueError, match=message):
        train(turns, steps, **options)


def test_every_must_be_positive():
    with pytest.raises(ValueError, match="every must be .* got 0"):
        train([turn(every=0)], 2)
