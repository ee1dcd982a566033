"""Losses with labels."""

import pytest
import torch

from minidiff.diffusion import Schedule
from minidiff.objectives import AttributesLoss, ClassifierLoss, NoisyClassifierLoss, RegressionLoss

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 3.0], [1.0, 2.0, 0.0], [0.5, 0.0, 0.0]])
Y = torch.tensor([0, 2, 0, 1])  # the first two are right


def test_cross_entropy_and_accuracy():
    seen = []
    x = torch.randn(4, 1, 2, 3)
    loss, logs = ClassifierLoss()(lambda x: seen.append(x) or LOGITS.clone().requires_grad_(), {"x": x, "y": Y})
    expected = -LOGITS.log_softmax(1)[torch.arange(4), Y].mean()
    torch.testing.assert_close(loss.detach(), expected)
    assert loss.requires_grad and seen[0] is x
    assert set(logs) == {"loss", "accuracy"} and not logs["loss"].requires_grad
    assert logs["accuracy"].item() == 0.5 and logs["loss"].item() == loss.item()


def test_label_smoothing():
    loss, _ = ClassifierLoss(smoothing=0.3)(lambda x: LOGITS, {"x": torch.zeros(4, 1), "y": Y})
    log_p = LOGITS.log_softmax(1)
    expected = -(0.7 * log_p[torch.arange(4), Y] + 0.3 * log_p.mean(1)).mean()
    torch.testing.assert_close(loss, expected)


def test_prepare_comes_first():
    def prepare(batch):
        return {"x": batch["x"] + 5, "y": batch["y"].flip(0)}

    model = lambda x: x  # noqa: E731
    loss, _ = ClassifierLoss(prepare=prepare)(model, {"x": LOGITS, "y": Y.flip(0)})
    torch.testing.assert_close(loss, ClassifierLoss()(model, {"x": LOGITS + 5, "y": Y})[0])


def test_attributes_are_judged_one_by_one():
    y = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    seen = {}
    loss, logs = AttributesLoss(prepare=lambda b: seen.update(b) or {**b, "x": b["x"] + 1})(
        lambda x: LOGITS + x, {"x": -torch.ones(4, 1), "y": y}
    )
    p = LOGITS.sigmoid()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).sum(1).mean()
    torch.testing.assert_close(loss, expected)
    assert logs["accuracy"].item() == 0.75 and set(seen) == {"x", "y"}  # the second row misses one label


def test_a_noisy_classifier_sees_every_level_from_0():
    schedule, seen = Schedule.linear(3, 0.2, 0.6), []

    def model(x_t, t):
        seen.append((x_t, t))
        return x_t.flatten(1)[:, :3] * 0 + torch.tensor([1.0, 2.0, 3.0])

    n = 4000
    batch = {"x": torch.full((n, 1, 1, 3), 2.0), "y": torch.full((n,), 2)}
    loss, logs = NoisyClassifierLoss(schedule)(model, batch)
    assert loss.item() == pytest.approx(-torch.tensor([1.0, 2.0, 3.0]).log_softmax(0)[2].item(), rel=1e-5)
    assert set(logs) == {"loss"} and set(batch) == {"x", "y"}
    x_t, t = seen[0]
    assert t.unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(x_t[t == 0], batch["x"][t == 0])  # level 0 is clean
    for level in (1, 2, 3):
        got, a = x_t[t == level].flatten(), schedule.alpha_bar[level].item()
        assert abs(got.mean().item() - 2 * a**0.5) < 5 * ((1 - a) / len(got)) ** 0.5
        assert abs(got.var().item() / (1 - a) - 1) < 5 * (2 / len(got)) ** 0.5


def test_with_labels_of_pixels_it_is_cross_entropy_at_every_pixel():
    logits = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 4, 5))

    class Model(torch.nn.Module):
        def forward(self, x):
            return logits + x.sum() * 0

    loss, logs = ClassifierLoss(labels="labels")(Model(), {"x": torch.zeros(2, 1, 4, 5), "labels": labels})
    picked = logits.log_softmax(1).gather(1, labels[:, None])
    torch.testing.assert_close(loss, -picked.mean())
    assert logs["accuracy"] == (logits.argmax(1) == labels).float().mean()


def test_regression_is_a_diffusion_model_called_once_with_nothing():
    class Model(torch.nn.Module):
        def forward(self, x_t, t, low, low_t):
            assert x_t.abs().max() == 0 and t.tolist() == [0, 0] and low_t.tolist() == [4, 5]
            return low.repeat_interleave(2, 2).repeat_interleave(2, 3)

    x, low = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 2, 3)
    loss, logs = RegressionLoss()(Model(), {"x": x, "low": low, "low_t": torch.tensor([4, 5])})
    torch.testing.assert_close(loss, (low.repeat_interleave(2, 2).repeat_interleave(2, 3) - x).square().mean())
    assert logs["loss"] == loss
    with pytest.raises(ValueError, match='needs the key "x"'):
        RegressionLoss()(Model(), {"low": low})
