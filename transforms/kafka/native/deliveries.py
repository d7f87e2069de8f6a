"""``Deliveries``: collects the outputs that were not written, from the delivery reports of a producer."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence

import confluent_kafka as ck

from transforms.kafka.vendor import REFUSES_RECORD
from transforms.types import OutputRecord

_PURGED = (ck.KafkaError._PURGE_QUEUE, ck.KafkaError._PURGE_INFLIGHT)


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """An output that its topic does not take.

    Attributes:
        record: The output.
        error: Kafka's answer to its batch, or to the record.
        certain: Whether the error is about this record for sure, and not about another one in its batch.
    """

    record: OutputRecord
    error: ck.KafkaError
    certain: bool = False


Report = Callable[[ck.KafkaError | None, object], None]
"""A delivery callback of librdkafka: the error, and the message without its headers and timestamp."""


@dataclasses.dataclass(slots=True)
class Deliveries:
    """The outputs that were not written, since the last ``clear``.

    A message that librdkafka reports does not say which output it was: two may have one key and value. So each output in
    flight has a callback of its own. The callbacks are kept, and serve the next bundle's outputs after ``delivered``: new
    ones for each bundle would make the garbage collector run within it.

    Attributes:
        refused: Those that Kafka does not take.
        bystanders: Those that were in one batch with a refused one, and were not written either.
        failure: The first failure of another kind: its topic and error.
    """

    refused: list[Refusal] = dataclasses.field(default_factory=list)
    bystanders: list[OutputRecord] = dataclasses.field(default_factory=list)
    failure: tuple[str, ck.KafkaError] | None = None
    _in_flight: list[OutputRecord] = dataclasses.field(default_factory=list)
    _reports: list[Report] = dataclasses.field(default_factory=list)

    def expect(self, records: Sequence[OutputRecord]) -> Sequence[Report]:
        """Returns a delivery callback for each of the outputs that are about to be written."""
        in_flight, reports = self._in_flight, self._reports
        start = len(in_flight)
        in_flight.extend(records)
        for at in range(len(reports), len(in_flight)):
            reports.append(functools.partial(self._report, in_flight, at))
        return reports[start : len(in_flight)]

    def delivered(self) -> None:
        """Notes that all reports have come. The callbacks may be used again."""
        self._in_flight.clear()

    def _report(self, in_flight: Sequence[OutputRecord], at: int, error: ck.KafkaError | None, _: object) -> None:
        if error is None or error.code() in _PURGED:
            return
        record = in_flight[at]
        if error.code() in REFUSES_RECORD:
            self.refused.append(Refusal(record, error))
        elif error.code() == ck.KafkaError._INVALID_DIFFERENT_RECORD:
            self.bystanders.append(record)
        elif self.failure is None:
            self.failure = record.topic, error

    def topics(self) -> set[str]:
        """Returns the topics of the outputs in flight."""
        return {record.topic for record in self._in_flight}

    def given_up(self) -> None:
        """Stops waiting for the outputs in flight. Their reports may still come, so the next outputs get new callbacks."""
        self._in_flight, self._reports = [], []

    def clear(self) -> None:
        """Forgets all of them, and what is in flight."""
        self.refused, self.bystanders, self.failure = [], [], None
        self.given_up()

    @property
    def first_refused(self) -> tuple[str, ck.KafkaError] | None:
        """The topic and the error of the first refusal."""
        return (self.refused[0].record.topic, self.refused[0].error) if self.refused else None

    def unwritten(self) -> list[OutputRecord]:
        """Returns the refused outputs and the bystanders."""
        return [*(refusal.record for refusal in self.refused), *self.bystanders]


def from_unwritten_on(outputs: list[OutputRecord], unwritten: Collection[int]) -> list[OutputRecord]:
    """Returns the outputs of a bundle that were not written, and those after them, to write them again.

    An output after a missing one, of the same input partition and to the same topic, is written twice. So the last copies
    of all outputs are in the order of the input.

    Args:
        outputs: All of them.
        unwritten: The indexes of the missing ones.
    """
    behind: set[tuple[str, int, str]] = set()
    again = []
    for at, record in enumerate(outputs):
        path = (record.source[0], record.source[1], record.topic)
        if at in unwritten:
            behind.add(path)
        if path in behind:
            again.append(record)
    return again
