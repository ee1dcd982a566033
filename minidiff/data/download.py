"""Downloads that leave a set whole or not at all, and fail at once where there is no network."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

PROBE, STALL = 1.5, 30.0  # seconds: to reach a host at all, and to wait for more of a file
ARCHIVES = (".gz", ".tar", ".zip")


class DataUnavailable(RuntimeError):
    """A set is on none of the known places of this machine and cannot be downloaded."""


def fetch(kind: str, hosts: Sequence[str], root: Path) -> None:
    """Downloads a torchvision set to `root`, with progress.

    torchvision checks what it downloads against its md5 sums; it does so in a temporary folder, and only whole files
    are moved to where a loader looks for them.

    Args:
        kind: the class in `torchvision.datasets`.
        hosts: addresses that it downloads from; one of them has to answer.
        root: folder to which the set goes, made if it is not there.

    Raises:
        DataUnavailable: no host can be reached, or the download failed.
    """
    if not reachable(hosts):
        raise DataUnavailable(f"no connection to {' or '.join(urlsplit(host).hostname for host in hosts)}")
    from torchvision import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as temp:
            with _giving_up_after(STALL):
                getattr(datasets, kind)(temp, download=True)
            for path in sorted(p for p in Path(temp).rglob("*") if p.is_file() and p.suffix not in ARCHIVES):
                target = root / path.relative_to(temp)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
    except Exception as error:  # network, archive and disk all fail in their own ways
        raise DataUnavailable(f"the download failed ({type(error).__name__}: {error})") from error


def reachable(hosts: Sequence[str], within: float = PROBE) -> bool:
    """Whether one of the hosts (or the proxy on the way to it) accepts a connection within so many seconds."""
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    for host in hosts:
        # In a thread that nobody waits for: looking up a name has no time limit of its own.
        threading.Thread(target=lambda h=host: answers.put(_connects(h, within)), daemon=True).start()
    deadline = time.monotonic() + within
    for _ in hosts:
        try:
            if answers.get(timeout=max(0.0, deadline - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def _connects(url: str, within: float) -> bool:
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=within).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _giving_up_after(seconds: float) -> Iterator[None]:
    # torchvision opens its connections without a limit; the process-wide default is the only way to give it one.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
