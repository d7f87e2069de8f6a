"""The native source on Flink: each shard has a key and a timer; the timer reads one bundle and is set again.

    EmitShardKeys  emits a key for each shard, once; holds back the watermark
        │ by key: each shard to a subtask of its own
    PollShards     the timer loop of each shard, fused with all stages after it

Why not the splittable DoFn of ``source.py``: for every bundle of such a source, Beam's Flink runner keeps a restriction that
it never clears (https://github.com/apache/beam/issues/27648, open). Memory and checkpoints grow with every poll. A timer
that is set again is one entry, however long the job runs, and Flink's checkpoints hold only that entry. The positions are in
Kafka: whichever checkpoint Flink restores, a shard reads from the committed offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import TimerSpec, on_timer
from apache_beam.utils.timestamp import Duration, Timestamp

from transforms.coders import RecordChunk
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.polling import Polling
from transforms.kafka.native.polls import Polls
from transforms.kafka.native.session import Session
from transforms.kafka.native.sessions import SessionKey, abandon, enter
from transforms.kafka.native.shards import Shards
from transforms.kafka.native.sinks import require_sink
from transforms.kafka.stop import StopConditions
from transforms.observe import reporting_failures

WAKE_S = 24 * 3600
"""Seconds between two wake-ups of ``EmitShardKeys``. It defers its remainder for so long each time, and never ends."""


class EmitShardKeys(beam.DoFn):
    """Emits the keys of the shards once, and never ends.

    Beam drops a timer of the global window once the watermark has passed the end of the window. After an ``Impulse`` the
    watermark passes it at once. An unbounded source that has not ended holds the watermark back, so this DoFn is one. Cost:
    one leaked restriction a day (Beam 27648).

    Args:
        keys: The keys of the shards, in order.
    """

    def __init__(self, keys: list[int]):
        self._keys = keys

    @beam.DoFn.unbounded_per_element()
    def process(self, _: object, tracker: Any = beam.DoFn.RestrictionParam(Polls())) -> Iterator[tuple[int, int]]:
        """Emits ``(key, index)`` of every shard the first time."""
        lap = tracker.current_restriction()
        if tracker.try_claim(lap):
            if lap == 0:
                yield from ((key, index) for index, key in enumerate(self._keys))
            tracker.defer_remainder(Duration(WAKE_S))


AGAIN = TimerSpec("again", TimeDomain.REAL_TIME)


class PollShards(beam.DoFn):
    """Reads the records of shards, until it is time to stop. Takes one element ``(key, index)`` per shard; emits chunks.

    Args:
        config: The job's Kafka configuration.
        stop: The stop conditions.
        shards: The division of the job into shards.
        prepare: Called once in every worker process, before anything is read.
        enter: As ``sessions.enter``.
        abandon: As ``sessions.abandon``.
    """

    def __init__(
        self,
        config: KafkaConfig,
        stop: StopConditions,
        shards: Shards,
        prepare: Callable[[], None] | None = None,
        enter: Callable[[SessionKey], Session] = enter,
        abandon: Callable[[KafkaConfig], None] = abandon,
    ):
        self._config, self._stop, self._count, self._prepare = config, stop, shards.count, prepare
        self._enter, self._abandon = enter, abandon
        self._shard_of = {key: index for index, key in enumerate(shards.keys())}

    def setup(self) -> None:
        """Prepares the process and forgets the state of earlier bundles."""
        self._polling: dict[int, Polling] = {}
        if self._prepare is not None:
            self._prepare()

    def process(self, element: tuple[int, int], again: Any = beam.DoFn.TimerParam(AGAIN)) -> None:
        """Starts the timer loop of a shard."""
        again.set(Timestamp.now())

    @on_timer(AGAIN)
    def poll(self, key: Any = beam.DoFn.KeyParam, again: Any = beam.DoFn.TimerParam(AGAIN)) -> Iterator[RecordChunk]:
        """Reads one bundle of a shard, and sets the timer again unless it is time to stop."""
        shard = self._shard_of[key]
        with reporting_failures():
            require_sink(self._config)
            kafka = self._enter(SessionKey(self._config, shard, self._count))
            kafka.begin()
            if shard not in self._polling:
                self._polling[shard] = Polling(self._config, self._stop, ended_outside=True)
            polling = self._polling[shard]
            if polling.finished(kafka):
                del self._polling[shard]
                return
            yield from polling.chunks(kafka)
            again.set(Timestamp.now())

    def teardown(self) -> None:
        """Abandons the sessions of this thread's bundle. Beam calls it after a bundle that failed."""
        self._abandon(self._config)
