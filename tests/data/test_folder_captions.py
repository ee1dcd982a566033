"""Captions of a folder's pictures: every source is read back as it was written, and what does not fit is named."""

import codecs
import csv
import io
import json
import pickle
import tempfile
from itertools import islice
from pathlib import Path
from unicodedata import normalize

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minidiff.data import BytePairTokenizer, StreamBatches, WordTokenizer, folder
from minidiff.data.captions import find

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\\\0"), max_size=9).map("{}.png".format)
TABLES = st.dictionaries(NAMES, TEXTS, max_size=6).filter(
    lambda table: len({normalize("NFC", name).strip() for name in table}) == len(table)
)


def pictures(root, *names):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (9 * i, 40, 200)).save(root / name)


def written(root, name, content):
    (root / name).write_text(content, encoding="utf-8", newline="")
    return root / name


def texts(found):
    return {path.name: caption.text for path, caption in found.items()}


# What is written is read back


@settings(max_examples=150, deadline=None)
@given(TABLES, st.sampled_from(["", "\ufeff"]), st.booleans())
def test_csv_round_trip(table, mark, quoted):
    file = io.StringIO(newline="")
    options = {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"} if quoted else {}
    writer = csv.writer(file, **options)
    writer.writerows([("id", "caption", "file_name"), *((i, t, n) for i, (n, t) in enumerate(table.items()))])
    with tempfile.TemporaryDirectory() as temp:
        path = written(Path(temp), "captions.csv", mark + file.getvalue())
        found = find(Path(temp), [Path(temp) / name for name in table], path)
    assert texts(found) == {name: text.strip() for name, text in table.items()}


@settings(max_examples=150, deadline=None)
@given(TABLES, st.sampled_from(["", "\ufeff"]), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_jsonl_round_trip(table, mark, escaped, end):
    lines = [json.dumps({"image": name, "text": text, "n": 3}, ensure_ascii=escaped) for name, text in table.items()]
    with tempfile.TemporaryDirectory() as temp:
        path = written(Path(temp), "metadata.jsonl", mark + end.join(lines) + end)
        found = find(Path(temp), [Path(temp) / name for name in table], path)
    assert texts(found) == {name: text.strip() for name, text in table.items()}


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.booleans())
def test_sidecar_round_trip(captions, mark):
    with tempfile.TemporaryDirectory() as temp:
        root = Path(temp)
        for i, caption in enumerate(captions):
            head = codecs.BOM_UTF8 if mark or caption.startswith("\ufeff") else b""
            (root / f"{i}.txt").write_bytes(head + caption.encode("utf-8"))
        found = find(root, [root / f"{i}.png" for i in range(len(captions))], "auto")
    assert texts(found) == {f"{i}.png": caption.strip() for i, caption in enumerate(captions)}


# Where captions are looked for


def test_sidecars_are_found(tmp_path):
    pictures(tmp_path, "b.png", "a.x.jpg", "c.PNG")
    written(tmp_path, "a.x.txt", "\ufeff a blue\r\nball \n")
    written(tmp_path, "b.TXT", "ein gr\u00fcnes Dreieck")
    written(tmp_path, "c.txt", "\u7ea2\u5706")
    written(tmp_path, "LICENSE.txt", "of the pictures")
    found = folder(tmp_path)
    assert found.captions == ("a blue\r\nball", "ein gr\u00fcnes Dreieck", "\u7ea2\u5706")
    assert sorted(found[0]) == ["x"]
    assert folder(tmp_path, captions="sidecars") == found
    assert folder(tmp_path, captions=None).captions == ()


@pytest.mark.parametrize("name", ["captions.csv", "metadata.csv", "captions.jsonl", "metadata.jsonl"])
@pytest.mark.parametrize("file", ["file_name", "file", "image"])
@pytest.mark.parametrize("text", ["text", "caption"])
def test_tables_are_found(tmp_path, name, file, text):
    pictures(tmp_path, "dog/b.png", "cat/a.png")
    rows = [{"id": 1, text: " two, dogs ", file: "dog/b.png"}, {"id": 2, text: "a cat", file: "cat/a.png"}]
    if name.endswith("csv"):
        written(tmp_path, name, f'id,{text.upper()}, {file}\n1," two, dogs ",dog/b.png\n\n2,a cat,"cat/a.png"\n')
    else:
        written(tmp_path, name, "\n".join(map(json.dumps, rows)))
    found = folder(tmp_path)
    assert found.captions == ("a cat", "two, dogs") and found.classes == ("cat", "dog")


def test_a_table_may_lie_elsewhere(tmp_path):
    pictures(tmp_path / "pictures", "a.png", "b.png")
    table = written(tmp_path, "mine.CSV", "image,text\nb.png,second\na.png,first\n")
    written(tmp_path / "pictures", "metadata.csv", "image,label\na.png,1\n")  # the caller's wins over what is there
    assert folder(tmp_path / "pictures", captions=table).captions == ("first", "second")
    assert folder(tmp_path / "pictures", captions=str(table)).captions == ("first", "second")
    written(tmp_path / "pictures", "a.txt", "one")
    written(tmp_path / "pictures", "b.txt", "two")
    assert folder(tmp_path / "pictures", captions="sidecars").captions == ("one", "two")


def test_names_are_understood_as_other_systems_write_them(tmp_path):
    decomposed = normalize("NFD", "\u00fc.png")
    pictures(tmp_path, f"x/{decomposed}", "x/b.png", "x/c d.png")
    written(tmp_path, "captions.csv", "file,text\nx/\u00fc.png,one\nx\\b.png,two\n./x//c d.png ,three\n")
    assert sorted(folder(tmp_path).captions) == ["one", "three", "two"]
    both = [tmp_path / "\u00fc.png", tmp_path / decomposed]  # two files on some systems
    table = written(tmp_path, "both.csv", f"file,text\n{decomposed},d\n\u00fc.png,c\n")
    assert [find(tmp_path, both, table)[path].text for path in both] == ["c", "d"]


def test_a_quoted_caption_keeps_its_lines_and_quotes(tmp_path):
    pictures(tmp_path, "a.png", "b.png")
    written(tmp_path, "captions.csv", 'file,text\r\na.png,"one ""big""\r\nball, red"\r\nb.png, "ball, blue"\r\n')
    assert folder(tmp_path).captions == ('one "big"\r\nball, red', "ball, blue")


def test_a_picture_that_cannot_be_read_needs_no_caption(tmp_path):
    pictures(tmp_path, "a.png", "c.png")
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "d.png").write_bytes(b"")
    written(tmp_path, "captions.csv", "file,text\nc.png,see\nd.png,dee\na.png,ah\n")
    with pytest.warns(UserWarning, match=r"left out: b\.png .*, d\.png"):
        assert folder(tmp_path).captions == ("ah", "see")
    with pytest.raises(ValueError, match=r"1 of 4 have none: b\.png\."):
        folder(tmp_path, check=False, allow_duplicates=True)


