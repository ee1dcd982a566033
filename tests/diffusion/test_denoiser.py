"""From a network's output to (x0, eps), and clipping."""

import pytest
import torch

from minidiff.diffusion import Prediction, Schedule, clipped, consistent, denoiser, given, split_variance

SCHEDULE = Schedule.linear(20, 0.01, 0.3)
LEVELS = torch.tensor([1, 9, 20])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# Network outputs


def test_channels_tell_a_learned_variance():
    out = normal(3, 4, 2, 5)
    same, none = split_variance(out, 4)
    assert same is out and none is None
    mean, fraction = split_variance(out, 2)
    assert torch.equal(mean, out[:, :2])
    assert torch.equal(fraction, (out[:, 2:] + 1) / 2)  # the network's -1 is beta-tilde, its 1 is beta
    for channels in (1, 3, 8):
        with pytest.raises(ValueError, match=f"{channels} or {2 * channels} channels; it returned 4"):
            split_variance(out, channels)


@pytest.mark.parametrize("kind", ["eps", "x0", "v"])
@pytest.mark.parametrize("learned", [False, True])
def test_a_perfect_network_recovers_x0_and_eps(kind, learned):
    x0, eps, fraction = normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1), normal(3, 2, 4, 5, seed=2)
    target = SCHEDULE.target(kind, x0, eps, LEVELS)
    out = torch.cat([target, fraction * 2 - 1], dim=1) if learned else target
    p = denoiser(lambda x_t, t: out, SCHEDULE, kind)(SCHEDULE.q_sample(x0, LEVELS, eps), LEVELS)
    torch.testing.assert_close(p.x0, x0, rtol=0, atol=1e-10)
    torch.testing.assert_close(p.eps, eps, rtol=0, atol=1e-10)
    if learned:
        torch.testing.assert_close(p.var, fraction, rtol=0, atol=1e-10)
    else:
        assert p.var is None


def test_predictions_have_the_dtype_of_the_data():
    x_t = normal(3, 2, 4, 5, dtype=torch.float32)
    p = denoiser(lambda x_t, t: x_t.bfloat16(), SCHEDULE)(x_t, LEVELS)
    assert p.x0.dtype == p.eps.dtype == torch.float32


def test_conditions_reach_the_network():
    seen = {}

    def model(x_t, t, **cond):
        seen.update(cond, t=t)
        return x_t

    y = torch.tensor([4, 5, 6])
    given(denoiser(model, SCHEDULE), {"y": y})(normal(3, 2, 4, 5), LEVELS)
    assert set(seen) == {"y", "t"} and seen["y"] is y and torch.equal(seen["t"], LEVELS)


# Clipping


def far_out(seed=3):
    """A prediction of which about a quarter lies outside [-1, 1], and the x_t that it explains."""
    x0, eps = normal(3, 2, 4, 5, seed=seed), normal(3, 2, 4, 5, seed=seed + 1)
    x0 = x0 * torch.tensor([0.4, 1.0, 3.0], dtype=torch.float64).view(3, 1, 1, 1)
    return Prediction(x0, eps, torch.full_like(x0, 0.25)), SCHEDULE.q_sample(x0, LEVELS, eps)


def test_static_clip():
    p, x_t = far_out()
    got = clipped(lambda x, t: p, SCHEDULE)(x_t, LEVELS)
    assert torch.equal(got.x0, p.x0.clamp(-1, 1)) and not torch.equal(got.x0, p.x0)
    assert got.var is p.var


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.995, 1.0])
def test_dynamic_clip_is_a_quantile_for_each_sample(percentile):
    p, x_t = far_out()
    got = clipped(lambda x, t: p, SCHEDULE, percentile)(x_t, LEVELS)
    bounds = []
    for sample, result in zip(p.x0, got.x0, strict=True):
        ordered = sample.abs().flatten().sort().values.tolist()
        place = percentile * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        bound = max(1.0, ordered[low] + (place - low) * (ordered[high] - ordered[low]))
        torch.testing.assert_close(result, sample.clamp(-bound, bound) / bound, rtol=0, atol=1e-6)  # float32 quantile
        bounds.append(bound)
    assert len(set(bounds)) > 1  # the samples differ, so a quantile over the batch would show


