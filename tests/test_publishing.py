"""What others see first: workflows, licences, citation, and the contributors' pages, all true to the code."""

import doctest
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from minidiff.course import l02_exercises
from minidiff.course.cells import repository
from minidiff.course.engine import judge

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")}
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "contributing").glob("*.md"))]
JOBS = [pytest.param(job, id=f"{w}-{name}") for w, flow in WORKFLOWS.items() for name, job in flow["jobs"].items()]


def text(path):
    return (ROOT / path).read_text("utf-8")


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.M | re.S)


def commands(job):
    return [step["run"].strip() for step in job["steps"] if "run" in step]


# --- workflows ---------------------------------------------------------------------------------------------------


def test_there_are_the_workflows():
    assert set(WORKFLOWS) == {"test", "weekly", "book"}
    # YAML 1.1 reads the key `on` as true.
    assert set(WORKFLOWS["test"][True]) == {"push", "pull_request"}
    assert WORKFLOWS["weekly"][True]["schedule"] and WORKFLOWS["book"][True]["push"] == {"branches": ["main"]}
    assert all(flow["permissions"] == {"contents": "read"} for flow in WORKFLOWS.values())


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_limited_and_its_actions_have_versions(job):
    assert job["timeout-minutes"] <= 60
    for step in job["steps"]:
        assert len({"run", "uses"} & set(step)) == 1
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]), step
    for expression in re.findall(r"matrix\.(\w+)", str(job)):
        assert expression in job["strategy"]["matrix"]
    for script in re.findall(r"\b(?:tests|notebooks)/[\w./-]+", " ".join(commands(job))):
        assert (ROOT / script).exists(), script


def test_the_commands_are_those_of_the_readme():
    readme = text("README.md")
    prefix = "MINIDIFF_PROFILE=smoke "
    told = [line.removeprefix(prefix) for line in readme.splitlines() if line.startswith(f"{prefix}python")]
    assert len(told) == 2
    for job in (WORKFLOWS["test"]["jobs"]["oldest"], WORKFLOWS["weekly"]["jobs"]["newest"]):
        assert [c for c in commands(job) if "pytest" in c] == told
        assert job["env"] == {"MINIDIFF_PROFILE": "smoke", "CI": "false"}
        [install] = [c for c in commands(job) if c.startswith("pip install")]
        extras = re.search(r'-e "\.\[(.*)\]"$', install)[1].split(",")
        assert {"course", "test"} <= set(extras) <= set(PROJECT["optional-dependencies"])
        assert ("constraints.txt" in install, "-c" in install) == (False, job is WORKFLOWS["test"]["jobs"]["oldest"])
    assert commands(WORKFLOWS["test"]["jobs"]["pinned"]) == [".ci/run"]
    assert commands(WORKFLOWS["book"]["jobs"]["build"]) == ["make book"] and "`make book`" in readme
    upload = WORKFLOWS["book"]["jobs"]["build"]["steps"][-1]
    assert upload["with"]["path"] == "book/_build/html" and f"`{upload['with']['path']}`" in readme


def test_oldest_and_newest_python_on_both_systems():
    [bounds] = [d for d in yaml.safe_load(text("environment.yml"))["dependencies"] if str(d).startswith("python")]
    every = [f"3.{minor}" for minor in range(8, 25) if Version(f"3.{minor}") in SpecifierSet(bounds[len("python") :])]
    systems = ["ubuntu-latest", "macos-latest"]
    assert WORKFLOWS["test"]["jobs"]["pinned"]["strategy"]["matrix"] == {"os": systems, "python": [every[0], every[-1]]}
    for job, python in (("oldest", every[0]), ("newest", every[-1])):
        job = (WORKFLOWS["test"]["jobs"] | WORKFLOWS["weekly"]["jobs"])[job]
        assert job["strategy"]["matrix"]["os"] == systems
        assert [s["with"]["python-version"] for s in job["steps"] if "setup-python" in s.get("uses", "")] == [python]


def test_colabs_image_is_named_by_a_variable_alone():
    job = WORKFLOWS["test"]["jobs"]["colab"]
    assert job["if"] == "vars.COLAB_IMAGE != ''" and job["env"] == {"COLAB_IMAGE": "${{ vars.COLAB_IMAGE }}"}
    *_, run = commands(job)
    assert run.endswith('"$COLAB_IMAGE" tests/colab.py notebooks/02_forward_diffusion.ipynb')
    assert "--env MINIDIFF_SOURCE=/course" in run and '--volume "$PWD:/course"' in run