# What does not fit

TABLE_ERRORS = {
    "absent": (
        "captions.csv",
        'file,text\na.png,"two\nlines"\nA.png,x\nb.png,y\nc.txt,z\n',
        r"captions\.csv must name pictures of .*; 2 of its 4 rows do not: 'A\.png' in line 4, 'c\.txt' in line 6\. ",
    ),
    "many": (
        "captions.csv",
        "file,text\n" + "".join(f"{i}.png,x\n" for i in range(17)),
        r"17 of its 17 rows do not: '0\.png' in line 2, .*'4\.png' in line 6 and 12 more\. Correct",
    ),
    "twice": (
        "captions.jsonl",
        '{"file": "a.png", "text": "x"}\n\n{"file": "b.png", "text": "y"}\n{"file": "./a.png", "text": "z"}\n',
        r"must name each picture once; 1 of its 3 rows repeat one: '\./a\.png' in line 4 "
        r"\(first in captions\.jsonl, line 1\)\. Remove",
    ),
    "missing": (
        "captions.csv",
        "file,text\na.png,x\n",
        r"captions must be there for every picture of .*; 1 of 2 have none: b\.png\. Write them, .*captions=None",
    ),
    "empty": (
        "captions.csv",
        'file,text\na.png,"x\ny"\nb.png, \t\n',
        r"1 of 2 have none: b\.png \(empty in captions\.csv, line 4\)\.",
    ),
    "null": ("captions.jsonl", '{"file": "a.png", "text": null}\n{"file": "b.png", "text": "y"}', r"a\.png \(empty in"),
    "no rows": ("metadata.csv", "file,text\n", r"2 of 2 have none: a\.png, b\.png\."),
    "no bytes": ("metadata.csv", "", r"line 1: one column must be file_name or file or image; the columns are none\."),
    "no caption": (
        "metadata.csv",
        "file_name,label\na.png,1\n",
        r"metadata\.csv cannot be read as CSV.*: one column must be text or caption; the columns are file_name, "
        r"label\. Correct it, or pass captions=None",
    ),
    "two captions": ("metadata.csv", "file,text,caption\na.png,1,2\n", "the columns are file, text, caption"),
    "comma": (
        "captions.csv",
        "file,text\na.png,a red, round ball\nb.png,x\n",
        r"must have 2 values in each row, as in its header; 1 of 2 rows do not: line 2 has 3\. A caption with a comma",
    ),
    "open quote": ("captions.csv", 'file,text\na.png,x\nb.png,"y\n\n\n', r"line 3: unexpected end of data"),
    "long": ("captions.csv", "file,text\na.png," + 140_000 * "x", r"line 2: field larger than field limit"),
    "json": (
        "captions.jsonl",
        '{"file": "a.png", "text": "x"}\n{"file": "b.png", "text": "y"\n[1]\n{"file": "a.png"}\n'
        '{"file": 3, "text": "x"}\n',
        r"must have one JSON object in each line, .*; 4 of 5 lines are none: line 2 \(Expecting ',' delimiter at "
        r"column 30\), line 3 \(no object\), line 4 \(one column must be text or caption; the columns are file\), "
        r"line 5 \(a value that is no text\)\. Write them like \{\"file_name\": \"a\.png\", \"text\": \"a red ball\"\}",
    ),
    "deep": ("captions.jsonl", "[" * 200_000, r"1 of 1 lines are none: line 1 \("),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE_ERRORS)
