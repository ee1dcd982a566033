"""Sets by name: what is read, where it is looked for, and what happens without a network."""

import gzip
import hashlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minidiff import data
from minidiff.data import download, from_uint8, sets, to_uint8

from .standin import mnist_arrays, write_cifar, write_mnist

CONNECT = socket.create_connection
NAMED = os.environ.get("MINIDIFF_DATA")
needs_mnist = pytest.mark.skipif(
    not NAMED or not Path(NAMED, "MNIST").is_dir(), reason="MINIDIFF_DATA names no folder with MNIST"
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine without sets and without a network."""
    monkeypatch.delenv("MINIDIFF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    return tmp_path / "cache" / "minidiff"


def files(root):
    return sorted(p.name for p in root.rglob("*") if p.is_file())


def test_digits_are_the_real_ones():
    from sklearn.datasets import load_digits

    whole = load_digits()
    train, test = data.load("digits", size=8), data.load("digits", "test", size=8)
    assert (train["x"].shape, test["x"].shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    back = torch.cat([train["x"], test["x"]])[:, 0].double().add(1).mul(8)
    assert torch.equal(back, torch.from_numpy(whole.images))
    assert torch.equal(torch.cat([train["y"], test["y"]]), torch.from_numpy(whole.target))
    assert train["y"].dtype == torch.int64
    assert test["y"].bincount().min() >= 30  # every digit is tested


@pytest.mark.parametrize("size", [None, 13, 5])
def test_digits_are_resized(size):
    batch = data.load("digits", "test", size=size)
    side = size or 32
    assert batch["x"].shape == (360, 1, side, side) and batch["x"].dtype == torch.float32
    assert batch["x"].min() >= -1 and batch["x"].max() <= 1
    small, own = (
        F.adaptive_avg_pool2d(batch["x"], 1),
        F.adaptive_avg_pool2d(data.load("digits", "test", size=8)["x"], 1),
    )
    assert (small - own).abs().max() < 0.08  # as much ink as before


def test_mnist_is_padded_with_background(home):
    train, test = mnist_arrays(7, 0), mnist_arrays(4, 1)
    write_mnist(home / "MNIST" / "raw", train, test)
    for split, (pixels, labels) in (("train", train), ("test", test)):
        batch = data.load("mnist", split)
        assert batch["x"].shape == (len(pixels), 1, 32, 32) and batch["x"].is_contiguous()
        assert torch.equal(to_uint8(batch["x"])[:, 0, 2:30, 2:30], torch.from_numpy(pixels))
        frame = batch["x"].clone()
        frame[:, :, 2:30, 2:30] = -1
        assert (frame == -1).all()
        assert batch["y"].tolist() == labels.tolist() and batch["y"].dtype == torch.int64
    assert torch.equal(to_uint8(data.load("mnist", "test", size=28)["x"])[:, 0], torch.from_numpy(test[0]))
    assert data.load("mnist", "test", size=14)["x"].shape == (4, 1, 14, 14)


def test_rows_stay_rows(home):
    pixels, labels = mnist_arrays(3, 0, height=5, width=10)
    write_mnist(home / "FashionMNIST" / "raw", (pixels, labels), (pixels, labels))
    x = data.load("fashion_mnist", size=13)["x"]
    assert torch.equal(to_uint8(x)[:, 0, 4:9, 1:11], torch.from_numpy(pixels))


def test_shrinking_averages(home):
    checks = np.indices((28, 28)).sum(axis=0) % 2 * 255
    pixels = np.stack([checks, checks]).astype(np.uint8)
    write_mnist(home / "MNIST" / "raw", (pixels, np.zeros(2, np.uint8)), (pixels, np.zeros(2, np.uint8)))
    x = data.load("mnist", size=14)["x"]
    assert x[:, :, 2:-2, 2:-2].abs().max() < 0.1  # without antialiasing a chequerboard turns all black or all white


def test_cifar_keeps_channels_rows_and_columns(home, monkeypatch):
    rng = np.random.default_rng(0)
    train, test = ((rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, n)) for n in (7, 4))
    write_cifar(home, monkeypatch, train, test)
    for split, (pixels, labels) in (("train", train), ("test", test)):
        batch = data.load("cifar10", split)
        torch.testing.assert_close(batch["x"], from_uint8(torch.from_numpy(pixels)), rtol=0, atol=1e-6)
        assert torch.equal(to_uint8(batch["x"]), torch.from_numpy(pixels))
        assert batch["y"].tolist() == labels.tolist()
    assert data.load("cifar10", "test", size=20)["x"].shape == (4, 3, 20, 20)


def test_the_named_folder_comes_before_the_cache(home, tmp_path, monkeypatch):
    first, second, third = mnist_arrays(3, 0), mnist_arrays(4, 1), mnist_arrays(5, 2)
    write_mnist(home / "MNIST" / "raw", first, first)
    assert len(data.load("mnist")["x"]) == 3
    write_mnist(tmp_path / "mine" / "MNIST" / "raw", second, second)
    monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path / "mine"))
    assert len(data.load("mnist")["x"]) == 4
    write_mnist(tmp_path / "third" / "MNIST" / "raw", third, third)
    assert len(data.load("mnist", root=tmp_path / "third")["x"]) == 5
    (tmp_path / "mine" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    assert len(data.load("mnist")["x"]) == 3  # an incomplete copy is passed over


def test_without_network_it_fails_fast_and_says_what_to_do(home):
    began = time.monotonic()
    with pytest.raises(data.DataUnavailable, match=r"(?s)no folder MNIST.*no connection to .*MINIDIFF_DATA.*digits"):
        data.load("mnist")
    assert time.monotonic() - began < 2
    assert not home.exists()


def test_a_name_server_that_never_answers_costs_less_than_two_seconds(home, monkeypatch):
    def hang(*_, **__):
        time.sleep(4)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    began = time.monotonic()
    with pytest.raises(data.DataUnavailable, match="no connection"):
        data.load("mnist")
    assert time.monotonic() - began < 2


def test_one_host_of_two_is_enough(monkeypatch):
    class Connection:
        def close(self):
            pass

    def connect(address, timeout):
        if address == ("second.invalid", 80):
            return Connection()
        raise OSError

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(download.urllib.request, "getproxies", dict)
    assert download.reachable(["https://first.invalid", "http://second.invalid"])
    assert not download.reachable(["https://first.invalid", "https://second.invalid"])  # port 443 does not answer
    monkeypatch.setattr(download.urllib.request, "getproxies", lambda: {"https": "http://second.invalid:80"})
    assert download.reachable(["https://first.invalid"])  # through the proxy


def test_load_or_digits_prefers_what_was_asked_for(home, capsys):
    arrays = mnist_arrays(3, 0)
    write_mnist(home / "MNIST" / "raw", arrays, arrays)
    name, batch = data.load_or_digits("mnist", size=30)
    assert name == "mnist" and batch["x"].shape == (3, 1, 30, 30)
    name, batch = data.load_or_digits("fashion_mnist", size=30)
    assert name == "digits" and batch["x"].shape == (1437, 1, 30, 30)
    assert capsys.readouterr() == ("", "")


def test_no_download_where_none_is_wanted(home, monkeypatch):
    monkeypatch.setattr(sets, "fetch", lambda *_: pytest.fail("went to the network"))
    with pytest.raises(data.DataUnavailable, match="allow the download"):
        data.load("mnist", download=False)


@pytest.fixture
def network(monkeypatch):
    """A network whose download writes a stand-in for MNIST; set `fail` to have it break off after two files."""
    from torchvision.datasets import MNIST

    state = {"fail": None, "calls": 0}

    def fake(self):
        state["calls"] += 1
        assert socket.getdefaulttimeout() == download.STALL
        raw = Path(self.raw_folder)
        write_mnist(raw, mnist_arrays(6, 0), mnist_arrays(2, 1))
        (raw / "train-images-idx3-ubyte.gz").write_bytes(b"archive")
        if state["fail"]:
            (raw / "t10k-images-idx3-ubyte").unlink()
            raise state["fail"]

    monkeypatch.setattr(MNIST, "download", fake)
    monkeypatch.setattr(download, "reachable", lambda *_: True)
    return state


def test_a_download_goes_to_the_cache_once(home, network, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path / "read_only"))
    assert len(data.load("mnist")["x"]) == 6
    assert len(data.load("mnist", "test")["x"]) == 2
    assert network["calls"] == 1 and socket.getdefaulttimeout() is None
    assert len(files(home)) == 4 and not any(name.endswith(".gz") for name in files(home))
    assert [p.name for p in home.iterdir()] == ["MNIST"]  # the temporary folder is gone
    assert not (tmp_path / "read_only").exists()


@pytest.mark.parametrize("error", [OSError("cable pulled"), RuntimeError("File not found or corrupted.")])
def test_a_failed_download_leaves_nothing(home, network, error):
    network["fail"] = error
    with pytest.raises(data.DataUnavailable, match=f"download failed .*{error}"):
        data.load("mnist")
    assert files(home) == [] and socket.getdefaulttimeout() is None


def test_an_interrupted_download_leaves_nothing(home, network):
    network["fail"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        data.load("mnist")
    assert list(home.iterdir()) == []


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves `files`; the one named by `bad` breaks off in the middle or stalls there."""

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        body = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if name == self.server.bad:
            self.wfile.write(body[: len(body) // 2])
            self.server.stall.wait(5)
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(home, tmp_path, monkeypatch):
    """torchvision's own downloader, sent to a server on this machine that has a stand-in for MNIST."""
    from torchvision.datasets import MNIST

    write_mnist(tmp_path / "served", mnist_arrays(6, 0), mnist_arrays(2, 1))
    packed = {f"{p.name}.gz": gzip.compress(p.read_bytes()) for p in (tmp_path / "served").iterdir()}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.files, server.bad, server.stall = packed, None, threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        host = f"http://127.0.0.1:{server.server_address[1]}"
        sums = [(name, hashlib.md5(body, usedforsecurity=False).hexdigest()) for name, body in packed.items()]
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setattr(socket, "create_connection", CONNECT)
        monkeypatch.setattr(MNIST, "mirrors", [f"{host}/"])
        monkeypatch.setattr(MNIST, "resources", sums)
        monkeypatch.setitem(sets.TORCHVISION, "mnist", ("MNIST", "MNIST", (host,)))
        yield server
        server.stall.set()
        server.shutdown()
        thread.join()


def test_a_download_from_a_server(home, mirror, capfd):
    batch = data.load("mnist")
    assert torch.equal(to_uint8(batch["x"])[:, 0, 2:30, 2:30], torch.from_numpy(mnist_arrays(6, 0)[0]))
    assert len(files(home)) == 4
    assert "100%" in capfd.readouterr().err  # progress


@pytest.mark.parametrize("stall", [False, True])
def test_a_download_that_breaks_off_or_stalls(home, mirror, stall, monkeypatch):
    mirror.bad = sorted(mirror.files)[2]
    if stall:
        monkeypatch.setattr(download, "STALL", 0.2)
    else:
        mirror.stall.set()
    began = time.monotonic()
    with pytest.raises(data.DataUnavailable, match="download failed"):
        data.load("mnist")
    assert time.monotonic() - began < 4
    assert list(home.iterdir()) == []
    mirror.bad = None
    assert len(data.load("mnist", "test")["x"]) == 2  # the second try works


def test_a_damaged_copy_is_named_and_replaced(home, network):
    write_mnist(home / "MNIST" / "raw", mnist_arrays(5, 3), mnist_arrays(5, 3))
    damaged = home / "MNIST" / "raw" / "train-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(data.DataUnavailable, match="incomplete or damaged"):
        data.load("mnist", download=False)
    assert len(data.load("mnist")["x"]) == 6
    assert network["calls"] == 1


def test_the_probed_hosts_are_those_that_torchvision_downloads_from():
    from torchvision import datasets

    for kind, _, hosts in sets.TORCHVISION.values():
        of = getattr(datasets, kind)
        urls = getattr(of, "mirrors", None) or [of.url]
        assert all(any(url.startswith(host + "/") for url in urls) for host in hosts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("imagenet",), "name must be one of digits, mnist, fashion_mnist, cifar10; got 'imagenet'"),
        (("digits", "validation"), "split must be 'train' or 'test'; got 'validation'"),
    ],
)
def test_bad_names(arguments, message):
    for function in (data.load, data.load_or_digits):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


@pytest.mark.parametrize("size", [0, 2.5, "32"])
def test_bad_sizes(size):
    with pytest.raises(ValueError, match="size must be an integer of at least 1"):
        data.load("digits", size=size)


def test_importing_the_package_imports_none_of_the_heavy_ones():
    code = (
        "import sys, minidiff.data, minidiff.metrics, minidiff.models.classifier\n"
        "print([m for m in ('torchvision', 'sklearn', 'scipy', 'PIL', 'matplotlib', 'accelerate') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@needs_mnist
def test_the_real_mnist():
    train, test = data.load("mnist"), data.load("mnist", "test")
    assert (train["x"].shape, test["x"].shape) == ((60_000, 1, 32, 32), (10_000, 1, 32, 32))
    assert train["y"].bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test["y"][:5].tolist() == [7, 2, 1, 0, 4]
    inner = to_uint8(train["x"][:, :, 2:30, 2:30]).float()
    assert (inner.mean() / 255).item() == pytest.approx(0.1307, abs=5e-5)  # the published mean
    assert train["x"].aminmax() == (-1, 1)
