"""Pictures of the user's own: which files of a folder are taken, in which order, and what is said of the others."""

import os
import pickle
import random
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from minidiff.data import StreamBatches, folder, to_uint8
from minidiff.data import folder_pictures as pictures


def save(path, colour, size=(6, 4), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


def test_classes_are_sub_folders(tmp_path):
    save(tmp_path / "zebra" / "a.png", (255, 0, 0))
    save(tmp_path / "ant" / "b.PNG", (0, 255, 0))
    save(tmp_path / "ant" / "c.jpg", (0, 0, 255), quality=100)
    (tmp_path / "ant" / "notes.txt").write_text("no picture")
    found = folder(tmp_path, 5)
    assert found.classes == ("ant", "zebra")
    batch = found.load()
    assert batch["x"].shape == (3, 3, 5, 5) and batch["x"].dtype == torch.float32
    assert batch["y"].tolist() == [0, 0, 1] and batch["y"].dtype == torch.int64
    assert to_uint8(batch["x"])[2, :, 1, 3].tolist() == [255, 0, 0]
    assert to_uint8(batch["x"])[0, :, 1, 3].tolist() == [0, 255, 0]


def test_a_flat_folder_has_no_labels(tmp_path):
    save(tmp_path / "b.png", (10, 20, 30))
    save(tmp_path / "a.png", (40, 50, 60))
    batch = folder(tmp_path, 3).load()
    assert sorted(batch) == ["x"]
    assert to_uint8(batch["x"])[:, :, 0, 0].tolist() == [[40, 50, 60], [10, 20, 30]]  # sorted by name


def test_rows_are_rows_and_the_middle_is_kept(tmp_path):
    picture = Image.new("L", (9, 5), 255)  # 9 wide, 5 high: the middle square is columns 2..6
    picture.paste(0, (0, 0, 9, 1))
    picture.paste(100, (0, 0, 2, 5))
    picture.save(tmp_path / "a.png")
    x = to_uint8(folder(tmp_path, 5, channels=1)[0]["x"])
    assert x.shape == (1, 5, 5)
    assert x[0, :, 2].tolist() == [0, 255, 255, 255, 255]
    assert x[0, 2].tolist() == [255] * 5


def test_transparency_becomes_white_and_cameras_are_turned(tmp_path):
    save(tmp_path / "a.png", (0, 0, 0, 0), mode="RGBA")
    picture = Image.new("RGB", (4, 4), "white")
    picture.paste("black", (0, 0, 4, 2))  # upper half
    turned = Image.Exif()
    turned[0x0112] = 3  # taken upside down
    picture.save(tmp_path / "b.png", exif=turned)
    found = folder(tmp_path, 4)
    assert to_uint8(found[0]["x"]).min() == 255
    assert to_uint8(found[1]["x"])[0, :, 0].tolist() == [255, 255, 0, 0]


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="path must be a folder"):
        folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no pictures"):
        folder(tmp_path)
    save(tmp_path / "a.png", (0, 0, 0))
    with pytest.raises(ValueError, match="size must be"):
        folder(tmp_path, 0)
    with pytest.raises(ValueError, match="channels must be 1 or 3; got 4"):
        folder(tmp_path, channels=4)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(ValueError, match="b.png cannot be read as a picture"):
        folder(tmp_path, check=False)[1]
    save(tmp_path / "sub" / "c.png", (0, 0, 0))
    with pytest.raises(ValueError, match="one or the other"):
        folder(tmp_path)


def names(found):
    return [path.name for path in found.files]


def different(root, *names):
    """Pictures of as many different colours."""
    for i, name in enumerate(names):
        save(root / name, (20 * i, 5, 200 - i))


def test_files_are_taken_by_their_names(tmp_path):
    last = "\u00e9t\u00e9 \u4e1c.JPeG"
    different(tmp_path, "b.png", "A.PNG", last, "c.gif", "d.webp", "e.tiff", "f.bmp", "z.b.jpg", ".hidden.png")
    (tmp_path / "g.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    (tmp_path / "h").mkdir()
    different(tmp_path, ".thumbnails/b.png")
    (tmp_path / "notes.txt").write_text("no caption of anything")
    found = folder(tmp_path)
    assert names(found) == ["A.PNG", "b.png", "c.gif", "d.webp", "e.tiff", "f.bmp", "z.b.jpg", last]
    assert found.classes == () and found.captions == ()
    assert found.load()["x"].shape == (8, 3, 32, 32)


def test_the_order_is_that_of_the_names_whatever_the_system_lists_first(tmp_path, monkeypatch):
    different(tmp_path, "a-b/2.png", "a-b/10.png", "a/3.png", "B/3.png", "a/B.png", "a/a.png")
    found = folder(tmp_path)
    relative = [path.relative_to(tmp_path).as_posix() for path in found.files]
    assert relative == ["B/3.png", "a/3.png", "a/B.png", "a/a.png", "a-b/10.png", "a-b/2.png"]
    assert found.classes == ("B", "a", "a-b") and [int(found[i]["y"]) for i in range(6)] == [0, 1, 1, 1, 2, 2]
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listed(self), reverse=True)))
    assert folder(tmp_path) == found


