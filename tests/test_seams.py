"""Tests replace nothing in our own code: what a test needs is an argument, a subclass or a server, which a reader sees.

Nor do they set a private part of any object: what it holds comes of what is done to it, or of an argument.

Python's own modules and other packages may be patched (``sys.argv``, ``os.getuid``, aiohttp), and so may the environment.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
OURS = frozenset({"bench", "docs", "pipeline", "transforms"})
PYTEST = frozenset({f"monkeypatch.{name}" for name in ("setattr", "delattr", "setitem", "delitem")})
MOCK = frozenset({"patch", "patch.object", "patch.dict", "patch.multiple"})
NAMES = frozenset({name.rpartition(".")[2] for name in PYTEST | MOCK} | {"setattr"})


def imported(tree: ast.AST) -> dict[str, str]:
    """The names that a file imports, and the top-level package that each comes from."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(name.asname or name.name).partition(".")[0]: name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {name.asname or name.name: (node.module or "").partition(".")[0] for name in node.names}
    return found


def root(node: ast.expr) -> str:
    """What a target begins with: ``os`` of ``os.path.join``, ``pipeline`` of the text ``"pipeline.launch.launch"``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        return node.id
    return str(node.value).partition(".")[0] if isinstance(node, ast.Constant) else ""


def called(call: ast.Call) -> str:
    """The last part of a function's name."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else root(call.func)


def targets(node: ast.AST) -> Iterator[ast.expr]:
    """What a statement sets or deletes, each by itself."""
    match node:
        case ast.Assign() | ast.Delete():
            found = node.targets
        case ast.AugAssign() | ast.AnnAssign() | ast.For() | ast.AsyncFor() | ast.NamedExpr():
            found = [node.target]
        case ast.withitem(optional_vars=ast.expr() as named):
            found = [named]
        case _:
            found = []
    for target in found:
        yield from target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def is_private_of_another(target: ast.expr) -> bool:
    """Whether it is ``x._y`` of an object that is not the one whose code this is."""
    if not isinstance(target, ast.Attribute) or not target.attr.startswith("_"):
        return False
    return not (isinstance(target.value, ast.Name) and target.value.id in ("self", "cls"))


def replaced(source: str) -> list[int]:
    """The lines in which a test replaces a part of our own code, or of an object whose package can't be told."""
    tree = ast.parse(source)
    packages, lines = imported(tree), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and called(node) in NAMES:
            function, target = ast.unparse(node.func), node.args[0]
            package = root(target) if isinstance(target, ast.Constant) else packages.get(root(target), "")
            patches = function in PYTEST or function.partition("mock.")[2] in MOCK or function in MOCK
            if (patches and not package) or ((patches or function == "setattr") and package in OURS):
                lines.append(node.lineno)
        for target in targets(node):
            known = packages.get(root(target), "")
            if isinstance(target, ast.Attribute) and (known in OURS or (not known and is_private_of_another(target))):
                lines.append(target.lineno)
    return lines


@pytest.mark.parametrize(
    ("line", "is_ours"),
    [
        ('monkeypatch.setattr(prism, "VERSION", "1")', True),
        ('monkeypatch.setattr(prism.build, "VERSION", "1")', True),
        ('monkeypatch.setattr("pipeline.runners.prism.VERSION", "1")', True),
        ('monkeypatch.setitem(prism.known, "a", 1)', True),
        ('monkeypatch.setattr(client, "send", send)', True),
        ('mock.patch("transforms.retry.Deadline")', True),
        ('mock.patch.object(Prism, "start")', True),
        ('setattr(Prism, "start", None)', True),
        ("Prism.start = None", True),
        ("prism.VERSION = '1'", True),
        ("del prism.VERSION", True),
        ("local.VERSION, prism.VERSION = '1', '2'", True),
        ("local._version = '1'", True),
        ("local.part._version: str = '1'", True),
        ("local().part._count += 1", True),
        ("self.part._version = '1'", True),
        ("local.done, local._version = True, '1'", True),
        ("with open('a') as local._file: pass", True),
        ("del local._version", True),
        ("self._version = '1'", False),
        ("self._parts['a'] = 1", False),
        ("local[0] = local._version", False),
        ("os._version = '1'", False),
        ('monkeypatch.setattr(os, "getuid", lambda: 7)', False),
        ('monkeypatch.setattr("os.getuid", lambda: 7)', False),
        ('monkeypatch.setenv("A", "1")', False),
        ("local.VERSION = '1'", False),
    ],
)
def test_what_counts_as_ours(line: str, is_ours: bool) -> None:
    head = (
        "import os\nfrom unittest import mock\nfrom pipeline.runners import prism\nfrom pipeline.runners.prism import Prism"
    )
    assert bool(replaced(f"{head}\n{line}")) is is_ours


def test_no_test_replaces_our_own_code() -> None:
    """Give the code an argument for it, or do what leads to the state. A fake of the tests has its knobs in public."""
    found = {path: replaced(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")}
    assert [f"{path.relative_to(TESTS)}:{lines[0]}" for path, lines in sorted(found.items()) if lines] == []
