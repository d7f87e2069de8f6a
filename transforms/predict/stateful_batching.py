"""Batching across bundles in Beam's state, for ``--kafka_io=beam``: reading and predicting are separate stages there.

On such runners a bundle may hold one record or ten thousand. So the records of a partition wait in state until they make a
full batch, or until the first of them has waited ``wait_s``. The key is the input partition, so the records of a partition
stay together and in order.

Why not Beam's ``GroupIntoBatches.WithShardedKey``: its shard is a thread (a UUID of the process and the thread's number),
which would change the order of a partition and fill several batches at a time. It also keeps single records in state, where
a chunk costs the same as one record.

Why not Beam's windows: ``--window_seconds`` only says which records may share a request, and Decode does that by each
record's Kafka timestamp (``Segment.key``). Everything runs in the global window, so no record is late, and no runner drops
one because of the watermark. A record that comes a day late is scored like any other, in a request with records of its own
window only.
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
    """``(partition, RecordChunk)`` in, ``RecordChunk`` out: a full batch at least, or what has waited ``wait_s``.

    Args:
        size: How many records make a full batch.
        wait_s: Longest wait of the first record of a batch for the others, in seconds.
        clock: Returns seconds since the epoch.
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
        """Adds a chunk to the waiting records; yields them all once they make a full batch."""
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
            end.set(window.max_timestamp())  # fires when the job is drained or the source has ended

    @on_timer(WAITED)
    def on_waited(
        self, waiting: Any = beam.DoFn.StateParam(WAITING), count: Any = beam.DoFn.StateParam(COUNT)
    ) -> Iterator[RecordChunk]:
        """Yields the waiting records when the first has waited ``wait_s``."""
        yield from _flush(waiting, count)

    @on_timer(END)
    def on_end(
        self, waiting: Any = beam.DoFn.StateParam(WAITING), count: Any = beam.DoFn.StateParam(COUNT)
    ) -> Iterator[RecordChunk]:
        """Yields the waiting records when the source has ended."""
        yield from _flush(waiting, count)


def _all_of(waiting: Any, more: RecordChunk) -> RecordChunk:
    return RecordChunk([record for chunk in (*waiting.read(), more) for record in chunk])


def _flush(waiting: Any, count: Any) -> Iterator[RecordChunk]:
    chunk = _all_of(waiting, RecordChunk())
    waiting.clear()
    count.clear()
    if chunk:
        yield chunk
