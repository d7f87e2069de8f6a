"""``WriteToKafka``: predictions and dead letters of a bundle, committed together with the source's offsets."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.sessions import bundle_session, leave
from transforms.observe import reporting_failures
from transforms.types import OutputRecord


class _Write(beam.DoFn):
    def __init__(self, config: KafkaConfig):
        self._config = config

    def process(self, records: list[OutputRecord]) -> None:
        """Adds records to the bundle's transaction."""
        with reporting_failures():
            bundle_session(self._config).write(records)

    def finish_bundle(self) -> None:
        """Commits outputs and offsets; what can't be committed is rolled back and read again."""
        with reporting_failures():
            bundle_session(self._config).commit()
        leave(self._config)


class WriteToKafka(beam.PTransform):
    """Writes ``OutputRecord`` elements (or lists of them) and commits the offsets of what was read for them.

    It rests on every outcome of a bundle reaching it in that bundle, so there may be no GroupByKey or Reshuffle between
    ``ReadFromKafka`` and here.

    Args:
        config: The same value that ``ReadFromKafka`` was given.
        chunks: Whether the elements are lists of records; far cheaper.
    """

    def __init__(self, config: KafkaConfig, *, chunks: bool = False):
        super().__init__()
        self._config, self._chunks = config, chunks

    def expand(self, records: Any) -> Any:
        """Builds the sink."""
        lists = records if self._chunks else records | "Lists" >> beam.Map(lambda record: [record])
        return lists | "Commit" >> beam.ParDo(_Write(self._config))