def test_links_are_followed_and_dangling_ones_are_named(tmp_path):
    different(tmp_path, "elsewhere/a.png", "elsewhere/b.png")
    root = tmp_path / "links"
    root.mkdir()
    (root / "one.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (root / "two.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.warns(UserWarning, match=r"1 of 2 pictures .* left out: two\.png \(No such file"):
        found = folder(root)
    assert names(found) == ["one.png"]
    with pytest.raises(ValueError, match=r"two\.png cannot be read as a picture: No such file or directory$"):
        folder(root, check=False)[1]
    (root / "class").symlink_to(tmp_path / "elsewhere")
    (root / "one.png").unlink()
    (root / "two.png").unlink()
    assert folder(root).classes == ("class",) and len(folder(root)) == 2
    (root / "class" / "c.png").symlink_to("a.png")
    with pytest.raises(ValueError, match=r"class/a\.png = class/c\.png\."):
        folder(root)


# Files that cannot be read


def spoil(root):
    """Six files with pictures' names, and why none of them is one."""
    good = (root / "good.png").read_bytes()
    (root / "cut.png").write_bytes(good[:-25])
    (root / "empty.jpg").write_bytes(b"")
    (root / "text.PNG").write_text("a red ball")
    (root / "page.jpg").write_text("<html><body>404</body></html>")
    (root / "zeros.gif").write_bytes(bytes(100))
    (root / "half.webp").write_bytes(b"RIFF")
    return ["cut.png", "empty.jpg", "half.webp", "page.jpg", "text.PNG", "zeros.gif"]


def test_unreadable_files_are_named_once_and_left_out(tmp_path):
    different(tmp_path, "good.png", "other.png")
    bad = spoil(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = folder(tmp_path)
    [warning] = caught
    message = str(warning.message)
    assert warning.category is UserWarning and warning.filename == __file__
    assert f"6 of 8 pictures in {tmp_path} cannot be read and are left out: cut.png (" in message
    assert [name in message for name in bad] == [True] * 5 + [False] and message.endswith("and 1 more")
    assert names(found) == ["good.png", "other.png"] and found.load()["x"].shape[0] == 2


def test_a_folder_that_is_known_to_be_good_is_not_checked(tmp_path):
    different(tmp_path, "good.png", "other.png")
    bad = spoil(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = folder(tmp_path, check=False)
    assert len(found) == 8
    for i, path in enumerate(found.files):
        if path.name in bad:
            with pytest.raises(ValueError, match=f"{path.name} cannot be read as a picture: "):
                found[i]
        else:
            assert found[i]["x"].shape == (3, 32, 32)


def test_nothing_that_can_be_read_is_an_error(tmp_path):
    save(tmp_path / "good.png", (1, 2, 3))
    spoil(tmp_path)
    (tmp_path / "good.png").unlink()
    with pytest.raises(ValueError, match=r"none of its 6 can: cut\.png \(.*and 1 more"):
        folder(tmp_path)


def test_a_class_of_which_nothing_can_be_read_keeps_its_number(tmp_path):
    different(tmp_path, "a/1.png", "c/2.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "3.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"left out: b/3\.png"):
        found = folder(tmp_path)
    assert found.classes == ("a", "b", "c") and found.load()["y"].tolist() == [0, 2]


def test_large_pictures_are_read_and_bombs_are_not(tmp_path, monkeypatch):
    save(tmp_path / "bomb.png", (1, 2, 3), size=(15, 14))
    save(tmp_path / "large.png", (1, 2, 3), size=(11, 14))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow warns above this many and refuses above twice as many
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = folder(tmp_path)
    assert names(found) == ["large.png"]
    assert len(caught) == 1 and "bomb.png (Image size (210 pixels) exceeds limit" in str(caught[0].message)


def test_a_bar_is_shown_only_where_one_waits(tmp_path, monkeypatch, capfd):
    different(tmp_path, "a.png", "b.png", "c.png")
    folder(tmp_path)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(pictures, "PATIENCE", 0)
    folder(tmp_path)
    assert "checking pictures" in capfd.readouterr().err


# Duplicates


def test_equal_files_are_named(tmp_path):
    different(tmp_path, "a.png", "b.png", "c.png")
    for name in ("d.png", "e.png"):
        (tmp_path / name).write_bytes((tmp_path / "b.png").read_bytes())
    (tmp_path / "f.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    with pytest.raises(ValueError, match=r"3 of its 6 files .*: a\.png = f\.jpg, b\.png = d\.png = e\.png\. Rem"):
        folder(tmp_path)
    found = folder(tmp_path, allow_duplicates=True)
    assert names(found) == ["a.png", "b.png", "c.png", "d.png", "e.png", "f.jpg"]
    x = found.load()["x"]
    assert torch.equal(x[0], x[5]) and not torch.equal(x[0], x[1])
    (tmp_path / "g.png").write_bytes((tmp_path / "b.png").read_bytes())
    with pytest.raises(ValueError, match=r"4 of its 7 .*: a\.png = f\.jpg, b\.png = d\.png = e\.png = \.\.\.\. Remove"):
        folder(tmp_path)


def test_equal_files_are_named_in_their_order(tmp_path):
    for name, content in (("a", b"??"), ("b", b"111"), ("c", b"22"), ("d", b"111"), ("e", b"22")):
        (tmp_path / f"{name}.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"2 of its 5 .*: b\.png = d\.png, c\.png = e\.png\. Remove"):
        folder(tmp_path, check=False)


def test_one_picture_in_two_classes_is_said_to_be_that(tmp_path):
    different(tmp_path, "cat/a.png", "cat/b.png", "dog/c.png")
    (tmp_path / "dog" / "x.png").write_bytes((tmp_path / "cat" / "a.png").read_bytes())
    match = r"1 of its 4 .*: cat/a\.png = dog/x\.png \(the same picture in the classes cat, dog\)\. Remove the copies"
    with pytest.raises(ValueError, match=match):
        folder(tmp_path)


def test_only_files_of_equal_size_are_compared(tmp_path, monkeypatch):
    for i in range(4):  # two pairs of equal size and unequal content; one file of a size of its own
        (tmp_path / f"{i}.png").write_bytes(bytes([i]) * (10 + i // 2))
    (tmp_path / "4.png").write_bytes(bytes(20))
    read, digest = [], __import__("hashlib").file_digest
    monkeypatch.setattr("hashlib.file_digest", lambda f, name: read.append(os.path.basename(f.name)) or digest(f, name))
    assert len(folder(tmp_path, check=False)) == 5
    assert sorted(read) == ["0.png", "1.png", "2.png", "3.png"]


def test_copies_of_a_broken_file_are_broken_not_equal(tmp_path):
    save(tmp_path / "good.png", (1, 2, 3))
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=r"2 of 3 pictures"):
        assert names(folder(tmp_path)) == ["good.png"]


# Many files, and workers


def test_three_thousand_files(tmp_path):
    order = list(range(3000))
    random.Random(1).shuffle(order)
    for i in order:
        pixels = np.array([[[i % 256, i // 256, 7], [0, 0, 0]]], dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i:04d}.bmp")  # all of one size: every file is hashed, too
        if i % 1000 == 500:
            (tmp_path / f"{i:04d}.bmp").write_bytes(b"BM")
    lines = [f"{i:04d}.bmp,picture number {i}" for i in sorted(order, reverse=True)]
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption", *lines]))
    start = time.perf_counter()
    with pytest.warns(UserWarning, match=r"3 of 3000 pictures .*: 0500\.bmp \(.*1500\.bmp \(.*2500\.bmp \([^,]*\)$"):
        found = folder(tmp_path, 1)
    seconds = time.perf_counter() - start
    kept = [i for i in range(3000) if i % 1000 != 500]
    assert [int(path.stem) for path in found.files] == kept
    assert found.captions == tuple(f"picture number {i}" for i in kept)
    assert to_uint8(found[1000]["x"])[:, 0, 0].tolist() == pytest.approx([kept[1000] % 256 / 2, 1.5, 3.5], abs=1)
    assert seconds < 20  # 1 s when it was written


def test_workers_read_a_folder(tmp_path):
    different(tmp_path, "a/1.png", "a/2.png", "b/3.png", "b/4.png", "b/5.png")
    found = folder(tmp_path, 3)
    assert pickle.loads(pickle.dumps(found)) == found
    batches = [*StreamBatches(found, 2, workers=1, shuffle=False, drop_last=False)]
    assert [batch["y"].tolist() for batch in batches] == [[0, 0], [1, 1], [1]]
    assert torch.equal(torch.cat([batch["x"] for batch in batches]), found.load()["x"])