def test_what_is_wrong_in_a_table_is_named(tmp_path, case):
    name, content, message = TABLE_ERRORS[case]
    pictures(tmp_path, "a.png", "b.png")
    written(tmp_path, name, content)
    with pytest.raises(ValueError, match=message):
        folder(tmp_path)
    assert len(folder(tmp_path, captions=None)) == 2


def test_captions_come_from_one_place(tmp_path):
    pictures(tmp_path, "a.png", "b.png")
    written(tmp_path, "b.txt", "x")
    with pytest.raises(ValueError, match=r"1 of 2 have none: a\.png\. "):
        folder(tmp_path)
    written(tmp_path, "a.txt", " \n")
    with pytest.raises(ValueError, match=r"1 of 2 have none: a\.png \(empty in a\.txt\)\. "):
        folder(tmp_path)
    table = written(tmp_path, "metadata.csv", "image,text\na.png,x\nb.png,y\n")
    with pytest.raises(ValueError, match=r"one place; it has metadata\.csv and text files beside its pict"):
        folder(tmp_path)
    assert folder(tmp_path, captions=table).captions == ("x", "y")
    written(tmp_path, "captions.jsonl", "")
    (tmp_path / "a.txt").unlink()
    (tmp_path / "b.txt").unlink()
    with pytest.raises(ValueError, match=r"it has metadata\.csv and captions\.jsonl\. "):
        folder(tmp_path)


def test_two_pictures_do_not_share_a_text(tmp_path):
    pictures(tmp_path, "x/a.jpg", "x/a.png", "x/b.png", "y/b.png")
    for name in ("x/a.txt", "x/b.txt", "y/b.txt"):
        written(tmp_path, name, name)
    with pytest.raises(ValueError, match=r"1 of 3 belong to several \(a\.txt: a\.jpg and a\.png\)\. Rename"):
        folder(tmp_path)
    (tmp_path / "x" / "a.jpg").unlink()
    assert folder(tmp_path).captions == ("x/a.txt", "x/b.txt", "y/b.txt")


def test_other_encodings_are_refused(tmp_path):
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_bytes("gr\u00fcn".encode("latin-1"))
    written(tmp_path, "b.txt", "gr\u00fcn")
    with pytest.raises(ValueError, match=r"must be UTF-8; 1 of 2 are not: a\.txt \(.* at byte 2\)\. Save"):
        folder(tmp_path)
    table = tmp_path / "t.csv"
    table.write_bytes("file,text\na.png,x".encode("utf-16"))
    with pytest.raises(ValueError, match=r"t\.csv must be UTF-8; it is not \(invalid start byte at byte 0\)"):
        folder(tmp_path, captions=table)


