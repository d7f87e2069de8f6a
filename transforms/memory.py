"""``Memory``: how much memory the records in a worker process may take, and how that budget is shared out.

A record is in several places on its way. Each of them is bounded by a share of one budget:

=============  =====  ====================================================================================================
share          of it  what it bounds
=============  =====  ====================================================================================================
``queue``      1/6    librdkafka's queue of fetched records (``queued.max.messages.kbytes``), of all partitions together
``fetch``      1/12   one answer to a fetch (``fetch.max.bytes``), by which the queue may exceed its share; and one poll
``in_flight``  1/6    the records whose predictions are not written yet. Each is in memory up to four times: the record, its
                      tensors, the request's message and its encoded form. This is the largest part of the budget
``request``    1/48   one request, and one chunk: a chunk is parsed as a whole, and parsed JSON takes five times its size
``bundle``     1/2    the records that a bundle reads, and the outputs that it keeps until their commit is final. Most
                      records are released long before, but the outputs are in librdkafka's queue as well
=============  =====  ====================================================================================================

All shares together are more than the budget, but they are never full at once: a bundle of large records ends by its bytes,
and large outputs end it earlier. A share is exceeded by one record at most: a record larger than the share must get through.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from transforms.types import KafkaRecord, OutputRecord

MB = 1 << 20

DEFAULT_MB = 256
"""The default of ``--memory_mb``."""

BASE_MB = 180
"""What a worker process takes before its first record: Python, Beam, gRPC and librdkafka (measured: 171 to 179)."""

LEAST_MB = BASE_MB + 24
"""The lowest ``--memory_mb``: with less, one record of 1 MB would exceed several shares."""

MOST_QUEUE_BYTES, MOST_FETCH_BYTES, MOST_BUNDLE_BYTES = 2_097_151 << 10, 1_000_000_000, 1 << 40
"""librdkafka takes no higher ``queued.max.messages.kbytes``; of ``fetch.max.bytes`` and ``queue.buffering.max.kbytes`` it
would take twice as much, but ``receive.message.max.bytes`` has to be more than the former."""

RECORD_BYTES = 320
"""What a record takes beside its key, value and headers: its tuple, its numbers, the objects around its bytes."""

HEADER_BYTES = 150
"""The same of a header."""

VALUE_BYTES = 40
"""What a value of an answer takes as an object, such as a number in a list."""

_KEY_OF, _VALUE_OF, _HEADERS_OF = map(operator.itemgetter, (4, 5, 6))  # of a KafkaRecord
_OUTPUT_KEY_OF, _OUTPUT_VALUE_OF, _OUTPUT_HEADERS_OF = map(operator.itemgetter, (1, 2, 3))


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """What the records in a worker process may take.

    Attributes:
        budget: Bytes, for all of them together.
    """

    budget: int = (DEFAULT_MB - BASE_MB) * MB

    @classmethod
    def of_process(cls, total_mb: int) -> Memory:
        """Returns what the records may take if the whole process is to take ``total_mb``."""
        return cls(max(total_mb, LEAST_MB) * MB - BASE_MB * MB)

    @property
    def queue(self) -> int:
        """Most bytes that librdkafka keeps fetched ahead."""
        return min(self.budget // 6, MOST_QUEUE_BYTES)

    @property
    def fetch(self) -> int:
        """Most bytes of an answer to a fetch, and about the bytes of a poll."""
        return min(self.budget // 12, MOST_FETCH_BYTES)

    @property
    def in_flight(self) -> int:
        """Most bytes of the records that wait for their predictions."""
        return self.budget // 6

    @property
    def request(self) -> int:
        """Most bytes of the records of one request, and of one chunk."""
        return self.budget // 48

    @property
    def bundle(self) -> int:
        """Bytes read and written at which a bundle reads no more."""
        return min(self.budget // 2, MOST_BUNDLE_BYTES)


def records_bytes(records: Collection[KafkaRecord]) -> int:
    """Returns about how many bytes records take together, in half the time of ``sizes_of``."""
    return (
        len(records) * RECORD_BYTES
        + _bytes_of(_KEY_OF, records)
        + _bytes_of(_VALUE_OF, records)
        + sum(map(_header_bytes, filter(None, map(_HEADERS_OF, records))))
    )


def sizes_of(records: Iterable[KafkaRecord]) -> list[int]:
    """Returns about how many bytes each record takes."""
    return [
        RECORD_BYTES + len(key or b"") + (0 if value is None else len(value)) + (_header_bytes(headers) if headers else 0)
        for _, _, _, _, key, value, headers in records
    ]


def output_bytes(outputs: Collection[OutputRecord]) -> int:
    """Returns about how many bytes outputs take together."""
    return (
        len(outputs) * RECORD_BYTES
        + _bytes_of(_OUTPUT_KEY_OF, outputs)
        + _bytes_of(_OUTPUT_VALUE_OF, outputs)
        + HEADER_BYTES * sum(map(len, map(_OUTPUT_HEADERS_OF, outputs)))
    )


def _bytes_of(field: Callable[[Any], Any], items: Collection[KafkaRecord | OutputRecord]) -> int:
    try:
        return sum(map(len, map(field, items)))  # no Python code for an item: it is done for every record
    except TypeError:  # some have none
        return sum([len(text) for text in map(field, items) if text is not None])


def values_bytes(values: Sequence[object] | np.ndarray) -> int:
    """Returns about how many bytes the rows of one output of an answer take."""
    if isinstance(values, np.ndarray):
        return int(values.nbytes) if values.dtype != object else sum(map(_leaf_bytes, values.flat))
    return sum(map(_leaf_bytes, values))


def _leaf_bytes(value: object) -> int:
    if isinstance(value, bytes | str):
        return VALUE_BYTES + len(value)
    if isinstance(value, list | tuple):
        return sum(map(_leaf_bytes, value), VALUE_BYTES)
    if isinstance(value, dict):
        return sum(map(_leaf_bytes, value.values()), VALUE_BYTES)
    return VALUE_BYTES


def _header_bytes(headers: Sequence[tuple[str, bytes | None]]) -> int:
    return sum([HEADER_BYTES + len(name) + len(value or b"") for name, value in headers])


def cut(records: Sequence[KafkaRecord], most: int, most_bytes: int) -> tuple[list[tuple[int, int]], int]:
    """Cuts records into runs of at most ``most`` of them and ``most_bytes`` together, or one that is larger.

    Returns:
        The index of each run's first record, and the one after its last; and how many bytes all of them take.
    """
    total = records_bytes(records)
    if total <= most_bytes:  # nearly always: no look at single ones
        return [(start, min(start + most, len(records))) for start in range(0, len(records), most)], total
    return list(runs(sizes_of(records), most, most_bytes)), total


def runs(sizes: Sequence[int], most: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Cuts items into runs of at most ``most`` of them and ``most_bytes`` together, or one that is larger.

    Yields:
        The index of a run's first item, and the one after its last.
    """
    if not sizes:
        return
    start = taken = 0
    for at, size in enumerate(sizes):
        if at > start and (at - start == most or taken + size > most_bytes):
            yield start, at
            start, taken = at, 0
        taken += size
    yield start, len(sizes)
