"""``AloneSession``: reads for a source without ``WriteToKafka``, and commits what the runner has said to be durable.

It delivers at least once. ``finalised.py`` has the rule by which offsets are committed. This module detects that records
which it has read may have failed, and then reads again from the committed offsets:

* The runner runs a bundle again, or goes back to a checkpoint. The source's restriction counts its bundles, and the count
  grows only when a bundle succeeds (``polls.py``). If a bundle does not have the next number, the records read after the
  committed offsets may have failed.
* The runner has not finalised a bundle within ``FINAL_WITHIN_S``: it drops the callback after a time, or never kept one.

A revoked or lost partition is removed from all bundles, even if it comes back: another member may have read on.

The session's offsets are committed by the thread that reads, between two bundles. The runner's callbacks only leave a note.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.commit_metadata import with_metadata
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.bundle import NOTHING_CARRIED, Bundle, Carried
from transforms.kafka.native.finalised import OutstandingBundle, OutstandingBundles
from transforms.kafka.native.readers import OpenReader, open_reader
from transforms.kafka.vendor import describe
from transforms.observe import observer
from transforms.types import KafkaRecord

log = logging.getLogger(__name__)

FINAL_WITHIN_S = 600.0
"""How long the runner may take to finalise a bundle; as long as Beam's own sources give it."""

MOST_OUTSTANDING = 100
"""Most bundles with the runner, which keeps the DoFns of each until it is final. The more waits, the larger the next is."""

NEVER_FINAL = (
    "ReadFromKafka without WriteToKafka commits what the runner says to be durable, and for {waited_s:.0f} s it has not "
    "said so of any bundle: this runner does not finalise bundles, or not as it is set (Flink does at each checkpoint: add "
    "--checkpointing_interval); or end the pipeline in WriteToKafka(config), with the config that ReadFromKafka(config="
    "config) has, and without GroupByKey, Reshuffle or Flatten between the two"
)


