"""The leaderboard: its recipe on few pictures, and its page."""

import json
from pathlib import Path

import pytest
import torch

from minidiff import evaluation
from minidiff.course import leaderboard as page
from minidiff.data.shapes import captioned
from minidiff.recipes import leaderboard

ROOT = Path(__file__).parents[2]


@pytest.fixture
def few(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path / "results"))
    real = leaderboard.scenes

    def some(n):
        return {
            "shapes-autoencoder": real(n)["shapes-autoencoder"],
            "noise": lambda: torch.rand(n, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1,
        }

    monkeypatch.setattr(leaderboard, "scenes", some)
    return tmp_path


def test_a_board_from_pictures_to_page(few):
    rows = leaderboard.board("scenes", n=24, work=few / "work", halves=2)
    good, noise = rows["shapes-autoencoder"], rows["noise"]
    assert good["frechet_distance"]["value"] < noise["frechet_distance"]["value"]
    assert noise["all_right"]["value"] == 0 and good["all_right"]["floor"] == 1
    leaderboard.report("scenes", rows)
    text = page.table(few / "results")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert "Handwritten" not in text and "| noise |" in lines[2] and "given true pictures" in lines[3]
    assert lines[-1].startswith("| *real pictures") and lines[-1].endswith("| 100.0% |")
    assert "N = 24 and as many real ones; features of shapes-classifier" in text
    again = leaderboard.board("scenes", n=24, work=few / "work", halves=2)
    assert again == rows


def test_nothing_measured_is_said(tmp_path):
    assert "Nothing has been measured yet" in page.table(tmp_path)


def test_a_set_scores_itself_at_0():
    x, others = (captioned(30, "validation", size=64, seed=seed).x for seed in (3, 4))
    found = leaderboard.row(x, x, others, evaluation.load_extractor("shapes-classifier"), 2)
    assert found["frechet_distance"]["value"] == pytest.approx(0, abs=1e-3) and found["precision"]["value"] == 1
    assert found["frechet_distance"]["floor"] > 0.1


def test_gan_digits_do_not_depend_on_how_many_are_made_at_once():
    assert leaderboard.gan_digits(3).shape == (3, 1, 32, 32)
    assert torch.equal(leaderboard.gan_digits(3), leaderboard.gan_digits(3))


def test_the_page_shows_every_recorded_row():
    found = [json.loads(path.read_text("utf-8")) for path in (ROOT / "results").glob("07_board_*.json")]
    text = page.table(ROOT / "results")
    assert all(f"| {row['figure']}" in text for row in found)
