"""Sets of pictures by name and from folders."""

import pytest
import torch

from minidiff import data
from minidiff.data import from_uint8, shapes, to_uint8
from minidiff.evaluation import SETS, Pictures, open_set

from .folders import digits, noise, write


def whole(pictures):
    return torch.cat(list(pictures.batches()))


def test_a_named_set():
    found = open_set("digits:test")
    assert (found.name, len(found), found.notes) == ("digits:test", 360, ())
    assert torch.equal(whole(found), data.load("digits", "test")["x"])
    assert whole(open_set("digits:test", size=11)).shape == (360, 1, 11, 11)
    loaded = {f"{name}:{split}" for name in data.NAMES for split in ("train", "test")}
    assert set(SETS) == loaded | {f"shapes:{split}" for split in shapes.SPLITS}


def test_the_caption_world_is_drawn_as_large_as_asked():
    found = open_set("shapes:unseen", limit=20, seed=3)
    assert torch.equal(whole(found), shapes.captioned(20, "unseen", seed=3).x)
    assert found.notes == ("shapes:unseen: 20 pictures of 32x32, drawn with seed 3",)
    assert found.captions == tuple(shapes.captioned(20, "unseen", seed=3).captions)
    assert whole(open_set("shapes:train", size=16, limit=4)).shape == (4, 3, 16, 16)
    assert whole(open_set("shapes:train", fallback=24, limit=4)).shape == (4, 3, 24, 24)


def test_a_limit_draws_at_random_and_says_so():
    found, again, other = (open_set("digits:test", limit=50, seed=s) for s in (1, 1, 2))
    assert len(found) == 50 and found.notes == ("digits:test: 50 of its 360 pictures, drawn with seed 1",)
    assert torch.equal(found.items, again.items) and not torch.equal(found.items, other.items)
    assert found.items.unique().tolist() == found.items.tolist() != list(range(50))
    assert torch.equal(whole(found), data.load("digits", "test")["x"][found.items])
    assert open_set("digits:test", limit=360).notes == () == open_set("digits:test", limit=361).notes


def test_a_folder_is_read_at_its_own_size(tmp_path):
    x = from_uint8(to_uint8(noise(5, 3, 17, 17)))
    found = open_set(write(tmp_path, x))
    assert torch.allclose(whole(found), x) and found.notes == () and found.name == str(tmp_path)


def test_a_folder_of_several_sizes_is_read_at_one(tmp_path):
    write(tmp_path, noise(2, 3, 20, 20))
    write(tmp_path, noise(1, 3, 9, 30), "wide{}.png")
    found = open_set(tmp_path, fallback=24)
    assert whole(found).shape == (3, 3, 24, 24)
    assert found.notes == (
        f"{tmp_path}: pictures of 2 sizes from 30x9 to 20x20, the middle square of each resized to 24x24 (bicubic, "
        "antialiased)",
    )
    assert whole(open_set(tmp_path, size=8, fallback=24)).shape == (3, 3, 8, 8)
    with pytest.raises(ValueError, match="size must be given for .*, whose pictures are not all squares of one size"):
        open_set(tmp_path)


def test_a_size_that_differs_is_noted(tmp_path):
    write(tmp_path, noise(3, 1, 9, 9))
    assert open_set(tmp_path, size=9).notes == ()
    [note] = open_set(tmp_path, size=6).notes
    assert "pictures of 9x9, the middle square of each resized to 6x6" in note


def test_colour_that_is_read_as_grey_is_noted(tmp_path):
    write(tmp_path, noise(3, 1, 9, 9))
    assert whole(open_set(tmp_path, channels=1)).shape == (3, 1, 9, 9)
    assert open_set(tmp_path, channels=1).notes == ()
    write(tmp_path, noise(2, 3, 9, 9), "c{}.png")
    assert open_set(tmp_path, channels=1).notes == (
        f"{tmp_path}: 2 of 5 pictures are stored in colour and were read as grey",
    )
    assert open_set(tmp_path, channels=3).notes == ()
    assert whole(open_set(tmp_path, channels=3)).shape == (5, 3, 9, 9)