def test_wrong_arguments(tmp_path):
    pictures(tmp_path, "a.png", "b.png")
    with pytest.raises(FileNotFoundError, match=r"captions must be a table; there is none at .*none\.csv"):
        folder(tmp_path, captions=tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r'captions must be "auto", .* or a \.csv or \.jsonl file; got .*t\.xlsx'):
        folder(tmp_path, captions=tmp_path / "t.xlsx")
    with pytest.raises(ValueError, match=r"captions must be .*; got \['a red ball'"):
        folder(tmp_path, captions=["a red ball", "a blue ball"])


# Tokens


def captioned(root):
    pictures(root, "cat/a.png", "cat/b.png", "dog/c.png")
    written(root, "captions.csv", "image,text\ndog/c.png,a red dog\ncat/a.png,a cat\ncat/b.png,\"red, red\"\n")
    return WordTokenizer(["a", "cat", "dog", "red", ","], length=6)


def test_items_carry_tokens(tmp_path):
    tokenizer = captioned(tmp_path)
    found = folder(tmp_path, 3, tokenizer=tokenizer)
    assert {k: list(v.shape) for k, v in found[0].items()} == {"x": [3, 3, 3], "tokens": [6], "mask": [6], "y": []}
    batch, expected = found.load(), tokenizer(["a cat", "red, red", "a red dog"])
    assert torch.equal(batch["tokens"], expected["tokens"]) and torch.equal(batch["mask"], expected["mask"])
    assert batch["mask"].dtype == torch.bool and batch["y"].tolist() == [0, 0, 1]
    assert torch.equal(found[1]["tokens"], expected["tokens"][1])
    pairs = folder(tmp_path, 3, tokenizer=BytePairTokenizer([("r", "e")], length=17))
    assert pairs.load()["tokens"].shape == (3, 17) and pairs.captions == found.captions


def test_workers_get_tokens_and_no_tokenizer(tmp_path):
    words = captioned(tmp_path)
    found = folder(tmp_path, 3, tokenizer=lambda captions: words(captions))  # a lambda cannot be pickled
    assert pickle.loads(pickle.dumps(found)) == found
    here, there = (StreamBatches(found, 2, workers, seed=4, drop_last=False).from_step(0) for workers in (0, 1))
    for a, b in islice(zip(here, there), 3):
        assert sorted(a) == ["mask", "tokens", "x", "y"]
        assert all(torch.equal(a[key], b[key]) for key in a)
        for tokens, label in zip(a["tokens"], a["y"]):
            assert ("dog" in words.decode(tokens)) == bool(label)


def test_a_tokenizer_needs_captions_and_gives_rows(tmp_path):
    words = captioned(tmp_path)
    with pytest.raises(ValueError, match=r"tokenizer must have captions to read; .* left aside"):
        folder(tmp_path, tokenizer=words, captions=None)
    with pytest.raises(ValueError, match=r"tokenizer must be a function of texts or None; got 'clip'"):
        folder(tmp_path, tokenizer="clip")
    with pytest.raises(ValueError, match=r"texts must have at most 2 tokens .* got 3 in 'red, red'"):
        folder(tmp_path, tokenizer=WordTokenizer(["a"], length=4))
    for wrong, got in (
        (lambda t: words(t)["tokens"], "Tensor"),
        (lambda t: {"tokens": words(t)["tokens"][1:]}, r"\{'tokens': \[2, 6\]\}"),
        (lambda t: {"x": words(t)["tokens"]}, r"\{'x': \[3, 6\]\}"),
        (lambda t: {"tokens": [[1]] * 3}, r"\{'tokens': \[\]\}"),
        (lambda t: {}, r"\{\}"),
    ):
        with pytest.raises(ValueError, match=rf"tokenizer must give a dict of tensors, .* 3 captions; got .*{got}"):
            folder(tmp_path, tokenizer=wrong)
    (tmp_path / "captions.csv").unlink()
    with pytest.raises(ValueError, match="tokenizer must have captions to read"):
        folder(tmp_path, tokenizer=words)
