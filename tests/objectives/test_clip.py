"""The contrastive loss: against open_clip's, in chunks, in two processes, and where its values are known."""

import math
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minidiff.models.clip import CLIP, CLIPConfig, clamp_logit_scale
from minidiff.models.image_encoders import ViTConfig
from minidiff.models.text_encoders import TextTransformerConfig
from minidiff.objectives import CLIPLoss, SigmoidLoss, contrastive, sigmoid_contrastive
from minidiff.training import Turn, run

SCRIPT = Path(__file__).with_name("clip_ranks.py")
HERE = runpy.run_path(str(SCRIPT))


def pair(n=6, d=4, dtype=torch.float64):
    images, texts = (F.normalize(torch.randn(n, d, dtype=dtype), dim=1).requires_grad_() for _ in range(2))
    return images, texts, torch.tensor(7.0, dtype=dtype, requires_grad=True)


def by_hand(images, texts, scale):
    """Both directions, a pair at a time."""
    n, total = len(images), 0.0
    for i in range(n):
        row = [math.exp((scale * torch.dot(images[i], texts[j])).item()) for j in range(n)]
        column = [math.exp((scale * torch.dot(images[j], texts[i])).item()) for j in range(n)]
        total -= math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))
    return total / (2 * n)


def test_equals_a_loop():
    images, texts, scale = pair()
    assert contrastive(images, texts, scale).item() == pytest.approx(by_hand(images, texts, scale), rel=1e-12)


def test_equals_open_clips():
    open_clip = pytest.importorskip("open_clip")
    images, texts, scale = pair(9, 5)
    want = open_clip.ClipLoss()(images, texts, scale)
    torch.testing.assert_close(contrastive(images, texts, scale), want)


