"""``ToRows``: records as rows with a schema, for Beam's transforms that take fields by their names."""

# Without "from __future__ import annotations", and with Optional: Beam reads the types of the rows below when they run,
# and takes a type that is text, and bytes | None, for Any.

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import apache_beam as beam
from apache_beam import coders

from transforms.types import KafkaRecord


class KafkaHeader(NamedTuple):
    """One header of a ``KafkaRow``.

    Attributes:
        key: Its name.
        value: Its value, which may be null.
    """

    key: str
    value: Optional[bytes]  # noqa: UP045


class KafkaRow(NamedTuple):
    """A record with a schema; the fields are those of ``KafkaRecord``.

    Attributes:
        topic: The topic it was read from.
        partition: Its partition.
        offset: Its offset.
        timestamp_ms: Milliseconds since the epoch; ``None`` where the record has none.
        key: The key; ``None`` is a null key.
        value: The value; ``None`` is a tombstone.
        headers: The headers in their order; names may repeat.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: Optional[int]  # noqa: UP045
    key: Optional[bytes]  # noqa: UP045
    value: Optional[bytes]  # noqa: UP045
    headers: Sequence[KafkaHeader]


for _type in (KafkaHeader, KafkaRow):
    coders.registry.register_coder(_type, coders.RowCoder)


def row_of(record: KafkaRecord) -> KafkaRow:
    """Returns the row of a record. Headers that can't be read are left out."""
    return KafkaRow(*record[:6], [KafkaHeader(*header) for header in record.headers])


class ToRows(beam.PTransform):
    """Makes a ``KafkaRow`` of each ``KafkaRecord``: for ``GroupBy``, ``Select``, ``SqlTransform``, DataFrames, and I/O that
    asks for a schema. The elements keep their event time.
    """

    def expand(self, records: Any) -> Any:
        """Returns the PCollection of rows."""
        return records | beam.Map(row_of).with_output_types(KafkaRow)
