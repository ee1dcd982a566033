"""The API pages, one for each part of the package, made from its docstrings.

Here stand only the directives; Sphinx's autodoc reads the docstrings themselves when the book is built.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

PARTS = ("data", "data.shapes", "models", "diffusion", "metrics", "objectives", "training", "pretrained", "evaluation",
         "pipelines", "recipes")  # fmt: skip
SPECIAL = ("__call__", "__iter__", "__len__", "__getitem__")


def docname(part: str) -> str:
    """The page of a part, as `_toc.yml` names it."""
    return f"book/api/{part.replace('.', '-')}"


def _modules(package: ModuleType) -> list[ModuleType]:
    """The modules of a package in the order of their names; a module alone is its own."""
    if not hasattr(package, "__path__"):
        return [package]
    names = [found.name for found in pkgutil.iter_modules(package.__path__) if not found.ispkg]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def public(part: str) -> dict[ModuleType, list[tuple[str, object]]]:
    """What a part offers: module -> (full name, object), in the order of the source.

    A package that lists names in `__all__` offers these, under its own name; any other offers the functions and
    classes of its modules.
    """
    package = importlib.import_module(f"minidiff.{part}")
    if hasattr(package, "__all__"):
        offered = [(name, getattr(package, name)) for name in package.__all__]  # a name may differ from its source's
        prefix = dict.fromkeys(_modules(package), package.__name__)
    else:
        offered = [item for module in _modules(package) for item in _own(module)]
        prefix = {module: module.__name__ for module in _modules(package)}
    found: dict[ModuleType, list[tuple[str, object]]] = {}
    for module in prefix:
        order = list(vars(module).values())
        own = [(name, value) for name, value in offered if _is_from(value, module)]
        own.sort(key=lambda item: next(i for i, value in enumerate(order) if value is item[1]))
        if own:
            found[module] = [(f"{prefix[module]}.{name}", value) for name, value in own]
    return found


def _own(module: ModuleType) -> list[tuple[str, object]]:
    items = vars(module).items()
    return [(n, v) for n, v in items if _is_from(v, module) and not n.startswith("_") and n != "main"]


def _is_from(value: object, module: ModuleType) -> bool:
    """Whether it is a function or a class that this very module defines."""
    known = inspect.isfunction(_plain(value)) or inspect.isclass(value)
    return known and value.__module__ == module.__name__


def _plain(value: object) -> object:
    """A function without its decorators, such as a cache; anything else as it is."""
    return getattr(value, "__wrapped__", value)


def values(part: str) -> list[tuple[str, str]]:
    """The constants and type aliases among a package's exported names, as (name, value in short)."""
    package = importlib.import_module(f"minidiff.{part}")
    documented = {name for items in public(part).values() for name, _ in items}
    rest = [name for name in getattr(package, "__all__", ()) if f"{package.__name__}.{name}" not in documented]
    return [(name, _short(getattr(package, name))) for name in rest]


def _short(value: object, limit: int = 160) -> str:
    text = repr(value).replace("typing.", "").replace("collections.abc.", "").replace("torch.Tensor", "Tensor")
    return text if len(text) <= limit else text[: limit - 4].rsplit(" ", 1)[0] + " ..."


def _members(cls: type) -> Iterator[str]:
    """Methods and properties that the class itself documents."""
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        documented = inspect.isfunction(function) and function.__doc__
        if documented and (not name.startswith("_") or name in SPECIAL):
            yield name


def _directive(name: str, value: object) -> str:
    if not inspect.isclass(value):
        return f".. autofunction:: {name}\n"
    members = list(_members(value))
    options = [f"   :members: {', '.join(members)}", "   :member-order: bysource"] if members else []
    special = [member for member in members if member.startswith("__")]
    options += [f"   :special-members: {', '.join(special)}"] if special else []
    return "\n".join([f".. autoclass:: {name}", *options, ""])


def page(part: str) -> str:
    """One page as Markdown."""
    name = f"minidiff.{part}"
    blocks = [f"# {name}", "```{eval-rst}\n.. automodule:: " + name + "\n```"]
    for module, items in public(part).items():
        if module.__name__ != name:
            blocks += [f"## {module.__name__.rpartition('.')[2]}"]
            # No index entry: some modules have the name of a function that their package exports.
            blocks += ["```{eval-rst}\n.. automodule:: " + module.__name__ + "\n   :no-index:\n```"]
        blocks += ["```{eval-rst}\n" + "\n".join(_directive(*item) for item in items) + "```"]
    constants = values(part)
    if constants:
        rows = [f"| `{constant}` | `{value.replace('|', chr(92) + '|')}` |" for constant, value in constants]
        blocks += ["## Constants and types\n\n| name | value |\n|---|---|\n" + "\n".join(rows)]
    return "\n\n".join(blocks) + "\n"
