"""Checkpoints: what is written comes back, and what cannot be used is refused."""

import errno
import json
import os
import time

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from minidiff.training import EMA, CheckpointError, Turn, run
from minidiff.training import checkpoint as ckpt


class Loader:
    def from_step(self, step):
        while True:
            rng = torch.Generator().manual_seed(step)
            yield {"x": torch.randn(5, 3, 6, 4, generator=rng)}
            step += 1


class Net(nn.Module):
    """Convolutions, dropout, and buffers of two dtypes."""

    def __init__(self, width=7):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.Dropout(0.3), nn.Tanh(),
                nn.Conv2d(width, 3, 1),
            )  # fmt: skip

    def forward(self, x):
        return self.body(x)


class Strided(nn.Module):
    """A parameter that is a transposed matrix in memory."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, 5, generator=rng).t())
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * (x @ self.weight.t()[:, :4] + x)


class Tied(nn.Module):
    """One weight under two names."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def square(model, batch):
    loss = (model(batch["x"]) - batch["x"].flip(1) + torch.rand(())).square().mean()
    return loss, {"loss": loss.detach()}


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)


def turn(model=None, optimizer=adamw, ema=True):
    model = Net() if model is None else model
    return Turn(model, square, optimizer(model), lr=lambda step: 1 / (1 + step), ema=EMA(model, 0.9) if ema else None)


def train(turns, steps, path=None, **more):
    return run(turns, Loader(), steps, checkpoint=path, progress=False, **more)


def state(turns, history):
    """Everything that training has made, by name; taken from the objects, not from what a checkpoint packs."""
    tensors = {f"history.{k}": torch.tensor(v, dtype=torch.float64) for k, v in history.items()}
    rest = []
    for i, t in enumerate(turns):
        tensors |= {f"{i}.model.{k}": v.clone() for k, v in t.model.state_dict().items()}
        if t.ema is not None:
            tensors |= {f"{i}.ema.{k}": v.clone() for k, v in t.ema.model.state_dict().items()}
        optimizer = t.optimizer.state_dict()
        for p, values in optimizer["state"].items():
            known = {k: torch.as_tensor(v) for k, v in values.items() if v is not None}
            tensors |= {f"{i}.optimizer.{p}.{k}": v.clone() for k, v in known.items()}
        rest.append((json.dumps(optimizer["param_groups"], sort_keys=True), t.ema and t.ema.updates))
    return tensors, rest


def assert_identical(one, two):
    (tensors1, rest1), (tensors2, rest2) = one, two
    assert set(tensors1) == set(tensors2) and rest1 == rest2
    for name, value in tensors1.items():
        other = tensors2[name]
        assert value.dtype == other.dtype and value.stride() == other.stride(), name
        assert torch.equal(value.nan_to_num(7.5), other.nan_to_num(7.5)), name


def channels_last():
    return Net().to(memory_format=torch.channels_last)


OPTIMIZERS = {
    "adamw fused": adamw,
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=0.01, weight_decay=0.1),
    "adam amsgrad": lambda m: torch.optim.Adam(m.parameters(), lr=0.01, amsgrad=True),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.01),
    "momentum": lambda m: torch.optim.SGD(m.parameters(), lr=0.01, momentum=0.9),
    "two groups": lambda m: torch.optim.Adam([{"params": p, "lr": 0.01 * i} for i, p in enumerate(m.parameters(), 1)]),
}


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [*((Net, name) for name in OPTIMIZERS), *((m, "adamw fused") for m in (channels_last, Strided, Tied))],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_resumed_run_is_bit_identical(tmp_path, make, optimizer):
    optimizer = OPTIMIZERS[optimizer]
    whole = [turn(make(), optimizer)]
    expected = state(whole, train(whole, 7))
    path = tmp_path / "run.ckpt"
    train([turn(make(), optimizer)], 3, path)
    rest = [turn(make(), optimizer)]
    assert_identical(state(rest, train(rest, 7, path, resume=True)), expected)


