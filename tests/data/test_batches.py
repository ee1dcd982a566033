"""Order, seeking and sharding of the loaders."""

import itertools

import pytest
import torch
from PIL import Image

from minidiff.data import Batches, StreamBatches, folder


def items(batch):
    return batch["x"].flatten().tolist()


def numbers(n):
    """n items that say their own number, in two keys of different shape."""
    return {"x": torch.arange(float(n))[:, None], "y": torch.arange(n)}


def take(iterator, n):
    return [items(batch) for batch in itertools.islice(iterator, n)]


class Numbers:
    """The same as a data set on disk."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {"x": torch.tensor([float(i)]), "y": torch.tensor(i)}


def make(kind, n, batch_size, **options):
    if kind == "memory":
        return Batches(numbers(n), batch_size, **options)
    return StreamBatches(Numbers(n), batch_size, workers=0, **options)


@pytest.fixture(params=["memory", "stream"])
def kind(request):
    return request.param


def test_an_epoch_holds_every_item_once(kind):
    loader = make(kind, 13, 4, drop_last=False)
    assert len(loader) == 4
    assert [len(batch) for batch in take(iter(loader), 9)] == [4, 4, 4, 1]
    assert sorted(sum(take(iter(loader), 9), [])) == list(range(13))


def test_the_last_smaller_batch_is_dropped(kind):
    loader = make(kind, 13, 4)
    assert len(loader) == 3
    assert [len(batch) for batch in loader] == [2, 2, 2]  # two keys each
    assert len(set(sum(take(iter(loader), 9), []))) == 12


def test_without_shuffling_the_order_is_the_sets_own(kind):
    loader = make(kind, 7, 3, shuffle=False, drop_last=False)
    assert take(loader.from_step(1), 3) == [[3, 4, 5], [6], [0, 1, 2]]


@pytest.mark.parametrize("drop_last", [True, False])
def test_seeking_finds_what_reading_on_finds(kind, drop_last):
    loader = make(kind, 11, 3, seed=5, drop_last=drop_last)
    whole = take(loader.from_step(0), 17)
    for step in (0, 1, 3, 4, 7, 12):
        assert take(loader.from_step(step), 17 - step) == whole[step:]
    assert take(iter(loader), 99) == whole[: len(loader)]


def test_seeking_far_ahead_permutes_one_epoch_only(monkeypatch):
    drawn = []
    randperm = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *a, **k: drawn.append(a) or randperm(*a, **k))
    next(Batches(numbers(11), 3).from_step(3_000_001))
    assert len(drawn) == 1


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(kind):
    def epochs(seed):
        every = take(make(kind, 24, 6, seed=seed).from_step(0), 12)
        return [tuple(sum(every[i : i + 4], [])) for i in (0, 4, 8)]

    torch.manual_seed(1)
    first = epochs(0)
    torch.manual_seed(2)
    assert epochs(0) == first
    assert len({*first, *epochs(1), *epochs(2)}) == 9


def test_reading_leaves_the_global_random_state_alone(kind):
    before = torch.get_rng_state()
    take(make(kind, 9, 2).from_step(3), 6)
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_and_stream_have_the_same_order():
    assert take(make("memory", 10, 4, seed=3).from_step(1), 5) == take(make("stream", 10, 4, seed=3).from_step(1), 5)


@pytest.mark.parametrize(("n", "drop_last", "world"), [(14, True, 3), (14, True, 2), (15, False, 3)])
def test_the_ranks_batches_joined_are_the_one_process_batch(kind, n, drop_last, world):
    loader = make(kind, n, 6, seed=2, drop_last=drop_last)
    joint = take(loader.from_step(1), 7)
    ranks = [take(loader.shard(rank, world).from_step(1), 7) for rank in range(world)]
    for k, batch in enumerate(joint):
        assert sum((ranks[rank][k] for rank in range(world)), []) == batch
        assert len({len(ranks[rank][k]) for rank in range(world)}) == 1
    assert len(loader.shard(0, world)) == len(loader)
    assert take(loader.from_step(1), 7) == joint  # the original still is one process's


def test_keys_stay_together(kind):
    for batch in make(kind, 12, 5):
        assert torch.equal(batch["x"][:, 0].long(), batch["y"])


def test_workers_read_the_same_batches(tmp_path):
    for i in range(7):
        Image.new("RGB", (5, 3), (30 * i, 0, 0)).save(tmp_path / f"{i}.png")
    pictures = folder(tmp_path, 4)
    here, there = (StreamBatches(pictures, 3, workers, seed=1).from_step(1) for workers in (0, 1))
    for a, b in itertools.islice(zip(here, there), 4):
        assert a["x"].shape == (3, 3, 4, 4)
        assert torch.equal(a["x"], b["x"])


@pytest.mark.parametrize(
    ("n", "arguments", "message"),
    [
        (5, {"batch_size": 6}, "batch_size must be at most the number of items, 5"),
        (5, {"batch_size": 0}, "batch_size must be an integer of at least 1; got 0"),
        (5, {"batch_size": 2.0}, "batch_size must be an integer"),
        (5, {"batch_size": 2, "seed": -1}, "seed must be"),
        (0, {"batch_size": 1}, "at least"),
    ],
)
def test_bad_arguments(kind, n, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(kind, n, **arguments)


def test_bad_shards_and_steps(kind):
    loader = make(kind, 14, 4, drop_last=False)  # batches of 4, 4, 4, 2
    with pytest.raises(ValueError, match="batch_size must be divisible by the 3 processes; got 4"):
        loader.shard(0, 3)
    with pytest.raises(ValueError, match="last, smaller batch must be divisible by the 4 processes; got 2"):
        loader.shard(0, 4)
    with pytest.raises(ValueError, match=r"rank must lie in 0..world-1, here 0..1; got 2"):
        loader.shard(2, 2)
    with pytest.raises(ValueError, match="step must be"):
        loader.from_step(-1)


def test_sets_that_are_no_batch():
    x = torch.zeros(4, 1, 3, 5)
    with pytest.raises(ValueError, match='must have a tensor "x".*images'):
        Batches({"images": x}, 2)
    with pytest.raises(ValueError, match='"y".* length .*4 .*got 3'):
        Batches({"x": x, "y": torch.zeros(3)}, 2)
    with pytest.raises(ValueError, match='"y".* must be a tensor'):
        Batches({"x": x, "y": [1, 2, 3, 4]}, 2)
    with pytest.raises(ValueError, match="workers"):
        StreamBatches(Numbers(4), 2, workers=-1)


@pytest.mark.parametrize(
    "bad",
    [
        torch.full((4, 3, 5, 6), 200, dtype=torch.uint8),
        torch.full((4, 1, 5, 6), 1.1),
        torch.full((4, 3, 5, 6), torch.nan),
    ],
)
def test_pictures_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=r"must be floats in \[-1,1\]"):
        Batches({"x": bad}, 2)
    assert len(Batches({"x": bad}, 2, check=False)) == 2


def test_latents_and_points_have_no_range():
    assert len(Batches({"x": 9 * torch.ones(4, 8, 3, 5)}, 2)) == 2
    assert len(Batches({"x": 9 * torch.ones(4, 2)}, 2)) == 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_batches_live_where_the_set_lives():
    here = numbers(9)
    there = {k: v.cuda() for k, v in here.items()}
    for a, b in zip(Batches(here, 4), Batches(there, 4), strict=True):
        assert b["x"].is_cuda and torch.equal(a["x"], b["x"].cpu())
    batch = next(StreamBatches(Numbers(9), 4, workers=0, device="cuda").from_step(1))
    assert batch["x"].is_cuda