def test_the_oldest_versions_are_the_lower_bounds():
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        from oldest import oldest
    finally:
        sys.path.pop(0)
    found = [Requirement(line) for line in oldest(PROJECT["dependencies"])]
    assert {r.name for r in found} == {Requirement(d).name for d in PROJECT["dependencies"]}
    for pin, bound in zip(found, map(Requirement, PROJECT["dependencies"])):
        [(exact, least)] = zip(pin.specifier, bound.specifier, strict=True)
        assert (exact.operator, least.operator) == ("==", ">=") and exact.version == least.version
    with pytest.raises(ValueError, match="'torch<3' is not NAME>=VERSION"):
        oldest(["numpy>=2", "torch<3"])


# --- licences and citation ---------------------------------------------------------------------------------------


def test_licences():
    assert text("LICENSE").startswith("MIT License") and PROJECT["license"] == "MIT"
    words = text("LICENSE-TEXT")
    assert "https://creativecommons.org/licenses/by/4.0/" in words and "notebooks/" in words and "book/" in words
    assert "Section 8 " in words and words.rstrip().endswith("creativecommons.org.")


def test_citation():
    """What version 1.2.0 of the format asks for, and what repeats other files."""
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert all(isinstance(citation[key], str) and citation[key] for key in ("message", "title", "abstract"))
    assert citation["authors"] == PROJECT["authors"] and citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == repository()
    assert str(citation["version"]) == re.search(r'__version__ = "(.*)"', text("minidiff/__init__.py"))[1]
    known = {"cff-version", "message", "title", "type", "authors", "version", "repository-code", "license", "abstract"}
    assert set(citation) == known | {"keywords"}


# --- contributors ------------------------------------------------------------------------------------------------


def test_every_link_and_command_of_the_pages_exists():
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.M))
    assert {path.stem for path in PAGES} == {"CONTRIBUTING", "lesson", "exercise", "metric"}
    for path in PAGES:
        content = path.read_text("utf-8")
        for link in re.findall(r"\]\(([^)#]+)\)", content):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", content, re.M)) <= targets
        for module in re.findall(r"python -m (minidiff[\w.]+)", content):
            assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module
        for name in re.findall(r"`((?:minidiff|tests|book)/[\w./-]+)`", content):
            made_on_the_page = re.search(r"/(?:test_)?energy\.py$|/l42_\w+\.py$", name)
            assert made_on_the_page or (ROOT / name).exists(), f"{path.name}: {name}"


def test_the_exercise_of_the_page_works():
    [source] = blocks(ROOT / "contributing" / "exercise.md", "python")
    namespace = dict(vars(l02_exercises))
    exec(source, namespace)
    snr = namespace["SNR"]
    assert judge(snr, snr.build(snr.starter, "starter")).status == "not attempted"
    assert judge(snr, snr.build(snr.solution, "solution")).passed
    for name, (wrong, diagnosis) in snr.wrong.items():
        result = judge(snr, snr.build(wrong, name))
        assert result.misconception == name and diagnosis in result.message


def test_the_metric_of_the_page_works(monkeypatch):
    sources = blocks(ROOT / "contributing" / "metric.md", "python")
    module = types.ModuleType("minidiff.metrics.energy")
    module.__package__ = "minidiff.metrics"
    exec(compile(sources[0], "energy.py", "exec", dont_inherit=True), vars(module))
    examples = doctest.DocTestFinder().find(module.energy_distance, "energy_distance", globs=vars(module))
    assert [doctest.DocTestRunner().run(example) for example in examples] == [(0, 1)]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    tests = {}
    exec(compile(sources[1], "test_energy.py", "exec", dont_inherit=True), tests)
    found = [test for name, test in tests.items() if name.startswith("test_")]
    assert len(found) == 4
    for test in found:
        test()
    from minidiff.metrics import half_samples

    [line, _] = blocks(ROOT / "contributing" / "metric.md", "py")
    names = {"real": torch.randn(20, 3), "fake": torch.randn(30, 3) + 1, "half_samples": half_samples}
    exec(line, names | {"energy_distance": module.energy_distance}, got := {})
    assert got["low"] < module.energy_distance(names["real"], names["fake"]) < got["high"]


def test_pre_commit_runs_our_own_checks():
    [local] = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        assert hook["language"] == "system" and hook["entry"].startswith(".venv/bin/python -m ")
        for path in re.findall(r"tests/\S+", hook["entry"]):
            assert (ROOT / path).is_file()
    assert not re.search(r"nbstripout|--clear-output", text(".pre-commit-config.yaml"))
