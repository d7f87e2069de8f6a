"""What is in flight between source and sink: the bundle that is read now, and the commit of the one before."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable
from typing import Any

from transforms.kafka.config import Partition
from transforms.types import OutputRecord


@dataclasses.dataclass(slots=True)
class Bundle:
    """Records on their way from source to sink, and what of them is to be committed.

    Attributes:
        first: Partition to the first offset read: where a rollback goes back to.
        next: Partition to the offset after the last one read: what is committed.
        reads: When records came and how many, a pair a poll.
        read: How many records in all.
        group: The group's metadata when they were read.
        void: Why this bundle can't be committed; ``None`` while it can.
        held_back: Outputs that wait for the rest, or for the commit of the bundle before.
        written: How many outcomes came back.
        dead: Error class to how many of them are dead letters.
    """

    first: dict[Partition, int] = dataclasses.field(default_factory=dict)
    next: dict[Partition, int] = dataclasses.field(default_factory=dict)
    reads: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    read: int = 0
    group: Any = None
    void: str | None = None
    held_back: list[OutputRecord] = dataclasses.field(default_factory=list)
    written: int = 0
    dead: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


@dataclasses.dataclass(slots=True)
class Commit:
    """A commit under way; its result is when it was done."""

    bundle: Bundle
    offsets: dict[Partition, int]
    done_at: concurrent.futures.Future[float]


def at_once(call: Callable[[], float]) -> concurrent.futures.Future[float]:
    """Runs a commit here and now, as an executor would elsewhere."""
    done: concurrent.futures.Future[float] = concurrent.futures.Future()
    try:
        done.set_result(call())
    except Exception as error:  # noqa: BLE001  # it is raised again by result(), as if it had run elsewhere
        done.set_exception(error)
    return done
