"""Runs lessons without a browser: `python -m minidiff.course.runner --lessons 02,03`.

Lessons run on copies under `build/lessons`, so that the tracked notebooks stay as they are; only `--outputs` rewrites
them, once a lesson has run to its end. Pictures land in `build/pictures`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from minidiff.course import stored
from minidiff.course.profile import PROFILES, profile_name


@dataclass(frozen=True)
class Limits:
    """After how many minutes a cell, or a whole lesson, is given up."""

    cell: float = 15.0
    lesson: float = 45.0


class Meter:
    """Shows which cell runs and what it printed last: one line that is rewritten, or a line now and then in a log."""

    def __init__(self, lesson: str, total: int, every: float = 20.0):
        self.lesson, self.total, self.every = lesson, total, every
        self.live = sys.stdout.isatty()
        self.cell, self.heading, self.note, self.began = 0, "", "", 0.0
        self.running = threading.Event()

    def start(self, cell: int, heading: str) -> None:
        """A cell begins; a thread keeps its line up to date until `stop`."""
        self.cell, self.heading, self.note, self.began = cell, heading, "", time.monotonic()
        self.running = threading.Event()
        threading.Thread(target=self._tick, args=(self.running,), daemon=True).start()

    def stop(self) -> None:
        """The cell has ended: its line stays."""
        if self.cell and not self.running.is_set():
            self.running.set()
            self._show(last=True)

    def heard(self, message: dict) -> None:
        """Keep the last line of what the kernel printed or displayed as plain text."""
        content = message["content"]
        text = content.get("text") or content.get("data", {}).get("text/plain", "")
        lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
        if lines and message["msg_type"] in ("stream", "display_data", "update_display_data"):
            self.note = re.sub(r"\|[^|]*\|", "", stored.ANSI.sub("", lines[-1]))  # of a progress bar, the numbers

    def _tick(self, stopped: threading.Event) -> None:
        while not stopped.wait(1.0 if self.live else self.every):
            self._show()

    def _show(self, last: bool = False) -> None:
        seconds = time.monotonic() - self.began
        note = "" if last else self.note
        line = f"{self.lesson}  cell {self.cell:2d}/{self.total}  {seconds:6.1f} s  {self.heading[:32]:32s}  {note}"
        if self.live:
            width = max(20, shutil.get_terminal_size().columns - 1)
            print(f"\r{line[:width]:{width}s}", end="\n" if last else "", flush=True)
        else:
            print(line[:160].rstrip(), flush=True)


@dataclass(frozen=True)
class Outcome:
    """How a lesson went.

    Attributes:
        nb: the executed notebook.
        minutes: how long it took.
        error: None, or what a cell ended with.
        number: the code cell that ran last, counted from 1.
    """

    nb: object
    minutes: float
    error: Exception | None
    number: int


def find(root: Path, lessons: str | None = None) -> list[Path]:
    """The notebooks to run, in order.

    Args:
        root: the repository's root; the notebooks are in `notebooks/`.
        lessons: numbers with commas between, as in `"02,03"`; None or empty means all.

    Raises:
        ValueError: if a number has no notebook, or there is none at all.
    """
    have = {path.name[:2]: path for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
    wanted = [part.strip().zfill(2) for part in (lessons or "").split(",") if part.strip()] or list(have)
    missing = [number for number in wanted if number not in have]
    if missing or not wanted:
        raise ValueError(f"lessons is {lessons!r}; it must name some of: {', '.join(have) or 'none found'}")
    return [have[number] for number in wanted]


def estimate(paths: list[Path], profile: str) -> str:
    """One sentence: how long the lessons took when their outputs were recorded."""
    import nbformat

    known = [nbformat.read(path, as_version=4).metadata.get("minidiff", {}) for path in paths]
    known = [record for record in known if record.get("minutes") and record.get("profile") == profile]
    what = f"{len(paths)} lesson{'s' * (len(paths) != 1)} in the {profile} profile"
    if not known:
        return f"{what}: no time is on record for this profile."
    minutes = sum(record["minutes"] for record in known)
    cores = max(record.get("cores", 0) for record in known)
    rest = "" if len(known) == len(paths) else f" ({len(paths) - len(known)} more without a time on record)"
    return f"{what}: about {minutes:.1f} minutes on {cores} CPU cores{rest}."


def environment(root: Path, profile: str, record: bool = False) -> dict[str, str]:
    """What the kernel sees: no MPLBACKEND (it would remove the pictures) and none of the user's start-up files."""
    env = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "MINIDIFF_RECORD")}
    (root / "build" / "ipython").mkdir(parents=True, exist_ok=True)
    env.update(MINIDIFF_PROFILE=profile, IPYTHONDIR=str(root / "build" / "ipython"), PYDEVD_DISABLE_FILE_VALIDATION="1")
    if record:
        env["MINIDIFF_RECORD"] = "1"
    return env


def headings(nb) -> dict[int, tuple[int, str]]:
    """Cell index -> (number among the code cells, heading it stands under)."""
    found, heading = {}, ""
    for index, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            titles = re.findall(r"^#{1,4} +(.+)$", re.sub(r"```.*?```", "", cell.source, flags=re.S), re.M)
            heading = titles[-1].strip() if titles else heading
        elif cell.cell_type == "code" and cell.source.strip():
            found[index] = (len(found) + 1, heading)
    return found


