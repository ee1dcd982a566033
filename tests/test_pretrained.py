"""Bundled checkpoints: weights and card, out and back."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from minidiff import pretrained
from minidiff.models.classifier import Classifier, ClassifierConfig
from minidiff.models.unet import UNet, UNetConfig

CONFIGS = {
    "classifier": (Classifier, ClassifierConfig(channels=2, classes=3, width=8)),
    "unet": (UNet, UNetConfig(channels=3, width=8, mults=(1, 2), blocks=1, head_dim=4, classes=5)),
}


def build(kind):
    model_class, config = CONFIGS[kind]
    model = model_class(config).train()
    for p in model.parameters():
        if p.count_nonzero() == 0:
            nn.init.normal_(p, std=0.1)
    return model


def forward(kind, model):
    x = torch.randn(2, model.config.channels, 32, 32, generator=torch.Generator().manual_seed(0))
    return model(x) if kind == "classifier" else model(x, torch.tensor([3, 900]), torch.tensor([1, 5]))


@pytest.mark.parametrize("kind", CONFIGS)
def test_out_and_back(tmp_path, kind):
    model, card = build(kind), {"recipe": "a test", "seed": 3, "metrics": {"accuracy": 0.5, "name": "ä"}}
    saved = pretrained.save("some-model", model, card, folder=tmp_path)
    loaded = pretrained.load("some-model", folder=tmp_path)
    for found in (saved, loaded):
        assert type(found.model) is type(model) and found.model.config == model.config
        assert found.card["name"] == "some-model" and found.card["model"]["class"] == type(model).__name__
        assert {k: found.card[k] for k in card} == card
        assert not found.model.training and not any(p.requires_grad for p in found.model.parameters())
        for (name, value), original in zip(found.model.state_dict().items(), model.state_dict().values(), strict=True):
            assert value.dtype == torch.float32 and torch.equal(value, original.half().float()), name
    assert torch.equal(forward(kind, saved.model), forward(kind, loaded.model))
    torch.testing.assert_close(forward(kind, loaded.model), forward(kind, model.eval()), rtol=0.02, atol=0.02)
    assert model.config == CONFIGS[kind][1] and next(model.parameters()).dtype == torch.float32  # left as it was


def test_files_are_half_precision_and_readable(tmp_path):
    pretrained.save("m", build("unet"), {}, folder=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["m.json", "m.safetensors"]
    assert {v.dtype for v in load_file(tmp_path / "m.safetensors").values()} == {torch.float16}
    card = json.loads((tmp_path / "m.json").read_text("utf-8"))
    assert card["model"]["config"]["mults"] == [1, 2] and (tmp_path / "m.json").read_text("utf-8").endswith("}\n")


def test_saving_again_replaces(tmp_path):
    pretrained.save("m", build("unet"), {"seed": 1}, folder=tmp_path)
    pretrained.save("m", build("classifier"), {"seed": 2}, folder=tmp_path)
    found = pretrained.load("m", folder=tmp_path)
    assert isinstance(found.model, Classifier) and found.card["seed"] == 2


def test_names(tmp_path):
    assert pretrained.names(tmp_path) == []
    for name in ("b", "a"):
        pretrained.save(name, build("classifier"), {}, folder=tmp_path)
    (tmp_path / "c.safetensors").touch()  # without its card
    (tmp_path / "d.json").touch()  # without its weights
    assert pretrained.names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("name", ["unknown", "", "../m", "m.safetensors"])
def test_unknown_names_are_refused(tmp_path, name):
    pretrained.save("m", build("classifier"), {}, folder=tmp_path)
    with pytest.raises(ValueError, match=rf"name must be one of \['m'\]; got {name!r}"):
        pretrained.load(name, folder=tmp_path)


@pytest.mark.parametrize("value", [7e4, float("nan"), float("inf")])
def test_weights_that_float16_cannot_hold_are_refused(tmp_path, value):
    model = build("classifier")
    with torch.no_grad():
        model.project.weight[0, 0] = value
    with pytest.raises(ValueError, match=r"project\.weight is not finite in float16"):
        pretrained.save("m", model, {}, folder=tmp_path)
    assert os.listdir(tmp_path) == []


def damage_card(folder, **model):
    card = json.loads((folder / "m.json").read_text("utf-8"))
    card["model"].update(model)
    (folder / "m.json").write_text(json.dumps(card), "utf-8")


DAMAGE = {
    "other sizes": lambda f: damage_card(f, config={"channels": 2, "classes": 4, "width": 8}),
    "another model": lambda f: damage_card(f, **{"class": "UNet", "config": {"channels": 2}}),
    "unknown class": lambda f: damage_card(f, **{"class": "Transformer"}),
    "unknown option": lambda f: damage_card(f, config={"depth": 3}),
    "no card": lambda f: (f / "m.json").write_text("{}"),
    "no json": lambda f: (f / "m.json").write_text("{"),
    "truncated": lambda f: (f / "m.safetensors").write_bytes((f / "m.safetensors").read_bytes()[:-5]),
    "empty": lambda f: (f / "m.safetensors").write_bytes(b""),
    "other weights": lambda f: save_file({"a": torch.ones(1)}, f / "m.safetensors"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_weights_that_do_not_fit_their_card_are_refused(tmp_path, damage):
    pretrained.save("m", build("classifier"), {}, folder=tmp_path)
    DAMAGE[damage](tmp_path)
    with pytest.raises(ValueError, match="the weights of m do not fit its card"):
        pretrained.load("m", folder=tmp_path)


def test_a_model_goes_to_its_device(tmp_path, device):
    pretrained.save("m", build("classifier"), {}, folder=tmp_path)
    found = pretrained.load("m", folder=tmp_path, device=device)
    assert {p.device.type for p in found.model.parameters()} == {device}
