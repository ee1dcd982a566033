"""The Frechet distance against closed forms, scipy's matrix square root and two libraries."""

import warnings

import numpy as np
import pytest
import torch

from minidiff.metrics import frechet_distance, moments
from minidiff.metrics.frechet import _trace_of_root

f64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=f64)


def rotation(d, seed=0):
    return torch.linalg.qr(normal(d, d, seed=seed)).Q


def gaussian(d, seed, spread=1.0):
    """A mean and a covariance whose eigenvalues span `spread` powers of ten."""
    q = rotation(d, seed)
    return normal(d, seed=seed + 50), q @ torch.diag(10 ** torch.linspace(0, -spread, d, dtype=f64)) @ q.T


def by_scipy(mean1, cov1, mean2, cov2):
    linalg = pytest.importorskip("scipy.linalg")
    root = linalg.sqrtm((cov1 @ cov2).numpy())
    return float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace()) - 2 * np.trace(root).real


@pytest.mark.parametrize("d", [1, 2, 5, 33])
def test_gaussians_that_share_their_axes(d):
    a, b, shift = normal(d, seed=1).abs() + 0.1, normal(d, seed=2).abs() + 0.1, normal(d, seed=3)
    q = rotation(d)
    truth = (shift.square().sum() + (a.sqrt() - b.sqrt()).square().sum()).item()
    zero = torch.zeros(d, dtype=f64)
    found = frechet_distance(zero, q @ torch.diag(a) @ q.T, shift, q @ torch.diag(b) @ q.T)
    assert isinstance(found, float)
    assert found == pytest.approx(truth, rel=1e-10)


def test_two_by_two_in_closed_form():
    # tr (AB)^(1/2) of two 2x2 matrices is sqrt(tr(AB) + 2 sqrt(det(AB))); these do not share their axes.
    a = torch.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=f64)
    b = torch.tensor([[0.5, -0.2], [-0.2, 3.0]], dtype=f64)
    root = ((a @ b).trace() + 2 * torch.det(a @ b).sqrt()).sqrt()
    zero = torch.zeros(2, dtype=f64)
    assert frechet_distance(zero, a, zero, b) == pytest.approx((a.trace() + b.trace() - 2 * root).item(), rel=1e-12)


def test_equal_gaussians_are_at_distance_zero():
    for spread in (0, 3, 9):
        mean, cov = gaussian(20, 1, spread)
        assert 0 <= frechet_distance(mean, cov, mean, cov) <= 1e-10 * cov.trace()


def test_symmetry_translation_rotation_and_scale():
    (m1, c1), (m2, c2) = gaussian(17, 1), gaussian(17, 2)
    there = frechet_distance(m1, c1, m2, c2)
    assert frechet_distance(m2, c2, m1, c1) == pytest.approx(there, rel=1e-10)
    assert frechet_distance(m1 + 7, c1, m2 + 7, c2) == pytest.approx(there, rel=1e-10)
    q = rotation(17, 9)
    assert frechet_distance(q @ m1, q @ c1 @ q.T, q @ m2, q @ c2 @ q.T) == pytest.approx(there, rel=1e-10)
    for s in (1e-30, 1e-3, 1e40):
        assert frechet_distance(s * m1, s * s * c1, s * m2, s * s * c2) == pytest.approx(s * s * there, rel=1e-10)


@pytest.mark.parametrize(("d", "spread"), [(3, 1), (40, 2), (64, 6)])
def test_scipys_square_root_gives_the_same(d, spread):
    a, b = gaussian(d, 3, spread), gaussian(d, 4, spread)
    assert frechet_distance(*a, *b) == pytest.approx(by_scipy(*a, *b), rel=1e-6)


def test_sample_moments_as_in_scipy():
    a, b = moments(normal(300, 24, seed=1) @ normal(24, 24, seed=3)), moments(normal(200, 24, seed=2))
    assert frechet_distance(*a, *b) == pytest.approx(by_scipy(*a, *b), rel=1e-6)


