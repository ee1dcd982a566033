"""Generated cells put into notebooks."""

import nbformat
import pytest
from nbformat import v4
from toy import TOY

from minidiff.course import cells, refresh

NAME = "99_toy"


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(refresh, "exercises", lambda lesson: (TOY,) if lesson == "99" else ())


def sources(nb):
    return [(cell.cell_type, cell.source) for cell in nb.cells]


def wanted():
    return [(cell.kind, cell.source) for cell in cells.cells(TOY)]


def test_a_notebook_is_begun_with_all_that_is_generated(tmp_path):
    path = tmp_path / f"{NAME}.ipynb"
    assert refresh.main([str(path)]) == 0
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    assert nb.cells[0].source == "# 99 Toy"
    assert nb.cells[1].source == cells.badge(NAME) and nb.cells[1].metadata.tags == ["remove-cell"]
    assert nb.cells[2].source.startswith("## What you will be able to do")
    assert nb.cells[3].source == cells.setup_cell("99")
    assert sources(nb)[4:] == wanted()
    before = path.read_bytes()
    assert refresh.main([str(path)]) == 0 and path.read_bytes() == before


def test_old_cells_are_rewritten_and_the_rest_stays(tmp_path):
    nb = refresh.begin(NAME)
    refresh.refresh(nb, NAME)
    nb.cells.insert(4, v4.new_markdown_cell("Between."))
    nb.cells[3].source = nb.cells[3].source.replace("minidiff", "other")
    nb.cells[3].update(execution_count=7, outputs=[v4.new_output("stream", text="said")])
    nb.cells[5].source = "### Exercise: an older title"
    nb.cells[8].source = "<details>\n<summary>Hint 1</summary>\n\nOld.\n\n</details>"
    ids = [cell.id for cell in nb.cells]
    assert refresh.refresh(nb, NAME) == ["set-up cell rewritten", "99.blend rewritten", "99.blend rewritten"]
    assert [cell.id for cell in nb.cells] == ids
    assert (nb.cells[3].execution_count, nb.cells[3].outputs[0].text) == (7, "said")
    assert sources(nb)[4] == ("markdown", "Between.") and sources(nb)[5:] == wanted()
    assert refresh.refresh(nb, NAME) == []


def test_what_is_out_of_place_is_refused_and_nothing_written(tmp_path, capsys):
    good, bad = tmp_path / "98_good.ipynb", tmp_path / f"{NAME}.ipynb"
    refresh.main([str(bad)])
    nb = nbformat.read(bad, as_version=4)
    nb.cells.insert(5, v4.new_markdown_cell("Between heading and starter."))
    nbformat.write(nb, bad)
    before = bad.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        refresh.main([str(good), str(bad)])
    assert "99.blend must stand right above its check" in capsys.readouterr().err
    assert bad.read_bytes() == before and not good.exists()
    nb.cells = [cell for cell in nb.cells if "colab-badge" not in cell.source]
    with pytest.raises(ValueError, match="has 0 markdown cells .*the badge"):
        refresh.refresh(nb, NAME)
    with pytest.raises(ValueError, match="must be called like 02_forward"):
        refresh.begin("toy")
