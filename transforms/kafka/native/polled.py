"""``Polled``: what ``Polling`` reads from: a session that commits in its sink, or one that only reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from transforms.kafka.config import Partition
from transforms.kafka.native.bundle import Carried
from transforms.kafka.native.consumer import Reader
from transforms.types import KafkaRecord


class PolledCommits(Protocol):
    """What was committed of a session's records, or counts as committed while it is on its way."""

    def position(self, partition: Partition) -> int:
        """Returns the offset from which the group goes on, as far as the session knows it; -1 if it does not."""

    def take_count(self) -> int:
        """Returns the number of records that are used up since the last call; negative where more were given back."""


class Polled(Protocol):
    """A session, as far as reading goes."""

    @property
    def reader(self) -> Reader:
        """The consumer."""

    @property
    def commits(self) -> PolledCommits:
        """What it has committed."""

    @property
    def output_bytes(self) -> int:
        """See ``Session.output_bytes``."""

    @property
    def inherited(self) -> Carried:
        """See ``Session.inherited``."""

    def leave_more(self) -> None:
        """See ``Session.leave_more``."""

    def poll(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        """See ``Session.poll``."""

    def poll_nothing(self, wait_s: float) -> None:
        """See ``Session.poll_nothing``."""

    def has_read_beyond(self, end_of: Callable[[Partition], float]) -> bool:
        """See ``Session.has_read_beyond``."""

    def drop(self, records: Sequence[KafkaRecord]) -> None:
        """See ``Session.drop``."""

    def finish_commit(self) -> bool:
        """See ``Session.finish_commit``."""
