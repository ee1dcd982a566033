"""Guidance against what it promises on toys with a closed form."""

import pytest
import torch

from minidiff.diffusion import (
    Prediction,
    Schedule,
    classifier_free,
    classifier_guided,
    clipped,
    ddim,
    denoiser,
    final,
)

SCHEDULE = Schedule.linear(20, 0.01, 0.3)
LEVELS = torch.tensor([2, 9, 20])
NULL = 7


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def toy(x_t, t, y, low=None):
    """A 'network' whose output depends on everything it is given."""
    out = torch.sin(x_t * (1 + y.view(-1, 1, 1, 1))) + t.view(-1, 1, 1, 1) / 10
    return out if low is None else out + low


DENOISE = denoiser(toy, SCHEDULE)
Y = torch.tensor([0, 3, 5])
X_T = normal(3, 2, 4, 5)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5, -1.0])
def test_classifier_free_extrapolates_x0_and_eps_alike(scale):
    guided = classifier_free(DENOISE, {"y": Y}, {"y": torch.tensor(NULL)}, scale)(X_T, LEVELS)
    with_y, without = DENOISE(X_T, LEVELS, y=Y), DENOISE(X_T, LEVELS, y=torch.full_like(Y, NULL))
    close(guided.eps, without.eps + scale * (with_y.eps - without.eps))
    close(guided.x0, without.x0 + scale * (with_y.x0 - without.x0))
    signal, noise = SCHEDULE.coefficients(LEVELS, X_T)  # equal in x0 and eps: they still explain x_t
    close(signal * guided.x0 + noise * guided.eps, X_T)


def test_scale_0_ignores_the_condition_and_scale_1_is_the_plain_model():
    null = {"y": torch.tensor(NULL)}
    zero = classifier_free(DENOISE, {"y": Y}, null, 0)(X_T, LEVELS)
    assert torch.equal(zero.eps, classifier_free(DENOISE, {"y": Y.flip(0)}, null, 0)(X_T, LEVELS).eps)
    close(zero.eps, DENOISE(X_T, LEVELS, y=torch.full_like(Y, NULL)).eps)
    one = classifier_free(DENOISE, {"y": Y}, null, 1)(X_T, LEVELS)
    assert torch.equal(one.eps, DENOISE(X_T, LEVELS, y=Y).eps)


def test_scale_1_does_not_compute_the_null_half():
    sizes = []

    def counting(x_t, t, y):
        sizes.append(len(x_t))
        return toy(x_t, t, y)

    for scale in (1, 2):
        classifier_free(denoiser(counting, SCHEDULE), {"y": Y}, {"y": torch.tensor(NULL)}, scale)(X_T, LEVELS)
    assert sizes == [3, 6]


def test_conditions_without_a_null_stay_in_both_halves():
    cond = {"y": Y, "low": normal(3, 2, 4, 5, seed=1)}
    guided = classifier_free(DENOISE, cond, {"y": torch.tensor(NULL)}, 3.0)(X_T, LEVELS)
    with_y = DENOISE(X_T, LEVELS, **cond)
    without = DENOISE(X_T, LEVELS, y=torch.full_like(Y, NULL), low=cond["low"])
    close(guided.eps, without.eps + 3 * (with_y.eps - without.eps))


def test_null_values_broadcast_to_each_sample():
    per_sample = classifier_free(DENOISE, {"y": Y}, {"y": torch.full_like(Y, NULL)}, 3.0)(X_T, LEVELS)
    shared = classifier_free(DENOISE, {"y": Y}, {"y": torch.tensor([NULL], dtype=torch.int32)}, 3.0)(X_T, LEVELS)
    assert torch.equal(per_sample.x0, shared.x0)


