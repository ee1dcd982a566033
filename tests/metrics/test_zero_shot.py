"""Zero-shot classes, retrieval, probes and places, against loops and open_clip."""

import math

import pytest
import torch
import torch.nn.functional as F

import minidiff.metrics.zero_shot as z


def unit(*shape, seed=0):
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def encode(texts):
    """An embedding for each text, of any length."""
    rows = [torch.randn(5, generator=torch.Generator().manual_seed(sum(map(ord, t)))) * len(t) for t in texts]
    return torch.stack(rows)


def test_class_embeddings_are_normalised_averaged_normalised():
    names, templates = ["cat", "dog", "emu"], ["a {}", "the {} there"]
    found = z.class_embeddings(encode, names, templates)
    for name, row in zip(names, found, strict=True):
        parts = [encode([t.format(name)])[0] for t in templates]
        mean = sum(p / p.norm() for p in parts) / 2
        torch.testing.assert_close(row, mean / mean.norm())


def test_class_embeddings_equal_open_clips():
    open_clip = pytest.importorskip("open_clip")

    class Model:
        def encode_text(self, tokens, normalize):
            return F.normalize(encode([chr(97 + int(t)) for t in tokens]), dim=-1)

    names, templates = ["a", "b", "c"], ["{}", "{}"]

    def tokenizer(texts):
        return torch.tensor([ord(t[-1]) - 97 for t in texts])

    theirs = open_clip.build_zero_shot_classifier(
        Model(), tokenizer, names, [lambda c, t=t: t.format(c) for t in templates], num_classes_per_batch=2
    )
    torch.testing.assert_close(z.class_embeddings(encode, names, templates), theirs.T)


@pytest.mark.parametrize(
    "names, templates, message",
    [((), ("{}",), "must not be empty; got 0 and 1"), (("a",), (), "got 1 and 0"), (("a",), ("x",), "must hold {}")],
)
def test_bad_templates_are_named(names, templates, message):
    with pytest.raises(ValueError, match=message):
        z.class_embeddings(encode, names, templates)


def test_zero_shot_takes_the_nearest():
    classes = unit(4, 6)
    images = F.normalize(classes[[2, 0, 3, 3]] + 0.1 * unit(4, 6, seed=1), dim=1)
    assert z.nearest_class(images, classes).tolist() == [2, 0, 3, 3]


@pytest.mark.parametrize("k", (1, 2, 5))
def test_retrieval_equals_sorting(k):
    images, texts = unit(7, 5), unit(7, 5, seed=3)
    scores = images @ texts.T
    to_texts = sum(i in scores[i].topk(k).indices.tolist() for i in range(7)) / 7
    to_images = sum(i in scores[:, i].topk(k).indices.tolist() for i in range(7)) / 7
    assert z.retrieval(images, texts, ks=(k,)) == ({k: pytest.approx(to_texts)}, {k: pytest.approx(to_images)})


def test_a_tie_counts_against_the_partner():
    same = torch.ones(4, 1)
    assert z.retrieval(same, same, ks=(1, 3, 4)).to_texts == {1: 0.0, 3: 0.0, 4: 1.0}


def test_retrieval_wants_pairs():
    with pytest.raises(ValueError, match=r"must both be \[N,D\]; got \[3, 2\] and \[2, 2\]"):
        z.retrieval(torch.zeros(3, 2), torch.zeros(2, 2))


def clouds(n, seed):
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    return torch.eye(3)[y] * 4 + torch.randn(n, 3, generator=rng), y


def test_linear_probe_separates_clouds_and_not_noise():
    assert z.linear_probe(clouds(90, 0), clouds(30, 1), clouds(300, 2)) > 0.95
    noise = [
        (torch.randn(n, 3, generator=torch.Generator().manual_seed(n)), torch.arange(n) % 3) for n in (90, 30, 600)
    ]
    assert z.linear_probe(*noise) == pytest.approx(1 / 3, abs=0.1)


def test_few_shots_are_so_many_of_each():
    features, labels = torch.arange(20.0)[:, None], torch.arange(20) % 4
    x, y = z.few_shot(features, labels, 3, seed=1)
    assert torch.bincount(y).tolist() == [3, 3, 3, 3] and len(x.unique()) == 12
    assert torch.equal(x[:, 0].long() % 4, y)
    with pytest.raises(ValueError, match="shots must be at most the examples of each class; got 6, class 0 has 5"):
        z.few_shot(features, labels, 6)


def test_similarity_finds_the_place():
    text = unit(6)
    patches = unit(2, 9, 6, seed=4)
    patches[0, 5], patches[1, 6] = text, text  # middle row, right; bottom row, left
    found = z.similarity(patches, text, 12)
    assert found.shape == (2, 12, 12)
    peaks = found.flatten(1).argmax(1)
    assert [(int(p) // 12 // 4, int(p) % 12 // 4) for p in peaks] == [(1, 2), (2, 0)]
    assert found.max() <= 1 + 1e-6
    with pytest.raises(ValueError, match="square number"):
        z.similarity(patches[:, :8], text, 12)


def test_boxes_and_their_iou():
    mask = torch.zeros(3, 6, 8, dtype=torch.bool)
    mask[0, 1:3, 2:7], mask[1, 5, 0] = True, True
    assert z.box_of(mask).tolist() == [[1, 2, 3, 7], [5, 0, 6, 1], [0, 0, 0, 0]]
    a, b = torch.tensor([[0, 0, 4, 4], [0, 0, 2, 2]]), torch.tensor([[2, 1, 6, 5], [2, 2, 4, 4]])
    canvas = torch.zeros(2, 2, 6, 6)
    for i in range(2):
        for k, box in enumerate((a[i], b[i])):
            canvas[i, k, box[0] : box[2], box[1] : box[3]] = 1
    want = [(c.prod(0).sum() / c.amax(0).sum()).item() for c in canvas]
    assert all(math.isclose(x, y, rel_tol=1e-6) for x, y in zip(z.box_iou(a, b).tolist(), want, strict=True))
