"""Pictures of the user's own."""

import pytest
import torch
from PIL import Image

from minidiff.data import folder, to_uint8


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
        folder(tmp_path)[1]
    save(tmp_path / "sub" / "c.png", (0, 0, 0))
    with pytest.raises(ValueError, match="one or the other"):
        folder(tmp_path)
