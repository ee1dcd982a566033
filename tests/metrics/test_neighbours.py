"""Precision and recall, density and coverage, against their definitions written out."""

import numpy as np
import pytest
import torch

from minidiff.metrics import density_coverage, neighbours, precision_recall


def normal(n, d, seed=0, scale=1.0, shift=0.0):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scale * x + shift


def written_out(real, fake, kp, kd):
    """All four numbers from full tables of distances, by subtraction."""
    real, fake = real.double().numpy(), fake.double().numpy()

    def table(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))

    def radii(x, k):
        return np.sort(table(x, x), axis=1)[:, k]  # column 0 is the point itself

    d = table(real, fake)
    precision = (d <= radii(real, kp)[:, None]).any(axis=0).mean()
    recall = (d <= radii(fake, kp)[None]).any(axis=1).mean()
    inside = d <= radii(real, kd)[:, None]
    return precision, recall, inside.sum() / (kd * len(fake)), inside.any(axis=1).mean()


@pytest.mark.parametrize(
    ("n", "m", "d", "k", "scale", "shift"),
    [
        (50, 37, 2, 1, 1, 0),
        (41, 60, 5, 3, 0.5, 0.3),
        (80, 23, 17, 5, 1.2, 0),
        (30, 30, 1, 3, 1, 1),
        (25, 31, 3, 3, 1, 9),
    ],
)
@pytest.mark.parametrize("chunk", [1 << 22, 200, 30])
def test_the_definitions(n, m, d, k, scale, shift, chunk, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    real, fake = normal(n, d, 1), normal(m, d, 2, scale, shift)
    precision, recall, density, coverage = written_out(real, fake, k, k)
    assert precision_recall(real, fake, k=k) == pytest.approx((precision, recall), abs=1e-12)
    assert density_coverage(real, fake, k=k) == pytest.approx((density, coverage), abs=1e-12)
    low = precision_recall(real.float(), fake.float(), k=k)
    assert low == pytest.approx(written_out(real.float(), fake.float(), k, k)[:2], abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(
    ("n", "m", "d", "scale", "shift"), [(300, 410, 24, 0.9, 0.1), (350, 220, 4, 0.7, 0.5), (90, 90, 300, 1, 0)]
)
def test_prdc_gives_the_same(n, m, d, k, scale, shift, capsys):
    prdc = pytest.importorskip("prdc")
    real, fake = normal(n, d, 1), normal(m, d, 2, scale, shift)
    expected = prdc.compute_prdc(real.numpy(), fake.numpy(), k)
    found = {**precision_recall(real, fake, k)._asdict(), **density_coverage(real, fake, k)._asdict()}
    assert found == {name: pytest.approx(value, rel=1e-12) for name, value in expected.items()}


def difficult(kind):
    """Sets whose distances float32 tells apart badly, or not at all."""
    real, fake = normal(130, 6, 1), normal(110, 6, 2, 0.9)
    if kind == "far from the origin":
        return real + 1e5, fake + 1e5
    if kind == "one far away":
        real[7] += 1e4
        fake[3] -= 3e4
    if kind == "tight clusters":
        centres = 1e4 * normal(5, 6, 3)
        real, fake = real + centres[torch.arange(130) % 5], fake + centres[torch.arange(110) % 4]
    if kind == "tighter clusters":
        centres = 1e7 * normal(5, 6, 3)
        real, fake = real + centres[torch.arange(130) % 5], fake + centres[torch.arange(110) % 4]
    if kind == "on a line":
        real, fake = real * torch.tensor([1, 1e-6, 1e-6, 0, 0, 0]), fake * torch.tensor([1, 1e-6, 0, 0, 0, 1e-9])
    return real, fake


@pytest.mark.parametrize("chunk", [1 << 22, 500])
@pytest.mark.parametrize(
    "kind", ["far from the origin", "one far away", "tight clusters", "tighter clusters", "on a line"]
)
def test_float32_never_decides(kind, chunk, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    real, fake = difficult(kind)
    precision, recall, density, coverage = written_out(real, fake, 3, 3)
    assert precision_recall(real, fake) == pytest.approx((precision, recall), abs=1e-12)
    assert density_coverage(real, fake, k=3) == pytest.approx((density, coverage), abs=1e-12)


def test_the_bound_on_rough_distances_holds():
    for d in (3, 700):
        real, fake = normal(60, d, 1), normal(50, d, 2, 3, 1)
        table = neighbours._Squares(*neighbours._pair(real, fake, 3, both=True))
        i, j = torch.arange(60)[:, None], torch.arange(50)[None].expand(60, -1)
        exact = table.exact(i, j)
        torch.testing.assert_close(exact * table.a.size**2, torch.cdist(real, fake).square(), rtol=1e-9, atol=0)
        for dtype in (torch.float32, torch.float64):
            worst = (table.rough(slice(0, 60), dtype=dtype) - exact).abs().max().item()
            assert 0.01 * torch.finfo(dtype).eps < worst < table.error(dtype)


def test_products_that_a_user_lets_be_coarse(monkeypatch):
    real, fake = normal(90, 8, 1), normal(80, 8, 2)
    there = precision_recall(real, fake)
    seen = []
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    monkeypatch.setattr(
        neighbours._Squares,
        "rough",
        lambda *a, rough=neighbours._Squares.rough, **b: seen.append(rough(*a, **b)) or seen[-1],
    )
    assert precision_recall(real, fake) == there
    assert seen and all(table.dtype == torch.float64 for table in seen)


def test_copies_are_neighbours_at_no_distance():
    # Ten pictures, each thirty times: every ball has radius 0 and holds its copies.
    real, fake = normal(10, 6, 1).repeat(30, 1), normal(10, 6, 1)[:4].repeat(25, 1)
    assert precision_recall(real, fake) == (1, 0.4)
    assert density_coverage(real, fake) == (30 / 5, 0.4)
    assert precision_recall(real, fake + 1e-9) == (0, 0)


def test_points_on_the_edge_are_inside():
    # A grid, whose distances are exact ties; each corner's ball of radius 1 ends at its neighbours.
    grid = torch.cartesian_prod(torch.arange(5.0), torch.arange(4.0)).double()
    for move in (lambda x: x, lambda x: 0.1 * x + 0.3, lambda x: (x + 1e3) / 7):
        real, fake = move(grid), move(torch.tensor([[2.0, -1.0], [2.0, -1.5]]).double())
        assert precision_recall(real, fake, k=1).precision == 0.5
        assert density_coverage(real, fake, k=1).density == 0.5


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e140])
def test_the_ends_of_the_number_range(scale):
    real, fake = normal(60, 5, 1), normal(50, 5, 2, 0.7)
    assert precision_recall(scale * real, scale * fake) == precision_recall(real, fake)
    assert density_coverage(scale * real, scale * fake) == density_coverage(real, fake)


def test_low_precision_is_lifted():
    real, fake = normal(60, 5, 1), normal(50, 5, 2, 0.7)
    for dtype in (torch.float16, torch.bfloat16):
        low = real.to(dtype), fake.to(dtype)
        expected = written_out(*low, 3, 5)
        assert precision_recall(*low) == pytest.approx(expected[:2], abs=1e-12)
        assert density_coverage(*low) == pytest.approx(expected[2:], abs=1e-12)


def test_a_collapsed_generator_is_precise_and_recalls_little():
    real = torch.cat([normal(60, 4, 1), normal(60, 4, 2, shift=40)])
    one_mode = normal(120, 4, 3)
    found = precision_recall(real, one_mode)
    assert found.precision > 0.8 and found.recall <= 0.5
    swapped = precision_recall(one_mode, real)
    assert (swapped.precision, swapped.recall) == (found.recall, found.precision)


def test_sets_far_apart_share_nothing():
    assert precision_recall(normal(20, 3), normal(30, 3, 1, shift=100)) == (0, 0)
    assert density_coverage(normal(20, 3), normal(30, 3, 1, shift=100)) == (0, 0)


@pytest.mark.parametrize("shift", [0, 1e3, 1e6])
def test_a_set_lies_within_itself(shift):
    x = normal(200, 9, shift=shift)
    assert precision_recall(x, x) == (1, 1)
    assert precision_recall(x, x[torch.randperm(200, generator=torch.Generator().manual_seed(0))]) == (1, 1)
    assert density_coverage(x, x).coverage == 1


def test_copies_of_one_point():
    # Every radius is 0; a point on the edge of a ball is inside it (eq. 1 has <=).
    same = torch.full((12, 5), 0.1)
    assert precision_recall(same, same[:9]) == (1, 1)
    assert precision_recall(same, same[:9] + 1) == (0, 0)


def test_translation_rotation_and_scale_change_nothing():
    real, fake = normal(60, 5, 1), normal(50, 5, 2, 0.7)
    q = torch.linalg.qr(normal(5, 5, 3)).Q
    there = precision_recall(real, fake)
    for move in (lambda x: x + 500, lambda x: x @ q, lambda x: 1e-6 * x, lambda x: 1e6 * x):
        assert precision_recall(move(real), move(fake)) == there


def test_results_have_names_and_are_floats():
    found = precision_recall(normal(9, 2), normal(8, 2, 1))
    assert found._fields == ("precision", "recall") and all(type(v) is float for v in found)
    found = density_coverage(normal(9, 2), normal(8, 2, 1))
    assert found._fields == ("density", "coverage") and all(type(v) is float for v in found)


def test_the_inputs_are_left_alone():
    real, fake = normal(12, 3, 1), normal(9, 3, 2)
    before = real.clone(), fake.clone()
    precision_recall(real, fake)
    assert torch.equal(real, before[0]) and torch.equal(fake, before[1])


@pytest.mark.parametrize("function", [precision_recall, density_coverage])
@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (normal(9, 3), normal(8, 4), 3, "same dimension; got 3 and 4"),
        (normal(9, 3), normal(8, 3), 0, r"k must be an integer in 1..\d"),
        (normal(3, 3), normal(8, 3), 3, r"k must be an integer in 1..2, fewer .* got 3"),
        (normal(9, 3)[0], normal(8, 3), 3, r"real must be \[N,D\]"),
        (normal(9, 3), torch.full((8, 3), torch.nan), 3, "fake must be finite; 8 of 8"),
        (normal(9, 3), torch.zeros(8, 3, dtype=torch.long), 3, "fake must be a floating-point"),
        (normal(9, 3), torch.zeros(0, 3), 3, "fake must be"),
    ],
)
def test_bad_input(function, real, fake, k, message):
    with pytest.raises(ValueError, match=message):
        function(real, fake, k=k)


def test_too_few_fakes_for_their_own_balls():
    with pytest.raises(ValueError, match=r"1..2"):
        precision_recall(normal(9, 3), normal(3, 3), k=3)
    assert density_coverage(normal(9, 3), normal(1, 3), k=3).coverage >= 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    real, fake = normal(70, 5, 1), normal(60, 5, 2, 0.7)
    assert precision_recall(real.cuda(), fake.cuda()) == precision_recall(real, fake)