def client(nb, folder: Path, limits: Limits, meter: Meter):
    """A notebook client whose kernel is this very Python, whatever kernels are installed."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec
    from nbclient import NotebookClient
    from traitlets.config import Config

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self):
            return KernelSpec(**get_kernel_dict())  # its command starts with sys.executable

    class Client(NotebookClient):
        def process_message(self, msg, cell, cell_index):
            meter.heard(msg)
            return super().process_message(msg, cell, cell_index)

    cells = headings(nb)

    def begins(cell, cell_index):
        if cell_index in cells:
            meter.start(*cells[cell_index])

    def ends(cell, cell_index):
        if cell_index in cells:
            meter.stop()

    return Client(
        nb,
        kernel_manager_class=ThisPython,
        config=Config(KernelManager={"transport_encryption": "auto"}),  # else new kernels warn
        timeout=int(limits.cell * 60),
        startup_timeout=120,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=begins,
        on_cell_executed=lambda cell, cell_index, execute_reply: ends(cell, cell_index),
    )


def watchdog(runner, copy: Path, limits: Limits) -> threading.Timer:
    """Ends the process if the lesson outlives its limit: a hung client cannot be trusted to time itself out."""

    def give_up():
        print(f"\n{copy.name}: given up after {limits.lesson:g} minutes.", flush=True)
        with suppress(Exception):
            stored.write(runner.nb, copy)
        with suppress(Exception):
            os.killpg(runner.km.provisioner.pid, signal.SIGKILL)
        os._exit(1)

    timer = threading.Timer(limits.lesson * 60, give_up)
    timer.daemon = True
    timer.start()
    return timer


def execute(path: Path, root: Path, profile: str, limits: Limits, record: bool = False) -> Outcome:
    """Run one notebook on a copy under `build/lessons`; the copy is left there, also after an error."""
    import nbformat
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    nb = nbformat.read(path, as_version=4)
    copy = root / "build" / "lessons" / path.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    meter = Meter(path.name[:2], len(headings(nb)))
    runner, error, began = client(nb, copy.parent, limits, meter), None, time.monotonic()
    timer = watchdog(runner, copy, limits)
    try:
        runner.execute(env=environment(root, profile, record))
    except (CellControlSignal, DeadKernelError) as caught:
        meter.stop()
        error = caught
    finally:
        timer.cancel()
        stored.write(nb, copy)
    return Outcome(nb, (time.monotonic() - began) / 60, error, meter.cell)


def explain(name: str, outcome: Outcome) -> str:
    """Which cell failed, its source and the error."""
    index = next((i for i, (number, _) in headings(outcome.nb).items() if number == outcome.number), None)
    if index is None:
        return f"{name}: failed before its first cell.\n\n{outcome.error}"
    cell = outcome.nb.cells[index]
    traces = [out.traceback for out in cell.outputs if out.output_type == "error"]
    trace = stored.ANSI.sub("", "\n".join(traces[0])) if traces else ""
    if not trace or "Timeout" in type(outcome.error).__name__:  # its trace says only that the kernel was interrupted
        trace = f"{type(outcome.error).__name__}: {outcome.error}\n{trace}"
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    return f"{name}: code cell {outcome.number} failed (cell {index} of the file).\n\n{source}\n\n{trace}"


def main(argv: list[str] | None = None) -> int:
    """Run lessons, one line each at the end; 0 if all ran through, 1 if a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m minidiff.course.runner", description=__doc__.splitlines()[0])
    parser.add_argument("--lessons", default="", help="numbers, as in 02,03; all if left out")
    parser.add_argument("--profile", default=None, choices=PROFILES, help="default: the one in use here")
    parser.add_argument("--outputs", action="store_true", help="rewrite the tracked notebooks (laptop profile)")
    parser.add_argument("--cell-minutes", type=float, default=Limits.cell)
    parser.add_argument("--lesson-minutes", type=float, default=Limits.lesson)
    args = parser.parse_args(argv)
    root, limits = Path.cwd(), Limits(args.cell_minutes, args.lesson_minutes)
    profile = "laptop" if args.outputs else args.profile or profile_name()
    try:
        paths = find(root, args.lessons)
    except ValueError as error:
        parser.error(str(error))
    print(estimate(paths, profile), flush=True)
    lines, failed = [], False
    for path in paths:
        outcome = execute(path, root, profile, limits, record=args.outputs)
        pictures = stored.pictures(outcome.nb, root / "build" / "pictures", path.stem)
        verdict = "FAILED" if outcome.error else "ok"
        lines.append(f"{path.stem:32s} {outcome.minutes:6.2f} min  {verdict:6s}  {len(pictures)} pictures")
        if outcome.error:
            failed = True
            print(f"\n{explain(path.name, outcome)}\n\nThe executed copy: build/lessons/{path.name}", flush=True)
        elif args.outputs:
            stored.write(stored.clean(outcome.nb, root, stored.provenance(outcome.minutes, profile)), path)
    print("\n" + "\n".join(lines), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
