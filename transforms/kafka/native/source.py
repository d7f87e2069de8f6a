"""``ReadFromKafka``: the native source, a splittable DoFn on librdkafka. One bundle is one Kafka transaction.

``polling.py`` decides how much a bundle reads. On Flink and Dataflow the source is a loop of timers instead: ``loop.py`` and
``moving_loop.py``. Without a ``WriteToKafka`` it commits what the runner has finalised: ``alone.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam

from transforms.coders import RecordChunk
from transforms.kafka.config import KafkaConfig
from transforms.kafka.librdkafka import unknown_properties
from transforms.kafka.native.graph import Source, refuse_twice
from transforms.kafka.native.loop import EmitShardKeys, PollShards
from transforms.kafka.native.moving_loop import EmitMovingShards, PollMovingShards
from transforms.kafka.native.poll_records import PollRecords, poll_bundle
from transforms.kafka.native.polls import Polls
from transforms.kafka.native.shards import MovingShards, Shards
from transforms.kafka.native.watermark import Timestamped
from transforms.kafka.stop import StopConditions


class _Read(PollRecords):
    """Reads for a sink alone: it asks for nothing that only the source without one needs, which would cost every bundle."""

    has_sink = True

    @beam.DoFn.unbounded_per_element()
    def process(  # Beam gives each DoFn the parameters that it declares
        self, _: object, tracker: Any = beam.DoFn.RestrictionParam(Polls())
    ) -> Iterator[RecordChunk]:
        """Reads one bundle, and asks to be called again unless it is time to stop."""
        yield from poll_bundle(self._config, self._stop, tracker)


class ReadFromKafka(Source):
    """Reads topics as ``KafkaRecord`` elements, streaming, from the group's committed offsets.

    It needs no Java, and it streams on Beam's DirectRunner. The argument names are those of ``apache_beam.io.kafka`` where
    the meaning is the same.

    ``WriteToKafka`` with the same ``config`` commits the offsets, in the transaction of the outputs: exactly once. In a
    pipeline without it the source commits them itself once the runner has finalised a bundle, which is when it says that the
    results of the bundle are durable: at least once. A runner that never finalises ends the job with an error that says so.

    The records of a partition come in the order of their offsets. Each element has the timestamp of its record; the
    watermark, of a source without ``WriteToKafka``, follows the timestamps: see ``watermark.py``.

    Args:
        consumer_config: ``bootstrap.servers``, ``group.id`` and any other librdkafka property.
        topics: The topics to read.
        max_num_records: Stop after so many records.
        config: The configuration that source and sink share; replaces ``consumer_config`` and ``topics``.
        stop: All stop conditions; replaces ``max_num_records``.
        chunks: Emit lists of records instead of single records, which costs Beam far less per record. Their elements have no
            event time, and the pipeline must have a ``WriteToKafka``.
        shards: The division of the topics among the subtasks of a runner that places shards itself (Flink), or among keys
            that a runner moves between its workers (Dataflow); then ``config`` says so, too.
        prepare: With ``shards``: called once in every worker process, before anything is read.

    Raises:
        ValueError: ``consumer_config`` or the topics can't be used; or ``shards`` move and ``config`` has
            them stay, or the other way round.
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
        shards: Shards | MovingShards | None = None,
        prepare: Callable[[], None] | None = None,
    ):
        super().__init__(config or config_from_properties(consumer_config or {}, topics))
        names: Any = self.config.topics
        if isinstance(names, str):
            raise ValueError(f"config.topics: give a tuple of names, such as ({names!r},)")
        if self.config.shards_move is not isinstance(shards, MovingShards):
            raise ValueError(
                "MovingShards go with KafkaConfig(shards_move=True), for source and sink, and with nothing else"
            )
        self._stop = stop or StopConditions(max_records=max_num_records)
        self._chunks, self._shards, self._prepare = chunks, shards, prepare

    def expand(self, pbegin: Any) -> Any:
        """Returns the PCollection of records, or of lists of records with ``chunks``.

        Raises:
            ValueError: The pipeline reads with this group already.
        """
        refuse_twice(self, pbegin.pipeline)
        if self._shards is None:
            poll = _Read(self.config, self._stop) if self._chunks else PollRecords(self.config, self._stop)
            chunks = (
                pbegin
                | "OneShard" >> beam.Create([0], reshuffle=False)  # a reshuffle would split the stage
                | "Poll" >> beam.ParDo(poll).with_output_types(RecordChunk)
            )
        else:
            emit: beam.DoFn
            loop: beam.DoFn
            if isinstance(self._shards, MovingShards):
                emit = EmitMovingShards(self._shards.count)
                loop = PollMovingShards(self.config, self._stop, self._shards.count, self._prepare)
            else:
                emit = EmitShardKeys(self._shards.keys())
                loop = PollShards(self.config, self._stop, self._shards, self._prepare)
            chunks = (
                pbegin
                | "One" >> beam.Create([0], reshuffle=False)
                | "Shards" >> beam.ParDo(emit).with_output_types(tuple[int, int])
                | "Poll" >> beam.ParDo(loop).with_output_types(RecordChunk)
            )
        return chunks if self._chunks else chunks | "Records" >> beam.ParDo(Timestamped())


def config_from_properties(properties: Mapping[str, str], topics: Sequence[str]) -> KafkaConfig:
    """Makes a ``KafkaConfig`` from librdkafka properties.

    Args:
        properties: ``bootstrap.servers``, ``group.id`` and any other property.
        topics: The topics to read.

    Raises:
        ValueError: ``bootstrap.servers`` or ``group.id`` is missing, librdkafka does not know a property, or ``topics``
            is one name and no list.
    """
    if isinstance(topics, str):
        raise ValueError(f"topics: give a list of names, such as [{topics!r}]")
    rest = dict(properties)
    if unknown := unknown_properties(rest):
        raise ValueError(
            f"consumer_config has {', '.join(unknown)}, which librdkafka does not know; it lacks some of what Kafka's Java "
            "client has, and keys and values are bytes here"
        )
    missing = [name for name in ("bootstrap.servers", "group.id") if name not in rest]
    if missing:
        raise ValueError(f"consumer_config lacks {' and '.join(missing)}")
    return KafkaConfig(rest.pop("bootstrap.servers"), tuple(topics), rest.pop("group.id"), properties=tuple(rest.items()))
