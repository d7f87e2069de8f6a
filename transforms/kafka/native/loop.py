"""The source on engines that place shards themselves (Flink): a timer of each shard's key that polls and sets itself anew.

    EmitShardKeys  a key for each shard, once; keeps the watermark back
        │ by key: each shard to a subtask of its own
    PollShards     the loop of each shard, fused with everything behind it

Why not the splittable DoFn of ``source.py``: Flink's runner keeps one restriction for every bundle of such a source, and
never clears it (https://github.com/apache/beam/issues/27648, open), so memory and checkpoints grow with every poll. A timer
that is set again is one entry, however long the job runs. Flink's checkpoints hold only that timer. The positions are in
Kafka: from whichever checkpoint Flink restores, a shard reads from the committed offsets.
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
from transforms.kafka.stop import StopConditions
from transforms.observe import reporting_failures

WAKE_S = 24 * 3600
"""How often ``EmitShardKeys`` wakes up, so that it never ends."""


class EmitShardKeys(beam.DoFn):
    """Emits the shards' keys once, and never ends.

    A timer of the global window is dropped once the watermark has passed the window's end. Behind an ``Impulse`` it passes
    at once; an unbounded source that has not ended keeps it back. Cost: one leaked restriction a day (Beam 27648).

    Args:
        keys: Of the shards, in order.
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
    """``(key of a shard, its index)`` in, its records out, for as long as the job runs.

    Args:
        config: The job's.
        stop: When to stop.
        shards: How the job is divided.
        prepare: Called once in every worker process, before anything is read.
        enter: Gives a shard's session to the bundle that begins.
        abandon: Gives up the sessions of a bundle that has failed.
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
        """Prepares the process, and starts with no memory of former bundles."""
        self._polling: dict[int, Polling] = {}
        if self._prepare is not None:
            self._prepare()

    def process(self, element: tuple[int, int], again: Any = beam.DoFn.TimerParam(AGAIN)) -> None:
        """Starts a shard."""
        again.set(Timestamp.now())

    @on_timer(AGAIN)
    def poll(self, key: Any = beam.DoFn.KeyParam, again: Any = beam.DoFn.TimerParam(AGAIN)) -> Iterator[RecordChunk]:
        """Reads one bundle of a shard, and asks to be called again unless it is time to stop."""
        shard = self._shard_of[key]
        with reporting_failures():
            kafka = self._enter(SessionKey(self._config, shard, self._count))
            kafka.begin()
            if shard not in self._polling:
                self._polling[shard] = Polling(self._config, self._stop.of_shard(shard, self._count))
            polling = self._polling[shard]
            if polling.finished(kafka):
                del self._polling[shard]
                return
            yield from polling.chunks(kafka)
            again.set(Timestamp.now())

    def teardown(self) -> None:
        """After a bundle that failed, in its thread: gives its sessions up."""
        self._abandon(self._config)
