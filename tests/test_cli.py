"""The command line: what goes where, and exit codes."""

import json
import re
import runpy
import subprocess
import sys
import time

import pytest
import torch

from minidiff import __version__, cli
from minidiff.evaluation import SETS, FeatureExtractor, evaluate, load_extractor, open_set
from minidiff.metrics.clip_score import clip_score
from minidiff.metrics.report import METRICS, Report

from .evaluation.folders import digits, noise, write


@pytest.fixture
def folders(tmp_path):
    """Two folders of grey digits, 140 and 135."""
    return str(write(tmp_path / "a", digits(140, "train"))), str(write(tmp_path / "b", digits(135)))


def run(capsys, *argv):
    code = cli.main(["evaluate", *map(str, argv)])
    return code, *capsys.readouterr()


def test_two_folders_end_to_end(folders):
    """In a process of its own, as a user would."""
    command = [sys.executable, "-m", "minidiff", "evaluate", *folders, "--format", "json", "--halves", "4"]
    done = subprocess.run([*command, "--seed", "5"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    report = Report.from_json(done.stdout)
    a, b = (open_set(f, channels=1) for f in folders)
    expected = evaluate(a, b, load_extractor("mnist-classifier"), halves=4, seed=5)
    assert report.sets == expected.sets == folders and report.seed == 5
    for r, e in zip(report.results, expected.results, strict=True):
        assert (r.metric, r.n, r.dim) == (e.metric, e.n, 128) and r.value == pytest.approx(e.value, rel=1e-3)
    assert report.n == (140, 135)
    assert folders[0] in done.stderr and "140/140" in done.stderr  # progress


def test_json_schema(folders, capsys):
    code, out, _ = run(capsys, *folders, "--format", "json", "--metrics", "recall,frechet_distance", "--halves", "3")
    found = json.loads(out)
    assert code == 0 and sorted(found) == ["floor", "format", "made_with", "n", "notes", "results", "seed", "sets"]
    assert [r["metric"] for r in found["results"]] == ["recall", "frechet_distance"]
    for r in found["results"]:
        assert isinstance(r["value"], float) and len(r["interval"]) == 2 and r["n"] == [140, 135] and r["dim"] == 128
        assert r["extractor"] == "mnist-classifier" and r["preprocessing"][:11] == "grey, 32x32" and r["floor"] is None
    assert found["results"][1]["bias"] > 0 and found["results"][1]["label"] == "Frechet distance"


def test_table_and_file(folders, capsys, tmp_path):
    options = ["--metrics", "precision", "--floor", "digits:test", "--limit", "130", "--halves", "0"]
    code, out, err = run(capsys, *folders, *options)
    assert code == 0 and "precision" in out and "real pictures" in out and "130 of its 360 pictures" in out
    assert "pictures/s" in err and "pictures/s" not in out
    target = tmp_path / "report.html"
    code, shown, err = run(capsys, *folders, *options, "--format", "html", "-o", target)
    assert (code, shown) == (0, "") and f"written to {target}" in err
    assert "<table>" in target.read_text("utf-8")


def test_warnings_are_one_line_each(folders, capsys):
    code, out, err = run(capsys, *folders, "--limit", "100", "--metrics", "frechet_distance", "--halves", "0")
    [line] = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert code == 0 and line.startswith("warning: at least about ") and "no more than the features' 128 dim" in line
    assert line.removeprefix("warning: ") in " ".join(out.split())
    code, out, err = run(capsys, folders[0], folders[0], "--metrics", "recall", "--halves", "0")
    assert code == 0 and f"warning: {folders[0]} and {folders[0]} hold the same pictures" in err


def test_sizes_and_colours(tmp_path, capsys):
    a = write(tmp_path / "a", noise(12, 3, 20, 20))
    write(a, noise(1, 3, 30, 10), "wide{}.png")
    b = write(tmp_path / "b", noise(12, 1, 40, 40, seed=1))
    code, out, _ = run(capsys, a, b, "--metrics", "recall", "--halves", "0", "--format", "json")
    notes = json.loads(out)["notes"]
    assert code == 0 and len(notes) == 3 and f"pictures of {a} are 32x32, those of {b} 40x40" in notes[2]
    assert "pictures of 2 sizes from 10x30 to 20x20, the middle square of each resized to 32x32" in notes[0]
    assert "13 of 13 pictures are stored in colour and were read as grey" in notes[1]
    code, out, _ = run(capsys, a, b, "--metrics", "recall", "--halves", "0", "--size", "16", "--format", "json")
    assert [note for note in json.loads(out)["notes"] if f"{b}: pictures of 40x40" in note and "to 16x16" in note]
    assert json.loads(out)["results"][0]["preprocessing"].startswith("brought to 16x16 first; grey, 32x32")


ERRORS = {
    "neither set nor folder": (["digits:test", "nowhere"], "a set must be a folder or one of digits:train"),
    "empty folder": (["digits:test", "{tmp}/empty"], "holds no pictures"),
    "unknown extractor": (["{a}", "{b}", "--features", "vgg"], "one of mnist-classifier, shapes-classifier, inc"),
    "unknown metric": (["{a}", "{b}", "--metrics", "recall,fid"], "metrics must be among .* got 'fid'"),
    "too few pictures": (["{a}", "{b}", "--limit", "3"], "precision needs at least 4 pictures in each set; .* has 3"),
    "no folder for the output": (["{a}", "{b}", "-o", "{tmp}/none/x.json"], "--output must be a file in a folder that"),
    "output is a folder": (["{a}", "{b}", "-o", "{tmp}"], "--output must be a file"),
    "no such device": (["{a}", "{b}", "--device", "abacus"], "--device must be a device of this machine"),
    "colour for a grey network": (["digits:test", "colour"], "colour cannot be read by .* 1 channel; got 3"),
    "one half": (["{a}", "{b}", "--halves", "1"], "halves must be 0 or at least 2"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input_is_one_line_and_exit_code_2(case, folders, tmp_path, capsys, monkeypatch):
    from minidiff.evaluation import sets

    (tmp_path / "empty").mkdir()
    monkeypatch.setitem(sets.SETS, "colour", ("cifar10", "test"))
    grey, colour = noise(20, 1, 32, 32), noise(20, 3, 32, 32)
    monkeypatch.setattr(sets.data, "load", lambda name, split, size: {"x": colour if name == "cifar10" else grey})
    argv, message = ERRORS[case]
    code, out, err = run(capsys, *(arg.format(a=folders[0], b=folders[1], tmp=tmp_path) for arg in argv))
    last = err.splitlines()[-1]
    assert (code, out) == (2, "") and "Traceback" not in err
    assert last.startswith("minidiff evaluate: error: ")
    assert re.search(message, last), last


@pytest.mark.parametrize("argv", [[], ["evaluate"], ["evaluate", "a"], ["draw"], ["evaluate", "a", "b", "--limit", "x"],
                                  ["evaluate", "a", "b", "--format", "xml"], ["evaluate", "a", "b", "--seed", "-1"],
                                  ["evaluate", "a", "b", "--seed", str(2**63)]])  # fmt: skip
def test_wrong_usage_is_exit_code_2(argv, capsys):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and "usage: minidiff" in err


def test_a_broken_file(folders, tmp_path, capsys):
    """Named and skipped with a warning."""
    (tmp_path / "a" / "0007.png").write_bytes((tmp_path / "a" / "0007.png").read_bytes()[:60])
    code, out, err = run(capsys, *folders, "--metrics", "recall", "--halves", "0", "--format", "json")
    assert code == 0 and json.loads(out)["results"][0]["n"] == [139, 135]
    [line] = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert "0007.png" in line and line.removeprefix("warning: ") in json.loads(out)["notes"]


def test_captions_give_a_clip_score(folders, tmp_path, capsys, monkeypatch):
    from minidiff import evaluation

    for i in range(135):
        (tmp_path / "b" / f"{i:04d}.txt").write_text("a digit " * (i + 1), "utf-8")
    reads = FeatureExtractor(
        "lengths", "none", lambda x: x.mean(dim=(1, 2)), 1, 32, None, "cpu",
        lambda texts: torch.tensor([[len(text) + j for j in range(32)] for text in texts]) * 1.0,
    )  # fmt: skip
    monkeypatch.setattr(evaluation, "load_extractor", lambda name, device: reads)
    code, out, _ = run(capsys, *folders, "--limit", "40", "--format", "json", "--halves", "2")
    found = {r["metric"]: r for r in json.loads(out)["results"]}
    assert code == 0 and found["clip_score"]["n"] == [40] and len(found["clip_score_100"]["interval"]) == 2
    b = open_set(folders[1], channels=1, limit=40, captions=True)
    expected = clip_score(reads(torch.cat(list(b.batches()))), reads.texts(b.captions))
    assert found["clip_score"]["value"] == pytest.approx(expected.score, rel=1e-6)
    (tmp_path / "b" / "0003.txt").unlink()
    assert run(capsys, *folders, "--metrics", "recall", "--halves", "0")[0] == 0  # no captions are needed
    code, _, err = run(capsys, *folders, "--metrics", "clip_score")
    assert code == 2 and "0003.png" in err.splitlines()[-1]
    code, _, err = run(capsys, folders[1], folders[0], "--metrics", "clip_score")
    assert code == 2 and "clip_score needs captions" in err.splitlines()[-1]


def test_processes_that_read_pictures_do_not_run_the_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["minidiff"])
    with pytest.raises(SystemExit):
        runpy.run_module("minidiff", run_name="__main__", alter_sys=False)
    assert "main" in runpy.run_module("minidiff", run_name="__mp_main__")


def test_weights_that_cannot_be_had(folders, capsys, monkeypatch):
    from minidiff.evaluation import extractors

    monkeypatch.setattr(extractors, "reachable", lambda hosts: False)
    monkeypatch.setattr(extractors.torch.hub, "get_dir", lambda: folders[0])
    code, out, err = run(capsys, *folders, "--features", "inception-v3")
    assert code == 2 and "weights of inception-v3 are not at" in err.splitlines()[-1]


def test_other_errors_keep_their_traceback(folders, monkeypatch):
    from minidiff import evaluation

    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(evaluation, "evaluate", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["evaluate", *folders])


def test_interrupted(folders, monkeypatch, capsys):
    from minidiff import evaluation

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate", stopped)
    assert cli.main(["evaluate", *folders]) == 130


def test_list_and_version(capsys):
    assert cli.main(["evaluate", "--list"]) == 0
    out = capsys.readouterr().out
    for name in ("mnist-classifier", "inception-v3", "open_clip:MODEL/TAG", *METRICS, *SETS):
        assert f"  {name}" in out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"minidiff {__version__}\n"


def test_help_does_not_wait_for_torch():
    code = "import sys; from minidiff.cli import main; main(['evaluate', '--help']); print('torch' in sys.modules)"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False" and time.monotonic() - began < 10


def test_a_sub_command_is_a_function_and_a_parser(monkeypatch, capsys):
    def add_greet(commands):
        parser = commands.add_parser("greet")
        parser.add_argument("name")
        parser.set_defaults(run=lambda args: print(f"hello {args.name}"))

    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, add_greet))
    assert cli.main(["greet", "you"]) == 0 and capsys.readouterr().out == "hello you\n"
