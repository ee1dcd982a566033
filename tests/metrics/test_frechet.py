"""The Frechet distance against closed forms, scipy's matrix square root and two libraries."""

import numpy as np
import pytest
import torch

from minidiff.metrics import frechet, frechet_bias, frechet_distance, frechet_from_features, moments
from minidiff.metrics.frechet import _congruence, _distance

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


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 24), (450, 600, 160)])
def test_features_of_full_rank_as_in_scipy(n, m, d):
    x = (normal(n, d, seed=1) @ normal(d, d, seed=3) / d**0.5 + 0.5).relu()
    y = normal(m, d, seed=2).exp()
    reference = by_scipy(*moments(x), *moments(y))
    assert frechet_distance(*moments(x), *moments(y)) == pytest.approx(reference, rel=1e-6)
    assert frechet_from_features(x, y) == pytest.approx(reference, rel=1e-6)


def test_pytorch_fids_formula_gives_the_same(monkeypatch):
    fid = pytest.importorskip("pytorch_fid.fid_score")
    sqrtm = fid.linalg.sqrtm
    # It asks for (root, error estimate), which scipy 1.18 no longer returns.
    monkeypatch.setattr(fid.linalg, "sqrtm", lambda x, disp: (sqrtm(x), 0.0))
    a, b = gaussian(24, 5), gaussian(24, 6)
    reference = fid.calculate_frechet_distance(*(x.numpy() for x in (*a, *b)))
    assert frechet_distance(*a, *b) == pytest.approx(reference, rel=1e-6)


def test_torchmetrics_formula_gives_the_same():
    fid = pytest.importorskip("torchmetrics.image.fid")
    a, b = gaussian(24, 7), gaussian(24, 8)
    assert frechet_distance(*a, *b) == pytest.approx(fid._compute_fid(*a, *b).item(), rel=1e-6)
    x, y = normal(90, 24, seed=1) + 0.2, normal(70, 24, seed=2) @ normal(24, 24, seed=3)
    reference = fid._compute_fid(*moments(x), *moments(y)).item()
    assert frechet_from_features(x, y) == pytest.approx(reference, rel=1e-6)


@pytest.mark.parametrize(("rank1", "rank2"), [(1, 1), (1, 12), (3, 7), (12, 5), (0, 4), (0, 0)])
def test_rank_deficient_covariances(rank1, rank2):
    # Covariances in one basis with some variances zero: the truth is known whatever the rank.
    a, b = normal(12, seed=1).abs() + 0.1, normal(12, seed=2).abs() + 0.1
    a[rank1:], b[: 12 - rank2] = 0, 0
    q, mean = rotation(12), normal(12, seed=3)
    c1, c2 = q @ torch.diag(a) @ q.T, q @ torch.diag(b) @ q.T
    truth = (a.sqrt() - b.sqrt()).square().sum().item()
    assert frechet_distance(mean, c1, mean, c2) == pytest.approx(truth, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(20, 31), (31, 20), (2, 150), (150, 2), (100, 101), (101, 100), (150, 120)])
def test_features_and_their_moments_agree(n, m):
    x, y = normal(n, 100, seed=1) + 3, 0.7 * normal(m, 100, seed=2)
    xc, yc = (x - x.mean(0)) / (n - 1) ** 0.5, (y - y.mean(0)) / (m - 1) ** 0.5
    traces = xc.square().sum() + yc.square().sum()
    truth = (x.mean(0) - y.mean(0)).square().sum() + traces - 2 * torch.linalg.svdvals(xc @ yc.T).sum()
    assert frechet_from_features(x, y) == pytest.approx(truth.item(), rel=1e-10)
    assert frechet_distance(*moments(x), *moments(y)) == pytest.approx(truth.item(), rel=1e-8)


