"""Records as rows: the schema that Beam sees, and what it makes of them."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.coders import registry
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.typehints.schemas import named_fields_from_element_type

from transforms.kafka.native.rows import KafkaHeader, KafkaRow, ToRows, row_of
from transforms.types import KafkaRecord, UnreadableHeaders

RECORDS = [
    KafkaRecord("in", 0, 7, 1500, b"k", b"value", [("h", b"1"), ("h", None)]),
    KafkaRecord("in", 1, 0, None, None, None, []),
    KafkaRecord("in", 1, 1, -1, b"", b"", UnreadableHeaders("not UTF-8")),
]


def test_a_row_survives_its_coder() -> None:
    """Nulls are not empty values, and the other way round."""
    coder = registry.get_coder(KafkaRow)
    for record in RECORDS:
        row = row_of(record)
        found = coder.decode(coder.encode(row))
        assert found[:6] == row[:6]
        assert [tuple(header) for header in found.headers] == [tuple(header) for header in row.headers]
    assert row_of(RECORDS[0]).headers == [KafkaHeader("h", b"1"), KafkaHeader("h", None)]


def test_beam_knows_the_fields() -> None:
    assert [name for name, _ in named_fields_from_element_type(KafkaRow)] == list(KafkaRecord._fields)


def test_fields_are_taken_by_their_names() -> None:
    with beam.Pipeline(FnApiRunner()) as pipeline:
        rows = pipeline | beam.Create(RECORDS) | ToRows()
        counts = rows | beam.GroupBy("partition").aggregate_field("offset", max, "last")
        assert_that(counts | beam.Map(tuple), equal_to([(0, 7), (1, 1)]))