@pytest.mark.parametrize("percentile", [None, 0.8])
def test_eps_is_recomputed_from_the_clipped_x0(percentile):
    p, x_t = far_out()
    got = clipped(lambda x, t: p, SCHEDULE, percentile)(x_t, LEVELS)
    signal, noise = SCHEDULE.coefficients(LEVELS, x_t)
    torch.testing.assert_close(signal * got.x0 + noise * got.eps, x_t, rtol=0, atol=1e-10)
    assert not torch.allclose(got.eps, p.eps)


@pytest.mark.parametrize("percentile", [None, 0.9])
def test_clip_leaves_what_lies_inside(percentile):
    p, x_t = far_out()
    inside = Prediction(p.x0 / p.x0.abs().max(), p.eps)
    x_t = SCHEDULE.q_sample(inside.x0, LEVELS, inside.eps)
    got = clipped(lambda x, t: inside, SCHEDULE, percentile)(x_t, LEVELS)
    assert torch.equal(got.x0, inside.x0)
    torch.testing.assert_close(got.eps, inside.eps, rtol=0, atol=1e-10)


@pytest.mark.parametrize("percentile", [0, -0.1, 1.01, 99.5])
def test_percentiles_that_are_none_are_refused(percentile):
    with pytest.raises(ValueError, match=f"percentile must .* got {percentile}"):
        clipped(lambda x, t: None, SCHEDULE, percentile)


def test_clip_passes_conditions_on():
    p, x_t = far_out()
    got = {}
    clipped(lambda x, t, **cond: got.update(cond) or p, SCHEDULE)(x_t, LEVELS, y=1)
    assert got == {"y": 1}


def test_a_consistent_x0_has_the_small_pictures_means_and_the_models_details():
    generator = torch.Generator().manual_seed(4)
    x_t, x0 = (torch.randn(5, 2, 6, 9, dtype=torch.float64, generator=generator) for _ in range(2))
    low = torch.randn(5, 2, 2, 3, dtype=torch.float64, generator=generator)
    t = torch.tensor([3, 1, 0, 2, 3])
    p = Prediction(x0, SCHEDULE.split("x0", x0, x_t, t)[1])
    got = consistent(lambda x, t: p, SCHEDULE, low)(x_t, t)

    def means(x):
        return torch.stack([x[..., i::3, j::3] for i in range(3) for j in range(3)]).mean(0)

    torch.testing.assert_close(means(got.x0), low, rtol=0, atol=1e-12)
    shift = got.x0 - x0
    for i in range(3):
        for j in range(3):  # within a square, every pixel moves alike
            assert torch.allclose(shift[..., i::3, j::3], shift[..., ::3, ::3], atol=1e-12)
    signal, noise = SCHEDULE.coefficients(t, x_t)
    torch.testing.assert_close((signal * got.x0 + noise * got.eps)[t > 0], x_t[t > 0], rtol=0, atol=1e-10)
    again = consistent(lambda x, t: got, SCHEDULE, low)(x_t, t)
    torch.testing.assert_close(again.x0, got.x0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", ((2, 3, 2, 2), (2, 1, 2, 4), (1, 3, 2, 4), (2, 3, 2, 3)))
def test_a_small_picture_must_fit(shape):
    p = Prediction(torch.zeros(2, 3, 4, 8), torch.zeros(2, 3, 4, 8))
    with pytest.raises(ValueError, match=r"low must be \[B,C,H/f,W/f\] for x0 \[2, 3, 4, 8\]"):
        consistent(lambda x, t: p, SCHEDULE, torch.zeros(shape))(torch.zeros(2, 3, 4, 8), torch.tensor([1, 2]))
