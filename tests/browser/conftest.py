"""Browser tests: skipped where there is no Chromium, counted where CI=true, and nothing is left running."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import chromium  # noqa: E402

EXPECTED = 155  # under CI=true a whole run with fewer browser tests than these fails
NONE = "browser tests need Chromium: install the system's package `chromium`, or name a browser in MINIDIFF_CHROMIUM"
_ran = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this folder's tests where there is no browser, and say so."""
    if chromium.find() is None:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=NONE))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what has run here, passed or not."""
    if report.when == "call" and report.outcome != "skipped" and report.nodeid.startswith("tests/browser/"):
        _ran.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a whole run under CI=true in which too few browser tests ran: a skip must not look like a pass."""
    config = session.config
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (
        config.option.keyword or config.option.markexpr or config.option.collectonly
    )
    if os.environ.get("CI") == "true" and whole and exitstatus == 0 and len(_ran) < EXPECTED:
        report = config.pluginmanager.get_plugin("terminalreporter")
        report.write_line(f"\nCI=true, but {len(_ran)} browser tests ran; {EXPECTED} are expected ({NONE})", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="module")
def browser():
    """One browser for a file of tests; not longer, for its event loop would stand in the way of others."""
    with chromium.launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def book():
    """Address of the book, built if its sources have changed; its warnings are for `make book` to report."""
    build = [sys.executable, str(ROOT / "book" / "build.py")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=110)
    html = ROOT / "book" / "_build" / "html"
    assert (html / "index.html").is_file(), f"the book does not build: {(done.stdout + done.stderr)[-2000:]}"
    with chromium.served(html) as origin:
        yield origin


@pytest.fixture
def visit(browser, book):
    """`visit(path, width=, scheme=)` opens a page of the book, watched."""
    opened = []

    def visit(path: str, **options: object) -> chromium.Watched:
        opened.append(chromium.Watched(browser, book, **options))
        opened[-1].open(path)
        return opened[-1]

    yield visit
    for watched in opened:
        watched.close()
