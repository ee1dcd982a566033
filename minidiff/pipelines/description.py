"""What a saved system is, in one small JSON file: the names of its parts, the words that it knows, its options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from .. import pretrained
from ..data import WordTokenizer
from ..training.checkpoint import write_atomic


def write(
    folder: Path, system: str, parts: dict[str, str], tokenizer: WordTokenizer, options: dict[str, Any]
) -> None:
    """Writes `folder/system.json`, whole or not at all.

    Args:
        folder: of the parts' checkpoints.
        system: its name.
        parts: part -> name of its checkpoint in the folder.
        tokenizer: of the captions.
        options: numbers and strings.
    """
    words = {"words": tokenizer.words[len(WordTokenizer.SPECIAL) :], "length": tokenizer.length}
    content = {"parts": parts, "tokenizer": words, "options": options}
    write_atomic(Path(folder) / f"{system}.json", (json.dumps(content, indent=1) + "\n").encode())


def read(where: str | Path, system: str) -> tuple[dict[str, nn.Module], WordTokenizer, dict[str, Any]]:
    """Loads what `write` described: the parts' models by name, the tokenizer, the options.

    Args:
        where: the system's own name for the bundled one, or a folder.
        system: its name.

    Raises:
        ValueError: there is none, the file is damaged, or a part cannot be loaded.
    """
    folder = pretrained.CHECKPOINTS if where == system else Path(where)
    path = folder / f"{system}.json"
    if not path.is_file():
        raise ValueError(f"where must be {system!r} or a folder with {path.name} and the parts it names; got {where}")
    try:
        content = json.loads(path.read_text("utf-8"))
        parts, tokenizer = content["parts"], WordTokenizer(**content["tokenizer"])
        options = content["options"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} in {folder} is damaged: {error!r}") from error
    return {name: pretrained.load(part, folder=folder).model for name, part in parts.items()}, tokenizer, options