def test_the_variance_is_that_of_the_conditional_half():
    def model(x_t, t, y):
        return torch.cat([toy(x_t, t, y), y.view(-1, 1, 1, 1).expand_as(x_t).double()], dim=1)

    guided = classifier_free(denoiser(model, SCHEDULE), {"y": Y}, {"y": torch.tensor(NULL)}, 2.0)(X_T, LEVELS)
    close(guided.var, ((Y + 1) / 2).double().view(3, 1, 1, 1).expand_as(X_T))


@pytest.mark.parametrize("null", [{}, {"z": torch.tensor(1)}, {"y": torch.tensor(1), "z": torch.tensor(1)}])
def test_null_must_name_conditions(null):
    with pytest.raises(ValueError, match=r"null must name some of the conditions \['y'\]"):
        classifier_free(DENOISE, {"y": Y}, null, 2.0)


def test_guide_first_then_clip():
    """The other order leaves x0 outside [-1, 1], by the factor of the scale."""
    sampler = ddim(
        clipped(classifier_free(DENOISE, {"y": Y}, {"y": torch.tensor(NULL)}, 30.0), SCHEDULE), SCHEDULE, X_T, 7
    )
    steps = list(sampler)
    assert all(step.x0.abs().max() <= 1 for step in steps)
    assert any(step.x0.abs().max() == 1 for step in steps)


# Classifier guidance: with a Gaussian prior and a Gaussian likelihood, guidance must give the posterior's denoiser.

PRIOR, LIKELIHOOD, SEEN = 0.7, 0.5, 1.3  # x0 ~ N(0, 0.7), y | x0 ~ N(x0, 0.5), y = 1.3


def marginal(t, x):
    a = SCHEDULE.at(t, x)
    return a, 1 - a


def prior_denoiser(x_t, t):
    a, n = marginal(t, x_t)
    x0 = a.sqrt() * PRIOR / (a * PRIOR + n) * x_t
    return Prediction(x0, (x_t - a.sqrt() * x0) / n.sqrt())


def log_prob(x_t, t):
    """log p(y | x_t): x0 | x_t is Gaussian, so y | x_t is too."""
    a, n = marginal(t, x_t)
    mean, var = a.sqrt() * PRIOR / (a * PRIOR + n) * x_t, PRIOR * n / (a * PRIOR + n)
    predictive = torch.distributions.Normal(mean, (var + LIKELIHOOD).sqrt())
    return predictive.log_prob(torch.full_like(mean, SEEN)).flatten(1).sum(1)


def posterior_denoiser(x_t, t):
    """E[x0 | x_t, y] from the two observations of x0, y and x_t / signal."""
    a, n = marginal(t, x_t)
    precision = 1 / PRIOR + 1 / LIKELIHOOD + a / n
    return (SEEN / LIKELIHOOD + a.sqrt() * x_t / n) / precision


def test_classifier_guidance_is_bayes_rule_on_a_gaussian():
    guided = classifier_guided(prior_denoiser, SCHEDULE, log_prob, scale=1.0)(X_T, LEVELS)
    close(guided.x0, posterior_denoiser(X_T, LEVELS))
    signal, noise = SCHEDULE.coefficients(LEVELS, X_T)
    close(signal * guided.x0 + noise * guided.eps, X_T)


def test_classifier_guidance_works_inside_a_sampler_and_lands_in_the_posterior():
    x = normal(4000, 1, seed=2)
    x = final(ddim(classifier_guided(prior_denoiser, SCHEDULE, log_prob, 1.0), SCHEDULE, x, 20))
    assert not x.requires_grad
    mean = PRIOR / (PRIOR + LIKELIHOOD) * SEEN
    plain = final(ddim(prior_denoiser, SCHEDULE, normal(4000, 1, seed=2), 20))
    assert abs(x.mean().item() - mean) < 0.1 and abs(plain.mean().item()) < 0.1


def test_scale_0_of_a_classifier_changes_nothing():
    plain, guided = prior_denoiser(X_T, LEVELS), classifier_guided(prior_denoiser, SCHEDULE, log_prob, 0.0)
    close(guided(X_T, LEVELS).eps, plain.eps)
