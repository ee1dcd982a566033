"""The exercises of lesson 09; those on how latents are drawn from a caption are in `l09_drawing`."""

import math

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l09_drawing import BOX, GAUSSIAN, HALVES, LEVELS


def _true_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    out = torch.zeros(*q.shape[:2], v.shape[2], dtype=torch.float64)
    for b in range(len(q)):
        words = [i for i, there in enumerate(mask[b].tolist()) if there]
        for n in range(q.shape[1]):
            scores = [sum(x * y for x, y in zip(q[b, n].tolist(), k[b, i].tolist())) for i in words]
            weights = [math.exp(s / math.sqrt(q.shape[2])) for s in scores]
            for w, i in zip(weights, words):
                out[b, n] += w / sum(weights) * v[b, i].double()
    return out


def _captions(rng: torch.Generator) -> list[tuple]:
    found = []
    for b, n, words, d, e in ((3, 5, 4, 6, 2), (2, 3, 7, 4, 5)):
        q, k = 1.5 * torch.randn(b, n, d, generator=rng), 1.5 * torch.randn(b, words, d, generator=rng)
        v = torch.randn(b, words, e, generator=rng)
        counts = torch.arange(b) % (words - 2) + 2  # each caption ends in padding
        found.append((q, k, v, torch.arange(words) < counts[:, None]))
    return found


_ATTENTION = "def cross_attention(q, k, v, mask):\n"
_SCORES = _ATTENTION + "    scores = q @ k.mT / q.shape[-1] ** 0.5\n"

ATTENTION = Exercise(
    id="09.cross_attention",
    title="every place asks every word",
    prompt="""\
Equation (1). Each of N places has a question, each of L words a key and a value. A place gets the weighted mean of the
values; the weights are the softmax, over the words, of question times key divided by $\\sqrt D$. Padding, where `mask`
is False, gets the weight 0. Use no ready-made attention.""",
    minutes=10,
    difficulty=2,
    starter='''\
def cross_attention(q, k, v, mask):
    """q [B,N,D], k [B,L,D], v [B,L,E], mask [B,L] bool, True where a word counts -> [B,N,E]."""
    raise NotImplementedError
''',
    solution='''\
def cross_attention(q, k, v, mask):
    """Weights from questions and keys; padding is taken out before the softmax."""
    scores = q @ k.mT / q.shape[-1] ** 0.5  # [B,N,L]
    scores = scores.masked_fill(~mask[:, None, :], float("-inf"))
    return scores.softmax(dim=-1) @ v
''',
    hints=(
        "`q @ k.mT` is [B,N,L]: the score of each word at each place.",
        "Which score gets the weight 0 from a softmax? It is not 0.",
        "`mask[:, None, :]` is [B,1,L] and broadcasts over the places.",
    ),
    wrong={
        "over_places": (
            _SCORES + '    scores = scores.masked_fill(~mask[:, None, :], float("-inf"))\n'
            "    return scores.softmax(dim=1).nan_to_num() @ v\n",
            "Your softmax runs over the places: the words' weights at one place do not sum to 1.",
        ),
        "no_root": (
            _ATTENTION + '    scores = (q @ k.mT).masked_fill(~mask[:, None, :], float("-inf"))\n'
            "    return scores.softmax(dim=-1) @ v\n",
            "You did not divide by the root of D. The longer the vectors, the more one word then takes all.",
        ),
        "by_the_width": (
            _ATTENTION + '    scores = (q @ k.mT / q.shape[-1]).masked_fill(~mask[:, None, :], float("-inf"))\n'
            "    return scores.softmax(dim=-1) @ v\n",
            "You divide by D; it is its root, the standard deviation of a sum of D products.",
        ),
        "after_the_softmax": (
            _SCORES + "    return (scores.softmax(dim=-1) * mask[:, None, :]) @ v\n",
            "You took padding out after the softmax: the weights of the words no longer sum to 1.",
        ),
        "score_zero": (
            _SCORES + "    return scores.masked_fill(~mask[:, None, :], 0.0).softmax(dim=-1) @ v\n",
            "A score of 0 is not a weight of 0: $e^0 = 1$. Padding still counts.",
        ),
        "no_mask": (_SCORES + "    return scores.softmax(dim=-1) @ v\n", "Padding counts as if it were words."),
    },
    probes=_captions,
    oracle=_true_attention,
)


def _true_drop(tokens: Tensor, empty: Tensor, u: Tensor, p: float) -> Tensor:
    return torch.tensor([empty.tolist() if x < p else row for row, x in zip(tokens.tolist(), u.tolist())])


def _rows(rng: torch.Generator) -> list[tuple]:
    found = []
    for b, length, p in ((9, 5, 0.5), (7, 8, 0.3)):
        tokens = torch.randint(3, 40, (b, length), generator=rng)
        empty = torch.zeros(length, dtype=torch.long)
        empty[:2] = torch.tensor([1, 2])
        u = (torch.randperm(b, generator=rng) + 0.5) / b  # some below p, some above, in every draw
        found.append((tokens, empty, u, p))
    return found


