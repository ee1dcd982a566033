"""Words of a text, and the nearest of those that are known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


def split_words(text: str) -> list[str]:
    """Words and punctuation marks, in lower case.

    >>> split_words("A red circle, left of 2 squares.")
    ['a', 'red', 'circle', ',', 'left', 'of', '2', 'squares', '.']
    """
    return WORD.findall(text.lower())


def nearest(word: str, known: Iterable[str], otherwise: str = "none is near") -> str:
    """Which known words of at least two letters are spelled like a word, for a message.

    Args:
        word: not known.
        known: the vocabulary.
        otherwise: what to say where none is near.

    >>> nearest("circel", ["circle", "red"])
    'the nearest it knows: circle'
    """
    near = difflib.get_close_matches(word, sorted(w for w in known if len(w) > 1))
    return f"the nearest it knows: {', '.join(near)}" if near else otherwise
