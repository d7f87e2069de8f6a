"""``Polling``: decides how much a bundle reads, and when reading ends. It does not depend on Beam.

The size of a bundle follows the load:

* Few records: the bundle is what one poll returns, without waiting.
* A backlog: the bundle reads on, up to ``max_bundle_records`` and ``memory.bundle`` bytes. At its end one commit is made; a
  large bundle makes that cost small per record. Records that are not answered by then are carried over into the next bundle.
* In between: if a batch would fill within ``batch_max_wait_ms`` at the present rate, the poll waits for the rest of it.

Bytes end a bundle between two polls, so that its positions are those of whole polls. How many bytes a poll will give is not
known before; it asks for as many records as fit at the size of the last ones, and for one at least. Where they are larger
than those, librdkafka's queue bounds what it gives (``memory.queue``).
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterator

from transforms.coders import RecordChunk
from transforms.kafka.config import KafkaConfig
from transforms.kafka.ends import Ends
from transforms.kafka.native.polled import Polled
from transforms.kafka.stop import Budget, LocalBudget, SharedBudget, StopConditions, stopping
from transforms.memory import cut
from transforms.types import KafkaRecord

IDLE_POLL_S = 0.1
"""Seconds that a poll waits for a first record. With nothing to read, a drain is noticed after this time at the latest."""

FIRST_READ = 2048
"""Records asked for in one poll. A poll that returns so many means that there is a backlog."""

SHRINKS = 0.75
"""How much the expected size of a record falls, at most, from one poll to the next. It rises at once."""

CHECK_COMMITTED_S = 0.2
"""Seconds between two checks whether the other members of the group have committed their end offsets."""


class Polling:
    """Decides how much to read and when to stop, for one session.

    Args:
        config: The job's Kafka configuration.
        stop: The stop conditions.
        clock: Returns the seconds of a monotonic clock.
        first_read: Records asked for in one poll.
        ended_outside: Whether the job is ended from outside when the group has committed its end offsets, and not here.
    """

    def __init__(
        self,
        config: KafkaConfig,
        stop: StopConditions,
        clock: Callable[[], float] = time.monotonic,
        first_read: int = FIRST_READ,
        *,
        ended_outside: bool = False,
    ):
        self.config, self.stop, self._clock, self._first_read = config, stop, clock, first_read
        self._ends = Ends(stop) if stop.end_offsets is not None else None
        self._ended_outside = ended_outside
        self._budget = self._open_budget()
        self._rate = 0.0  # records a second, smoothed
        self._record_bytes = 1.0  # of a record, as far as it is known
        self._ending = False
        self._last_at = clock()
        self._checked_at = 0.0

    def finished(self, kafka: Polled) -> bool:
        """Returns whether to stop reading. Called when a bundle has begun; waits for the commit in progress if need be.

        What the bundle before has carried over has to be answered first, by one more bundle, which reads nothing.

        Raises:
            KafkaError: The commit failed for good.
        """
        self._ending = self._is_over(kafka)
        return self._ending and not kafka.inherited.count

    def _is_over(self, kafka: Polled) -> bool:
        if self._budget is not None:
            kafka.finish_commit()
            self._budget.release(kafka.commits.take_count(), kafka.inherited.count)
            if self._budget.spent():
                return True
        if stopping(self.stop):
            kafka.finish_commit()
            return True
        return self._ends_reached(kafka)

    def chunks(self, kafka: Polled) -> Iterator[RecordChunk]:
        """Reads one bundle.

        Yields:
            Chunks of at most ``config.chunk_records`` records and ``config.memory.request`` bytes, or of one record that is
            larger; the records of a partition are in offset order.

        Raises:
            KafkaError: Reading failed for good.
        """
        if self._ending:
            return
        began, memory = self._clock(), self.config.memory
        read, read_bytes, there_is_more = 0, kafka.inherited.size, True
        while read < self.config.max_bundle_records:
            left = memory.bundle - read_bytes - kafka.output_bytes
            if read and left <= 0:
                break
            room = min(left, memory.fetch) if read else memory.fetch
            fitting = max(1, int(room / self._record_bytes))
            wanted = min(self._first_read, self.config.max_bundle_records - read, fitting)
            granted = wanted if self._budget is None else self._budget.reserve(wanted)
            if not granted:
                if not read:
                    kafka.poll_nothing(IDLE_POLL_S)  # other workers have reserved the rest of the budget: stay in the group
                there_is_more = False
                break
            records = kafka.poll(granted, IDLE_POLL_S if not read else 0.0)
            if not read:
                records += self._fill(kafka, len(records), granted)
                self._learn_rate(len(records))
            records = self._within_ends(kafka, records)
            runs, total_bytes = cut(records, self.config.chunk_records, memory.request)
            count = len(records)
            read += count
            read_bytes += total_bytes
            self._learn_size(count, total_bytes)
            chunks = collections.deque(RecordChunk(records[start:end]) for start, end in runs)
            del records  # what is answered is let go chunk by chunk, and not with the last of them
            while chunks:
                yield chunks.popleft()
            there_is_more = count == wanted
            if not there_is_more or self._clock() - began > self.config.max_bundle_s or stopping(self.stop):
                break
        if there_is_more:
            kafka.leave_more()

    def _fill(self, kafka: Polled, have: int, granted: int) -> list[KafkaRecord]:
        """Waits for the rest of a batch if, at the present rate, it arrives within ``batch_max_wait_ms``."""
        missing = min(self.config.batch_max_size, granted) - have
        wait_s = self.config.batch_max_wait_ms / 1000
        if have and 0 < missing <= self._rate * wait_s:
            return kafka.poll(missing, wait_s, fill=True)
        return []

    def _learn_rate(self, read: int) -> None:
        now = self._clock()
        elapsed, self._last_at = max(now - self._last_at, 1e-4), now
        self._rate += 0.2 * (read / elapsed - self._rate)

    def _learn_size(self, count: int, total_bytes: int) -> None:
        if count:
            self._record_bytes = max(total_bytes / count, self._record_bytes * SHRINKS)

    def _within_ends(self, kafka: Polled, records: list[KafkaRecord]) -> list[KafkaRecord]:
        if self._ends is None:
            return records
        self._ends.follow(kafka.reader.identities)  # here, too: the topic may have been made again since ``finished``
        if not kafka.has_read_beyond(self._ends.of):
            return records
        end_of = self._ends.of
        beyond = [record for record in records if record.offset >= end_of(record[:2])]
        if beyond:
            records = [record for record in records if record.offset < end_of(record[:2])]
            kafka.drop(beyond)
        return records

    def _ends_reached(self, kafka: Polled) -> bool:
        if self._ends is None:
            return False
        self._ends.follow(kafka.reader.identities)
        if self._ended_outside:
            return False  # a topic that is made again has to be read, too, up to where the job is ended
        self._ends.renew(kafka.reader.end_offsets)
        if not self._ends.are_known:
            return False
        pending = self._ends.pending
        ours = {partition: end for partition, end in pending.items() if partition in kafka.reader.owned}
        if any(kafka.commits.position(partition) < end for partition, end in ours.items()) or not kafka.finish_commit():
            return False
        if len(ours) == len(pending):
            return True
        if self._clock() - self._checked_at < CHECK_COMMITTED_S:
            return False
        self._checked_at = self._clock()
        if not kafka.reader.group_has_committed(pending):
            return False
        self._ends.follow(kafka.reader.identities)  # what is committed may be of a topic that was made again
        return self._ends.are_known

    def _open_budget(self) -> Budget | None:
        if self.stop.max_records is None:
            return None
        if self.stop.budget_file is None:
            return LocalBudget(self.stop.max_records)
        return SharedBudget(self.stop.budget_file, self.stop.max_records, self.stop.worker)
