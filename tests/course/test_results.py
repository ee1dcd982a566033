"""Recorded results and the table of claims."""

import json
import math

import pytest

from minidiff.course import Lesson
from minidiff.course.claims import CLAIMS, table
from minidiff.recipes.results import load, record


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    return tmp_path / "results"


def test_a_result_carries_its_provenance(folder):
    assert Lesson("02").record("gap", 0.125, interval=(0.1, 0.15), floor=0.01, claim=2, holds=True, seed=3) is None
    assert [p.name for p in folder.iterdir()] == ["gap.json"]  # no temporary file is left
    (result,) = load()
    assert (result["value"], result["interval"], result["floor"]) == (0.125, [0.1, 0.15], 0.01)
    origin = result["provenance"]
    assert origin["source"] == "lesson 02" and origin["seed"] == 3 and origin["profile"] == "laptop"
    assert {"commit", "versions", "hardware", "images", "date"} <= set(origin)
    assert origin["versions"]["torch"] and origin["hardware"]


@pytest.mark.parametrize("name, value", [("MINIDIFF_RECORD", "0"), ("MINIDIFF_PROFILE", "smoke")])
def test_nothing_is_written_unasked(folder, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    record("gap", 1.0, source="lesson 02")
    assert not folder.exists() and load() == []


def test_a_second_measurement_replaces_the_first(folder):
    for value in (1.0, {"a": 2, "b": 3.5}):
        record("gap", value, source="recipe x")
    assert json.loads((folder / "gap.json").read_text())["value"] == {"a": 2.0, "b": 3.5}


def test_a_new_reading_keeps_the_provenance_of_the_measurement(folder):
    record("gap", 1.0, source="recipe x", seed=3)
    [old] = load()
    old["provenance"] |= {"date": "2020-02-02", "commit": "abc"}
    record("gap", 1.0, source="recipe y", seed=4, holds=False, note="new", measured=old)
    [new] = load()
    assert new["provenance"] == old["provenance"] and (new["holds"], new["note"]) == (False, "new")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("../gap", 1.0), "letters"),
        (("gap", math.nan), "finite"),
        (("gap", {"a": 1.0, "b": math.inf}), "'b': inf"),
        (("gap", True), "finite numbers"),
    ],
)
def test_bad_results_are_refused(folder, arguments, words):
    with pytest.raises(ValueError, match=words):
        record(*arguments, source="lesson 02")
    with pytest.raises(ValueError, match="low end"):
        record("gap", 1.0, source="lesson 02", interval=(2.0, 1.0))


def test_table_has_every_claim(folder):
    record("a", 0.25, source="lesson 02", claim=2, holds=False, unit="nats", interval=(0.2, 0.3), figure="Figure | 3")
    record("b", {"x": 1.5, "y": 2}, source="recipe z", claim=2, floor=1.25, note="short\nrun")
    record("c", 9.0, source="lesson 02")
    rows = table(folder).splitlines()
    assert len(rows) == 2 + len(CLAIMS) + 1
    assert sum("not measured yet" in r for r in rows) == len(CLAIMS) - 1
    first, second = (r for r in rows if r.startswith("| 2 |"))
    assert "| 0.25 nats | 0.2 to 0.3 | disagrees | lesson 02, Figure \\| 3 |" in first
    assert "| x 1.5, y 2 | floor 1.25 | open (short run) | recipe z |" in second
    assert table(folder.parent / "none").count("not measured yet") == len(CLAIMS) == 16


def test_a_claim_that_does_not_exist(folder):
    record("a", 0.25, source="lesson 02", claim=17)
    with pytest.raises(ValueError, match=r"\['a'\]"):
        table(folder)