class AloneSession:
    """The session of a source without a sink. Implements ``Polled``; for one thread, but for the runner's callbacks.

    Args:
        config: The job's Kafka configuration.
        clock: Returns the seconds of a monotonic clock.
        sleep: Waits a number of seconds.
        open_reader: Makes the reader.

    Attributes:
        reader: The consumer.
        times_read_again: How often it has gone back to the committed offsets.
    """

    def __init__(
        self,
        config: KafkaConfig,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        open_reader: OpenReader = open_reader,
    ):
        self._config, self._clock, self._sleep = config, clock, sleep
        self.reader = open_reader(config, 0, 1, None)
        self._outstanding = OutstandingBundles()
        self._bundle = Bundle()
        self._next: int | None = None
        self._committed: dict[Partition, int] = {}
        self._used = 0
        self._any_final = False
        self.times_read_again = 0

    # ------------------------------------------------------------------ bundles

    def begin(self, number: int) -> None:
        """Starts a bundle, after committing what has become final.

        Args:
            number: The bundle's number, by the source's restriction.

        Raises:
            KafkaError: The runner does not finalise bundles.
        """
        if self._next is not None and number != self._next:
            self._read_again("the runner runs a bundle again, or goes back to a checkpoint")
        elif self._bundle.first:
            self._read_again("a bundle failed")
        self._next = number + 1
        self._commit_final()
        since = self._outstanding.waiting_since
        if since is not None and self._clock() - since > FINAL_WITHIN_S:
            if not self._any_final:
                raise KafkaError(NEVER_FINAL.format(waited_s=FINAL_WITHIN_S))
            self._read_again(f"the runner has not finalised a bundle within {FINAL_WITHIN_S:.0f} s")

    @property
    def is_full(self) -> bool:
        """Whether so many bundles are with the runner that no other may be read."""
        return len(self._outstanding) >= MOST_OUTSTANDING

    def hand_over(self) -> Callable[[], None] | None:
        """Ends the bundle.

        Returns:
            What the runner has to call once the bundle is durable; ``None`` if there is nothing to commit of it.

        Raises:
            InputLostError: A topic that was read is gone or was made again. The bundle must fail.
        """
        if self._bundle.first:
            self.reader.confirm()
        bundle, self._bundle = self._bundle, Bundle()
        offsets = {**bundle.next, **self._past_markers(bundle)}
        if not offsets:
            return None
        self._used += bundle.read
        outstanding = OutstandingBundle(offsets, bundle.read, self._clock())
        self._outstanding.add(outstanding)
        return outstanding.finalise

    def _past_markers(self, bundle: Bundle) -> dict[Partition, int]:
        """The ends that lie after the last record, with only markers, aborted or compacted records in between."""
        return {
            partition: end
            for partition, end in self.reader.ends.items()
            if partition in self.reader.owned and end > max(bundle.next.get(partition, -1), self.position(partition))
        }

    def _read_again(self, why: str) -> None:
        self._commit_final(wait=True)
        self._used -= self._outstanding.drop_all()
        self._bundle = Bundle()
        self.times_read_again += 1
        if self.reader.owned:
            log.warning("%s: reading again from the committed offsets", why)
            self.reader.rewind_to_committed(self.reader.owned)

    # ------------------------------------------------------------------ committing

    @property
    def commits(self) -> AloneSession:
        """Itself: as ``Polled.commits``."""
        return self

    def position(self, partition: Partition) -> int:
        """As ``PolledCommits.position``: what is with the runner counts as being on its way."""
        return max(self._outstanding.position(partition), self._committed.get(partition, -1))

    def take_count(self) -> int:
        """As ``PolledCommits.take_count``: records are used once they are with the runner, unless they are read again."""
        used, self._used = self._used, 0
        return used

    def finish_commit(self) -> bool:
        """Commits what has become final. Returns whether that is all that was read."""
        self._commit_final()
        return not self._outstanding

    def _commit_final(self, *, wait: bool = False) -> None:
        before = len(self._outstanding)
        final = self._outstanding.take_final()
        self._any_final |= len(self._outstanding) < before
        self._committed |= final
        if wait:
            self._commit_now()
        elif final:
            self.reader.commits.commit(self.reader.consumer, self._with_metadata(final))

    def _commit_now(self) -> None:
        """Commits all that is final, once more where that is on its way, and waits for it."""
        if not self._committed:
            return
        try:
            self.reader.consumer.commit(offsets=self._with_metadata(self._committed), asynchronous=False)
        except ck.KafkaException as error:
            log.warning("offsets were not committed, their records will be read again: %s", describe(error.args[0]))

    def _with_metadata(self, offsets: dict[Partition, int]) -> list[ck.TopicPartition]:
        return with_metadata(self._config, offsets, self.reader.identity, claim=False)

    # ------------------------------------------------------------------ reading

    def poll(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        """Reads records into the bundle: see ``Reader.consume``.

        Raises:
            InputLostError: A topic is gone or was made again, or may not be read.
            KafkaError: Retention deleted records that were not read yet, or the like.
        """
        self.reader.resume()
        records = self._consume(most, timeout_s, fill=fill)
        self._bundle.note(records)
        self._bundle.read += len(records)
        return records

    def _consume(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        records = self.reader.consume(most, timeout_s, fill=fill)
        observer().polled()
        change = self.reader.take_change()
        if change is not None:
            self._outstanding.forget(change.removed)
            for partition in change.removed:
                self._bundle.forget(partition)
                self._committed.pop(partition, None)
        return records

    def poll_nothing(self, wait_s: float) -> None:
        """Stays in the group for ``wait_s`` seconds without reading."""
        self.reader.pause()
        stray = self._consume(1, 0.0)
        self.reader.rewind({(record.topic, record.partition): record.offset for record in stray})
        self._sleep(wait_s)

    @property
    def output_bytes(self) -> int:
        """As ``Polled.output_bytes``: there are no outputs."""
        return 0

    @property
    def inherited(self) -> Carried:
        """As ``Polled.inherited``: its bundles leave nothing over."""
        return NOTHING_CARRIED

    def leave_more(self) -> None:
        """As ``Polled.leave_more``: it makes no difference."""

    def has_read_beyond(self, end_of: Callable[[Partition], float]) -> bool:
        """As ``Polled.has_read_beyond``."""
        return any(offset > end_of(partition) for partition, offset in self._bundle.next.items())

    def drop(self, records: Sequence[KafkaRecord]) -> None:
        """As ``Polled.drop``."""
        for partition, offset in self._bundle.drop(records).items():
            self.reader.stop(partition, offset)

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Commits what is final, and leaves the group."""
        try:
            self._commit_final(wait=True)
        finally:
            self.reader.close()
