"""Lesson 05: its functions are the package's, its drawings, and its numbers from results."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minidiff.course import Lesson
from minidiff.course import l05_helpers as show
from minidiff.metrics import class_embeddings, retrieval
from minidiff.metrics.zero_shot import box_of
from minidiff.models.clip import CLIP, CLIPConfig, clamp_logit_scale
from minidiff.models.image_encoders import ViTConfig
from minidiff.models.text_encoders import CBOW, CBOWConfig, TextTransformer, TextTransformerConfig
from minidiff.objectives import contrastive
from minidiff.recipes import clip_sweeps

ROOT = Path(__file__).resolve().parents[2]
TOKENS = torch.tensor([[1, 5, 6, 2, 0, 0], [1, 7, 2, 0, 0, 0], [1, 5, 6, 7, 8, 2]])


def solution(name):
    exercise = Lesson("05").exercise(name)
    return exercise.build(exercise.solution, "solution")


def test_loss_and_similarity_are_the_packages():
    images, texts = F.normalize(torch.randn(7, 4), dim=1), F.normalize(torch.randn(7, 4), dim=1)
    mine = solution("contrastive_loss")(solution("similarity")(3 * images, texts / 2, 9.0))
    torch.testing.assert_close(mine, contrastive(images, texts, torch.tensor(9.0)))


@pytest.mark.parametrize("value", (-3.0, 2.5, 8.0))
def test_scale_is_what_the_clamp_leaves(value):
    model = CLIP(CLIPConfig(ViTConfig(size=8, width=8, layers=1), TextTransformerConfig(width=8, layers=1), dim=3))
    model.logit_scale.data.fill_(value)
    mine = solution("scale")(model.logit_scale.detach().clone())
    clamp_logit_scale(model)
    torch.testing.assert_close(mine, model.logit_scale.exp().detach())


def test_captions_become_the_packages_vectors():
    tower = TextTransformer(TextTransformerConfig(vocabulary=9, width=8, layers=1)).eval()
    torch.testing.assert_close(solution("pool_at_end")(tower.tokens(TOKENS), TOKENS, 2), tower(TOKENS))
    bag = CBOW(CBOWConfig(vocabulary=9, width=5))
    torch.testing.assert_close(solution("bag_of_words")(bag.embed.weight, TOKENS, 2), bag(TOKENS))


def test_recall_classes_and_boxes_are_the_packages():
    images, texts = F.normalize(torch.randn(30, 6), dim=1), F.normalize(torch.randn(30, 6), dim=1)
    found = retrieval(images, texts, ks=(1, 5)).to_texts
    assert {k: solution("recall_at")(images @ texts.T, k) for k in (1, 5)} == pytest.approx(found)
    each = torch.randn(3, 4, 5)  # three names, four templates
    table = {f"{'ab'[0] * (t + 1)} {n}": each[n, t] for n in range(3) for t in range(4)}
    want = class_embeddings(
        lambda said: torch.stack([table[s] for s in said]), ["0", "1", "2"], [f"{'a' * (t + 1)} {{}}" for t in range(4)]
    )
    torch.testing.assert_close(solution("class_embeddings")(each), want)
    mask = torch.rand(4, 7, 9) > 0.8
    mask[:, 3, 4] = True
    assert torch.equal(solution("box_of")(mask), box_of(mask))


def test_the_riddle_in_the_notebook_names_registered_bugs_and_tells_them_apart():
    cells = json.loads((ROOT / "notebooks" / "05_clip_contrastive_learning.ipynb").read_text("utf-8"))["cells"]
    [source] = [s for s in ("".join(c["source"]) for c in cells) if s.startswith("bugs = {")]
    found = {}
    exec(source.splitlines()[0], found)
    exercise = Lesson("05").exercise("contrastive_loss")
    losses = [exercise.build(exercise.wrong[bug][0], bug) for bug in found["bugs"].values()] + [solution(exercise.name)]
    said = {tuple(round(loss(s * torch.eye(8)).item(), 3) for s in (0, 10)) for loss in losses}
    assert len(said) == len(losses) == 4


def test_the_best_rate_is_the_searchs():
    found = json.loads((ROOT / "results" / "05_learning_rates.json").read_text("utf-8"))["value"]
    assert found["size middle"] == clip_sweeps.BEST


def test_answers_or_none(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    assert show.answers("noise_recall") is None
    value = {"a": 0.5, "a-low": 0.4, "a-high": 0.6, "b": 0.1, "b-low": 0.0, "b-high": 0.3}
    (tmp_path / "05_noise_recall.json").write_text(json.dumps({"value": value}))
    assert show.answers("noise_recall") == {"a": (0.5, 0.4, 0.6), "b": (0.1, 0.0, 0.3)}


def test_drawings_show_what_they_are_given(no_window):
    import matplotlib.pyplot as plt

    table = {"a": (0.5, 0.4, 0.6), "b": (0.1, 0.0, 0.3)}
    show.panels({"one": {"x": table}, "two": {"x": table, "y": table}}, "accuracy")
    assert [ax.get_title() for ax in plt.gcf().axes] == ["one", "two"]
    show.curves({"a": {10: 0.2, 20: 0.5}, "b": {10: 0.1, 20: 0.9}}, "accuracy")
    assert [line.get_ydata().tolist() if hasattr(line.get_ydata(), "tolist") else list(line.get_ydata())
            for line in plt.gca().lines] == [[0.2, 0.5], [0.1, 0.9]]  # fmt: skip
    x, boxes = torch.zeros(3, 3, 8, 8), torch.tensor([[1, 2, 5, 7]] * 3)
    show.boxes(x, {"true": (boxes, "k")}, ["p", "q", "r"])
    [box] = plt.gcf().axes[1].patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (1.5, 0.5, 5, 4)
    show.boxes(x, {"true": (boxes, "k")}, ["p", "q", "r"], torch.rand(3, 8, 8))
    assert len(plt.gcf().axes) == 6
    show.labelled(x, ["a red circle"] * 3, torch.eye(3))
    assert {text.get_text() for text in plt.gca().texts} == {"0.00", "1.00"}
    show.clouds({"m": (torch.randn(30, 4), torch.randn(30, 4))})
    assert [len(c.get_offsets()) for c in plt.gca().collections] == [30, 30]
    figure = show.heat(torch.eye(4), "step 1")
    assert figure.axes[0].images[0].get_array().shape == (4, 4)
