"""Text as integers: whole words for captions of a small world, and the byte-pair encoding that CLIP reads.

Both tokenizers are called with texts and give the same batch, so that a text encoder never asks which of them it was.
"""

from __future__ import annotations

import gzip
import html
import importlib.util
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from .batches import Batch
from .words import nearest, split_words

END_OF_WORD = "</w>"
CLIP_MERGES = 48_894  # of the file's lines, those that OpenAI's models were trained with: 49,152 - 256 - 2


class WordTokenizer:
    """A number for each word and each punctuation mark, in lower case.

    Attributes:
        words: token -> word; the first four are the special ones.
        length: tokens a text is padded to, begin and end among them.
    """

    SPECIAL = ("<pad>", "<begin>", "<end>", "<unknown>")
    pad, begin, end, unknown = range(4)

    def __init__(self, words: Iterable[str], length: int):
        """Takes the vocabulary.

        Args:
            words: in their order, each once.
            length: at least 2, for begin and end.

        Raises:
            ValueError: a word is there twice or is none, or `length` is too small.
        """
        words = [*words]
        wrong = sorted({w for w in words if words.count(w) > 1 or split_words(w) != [w]})
        if wrong:
            raise ValueError(f"words must be single words in lower case, each once; got {wrong[:5]}")
        self.words, self.length = (*self.SPECIAL, *words), _length(length)
        self._ids = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def from_texts(cls, texts: Iterable[str], length: int) -> WordTokenizer:
        """The words of `texts` in alphabetical order."""
        return cls(sorted({word for text in texts for word in split_words(text)}), length)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """The text's tokens, without begin, end and padding."""
        return [self._ids.get(word, self.unknown) for word in split_words(text)]

    def require(self, texts: str | Sequence[str]) -> None:
        """Refuses words that are not in the vocabulary, and names the nearest that are.

        Raises:
            ValueError: a text has a word that `<unknown>` would stand for.

        >>> WordTokenizer(["circle", "red"], 4).require("red circel")
        Traceback (most recent call last):
        ValueError: texts must use known words; got 'circel' (the nearest it knows: circle)
        """
        words = [word for text in _texts(texts) for word in split_words(text)]
        unknown = [word for word in dict.fromkeys(words) if word not in self._ids]
        if unknown:
            said = [f"{word!r} ({nearest(word, self.words[len(self.SPECIAL) :])})" for word in unknown]
            raise ValueError(f"texts must use known words; got {'; '.join(said)}")

    def decode(self, tokens: Sequence[int] | Tensor) -> str:
        """Words with a space between them; special tokens but `<unknown>` are left out.

        Raises:
            ValueError: a number is no token.
        """
        return " ".join(self.words[i] for i in _known(tokens, len(self)) if i >= self.unknown)

    def __call__(self, texts: str | Sequence[str]) -> Batch:
        """Texts as a batch.

        Returns:
            `"tokens"` [N, length] int64: begin, the text, end, padding; an empty text keeps begin and end. `"mask"`
            [N, length] bool, True where a token is not padding.

        Raises:
            ValueError: a text has more than `length - 2` tokens.

        >>> tokenizer = WordTokenizer(["a", "circle", "red"], length=6)
        >>> tokenizer(["A red circle", ""])["tokens"]
        tensor([[1, 4, 6, 5, 2, 0],
                [1, 2, 0, 0, 0, 0]])
        """
        texts = _texts(texts)
        rows = [self.encode(text) for text in texts]
        longest = max(rows, key=len, default=[])
        if len(longest) > self.length - 2:
            text = texts[rows.index(longest)]
            raise ValueError(
                f"texts must have at most {self.length - 2} tokens (length {self.length} less begin and end); "
                f"got {len(longest)} in {text!r}"
            )
        return _batch([[self.begin, *row, self.end] for row in rows], self.length, self.pad)


