"""Batches from worker processes are those of one process, in the same order."""

import pytest
import torch

from minidiff.data.shapes import ShapeBatches
from minidiff.data.workers import InWorkers

LOADER = ShapeBatches(16, 6, partial=0.5, seed=1)


@pytest.mark.parametrize("workers", (0, 1, 3))
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_same_batches_in_the_same_order(workers):
    ahead, here = InWorkers(LOADER, workers).from_step(2), LOADER.from_step(2)
    for _ in range(5):
        found, want = next(ahead), next(here)
        assert found.keys() == want.keys()
        assert all(torch.equal(found[k], want[k]) for k in want)


def test_each_process_gets_its_share():
    whole = next(LOADER.from_step(4))
    parts = [next(InWorkers(LOADER).shard(rank, 2).from_step(4)) for rank in range(2)]
    assert torch.equal(torch.cat([part["x"] for part in parts]), whole["x"])


@pytest.mark.parametrize("workers", (-1, 1.5))
def test_a_wrong_number_is_named(workers):
    with pytest.raises(ValueError, match=r"workers must be an integer of at least 0; got"):
        InWorkers(LOADER, workers)