def test_a_set_is_at_no_distance_from_itself():
    for n in (2, 9, 40, 41, 90):
        x = normal(n, 40, seed=n)
        assert 0 <= frechet_from_features(x, x) <= 1e-12 * x.square().sum()
        assert frechet_from_features(x, x + 2) == pytest.approx(160, rel=1e-9)
        for scale in (1e-140, 1e140):
            found = frechet_from_features(scale * x, scale * (x + 2))
            assert found == pytest.approx(160 * scale**2, rel=1e-9)


def difficult(kind, d, seed):
    """Covariances that float64 holds badly."""
    x = normal(4 * d, d, seed=seed)
    if kind == "rank":
        x = normal(d // 2, d, seed=seed)
    if kind == "nearly singular":
        x = x @ gaussian(d, seed, 16)[1]
    if kind == "one more than its rank":
        x = normal(d, d, seed=seed)
    if kind == "constant":
        x[:, seed % 3 :: 3] = 0.1
    if kind == "scaled":
        x = x * 10.0 ** torch.linspace(-9, 9, d, dtype=f64)[torch.randperm(d)]
    if kind == "copied":
        x[:, 1::2] = x[:, ::2]
    if kind == "relu":
        x = (x - 2.5).relu()
    return moments(x).cov


KINDS = ["rank", "nearly singular", "one more than its rank", "constant", "scaled", "copied", "relu", "plain"]


@pytest.mark.parametrize("kind", KINDS)
def test_rounding_does_not_drive_it_below_zero(kind):
    zero = torch.zeros(48, dtype=f64)
    for seed in range(3):
        a = difficult(kind, 48, seed)
        for other in KINDS:
            b = difficult(other, 48, seed + 1)
            for cov1, cov2 in ((a, b), (b, a), (a, a), (a, a * (1 + 1e-9))):
                unclipped, traces = _distance(zero, cov1, zero, cov2), (cov1.trace() + cov2.trace()).item()
                assert unclipped >= -1e-7 * traces
                assert 0 <= frechet_distance(zero, cov1, zero, cov2) < 2 * traces
                if cov1 is a and cov2 is not b:
                    assert abs(unclipped) <= 2e-9 * traces
            there, back = _distance(zero, a, zero, b), _distance(zero, b, zero, a)
            assert there == pytest.approx(back, abs=1e-7 * (a.trace() + b.trace()).item())


def test_small_eigenvalues_keep_their_digits():
    # The same axes, so the truth is known; most eigenvalues of the product are far below its largest times EPS.
    q = rotation(30)
    a = 10 ** torch.linspace(0, -11, 30, dtype=f64)
    b = a.flip(0)
    truth = (a.sqrt() - b.sqrt()).square().sum().item()
    c1, c2 = (q @ torch.diag(v) @ q.T for v in (a, b))
    zero = torch.zeros(30, dtype=f64)
    assert frechet_distance(zero, c1, zero, c2) == pytest.approx(truth, rel=1e-7)
    assert frechet_distance(zero, c1, zero, c1 * 4) == pytest.approx(a.sum().item(), rel=1e-9)


@pytest.mark.parametrize("d", [1, 5, 8, 21])
def test_the_product_by_blocks(d, monkeypatch):
    monkeypatch.setattr(frechet, "BLOCK", 8)
    factor, (_, cov) = normal(d, d).tril(), gaussian(d, 1)
    found = _congruence(factor, cov).tril()
    torch.testing.assert_close(found, (factor.T @ cov @ factor).tril(), rtol=1e-12, atol=1e-13)
    cov = (cov + cov.T) / 2
    skewed = cov.clone()
    skewed[d - 1, 0] += 0.5
    assert frechet._skew(cov) == 0 and (d == 1 or frechet._skew(skewed) == pytest.approx(0.5))


@pytest.mark.parametrize("exponent", [-300, -150, 150, 300])
def test_the_ends_of_the_number_range(exponent):
    (m1, c1), (m2, c2) = gaussian(7, 1), gaussian(7, 2)
    there, s = frechet_distance(m1, c1, m2, c2), 10.0 ** (exponent // 2)
    found = frechet_distance(s * m1, 10.0**exponent * c1, s * m2, 10.0**exponent * c2)
    assert found == pytest.approx(there * 10.0**exponent, rel=1e-9)
    assert frechet_distance(m1, 10.0**exponent * c1, m1, c2) == pytest.approx(
        10.0**exponent * c1.trace().item() if exponent > 0 else c2.trace().item(), rel=1e-9
    )


def test_no_finite_gaussian_gives_nan():
    zero, huge = torch.zeros(7, dtype=f64), 1e308 * torch.eye(7, dtype=f64)  # whose trace is not finite
    assert frechet_distance(zero, huge, zero, huge) == pytest.approx(0, abs=1e296)
    assert frechet_distance(zero, huge, zero, huge / 4) == pytest.approx(7 * 0.25 * 1e308, rel=1e-9)
    assert frechet_distance(zero, huge, zero, 0 * huge) == torch.inf
    assert frechet_distance(zero - 1e200, torch.eye(7), zero, torch.eye(7)) == torch.inf


def test_slightly_skew_covariances_are_mended():
    (m1, c1), (m2, c2) = gaussian(7, 1), gaussian(7, 2)
    skew = 1e-7 * normal(7, 7)
    found = frechet_distance(m1, c1 + skew - skew.T, m2, c2)
    assert found == pytest.approx(frechet_distance(m1, c1, m2, c2), rel=1e-12)


def test_constant_features():
    mean, cov = moments(torch.full((9, 4), 2.5))
    assert (cov == 0).all()
    assert frechet_distance(mean, cov, mean, cov) == 0
    assert frechet_distance(mean, cov, mean + 1, torch.eye(4)) == pytest.approx(8)


def spectrum(name, d):
    """Eigenvalues: all equal, over four powers of ten, or one far above the others."""
    flat, spiked = torch.ones(d, dtype=f64), torch.ones(d, dtype=f64)
    spiked[0] = 50 * d
    return {"flat": flat, "steep": torch.logspace(0, -4, d, dtype=f64), "spiked": spiked}[name]


@pytest.mark.parametrize("name", ["flat", "steep", "spiked"])
@pytest.mark.parametrize(
    ("d", "n", "m", "tolerance"),
    [
        (4, 9, 13, 0.06),
        (24, 25, 40, 0.02),
        (24, 96, 70, 0.02),
        (24, 5, 7, 0.06),
        (40, 3, 4, 0.06),
        (40, 11, 300, 0.04),
        (20, 130, 90, 0.02),
    ],
)
def test_the_bias_is_what_samples_show(name, d, n, m, tolerance):
    eigenvalues, q = spectrum(name, d), rotation(d)
    rng, trials = torch.Generator().manual_seed(d + n), 1000
    found = []
    for _ in range(trials):
        x, y = (torch.randn(size, d, generator=rng, dtype=f64) * eigenvalues.sqrt() @ q.T + 1 for size in (n, m))
        found.append(frechet_from_features(x, y))
    found = torch.tensor(found, dtype=f64)
    error = 3 * found.std().item() / trials**0.5
    bias = frechet_bias(q @ torch.diag(eigenvalues) @ q.T, n, m)
    assert bias == pytest.approx(found.mean().item(), abs=error + tolerance * bias)
    assert error < 0.16 * bias


def test_the_bias_in_closed_form():
    # The first order in 1/n, from the second derivative of the distance: sum over i, j of l_i l_j / 2(l_i + l_j).
    eigenvalues = spectrum("steep", 9)
    a, b = eigenvalues[:, None], eigenvalues[None]
    first = (a * b / (2 * (a + b))).sum() + eigenvalues.sum() / 4
    n, m = 200_001, 300_001
    expected = first * (1 / (n - 1) + 1 / (m - 1)) + eigenvalues.sum() * (1 / n + 1 / m)
    assert frechet_bias(torch.diag(eigenvalues), n, m) == pytest.approx(expected.item(), rel=1e-3)
    # n = m = D + 1 and equal eigenvalues: the integral is 3 pi / 8.
    d = 64
    expected = 2 * d - 2 * d * 2 / np.pi * 3 * np.pi / 8 + 0.5 + 2 * d / (d + 1)
    assert frechet_bias(torch.eye(d), d + 1, d + 1) == pytest.approx(expected, rel=1e-6)


def test_the_bias_scales_and_falls():
    _, cov = gaussian(12, 1, 3)
    there = frechet_bias(cov, 30, 50)
    assert frechet_bias(cov, 50, 30) == pytest.approx(there, rel=1e-9)
    for scale in (1e-200, 7, 1e200):
        assert frechet_bias(scale * cov, 30, 50) == pytest.approx(scale * there, rel=1e-9)
    padded = torch.block_diag(cov, torch.zeros(3, 3))  # constant features cost nothing
    assert frechet_bias(padded, 30, 50) == pytest.approx(there, rel=1e-9)
    falling = [frechet_bias(cov, n, n) for n in (2, 5, 12, 13, 14, 40, 1000, 10**7)]
    assert falling == sorted(falling, reverse=True) and 0 < falling[-1] < 1e-5 * falling[0]
    assert falling[0] < 2 * cov.trace() * 1.5 and frechet_bias(torch.zeros(3, 3), 5, 9) == 0


@pytest.mark.parametrize(
    ("cov", "n", "m", "message"),
    [
        (torch.eye(3), 1, 5, "n and m must be at least 2; got 1 and 5"),
        (torch.zeros(3), 9, 5, r"cov \[D,D\]"),
        (torch.tensor(1.0), 9, 5, r"cov \[D,D\]"),
        (torch.full((2, 2), torch.nan), 9, 5, "cov must be finite; 4"),
        (torch.tensor([[1.0, 0.5], [0, 1]]), 9, 5, "cov must be symmetric"),
        (torch.tensor([[1.0, 3], [3, 1]]), 9, 5, "cov must be positive semi-definite"),
    ],
)
def test_what_has_no_bias(cov, n, m, message):
    with pytest.raises(ValueError, match=message):
        frechet_bias(cov, n, m)


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


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (normal(9, 3), normal(8, 4), "real and fake must have the same dimension; got 3 and 4"),
        (normal(1, 3), normal(8, 3), "real must hold at least 2 features; got 1"),
        (normal(9, 3), normal(8, 3)[0], r"fake must be \[N,D\]"),
        (normal(9, 3), torch.full((8, 3), torch.inf), "fake must be finite; 8 of 8"),
        (normal(9, 3), 1e200 * normal(8, 3), r"fake must lie within 1e\+150 of 0; got values from -"),
        (torch.ones(9, 3, dtype=torch.uint8), normal(8, 3), "real must be a floating-point tensor; got torch.uint8"),
    ],
)
def test_features_that_are_none(real, fake, message):
    with pytest.raises(ValueError, match=message):
        frechet_from_features(real, fake)


def test_low_precision_features_are_lifted():
    for n, m in ((30, 40), (5, 9)):
        x, y = normal(n, 12, seed=1), normal(m, 12, seed=2) + 0.3
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            low = x.to(dtype), y.to(dtype)
            assert frechet_from_features(*low) == frechet_from_features(*(v.double() for v in low))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    for n in (20, 50):
        x, y = normal(n, 30, seed=1), normal(n + 9, 30, seed=2)
        assert frechet_from_features(x.cuda(), y) == pytest.approx(frechet_from_features(x, y), rel=1e-9)
    assert frechet_bias(torch.eye(9).cuda(), 20, 30) == pytest.approx(frechet_bias(torch.eye(9), 20, 30), rel=1e-9)
    a, b = gaussian(30, 1, 4), gaussian(30, 2, 4)
    there = frechet_distance(*(x.cuda() for x in (*a, *b)))
    assert there == pytest.approx(frechet_distance(*a, *b), rel=1e-9)
