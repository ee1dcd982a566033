"""Inception Score against closed forms and torchmetrics."""

import math
import warnings

import pytest
import torch

from minidiff.metrics import inception_score

f64 = torch.float64


def logits(n, k, seed=0, scale=2.0):
    return scale * torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=f64)


def test_closed_forms():
    sure = torch.eye(7).repeat(6, 1)
    assert inception_score(sure, logits=False, splits=1) == pytest.approx((7, 0), rel=1e-12)
    unsure = torch.full((30, 7), 1 / 7)
    assert inception_score(unsure, logits=False, splits=4) == pytest.approx((1, 0), rel=1e-9, abs=1e-9)
    one_class = torch.eye(7)[[3] * 20]
    assert inception_score(one_class, logits=False, splits=3) == pytest.approx((1, 0), abs=1e-12)
    # Two classes, each picture sure with probability q: exp(ln 2 - H(q)).
    q = 0.8
    mixed = torch.tensor([[q, 1 - q], [1 - q, q]], dtype=f64).repeat(9, 1)
    entropy = -q * math.log(q) - (1 - q) * math.log(1 - q)
    assert inception_score(mixed, logits=False, splits=1).mean == pytest.approx(2 * math.exp(-entropy), rel=1e-12)


def test_the_definition_split_by_split():
    x, splits = logits(23, 5), 4
    p = x.softmax(dim=1)[torch.randperm(23, generator=torch.Generator().manual_seed(3))].tolist()
    sizes, scores = [6, 6, 6, 5], []
    for size in sizes:
        part, p = p[:size], p[size:]
        marginal = [sum(row[c] for row in part) / size for c in range(5)]
        kl = [sum(v * math.log(v / m) for v, m in zip(row, marginal)) for row in part]
        scores.append(math.exp(sum(kl) / size))
    mean = sum(scores) / splits
    std = (sum((s - mean) ** 2 for s in scores) / splits) ** 0.5
    assert inception_score(x, logits=True, splits=splits, seed=3) == pytest.approx((mean, std), rel=1e-10)


def test_torchmetrics_gives_the_same():
    module = pytest.importorskip("torchmetrics.image.inception")
    x = logits(60, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = module.InceptionScore(feature=torch.nn.Identity(), splits=6)
    reference.features = [x]
    torch.manual_seed(2)
    mean, std = (v.item() for v in type(reference).compute(reference))
    found = inception_score(x, logits=True, splits=6, seed=2)
    # Its std is divided by splits - 1; ours, as in the authors' code, by the splits.
    assert found == pytest.approx((mean, std * (5 / 6) ** 0.5), rel=1e-9)


def test_logits_and_their_probabilities_agree():
    x = logits(50, 6)
    there = inception_score(x, logits=True)
    assert inception_score(x.softmax(dim=1), logits=False) == pytest.approx(there, rel=1e-12)
    assert inception_score(x + torch.arange(50)[:, None], logits=True) == pytest.approx(there, rel=1e-10)
    assert inception_score(x[:, torch.randperm(6)], logits=True) == pytest.approx(there, rel=1e-10)


def test_sorted_classes_are_shuffled():
    score = inception_score(torch.eye(5).repeat_interleave(100, dim=0), logits=False, splits=5)
    assert 4.8 < score.mean < 5


def test_extreme_and_low_precision_scores():
    assert inception_score(1e4 * torch.eye(3).repeat(4, 1), logits=True, splits=1).mean == pytest.approx(3, rel=1e-12)
    p = logits(40, 11).softmax(dim=1)
    off = p * torch.linspace(0.995, 1.005, 40, dtype=f64)[:, None]  # such sums come from low precision
    there = inception_score(p, logits=False, splits=2)
    assert inception_score(off, logits=False, splits=2) == pytest.approx(there, rel=1e-10)
    for dtype, tolerance in ((torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float32, 1e-6)):
        found = inception_score(p.to(dtype), logits=False, splits=2).mean
        assert found == pytest.approx(there.mean, rel=tolerance)


def test_the_seed_shuffles():
    x = logits(40, 5)
    first = inception_score(x, logits=True, seed=1)
    assert first == inception_score(x, logits=True, seed=1) != inception_score(x, logits=True, seed=2)


@pytest.mark.parametrize(
    ("scores", "splits", "message"),
    [
        (logits(20, 4), 2, "scores must be probabilities.*logits=True takes logits"),
        (torch.full((20, 4), 0.3), 2, "sums from 1.2 to 1.2"),
        (torch.tensor([[1.5, -0.5]]), 1, "values from -0.5"),
        (torch.full((3, 4), 0.25), 4, "splits must be in 1..3, at most the rows of scores; got 4"),
        (torch.full((3, 4), 0.25), 0, "got 0"),
        (torch.full((4,), 0.25), 1, r"scores must be \[N,D\]"),
        (torch.tensor([[1.0, torch.nan]]), 1, "scores must be finite; 1 of 1"),
        (torch.ones(3, 1, dtype=torch.uint8), 1, "floating-point tensor; got torch.uint8"),
    ],
)
def test_bad_input(scores, splits, message):
    with pytest.raises(ValueError, match=message):
        inception_score(scores, logits=False, splits=splits)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    x = logits(50, 6)
    assert inception_score(x.cuda(), logits=True) == pytest.approx(inception_score(x, logits=True), rel=1e-10)
