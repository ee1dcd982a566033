"""The system's Chromium, and pages in it that reach nothing but one server of this machine."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = ("/Applications/Chromium.app/Contents/MacOS/Chromium",
       "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")  # fmt: skip
# Without the second line Chromium looks up hosts of its own at every start, many at a time.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # fmt: skip


def find() -> str | None:
    """Path of the browser: the one that MINIDIFF_CHROMIUM names, else the system's; None if there is none."""
    named = os.environ.get("MINIDIFF_CHROMIUM")
    if named:
        return shutil.which(named)
    return next((path for path in map(shutil.which, (*NAMES, *MAC)) if path), None)


@contextmanager
def launched() -> Iterator:
    """A headless browser, closed in any case."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine; gives its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Watched:
    """A page that reaches one origin only and remembers what went wrong.

    Args:
        browser: as `launched` gives it.
        origin: the one server that may be asked, as in `http://127.0.0.1:8000`.
        width: of the window, in pixels.
        scheme: `light` or `dark`, what the reader's system asks for.

    Attributes:
        page: Playwright's page.
        foreign: addresses on other hosts that were asked for; none of these requests left.
        errors: what scripts threw, and errors on the console.
        failed: answers of 400 and more.
    """

    def __init__(self, browser, origin: str, width: int = 1280, scheme: str = "light") -> None:
        self.origin, self.foreign, self.errors, self.failed = origin, [], [], []
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, service_workers="block"
        )
        self.context.set_default_timeout(15_000)
        self.context.route("**/*", self._gate)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("response", lambda got: self.failed.append(got.url) if got.status >= 400 else None)
        self.page.on("websocket", lambda socket: self._socket(socket.url))

    def _inside(self, url: str) -> bool:
        return url.startswith((self.origin + "/", "data:", "blob:", "about:"))

    def _gate(self, route) -> None:
        if self._inside(route.request.url):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def _socket(self, url: str) -> None:
        if not self._inside(url.replace("ws", "http", 1)):
            self.foreign.append(url)

    def open(self, path: str) -> None:
        """Go to a page of the origin and wait until it has loaded and its mathematics is typeset."""
        self.page.goto(f"{self.origin}/{path}", wait_until="load")
        self.page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")

    def faults(self) -> list[str]:
        """Everything that went wrong since the page was made, in words."""
        kinds = {"asked another host": self.foreign, "error": self.errors, "not there": self.failed}
        return [f"{kind}: {what}" for kind, found in kinds.items() for what in found]

    def close(self) -> None:
        """Close the page and forget what it stored."""
        self.context.close()
