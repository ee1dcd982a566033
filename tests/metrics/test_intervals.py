"""Intervals: how often they hold the truth, on distributions where it is known."""

import math

import pytest
import torch

from minidiff.metrics import (
    bootstrap,
    clip_score,
    cmmd,
    density_coverage,
    frechet_from_features,
    half_samples,
    inception_score,
    mmd2,
    precision_recall,
    share,
    wilson,
)

f64 = torch.float64


def normal(n, d, seed=0, scale=1.0, shift=0.0):
    return scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=f64) + shift


def coverage(interval, draw, truth, trials=100):
    """Share of intervals that hold the truth, over fresh samples."""
    held = 0
    for seed in range(trials):
        low, high = interval(*draw(seed))
        held += low <= truth <= high
    return held / trials


def expectation(metric, draw, trials=300):
    """Of a metric at this sample size, over samples that no interval sees."""
    return sum(metric(*draw(seed)) for seed in range(10_000, 10_000 + trials)) / trials


def test_bootstrap_of_a_mean():
    def draw(seed):
        return (normal(60, 1, seed).exp(),)

    def mean(x):
        return x.mean().item()

    # A skewed distribution: the interval is a little short, as theory says, and no worse.
    found = coverage(lambda x: bootstrap(mean, x, n=100, level=0.9), draw, torch.tensor(0.5).exp().item())
    assert 0.78 < found < 0.95


def test_bootstrap_of_the_clip_score():
    def draw(seed):
        images = normal(50, 6, seed)
        return images, images + normal(50, 6, seed + 5000, 1.5)

    def score(a, b):
        return clip_score(a, b).score

    found = coverage(lambda *x: bootstrap(score, *x, n=100, level=0.9), draw, expectation(score, draw, 1000))
    assert 0.8 < found < 0.97


@pytest.mark.parametrize("metric", [frechet_from_features, mmd2, cmmd])
def test_halves_hold_the_expectation_of_distributions_that_differ(metric):
    def draw(seed):
        return normal(64, 4, seed), normal(80, 4, seed + 5000, 0.8, 0.4)

    found = coverage(lambda *x: half_samples(metric, *x, n=25, level=0.9), draw, expectation(metric, draw))
    assert 0.8 < found < 0.99


def test_halves_spread_as_what_neighbours_say():
    def draw(seed):
        return normal(90, 4, seed), normal(100, 4, seed + 5000, 0.8, 0.4)

    def metric(a, b):
        return (*precision_recall(a, b), *density_coverage(a, b))

    values = torch.tensor([metric(*draw(seed)) for seed in range(10_000, 10_200)], dtype=f64)
    widths, held = torch.zeros(4, dtype=f64), torch.zeros(4)
    for seed in range(50):
        low, high = torch.tensor(half_samples(metric, *draw(seed), n=15, level=0.9), dtype=f64).T
        widths += (high - low) / 100
        held += (low <= values.mean(dim=0)) & (values.mean(dim=0) <= high)
    ratio = widths / 1.645 / values.std(dim=0)
    assert ((ratio > 0.75) & (ratio < 1.4)).all()
    assert (held / 50 > 0.72).all()  # shares near 1 are skewed, which a symmetric interval cannot follow


@pytest.mark.parametrize("metric", [frechet_from_features, mmd2, cmmd])
def test_halves_of_equal_distributions_are_not_too_narrow(metric):
    def draw(seed):
        return normal(60, 4, seed), normal(70, 4, seed + 5000)

    found = coverage(lambda *x: half_samples(metric, *x, n=25, level=0.9), draw, expectation(metric, draw))
    assert found > 0.88


def test_halves_of_the_inception_score():
    def draw(seed):
        return (2 * normal(100, 5, seed),)

    def score(x):
        return inception_score(x, logits=True, splits=2).mean

    found = coverage(lambda x: half_samples(score, x, n=25, level=0.9), draw, expectation(score, draw))
    assert 0.8 < found < 0.99


def test_copies_are_why_the_bootstrap_is_not_used_with_neighbours():
    real, fake = normal(80, 6, 1), normal(80, 6, 2)
    value = precision_recall(real, fake).precision
    rng = torch.Generator().manual_seed(0)
    drawn = torch.stack([torch.randint(80, (80,), generator=rng) for _ in range(20)])
    copied = [precision_recall(real[i], fake).precision for i in drawn]
    assert sum(copied) / 20 < value - 0.04
    low, high = half_samples(lambda a, b: precision_recall(a, b).precision, real, fake)
    assert low < value < high


