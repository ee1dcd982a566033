"""Kernel distance and CMMD against their definitions, closed forms, torchmetrics and the authors' arithmetic."""

import math
import warnings

import pytest
import torch

from minidiff.metrics import cmmd, kernel_distance, kernels, mmd2

f64 = torch.float64


def normal(n, d, seed=0, scale=1.0, shift=0.0):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=f64)
    return scale * x + shift


def rotation(d):
    return torch.linalg.qr(normal(d, d, seed=9)).Q


def written_out(a, b):
    """Unbiased MMD^2 from whole kernel tables, pair by pair."""

    def k(x, y):
        return (sum(p * q for p, q in zip(x, y)) / len(x) + 1) ** 3

    a, b = a.tolist(), b.tolist()
    within = 0
    for s in (a, b):
        within += sum(k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j) / len(s) / (len(s) - 1)
    return within - 2 * sum(k(x, y) for x in a for y in b) / len(a) / len(b)


@pytest.mark.parametrize("chunk", [1 << 22, 20, 1])
@pytest.mark.parametrize(("n", "m", "d"), [(2, 3, 1), (9, 7, 4), (13, 20, 5)])
def test_the_definition(n, m, d, chunk, monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK", chunk)
    a, b = normal(n, d, 1), normal(m, d, 2, 1.5, 0.3)
    assert mmd2(a, b) == pytest.approx(written_out(a, b), rel=1e-11)


def test_torchmetrics_gives_the_same():
    kid = pytest.importorskip("torchmetrics.image.kid")
    a, b = normal(60, 8, 1), normal(47, 8, 2, 1.2, 0.1)
    assert mmd2(a[:30], b[:30]) == pytest.approx(kid.poly_mmd(a[:30], b[:30]).item(), rel=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = kid.KernelInceptionDistance(feature=torch.nn.Identity(), subsets=7, subset_size=23)
    reference.real_features, reference.fake_features = [a], [b]
    torch.manual_seed(5)
    mean, std = (v.item() for v in type(reference).compute(reference))
    found = kernel_distance(a, b, subsets=7, size=23, seed=5)
    assert found.mean == pytest.approx(mean, rel=1e-9) and found.std == pytest.approx(std, rel=1e-9)


def test_one_subset_of_everything_is_the_whole():
    a, b = normal(12, 3, 1), normal(12, 3, 2)
    for seed in (0, 1):
        found = kernel_distance(a, b, subsets=2, size=12, seed=seed)
        assert found.mean == pytest.approx(mmd2(a, b), rel=1e-12) and found.std == pytest.approx(0, abs=1e-15)


def test_the_kernel_distance_has_no_bias():
    values = torch.tensor([mmd2(normal(6, 4, s), normal(5, 4, s + 1000)) for s in range(600)])
    assert abs(values.mean()) < 4 * values.std() / 600**0.5
    assert (values < 0).double().mean() > 0.3


def test_points_in_closed_form():
    # All features of a set equal: the three means are single kernel values.
    a, b = torch.full((4, 3), 0.5, dtype=f64), torch.full((5, 3), -1.0, dtype=f64)
    assert mmd2(a, b) == pytest.approx(1.25**3 + 2**3 - 2 * 0.5**3, rel=1e-12)
    assert mmd2(a, a) == pytest.approx(0, abs=1e-14)


def test_the_gaussian_mmd_in_closed_form():
    """E exp(-|x - y|^2 / 2 s^2) over the unit circle's angles: for x, y uniform it is exp(-1/s^2) I_0(1/s^2)."""
    angles = torch.arange(720, dtype=f64) * (2 * math.pi / 720)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    spread = math.exp(-0.01) * torch.special.i0(torch.tensor(0.01, dtype=f64)).item()
    point = torch.tensor([[2.0, 0.0]], dtype=f64)  # brought to unit length
    assert cmmd(circle, point) == pytest.approx(1000 * (1 + spread - 2 * spread), rel=1e-9)


def test_the_authors_arithmetic_gives_the_same():
    """Plain exponentials of |x|^2 - 2 x.y + |y|^2 in unit vectors, means of whole tables."""
    a, b = normal(40, 6, 1), normal(31, 6, 2, 1, 0.5)
    u, v = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    k = [torch.exp(-torch.cdist(x, y).square() / (2 * 10**2)).mean() for x, y in ((u, u), (v, v), (u, v))]
    assert cmmd(a, b) == pytest.approx(1000 * (k[0] + k[1] - 2 * k[2]).item(), rel=1e-9)


@pytest.mark.parametrize("metric", [mmd2, cmmd])
def test_symmetry_and_rotation(metric):
    a, b, q = normal(40, 5, 1), normal(30, 5, 2, 1.3, 0.4), rotation(5)
    there = metric(a, b)
    assert metric(b, a) == pytest.approx(there, rel=1e-10)
    assert metric(a @ q, b @ q) == pytest.approx(there, rel=1e-10)
    assert metric(a[torch.randperm(40)], b.flip(0)) == pytest.approx(there, rel=1e-10)


def test_only_directions_count_for_cmmd():
    a, b = normal(40, 5, 1), normal(30, 5, 2)
    lengths = torch.linspace(0.1, 7, 40, dtype=f64)[:, None]
    for scale in (1e-140, 3, 1e140):
        assert cmmd(scale * lengths * a, b) == pytest.approx(cmmd(a, b), rel=1e-9)
    assert cmmd(a, a) == 0


def test_both_see_a_shift():
    a, b, far = normal(200, 5, 1), normal(200, 5, 2), normal(200, 5, 3, 1, 1)
    assert mmd2(a, far) > 20 * abs(mmd2(a, b)) and cmmd(a, far) > 20 * cmmd(a, b)


def test_low_precision_is_lifted():
    a, b = normal(40, 6, 1), normal(31, 6, 2)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        low = a.to(dtype), b.to(dtype)
        lifted = [x.double() for x in low]
        assert mmd2(*low) == mmd2(*lifted) and cmmd(*low) == cmmd(*lifted)
        assert kernel_distance(*low, subsets=2, size=9) == kernel_distance(*lifted, subsets=2, size=9)


@pytest.mark.parametrize("metric", [mmd2, cmmd, lambda a, b: kernel_distance(a, b, size=2)])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (normal(9, 3), normal(8, 4), "real and fake must have the same dimension; got 3 and 4"),
        (normal(9, 3)[0], normal(8, 3), r"real must be \[N,D\]"),
        (normal(9, 3), torch.full((8, 3), torch.nan), "fake must be finite; 8 of 8"),
        (normal(9, 3), torch.tensor([[1.0, 2, torch.inf]]), "fake must be finite; 1 of 1"),
        (torch.zeros(9, 3, dtype=torch.uint8), normal(8, 3), "real must be a floating-point tensor; got torch.uint8"),
        (normal(9, 3), torch.ones(8, 3, dtype=torch.int64), "fake must be a floating-point tensor; got torch.int64"),
        (normal(9, 3), torch.zeros(0, 3), "fake must be"),
    ],
)
def test_bad_features(metric, a, b, message):
    with pytest.raises(ValueError, match=message):
        metric(a, b)


def test_bad_sizes():
    a, b = normal(9, 3), normal(7, 3)
    for size in (1, 8):
        with pytest.raises(ValueError, match=rf"size must be in 2..7, .*; got {size}"):
            kernel_distance(a, b, size=size)
    with pytest.raises(ValueError, match="subsets must be at least 1; got 0"):
        kernel_distance(a, b, subsets=0, size=3)
    with pytest.raises(ValueError, match="fake must hold at least 2 features; got 1"):
        mmd2(a, b[:1])
    b[2:4] = 0
    with pytest.raises(ValueError, match="fake must have a direction in each row; 2 of 7 are zero"):
        cmmd(a, b)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    a, b = normal(50, 5, 1), normal(40, 5, 2, 1.3)
    assert mmd2(a.cuda(), b.cuda()) == pytest.approx(mmd2(a, b), rel=1e-9)
    assert cmmd(a.cuda(), b) == pytest.approx(cmmd(a, b), rel=1e-9)
    there = kernel_distance(a.cuda(), b.cuda(), subsets=3, size=20)
    assert there == pytest.approx(kernel_distance(a, b, subsets=3, size=20), rel=1e-9)
