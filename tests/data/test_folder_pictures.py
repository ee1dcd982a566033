"""Every kind of picture file, against values that are known."""

import io
import random
import struct
import zlib

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from minidiff.data import to_uint8
from minidiff.data.folder_pictures import read, unreadable

GREYS = np.array([[0, 1, 127, 128], [129, 256, 257, 300], [32767, 32768, 65278, 65279], [65406, 65407, 65534, 65535]])
EIGHT = (GREYS / 257).round().astype(int)  # 65535 = 255 x 257


def pixels(path, size, channels=3):
    """[H,W] of a grey, [H,W,3] of a coloured picture, 0..255."""
    x = read(path, size, channels)
    assert x.shape == (channels, size, size) and x.dtype == torch.float32
    x = to_uint8(x).permute(1, 2, 0).numpy().astype(int)
    return x[..., 0] if channels == 1 else x


def png(rows, depth, kind, width, extra=b""):
    """A PNG from its parts (ISO 15948): `rows` are the packed bytes of each row."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def transparent(*values):
    data = struct.pack(f">{len(values)}H", *values)
    name = b"tRNS"
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


# Grey of more than eight bits


def test_grey_of_16_bits_is_scaled(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png([row.astype(">u2").tobytes() for row in GREYS], 16, 0, 4))
    assert Image.open(path).mode.startswith("I")
    assert np.array_equal(pixels(path, 4, 1), EIGHT)
    assert np.array_equal(pixels(path, 4, 3), np.repeat(EIGHT[..., None], 3, axis=2))


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "<i4"), ("F", "<f4")])
def test_tiffs_of_every_depth_are_scaled(tmp_path, mode, dtype):
    values = GREYS / 65535 if mode == "F" else GREYS
    Image.frombytes(mode, (4, 4), values.astype(dtype).tobytes()).save(tmp_path / "a.tif")
    assert Image.open(tmp_path / "a.tif").mode == mode
    assert np.array_equal(pixels(tmp_path / "a.tif", 4, 1), EIGHT)


@pytest.mark.parametrize(
    ("mode", "values", "message"),
    [
        ("I", [[0, 65536]], r"a\.tif cannot be read as a picture: its values must lie in 0\.\.65535 \(bl.* 0 to 65536"),
        ("I", [[-1, 5]], "they run from -1 to 5"),
        ("F", [[0, 255.0]], r"values must lie in 0\.\.1 .* from 0 to 255"),
        ("F", [[0, float("nan")]], "run from nan to nan"),
    ],
)
def test_greys_without_a_known_white_are_refused(tmp_path, mode, values, message):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array(values, dtype=np.int32 if mode == "I" else np.float32)).save(path)
    with pytest.raises(ValueError, match=message):
        read(path, 2)
    assert list(unreadable([path])) == [path]


def test_a_transparent_grey_of_16_bits_is_white(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png([row.astype(">u2").tobytes() for row in GREYS], 16, 0, 4, transparent(300)))
    assert np.array_equal(pixels(path, 4, 1), np.where(GREYS == 300, 255, EIGHT))


@pytest.mark.parametrize(("kind", "bands"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_16_bits_are_within_one_level(tmp_path, kind, bands):
    values = np.random.default_rng(2).integers(0, 65536, (4, 4, bands))
    if kind != 2:
        values[..., -1] = 65535  # opaque
    path = tmp_path / "a.png"
    path.write_bytes(png([row.astype(">u2").tobytes() for row in values], 16, kind, 4))
    expected = values[..., :3] / 257 if bands > 2 else values[..., [0, 0, 0]] / 257
    assert np.abs(pixels(path, 4) - expected).max() <= 1


# Eight bits and fewer


def test_one_two_and_four_bits(tmp_path):
    thirds = [0, 85, 170]
    for depth, row, expected in ((1, b"\xa0", [255, 0, 255]), (2, b"\x1b", thirds), (4, b"\x05\xa0", thirds)):
        path = tmp_path / f"{depth}.png"
        path.write_bytes(png([row] * 3, depth, 0, 3))
        assert pixels(path, 3, 1)[1].tolist() == expected


def test_palettes(tmp_path):
    colours = [(10, 20, 30), (200, 100, 50), (0, 0, 255)]
    picture = Image.new("P", (3, 3), 0)
    picture.putpalette(sum(map(list, colours), []))
    for x in range(3):
        picture.paste(x, (x, 0, x + 1, 3))
    picture.save(tmp_path / "opaque.png")
    picture.save(tmp_path / "opaque.gif")
    picture.save(tmp_path / "one.png", transparency=1)
    picture.save(tmp_path / "some.png", transparency=bytes([255, 51, 0]))
    assert pixels(tmp_path / "opaque.png", 3)[1].tolist() == [list(c) for c in colours]
    assert pixels(tmp_path / "opaque.gif", 3)[1].tolist() == [list(c) for c in colours]
    assert pixels(tmp_path / "one.png", 3)[1].tolist() == [[10, 20, 30], [255, 255, 255], [0, 0, 255]]
    mixed = [255 + (c - 255) * 0.2 for c in colours[1]]
    assert np.abs(pixels(tmp_path / "some.png", 3)[1] - [colours[0], mixed, [255] * 3]).max() <= 1


@pytest.mark.parametrize(("mode", "ending"), [("LA", "png"), ("RGBA", "png"), ("RGBA", "webp"), ("RGBA", "tif")])
def test_transparency_is_seen_on_white(tmp_path, mode, ending):
    bands = np.random.default_rng(3).integers(0, 256, (4, 4, len(mode)), dtype=np.uint8)
    options = {"lossless": True, "exact": True} if ending == "webp" else {}
    Image.fromarray(bands).save(tmp_path / f"a.{ending}", **options)
    alpha = bands[..., -1:] / 255
    expected = alpha * bands[..., :-1] + (1 - alpha) * 255
    assert np.abs(pixels(tmp_path / f"a.{ending}", 4) - expected).max() <= 1


@pytest.mark.parametrize("depth", [8, 1])
def test_one_transparent_colour(tmp_path, depth):
    rows = [bytes([0, 9, 90])] * 3 if depth == 8 else [b"\x40"] * 3
    (tmp_path / "a.png").write_bytes(png(rows, depth, 0, 3, transparent(9 if depth == 8 else 0)))
    expected = [0, 255, 90] if depth == 8 else [255, 255, 255]
    assert pixels(tmp_path / "a.png", 3, 1)[1].tolist() == expected


def test_grey_is_made_of_colour(tmp_path):
    colours = np.random.default_rng(4).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert np.abs(pixels(tmp_path / "a.png", 5, 1) - colours @ [0.299, 0.587, 0.114]).max() <= 0.51  # ITU-R BT.601


def test_cmyk(tmp_path):
    for name, options in (("a.tif", {}), ("a.jpg", {"quality": 100})):
        Image.new("CMYK", (8, 8), (150, 40, 210, 60)).save(tmp_path / name, **options)
        assert Image.open(tmp_path / name).mode == "CMYK"
        expected = [(255 - ink) * (255 - 60) / 255 for ink in (150, 40, 210)]
        assert np.abs(pixels(tmp_path / name, 8)[3, 5] - expected).max() <= 2


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_ycbcr(tmp_path, ending):
    if ending == "tif" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("this Pillow cannot read it")
    Image.new("YCbCr", (8, 8), (100, 140, 110)).save(tmp_path / f"a.{ending}", quality=100)
    blue, red = 140 - 128, 110 - 128
    expected = [100 + 1.402 * red, 100 - 0.344136 * blue - 0.714136 * red, 100 + 1.772 * blue]  # JFIF 1.02
    assert np.abs(pixels(tmp_path / f"a.{ending}", 8)[3, 5] - expected).max() <= 2


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "green", "blue")]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert Image.open(tmp_path / name).n_frames == 3
        assert pixels(tmp_path / name, 3)[1, 1].tolist() == [255, 0, 0]


def test_the_content_counts_and_not_the_ending(tmp_path):
    Image.new("RGB", (3, 3), "red").save(tmp_path / "a.jpg", "PNG")
    assert pixels(tmp_path / "a.jpg", 3)[1, 1].tolist() == [255, 0, 0]


# Sizes and directions


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 500), (500, 1), (2, 3), (33, 17), (3, 1000)])
@pytest.mark.parametrize("size", [1, 5])
def test_odd_sizes(tmp_path, width, height, size):
    Image.new("RGB", (width, height), (10, 130, 250)).save(tmp_path / "a.png")
    assert (pixels(tmp_path / "a.png", size) == [10, 130, 250]).all()


def test_of_a_long_picture_the_middle_is_kept(tmp_path):
    column = np.arange(501, dtype=np.uint16).reshape(-1, 1) % 251
    Image.fromarray(column.astype(np.uint8)).save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png", 1, 1).tolist() == [[250]]
    Image.fromarray(column.T.astype(np.uint8)).save(tmp_path / "b.png")
    assert pixels(tmp_path / "b.png", 1, 1).tolist() == [[250]]


# Where the pixel in row r, column c of the file is in the upright picture of height h and width w. The standard (Exif
# 2.32, tag 0x0112) says which side row 0 and column 0 of the file are: 6, for one, is "right side, top".
UPRIGHT = {
    1: lambda r, c, h, w: (r, c),
    2: lambda r, c, h, w: (r, w - 1 - c),
    3: lambda r, c, h, w: (h - 1 - r, w - 1 - c),
    4: lambda r, c, h, w: (h - 1 - r, c),
    5: lambda r, c, h, w: (c, r),
    6: lambda r, c, h, w: (c, w - 1 - r),
    7: lambda r, c, h, w: (h - 1 - c, w - 1 - r),
    8: lambda r, c, h, w: (h - 1 - c, r),
}


def turned(upright, orientation):
    """The file's pixels and its notes."""
    h, w = upright.shape
    stored = np.zeros((h, w) if orientation < 5 else (w, h), dtype=upright.dtype)
    for r, c in np.ndindex(stored.shape):
        stored[r, c] = upright[UPRIGHT[orientation](r, c, h, w)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return stored, exif


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_cameras_are_turned(tmp_path, orientation, ending):
    upright = np.random.default_rng(5).integers(0, 32, (7, 5)).astype(np.uint8) * 8
    stored, exif = turned(np.kron(upright, np.ones((8, 8), dtype=np.uint8)), orientation)  # a JPEG's blocks are 8 x 8
    options = {"png": {}, "jpg": {"quality": 100}, "webp": {"lossless": True}, "tif": {}}[ending]
    Image.fromarray(stored).convert("RGB").save(tmp_path / f"a.{ending}", exif=exif, **options)
    found = pixels(tmp_path / f"a.{ending}", 40, 1)[4::8, 4::8]
    assert np.abs(found - upright[1:6]).max() <= (2 if ending == "jpg" else 0)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("mode", "ending"),
    [("I;16", "png"), ("P", "png"), ("LA", "png"), ("I;16", "tif"), ("I;16B", "tif"), ("L", "tif"), ("RGBA", "tif")],
)  # Pillow 13.0 reads the last four wrongly if it opens them by name and rows become columns
def test_cameras_of_other_modes_are_turned(tmp_path, orientation, mode, ending):
    upright = np.random.default_rng(6).permutation(35).reshape(7, 5) * 7
    stored, exif = turned(upright, orientation)
    if mode.startswith("I"):
        data = (stored * 257).astype(">u2" if mode == "I;16B" else "<u2").tobytes()
        picture = Image.frombytes(mode, stored.shape[::-1], data)
    else:
        picture = Image.fromarray(stored.astype(np.uint8)).convert(mode)
    picture.save(tmp_path / f"a.{ending}", exif=exif)
    assert np.array_equal(pixels(tmp_path / f"a.{ending}", 5, 1), upright[1:6])