class BytePairTokenizer:
    """CLIP's byte-pair encoding: words are cut into pieces, common words into one (Sennrich et al., 2016).

    A word starts as its UTF-8 bytes. Of all neighbouring pieces, those that stand first in the list of merges are
    joined, until no neighbours are in the list. So everything that can be written has tokens, and no word is unknown.

    Attributes:
        pieces: token -> piece; a byte is written as a letter, the end of a word as `</w>`.
        length: tokens a text is padded or cut to, begin and end among them.
        begin, end: tokens.
        pad: 0, as in CLIP. It is also the token of "!": only the mask tells them apart.
    """

    pad = 0

    def __init__(self, merges: Iterable[tuple[str, str]], length: int = 77):
        """Takes the merges; `from_file` reads them.

        Args:
            merges: pairs of pieces, in the order in which they were learned.
            length: at least 2, for begin and end.

        Raises:
            ValueError: `length` is too small.
        """
        letters = [*byte_letters().values()]
        merges = [*merges]
        self.pieces = (
            *letters, *(x + END_OF_WORD for x in letters), *(a + b for a, b in merges), "<start_of_text>",
            "<end_of_text>",
        )  # fmt: skip
        self.begin, self.end = len(self.pieces) - 2, len(self.pieces) - 1
        self.length = _length(length)
        self._ids = {piece: i for i, piece in enumerate(self.pieces)}
        self._ranks = {pair: i for i, pair in enumerate(merges)}
        self._known_words: dict[str, tuple[int, ...]] = {}  # a dict and no lru_cache: workers pickle their tokenizer

    @classmethod
    def from_file(cls, path: str | Path | None = None, length: int = 77) -> BytePairTokenizer:
        """Reads a list of merges in OpenAI's format: gzip, one header line, then a pair of pieces in each line.

        Args:
            path: the file; None is the one that open_clip brings.
            length: tokens of a text.

        Raises:
            FileNotFoundError: there is no such file, or `path` is None and open_clip is not installed.
            ValueError: the file is not such a list.
        """
        path = _open_clip_file() if path is None else Path(path)
        try:
            lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : CLIP_MERGES + 1]
        except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
            raise ValueError(f"path must be a gzip file of merges; {path.name} cannot be read: {error}") from error
        merges = [tuple(line.split()) for line in lines if line]
        if not merges or any(len(pair) != 2 for pair in merges):
            raise ValueError(f"path must have two pieces in each line; {path.name} has not")
        return cls(merges, length)

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """The text's tokens, without begin, end and padding."""
        return [i for word in _clip_words().findall(clean(text)) for i in self._word(word)]

    def decode(self, tokens: Sequence[int] | Tensor) -> str:
        """The text that the tokens spell, a space after each word; begin and end are left out.

        Padding looks like "!": cut it off by the mask first.

        Raises:
            ValueError: a number is no token.
        """
        bytes_of = {letter: byte for byte, letter in byte_letters().items()}
        text = "".join(self.pieces[i] for i in _known(tokens, len(self)) if i < self.begin)
        words = [bytes(bytes_of[x] for x in word) for word in text.split(END_OF_WORD)]
        return b" ".join(words).decode("utf-8", errors="replace").strip()

    def __call__(self, texts: str | Sequence[str]) -> Batch:
        """Texts as a batch, as `WordTokenizer`; longer ones are cut, and keep their end token (as CLIP's are)."""
        rows = [[self.begin, *self.encode(text)[: self.length - 2], self.end] for text in _texts(texts)]
        return _batch(rows, self.length, self.pad)

    def _word(self, word: str) -> tuple[int, ...]:
        if word not in self._known_words:
            self._known_words[word] = self._merged(word)
        return self._known_words[word]

    def _merged(self, word: str) -> tuple[int, ...]:
        letters = byte_letters()
        spelled = "".join(letters[byte] for byte in word.encode("utf-8"))
        if spelled in self.pieces[self.begin :]:  # CLIP reads these names, where a text has them, as the tokens
            return (self._ids[spelled],)
        pieces = [*spelled[:-1], spelled[-1] + END_OF_WORD]
        while len(pieces) > 1:
            first = min(pairwise(pieces), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if first not in self._ranks:
                break
            pieces = _joined(pieces, first)
        return tuple(self._ids[piece] for piece in pieces)


def clean(text: str) -> str:
    """Text as CLIP was trained on it: broken encodings mended, HTML entities resolved, one space, lower case.

    >>> clean("  A &amp;amp; B\\n")
    'a & b'
    """
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


@lru_cache(maxsize=1)
def byte_letters() -> dict[int, str]:
    """A visible letter for each byte: what Latin-1 shows stands for itself, the others take letters from 256 on.

    >>> byte_letters()[ord("a")], byte_letters()[ord(" ")]
    ('a', 'Ġ')
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in visible]
    return {b: chr(b) for b in visible} | {b: chr(256 + i) for i, b in enumerate(hidden)}


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """`pieces` with every occurrence of `pair`, from the left, made one."""
    out, i = [], 0
    while i < len(pieces):
        if tuple(pieces[i : i + 2]) == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(pieces[i])
            i += 1
    return out


@lru_cache(maxsize=1)
def _clip_words():
    import regex  # the standard library's `re` knows no Unicode categories

    ends = r"<start_of_text>|<end_of_text>"
    return regex.compile(rf"{ends}|'(?:s|t|re|ve|m|ll|d)|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}]+", regex.IGNORECASE)


def _open_clip_file() -> Path:
    found = importlib.util.find_spec("open_clip")  # looks, and imports nothing
    if found is None or found.origin is None:
        raise FileNotFoundError("path is None, and open_clip, whose file would be read, is not installed")
    return Path(found.origin).parent / "bpe_simple_vocab_16e6.txt.gz"


def _texts(texts: str | Sequence[str]) -> list[str]:
    texts = [texts] if isinstance(texts, str) else [*texts]
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"texts must be strings; text {i} is {text!r}")
    return texts


def _length(length: int) -> int:
    if length < 2:
        raise ValueError(f"length must be at least 2, for begin and end; got {length}")
    return length


def _known(tokens: Sequence[int] | Tensor, number: int) -> list[int]:
    tokens = [int(i) for i in tokens]
    wrong = [i for i in tokens if not 0 <= i < number]
    if wrong:
        raise ValueError(f"tokens must lie in 0..{number - 1}; got {wrong[:5]}")
    return tokens


def _batch(rows: list[list[int]], length: int, pad: int) -> Batch:
    counts = torch.tensor([len(row) for row in rows], dtype=torch.long)
    tokens = torch.tensor([row + [pad] * (length - len(row)) for row in rows], dtype=torch.long)
    return {"tokens": tokens.view(-1, length), "mask": torch.arange(length) < counts[:, None]}
