"""Small automatic errors in a solution: each must be noticed by the exercise's check."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator

SWAPPED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
DROPPED = {"sqrt", "rsqrt", "exp", "log", "square", "abs", "clamp", "clip", "round", "cumprod", "cumsum", "flip", "neg"}


def mutants(source: str) -> dict[str, str]:
    """All single errors in a source.

    Args:
        source: what is to be changed in one place at a time.

    Returns:
        Label, as in `"a + b -> a - b"`, to changed source.

    >>> sorted(mutants("def f(a):\\n    return a + 1"))
    ['1 -> 0', '1 -> 2', 'a + 1 -> 1', 'a + 1 -> a', 'a + 1 -> a - 1', 'return a + 1 -> return -(a + 1)']
    """
    tree, found, seen = ast.parse(source), {}, Counter()
    for index, node in enumerate(_nodes(tree)):
        for label, new in _changes(node):
            changed = copy.deepcopy(tree)
            changed = _Replace(list(_nodes(changed))[index], new).visit(changed)
            seen[label] += 1
            key = label if seen[label] == 1 else f"{label} (place {seen[label]})"
            found[key] = ast.unparse(ast.fix_missing_locations(changed))
    return found


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST | None) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self.old:
            return ast.Pass() if self.new is None else self.new
        return self.generic_visit(node)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node in reading order, except annotations, docstrings and default arguments' names."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns"):
            continue
        for node in value if isinstance(value, list) else [value]:
            documentation = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if isinstance(node, ast.AST) and not documentation:
                yield node
                yield from _nodes(node)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
    for new in _new(node):
        yield f"{ast.unparse(node)} -> {'nothing' if new is None else ast.unparse(new)}", new


def _new(node: ast.AST) -> Iterator[ast.AST | None]:
    match node:
        case ast.BinOp():
            if type(node.op) in SWAPPED:
                yield ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
            if isinstance(node.op, (ast.Add, ast.Sub)):
                yield from (node.left, node.right)
        case ast.AugAssign() | ast.Expr(value=ast.Call()):  # a statement that acts by its effect
            yield None
        case ast.Compare() if type(node.ops[0]) in SWAPPED:
            yield ast.Compare(node.left, [SWAPPED[type(node.ops[0])](), *node.ops[1:]], node.comparators)
        case ast.UnaryOp(op=ast.USub()):
            yield node.operand
        case ast.Call(func=ast.Attribute(attr=name, value=owner)) if name in DROPPED:
            module = isinstance(owner, ast.Name) and owner.id in ("torch", "math", "np", "F")
            yield node.args[0] if module else owner
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
            yield ast.Constant(node.value - 1)
        case ast.Constant(value=float()):
            yield ast.Constant(node.value + 0.5)
            yield ast.Constant(node.value * 2)
        case ast.Return(value=ast.BinOp() | ast.Call() | ast.Name()):
            yield ast.Return(ast.UnaryOp(ast.USub(), node.value))
