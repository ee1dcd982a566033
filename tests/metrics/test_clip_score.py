"""CLIP score against its definition and torchmetrics' arithmetic, fed by a stand-in for the model."""

import warnings
from types import SimpleNamespace

import pytest
import torch

from minidiff.metrics import clip_score

f64 = torch.float64


def normal(n, d, seed=0, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=f64) + shift


def test_the_definition():
    images, texts = normal(9, 5, 1), normal(9, 5, 2)
    found = clip_score(images, texts)
    cosines = torch.nn.functional.cosine_similarity(images, texts)
    assert (cosines < 0).any() and (cosines > 0).any()
    torch.testing.assert_close(found.cosines, cosines, rtol=0, atol=1e-14)
    assert found.score == pytest.approx(2.5 * cosines.clamp_min(0).mean().item(), rel=1e-12)
    assert found.percent == pytest.approx(max(0, 100 * cosines.mean().item()), abs=1e-12)
    assert type(found.score) is type(found.percent) is float and found.cosines.shape == (9,)


@pytest.mark.parametrize("shift", [0.7, -0.7])
def test_torchmetrics_gives_the_same(shift):
    module = pytest.importorskip("torchmetrics.multimodal.clip_score")
    images, texts = normal(13, 6, 1, shift=abs(shift)), normal(13, 6, 2, shift=shift)

    class Model(torch.nn.Module):
        """Stands in for CLIP: picture i and caption "i" have the rows i as embeddings."""

        config = SimpleNamespace()

        def get_image_features(self, pixels):
            return images[pixels[:, 0, 0, 0].long()]

        def get_text_features(self, tokens, mask):
            return texts[tokens[:, 0]]

    def processor(images=None, text=None, **options):
        if text is None:
            return {"pixel_values": torch.stack(images)}
        tokens = torch.tensor([[int(word)] for word in text])
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = module.CLIPScore(model_name_or_path=lambda: (Model(), processor)).set_dtype(f64)
        for part in torch.arange(13).split(5):
            pictures = part.float()[:, None, None, None].expand(-1, 3, 2, 2)
            reference.update(list(pictures), [str(i.item()) for i in part])
        expected = reference.compute().item()
    assert clip_score(images, texts).percent == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert (expected == 0) == (shift < 0)


def test_lengths_do_not_count():
    images, texts = normal(9, 5, 1), normal(9, 5, 2)
    there = clip_score(images, texts).score
    for scale in (1e-140, 5, 1e140):
        assert clip_score(scale * images, texts).score == pytest.approx(there, rel=1e-12)
        assert clip_score(images, scale * texts).score == pytest.approx(there, rel=1e-12)


def test_bounds():
    x = normal(9, 5, 1)
    assert clip_score(x, x)[:2] == pytest.approx((2.5, 100), rel=1e-12) and clip_score(x, x).cosines.max() <= 1
    assert clip_score(x, -x)[:2] == (0, 0)
    found = clip_score(torch.cat([x, x]), torch.cat([x, -x]))
    assert found[:2] == pytest.approx((1.25, 0), abs=1e-12)  # where the two scales part


def test_low_precision_is_lifted():
    images, texts = normal(9, 5, 1), normal(9, 5, 2, 1)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        low = images.to(dtype), texts.to(dtype)
        assert clip_score(*low).score == clip_score(low[0].double(), low[1].double()).score


@pytest.mark.parametrize(
    ("images", "texts", "message"),
    [
        (normal(9, 3), normal(8, 3), r"one shape \[N,D\]; got \[9, 3\] and \[8, 3\]"),
        (normal(9, 3), normal(9, 4), r"one shape \[N,D\]; got \[9, 3\] and \[9, 4\]"),
        (normal(9, 3)[0], normal(9, 3)[0], r"images must be \[N,D\]"),
        (normal(2, 3), torch.full((2, 3), torch.nan), "texts must be finite; 2 of 2"),
        (torch.zeros(2, 3), normal(2, 3), "images must have a direction in each row; 2 of 2 are zero"),
        (normal(2, 3), torch.ones(2, 3, dtype=torch.uint8), "texts must be a floating-point tensor; got torch.uint8"),
        (normal(2, 3), ["a", "b"], "texts must be a floating-point tensor; got list"),
    ],
)
def test_bad_input(images, texts, message):
    with pytest.raises(ValueError, match=message):
        clip_score(images, texts)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    images, texts = normal(9, 5, 1), normal(9, 5, 2)
    assert clip_score(images.cuda(), texts.cuda()).score == pytest.approx(clip_score(images, texts).score, rel=1e-12)
