"""The digit classifier: shapes, purity, and that it can learn."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from minidiff.models.classifier import FEATURES, Classifier, ClassifierConfig


def build(**config):
    torch.manual_seed(0)
    return Classifier(ClassifierConfig(**config))


def pictures(n, c=1, h=32, w=32):
    return torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(n)) * 2 - 1


@pytest.mark.parametrize(
    ("config", "shape"),
    [({}, (5, 1, 32, 32)), ({"channels": 3, "classes": 7, "width": 12}, (2, 3, 24, 40)), ({"width": 4}, (3, 1, 8, 9))],
)
def test_shapes(config, shape):
    model = build(**config).eval()
    x = pictures(*shape)
    assert model.features(x).shape == (shape[0], FEATURES)
    assert model(x).shape == (shape[0], model.config.classes)


def test_features_are_what_the_last_layer_sees():
    model = build().eval()
    x = pictures(6)
    torch.testing.assert_close(model(x), model.head(model.features(x)))


def test_pure_in_eval_and_random_only_in_training():
    model, x = build(dropout=0.5), pictures(4)
    model.eval()
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))
    assert torch.equal(model.features(x), model.features(x))  # dropout comes after them


def test_a_picture_does_not_depend_on_its_batch():
    model, x = build().eval(), pictures(7)
    for mode in (model.eval(), model.train()):
        torch.testing.assert_close(mode.features(x)[2:3], mode.features(x[2:3]), rtol=1e-4, atol=1e-5)


def test_size_and_half_precision_storage():
    model = build().eval()
    assert 200_000 < sum(p.numel() for p in model.parameters()) < 320_000
    assert not list(model.buffers())  # nothing but parameters to average
    stored = build().eval()
    stored.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    x = pictures(16)
    assert (stored(x) - model(x)).abs().max() < 0.01


def test_it_learns_a_few_digits():
    from minidiff.data import load

    batch = {k: v[:64] for k, v in load("digits").items()}
    model = build(width=8, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(batch["x"]), batch["y"]).backward()
        optimizer.step()
    assert (model(batch["x"]).argmax(1) == batch["y"]).float().mean() > 0.95


def test_gradients_reach_every_parameter():
    model = build()
    F.cross_entropy(model(pictures(8)), torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_meta_device():
    with torch.device("meta"):
        model = Classifier(ClassifierConfig())
    assert model(torch.empty(2, 1, 32, 32, device="meta")).shape == (2, 10)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", 0),
        ("classes", 1),
        ("width", 3),
        ("width", 8.0),
        ("channels", True),
        ("dropout", 1.0),
        ("dropout", -0.1),
    ],
)
def test_bad_configs(field, value):
    with pytest.raises(ValueError, match=f"{field} must"):
        ClassifierConfig(**{field: value})


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ClassifierConfig().width = 3


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 32, 32), (2, 1, 32, 7)])
def test_bad_pictures(shape):
    with pytest.raises(ValueError, match=r"x must be \[B,1,H,W\] with H and W of at least 8; got"):
        build()(torch.zeros(shape))


def test_a_grid_remembers_where_things_are():
    torch.manual_seed(0)
    x = torch.full((1, 1, 32, 32), -1.0)
    x[:, :, 4:12, 4:12] = 1
    moved = x.flip(3)
    for grid, share in ((1, 0.2), (4, None)):
        model = Classifier(ClassifierConfig(width=8, grid=grid)).eval()
        a, b = model.features(x), model.features(moved)
        change = ((a - b).norm() / a.norm()).item()
        assert change < share if share else change > 0.2
    assert model.project.in_features == 4 * 8 * 16
    with pytest.raises(ValueError, match="grid must be an integer of at least 1; got 0"):
        ClassifierConfig(grid=0)