@pytest.mark.parametrize("chunk", (1, 4, 6, 100))
def test_chunks_change_nothing(chunk):
    inputs = pair()
    whole, parts = contrastive(*inputs), contrastive(*inputs, chunk=chunk)
    torch.testing.assert_close(whole, parts)
    weight = 0.3  # the gradient must follow what the loss is multiplied by
    for a, b in zip(
        torch.autograd.grad(weight * whole, inputs), torch.autograd.grad(weight * parts, inputs), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_chunks_by_finite_differences():
    inputs = pair(4, 3)
    assert torch.autograd.gradcheck(lambda *args: contrastive(*args, chunk=3), inputs)


@pytest.mark.slow
def test_gradients_at_4096_in_float32():
    truth = pair(4096, 512)
    with torch.no_grad():
        truth[1].copy_(F.normalize(truth[0] + 0.05 * torch.randn(4096, 512), dim=1))
    want = torch.autograd.grad(contrastive(*truth), truth)
    single = [x.detach().float().requires_grad_() for x in truth]
    for chunk in (None, 512):
        found = torch.autograd.grad(contrastive(*single, chunk=chunk), single)
        for a, b in zip(want, found, strict=True):
            assert (a - b).norm() <= 1e-5 * a.norm()


@pytest.mark.two_process
@pytest.mark.timeout(120)
def test_two_ranks_have_one_processs_gradients(tmp_path, two_ranks):
    two_ranks(SCRIPT, tmp_path)
    alone = HERE["gradients"](None)
    assert set(alone) == {"loss", "image.weight", "image.bias", "text.weight", "text.bias", "logit_scale"}
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in found.items():
            torch.testing.assert_close(value, alone[name.split("/")[1]], rtol=1e-12, atol=1e-14, msg=name)
    for rank in (0, 1):  # both are told, and none waits for the other
        said = (tmp_path / f"uneven{rank}.txt").read_text(encoding="utf-8")
        assert "images must have as many rows on every process; got [3, 4]" in said


@pytest.mark.parametrize("chunk", (None, 4))
@pytest.mark.parametrize("loss", ("contrastive", "sigmoid"))
def test_a_callers_autocast_changes_nothing(loss, chunk):
    images, texts, scale = (x.detach().float() for x in pair(9, 5))
    found = []
    for lower in (False, True):
        inputs = [x.clone().requires_grad_() for x in (images, texts, scale)]
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            value = contrastive(*inputs, chunk) if loss == "contrastive" else sigmoid_contrastive(*inputs, -3.0)
        found.append([value, *torch.autograd.grad(value, inputs)])
    assert found[1][0].dtype == torch.float32
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_half_precision_embeddings_are_compared_in_float32():
    images, texts, scale = (x.detach().bfloat16() for x in pair(7, 3))
    assert contrastive(images, texts, scale).dtype == torch.float32
    assert contrastive(images, texts, scale) == contrastive(images.float(), texts.float(), scale.float())


def test_known_values():
    x = torch.eye(4, dtype=torch.float64)
    assert contrastive(x, x, torch.tensor(0.0)).item() == pytest.approx(math.log(4))
    assert contrastive(x, x, torch.tensor(3.0)).item() == pytest.approx(math.log(1 + 3 * math.exp(-3)))
    n, b = 4, -2.0
    same = math.log1p(math.exp(-(3.0 + b))) + (n - 1) * math.log1p(math.exp(b))
    assert sigmoid_contrastive(x, x, torch.tensor(3.0), b).item() == pytest.approx(same)


def test_sigmoid_equals_a_loop():
    images, texts, scale = pair(5, 3)
    total = 0.0
    for i in range(5):
        for j in range(5):
            sign = 1 if i == j else -1
            logit = scale.item() * torch.dot(images[i], texts[j]).item() - 10
            total += math.log1p(math.exp(-sign * logit))
    assert sigmoid_contrastive(images, texts, scale, -10.0).item() == pytest.approx(total / 5)


@pytest.mark.parametrize(
    "images, texts, chunk, message",
    [
        ((3, 4), (3, 5), None, r"must both be \[n,D\]; got \[3, 4\] and \[3, 5\]"),
        ((3,), (3,), None, "must both be"),
        ((3, 4), (3, 4), 0, "chunk must be at least 1, or None; got 0"),
    ],
)
def test_bad_input_is_named(images, texts, chunk, message):
    with pytest.raises(ValueError, match=message):
        contrastive(torch.zeros(images), torch.zeros(texts), torch.tensor(1.0), chunk)


@pytest.mark.parametrize("loss", (CLIPLoss(), SigmoidLoss()))
def test_a_batch_without_captions_is_named(loss):
    with pytest.raises(ValueError, match=r'keys "x" and "tokens"; got \[\'x\'\]'):
        loss(None, {"x": torch.zeros(1)})


class Loader:
    """The same eight pairs at every step."""

    def __init__(self):
        rng = torch.Generator().manual_seed(0)
        self.x = torch.randn(8, 3, 8, 8, generator=rng)
        self.tokens = torch.tensor([[1, 4 + i, 4 + (3 * i) % 8, 2] for i in range(8)])

    def from_step(self, step):
        while True:
            yield {"x": self.x, "tokens": self.tokens}


@pytest.mark.parametrize(
    "loss", (CLIPLoss(), CLIPLoss(chunk=3), SigmoidLoss(bias=-5.0)), ids=("whole", "chunks", "sigmoid")
)
def test_a_turn_of_the_loop_learns_eight_pairs(loss):
    config = CLIPConfig(
        ViTConfig(size=8, patch=4, width=16, layers=1, heads=2),
        TextTransformerConfig(vocabulary=12, length=4, width=16, layers=1, heads=2),
        dim=8,
    )
    torch.manual_seed(0)
    model = CLIP(config)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    history = run([Turn(model, loss, optimizer, after=clamp_logit_scale)], Loader(), 100, progress=False)
    assert history["loss"][-1] < 0.4 * history["loss"][0]
    images, texts, _ = model.eval()(Loader().x, Loader().tokens)
    assert (images @ texts.T).argmax(1).tolist() == list(range(8))
    assert 0 <= model.logit_scale.item() <= math.log(100) + 1e-6
