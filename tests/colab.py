"""Runs notebooks the way Colab does, in the very Python that runs this script, and holds its packages still.

    MINIDIFF_SOURCE=dist/minidiff-0.1.0-py3-none-any.whl python tests/colab.py notebooks/02_forward_diffusion.ipynb

MINIDIFF_SOURCE is what the notebook's first cell installs: a wheel, or a folder. The script ends with 1 if a cell
fails, or if a package that was there before has another version afterwards. `tests/test_colab.py` runs it in an
imitation of Colab, the workflow `test` in Colab's own runtime image.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def packages():
    """Name -> version of every package of this Python, as pip sees them."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {entry["name"]: entry["version"] for entry in json.loads(done.stdout)}


def run(path, folder):
    """Execute a notebook with `folder` as its working directory, and print what its first code cell printed."""
    import nbformat
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from nbclient import NotebookClient

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self):
            return KernelSpec(**get_kernel_dict())  # its command starts with sys.executable

    nb = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    env = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "PYTHONPATH")}
    env.setdefault("COLAB_RELEASE_TAG", "imitation")
    env.setdefault("MINIDIFF_PROFILE", "smoke")
    NotebookClient(
        nb, timeout=300, startup_timeout=120, kernel_manager_class=ThisPython, resources=resources
    ).execute(env=env)  # fmt: skip
    first = next(cell for cell in nb.cells if cell.cell_type == "code")
    print("".join(out.text for out in first.outputs if out.output_type == "stream"), end="")


def main(paths):
    """Run notebooks one after the other; 1 if a package was replaced."""
    before = packages()
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            run(Path(path).resolve(), folder)
    after = packages()
    replaced = {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}
    for name, (old, new) in replaced.items():
        print(f"{name} was {old} and is {new or 'gone'}")
    added = ", ".join(f"{name} {version}" for name, version in sorted(after.items()) if name not in before)
    print(f"{len(before)} packages were there, {len(replaced)} replaced; added: {added or 'none'}")
    return 1 if replaced else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
