"""Batching over bundles, for engines on which reading and predicting are stages of their own.

A bundle there may hold a record or ten thousand, so batches are filled over bundles, in state: what there is of a partition
waits until it makes a full batch, or until the first of it has waited ``wait_s``, whichever comes first. The key is the
partition, so its records stay together and in their order.

Not Beam's ``GroupIntoBatches.WithShardedKey``: its shards are a thread's (a UUID of the process and the thread's number),
which would mix up the order of a partition and fill several batches at a time; and it keeps single records in state, where
a chunk costs the same. Not windows of Beam's either: ``--window_seconds`` only says which records may share a request, and
Decode sees to that by each record's Kafka timestamp (``Segment.key``). So all runs in the global window, no record is ever
late, and no runner drops one, whatever the watermark says. A record that comes a day too late is scored like any other, in
a request with its window's records alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer

from transforms.coders import ChunkCoder, RecordChunk

WAITING = BagStateSpec("waiting", ChunkCoder())
COUNT = ReadModifyWriteStateSpec("count", VarIntCoder())
WAITED = TimerSpec("waited", TimeDomain.REAL_TIME)
END = TimerSpec("end", TimeDomain.WATERMARK)


class BatchChunks(beam.DoFn):
    """``(partition, RecordChunk)`` in, ``RecordChunk`` out, of at least a full batch or as old as may be.

    Args:
        size: How many records make a full batch.
        wait_s: How long the first record of one waits for the others at most, in seconds.
        clock: Seconds since the epoch.
    """

    def __init__(self, size: int, wait_s: float, clock: Callable[[], float] = time.time):
        self._size, self._wait_s, self._clock = size, wait_s, clock

    def process(
        self,
        keyed: tuple[str, RecordChunk],
        window: Any = beam.DoFn.WindowParam,
        waiting: Any = beam.DoFn.StateParam(WAITING),
        count: Any = beam.DoFn.StateParam(COUNT),
        waited: Any = beam.DoFn.TimerParam(WAITED),
        end: Any = beam.DoFn.TimerParam(END),
    ) -> Iterator[RecordChunk]:
        """Takes a chunk; yields it with all that has waited, once that is a batch."""
        _, chunk = keyed
        have = count.read() or 0
        if have + len(chunk) >= self._size or self._wait_s <= 0:
            if have:
                chunk = _all_of(waiting, chunk)
                waiting.clear()
                count.clear()
                waited.clear()
            yield chunk
            return
        waiting.add(chunk)
        count.write(have + len(chunk))
        if not have:
            waited.set(self._clock() + self._wait_s)
            end.set(window.max_timestamp())  # a drained job, or a source that has ended, waits for nobody

    @on_timer(WAITED)
    def on_waited(
        self, waiting: Any = beam.DoFn.StateParam(WAITING), count: Any = beam.DoFn.StateParam(COUNT)
    ) -> Iterator[RecordChunk]:
        """Yields what has waited long enough."""
        yield from _flush(waiting, count)

    @on_timer(END)
    def on_end(
        self, waiting: Any = beam.DoFn.StateParam(WAITING), count: Any = beam.DoFn.StateParam(COUNT)
    ) -> Iterator[RecordChunk]:
        """Yields what is left when no more can come."""
        yield from _flush(waiting, count)


def _all_of(waiting: Any, more: RecordChunk) -> RecordChunk:
    return RecordChunk([record for chunk in (*waiting.read(), more) for record in chunk])


def _flush(waiting: Any, count: Any) -> Iterator[RecordChunk]:
    chunk = _all_of(waiting, RecordChunk())
    waiting.clear()
    count.clear()
    if chunk:
        yield chunk
