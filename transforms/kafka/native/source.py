"""``ReadFromKafka``: a splittable DoFn on librdkafka. One poll, one bundle, one transaction; ``polling.py`` says how much.

In shards, for engines that place them, it is a loop of timers instead: ``loop.py``.
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
            kafka = session(self._config)
            kafka.begin()
            key = self._config, self._stop
            polling = _polling.get(key) or _polling.setdefault(key, Polling(*key))
            if polling.finished(kafka):
                del _polling[key]  # a next job in this process starts with a budget of its own
                return  # nothing deferred: the source has ended, and so the job does
            yield from polling.chunks(kafka)
            tracker.defer_remainder()


class ReadFromKafka(beam.PTransform):
    """Reads topics as ``KafkaRecord`` elements, streaming, from the group's committed offsets.

    Without Java: it streams on Beam's own DirectRunner. The argument names are those of ``apache_beam.io.kafka`` where they
    mean the same. Offsets are committed by ``WriteToKafka`` with the same ``config``, in the transaction of the outputs.

    Args:
        consumer_config: ``bootstrap.servers``, ``group.id`` and any other librdkafka property.
        topics: The topics to read.
        max_num_records: Stop after so many records.
        config: Instead of the above: what source and sink share.
        stop: Instead of ``max_num_records``: all stop conditions.
        chunks: Give lists of records, as they were polled, instead of single records; far cheaper.
        shards: For an engine that places shards itself (Flink): how the topics are divided among its subtasks.
        prepare: With ``shards``: called once in every worker process, before anything is read.
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
        """Builds the source."""
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
    """Makes a ``KafkaConfig`` from a consumer's properties.

    Raises:
        ValueError: ``bootstrap.servers`` or ``group.id`` is missing.
    """
    rest = dict(properties)
    missing = [name for name in ("bootstrap.servers", "group.id") if name not in rest]
    if missing:
        raise ValueError(f"consumer_config lacks {' and '.join(missing)}")
    return KafkaConfig(rest.pop("bootstrap.servers"), tuple(topics), rest.pop("group.id"), properties=tuple(rest.items()))
