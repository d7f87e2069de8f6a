"""Internal errors: unexpected exceptions of this program or of a library, raised while one record is worked on.

Such an exception must not end the job, which would end at the same record again at every start. So the work is repeated
for each record alone. A record for which it raises again is a dead letter of class ``InternalError``; the rest of the bundle
goes on. Exceptions that are not about the record (``NO_RECORDS_FAULT``) are raised as before.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import ScoringError
from transforms.types import Failure

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

NO_RECORDS_FAULT = (MemoryError, OSError, ImportError, ScoringError)
"""Exceptions that are not about a record: of the process, its disk, network or installation; and those of this project."""

REPORT = "a bug of this program, please report it"

_told: set[tuple[str, str, str]] = set()
_telling = threading.Lock()


def is_internal(error: BaseException) -> bool:
    """Whether an exception is an unexpected one, which the record may have caused."""
    return isinstance(error, Exception) and not isinstance(error, NO_RECORDS_FAULT)


def kind_and_place(error: Exception) -> str:
    """Returns an exception's type and where it was raised. Not its text, which may hold a part of the record."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return name
    last = frames[-1]
    return f"{name} in {last.name} ({'/'.join(Path(last.filename).parts[-3:])}:{last.lineno})"


def internal_failure(stage: str, error: Exception, attempts: int = 0) -> Failure:
    """Returns the failure of the record for which ``error`` was raised, and says in the log once that it is a bug.

    Args:
        stage: ``decode``, ``predict`` or ``encode``.
        error: What was raised.
        attempts: How many requests the record was part of.
    """
    what = kind_and_place(error)
    tell(stage, error)
    return DeadLetterClass.INTERNAL_ERROR.failure(f"{REPORT}: {stage} raised {what}", attempts, stage)


def tell(stage: str, error: Exception) -> None:
    """Says in the log that an exception is a bug to report: once for each kind and place in each process."""
    frames = traceback.extract_tb(error.__traceback__)
    key = (stage, type(error).__qualname__, f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "")
    with _telling:
        if key in _told:
            return
        _told.add(key)
    calls = "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames[-20:])
    log.error(
        "%s: %s raised %s for a record, which is a dead letter of class %s; the rest goes on. Said once.%s",
        REPORT,
        stage,
        kind_and_place(error),
        DeadLetterClass.INTERNAL_ERROR.error_class,
        calls,
    )


def one_by_one(work: Callable[[Any], R], items: Sequence[T], failed: Callable[[T, Exception], R]) -> list[R]:
    """Works on all items at once; if that raises an unexpected exception, on each of them alone.

    Args:
        work: Works on some of the items, which are of the type of ``items``.
        items: The items.
        failed: Makes the result of an item for which ``work`` raised although it was alone.

    Returns:
        The results of ``work`` and ``failed``, which cover all items in their order.
    """
    try:
        return [work(items)]
    except Exception as error:
        if not is_internal(error):
            raise
    results: list[R] = []
    for at, item in enumerate(items):
        try:
            results.append(work(items[at : at + 1]))
        except Exception as error:
            if not is_internal(error):
                raise
            results.append(failed(item, error))
    return results
