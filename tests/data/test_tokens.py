"""Tokenizers: our own identities, and byte-pair encoding token for token against open_clip."""

import gzip
import pickle
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.data.tokens import BytePairTokenizer, WordTokenizer, byte_letters
from minidiff.data.words import split_words

WORDS = ["a", "red", "circle", "left", ","]


@pytest.fixture(scope="module")
def pairs():
    return BytePairTokenizer.from_file()


@pytest.fixture(scope="module")
def reference():
    return pytest.importorskip("open_clip").SimpleTokenizer()


# Whole words


def test_words_between_begin_and_end():
    tokenizer = WordTokenizer(WORDS, length=7)
    batch = tokenizer(["A red circle", "left, blue"])
    assert batch["tokens"].tolist() == [[1, 4, 5, 6, 2, 0, 0], [1, 7, 8, 3, 2, 0, 0]]
    assert batch["mask"].sum(1).tolist() == [5, 5] and batch["tokens"].dtype == torch.int64
    assert tokenizer.decode(batch["tokens"][1]) == "left , <unknown>"
    assert len(tokenizer) == 9


@pytest.mark.parametrize("tokenizer", [WordTokenizer(WORDS, length=5), BytePairTokenizer([("a", "b")], length=5)])
def test_the_empty_prompt_keeps_begin_and_end(tokenizer):
    batch = tokenizer("")
    assert batch["tokens"].tolist() == [[tokenizer.begin, tokenizer.end, *[tokenizer.pad] * 3]]
    assert batch["mask"].tolist() == [[True, True, False, False, False]]
    none = tokenizer([])
    assert none["tokens"].shape == (0, 5) and none["mask"].shape == (0, 5)


def test_a_vocabulary_from_texts():
    tokenizer = WordTokenizer.from_texts(["A red circle", "a Blue square, red"], length=9)
    assert tokenizer.words[4:] == (",", "a", "blue", "circle", "red", "square")


def test_words_bad_input():
    tokenizer = WordTokenizer(WORDS, length=4)
    assert tokenizer("red circle")["mask"].all()
    with pytest.raises(ValueError, match=r"at most 2 tokens .* got 3 in 'a red circle'"):
        tokenizer(["red", "a red circle"])
    with pytest.raises(ValueError, match="texts must be strings; text 1 is 3"):
        tokenizer(["red", 3])
    with pytest.raises(ValueError, match="length must be at least 2.* got 1"):
        WordTokenizer(WORDS, length=1)
    with pytest.raises(ValueError, match=r"each once; got \['a'\]"):
        WordTokenizer([*WORDS, "a"], length=4)
    with pytest.raises(ValueError, match=r"single words in lower case, each once; got \['Two', 'two words'\]"):
        WordTokenizer(["Two", "two words"], length=4)
    for tokens in ([9], [-1]):
        with pytest.raises(ValueError, match=r"tokens must lie in 0\.\.8"):
            tokenizer.decode(tokens)


@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_known_words_survive(words):
    tokenizer = WordTokenizer(WORDS, length=8)
    batch = tokenizer(" ".join(words))
    assert tokenizer.decode(batch["tokens"][0]) == " ".join(words)
    assert batch["mask"].sum() == len(words) + 2


@given(st.text())
def test_splitting_loses_nothing_but_spaces(text):
    assert "".join(split_words(text)) == "".join(text.lower().split())


# Byte pairs


def test_merges_go_in_the_order_of_the_list():
    tokenizer = BytePairTokenizer([("b", "c</w>"), ("a", "b"), ("ab", "c</w>"), ("a", "bc</w>")], length=6)
    first = 512  # after the bytes, inside and at the end of a word
    assert tokenizer.encode("abc") == [first + 3]  # bc before ab
    a, b_end = ord("a") - 33, ord("b") - 33 + 256  # "!" is byte 33, and the first letter
    assert tokenizer.encode("abab") == [first + 1, a, b_end]
    assert tokenizer.encode("abc abc") == [first + 3] * 2
    assert (tokenizer.begin, tokenizer.end, len(tokenizer)) == (first + 4, first + 5, first + 6)


