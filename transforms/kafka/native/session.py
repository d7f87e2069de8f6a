"""``Session``: the reader and the writer of one job in one process, and the bundle between them.

The source polls and the sink commits, in the same bundle. Both find the session in module state (``sessions.py``), because
consumers and producers can't be pickled. Kafka holds the checkpoint. A bundle that is not committed is rolled back, whatever
the reason (a rebalance, an exception in a DoFn, a model server that is down): its records are read again (``rollbacks.py``).
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.commit_metadata import with_metadata
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.bundle import Bundle, Carried
from transforms.kafka.native.commits import OVERLAP_FROM, Commits
from transforms.kafka.native.input_watch import InputLostError
from transforms.kafka.native.mending import Mender
from transforms.kafka.native.outputs import Outputs
from transforms.kafka.native.producer import NotCommittedError, ObstructedError, OutcomeUnknownError, Writer
from transforms.kafka.native.readers import OpenReader, open_reader
from transforms.kafka.native.rebalances import Rebalances
from transforms.kafka.native.rollbacks import Rollbacks
from transforms.kafka.native.session_claims import SessionClaims
from transforms.kafka.native.states import CommitResult, IllegalTransitionError, State, StateMachine
from transforms.kafka.native.writers import open_writer
from transforms.observe import RollbackCause, observer
from transforms.types import KafkaRecord, OutputRecord

KEEP_ALIVE_S = 1.0
"""Seconds after the last poll when a waiting bundle begins to poll with paused partitions."""

CAUTIOUS_BUNDLES = 10
"""The number of bundles whose outputs are buffered until all are known, after a transaction was open for too long."""


class Session:
    """Reads, writes and commits for one job in one process. Not for use by several threads at once.

    ``state`` is that of the open bundle; ``states.py`` draws how they follow each other. The reader hands over changes of
    the assignment (``rebalances.py``); the writer calls back where it is replaced under a claim (``session_claims.py``).

    The commit of a large bundle runs in the background (``CommitResult.BEGUN``) while the next bundle is read. There is at
    most one such commit. ``finish_commit`` waits for it. If Kafka refused it, the open bundle becomes void, and the rollback
    seeks to the first offsets of both bundles. A commit that failed for good raises its error at every later call.

    In a backlog, records without an answer are carried over into the next bundle (``carry``): its commit covers them, and so
    does its rollback. Outputs that Kafka refuses for what they are (size, key, timestamp) make none void: ``outputs.py``.

    Args:
        config: The job's Kafka configuration.
        shard: The index of this shard in a static assignment.
        shards: The number of shards.
        clock: Returns the seconds of a monotonic clock.
        sleep: Waits a number of seconds.
        open_writer: Makes the writer.
        open_reader: Makes the reader.
        background: As for ``Commits``.
        overlap_from: As for ``Commits``.
        open_mender: Makes what mends refused outputs.
        claim: Whether to claim partitions before reading them (``claims.py``); for a static assignment.
        open_claims: Makes what claims them.

    Attributes:
        commits: What it has committed.
    """

    def __init__(
        self,
        config: KafkaConfig,
        shard: int = 0,
        shards: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        open_writer: Callable[[KafkaConfig], Writer] = open_writer,
        open_reader: OpenReader = open_reader,
        background: concurrent.futures.Executor | None = None,
        overlap_from: int = OVERLAP_FROM,
        claim: bool = False,
        open_mender: Callable[[KafkaConfig], Mender] = Mender,
        open_claims: Callable[..., SessionClaims] = SessionClaims,
    ):
        self.config = config
        self._clock, self._sleep = clock, sleep
        self.commits = Commits(background, overlap_from)
        self.writer: Writer = open_writer(config)  # first, to fence an earlier process before its offsets are read
        claims = open_claims(config, self.writer, self.commits, self._is_settled, open_writer, sleep) if claim else None
        self.reader = open_reader(config, shard, shards, None if claims is None else claims.claim)
        if claims is not None:
            claims.start(self.reader)
        self._claims = claims
        self._outputs = Outputs(self.writer, open_mender(config), clock)
        self._states = StateMachine()
        self._bundle = Bundle()
        self._polled_at = clock()
        self._rollbacks = Rollbacks(self.writer, self.reader, clock)
        self._cautious = 0
        self._carries = config.one_outcome_each  # else the count of outcomes does not say which records have theirs
        self._rebalances = Rebalances(self.reader, self.commits)

    @property
    def state(self) -> State:
        """The state of the open bundle."""
        return self._states.state

    def _make_void(self, reason: str, cause: RollbackCause, failed: NotCommittedError | None = None) -> None:
        self._bundle.failed = self._bundle.failed or failed
        if self.state is not State.VOID:  # keep the first reason: later ones follow from it
            self._states.enter(State.VOID)
            self._bundle.void_because, self._bundle.cause = reason, cause

    def _check_open(self) -> None:
        """Raises the error of a commit that failed for good. To continue would skip its records."""
        if self.state is State.COMMITTING:
            self.finish_commit()  # raises the commit's error
            raise IllegalTransitionError(State.COMMITTING, State.READING)

    # ------------------------------------------------------------------ reading

    def begin(self) -> None:
        """Starts a bundle. If the bundle before was never committed, it is rolled back and its records are read again."""
        self._check_open()
        if (self._bundle.first and not self._bundle.fresh) or self.state is State.VOID:
            self._make_void("the bundle failed", RollbackCause.STAGE)
            self._rollback()
        if not self._bundle.fresh:
            self._bundle = Bundle()
        self._bundle.fresh = False
        self._states.enter(State.READING)

    def poll(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        """Reads records into the bundle; see ``Reader.consume``. Empty if none came in time, or if the bundle is void."""
        self._check_open()
        if self.state is State.WAITING:
            self._states.enter(State.READING)
        if not self._rollbacks.obstruction.over():
            self.poll_nothing(timeout_s)
            return []
        self.reader.resume()
        records = self._consume(most, timeout_s, fill=fill)
        bundle = self._bundle
        if bundle.group is None:
            # The generation under which these records are read: the broker refuses their commit after a rebalance.
            bundle.group = self.reader.consumer.consumer_group_metadata()
        bundle.note(records)  # also in a void bundle: the position has moved past these records, and the rollback resets it
        if self.state is State.VOID:
            return []
        if records:
            bundle.reads.append((self._polled_at, len(records)))
            bundle.read += len(records)
        return records

    def _consume(self, most: int, timeout_s: float, *, fill: bool = False) -> list[KafkaRecord]:
        """Reads, and follows what the group does. Where the input is lost, nothing of this bundle can be committed."""
        try:
            records = self.reader.consume(most, timeout_s, fill=fill)
        except (InputLostError, ObstructedError) as error:
            records = []
            self._lose_input(error)
        self._polled_at = self._clock()
        observer().polled()
        if self._rebalances.follow(self._bundle):
            self._make_void("the group rebalanced", RollbackCause.REBALANCE)
        return records

    def _lose_input(self, error: InputLostError | ObstructedError) -> None:
        if not self._rollbacks.obstruction.lasts:
            failed = error if isinstance(error, ObstructedError) else ObstructedError(str(error))
            self._make_void(str(error), RollbackCause.OBSTRUCTED, failed)

    @property
    def output_bytes(self) -> int:
        """About what the outputs take that are kept: those of the open bundle, and of the commit in progress."""
        underway = self.commits.underway
        return self._bundle.output_bytes + (underway.bundle.output_bytes if underway is not None else 0)

    @property
    def inherited(self) -> Carried:
        """What the bundle before has carried into the open one."""
        return self._bundle.inherited

    def leave_more(self) -> None:
        """Notes that the source reads no more into this bundle, although there is more to read."""
        self._bundle.leaves_more = True

    def has_read_beyond(self, end_of: Callable[[Partition], float]) -> bool:
        """Returns whether this bundle has read a record at or after the end offset of its partition."""
        return any(offset > end_of(partition) for partition, offset in self._bundle.next.items())

    def drop(self, records: Sequence[KafkaRecord]) -> None:
        """Removes ``records``, the last ones read of their partitions, and reads no more of these."""
        for partition, offset in self._bundle.drop(records).items():
            self.reader.stop(partition, offset)

    def poll_nothing(self, wait_s: float) -> None:
        """Stays in the group for ``wait_s`` seconds without reading."""
        self._check_open()
        self._poll_paused()
        self._sleep(wait_s)

    def _is_settled(self) -> bool:
        return not (self._bundle.first or self.writer.open_s) and self.finish_commit()

    def positions_past_markers(self) -> dict[Partition, int]:
        """Returns the end offsets after the last record with only markers, aborted or compacted records in between."""
        owned = set() if self._rollbacks.obstruction.lasts else self.reader.owned - set(self._bundle.left_over.first)
        return {
            partition: end
            for partition, end in self.reader.ends.items()
            if partition in owned and end > max(self._bundle.next.get(partition, -1), self.commits.position(partition))
        }

    # ------------------------------------------------------------------ waiting

    def keep_alive(self) -> bool:
        """Stays in the group. The stages call it at short intervals while a bundle waits for the model server.

        Returns:
            Whether the bundle can still be committed. If not, drop its outcomes: its records are read again.
        """
        self._check_open()
        if self._clock() - self._polled_at >= KEEP_ALIVE_S:
            self._poll_paused()
        if (commit := self.commits.underway) is not None:
            if commit.done_at.done():
                self.finish_commit()
            return self.state is not State.VOID
        if self.state is not State.VOID and self.writer.transaction_too_old:
            self._cautious = CAUTIOUS_BUNDLES
            try:
                self._outputs.postpone(self._bundle)
            except NotCommittedError as error:
                self._make_void(str(error), RollbackCause.KAFKA, error)
        return self.state is not State.VOID

    def give_up(self, reason: str, cause: RollbackCause = RollbackCause.ENDED) -> int:
        """Makes the open bundle void, with ``reason`` for the log; returns how many records that leaves unanswered."""
        unanswered = 0 if self.state is State.VOID else self._bundle.read
        self._make_void(reason, cause)
        return unanswered

    def _poll_paused(self) -> None:
        if self.state is State.READING:
            self._states.enter(State.WAITING)
        self.reader.pause()
        stray = self._consume(1, 0.0)
        # A record that was fetched before the partitions were paused is not part of this bundle: seek back to it.
        self.reader.rewind({(record.topic, record.partition): record.offset for record in stray})

    # ------------------------------------------------------------------ carrying over

    def carry(self, records: Iterable[KafkaRecord]) -> Carried | None:
        """Lets records go over into the next bundle, which answers them; see ``Carrier.carry``.

        Also from a bundle whose outputs are buffered, after a transaction that was open for too long: its own is opened to
        be committed. If it waited for all of its records, a backlog would be committed in bundles of thousands.
        """
        if self.state is State.VOID or not self._carries or not self._bundle.may_leave_over:
            return None
        self._bundle.left_over = Carried.of(records)
        return self._bundle.left_over

    def take_over(self, carried: object) -> bool:
        """Returns whether the open bundle has what was carried over, and takes its outcomes. See ``Carrier.take_over``."""
        return self.state is not State.VOID and self._bundle.take_over(carried)

    # ------------------------------------------------------------------ writing

    def write(self, records: list[OutputRecord]) -> None:
        """Adds predictions and dead letters to the bundle. A void bundle drops them."""
        self._check_open()
        if self.state is State.VOID or not records:
            return
        if (commit := self.commits.underway) is not None and commit.done_at.done() and not self.finish_commit():
            return
        self._outputs.add(self._bundle, records)
        # Else buffered until all are known: a transaction was open for too long, one was refused, or a commit is under way.
        if not self._cautious and not self._bundle.mended and self.commits.underway is None:
            self._write_buffered()

    def _write_buffered(self) -> bool:
        """Hands the buffered outputs to the producer. Returns whether the bundle can still be committed."""
        try:
            self._outputs.write(self._bundle)
        except NotCommittedError as error:
            self._make_void(str(error), RollbackCause.KAFKA, error)
            return False
        return True

    def commit(self) -> CommitResult:
        """Ends the bundle: outputs and source offsets become final together, or none of them.

        Raises:
            FencedError: A newer process of this instance has taken over.
            KafkaError: Trying again would not help.
        """
        self._check_open()
        self._rollbacks.sink_reached()
        try:
            self.reader.confirm()
        except InputLostError as error:
            self._lose_input(error)
        if self.state is not State.VOID and not self._bundle.has_its_carrier:
            self._carries = False  # the runner may do so again
            self._make_void("another copy of the stage has the requests of the carried records", RollbackCause.STAGE)
        bundle, past_markers = self._bundle, self.positions_past_markers()
        if self.state is State.VOID or not self.finish_commit():
            return self._rollback()
        if not bundle.next and not past_markers:
            return CommitResult.FINAL
        # In this thread: in the background, it would compete with the next bundle for the GIL.
        if not self._write_buffered():
            return self._rollback()
        due = bundle.read - bundle.left_over.count
        if self.config.one_outcome_each and bundle.written != due:
            raise KafkaError(f"{due} records were read, but {bundle.written} outcomes came to be written")
        if bundle.group is None:  # no poll returned: the end of a partition was reached while the bundle waited
            bundle.group = self.reader.consumer.consumer_group_metadata()
        self._bundle = bundle.split()
        offsets = {**bundle.next, **past_markers}
        self._states.enter(State.COMMITTING)
        final = self._with_metadata(offsets)  # now: a partition that comes back meanwhile may be another topic's
        if self.commits.begin(bundle, offsets, self._outputs.commit, bundle, final, self.reader):
            self._states.enter(State.READING)
            return CommitResult.BEGUN
        return CommitResult.FINAL if self.finish_commit() else self._rollback()

    def _with_metadata(self, offsets: Mapping[Partition, int]) -> list[ck.TopicPartition]:
        return with_metadata(self.config, offsets, self.reader.identity, claim=self._claims is not None)

    def finish_commit(self) -> bool:
        """Waits for the commit in progress, if there is one.

        Returns:
            Whether it is final. If not, the open bundle is void, and its rollback includes the bundle of the failed commit.

        Raises:
            FencedError: A newer process of this instance has taken over.
            KafkaError: The commit failed for good. It is raised again at the next call.
        """
        commit = self.commits.underway
        if commit is None:
            return True
        done = commit.bundle
        try:
            done_at = commit.done_at.result()
        except NotCommittedError as error:
            self.commits.underway = None
            self._make_void(str(error), RollbackCause.KAFKA, error)
            self._bundle.before = done
            self._bundle.first.update(done.first)
            self._bundle.outcome_unknown = isinstance(error, OutcomeUnknownError)
            return False
        self.commits.underway = None
        if self.state is State.COMMITTING:
            self._states.enter(State.READING)
        done.report(done_at)
        self._rollbacks.committed()
        self.commits.final(commit)
        self._outputs.committed()
        self._cautious = max(0, self._cautious - 1)
        return True

    def _rollback(self) -> CommitResult:
        """Undoes the void bundle: see ``Rollbacks.undo``."""
        self.finish_commit()
        self._rollbacks.undo(self._bundle)
        self._bundle = Bundle()
        self._states.enter(State.READING)
        return CommitResult.ROLLED_BACK

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Finishes the commit in progress, then leaves the group. Raises the error of a commit that failed for good."""
        try:
            self.finish_commit()
            if self._bundle.first or self.state is State.VOID:
                self._make_void("stopped", RollbackCause.ENDED)
                self._rollback()
            self.writer.commit_last(self._with_metadata(self.commits.offsets_of(self.reader.owned)), self.reader)
        finally:
            self.commits.close()
            self._rollbacks.obstruction.close()
            self._close_parts()

    def discard(self) -> None:
        """Ends the session without a commit. The next session of the same name makes Kafka abort the open transaction."""
        self._rollbacks.obstruction.end()
        self.commits.close(wait=False)
        self._close_parts()

    def _close_parts(self) -> None:
        self._outputs.close()
        self.reader.close()
        self.writer.close()
