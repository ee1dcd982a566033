"""The headless runner, on small notebooks of the test's own; kernels really start."""

import base64
import io
import os
import subprocess
import sys
import time

import nbformat
import numpy as np
import pytest
from nbformat import v4
from PIL import Image

from minidiff.course import runner, stored

SETTINGS = """import os, sys
print(sys.executable)
print({k: os.environ.get(k) for k in ("MINIDIFF_PROFILE", "MINIDIFF_RECORD")})"""
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"


def notebook(*cells):
    """A notebook: text that starts with # is a heading, all else is code."""
    made = [v4.new_markdown_cell(c) if c.startswith("#") else v4.new_code_cell(c) for c in cells]
    return v4.new_notebook(cells=made)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty course, and the working directory in it."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(root, name, nb):
    nbformat.write(nb, root / "notebooks" / f"{name}.ipynb")
    return root / "notebooks" / f"{name}.ipynb"


def test_find_names_lessons_in_the_order_asked_for(root):
    paths = [put(root, name, notebook()) for name in ("02_two", "03_three", "10_ten")]
    assert runner.find(root) == paths
    assert runner.find(root, "10, 2") == [paths[2], paths[0]]
    with pytest.raises(ValueError, match="'7'.*02, 03, 10"):
        runner.find(root, "7")


def test_find_without_notebooks(root):
    with pytest.raises(ValueError, match="none found"):
        runner.find(root)


def test_estimate_adds_what_is_on_record(root):
    paths = [put(root, f"0{i}_x", notebook()) for i in (2, 3, 4)]
    for path, minutes in zip(paths, (1.25, 3.5)):
        nb = nbformat.read(path, as_version=4)
        nb.metadata["minidiff"] = {"minutes": minutes, "profile": "laptop", "cores": 2}
        nbformat.write(nb, path)
    assert "about 4.8 minutes on 2 CPU cores (1 more without" in runner.estimate(paths, "laptop")
    assert "no time is on record" in runner.estimate(paths, "gpu")


def test_headings_number_the_code_cells():
    nb = notebook("# Title", "a = 1", "", "## Part\n\n```\n# no heading\n```", "b = 2", "c = 3")
    assert list(runner.headings(nb).values()) == [(1, "Title"), (2, "Part"), (3, "Part")]


def test_outputs_rewrites_the_tracked_notebook(root, monkeypatch, capsys):
    monkeypatch.setenv("MPLBACKEND", "agg")  # exported to the kernel, it would lose the figure
    path = put(root, "02_two", notebook("# Two", SETTINGS, "## Figure (small)", FIGURE, "print('a\\rb')"))
    assert runner.main(["--outputs", "--lessons", "02"]) == 0
    nb = nbformat.read(path, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    executable, settings = code[0].outputs[0].text.splitlines()
    assert executable == stored.plain_paths(sys.executable, root)
    assert settings == "{'MINIDIFF_PROFILE': 'laptop', 'MINIDIFF_RECORD': '1'}"
    assert "image/png" in code[1].outputs[-1].data and code[2].outputs[0].text == "b\n"
    record = nb.metadata["minidiff"]
    assert record["minutes"] > 0 and record["profile"] == "laptop" and "torch" in record["versions"]
    assert nb.metadata["kernelspec"]["name"] == "python3"
    picture = root / "build/pictures/02_two-01-figure-small.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "no time is on record" in printed and "02  cell  2/3" in printed and "02_two" in printed


def test_a_failing_cell_is_explained_and_leaves_the_tracked_notebook(root, capsys):
    fails = "def f():\n    raise ValueError('too small')\nf()"
    path = put(root, "03_three", notebook("# Three", "x = 1", fails, "y = 1"))
    before = path.read_bytes()
    assert runner.main(["--outputs"]) == 1
    printed = capsys.readouterr().out
    assert "03_three.ipynb: code cell 2 failed (cell 2 of the file)" in printed
    assert "    def f():\n        raise ValueError('too small')" in printed and "ValueError: too small" in printed
    assert "FAILED" in printed and "\x1b[" not in printed
    assert path.read_bytes() == before
    copy = nbformat.read(root / "build/lessons/03_three.ipynb", as_version=4)
    assert copy.cells[2].outputs[-1].output_type == "error" and not copy.cells[3].outputs


def test_a_cell_that_takes_too_long_fails(root, capsys):
    put(root, "02_two", notebook("# Two", "import time\ntime.sleep(600)"))
    began = time.monotonic()
    assert runner.main(["--profile", "smoke", "--cell-minutes", "0.034"]) == 1
    assert time.monotonic() - began < 60
    assert "CellTimeoutError" in capsys.readouterr().out


@pytest.mark.timeout(400)
def test_the_watchdog_ends_a_client_that_hangs(root):
    put(root, "02_two", notebook("# Two", "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)"))
    for limit in ("0.08", "0.4", "2"):  # a busy machine needs longer to get as far as the cell
        command = [sys.executable, "-m", "minidiff.course.runner", "--profile", "smoke", "--lesson-minutes", limit]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
        assert done.returncode == 1 and f"given up after {limit} minutes" in done.stdout
        outputs = nbformat.read(root / "build/lessons/02_two.ipynb", as_version=4).cells[1].outputs
        if outputs:
            break
    pid = int(outputs[0].text)
    for _ in range(50):  # a killed process stays in the table until somebody reaps it
        if not alive(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"kernel {pid} is still there")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return sys.platform != "linux"


def test_clean_drops_widgets_and_front_end_metadata(tmp_path):
    nb = notebook("x = 1", "", "y = 2")
    nb.cells[0].metadata = {"tags": ["hide-input"], "execution": {"iopub": "now"}, "collapsed": True}
    nb.cells[2].execution_count = 17
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "7"}, "text/plain": "IntSlider(value=3)"}
    nb.cells[2].outputs = [
        v4.new_output("display_data", dict(view)),
        v4.new_output("display_data", {**view, "text/html": "<b>kept</b>"}),
        v4.new_output("execute_result", {"text/plain": "2"}, execution_count=17),
    ]
    nb.metadata["widgets"] = {"state": {}}
    nb.metadata["minidiff"] = {"kept": 1}
    clean = stored.clean(nb, tmp_path, {"minutes": 1.5})
    assert clean.cells[0].metadata == {"tags": ["hide-input"]}
    assert [cell.execution_count for cell in clean.cells] == [1, None, 2]
    assert [out.get("data") for out in clean.cells[2].outputs] == [
        {"text/plain": "IntSlider(value=3)", "text/html": "<b>kept</b>"},
        {"text/plain": "2"},
    ]
    assert clean.cells[2].outputs[1].execution_count == 2
    assert set(clean.metadata) == {"kernelspec", "language_info", "minidiff"}
    assert clean.metadata["minidiff"] == {"kept": 1, "minutes": 1.5}


