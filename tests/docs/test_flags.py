"""Every flag that a document names, in prose or in code, is one of our programs, of Beam or a known foreign one."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

import pytest

from pipeline.checking.flags import CheckConfig
from pipeline.cli.command_line import beam_flags
from pipeline.cli.flag import flags_of
from pipeline.dead_letter_tools.flags import ReplayConfig
from pipeline.runners.flink import options as flink
from tests.docs.pages import PAGES, ROOT

CODE = ("pipeline", "transforms", "tests", "bench", "examples")
"""The folders with programs that have flags of their own."""

OTHERS = {
    "--help": "every parser has it",
    "--flag": "stands for any",
    "--name": "stands for any",
    "--cpu": "of stress-ng",
    "--disable-pip": "of pip-audit",
    "--require-hashes": "of pip and pip-audit",
    "--coverage": "of tests/suite.py, which passes the rest to pytest",
    "--durations": "of pytest",
    "--yaml_pipeline_file": "of Beam YAML",
    "--jinja_variable_flags": "of Beam YAML",
    "--constraint": "of uv and pip",
    "--python": "of uv",
    "--quiet": "of uv",
}
"""Flags that are declared nowhere, and what they are."""


def named(text: str) -> set[str]:
    """The flags that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text, re.IGNORECASE))


def parsed_flags() -> Iterator[str]:
    """The flags of the programs that have an ``argparse`` parser of their own."""
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.search(r"\badd(_argument)?$", ast.unparse(node.func)):
                names = [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
                yield from (name for name in names if name.startswith("--"))


@functools.cache
def declared() -> frozenset[str]:
    """Every flag that a table, a parser or Beam has."""
    ours = {f"--{row.name}" for table in (CheckConfig, ReplayConfig) for row in flags_of(table)}
    return frozenset({*ours, *parsed_flags(), *beam_flags(), *flink.OPTIONS})


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_flags_that_a_document_names_exist(page: str) -> None:
    """The changelog names what was."""
    assert named((ROOT / page).read_text(encoding="utf-8")) - declared() - OTHERS.keys() == set()


def test_what_is_no_flag_is_found() -> None:
    text = "`--kafka-io`, --windows_seconds\n```console\n$ python -m pipeline --modle=x --model=y\n```\n"
    assert named(text) - declared() - OTHERS.keys() == {"--kafka-io", "--windows_seconds", "--modle"}


def test_dashes_that_begin_no_flag() -> None:
    assert named("a -- b, <!-- note -->, |---|---|, a--b, `-k`") == set()


def test_the_list_of_others_has_nothing_else() -> None:
    documents = {flag for page in PAGES for flag in named((ROOT / page).read_text(encoding="utf-8"))}
    assert OTHERS.keys() - documents == set()
    assert OTHERS.keys() & declared() == set()
