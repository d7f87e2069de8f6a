"""``WriteToKafkaNative``: rows as Kafka's records, committed together with the offsets that were read, for Beam YAML."""

# No `from __future__ import annotations`: Beam YAML reads the types of the fields from the signature.

from typing import Any

import apache_beam as beam

from transforms.beam_yaml.fields import Fields, Schema
from transforms.beam_yaml.score import ScoreWithModel
from transforms.kafka.native.graph import config_before, is_behind, join
from transforms.kafka.native.sink import WriteToKafka
from transforms.types import STAGE_PREDICT, OutputRecord

_FIELDS = Fields("WriteToKafkaNative")

CARRIED = ("topic", "partition", "offset", "timestamp_ms", "key", "headers")
"""The fields of ``ReadFromKafkaNative`` that say which record a row answers, and what its output gets of it."""

VALUES = (bytes, str, bytes | None, str | None)
"""The types that a field with a value may have."""


class WriteToKafkaNative(beam.PTransform):
    """Writes each row as a record, and commits the offsets of what was read in the same transaction.

    A row's output has the key, the timestamp and the headers of the row. It comes from ``ReadFromKafkaNative`` by steps that
    keep the stage: ``MapToFields``, ``Filter``, ``ScoreWithModel``, ``LogForTesting``; none that regroups rows.
    Rows with an ``error_class`` go to the ``dead_letter_topic`` of ``ReadFromKafkaNative``, with the value that was read.

    Args:
        topic: The topic to write to.
        value: The field to write, of text or bytes; ``prediction`` after ``ScoreWithModel``, else ``value``.

    Raises:
        ValueError: A field can't be used.
    """

    def __init__(self, topic: str, value: str | None = None):
        super().__init__()
        self._topic = _FIELDS.text("topic", topic)
        self._value = None if value is None else _FIELDS.text("value", value)

    def expand(self, rows: Any) -> Any:
        """Builds the sink.

        Raises:
            ValueError: The rows do not come from ``ReadFromKafkaNative``, or they lack a field.
        """
        config = config_before(rows)
        if config is None:
            raise _FIELDS.mistake(
                "input",
                "its rows do not come from ReadFromKafkaNative, with whose offsets they are committed; put that before it, "
                "or use another sink",
            )
        try:
            join(rows, config)  # WriteToKafka does so, too; but what ends the stage often loses the schema as well
        except ValueError as error:
            raise _FIELDS.mistake("input", str(error)) from error
        schema = _FIELDS.schema(rows)
        scored = is_behind(rows, ScoreWithModel)
        needed = (*CARRIED, *(("error_class", "value") if scored else ()))
        if missing := _FIELDS.lacking(schema, needed):
            raise _FIELDS.mistake("input", f"{missing}; let MapToFields keep them (append: true)")
        if scored and config.dead_letter_topic is None:
            raise _FIELDS.mistake(
                "input", "some rows of ScoreWithModel may have an error: give ReadFromKafkaNative a dead_letter_topic"
            )
        value = self._value_field(schema, scored=scored)
        outputs = rows | "Outputs" >> beam.Map(
            _output, self._topic, value, config.dead_letter_topic if scored else None
        ).with_output_types(Any)
        return outputs | "Write" >> WriteToKafka(config)

    def _value_field(self, schema: Schema, *, scored: bool) -> str:
        value = self._value or ("prediction" if scored else "value")
        if missing := _FIELDS.lacking(schema, [value]):
            raise _FIELDS.mistake("value", missing)
        if schema[value] not in VALUES:
            raise _FIELDS.mistake(
                "value",
                f"the field {value} is {schema[value]}, neither text nor bytes; give its MapToFields an output_type: string",
            )
        return value


def _output(row: Any, topic: str, value: str, dead_letter_topic: str | None) -> OutputRecord:
    source = (row.topic, row.partition, row.offset)
    headers = [(header.key, header.value) for header in row.headers]
    if dead_letter_topic is not None and row.error_class is not None:
        return OutputRecord(dead_letter_topic, row.key, row.value, headers, row.timestamp_ms, source, STAGE_PREDICT)
    written = getattr(row, value)
    if isinstance(written, str):
        written = written.encode()
    return OutputRecord(topic, row.key, written, headers, row.timestamp_ms, source, None)
