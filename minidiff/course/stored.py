"""What is kept of an executed notebook: clean outputs in the tracked file, pictures as files."""

from __future__ import annotations

import base64
import datetime
import io
import os
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
WIDGET = "application/vnd.jupyter.widget-view+json"
KEPT = ("tags", "jupyter", "cellView")  # a cell's metadata; all else is a front end's own
VERSIONS = ("minidiff", "torch", "torchvision", "numpy")


def settle(text: str) -> str:
    r"""What a terminal would show in the end: a carriage return goes back to the start of its line.

    >>> settle("10 %\r50 %\r100 %\ndone\n")
    '100 %\ndone\n'
    >>> settle("first\r\nsecond")
    'first\nsecond'
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)


def plain_paths(text: str, root: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Take this machine's paths, and addresses in memory, out of a text.

    Args:
        text: what a cell printed.
        root: the repository's root; paths below it become relative.
        environ: where `MINIDIFF_DATA` and `HOME` are looked up.

    >>> plain_paths("read /srv/ann/course/results/a.json", Path("/srv/ann/course"), {"HOME": "/srv/ann"})
    'read results/a.json'
    """
    names = [(str(root), ""), (environ.get("MINIDIFF_DATA"), "$MINIDIFF_DATA"), (environ.get("HOME"), "~")]
    parts = re.split(r"(;base64,[A-Za-z0-9+/=]+)", text)  # pictures inside HTML stay as they are
    for i in range(0, len(parts), 2):
        part = re.sub(r"\S*[/\\]ipykernel_\d+[/\\]\d+\.py", "cell", parts[i])
        part = re.sub(r"\b0x[0-9a-fA-F]{6,}\b", "0x...", part)
        for path, name in names:
            if path and len(path) > 1:
                found = re.escape(path.rstrip("/"))
                part = re.sub(rf"{found}/", f"{name}/" if name else "", part)
                part = re.sub(rf"{found}(?![\w.-])", name or ".", part)
        parts[i] = part
    return "".join(parts)


def smaller(png: str) -> str:
    """The same pixels in fewer bytes, where there are at most 256 colours, as in grids of grey pictures.

    Args:
        png: a PNG file in base64.

    Returns:
        The shorter of the two; `png` itself if it has more colours, is transparent, or cannot be read.
    """
    import numpy as np
    from PIL import Image

    try:
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"))  # [H, W, 4]
    except (OSError, ValueError):
        return png
    colours, index = np.unique(picture.reshape(-1, 4), axis=0, return_inverse=True)
    if len(colours) > 256 or (colours[:, 3] < 255).any():
        return png
    packed = Image.fromarray(index.reshape(picture.shape[:2]).astype(np.uint8))
    packed.putpalette(colours[:, :3].tobytes())
    file = io.BytesIO()
    packed.save(file, "PNG", optimize=True)
    return min(png, base64.b64encode(file.getvalue()).decode(), key=len)


def _output(out, root: Path, count: int):
    """One output without widget views, paths and counts of this run; None if nothing of it stays."""
    if out.output_type == "stream":
        out.text = settle(plain_paths(out.text, root))
        return out if out.text.strip() else None
    if out.output_type in ("display_data", "execute_result"):
        if WIDGET in out.data:
            del out.data[WIDGET]
            if set(out.data) <= {"text/plain"}:
                return None  # "IntSlider(value=3)": means nothing without its kernel
        if "image/png" in out.data:
            out.data["image/png"] = smaller(out.data["image/png"])
        for kind, value in out.data.items():
            if kind.startswith("text/") and isinstance(value, str):
                out.data[kind] = plain_paths(value, root)
        out.metadata = {}
        if out.output_type == "execute_result":
            out.execution_count = count
    return out


def clean(nb, root: Path, record: dict):
    """The notebook as it is tracked: outputs and counts 1..n, nothing of this machine.

    Args:
        nb: an executed notebook; changed in place.
        root: the repository's root.
        record: goes into the notebook's metadata under `minidiff`.
    """
    count = 0
    for cell in nb.cells:
        cell.metadata = {key: cell.metadata[key] for key in KEPT if key in cell.metadata}
        if cell.cell_type != "code":
            continue
        if not cell.source.strip():
            cell.outputs, cell.execution_count = [], None
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = [out for out in (_output(out, root, count) for out in cell.outputs) if out is not None]
    nb.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "minidiff": {**nb.metadata.get("minidiff", {}), **record},
    }
    return nb


def provenance(minutes: float, profile: str) -> dict:
    """What a tracked notebook says about the run that its outputs come from."""
    import platform

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}
    day = datetime.date.today().isoformat()
    return {"minutes": round(minutes, 2), "profile": profile, "cores": cores, "date": day, "versions": versions}


def write(nb, path: Path) -> None:
    """Write a notebook under a temporary name, then rename: a reader never sees half a file.

    Raises:
        nbformat.ValidationError: if it is no valid notebook; the file stays as it was.
    """
    import nbformat

    nbformat.validate(nb)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
        try:
            nbformat.write(nb, file)
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def pictures(nb, folder: Path, lesson: str) -> list[Path]:
    """Save every PNG that the lesson shows, numbered and named after its section.

    Args:
        nb: an executed notebook.
        folder: where to; the lesson's pictures of an earlier run are removed.
        lesson: the notebook's name without its ending.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{lesson}-*.png"):
        old.unlink()
    found, heading = [], "top"
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            titles = re.findall(r"^#{1,4} +(.+)$", cell.source, re.M)
            heading = re.sub(r"[^a-z0-9]+", "-", titles[-1].lower()).strip("-")[:40] if titles else heading
        for out in cell.get("outputs", []):
            png = out.get("data", {}).get("image/png")
            if png:
                found.append(folder / f"{lesson}-{len(found) + 1:02d}-{heading}.png")
                found[-1].write_bytes(base64.b64decode(png))
    return found
