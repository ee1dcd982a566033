"""The sweep of lesson 04: it measures, goes on where it stopped, and decides from its rows."""

import json

import pytest
import torch

from minidiff.course.l04_helpers import measured
from minidiff.metrics import mean_iou
from minidiff.models.fcn import parameters
from minidiff.recipes import pixels, results


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setattr(pixels, "WORK", tmp_path / "rows")
    whole = pixels.TASKS["scenes"]
    small = {**whole.__dict__, "load": lambda split: pixels.scenes(split, 16)}
    monkeypatch.setitem(pixels.TASKS, "scenes", pixels.Task(**small))


def test_a_row_is_measured_once(tiny):
    found = pixels.row("scenes", "sum", "deconvolution", 1e-3, 2, 0, "test")
    assert 0 <= found["iou"] <= 1 and found["parameters"] == parameters(
        pixels.config(pixels.TASKS["scenes"], "sum", "deconvolution")
    )
    assert "hardware" not in pixels.figures(found)
    path = next(pixels.WORK.iterdir())
    path.write_text(json.dumps({"iou": 0.25}))
    assert pixels.row("scenes", "sum", "deconvolution", 1e-3, 2, 0, "test") == {"iou": 0.25}


def test_learning_rate_is_the_best_on_validation_pictures(monkeypatch):
    asked = []

    def row(name, skip, decoder, lr, steps, seed, split):
        asked.append(split)
        return {"lr": lr, "width": 1, "parameters": 1, "score": {3e-3: 2.0, 1e-2: 5.0, 3e-2: 4.0}[lr]}

    monkeypatch.setattr(pixels, "row", row)
    assert pixels.chosen_rate("scenes", "sum", "deconvolution") == 1e-2
    assert pixels.chosen_rate("denoising", "sum", "deconvolution") == 3e-3  # where less is better
    assert set(asked) == {"validation"}


def rows(*values):
    return [{"lr": 1e-2, "width": 1, "parameters": 1, "mse": v, "seconds": 9.0} for v in values]


@pytest.mark.parametrize("fcn, holds", (((0.5, 0.51, 0.49), True), ((0.1, 0.5, 0.3), None), ((0.1, 0.11, 0.1), False)))
def test_claim_is_decided_by_the_interval(monkeypatch, tmp_path, fcn, holds):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    pixels.write("denoising", {pixels.FCN: rows(*fcn), pixels.UNET: rows(0.2, 0.21, 0.19)}, {"a machine"})
    found = next(r for r in results.load(tmp_path) if r.get("name") == "04_denoising_lead")
    assert found["holds"] is holds and found["claim"] == 13
    mean, low, high = measured("denoising", "mse")["concatenate-symmetric"]
    assert mean == pytest.approx(0.2) and low < mean < high
    assert not (tmp_path / "04_denoising_seconds.json").exists()
    assert results.find("04_denoising_learning_rate")["note"].endswith("searched on a machine")


def test_measures_of_a_perfect_network():
    batch = pixels.scenes("validation", 30)

    class Perfect(torch.nn.Module):
        config = pixels.TASKS["scenes"].base

        def forward(self, x):
            return torch.nn.functional.one_hot(batch["labels"], self.config.outputs).permute(0, 3, 1, 2).float()

    found = pixels.measure_labels(Perfect(), batch)
    assert set(found.values()) == {1.0}
    assert mean_iou(batch["labels"] * 0, batch["labels"], 9) < 0.2


def test_splits_differ():
    first = {split: pixels.scenes(split, 5)["x"] for split in ("train", "validation", "test")}
    assert not torch.equal(first["train"], first["test"]) and not torch.equal(first["train"], first["validation"])


@pytest.mark.parametrize("name", pixels.TASKS)
def test_live_learning_rates_are_those_that_the_sweep_chose(name):
    found = next(r for r in results.load() if r.get("name") == f"04_{name}_learning_rate")["value"]
    for (skip, decoder), rate in pixels.BEST[name].items():
        assert found[f"{skip}-{decoder}"] == rate
