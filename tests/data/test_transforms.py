"""Functions on batches and ranges."""

import pytest
import torch

from minidiff.data import compose, drop_condition, from_uint8, to_uint8, to_unit


def batch(n=6):
    return {
        "x": torch.zeros(n, 1, 2, 3),
        "y": torch.arange(n),
        "tokens": torch.arange(n * 4).view(n, 4) + 100,
        "emb": torch.ones(n, 5),
    }


def test_compose_goes_from_left_to_right():
    f = compose(lambda b: {"x": b["x"] + 1}, lambda b: {"x": b["x"] * 3}, lambda b: {"x": b["x"] - 2})
    assert f({"x": torch.tensor(1.0)})["x"] == 4
    same = batch()
    assert compose()(same) is same


def test_one_mask_for_all_conditions():
    torch.manual_seed(0)
    given = batch(512)
    null = {"y": torch.tensor(-7), "tokens": torch.tensor([1, 2, 3, 4]), "emb": torch.zeros(5)}
    out = drop_condition(null, 0.25)(given)
    dropped = out["y"] == -7
    assert 0.17 < dropped.float().mean() < 0.33  # 4 standard deviations about 0.25
    assert torch.equal(dropped, (out["tokens"] == null["tokens"]).all(dim=1))
    assert torch.equal(dropped, (out["emb"] == 0).all(dim=1))
    for k in null:
        assert torch.equal(out[k][~dropped], given[k][~dropped])
    assert torch.equal(given["y"], torch.arange(512))  # what came in is unchanged
    assert out["x"] is given["x"]


def test_apart_where_composed_of_two():
    torch.manual_seed(0)
    drop = compose(drop_condition({"y": torch.tensor(-7)}, 0.5), drop_condition({"emb": torch.zeros(5)}, 0.5))
    out = drop(batch(64))
    assert not torch.equal(out["y"] == -7, (out["emb"] == 0).all(dim=1))


@pytest.mark.parametrize(("p", "share"), [(0.0, 0), (1.0, 1)])
def test_never_and_always(p, share):
    out = drop_condition({"y": torch.tensor(99)}, p)(batch(50))
    assert (out["y"] == 99).float().mean() == share


def test_bad_null_conditions():
    with pytest.raises(ValueError, match="p must be a probability"):
        drop_condition({"y": torch.tensor(1)}, 1.5)
    with pytest.raises(ValueError, match="at least one"):
        drop_condition({}, 0.1)
    with pytest.raises(ValueError, match='"text".*keys are'):
        drop_condition({"text": torch.tensor(1)}, 0.1)(batch())
    with pytest.raises(ValueError, match=r'null\["tokens"\] must be torch.int64 of shape \[4\]'):
        drop_condition({"tokens": torch.zeros(3, dtype=torch.long)}, 0.1)(batch())
    with pytest.raises(ValueError, match=r'null\["y"\] must be torch.int64'):
        drop_condition({"y": torch.tensor(1.0)}, 0.1)(batch())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_every_byte_comes_back(dtype):
    every = torch.arange(256, dtype=torch.uint8).view(2, 1, 16, 8)
    x = from_uint8(every)
    assert x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    if dtype != torch.bfloat16:  # 8 bits of mantissa cannot hold 256 steps on both sides of 0
        assert torch.equal(to_uint8(x.to(dtype)), every)
    else:
        assert (to_uint8(x.to(dtype)).int() - every.int()).abs().max() <= 1


def test_rounding_and_clamping():
    x = torch.tensor([-5.0, -1.0, -1 + 0.49 / 127.5, -1 + 0.51 / 127.5, 0.9999, 7.0])
    assert to_uint8(x).tolist() == [0, 0, 0, 1, 255, 255]
    assert to_unit(torch.tensor([-5.0, -0.5, 0.5, 5.0])).tolist() == [0, 0.25, 0.75, 1]


def test_wrong_types():
    for f in (to_uint8, to_unit):
        with pytest.raises(ValueError, match="x must be floating point"):
            f(torch.zeros(3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="x must be uint8"):
        from_uint8(torch.zeros(3))
    with pytest.raises(ValueError, match="2 of its 3 values are NaN"):
        to_uint8(torch.tensor([torch.nan, 0, torch.nan]))
