"""Feature extraction and streaming moments."""

import numpy as np
import pytest
import torch

from minidiff.metrics import Moments, features, moments


def rows(n, d, seed=0, scale=1.0, shift=0.0):
    return scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def extractor(x):
    """[B,C,H,W] -> [B,2]: mean and extent of the first channel."""
    return torch.stack([x.mean(dim=(1, 2, 3)), x[:, 0].amax(dim=(1, 2)) - x[:, 0].amin(dim=(1, 2))], dim=1)


def test_features_are_the_extractors_whatever_the_batches():
    images = rows(11, 3 * 5 * 7).view(11, 3, 5, 7).clamp(-1, 1).float()
    whole = extractor(images)
    for size in (1, 4, 11, 256):
        assert torch.equal(features(extractor, images, batch_size=size), whole)
    assert torch.equal(features(extractor, iter(images.split([2, 0, 9]))), whole)


def test_features_carry_no_gradient():
    weight = torch.ones(2, 3, requires_grad=True)
    assert not features(lambda x: x.flatten(1)[:, :2] @ weight, torch.zeros(4, 1, 2, 2)).requires_grad


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 4, 5), r"images must be \[N,C,H,W\]"),
        (torch.zeros(2, 1, 4, 5, dtype=torch.uint8), "torch.uint8"),
        (torch.full((2, 1, 4, 5), 255.0), r"must lie in \[-1,1\]; got values from 255 to 255"),
        (torch.full((2, 1, 4, 5), torch.nan), r"must lie in \[-1,1\]"),
        (torch.zeros(0, 1, 4, 5), "at least one picture"),
    ],
)
def test_pictures_that_are_none(images, message):
    with pytest.raises(ValueError, match=message):
        features(extractor, images)


def test_extractors_that_are_none():
    with pytest.raises(ValueError, match=r"extractor must return \[3,D\]; got \[3, 1, 4, 5\]"):
        features(lambda x: x, torch.zeros(3, 1, 4, 5))
    model = torch.nn.Flatten()
    for of in (model, model.forward):
        with pytest.raises(ValueError, match=r"eval mode; call eval\(\) on the Flatten"):
            features(of, torch.zeros(3, 1, 4, 5))
    assert features(model.eval(), torch.zeros(3, 1, 4, 5)).shape == (3, 20)
    with pytest.raises(ValueError, match="batch_size"):
        features(extractor, torch.zeros(3, 1, 4, 5), batch_size=0)


@pytest.mark.parametrize(("n", "d"), [(2, 5), (7, 3), (301, 13)])
def test_moments_are_numpys(n, d):
    x = rows(n, d, shift=3.0)
    mean, cov = moments(x)
    assert mean.shape == (d,) and cov.shape == (d, d) and mean.dtype == cov.dtype == torch.float64
    np.testing.assert_allclose(mean, x.numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(x.numpy(), rowvar=False), rtol=1e-10, atol=1e-12)
    assert torch.equal(cov, cov.T)


@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("split", [[500], [1] * 500, [499, 1], [17, 400, 83], [3, 1, 1, 495]])
def test_the_split_does_not_matter(split, shift):
    x = rows(500, 6, shift=shift)
    mean, cov = moments(x, chunk=500)
    total = Moments()
    for part in x.split(split):
        total.update(part)
    assert total.n == 500
    assert (total.result().mean - mean).abs().max() <= 1e-10 * mean.abs().max()
    assert (total.result().cov - cov).abs().max() <= 1e-10 * cov.abs().max()


def test_processes_merge_what_they_have():
    x = rows(60, 4, shift=1e3)
    parts = [Moments().update(part) for part in x.split([10, 1, 49])]
    total = Moments().merge(parts[0]).merge(Moments()).merge(parts[1]).merge(parts[2])
    mean, cov = moments(x)
    assert total.n == 60 and parts[0].n == 10
    torch.testing.assert_close(total.result().mean, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(total.result().cov, cov, rtol=1e-10, atol=1e-10)


def test_merging_changes_only_the_one_that_takes():
    a, b = Moments().update(rows(5, 3, 1)), Moments().update(rows(6, 3, 2))
    before = b.result()
    a.merge(b)
    a.update(rows(7, 3, 3))
    assert all(torch.equal(x, y) for x, y in zip(before, b.result(), strict=True))
    fresh = Moments().merge(b)
    fresh.update(rows(7, 3, 3))
    assert all(torch.equal(x, y) for x, y in zip(before, b.result(), strict=True))


def test_the_order_of_merges_does_not_matter():
    x = rows(90, 5, shift=1e4)
    x[:, 3] *= 1e-6
    mean, cov = moments(x)
    parts = [Moments().update(part) for part in x.split([1, 2, 7, 30, 50])]
    for order in ((4, 3, 2, 1, 0), (2, 0, 4, 1, 3)):
        total = Moments()
        for i in order:
            total.merge(parts[i])
        pair = Moments().merge(parts[order[0]]).merge(parts[order[1]])
        rest = Moments().merge(parts[order[4]]).merge(parts[order[2]]).merge(parts[order[3]])
        for found in (total.result(), rest.merge(pair).result()):
            assert (found.mean - mean).abs().max() <= 1e-10 * mean.abs().max()
            assert (found.cov - cov).abs().max() <= 1e-10 * cov.abs().max()


def test_one_process_has_nothing_to_reduce():
    total = Moments().update(rows(9, 2))
    before = total.result()
    assert total.all_reduce() is total and torch.equal(total.result().cov, before.cov)


def test_low_precision_is_summed_in_float64():
    x = rows(4000, 3, shift=50.0)
    for low in (x.float(), x.half(), x.bfloat16()):
        assert (moments(low).cov - moments(low.double()).cov).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5), r"must be \[N,D\]; got \[5\]"),
        (torch.zeros(1, 4), "at least 2 features; got 1"),
        (torch.zeros(0, 4), "at least 2 features; got 0"),
        (torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [0.0, torch.inf]]), "2 of 3 rows hold NaN"),
        (torch.zeros(4, 3, dtype=torch.uint8), "floating-point tensor; got torch.uint8"),
        (torch.zeros(4, 3, dtype=torch.int64), "floating-point tensor; got torch.int64"),
        (torch.full((4, 3), 1e200, dtype=torch.float64), r"must lie within 1e\+150 of 0; got values from 1e\+200"),
    ],
)
def test_features_that_have_no_moments(x, message):
    with pytest.raises(ValueError, match=message):
        moments(x)


def test_the_dimension_must_not_change():
    with pytest.raises(ValueError, match="must have 3 dimensions, like those before; got 4"):
        Moments().update(rows(5, 3)).update(rows(5, 4))
