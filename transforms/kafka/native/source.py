"""``ReadFromKafka``: the native source, a splittable DoFn on librdkafka. One bundle is one Kafka transaction.

``polling.py`` decides how much a bundle reads. On Flink the source is a loop of timers instead: ``loop.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam

from transforms.coders import RecordChunk
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.loop import EmitShardKeys, PollShards
from transforms.kafka.native.polling import Polling
from transforms.kafka.native.polls import Polls
from transforms.kafka.native.sessions import session
from transforms.kafka.native.shards import Shards
from transforms.kafka.native.sinks import require_sink
from transforms.kafka.stop import StopConditions
from transforms.observe import reporting_failures

_polling: dict[tuple[KafkaConfig, StopConditions], Polling] = {}


class _Read(beam.DoFn):
    def __init__(self, config: KafkaConfig, stop: StopConditions):
        self._config, self._stop = config, stop

    @beam.DoFn.unbounded_per_element()
    def process(self, _: object, tracker: Any = beam.DoFn.RestrictionParam(Polls())) -> Iterator[RecordChunk]:
        """Reads one bundle, and asks to be called again unless it is time to stop."""
        if not tracker.try_claim(tracker.current_restriction()):
            return
        with reporting_failures():
            require_sink(self._config)
            kafka = session(self._config)
            kafka.begin()
            key = self._config, self._stop
            polling = _polling.get(key) or _polling.setdefault(key, Polling(*key))
            if polling.finished(kafka):
                del _polling[key]  # the next job in this process must start with a new budget
                return  # without a deferred remainder the source ends, and the job with it
            yield from polling.chunks(kafka)
            tracker.defer_remainder()


class ReadFromKafka(beam.PTransform):
    """Reads topics as ``KafkaRecord`` elements, streaming, from the group's committed offsets.

    It needs no Java, and it streams on Beam's DirectRunner. The argument names are those of ``apache_beam.io.kafka`` where
    the meaning is the same. ``WriteToKafka`` with the same ``config`` commits the offsets, in the transaction of the
    outputs; a pipeline without it fails at its first bundle, and the error says what to add.

    Args:
        consumer_config: ``bootstrap.servers``, ``group.id`` and any other librdkafka property.
        topics: The topics to read.
        max_num_records: Stop after so many records.
        config: The configuration that source and sink share; replaces ``consumer_config`` and ``topics``.
        stop: All stop conditions; replaces ``max_num_records``.
        chunks: Emit lists of records instead of single records, which costs Beam far less per record.
        shards: The division of the topics among the subtasks of a runner that places shards itself (Flink).
        prepare: With ``shards``: called once in every worker process, before anything is read.

    Raises:
        ValueError: ``consumer_config`` lacks ``bootstrap.servers`` or ``group.id``.
    """

    def __init__(
        self,
        consumer_config: Mapping[str, str] | None = None,
        topics: Sequence[str] = (),
        max_num_records: int | None = None,
        *,
        config: KafkaConfig | None = None,
        stop: StopConditions | None = None,
        chunks: bool = False,
        shards: Shards | None = None,
        prepare: Callable[[], None] | None = None,
    ):
        super().__init__()
        self._config = config or config_from_properties(consumer_config or {}, topics)
        self._stop = stop or StopConditions(max_records=max_num_records)
        self._chunks, self._shards, self._prepare = chunks, shards, prepare

    def expand(self, pbegin: Any) -> Any:
        """Returns the PCollection of records, or of lists of records with ``chunks``."""
        if self._shards is None:
            chunks = (
                pbegin
                | "OneShard" >> beam.Create([0], reshuffle=False)  # a reshuffle would split the stage
                | "Poll" >> beam.ParDo(_Read(self._config, self._stop)).with_output_types(RecordChunk)
            )
        else:
            poll = PollShards(self._config, self._stop, self._shards, self._prepare)
            chunks = (
                pbegin
                | "One" >> beam.Create([0], reshuffle=False)
                | "Shards" >> beam.ParDo(EmitShardKeys(self._shards.keys())).with_output_types(tuple[int, int])
                | "Poll" >> beam.ParDo(poll).with_output_types(RecordChunk)
            )
        return chunks if self._chunks else chunks | "Records" >> beam.FlatMap(lambda records: records)


def config_from_properties(properties: Mapping[str, str], topics: Sequence[str]) -> KafkaConfig:
    """Makes a ``KafkaConfig`` from librdkafka properties.

    Args:
        properties: ``bootstrap.servers``, ``group.id`` and any other property.
        topics: The topics to read.

    Raises:
        ValueError: ``bootstrap.servers`` or ``group.id`` is missing.
    """
    rest = dict(properties)
    missing = [name for name in ("bootstrap.servers", "group.id") if name not in rest]
    if missing:
        raise ValueError(f"consumer_config lacks {' and '.join(missing)}")
    return KafkaConfig(rest.pop("bootstrap.servers"), tuple(topics), rest.pop("group.id"), properties=tuple(rest.items()))