def test_rows_are_paired_in_a_bootstrap_and_sets_apart_in_halves():
    x = normal(30, 2)

    def equal(a, b):
        return float(torch.equal(a, b))

    assert bootstrap(equal, x, x, n=5) == (1, 1)
    seen = []

    def look(a, b):
        seen.append((len(a), len(b), len(a.unique(dim=0)), torch.equal(a[:10], b[:10])))
        return 0.0

    half_samples(look, x, x[:21], n=3)
    assert seen == [(30, 21, 30, True)] + 3 * [(15, 10, 15, False)]


def test_several_floats_get_an_interval_each():
    real, fake = normal(40, 3, 1), normal(50, 3, 2, 0.7)
    both = half_samples(precision_recall, real, fake, n=9)
    for i, name in enumerate(("precision", "recall")):
        one = half_samples(lambda a, b, name=name: getattr(precision_recall(a, b), name), real, fake, n=9)
        assert both[i] == pytest.approx(one, rel=1e-12)
    found = bootstrap(lambda x: (x.mean().item(), x.amax().item()), real, n=9)
    assert found[0] == bootstrap(lambda x: x.mean().item(), real, n=9) and len(found) == 2


@pytest.mark.parametrize("function", [bootstrap, half_samples])
def test_seed_and_level(function):
    def mean(x):
        return x.mean().item()

    x = normal(50, 2)
    assert function(mean, x, seed=1) == function(mean, x, seed=1) != function(mean, x, seed=2)
    wide, narrow = function(mean, x, level=0.99), function(mean, x, level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("function", [bootstrap, half_samples])
def test_bad_input(function):
    with pytest.raises(ValueError, match="n must be at least 2 draws; got 1"):
        function(torch.mean, normal(9, 2), n=1)
    for level in (0, 1, 95):
        with pytest.raises(ValueError, match=rf"level must be in \(0,1\); got {level}"):
            function(torch.mean, normal(9, 2), level=level)
    with pytest.raises(ValueError, match=r"rows must be at least \d in each set; got \[9, 1\]"):
        function(torch.mean, normal(9, 2), normal(1, 2))
    with pytest.raises(ValueError, match="rows must be at least"):
        function(torch.mean)


def test_unpaired_rows():
    with pytest.raises(ValueError, match=r"rows must be paired, of one length; got lengths \[9, 8\]"):
        bootstrap(torch.mean, normal(9, 2), normal(8, 2))


@pytest.mark.parametrize("hits, n", [(0, 7), (7, 7), (1, 40), (970, 1000)])
def test_wilson_holds_the_shares_that_the_count_does_not_refuse(hits, n):
    low, high = wilson(hits, n)
    for end in (low, high):  # at an end p the count lies z standard deviations from what p expects
        if 0 < end < 1:
            assert abs(hits / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-6)
    assert 0 <= low <= hits / n <= high <= 1


@pytest.mark.parametrize("hits, n", [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses(hits, n):
    with pytest.raises(ValueError, match="hits must lie in 0..n with n above 0"):
        wilson(hits, n)


def test_a_share_of_independent_answers_is_wilsons():
    rng = torch.Generator().manual_seed(0)
    right = (torch.rand(400, generator=rng) < 0.7).tolist()
    assert share(right, range(400)) == pytest.approx(wilson(sum(right), 400), rel=0.01)


def test_copies_of_an_answer_add_nothing():
    rng = torch.Generator().manual_seed(1)
    right = (torch.rand(90, generator=rng) < 0.8).tolist()
    once = share(right, range(90))
    assert share(right * 5, [*range(90)] * 5) == pytest.approx(once, rel=0.01)
    assert share([True] * 50, [*range(10)] * 5) == wilson(10, 10)


def test_a_share_holds_the_truth_as_often_as_it_says():
    """Groups of four, each with a chance of its own: Wilson's interval of all would be too narrow."""
    rng, held, naive = torch.Generator().manual_seed(2), 0, 0
    groups = [i for i in range(60) for _ in range(4)]
    for _ in range(400):
        chance = torch.rand(60, generator=rng).sqrt()  # their mean is 2/3
        right = (torch.rand(240, generator=rng) < chance[groups]).tolist()
        ends, plain = share(right, groups), wilson(sum(right), 240)
        held += ends.low <= 2 / 3 <= ends.high
        naive += plain.low <= 2 / 3 <= plain.high
    assert 0.92 <= held / 400 <= 0.985 and naive < held


@pytest.mark.parametrize("right, groups", [([True], [1, 2]), ([], [])])
def test_groups_must_fit(right, groups):
    with pytest.raises(ValueError, match="groups must be one for each of right"):
        share(right, groups)


@pytest.mark.parametrize("level", (0, 1, 95))
def test_levels_are_shares(level):
    with pytest.raises(ValueError, match="level must be in"):
        wilson(1, 2, level)
