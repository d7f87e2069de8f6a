"""``OwnCode``: a function of the user's (``--preprocess``, ``--postprocess``), called for one record at a time.

If it raises or returns no dict, its record is a dead letter: nothing that it does to a record ends the job or affects other
records. Errors that show a fault of the process (``errors.is_sick``) are raised instead: no record is to blame for them.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import importlib
import importlib.util
import inspect
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ConfigError, is_sick
from transforms.printable import shortened
from transforms.types import Failure

Function = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a record's dict and returns a dict: the same one, changed, or another."""

OwnFunction = str | Function
"""``MODULE:FUNCTION``, which is imported where the records are, or the function itself."""

PATTERN = r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*"
"""What ``MODULE:FUNCTION`` looks like."""

MOST_CHARACTERS = 500
"""Of the text of an exception."""


class OwnCode:
    """Calls one function.

    Args:
        option: ``preprocess`` or ``postprocess``: the option that gave it.
        function: The function, or its name.
        kind: The class of the dead letters of records that it fails on.

    Raises:
        ConfigError: There is no such function, or it can't be called with one dict; the message has the cure.
    """

    def __init__(self, option: str, function: OwnFunction, kind: DeadLetterClass):
        named = function if isinstance(function, str) else getattr(function, "__qualname__", type(function).__qualname__)
        self._what = f"--{option}={named}" if isinstance(function, str) else f"{option} {named}"
        self._function = load(f"--{option}" if isinstance(function, str) else option, function)
        self._file = getattr(getattr(inspect.unwrap(self._function), "__code__", None), "co_filename", None)
        self._kind = kind

    def __call__(self, given: dict[str, Any], attempts: int = 0) -> dict[str, Any] | Failure:
        """Returns what the function makes of a record's dict, or why the record is a dead letter.

        Args:
            given: The dict, which the function may change.
            attempts: How many requests the record was part of.

        Raises:
            MemoryError: The process is sick, and no record is to blame.
            OSError: The same.
        """
        try:
            made = self._function(given)
            if isinstance(made, Mapping) and type(made) is not dict:
                made = dict(made)
        except BaseException as error:  # sys.exit() in a stranger's function is about this record, too
            if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                raise  # Ctrl-C, of a program that does not drain on signals
            if is_sick(error):
                raise
            return self.failure(f"raised {exception_text(error, self._file)}", attempts)
        if type(made) is not dict:
            forgotten = "; is its 'return' missing?" if made is None else ""
            return self.failure(f"returned {_kind_of(made)}; a dict is needed{forgotten}", attempts)
        if not all(type(name) is str for name in made):
            wrong = next(name for name in made if type(name) is not str)
            return self.failure(f"returned a dict with a key of type {type(wrong).__name__}; keys are strings", attempts)
        return made

    def failure(self, what: str, attempts: int = 0) -> Failure:
        """Returns the failure of a record.

        Args:
            what: What the function did.
            attempts: How many requests the record was part of.
        """
        return self._kind.failure(f"{self._what} {what}", attempts)


def load(option: str, function: OwnFunction) -> Function:
    """Returns the function, imported if it is given by its name, and checks that it can be called.

    A module that is not on Python's path is looked for in the current folder, too.

    Args:
        option: The option's name for messages, such as ``--preprocess``.
        function: The function, or its name.

    Raises:
        ConfigError: See ``OwnCode``.
    """
    if isinstance(function, str):
        what = f"{option}={function}"
        found = _imported(what, function)
    else:
        what, found = option, function
    if not callable(found):
        raise ConfigError([f"{what}: is {_kind_of(found)}, not a function"])
    if asyncio.iscoroutinefunction(found):
        raise ConfigError([f"{what}: is asynchronous; give a plain function (def), which takes a dict and returns one"])
    try:
        inspect.signature(found).bind({})
    except TypeError as error:
        raise ConfigError([f"{what}: is called with one argument, the record's dict: {text_of(error)}"]) from error
    except ValueError:
        pass  # a function of C that does not tell its arguments
    checked: Function = found
    return checked


def _imported(what: str, name: str) -> Any:
    if not re.fullmatch(PATTERN, name):
        raise ConfigError([f"{what}: give MODULE:FUNCTION, such as orders:clean for the function clean of orders.py"])
    module, _, attribute = name.partition(":")
    top = module.partition(".")[0]
    try:
        if importlib.util.find_spec(top) is None and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # last: a file there never stands in for a package that is installed
            importlib.invalidate_caches()
        loaded = importlib.import_module(module)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, ModuleNotFoundError) and error.name == top:
            raise ConfigError([
                f"{what}: there is no module '{top}' in {Path.cwd()} nor on Python's path; start where "
                f"{top}.py is, set PYTHONPATH to its folder, or, for workers on other machines, send it along by "
                "--setup_file or --extra_package"
            ]) from error  # fmt: skip
        text = f"SyntaxError: {error}" if isinstance(error, SyntaxError) else exception_text(error)  # it has its own place
        raise ConfigError([f"{what}: the module can't be imported: {text}"]) from error
    try:
        return functools.reduce(getattr, attribute.split("."), loaded)
    except AttributeError as error:
        near = difflib.get_close_matches(attribute, [known for known in vars(loaded) if not known.startswith("_")], 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError([f"{what}: {module} has no {attribute}{hint}"]) from error


def exception_text(error: BaseException, file: str | None = None) -> str:
    """Returns an exception's type, its text (bounded, on one line) and where it was raised.

    Args:
        error: The exception.
        file: The file whose last line counts; else the last one of all.
    """
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if frame[0].co_filename == file] or frames
    where = f" ({ours[-1][0].co_name}, {Path(ours[-1][0].co_filename).name}:{ours[-1][1]})" if ours else ""
    text = text_of(error)
    return f"{type(error).__qualname__}{f': {text}' if text else ''}{where}"


def text_of(error: BaseException) -> str:
    """Returns an exception's text: bounded, on one line."""
    try:
        text = str(error)
    except BaseException as raised:  # noqa: BLE001  # a stranger's __str__
        return f"(its text can't be had: {type(raised).__name__})"
    return shortened(text, MOST_CHARACTERS)


def _kind_of(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__qualname__}"
