"""Which mutants can change what the code does: not those in annotations, docstrings and the like."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

SAME = frozenset({"NoOp", "ReplaceComparisonOperator_Is_Eq", "ReplaceComparisonOperator_IsNot_NotEq"})
"""Operators whose mutants behave the same: ``is`` is only used with ``None`` and enumerations here."""

Place = tuple[int, int]


def is_meaningful(source: str, operator: str, line: int, column: int) -> bool:
    """Whether a change at a place (line from 1, column from 0, in characters) can be noticed by a test."""
    if operator in SAME:
        return False
    in_bytes = len(source.splitlines()[line - 1][:column].encode())  # as ast counts
    return not any(start <= (line, in_bytes) < end for start, end in _without_effect(source))


def is_other_code(original: str, mutated: str) -> bool:
    """Whether the mutated text is valid Python that does not parse to the same tree."""
    try:
        return ast.dump(ast.parse(original)) != ast.dump(ast.parse(mutated))
    except SyntaxError:
        return False


@functools.cache  # a file has hundreds of mutants
def _without_effect(source: str) -> tuple[tuple[Place, Place], ...]:
    """The spans of annotations, docstrings, ``TYPE_CHECKING`` blocks and options of ``@dataclass``."""
    parts = [part for node in ast.walk(ast.parse(source)) for part in _parts(node) if part is not None]
    return tuple(((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)) for part in parts)


def _parts(node: ast.AST) -> Iterator[ast.expr | ast.stmt | ast.keyword | None]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.returns
        case ast.arg() | ast.AnnAssign():
            yield node.annotation
        case ast.Expr(value=ast.Constant(value=str())):
            yield node
        case ast.If() if "TYPE_CHECKING" in ast.unparse(node.test):
            yield node
        case ast.ClassDef():
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("dataclass"):
                    yield from decorator.keywords
