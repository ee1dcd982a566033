"""The first cell and a lesson on an imitation of Colab.

What is imitated: a Python with torch, torchvision and all else that Colab has, where minidiff, open_clip and ftfy are
missing; a first cell that installs a wheel of this very tree; a lesson run from top to bottom. What is not: versions
are those of the Python that runs the tests (`test_project.py` holds the bounds against Colab's), ipywidgets is 8,
what is missing comes from copies of the installed packages instead of the index, and there is no Google Drive and no
GPU of Colab's. The workflow `test` runs the same script in Colab's runtime image.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import nbformat
import pytest

from minidiff.course import cells

ROOT = Path(__file__).resolve().parents[1]
LACKING = ("open_clip_torch", "ftfy")  # what the course needs and Colab has not; both are pure Python
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def pack(folder, name, version, files, requires=()):
    """A wheel of these files: path in the wheel -> content."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    own = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for place, content in (own | files).items():
            wheel.writestr(place, content)
    return path


def copied(folder, name):
    """A wheel made from an installed package."""
    package = metadata.distribution(name)
    files = [f for f in package.files if ".." not in f.parts and "__pycache__" not in f.parts and f.suffix != ".pyc"]
    content = {f.as_posix(): package.locate_file(f).read_bytes() for f in files if f.parent.suffix != ".dist-info"}
    return pack(folder, name, package.version, content, requires=package.requires or ())


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Folder with wheels of minidiff, built from a copy of this tree, and of what Colab lacks."""
    folder, tree = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "minidiff", tree / "minidiff", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(build, cwd=tree, check=True)
    for name in LACKING:
        copied(folder, name)
    return folder


@pytest.fixture
def colab(tmp_path):
    """A new Python, its executable, that sees the packages of this one; pip can put others before them.

    The links lie outside the new environment, where pip removes nothing: this Python's packages are safe from it.
    """
    links, env = tmp_path / "dist-packages", tmp_path / "colab"
    links.mkdir()
    sites = {str(Path(sysconfig.get_path(kind)).resolve()) for kind in ("purelib", "platlib")}
    # Looked up there alone: a build may have left an egg-info of minidiff in the checkout.
    found = [d for name in ("minidiff", *LACKING) for d in metadata.distributions(name=name, path=sorted(sites))]
    hidden = {file.parts[0] for package in found for file in package.files}
    for site in sites:
        for entry in Path(site).iterdir():
            if entry.suffix != ".pth" and entry.name not in hidden:
                (links / entry.name).symlink_to(entry)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    python = next(path for path in (env / "bin" / "python", env / "Scripts" / "python.exe") if path.exists())
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (site / "colab.pth").write_text(f"{links}\n")
    return str(python)


def run(python, wheels, source, *command):
    """Run a command of that Python; pip finds the folder of wheels and no index."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MPLBACKEND") and not k.startswith("PIP_")}
    env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    env |= {"COLAB_RELEASE_TAG": "imitation", "MINIDIFF_PROFILE": "smoke", "MINIDIFF_SOURCE": str(source)}
    return subprocess.run([python, *command], env=env, cwd=Path(python).parent, capture_output=True, text=True)


def script(*notebooks):
    return (str(ROOT / "tests" / "colab.py"), *map(str, notebooks))


def test_a_lesson_runs_and_every_package_stays(colab, wheels):
    [wheel] = wheels.glob("minidiff-*.whl")
    done = run(colab, wheels, wheel, *script(ROOT / "notebooks" / "02_forward_diffusion.ipynb"))
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("Lesson 02 | device ")
    assert ("Runtime > Change runtime type" in done.stdout) == ("device cpu" in first)
    assert " 0 replaced; added: " in last
    assert {word.split()[0] for word in last.split("added: ")[1].split(", ")} == {"minidiff", *LACKING}
    ask = "import minidiff; from minidiff.course.cells import repository; print(minidiff.__file__, repository())"
    where, address = run(colab, wheels, wheel, "-c", ask).stdout.split()
    assert where.startswith(str(Path(colab).parents[1])) and address == cells.repository()  # no checkout is needed


def test_what_would_replace_a_package_is_refused_and_seen(colab, wheels, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    numpy = pack(other, "numpy", "999.0", {"numpy/__init__.py": ""})
    greedy = pack(other, "minidiff", "9.0", {"minidiff/__init__.py": ""}, requires=["numpy>=999"])
    before = run(colab, wheels, "", "-m", "pip", "list").stdout
    done = run(colab, other, greedy, "-c", cells.setup_cell("02"))
    assert done.returncode == 1 and "conflicting dependencies" in done.stderr, done.stderr
    assert run(colab, wheels, "", "-m", "pip", "list").stdout == before
    # The script's own check: a cell that replaces numpy behind pip's pins is found out.
    cell = f"import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', '-q', {str(numpy)!r}])"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbformat.write(nb, tmp_path / "greedy.ipynb")
    done = run(colab, other, "", *script(tmp_path / "greedy.ipynb"))
    assert done.returncode == 1 and "and is 999.0" in done.stdout, done.stdout + done.stderr
    # And a cell that fails ends it too.
    nb.cells[0].source = "1 / 0"
    nbformat.write(nb, tmp_path / "broken.ipynb")
    done = run(colab, other, "", *script(tmp_path / "broken.ipynb"))
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
