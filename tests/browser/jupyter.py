"""A JupyterLab of its own, and what a learner does in it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {  # all cells in the page, and no question to other hosts
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
_CELLS = """() => jupyterapp.shell.currentWidget.content.widgets.map((cell) => ({
  kind: cell.model.type, source: cell.model.sharedModel.getSource(),
  count: cell.model.type === "code" ? cell.model.executionCount : null,
  running: cell.model.type === "code" && cell.promptNode?.textContent.includes("*"),
  errors: cell.model.type === "code" ? cell.model.toJSON().outputs.filter((out) => out.output_type === "error") : [],
}))"""
_IDLE = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
# Done is: the kernel is idle and nothing waits for it; after an error the cells below it stay without a number.
_DONE = (
    f"() => {{ const cells = ({_CELLS})().filter((cell) => cell.kind === 'code' && cell.source.trim());"
    f" return ({_IDLE})() && !cells.some((cell) => cell.running) &&"
    " (cells.every((cell) => cell.count) || cells.some((cell) => cell.errors.length)); }"
)


def environment(root: Path) -> dict[str, str]:
    """What server and kernels see: this repository's package, the smoke profile, none of the user's own settings."""
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # it would remove the pictures
    places = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython",
              "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}  # fmt: skip
    env.update({name: str(root / folder) for name, folder in places.items()})
    return {**env, "PYTHONPATH": str(ROOT), "MINIDIFF_PROFILE": "smoke", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


@contextmanager
def running(root: Path) -> Iterator[tuple[str, str]]:
    """JupyterLab on a free port with the notebooks of `root / "work"`; gives its address and token.

    Raises:
        RuntimeError: if it ends by itself, or does not answer within a minute.
    """
    for name, values in SETTINGS.items():
        file = root / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, log = secrets.token_hex(16), root / "lab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
               "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root / 'work'}",
               "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    with log.open("w") as out:
        env = {**environment(root), "JUPYTER_TOKEN": token}
        server = psutil.Popen(command, cwd=root, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        origin = f"http://127.0.0.1:{port}"
        _wait(server, f"{origin}/api/status?token={token}", log)
        yield origin, token
    finally:
        end(server)


def _wait(server: psutil.Popen, url: str, log: Path) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"JupyterLab does not answer: {log.read_text('utf-8')[-2000:]}") from None
            time.sleep(0.1)


def end(server: psutil.Popen) -> None:
    """End a server and every process that it started, kindly at first."""
    try:
        family = [server, *server.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = [server]
    server.terminate()
    _, alive = psutil.wait_procs(family, timeout=10)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=5)


class Notebook:
    """One notebook, open in JupyterLab.

    Args:
        watched: a page whose origin is the server.
        token: the server's.
        name: file below the server's root.
    """

    def __init__(self, watched, token: str, name: str) -> None:
        self.page = watched.page
        self.page.goto(f"{watched.origin}/lab/tree/{name}?reset&token={token}", timeout=60_000)
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
        self.page.wait_for_function(_IDLE, timeout=60_000)

    def run_all(self, seconds: float = 120) -> list[str]:
        """Run every cell; returns the errors, in words, and nothing if all cells are done without one."""
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")
        self.page.wait_for_function(_DONE, timeout=1000 * seconds, polling=200)
        return [f"{out['ename']}: {out['evalue']}" for cell in self.cells() for out in cell["errors"]]

    def cells(self) -> list[dict]:
        """Kind, source, count and errors of each cell."""
        return self.page.evaluate(_CELLS)

    def find(self, *parts: str) -> int:
        """Index of the one code cell that holds all of these texts."""
        cells = [i for i, c in enumerate(self.cells()) if c["kind"] == "code" and all(p in c["source"] for p in parts)]
        assert len(cells) == 1, f"{len(cells)} cells hold {parts}"
        return cells[0]

    def cell(self, index: int):
        """Playwright's locator of a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def write(self, index: int, source: str) -> None:
        """Replace a cell's text as one who types does, and run the cell."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(source)
        assert self.cells()[index]["source"] == source
        self.page.keyboard.press("Shift+Enter")

    def run(self, index: int) -> None:
        """Run a cell with the keyboard."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def shut(self) -> None:
        """End the kernel."""
        self.page.evaluate("async () => { await jupyterapp.shell.currentWidget?.sessionContext?.shutdown(); }")