def test_pytorch_fids_formula_gives_the_same():
    fid = pytest.importorskip("pytorch_fid.fid_score")
    a, b = gaussian(24, 5), gaussian(24, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            reference = fid.calculate_frechet_distance(*(x.numpy() for x in (*a, *b)))
        except TypeError as error:
            pytest.skip(f"pytorch-fid does not work with this scipy: {error}")
    assert frechet_distance(*a, *b) == pytest.approx(reference, rel=1e-6)


def test_torchmetrics_formula_gives_the_same():
    fid = pytest.importorskip("torchmetrics.image.fid")
    a, b = gaussian(24, 7), gaussian(24, 8)
    assert frechet_distance(*a, *b) == pytest.approx(fid._compute_fid(*a, *b).item(), rel=1e-6)


@pytest.mark.parametrize(("rank1", "rank2"), [(1, 1), (1, 12), (3, 7), (12, 5), (0, 4), (0, 0)])
def test_rank_deficient_covariances(rank1, rank2):
    # Covariances in one basis with some variances zero: the truth is known whatever the rank.
    a, b = normal(12, seed=1).abs() + 0.1, normal(12, seed=2).abs() + 0.1
    a[rank1:], b[: 12 - rank2] = 0, 0
    q, mean = rotation(12), normal(12, seed=3)
    c1, c2 = q @ torch.diag(a) @ q.T, q @ torch.diag(b) @ q.T
    truth = (a.sqrt() - b.sqrt()).square().sum().item()
    assert frechet_distance(mean, c1, mean, c2) == pytest.approx(truth, rel=1e-7, abs=1e-12)


def test_fewer_samples_than_dimensions():
    x, y = normal(20, 100, seed=1), normal(31, 100, seed=2)
    a, b = moments(x), moments(y)
    xc, yc = (x - x.mean(0)) / 19**0.5, (y - y.mean(0)) / 30**0.5
    truth = (a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace() - 2 * torch.linalg.svdvals(xc @ yc.T).sum()
    assert frechet_distance(*a, *b) == pytest.approx(truth.item(), rel=1e-9)


def test_rounding_does_not_drive_it_below_zero():
    for n in (2, 5, 50, 90):
        _, cov = moments(normal(n, 64, seed=n))
        unclipped = 2 * cov.trace() - 2 * _trace_of_root(cov, cov)
        assert unclipped.abs() <= 1e-7 * 2 * cov.trace()
        zero = torch.zeros(64, dtype=f64)
        assert frechet_distance(zero, cov, zero, cov) >= 0


def test_constant_features():
    mean, cov = moments(torch.full((9, 4), 2.5))
    assert (cov == 0).all()
    assert frechet_distance(mean, cov, mean, cov) == 0
    assert frechet_distance(mean, cov, mean + 1, torch.eye(4)) == pytest.approx(8)


def test_the_bias_of_small_samples_is_real():
    # Two samples of one Gaussian are at a distance that falls about as 1/N: why N is printed beside every value.
    def floor(n):
        return frechet_distance(*moments(normal(n, 16, seed=n)), *moments(normal(n, 16, seed=n + 1)))

    assert 1.6 < floor(250) / floor(500) < 2.6


def test_float32_and_numpy_are_taken():
    a, b = gaussian(8, 1), gaussian(8, 2)
    low = frechet_distance(*(x.float() for x in (*a, *b)))
    assert low == pytest.approx(frechet_distance(*a, *b), rel=1e-5)
    assert frechet_distance(*(x.numpy() for x in (*a, *b))) == frechet_distance(*a, *b)


def replaced(which, value):
    arguments = [torch.zeros(3), torch.eye(3), torch.zeros(3), torch.eye(3)]
    arguments[which] = value
    return arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (replaced(1, torch.tensor([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]])), "cov1 must be symmetric"),
        (replaced(3, -torch.eye(3)), "cov2 must have no negative variance"),
        (replaced(3, torch.tensor([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])), "cov2 must be positive semi-definite"),
        (replaced(1, torch.tensor([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]])), "cov1 must be positive semi-definite"),
        (replaced(0, torch.tensor([0, torch.nan, 0])), "mean1 must be finite; 1 of its values are not"),
        (replaced(3, torch.full((3, 3), torch.inf)), "cov2 must be finite; 9 of its values are not"),
        (replaced(2, torch.zeros(4)), r"mean2 must be \[D\] and cov2 \[D,D\].*got \[4\] and \[3, 3\]"),
        (replaced(1, torch.eye(3)[None]), r"cov1 \[D,D\]"),
        ([torch.zeros(2), torch.eye(2), torch.zeros(3), torch.eye(3)], "same dimension; got 2 and 3"),
    ],
)
def test_what_is_no_gaussian(arguments, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(*arguments)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    a, b = gaussian(30, 1, 4), gaussian(30, 2, 4)
    there = frechet_distance(*(x.cuda() for x in (*a, *b)))
    assert there == pytest.approx(frechet_distance(*a, *b), rel=1e-9)
