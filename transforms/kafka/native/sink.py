"""``WriteToKafka``: writes predictions and dead letters, and commits them together with the offsets of the source."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.graph import join
from transforms.kafka.native.sessions import bundle_session, leave
from transforms.kafka.native.sinks import note_sink
from transforms.observe import reporting_failures
from transforms.types import OutputRecord


class _Write(beam.DoFn):
    def __init__(self, config: KafkaConfig):
        self._config = config

    def setup(self) -> None:
        """Tells the source that it is not alone."""
        note_sink(self._config)

    def process(self, records: list[OutputRecord]) -> None:
        """Writes records in the bundle's transaction."""
        with reporting_failures():
            bundle_session(self._config).write(records)

    def finish_bundle(self) -> None:
        """Commits outputs and offsets. A bundle that can't be committed is rolled back, and its records are read again."""
        with reporting_failures():
            bundle_session(self._config).commit()
            leave(self._config)


def as_list(record: Any) -> Any:
    """Returns a list of the one record. Its types are open: Beam takes hints for orders.

    Raises:
        TypeError: It is none, such as a pair of key and value, which Beam's own sink takes.
    """
    if not isinstance(record, OutputRecord):
        raise TypeError(
            f"WriteToKafka takes OutputRecord elements, made by OutputRecord.answering(record, topic, value), and one is a "
            f"{type(record).__name__}"
        )
    return [record]


class WriteToKafka(beam.PTransform):
    """Writes ``OutputRecord`` elements, or lists of them, and commits the offsets of the records that they answer.

    All outcomes of a bundle must arrive in that same bundle. So there must be no GroupByKey, Reshuffle or Flatten between
    ``ReadFromKafka`` and this transform.

    Args:
        config: The value that ``ReadFromKafka`` was given.
        chunks: Whether the elements are lists of records, which costs Beam far less per record.
    """

    def __init__(self, config: KafkaConfig, *, chunks: bool = False):
        super().__init__()
        self._config, self._chunks = config, chunks

    def expand(self, records: Any) -> Any:
        """Builds the sink, and tells the source before it that it has one.

        Raises:
            ValueError: There is no ``ReadFromKafka`` of this configuration before it, or what is between ends the stage.
        """
        join(records, self._config)
        lists = records if self._chunks else records | "Lists" >> beam.Map(as_list)
        return lists | "Commit" >> beam.ParDo(_Write(self._config))