def test_every_byte_has_a_letter_of_its_own():
    letters = byte_letters()
    assert sorted(letters) == [*range(256)] and len(set(letters.values())) == 256
    assert all(letter.isprintable() and not letter.isspace() for letter in letters.values())


def varied(number: int, seed: int = 0) -> list[str]:
    """Strings of every kind: words, scripts, emoji, broken encodings, entities, spaces, long and empty ones."""
    dice = random.Random(seed)
    ranges = [(32, 127), (0xA0, 0x250), (0x370, 0x530), (0x5D0, 0x700), (0x900, 0xE00), (0x1100, 0x1200),
              (0x2000, 0x2C00), (0x3040, 0x3100), (0x4E00, 0x9FFF), (0xFF00, 0xFFEF), (0x1D400, 0x1D7FF),
              (0x1F300, 0x1FAFF), (0, 32)]  # fmt: skip
    parts = ["a red circle", "it's", "WE'LL", "1234567", "&amp;lt;b&gt;", "\u00e2\u20ac\u2122", "e\u0301", "\u0130",
             "\u017f", "\u1e9e", "\U0001f469\u200d\U0001f680", "\U0001f1eb\U0001f1f7", "\u4e2d\u6587",
             "\n\t", "  ", "!!!", "<end_of_text>",
             "</w>", "\u00a0", "\ufeff", "\u0e01\u0e33", "x" * 200, "\u00bd", "\u2160"]  # fmt: skip

    def one() -> str:
        def letters():
            low, high = dice.choice(ranges)
            return "".join(chr(dice.randrange(low, high)) for _ in range(dice.randrange(1, 12)))

        count = dice.choice([0, 1, 2, 4, 8, 60])
        pieces = [dice.choice(parts) if dice.random() < 0.4 else letters() for _ in range(count)]
        return dice.choice(["", " "]).join(pieces)

    return ["", *(one() for _ in range(number - 1))]


def test_byte_pairs_equal_open_clips_on_varied_strings(pairs, reference):
    texts = varied(1500)
    assert len(set(texts)) >= 1000
    batch, expected = pairs(texts), reference(texts)
    wrong = [t for t, a, b in zip(texts, batch["tokens"], expected, strict=True) if not torch.equal(a, b)]
    assert not wrong
    assert pairs.encode("x y " * 500) == reference.encode("x y " * 500)
    assert (len(pairs), pairs.begin, pairs.end) == (
        reference.vocab_size, reference.sot_token_id, reference.eot_token_id
    )  # fmt: skip


def test_tokenizers_reach_worker_processes(pairs):
    for tokenizer in (pairs, WordTokenizer(WORDS, length=9)):
        again = pickle.loads(pickle.dumps(tokenizer))
        assert torch.equal(again("a red circle")["tokens"], tokenizer("a red circle")["tokens"])


def test_the_mask_and_not_the_padding_ends_a_text(pairs):
    batch = pairs(["!", "! !", ""])
    assert batch["tokens"][0, 1] == 256  # "!" at the end of a word is token 256, its byte token 0, the padding
    assert batch["mask"].sum(1).tolist() == [3, 4, 2]
    long = pairs("word " * 100)
    assert long["mask"].all() and long["tokens"][0, -1] == pairs.end and long["tokens"].shape == (1, 77)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a", "red", "circle", "naïve", "東京", "left-of", "3", "🎈"]), max_size=6))
def test_what_is_encoded_is_decoded(pairs, words):
    tokens = pairs.encode(" ".join(words))
    assert pairs.decode(tokens).split() == " ".join(words).replace("-", " - ").split()


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        BytePairTokenizer.from_file(tmp_path / "none.gz")
    plain = tmp_path / "plain.txt.gz"
    plain.write_text("header\na b\n")
    with pytest.raises(ValueError, match=r"path must be a gzip file of merges; plain\.txt\.gz cannot be read"):
        BytePairTokenizer.from_file(plain)
    odd = tmp_path / "odd.gz"
    odd.write_bytes(gzip.compress(b"header\na b\na b c\n"))
    with pytest.raises(ValueError, match=r"two pieces in each line; odd\.gz has not"):
        BytePairTokenizer.from_file(odd)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"header\na b\n")[:-9])
    with pytest.raises(ValueError, match="cannot be read"):
        BytePairTokenizer.from_file(cut)