def test_broken_notes_of_a_camera_leave_the_picture(tmp_path, monkeypatch):
    picture = Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3))
    picture.save(tmp_path / "a.webp", exif=b"Exif\0\0no such thing", lossless=True)
    assert pixels(tmp_path / "a.webp", 3, 1).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.save(tmp_path / "b.png", exif=exif)

    def fails(*args, **options):
        raise struct.error("required argument is not an integer")

    monkeypatch.setattr(Image.Exif, "tobytes", fails)
    assert pixels(tmp_path / "b.png", 3, 1).tolist() == [[8, 7, 6], [5, 4, 3], [2, 1, 0]]


# Files that are damaged


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of metadata
def test_the_check_refuses_what_cannot_be_read_and_nothing_else(tmp_path):
    dice, rng = random.Random(7), np.random.default_rng(7)
    picture = Image.fromarray(rng.integers(0, 256, (21, 34, 3), dtype=np.uint8))
    kinds = [(kind, {}) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")] + [("JPEG", {"progressive": True})]
    files = []
    for k, (kind, options) in enumerate(kinds):
        memory = io.BytesIO()
        picture.save(memory, kind, **options)
        whole = memory.getvalue()
        for i in range(40):
            data = bytearray(whole)
            if i % 2:
                del data[dice.randrange(len(data)) :]
            else:
                for _ in range(dice.choice([1, 3, 30])):
                    data[dice.randrange(min(len(data), dice.choice([60, 10**6])))] = dice.randrange(256)
            files.append(tmp_path / f"{k}-{i}.{kind.lower()}")
            files[-1].write_bytes(data)
    refused = {}
    for path in files:
        try:
            assert read(path, 4).isfinite().all()
        except ValueError as error:
            refused[path] = str(error)
    assert 100 < len(refused) < len(files) - 30
    assert {p: f"{p} cannot be read as a picture: {reason}" for p, reason in unreadable(files).items()} == refused


def test_unreadable_keeps_the_files_order_over_many_threads(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(300)]
    good = io.BytesIO()
    Image.new("L", (1, 1)).save(good, "PNG")
    for i, path in enumerate(files):
        path.write_bytes(good.getvalue() if i % 3 else b"none")
    assert list(unreadable(files)) == files[::3]
    assert unreadable([]) == {}