def test_several_turns_resume(tmp_path):
    def turns():
        slow = turn(Net(5), ema=False)
        slow.every = 2
        slow.loss = lambda model, batch: (square(model, batch)[0], {"slow": square(model, batch)[0].detach()})
        return [turn(), slow]

    whole, path = turns(), tmp_path / "run.ckpt"
    expected = state(whole, train(whole, 7))
    train(turns(), 3, path)
    rest = turns()
    assert_identical(state(rest, train(rest, 7, path, resume=True)), expected)


def test_what_is_saved_and_when(tmp_path):
    path, steps = tmp_path / "deep" / "er" / "run.ckpt", []

    def look(done):
        steps.append(ckpt.load(path)[1]["step"] if path.exists() else None)

    train([turn()], 7, path, save_every=3, hooks=[look])
    assert steps == [None, None, 3, 3, 3, 6, 7]
    tensors, meta = ckpt.load(path)
    assert meta["step"] == 7 and meta["seed"] == 0 and tensors["history.loss"].shape == (7,)
    assert os.listdir(path.parent) == ["run.ckpt"]


def test_resuming_a_finished_run_does_nothing(tmp_path):
    path, first = tmp_path / "run.ckpt", [turn()]
    history = train(first, 4, path)
    written = path.read_bytes()
    again = [turn()]
    assert train(again, 4, path, resume=True) == history
    assert_identical(state(again, history), state(first, history))
    assert path.read_bytes() == written


def test_seconds_are_those_of_all_parts_of_a_run(tmp_path):
    path = tmp_path / "run.ckpt"
    assert train([turn()], 3, path, hooks=[lambda done: time.sleep(0.05)]).seconds >= 0.1  # the last read comes first
    assert ckpt.load(path)[1]["seconds"] >= 0.1
    rest = train([turn()], 5, path, resume=True)
    assert rest.seconds > 0.1 and ckpt.load(path)[1]["seconds"] == pytest.approx(rest.seconds, abs=0.05)
    assert train([turn()], 5, path, resume=True).seconds == ckpt.load(path)[1]["seconds"]
    tensors, meta = ckpt.load(path)
    ckpt.save(path, tensors, {k: v for k, v in meta.items() if k != "seconds"})  # a file that does not tell
    assert train([turn()], 5, path, resume=True).seconds == 0


def test_resume_without_a_file_starts_from_the_beginning(tmp_path):
    path = tmp_path / "run.ckpt"
    assert len(train([turn()], 2, path, resume=True)["loss"]) == 2 and path.exists()


def test_a_file_that_is_there_is_never_overwritten(tmp_path):
    path = tmp_path / "run.ckpt"
    path.write_bytes(b"somebody's work")
    with pytest.raises(FileExistsError, match=r"run\.ckpt is there already: pass resume=True"):
        train([turn()], 2, path)
    assert path.read_bytes() == b"somebody's work" and os.listdir(tmp_path) == ["run.ckpt"]


