"""A small extension of Sphinx: docstrings are plain text with `code`, not reStructuredText.

In it `[B, *shape]` and `|x|` mean what they say, where reStructuredText would see emphasis and a substitution.
"""

from __future__ import annotations

import re

# A star is markup only where it embraces a single word.
_PLAIN = re.compile(r"(\*{1,2}[A-Za-z][\w-]*\*{1,2})(?!\w)|([*|])")


def escaped(line: str) -> str:
    r"""One line of a docstring with its stars and bars escaped outside of `code`.

    >>> escaped("x: [B, *shape], |x| <= 1, `a * b`, *never* clipped")
    'x: [B, \\*shape], \\|x\\| <= 1, `a * b`, *never* clipped'
    """
    parts = line.split("`")
    parts[::2] = [_PLAIN.sub(lambda m: m[1] or "\\" + m[2], part) for part in parts[::2]]
    return "`".join(parts)


def process(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Escape every line but those of examples, in place."""
    example = False
    for i, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if not example:
            lines[i] = escaped(line)


def setup(app: object) -> dict[str, bool]:
    """Called by Sphinx; runs before napoleon, which has priority 500."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
