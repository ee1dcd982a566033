"""What the course shows in a notebook: HTML with a plain-text twin."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """Something that a notebook shows as HTML and a terminal as text.

    Attributes:
        html: what a notebook or the book shows; no script or style from elsewhere.
        text: the same in plain words.
    """

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Folded:
    """Markdown that a notebook renders and a terminal prints as it stands.

    Attributes:
        source: the Markdown.
    """

    source: str

    def _repr_markdown_(self) -> str:
        return self.source

    def __repr__(self) -> str:
        return self.source


def show(thing: object) -> None:
    """Show `thing` below the cell that runs, or print its text where there is no notebook."""
    from IPython.display import display

    display(thing)


def fold(summary: str, body: str) -> str:
    """A folded block that renders in JupyterLab, in Colab and in the book.

    >>> print(fold("Hint", "Look *up*."))
    <details>
    <summary>Hint</summary>
    <BLANKLINE>
    Look *up*.
    <BLANKLINE>
    </details>
    """
    # Without the blank line after </summary> the body is not read as Markdown.
    return f"<details>\n<summary>{summary}</summary>\n\n{body.strip()}\n\n</details>"


def inline(text: str) -> str:
    """HTML of one line of Markdown: only `code`, *emphasis* and **strong** are known.

    >>> inline("use `a < b` **once**")
    'use <code>a &lt; b</code> <strong>once</strong>'
    """
    parts = re.split(r"`([^`]+)`", text)
    for i, part in enumerate(parts):
        part = html.escape(part, quote=False)
        if i % 2:
            parts[i] = f"<code>{part}</code>"
        else:
            part = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", part)
            parts[i] = re.sub(r"(?<!\w)\*([^*]+)\*", r"<em>\1</em>", part)
    return "".join(parts)


def tables(markdown: str) -> Shown:
    """Markdown of headings, pipe tables and paragraphs as HTML, which every front end shows alike; links become text.

    >>> tables("| a | **b** |\\n|---|---|\\n| 1 | [two](x.ipynb) |").html
    '<table><tr><td>a</td><td><strong>b</strong></td></tr><tr><td>1</td><td>two</td></tr></table>'
    """
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown).strip()
    out, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            if set(line) - set("|-: "):
                cells = [inline(cell.strip()) for cell in line.strip("|").split("|")]
                rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
            continue
        if rows:
            out.append(f"<table>{''.join(rows)}</table>")
            rows = []
        if line.strip():
            words = inline(line.lstrip("# "))
            out.append(f"<p><strong>{words}</strong></p>" if line.startswith("#") else f"<p>{words}</p>")
    return Shown("".join(out), text)
