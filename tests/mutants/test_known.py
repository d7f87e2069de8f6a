"""The list of known mutations keeps up with the code. ``make mutants`` runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.mutants.__main__ import is_killed, main, parse
from tests.mutants.copies import ROOT
from tests.mutants.known import KNOWN, Mutation


@pytest.mark.parametrize("mutation", KNOWN, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_its_file_and_names_a_test(mutation: Mutation) -> None:
    assert (ROOT / mutation.path).read_text().count(mutation.old) == 1
    path, _, test = mutation.test.partition("::")
    assert test in (ROOT / path).read_text()


@pytest.mark.parametrize("words", [["nosuch"], [KNOWN[0].name, "nosuch"]])
def test_a_word_that_fits_none_is_an_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Not "0 of 0 mutations killed", and a success."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith("error: no mutation's name has 'nosuch'; the mutations:\n")
    assert all(f"\n  {mutation.name}\n" in said.err for mutation in KNOWN)


def test_help_is_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert not ended.value.code
    assert "usage: python -m tests.mutants [-h] [WORD ...]" in capsys.readouterr().out


def test_words_choose_mutations() -> None:
    assert parse([]) == KNOWN
    assert KNOWN[0] in parse([KNOWN[0].name])
    assert len(parse([KNOWN[0].name])) < len(KNOWN)


@pytest.mark.parametrize(
    ("statuses", "killed"),
    [([1], True), ([0, 0], False), ([0, 1], True), ([-11, 1], True), ([-11, 0], False), ([0, -11], False)],
    ids=str,
)
def test_a_mutation_is_killed_by_a_failure_with_one_of_two_seeds(
    statuses: list[int], killed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crash says nothing: SIGSEGV in a C extension was seen once in continuous integration."""
    left, seeds = iter(statuses), []

    def run(_copy: Path, _tests: Sequence[str], _timeout_s: float, seed: int) -> tuple[int, str]:
        seeds.append(seed)
        return next(left), "Fatal Python error"

    (tmp_path / "code.py").write_text("one\n")
    mutation = Mutation("a name", "code.py", "one", "two", "test.py")
    assert is_killed(mutation, tmp_path, run) is killed
    assert not list(left)
    assert seeds == list(range(len(statuses)))
    said = capsys.readouterr().out
    assert ("a name: attempt 1 ended with -11" in said) is (statuses[0] == -11)
    assert ("a name: attempt 1 passed" in said) is (statuses[0] == 0)


def test_a_test_that_always_crashes_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("one\n")
    with pytest.raises(RuntimeError, match=r"^a name: its test can't be run: test\.py$"):
        is_killed(Mutation("a name", "code.py", "one", "two", "test.py"), tmp_path, lambda *_: (-11, "Fatal Python error"))
    assert (tmp_path / "code.py").read_text() == "one\n"