def test_plain_paths(tmp_path):
    home, data = tmp_path / "home", tmp_path / "elsewhere" / "data"
    environ = {"HOME": str(home), "MINIDIFF_DATA": str(data)}
    root = home / "course"
    text = f"{root}/a.py {root} {root}2/b {data}/mnist {home}/x /tmp/ipykernel_12/34.py:5 <f at 0x7f00aa12>"
    want = "a.py . ~/course2/b $MINIDIFF_DATA/mnist ~/x cell:5 <f at 0x...>"
    assert stored.plain_paths(text, root, environ) == want
    picture = "<img src='data:image/png;base64,AAA/usr/home/0xabcdef0+='>"
    assert stored.plain_paths(picture + "/usr/home/x", root, {"HOME": "/usr/home"}) == picture + "~/x"


def test_write_keeps_the_old_file_when_the_notebook_is_not_valid(tmp_path):
    path = tmp_path / "a.ipynb"
    stored.write(notebook("x = 1"), path)
    before = path.read_bytes()
    bad = notebook("x = 1")
    bad.cells[0].outputs = [{"output_type": "no such type"}]
    with pytest.raises(nbformat.ValidationError):
        stored.write(bad, path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.ipynb"]


def test_pictures_of_an_earlier_run_go(tmp_path):
    nb = notebook("# Top", "x = 1")
    nb.cells[1].outputs = [v4.new_output("display_data", {"image/png": "AAAA"})]
    (tmp_path / "02_two-09-old.png").write_bytes(b"")
    (tmp_path / "03_three-01-other.png").write_bytes(b"")
    assert [p.name for p in stored.pictures(nb, tmp_path, "02_two")] == ["02_two-01-top.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["02_two-01-top.png", "03_three-01-other.png"]


def _png(pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_pictures_of_few_colours_are_stored_in_fewer_bytes_pixel_for_pixel():
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (37, 53, 1), dtype=np.uint8), 3, axis=2)
    opaque = np.concatenate([grey, np.full((37, 53, 1), 255, dtype=np.uint8)], axis=2)
    packed = stored.smaller(_png(opaque))
    assert len(packed) < 0.7 * len(_png(opaque))
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(packed))).convert("RGB"))
    assert (back == grey).all()


def test_pictures_that_cannot_be_packed_stay_as_they_are():
    rng = np.random.default_rng(1)
    colourful = _png(rng.integers(0, 256, (41, 29, 3), dtype=np.uint8))
    clear = _png(np.zeros((11, 7, 4), dtype=np.uint8))
    for png in (colourful, clear, "AAAA", "not base64"):
        assert stored.smaller(png) == png
