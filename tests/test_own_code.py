"""Functions of the user's: found and checked at the start; whatever one does to a record is that record's dead letter."""

from __future__ import annotations

import errno
import functools
import pickle
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.cli.parsing import OWN, mistake, parse
from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ConfigError
from transforms.own_code import MOST_CHARACTERS, OwnCode, load
from transforms.types import Failure

MODULE = """
LIMIT = 3
def clean(record):
    return {"x": record["amount"] / LIMIT}
def two(record, other):
    return record
async def later(record):
    return record
class Shop:
    @staticmethod
    def clean(record):
        return record
"""

BROKEN = {
    "own_raises": "raise ValueError('no key')",
    "own_leaves": "import sys\nsys.exit(3)",
    "own_needs": "import nowhere_to_be_found",
    "own_syntax": "def clean(:",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder has modules, and is not on Python's path."""
    (tmp_path / "own_orders.py").write_text(MODULE)
    for name, text in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    for name in ("own_orders", *BROKEN):
        sys.modules.pop(name, None)


def problem(name: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load("--preprocess", name)
    [only] = caught.value.mistakes
    return only


def test_a_function_of_the_current_folder_is_found() -> None:
    assert load("--preprocess", "own_orders:clean")({"amount": 6}) == {"x": 2}
    assert load("--preprocess", "own_orders:Shop.clean")({"a": 1}) == {"a": 1}
    assert load("--preprocess", dict) is dict


def test_a_file_there_never_stands_in_for_a_package(folder: Path) -> None:
    (folder / "orjson.py").write_text("raise RuntimeError('the wrong one')")
    (folder / "own_user.py").write_text("import orjson\ndef clean(record): return orjson.loads('{}')")
    assert load("--preprocess", "own_user:clean")({}) == {}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_orders.clean", "--preprocess=own_orders.clean: give MODULE:FUNCTION, such as orders:clean"),
        (":clean", "give MODULE:FUNCTION"),
        ("own_ordrs:clean", "there is no module 'own_ordrs' in "),
        ("own_orders.sub:clean", "the module can't be imported: ModuleNotFoundError"),
        ("own_orders:claen", "own_orders has no claen; did you mean clean?"),
        ("own_orders:LIMIT", "is a value of type int, not a function"),
        ("own_orders:two", "is called with one argument, the record's dict: missing a required argument: 'other'"),
        ("own_orders:later", "is asynchronous; give a plain function"),
        ("own_raises:clean", "the module can't be imported: ValueError: no key (<module>, own_raises.py:1)"),
        ("own_leaves:clean", "the module can't be imported: SystemExit: 3"),
        ("own_needs:clean", "the module can't be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("own_syntax:clean", "the module can't be imported: SyntaxError"),
    ],
)
def test_mistakes_are_named_with_their_cure(name: str, says: str) -> None:
    assert says in problem(name)
    assert says in mistake(f"--preprocess={name}")


def test_the_cure_of_a_module_that_is_not_there() -> None:
    text = problem("nowhere:clean")
    assert f"in {Path.cwd()} nor on Python's path" in text
    for cure in ("nowhere.py", "PYTHONPATH", "--setup_file", "--extra_package"):
        assert cure in text


def test_both_flags() -> None:
    config = parse(*OWN, "--preprocess=own_orders:clean", "--postprocess=own_orders:clean")
    assert config.formats.preprocess == config.postprocess == "own_orders:clean"
    assert mistake("--postprocess=own_orders:no").startswith("--postprocess=own_orders:no: own_orders has no no")
    assert "use json, avro, protobuf or bytes" in mistake("--preprocess=own_orders:clean", "--input_format=npy")
    parse(*OWN, "--preprocess=own_orders:clean", "--input_format=bytes", "--features=x=$.y")
    assert "have no fields" in mistake("--preprocess=own_orders:clean", "--input_format=bytes", "--pass_through=y")


def called(function: Any, given: dict[str, Any] | None = None) -> dict[str, Any] | Failure:
    return OwnCode("preprocess", function, DeadLetterClass.PREPROCESS_ERROR)(given or {}, 2)


def failure(function: Any) -> Failure:
    found = called(function)
    assert isinstance(found, Failure)
    assert (found.stage, found.error_class, found.attempts) == ("decode", "PreprocessError", 2)
    return found


def raising(error: BaseException) -> Any:
    def clean(record: dict[str, Any]) -> dict[str, Any]:
        raise error

    return clean


class Unprintable(Exception):  # noqa: N818  # as strangers name theirs
    """An exception whose text can't be had."""

    def __str__(self) -> str:
        raise SystemExit(1)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (KeyError("amount"), "KeyError: 'amount'"),
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit (clean, test_own_code.py:"),
        (OSError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
        (ValueError("two\nlines\x1b[2J"), "ValueError: two\\nlines\\x1b[2J"),
        (Unprintable(), "Unprintable: (its text can't be had: SystemExit)"),
    ],
)
def test_whatever_is_raised_is_a_dead_letter(error: BaseException, says: str) -> None:
    assert f"raised {says}" in failure(raising(error)).message


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOSPC, "full"), OSError(errno.EMFILE, "too many files")])
def test_a_sick_process_is_no_records_fault(error: Exception) -> None:
    with pytest.raises(type(error)):
        called(raising(error))


def test_the_text_is_bounded_and_the_place_is_the_function_s() -> None:
    text = failure(raising(ValueError("é" * 100_000))).message
    assert len(text) < MOST_CHARACTERS + 200
    deep = failure(lambda record: int("x"))
    assert "(<lambda>, test_own_code.py:" in deep.message


def test_ctrl_c_ends_a_program_that_does_not_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        called(raising(KeyboardInterrupt()))
    monkeypatch.setattr(signal, "getsignal", lambda _: lambda *_: None)
    assert "raised KeyboardInterrupt" in failure(raising(KeyboardInterrupt())).message


def test_what_is_no_dict_is_a_dead_letter() -> None:
    assert "returned None; a dict is needed; is its 'return' missing?" in failure(lambda record: None).message
    assert "returned a value of type list; a dict is needed" in failure(lambda record: [1]).message
    assert "a key of type int; keys are strings" in failure(lambda record: {1: 2}).message


def test_a_mapping_is_a_dict_and_a_callable_object_a_function() -> None:
    class Mine(dict[str, Any]):
        pass

    found = called(lambda record: Mine(record), {"a": 1})
    assert type(found) is dict
    assert found == {"a": 1}
    assert called(functools.partial(lambda extra, record: record | extra, {"b": 2}), {"a": 1}) == {"a": 1, "b": 2}


def test_it_goes_to_workers_by_its_name() -> None:
    config = parse(*OWN, "--preprocess=own_orders:clean")
    assert pickle.loads(pickle.dumps(config.formats)) == config.formats


def test_where_a_module_has_no_syntax_is_told_once() -> None:
    """By its own line, not by one of Python's importer."""
    assert problem("own_syntax:clean").endswith(" (own_syntax.py, line 1)")