_DROP = "def drop_captions(tokens, empty, u, p):\n"

DROP = Exercise(
    id="09.drop_captions",
    title="a training step without a caption",
    prompt="""\
Guidance needs a model that can also draw without a caption. So in training each caption, independently of the others,
is replaced by the empty one with probability `p`: where its own number in `u`, uniform in [0, 1), lies below `p`.
(The program replaces the row of `mask` with it; here the tokens are enough.)""",
    minutes=4,
    difficulty=1,
    starter='''\
def drop_captions(tokens, empty, u, p):
    """tokens [B,L] int64, empty [L]: the tokens of "", u [B], p: a share -> [B,L]."""
    raise NotImplementedError
''',
    solution='''\
def drop_captions(tokens, empty, u, p):
    """A whole row is kept or replaced."""
    keep = (u >= p).long()[:, None]  # [B,1]
    return keep * tokens + (1 - keep) * empty
''',
    hints=("One decision for each caption: [B], not [B,L].", "The shape [B,1] broadcasts against [L] and [B,L]."),
    wrong={
        "padding": (
            _DROP + "    return tokens * (u >= p)[:, None]\n",
            "You leave nothing but padding. The empty caption has a beginning and an end, and so it has in sampling.",
        ),
        "the_other_way": (
            _DROP + "    return torch.where((u < p)[:, None], tokens, empty)\n",
            "You keep a caption with probability p and drop the rest.",
        ),
        "all_or_none": (
            _DROP + "    return empty.expand_as(tokens) if u[0] < p else tokens\n",
            "You decide once for the batch. Each caption has its own number.",
        ),
        "removed": (
            _DROP + "    return tokens[u >= p]\n",
            "You take these pictures out of the batch. They stay; only their captions go.",
        ),
    },
    probes=_rows,
    oracle=_true_drop,
)


def _true_map(weights: Tensor, word: int, side: int) -> Tensor:
    out = torch.zeros(len(weights), side, side, dtype=torch.float64)
    for b in range(len(weights)):
        for row in range(side):
            for column in range(side):
                heads = weights[b, :, row * side + column, word + 1].tolist()
                out[b, row, column] = sum(heads) / len(heads)
    return out


_MAP = "def word_map(weights, word, side):\n"
_MEAN = _MAP + "    chosen = weights.mean(dim=1)[:, :, word + 1]\n"

MAP = Exercise(
    id="09.word_map",
    title="where a word is heard",
    prompt="""\
Make a picture of one word's attention: at each place the weight that the place gives to the word, averaged over the
heads. The places were counted along rows: N = `side` x `side`. `word` counts the caption's words from 0; among the
tokens, the first is *begin*.""",
    minutes=6,
    difficulty=2,
    starter='''\
def word_map(weights, word, side):
    """weights [B,heads,N,L], word: an int from 0, side: an int -> [B,side,side]."""
    raise NotImplementedError
''',
    solution='''\
def word_map(weights, word, side):
    """Mean over heads, one column of the words, back into rows of places."""
    chosen = weights.mean(dim=1)[:, :, word + 1]  # behind begin
    return chosen.reshape(len(weights), side, side)
''',
    hints=("After the mean over heads the shape is [B,N,L].", "Token 0 is *begin*, so word 0 is token 1."),
    wrong={
        "begin": (
            _MAP + "    return weights.mean(dim=1)[:, :, word].reshape(len(weights), side, side)\n",
            "You are one token early: token 0 is *begin*.",
        ),
        "columns": (
            _MEAN + "    return chosen.reshape(len(weights), side, side).mT\n",
            "Your picture is mirrored at its diagonal: the places were counted along rows.",
        ),
        "sum": (
            _MAP + "    return weights.sum(dim=1)[:, :, word + 1].reshape(len(weights), side, side)\n",
            "You add the heads up. A mean stays a weight between 0 and 1.",
        ),
        "one_head": (
            _MAP + "    return weights[:, 0, :, word + 1].reshape(len(weights), side, side)\n",
            "That is the first head alone.",
        ),
        "over_places": (
            _MEAN + "    return (chosen / chosen.sum(dim=1, keepdim=True)).reshape(len(weights), side, side)\n",
            "You divide by the sum over the places. The weights of a place's words sum to 1, not those of a word's "
            "places: a word may be heard hardly anywhere.",
        ),
    },
    probes=lambda rng: [
        ((2 * torch.randn(*shape, generator=rng)).softmax(dim=-1), word, side)
        for shape, word, side in (((2, 3, 16, 7), 2, 4), ((3, 2, 9, 5), 0, 3))
    ],
    oracle=_true_map,
)


EXERCISES = (ATTENTION, MAP, DROP, GAUSSIAN, HALVES, LEVELS, BOX)
