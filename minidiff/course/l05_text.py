"""Exercises of lesson 05: from a caption's tokens to one vector."""

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise

END = 2  # the end-of-text token of the course's tokenizer


def _texts(rng: torch.Generator, n: int, length: int) -> Tensor:
    """Tokens [n,length]: begin, words, end, and behind it padding, or words that do not count."""
    tokens = torch.randint(3, 40, (n, length), generator=rng)
    tokens[:, 0] = 1
    for i in range(n):
        at = 2 + int(torch.randint(length - 3, (), generator=rng))
        tokens[i, at] = END
        tokens[i, at + 1 :] = 0
    tokens[0, -1] = END  # a second end-of-text, which is not where the text ends
    return tokens


def _ends(tokens: Tensor) -> list[int]:
    return [row.index(END) for row in tokens.long().tolist()]


def _pool_probes(rng: torch.Generator) -> list[tuple]:
    return [
        (torch.randn(5, 7, 3, generator=rng), _texts(rng, 5, 7), END),
        (torch.randn(2, 9, 4, generator=rng), _texts(rng, 2, 9), END),
    ]


_POOL = "def pool_at_end(features, tokens, end):\n"
_AT = "    at = (tokens == end).int().argmax(dim=1)\n"

POOL = Exercise(
    id="05.pool_at_end",
    title="one vector for a caption",
    prompt="""\
A causal Transformer gives one vector a token, and each has heard only itself and the tokens before it. So the one that
has heard the whole caption is that of the *first* end-of-text token. Pick it, for each row.""",
    minutes=6,
    difficulty=2,
    starter='''\
def pool_at_end(features, tokens, end):
    """features [B,L,D], tokens [B,L] int64, end the end-of-text token -> [B,D]."""
    raise NotImplementedError
''',
    solution='''\
def pool_at_end(features, tokens, end):
    """The features at each row's first end-of-text token."""
    ends = (tokens == end).int()
    first = ends * ends.cumsum(dim=1) == 1
    return (features * first[..., None]).sum(dim=1)
''',
    hints=(
        "`(tokens == end).int()` marks every end-of-text token. Its `cumsum` along the row counts them: the first has "
        "count 1, and so has all behind it up to the next, which is no end.",
        "Either multiply the features by a mask [B,L,1] and sum over the places; or take "
        "`(tokens == end).int().argmax(dim=1)`, which is the first of equal numbers, and index with two vectors.",
    ),
    wrong={
        "last": (
            _POOL + "    return features[:, -1]\n",
            "The last place is padding for all but the longest captions. It has heard the padding too.",
        ),
        "largest_token": (
            _POOL + "    return features[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]\n",
            "You take the largest token number. That works where end-of-text happens to be the last of the "
            "vocabulary, as in OpenAI's tokenizer, and silently picks some word elsewhere.",
        ),
        "mean": (
            _POOL + "    return features.mean(dim=1)\n",
            "You average over all places, padding among them.",
        ),
        "first": (
            _POOL + "    return features[:, 0]\n",
            "The first token has heard nothing but itself: every caption would get the same vector.",
        ),
        "last_end": (
            _POOL + "    at = tokens.shape[1] - 1 - (tokens == end).flip(1).int().argmax(dim=1)\n"
            "    return features[torch.arange(len(tokens), device=tokens.device), at]\n",
            "You take the *last* end-of-text token. Where padding is made of the same token, that is the last place.",
        ),
    },
    probes=_pool_probes,
    oracle=lambda features, tokens, end: torch.stack([f[i] for f, i in zip(features, _ends(tokens))]),
    equivalent={
        "ends * ends.cumsum(dim=1) -> ends / ends.cumsum(dim=1)": "the quotient is 1 at the first end alone, too",
    },
)


def _true_bag(table: Tensor, tokens: Tensor, end: int) -> Tensor:
    rows = table.numpy()
    texts = [row[: at + 1] for row, at in zip(tokens.long().tolist(), _ends(tokens))]
    return torch.from_numpy(np.stack([np.mean([rows[t] for t in text], axis=0) for text in texts]))


_BAG = "def bag_of_words(table, tokens, end):\n"
_HERE = "    at = (tokens == end).int().argmax(dim=1)\n    here = torch.arange(tokens.shape[1], device=tokens.device)"

BAG = Exercise(
    id="05.bag_of_words",
    title="a caption without word order",
    prompt="""\
The simplest text tower: the mean of the embeddings of a caption's tokens, from the first up to and including the first
end-of-text token. What comes after it does not count.""",
    minutes=7,
    difficulty=2,
    starter='''\
def bag_of_words(table, tokens, end):
    """table [V,D], an embedding a token; tokens [B,L] int64 -> [B,D]."""
    raise NotImplementedError
''',
    solution='''\
def bag_of_words(table, tokens, end):
    """Mean embedding up to the end-of-text token."""
    at = (tokens == end).int().argmax(dim=1)
    counts = torch.arange(tokens.shape[1], device=tokens.device) <= at[:, None]
    return (table[tokens] * counts[..., None]).sum(dim=1) / (at + 1)[:, None]
''',
    hints=(
        "`table[tokens]` is [B,L,D].",
        "A mask [B,L] of the places that count: place i counts if it is not behind the place of the first end.",
        "Divide by how many count, which differs from row to row.",
    ),
    wrong={
        "padding_counts": (
            _BAG + "    return table[tokens].mean(dim=1)\n",
            "Padding counts for you: a short caption becomes mostly padding.",
        ),
        "divided_by_all": (
            _BAG + _HERE + " <= at[:, None]\n    return (table[tokens] * here[..., None]).mean(dim=1)\n",
            "You sum over the right tokens and divide by L. Divide by how many there are.",
        ),
        "sum": (
            _BAG + _HERE + " <= at[:, None]\n    return (table[tokens] * here[..., None]).sum(dim=1)\n",
            "That is the sum. A long caption would weigh more than a short one.",
        ),
        "without_the_end": (
            _BAG + _HERE + " < at[:, None]\n    return (table[tokens] * here[..., None]).sum(dim=1) / at[:, None]\n",
            "You leave the end-of-text token out. It does not change much, but the mean is asked for with it.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(40, 3, generator=rng), _texts(rng, 5, 7), END),
        (torch.randn(41, 4, generator=rng), _texts(rng, 2, 9), END),
    ],
    oracle=_true_bag,
)
