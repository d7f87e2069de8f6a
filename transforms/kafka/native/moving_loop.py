"""The native source where a runner moves shards between workers while the job runs (Dataflow). It is as ``loop.py``, but:

* A bundle may run twice, at the same time, and on a worker that has lost the shard. This does no harm: the runner keeps only
  the timer of a bundle, and only Kafka makes reads and writes final. A session that is fenced ends its bundle, and the shard
  waits a little (``takeovers.py``).
* The keys are emitted again every ``LAP_S`` seconds. An updated job continues the laps of the former job, and may have more
  shards than it. A key that has no shard any more ends its loop.
* A drained job must come to an end: a loop that sets its timer again would keep it running. A drain moves the watermark
  past the end of the window, which fires a second timer; from then on nothing is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Duration, Timestamp

from transforms.coders import RecordChunk
from transforms.errors import FencedError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.polling import Polling
from transforms.kafka.native.polls import Polls
from transforms.kafka.native.session import Session
from transforms.kafka.native.sessions import SessionKey, abandon, enter, fenced, wait_s
from transforms.kafka.native.sinks import require_sink
from transforms.kafka.stop import StopConditions
from transforms.observe import reporting_failures

LAP_S = 60
"""Seconds between two laps of the keys: how long a shard that an update adds may wait for its first bundle."""

AGAIN = TimerSpec("again", TimeDomain.REAL_TIME)
DRAIN = TimerSpec("drain", TimeDomain.WATERMARK)
DRAINED = ReadModifyWriteStateSpec("drained", coders.BooleanCoder())


class EmitMovingShards(beam.DoFn):
    """Emits the keys of the shards at every lap, until the job is drained.

    It holds the watermark back, as ``EmitShardKeys``. When the job is drained its restriction, which has no end, is dropped
    (``RestrictionProvider.truncate``), and the watermark moves on.

    Args:
        shards: The number of shards; their keys are 0, 1, 2 …
    """

    def __init__(self, shards: int):
        self._shards = shards

    @beam.DoFn.unbounded_per_element()
    def process(self, _: object, tracker: Any = beam.DoFn.RestrictionParam(Polls())) -> Iterator[tuple[int, int]]:
        """Emits ``(key, number of shards)`` for every shard."""
        if tracker.try_claim(tracker.current_restriction()):
            yield from ((shard, self._shards) for shard in range(self._shards))
            tracker.defer_remainder(Duration(LAP_S))


class ProcessSessions:
    """The sessions of the process that it is in, for the loop: ``sessions.py``. A test gives others."""

    def enter(self, key: SessionKey) -> Session:
        """See ``sessions.enter``."""
        return enter(key)

    def abandon(self, config: KafkaConfig, only: SessionKey | None = None) -> None:
        """See ``sessions.abandon``."""
        abandon(config, only)

    def fenced(self, key: SessionKey) -> None:
        """See ``sessions.fenced``."""
        fenced(key)

    def wait_s(self, key: SessionKey) -> float:
        """See ``sessions.wait_s``."""
        return wait_s(key)


class PollMovingShards(beam.DoFn):
    """Reads the records of shards, one bundle a timer. Takes ``(key, number of shards)`` of each shard; emits chunks.

    Args:
        config: The job's Kafka configuration, with ``shards_move``.
        stop: The stop conditions.
        shards: The number of shards.
        prepare: Called once in every worker process, before anything is read.
        sessions: Where the sessions come from.
    """

    def __init__(
        self,
        config: KafkaConfig,
        stop: StopConditions,
        shards: int,
        prepare: Callable[[], None] | None = None,
        sessions: ProcessSessions | None = None,
    ):
        self._config, self._stop, self._shards, self._prepare = config, stop, shards, prepare
        self._sessions = sessions or ProcessSessions()

    def setup(self) -> None:
        """Prepares the process and forgets the state of earlier bundles."""
        self._polling: dict[int, Polling] = {}
        if self._prepare is not None:
            self._prepare()

    def process(
        self,
        element: tuple[int, int],
        again: Any = beam.DoFn.TimerParam(AGAIN),
        drain: Any = beam.DoFn.TimerParam(DRAIN),
    ) -> None:
        """Starts the loop of a shard; changes nothing for one that runs."""
        again.set(Timestamp.now())
        drain.set(GlobalWindow().max_timestamp())

    @on_timer(DRAIN)
    def drain(self, again: Any = beam.DoFn.TimerParam(AGAIN), drained: Any = beam.DoFn.StateParam(DRAINED)) -> None:
        """Ends the loop of a shard."""
        drained.write(True)  # a timer that fires in this same bundle would set itself again
        again.clear()

    @on_timer(AGAIN)
    def poll(
        self,
        key: Any = beam.DoFn.KeyParam,
        again: Any = beam.DoFn.TimerParam(AGAIN),
        drained: Any = beam.DoFn.StateParam(DRAINED),
    ) -> Iterator[RecordChunk]:
        """Reads one bundle of a shard, and sets the timer again unless it is time to stop."""
        if drained.read() or key >= self._shards:
            return  # an update has made the shards fewer
        shard = SessionKey(self._config, key, self._shards)
        if (wait := self._sessions.wait_s(shard)) > 0:
            again.set(Timestamp.now() + Duration(wait))
            return
        with reporting_failures():
            require_sink(self._config)
            chunks = self._read(shard)
            try:
                first = next(chunks, None)
            except FencedError:  # before anything of this shard was emitted; the bundle may have records of others
                self._sessions.abandon(self._config, shard)
                self._sessions.fenced(shard)
                again.set(Timestamp.now())
                return
            if first is None and key not in self._polling:
                return
            again.set(Timestamp.now())
            if first is None:
                return
            yield first
            try:
                yield from chunks
            except FencedError:  # the bundle fails, and the runner begins it again
                self._sessions.fenced(shard)
                raise

    def _read(self, shard: SessionKey) -> Iterator[RecordChunk]:
        """Reads one bundle. Afterwards there is no ``Polling`` of the shard if it is time to stop."""
        kafka = self._sessions.enter(shard)
        kafka.begin()
        if shard.shard not in self._polling:
            self._polling[shard.shard] = Polling(self._config, self._stop, ended_outside=True)
        polling = self._polling[shard.shard]
        if polling.finished(kafka):
            del self._polling[shard.shard]
            return
        yield from polling.chunks(kafka)

    def teardown(self) -> None:
        """Abandons the sessions of this thread's bundle. Beam calls it after a bundle that failed."""
        self._sessions.abandon(self._config)