def test_a_limit_of_a_folder(tmp_path):
    x = from_uint8(to_uint8(noise(9, 3, 5, 5)))
    found = open_set(write(tmp_path, x), limit=4, seed=3)
    assert torch.allclose(whole(found), x[found.items]) and len(whole(found)) == 4


def test_batches_are_bounded_and_worker_processes_change_nothing(tmp_path, monkeypatch):
    from minidiff.evaluation import sets

    x = from_uint8(to_uint8(noise(7, 3, 6, 6)))
    found = open_set(write(tmp_path, x))
    monkeypatch.setattr(sets, "PIXELS", 3 * 6 * 6 * 3 + 1)
    assert [len(batch) for batch in found.batches()] == [3, 3, 1]
    assert torch.allclose(torch.cat(list(found.batches(workers=1))), x)
    memory = Pictures("x", x, torch.arange(7))
    assert [len(batch) for batch in memory.batches()] == [3, 3, 1] and torch.equal(whole(memory), x)
    assert [len(batch) for batch in memory.batches(side=7)] == [2, 2, 2, 1]
    assert [len(batch) for batch in memory.batches(side=5)] == [3, 3, 1]
    monkeypatch.setattr(sets, "PIXELS", 1)
    assert [len(batch) for batch in found.batches()] == [1] * 7


def test_a_folder_of_pictures_is_never_whole_in_memory(tmp_path):
    """A dataset that counts how many of its pictures are alive."""
    import weakref

    alive = weakref.WeakSet()
    most = 0

    class Source:
        def __len__(self):
            return 2000

        def __getitem__(self, i):
            nonlocal most
            x = torch.zeros(1, 64, 64)
            alive.add(x)
            most = max(most, len(alive))
            return {"x": x}

    pictures = Pictures("many", Source(), torch.arange(2000))
    assert sum(len(batch) for batch in pictures.batches(workers=0)) == 2000
    assert 100 < most <= 600


def test_captions_are_read_where_they_are_asked_for(tmp_path):
    write(tmp_path, noise(5, 3, 6, 6))
    for i in range(5):
        (tmp_path / f"{i:04d}.txt").write_text(f"picture {i}", "utf-8")
    assert open_set(tmp_path).captions == ()
    assert open_set(tmp_path, captions=True).captions == tuple(f"picture {i}" for i in range(5))
    some = open_set(tmp_path, captions=True, limit=3, seed=4)
    assert some.captions == tuple(f"picture {i}" for i in some.items)
    (tmp_path / "0002.txt").unlink()
    assert len(open_set(tmp_path)) == 5
    with pytest.raises(ValueError, match="0002.png"):
        open_set(tmp_path, captions=True)


def test_equal_files_are_no_error(tmp_path):
    x = noise(1, 3, 6, 6)
    assert len(open_set(write(tmp_path, torch.cat([x, x])))) == 2


@pytest.mark.parametrize(
    ("spec", "options", "error", "message"),
    [
        ("nowhere", {}, FileNotFoundError, "a set must be a folder or one of digits:train, .*; got 'nowhere'"),
        ("digits", {}, FileNotFoundError, "one of digits:train"),
        ("digits:val", {}, FileNotFoundError, "got 'digits:val'"),
        ("digits:test", {"limit": 0}, ValueError, "limit must be an integer of at least 1; got 0"),
        ("digits:test", {"size": -1}, ValueError, "size must be an integer of at least 1; got -1"),
    ],
)
def test_what_is_no_set(spec, options, error, message):
    with pytest.raises(error, match=message):
        open_set(spec, **options)


def test_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no pictures"):
        open_set(tmp_path)


def test_grey_digits_come_back_from_a_folder(tmp_path):
    x = digits(4)
    found = whole(open_set(write(tmp_path, x), channels=1))
    assert (found - x).abs().max() <= 1.01 / 255
