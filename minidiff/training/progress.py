"""One line of progress: in a terminal it is rewritten, in a notebook it is one output, in a log it is a line now and
then."""

from __future__ import annotations

import sys
import time


class Progress:
    """Shows loss, speed and time left.

    Args:
        total: steps.
        start: steps already done when the run began (after a resume).
        label: what is being trained.
    """

    def __init__(self, total: int, start: int = 0, label: str = ""):
        self.total, self.start, self.label = total, start, label
        self.began, self.shown, self.handle = time.monotonic(), -1.0, None
        self.in_notebook = "ipykernel" in sys.modules and _has_kernel()
        self.live = self.in_notebook or sys.stderr.isatty()

    def update(self, step: int, note: str = "") -> None:
        """Shows the line if it is due: twice a second where it is rewritten, every 30 s in a log, and at the end."""
        now = time.monotonic() - self.began
        if step < self.total and now - self.shown < (0.5 if self.live else 30):
            return
        self.shown = now
        self._show(self.line(step, now, note), last=step >= self.total)

    def line(self, step: int, seconds: float, note: str) -> str:
        """The text of the progress line."""
        from tqdm import tqdm

        return tqdm.format_meter(
            step, self.total, seconds, prefix=self.label, postfix=note, unit=" steps", initial=self.start, ncols=100
        )

    def _show(self, line: str, last: bool) -> None:
        if self.in_notebook:
            from IPython.display import display

            data = {"text/plain": line}
            if self.handle is None:
                self.handle = display(data, raw=True, display_id=True)
            else:
                self.handle.update(data, raw=True)
        else:
            print(f"\r{line}" if self.live else line, end="\n" if last or not self.live else "", file=sys.stderr)
            sys.stderr.flush()


def _has_kernel() -> bool:
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
