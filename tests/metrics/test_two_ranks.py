"""Two gloo processes on the CPU find the moments that one process finds."""

import runpy
from pathlib import Path

import pytest
import torch

from minidiff.metrics import moments

SCRIPT = Path(__file__).with_name("moments_ranks.py")
HERE = runpy.run_path(str(SCRIPT))
pytestmark = [pytest.mark.two_process, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def found(tmp_path_factory, two_ranks):
    """What each rank has found."""
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks(SCRIPT, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", [name for name, sizes in HERE["SHARES"].items() if sum(sizes)])
def test_two_ranks_equal_one_process(found, name):
    mean, cov = moments(HERE["everything"]())
    for n, their_mean, scatter in (rank[name] for rank in found):
        assert n == 90
        assert (their_mean - mean).abs().max() <= 1e-10 * mean.abs().max()
        assert (scatter / 89 - cov).abs().max() <= 1e-10 * cov.abs().max()
        small = (scatter / 89)[2, 2]  # the dimension whose values are a million times smaller
        assert small == pytest.approx(cov[2, 2].item(), rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(found[0][name][1:], found[1][name][1:], strict=True))


def test_ranks_without_features(found):
    assert all(rank["none at all"] == (0, None, None) for rank in found)


def test_ranks_that_disagree_say_so_in_both(found):
    assert found[0]["error"] == found[1]["error"]
    assert "features must have one dimension in all processes; got 3 and 4" in found[0]["error"]
