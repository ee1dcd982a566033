"""The repository as a whole: pins that agree, imports that go one way, sizes, and notebooks fit to be published."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MODULES = sorted((ROOT / "minidiff").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PYTHONS = ("3.11.0", "3.11.14", "3.12.0", "3.13.0", "3.14.0")
# What Colab had in August 2026, for what the course asks of it.
COLAB = {"torch": "2.11.0", "torchvision": "0.26.0", "numpy": "2.1.0", "matplotlib": "3.10.0", "ipywidgets": "7.7.1"}


def text(path):
    return (ROOT / path).read_text("utf-8")


def requirements():
    """Every direct dependency, extras included, less the package's own extras."""
    extras = [r for group in PROJECT["optional-dependencies"].values() for r in group]
    return [r for r in map(Requirement, PROJECT["dependencies"] + extras) if r.name != "minidiff"]


def pins():
    return [Requirement(line) for line in text("constraints.txt").splitlines() if line and line[0] != "#"]


def tracked():
    """Files under version control, and those about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


# --- the environment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_has_one_exact_pin(python):
    env = {"python_version": python.rsplit(".", 1)[0], "python_full_version": python, "sys_platform": "linux"}
    active = [pin for pin in pins() if pin.marker is None or pin.marker.evaluate(env)]
    versions = {canonicalize_name(pin.name): pin.specifier for pin in active}
    assert len(versions) == len(active), "a package is pinned twice"
    assert all(len(s) == 1 and next(iter(s)).operator == "==" for s in versions.values())
    for requirement in requirements():
        pin = versions.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} has no pin in constraints.txt"
        version = next(iter(pin)).version
        assert requirement.specifier.contains(version), f"{requirement} does not allow its pin {version}"


def test_environment_yml_agrees_with_pyproject():
    environment = yaml.safe_load(text("environment.yml"))
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    [pip] = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    [python] = [d.removeprefix("python") for d in plain if d.startswith("python")]
    every = [Version(f"3.{minor}") for minor in range(8, 20)]
    allowed = [v for v in every if v in SpecifierSet(python)]
    assert allowed and all(v in SpecifierSet(PROJECT["requires-python"]) for v in allowed)
    assert "pip" in plain and pip[0] == "-c constraints.txt" and len(pip) == 2
    extras = re.fullmatch(r"-e \.\[([a-z,]+)\]", pip[1]).group(1).split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert f"'.[{','.join(extras)}]'" in text("Makefile"), "make and conda install different sets"


def test_colab_already_meets_every_bound():
    core = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert set(COLAB) <= set(core)
    assert all(core[name].contains(version) for name, version in COLAB.items())
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.13.0")
    assert all(bound.operator == ">=" for specifier in core.values() for bound in specifier)


def test_one_address_for_the_repository():
    address = PROJECT["urls"]["Repository"]
    assert yaml.safe_load(text("book/_config.yml"))["repository"]["url"] == address
    assert yaml.safe_load(text("CITATION.cff"))["repository-code"] == address
    place = "/".join(address.split("/")[-2:])
    for path in NOTEBOOKS:
        badge = re.findall(r"colab\.research\.google\.com/github/([^/]+/[^/]+)/blob/main/", text(path))
        source = re.findall(r"git\+https://github\.com/([^@]+)@main", text(path))
        assert set(badge) == set(source) == {place}, f"{path} names another repository: {badge}, {source}"
    assert f"git+{address}@main" in text("README.md")


def test_importing_minidiff_imports_torch_and_nothing_heavier():
    code = "import sys, torch; before = set(sys.modules); import minidiff; print(*(set(sys.modules) - before))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    new = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert {name for name in new if not name.startswith("__editable__")} == {"minidiff"}


# --- the code ----------------------------------------------------------------------------------------------------

RANKS = {"data": 0, "models": 1, "diffusion": 1, "metrics": 1, "objectives": 2, "training": 3, "pretrained": 4}
RANKS |= {"evaluation": 5, "pipelines": 5, "recipes": 6, "course": 7, "cli": 7, "__main__": 8}


def parts_imported(tree, module):
    """Names of the first-level parts of minidiff that a module imports, wherever in it."""
    package = module.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            names = [f"{source}.{alias.name}" for alias in node.names]
        for name in names:
            head, _, rest = name.partition(".")
            if head == "minidiff" and rest.split(".")[0] in RANKS:
                yield rest.split(".")[0]


@pytest.mark.parametrize("module", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_is_small_and_imports_go_one_way(module):
    source = module.read_text("utf-8")
    tree = ast.parse(source)
    assert len(source.splitlines()) <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{node.name} has more than 50 lines"
    own = module.relative_to(ROOT / "minidiff").with_suffix("").parts[0]
    if own == "__init__":
        assert not list(parts_imported(tree, module))
        return
    for part in parts_imported(tree, module):
        assert part == own or RANKS[part] < RANKS[own], f"{own} must not import {part}"


def test_the_import_rule_sees_every_form():
    source = "import minidiff.course.lesson\nfrom minidiff import recipes\ndef f():\n    from ..models import unet\n"
    found = list(parts_imported(ast.parse(source), ROOT / "minidiff" / "data" / "sets.py"))
    assert found == ["course", "recipes", "models"]


def test_ruff():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- the files ---------------------------------------------------------------------------------------------------

HOSTS = [f"{name}.org" for name in ("pypi", "pythonhosted", "anaconda", "download.pytorch")]
OUTSIDE = re.compile(r"(?<![\w.~])/(?:home|Users|root|work)/\w|\.\./" + "shared")


def test_no_file_names_a_registry_or_this_machine():
    for path in tracked():
        if path.suffix in (".safetensors", ".png", ".jpg") or path == Path(__file__).resolve():
            continue
        content = path.read_text("utf-8")
        assert not [host for host in HOSTS if host in content], f"{path} names a package registry"
        if path != ROOT / ".ci/run":
            content = re.sub(r"base64,[\w+/=]+|\"image/png\": \"[^\"]*\"", "", content)
            found = OUTSIDE.search(content)
            assert not found, f"{path} names a place on one machine: {content[found.start() - 20 : found.end() + 20]!r}"


def test_no_file_is_large():
    assert not [path for path in tracked() if path.stat().st_size > 8e6]
    assert not [path for path in NOTEBOOKS if path.stat().st_size > 1.2e6]


def test_ci_runs_what_the_readme_tells_people_to_run():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line.strip() for line in script.read_text("utf-8").splitlines() if re.match(r"\s*make ", line)]
    assert commands == ["make test", "make book"]
    for command in ("make start", "make test"):
        assert re.search(rf"^{command}\b", text("README.md"), re.M)
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.M))
    named = set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", text("README.md"), re.M))
    assert {a or b for a, b in named} <= targets


def test_the_tree_in_the_readme_exists():
    block = re.search(r"```text\n(minidiff/.*?)```", text("README.md"), re.S).group(1)
    parents, seen = [], 0
    for line in block.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        parents = parents[: len(indent) // 2] + [name.rstrip("/")]
        path = ROOT.joinpath(*parents)
        assert path.is_dir() if name.endswith("/") else path.is_file(), f"README names {'/'.join(parents)}"
        seen += 1
    assert seen >= 10


def test_changelog_knows_the_version():
    version = re.search(r'__version__ = "([\d.]+)"', text("minidiff/__init__.py")).group(1)
    assert re.search(rf"^## \[(?:Unreleased|{re.escape(version)})\]", text("CHANGELOG.md"), re.M)


# --- the book ----------------------------------------------------------------------------------------------------


def test_the_book_holds_every_notebook():
    toc = yaml.safe_load(text("book/_toc.yml"))
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    lessons = [name for name in files if name.startswith("notebooks/")]
    assert lessons == [f"notebooks/{path.stem}" for path in NOTEBOOKS]
    pages = {name for name in files if not name.startswith(("notebooks/", "book/api/"))}  # tests/test_book.py has those
    assert all((ROOT / f"{name}.md").is_file() for name in pages | {toc["root"]})


def test_every_citation_has_its_entry():
    from pybtex.database import parse_file

    entries = parse_file(str(ROOT / "book" / "references.bib")).entries
    assert len(entries) >= 20
    for key, entry in entries.items():
        assert {"title", "year"} <= set(entry.fields) and {"url", "doi"} & set(entry.fields), key
        assert entry.fields["year"] in key, f"{key} is from {entry.fields['year']}"
    for path in [*(ROOT / "book").glob("*.md"), *NOTEBOOKS]:
        keys = {k.strip() for found in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text(path)) for k in found.split(",")}
        assert keys <= set(entries), f"{path} cites {keys - set(entries)}"


def test_glossary_is_in_order_and_bilingual():
    parts = re.split(r"^## ", text("book/glossary.md"), flags=re.M)[1:]
    terms = [part.splitlines()[0] for part in parts]
    assert terms == sorted(terms, key=str.lower) and len(set(terms)) == len(terms)
    for term, part in zip(terms, parts):
        assert re.search(r"^\*\*[^*]*[\u4e00-\u9fff]", part, re.M), f"{term} has no Chinese name"


def test_the_book_check_finds_scripts_of_other_hosts(tmp_path):
    page = tmp_path / "book" / "intro.html"
    page.parent.mkdir()
    run = [sys.executable, str(ROOT / "book" / "pages.py"), "check", str(tmp_path)]
    page.write_text("<a href='https://e.com'>may</a><img src='../x.png'><link rel='canonical' href='https://e.com'>")
    assert subprocess.run(run, capture_output=True).returncode == 0
    for bad in ("<script src='//e.com/a.js'>", "<link rel='icon' href='https://e.com'>", "<img src='http://e.com'>"):
        page.write_text(bad)
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode == 1 and "e.com" in done.stdout
    page.write_text("")
    (tmp_path / "a.css").write_text("@font-face { src: url(https://e.com/font.woff2) }")
    assert subprocess.run(run, capture_output=True).returncode == 1


# --- the notebooks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_fit_to_be_published(path):
    nb = json.loads(path.read_text("utf-8"))
    code = [cell for cell in nb["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run make outputs"
    record = nb["metadata"].get("minidiff", {})
    assert record.get("minutes") and record["profile"] == "laptop" and record["versions"], "run make outputs"
    assert nb["metadata"]["kernelspec"]["name"] == "python3" and "widgets" not in nb["metadata"]
    for cell in code:
        source = "".join(cell["source"])
        assert len(source.splitlines()) <= 25, source
        for out in cell["outputs"]:
            assert out["output_type"] != "error", source
            assert "application/vnd.jupyter.widget-view+json" not in out.get("data", {}), source
    assert "cannot be had here" not in json.dumps(nb["cells"]), "the stored outputs do not come from MNIST"


def test_there_are_lessons():
    assert {path.name[:2] for path in NOTEBOOKS} >= {"02", "03"}
