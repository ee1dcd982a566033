"""`minidiff generate` and `minidiff train`: files, messages and exit codes, with systems that were never trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minidiff import cli, recipes

from .pipelines.test_stable_diffusion import PROMPTS, system


@pytest.fixture
def saved(tmp_path, monkeypatch):
    system().save(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "saved")


def generate(capsys, *argv):
    code = cli.main(["generate", *map(str, argv)])
    return code, *capsys.readouterr()


def pictures(path):
    return np.asarray(Image.open(path))


def test_a_caption_becomes_a_file(saved, capsys, tmp_path):
    code, out, err = generate(capsys, PROMPTS[0], "--system", saved)
    assert code == 0 and out == "minidiff.png\n" and "drawing" in err and "3/3" in err  # the system's own steps
    first = pictures("minidiff.png")
    assert generate(capsys, PROMPTS[0], "--system", saved)[1] == "minidiff-1.png\n"  # nothing is overwritten
    assert np.array_equal(first, pictures("minidiff-1.png"))
    code, out, _ = generate(capsys, PROMPTS[0], "--system", saved, "--seed", 5, "--steps", 2, "-o", "b.png")
    assert out == "b.png\n" and not np.array_equal(first, pictures("b.png"))


def test_a_seed_gives_its_picture_alone_or_in_a_batch(saved, capsys, monkeypatch):
    monkeypatch.setattr(cli, "TOGETHER", 2)
    generate(capsys, PROMPTS[0], "--system", saved, "-n", 3, "--seed", 4, "-o", "three.png")
    generate(capsys, PROMPTS[0], "--system", saved, "--seed", 6, "-o", "last.png")
    three, last = pictures("three.png"), pictures("last.png")
    side = last.shape[1] - 16  # between two margins of 8
    there = three[8 : 8 + side, 8 + 2 * (side + 8) : 8 + 2 * (side + 8) + side].astype(int)
    assert three.shape[1] == 3 * (side + 8) + 8
    assert abs(there - last[8 : 8 + side, 8 : 8 + side]).max() <= 1


def test_several_captions_are_rows(saved, capsys):
    generate(capsys, *PROMPTS, "--system", saved, "-n", 2, "-o", "grid.png")
    tall, wide = pictures("grid.png").shape[:2]
    assert (wide - 8) / 2 == 256 + 8 and (tall - 8) / 3 >= 256 + 8 + 13


@pytest.mark.parametrize(
    "argv, message",
    [
        (["a red circel"], "'circel' (the nearest it knows: circle)"),
        (["a " * 9], "texts must have at most 7 tokens"),
        (["a star", "-o", "nowhere/x.png"], "--output must be a file in a folder that exists"),
        (["a star", "-o", "x.jpg"], "--output must end in .png; got x.jpg"),
        (["a star", "--system", "dream"], "system must be one of stable-diffusion, or a folder"),
        (["a star", "--steps", "100000"], "steps"),
    ],
)
def test_bad_input_is_one_line_and_no_file(argv, message, saved, capsys, tmp_path):
    code, out, err = generate(capsys, *(argv if "--system" in argv else [*argv, "--system", saved]))
    last = err.splitlines()[-1]
    assert (code, out) == (2, "") and message in last and last.startswith("minidiff generate: error: ")
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("scale", ("nan", "inf", "much"))
def test_a_scale_is_a_finite_number(scale, capsys):
    assert generate(capsys, "a star", "--scale", scale)[0] == 2


def test_recipes_that_leave_checkpoints_are_all_listed():
    modules = Path(recipes.__file__).parent.glob("*.py")
    found = {path.stem.replace("_", "-") for path in modules if "    command(train" in path.read_text("utf-8")}
    assert found == set(recipes.CHECKPOINTS)


def test_train_writes_weights_and_prints_their_card(tmp_path, capsys, monkeypatch):
    from minidiff.recipes import shapes_upscaler

    torch.manual_seed(1)
    monkeypatch.chdir(tmp_path)
    plain = shapes_upscaler.train
    monkeypatch.setattr(shapes_upscaler, "train", lambda *a, **options: plain(*a, n=8, **options))
    argv = ["train", "shapes-upscaler", "--images", "32", "-o", "mine"]
    assert cli.main(argv) == 0
    card = json.loads(capsys.readouterr().out)
    assert card == json.loads((tmp_path / "mine" / "shapes-upscaler.json").read_text()) and card["images_seen"] == 32
    assert cli.main(argv) == 2  # not again into the same folder
    assert "must be a folder without shapes-upscaler" in capsys.readouterr().err
    assert cli.main([*argv[:-1], "other"]) == 2  # the unfinished training of that name is there
    assert "resume" in capsys.readouterr().err
    assert cli.main([*argv[:-1], "other", "--resume"]) == 0
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert cli.main([*argv[:-1], "file"]) == 2 and "--out must be a folder; got the file" in capsys.readouterr().err