# Files that cannot be used


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a good checkpoint after three steps."""
    path = tmp_path_factory.mktemp("good") / "run.ckpt"
    train([turn()], 3, path)
    return path.read_bytes()


def refuse(path, turns=None, match="", **more):
    """Resuming from `path` is refused, and leaves models, optimizers and the file as they were."""
    turns, before = turns or [turn()], path.read_bytes()
    for group in (group for t in turns for group in t.optimizer.param_groups):
        group["initial_lr"] = group["lr"]  # a run notes it at its start
    kept = state(turns, {})
    with pytest.raises(CheckpointError, match=match) as caught:
        train(turns, 9, path, resume=True, **more)
    assert str(path) in str(caught.value)
    assert_identical(state(turns, {}), kept)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0, 1e-3, 0.02, 0.3, 0.7, 0.999])
def test_truncated_files_are_refused(tmp_path, good, share):
    path = tmp_path / "run.ckpt"
    path.write_bytes(good[: int(share * len(good))])
    refuse(path, match="damaged or not a checkpoint")


def test_files_with_something_after_them_are_refused(tmp_path, good):
    path = tmp_path / "run.ckpt"
    path.write_bytes(good + b"more")
    refuse(path, match="damaged or not a checkpoint")


@pytest.mark.parametrize(
    "content",
    [os.urandom(4000), b"\x08" + bytes(7) + b"{}      ", b"text", bytes(100)],
    ids=["random", "empty safetensors", "text", "zeros"],
)
def test_other_bytes_are_refused(tmp_path, content):
    path = tmp_path / "run.ckpt"
    path.write_bytes(content)
    refuse(path, match="damaged|not a minidiff")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "minidiff-checkpoint-0"}])
def test_foreign_safetensors_are_refused(tmp_path, metadata):
    path = tmp_path / "run.ckpt"
    save_file(Net().state_dict(), path, metadata=metadata)
    refuse(path, match="is not a minidiff training checkpoint")


@pytest.mark.parametrize("meta", ["not json", "{}", '{"step": 3}', "[]"])
def test_damaged_metadata_is_refused(tmp_path, meta):
    path = tmp_path / "run.ckpt"
    save_file(Net().state_dict(), path, metadata={"format": ckpt.FORMAT, "meta": meta})
    refuse(path, match="damaged or not a checkpoint")


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (lambda: [turn(Net(9))], r"its body\.0\.weight is \[7, 3, 3, 3\], this model \[9, 3, 3, 3\]"),
        (lambda: [turn(nn.Sequential(Net()))], r"of another model: it lacks 0\.body\.0\.bias"),
        (lambda: [turn(), turn()], "holds 1 turns; this run has 2"),
        (lambda: [turn(ema=False)], "was written with an EMA; this run differs"),
        (lambda: [turn(optimizer=OPTIMIZERS["two groups"])], "optimizer"),
        (lambda: [turn(optimizer=OPTIMIZERS["momentum"])], "optimizer"),
    ],
)
def test_checkpoints_of_other_runs_are_refused(tmp_path, good, other, match):
    path = tmp_path / "run.ckpt"
    path.write_bytes(good)
    refuse(path, other(), match)


def test_another_seed_is_refused(tmp_path, good):
    path = tmp_path / "run.ckpt"
    path.write_bytes(good)
    refuse(path, match="was trained with seed 0; this run has seed 5", seed=5)


def test_a_missing_ema_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    train([turn(ema=False)], 2, path)
    refuse(path, match="was written without an EMA")


def test_extra_parameters_are_named(tmp_path):
    path, net = tmp_path / "run.ckpt", Net()
    train([turn(net)], 2, path)
    bigger = Net()
    bigger.extra = nn.Linear(2, 2)
    refuse(path, [turn(bigger)], r"it lacks extra\.bias")
    smaller = Net()
    del smaller.body[4]
    refuse(path, [turn(smaller)], r"it has, and this model has not, body\.4\.bias")


# Writing


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "run.ckpt"
    ckpt.save(path, {"a": torch.arange(3)}, {"step": 1})
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(ckpt.os, call, full)
    with pytest.raises(OSError, match="no space"):
        ckpt.save(path, {"a": torch.arange(4)}, {"step": 2})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.ckpt"]


def test_the_old_file_stays_until_the_new_one_is_on_disk(tmp_path, monkeypatch):
    path, seen = tmp_path / "run.ckpt", []
    ckpt.save(path, {}, {"step": 1})
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(ckpt.os, "fsync", lambda fd: seen.append(("fsync", ckpt.load(path)[1])) or fsync(fd))
    monkeypatch.setattr(ckpt.os, "replace", lambda a, b: seen.append(("replace", ckpt.load(a)[1])) or replace(a, b))
    ckpt.save(path, {}, {"step": 2})
    assert seen == [("fsync", {"step": 1}), ("replace", {"step": 2})] and ckpt.load(path)[1] == {"step": 2}


def test_tensors_come_back_as_they_were(tmp_path):
    tensors = {
        "scalar": torch.tensor(3),
        "half": torch.randn(2, 3).half(),
        "double": torch.randn(3, dtype=torch.float64),
        "bfloat": torch.randn(4).bfloat16(),
        "flags": torch.tensor([True, False]),
        "turned": torch.randn(4, 5).t(),
        "empty": torch.zeros(0, 3),
    }
    ckpt.save(tmp_path / "t", tensors, {"a": [1, None, 0.1], "text": "ä"})
    found, meta = ckpt.load(tmp_path / "t")
    assert meta == {"a": [1, None, 0.1], "text": "ä"} and set(found) == set(tensors)
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nothing"):
        ckpt.load(tmp_path / "nothing")
