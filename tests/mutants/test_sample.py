"""The sampled mutation run: what is left out, the order, the tests of a module, the table; without cosmic-ray."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mutants import sample
from tests.mutants.copies import ROOT
from tests.mutants.generated import Mutant, parse
from tests.mutants.meaningful import is_meaningful, is_other_code
from tests.mutants.sample import shuffled, try_mutant
from tests.mutants.summary import Outcome, Result, changed_lines, percent_noticed, survivors, table

SOURCE = '''"""Doc | string"""
@dataclass(frozen=True)
class A:
    """Text | text"""
    x: int | None = 1 | 2
def f(é: int | str, y="é" | 3) -> int | str: return y is None
if TYPE_CHECKING: z = 1 | 2
'''


@pytest.mark.parametrize(
    ("line", "text", "meaningful"),
    [(1, "|", False), (2, "True", False), (4, "|", False), (5, "| None", False), (5, "| 2", True), (6, "| str, ", False),
     (6, "| 3", True), (6, "| str:", False), (7, "| 2", False)],
)  # fmt: skip
def test_what_no_test_could_notice_is_left_out(line: int, text: str, meaningful: bool) -> None:
    column = SOURCE.splitlines()[line - 1].index(text)
    assert is_meaningful(SOURCE, "ReplaceBinaryOperator_BitOr_Add", line, column) is meaningful


def test_is_none_and_equals_none_are_the_same() -> None:
    column = SOURCE.splitlines()[5].index("is None")
    assert not is_meaningful(SOURCE, "ReplaceComparisonOperator_Is_Eq", 6, column)
    assert is_meaningful(SOURCE, "ReplaceComparisonOperator_Is_IsNot", 6, column)


def test_only_other_valid_code_is_a_mutant() -> None:
    assert is_other_code("x = 1", "x = 2")
    assert not is_other_code("x = 1", "x  =  1  # text")
    assert not is_other_code("x = 1", "x = = 1")


def test_a_seed_gives_the_same_order_again(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("x: int | str = 1\n" + "y = 1 + 1\n" * 50)
    mutants = [Mutant("m.py", line, 6, "AddNot", line) for line in range(2, 52)]
    first = shuffled(mutants, tmp_path, 7)
    assert first == shuffled(mutants[::-1], tmp_path, 7) != shuffled(mutants, tmp_path, 8)
    assert sorted(first) == mutants
    annotation = Mutant("m.py", 1, 7, "AddNot", 0)
    assert shuffled([annotation], tmp_path, 7) == []


def test_a_modules_own_tests_come_first_and_the_folders_follow() -> None:
    tests = sample.test_files("transforms/kafka/native/session.py", ROOT)
    assert tests[0] == "tests/kafka/native/test_session.py"
    assert "tests/kafka/native/test_states.py" in tests[1:]
    assert "tests/predict/test_dofn.py" in sample.test_files("transforms/predict/request_loop.py", ROOT)


def test_what_cosmic_ray_dumps_is_read() -> None:
    change = {"module_path": "a.py", "operator_name": "core/AddNot", "occurrence": 3, "start_pos": [4, 5]}
    assert list(parse(json.dumps([{"mutations": [change]}, None]))) == [Mutant("a.py", 4, 5, "AddNot", 3)]


@pytest.mark.parametrize(("value", "outcome"), [("1", Outcome.SURVIVED), ("2", Outcome.KILLED)])
def test_a_mutant_is_run_and_taken_back(tmp_path: Path, value: str, outcome: Outcome) -> None:
    module, tests = tmp_path / "transforms/p/m.py", tmp_path / "tests/p/test_m.py"
    for path, text in ((module, "x = 1 + 0\n"), (tests, "from transforms.p.m import x\ndef test(): assert x == 1\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    mutant = Mutant("transforms/p/m.py", 1, 4, "AddNot", 0)
    result = try_mutant(tmp_path, mutant, lambda _: module.write_text(f"x = {value}\n"), 60)
    assert result == Result(mutant, outcome, ("-x = 1 + 0", f"+x = {value}"))
    assert module.read_text() == "x = 1 + 0\n"


def test_the_table_counts_by_module_and_the_survivors_show_their_change() -> None:
    first, second = Mutant("a.py", 9, 0, "AddNot", 0), Mutant("b.py", 2, 0, "NumberReplacer", 1)
    change = changed_lines("a\nx = 1\nb", "a\nx = 2\nb")
    results = [
        Result(second, Outcome.SURVIVED, change), Result(first, Outcome.KILLED, change),
        Result(first, Outcome.TIMED_OUT, change),
        Result(first, Outcome.KILLED, change),
    ]  # fmt: skip
    rows = [line.split() for line in table(results).splitlines()[1:]]
    assert rows == [["a.py", "3", "2", "0", "1"], ["b.py", "1", "0", "1", "0"], ["all", "4", "2", "1", "1"]]
    assert survivors(results) == "b.py:2  NumberReplacer\n    -x = 1\n    +x = 2"
    assert percent_noticed(results) == 75
