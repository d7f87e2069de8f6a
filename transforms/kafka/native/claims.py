"""Claims: the owner of each partition under static assignment, stored in the metadata of the committed offset.

A consumer group has a generation, and Kafka refuses a commit of an older one. Shards that a runner places have no group
membership, so Kafka can't refuse the commit of a shard that was thought dead. The ``transactional.id`` fences an earlier
process of the same shard. It does not help when a job goes on with another number of shards: partitions move to shards with
other names, and no new shard takes over an old name.

So a shard commits its ``transactional.id`` in the metadata of every offset, and for the first time before it reads. A shard
that takes over a partition reads that name and fences the producer of that name. It does so even if the offset belongs to a
former topic of the same name and is ignored (``committed.py``): the other shard may be about to commit what it has read.

On Flink, a job's shards start together and their number stays the same, so this is enough (``claim_at_start``). Limit: if
two jobs with different numbers of shards start within the same few milliseconds, both read the name that an earlier job
left, and do not fence each other. ``python -m pipeline`` refuses to start the second job if it sees the first.

On Dataflow, shards move between workers while the job runs. Two shards that take over a partition at the same time must not
both read the same name. Kafka has no compare-and-set for an offset, but it refuses a fenced producer's transaction. So each
partition belongs to one of ``LOCKS`` transactional ids, the *claim locks* of the group. A claim has these steps (``claim``):

1. open the locks of the partitions: this fences any other shard that is between these steps, and its step 5 is refused;
2. open the shard's own producer again: this fences its other processes, even one that has just opened its session;
3. read the claims, and fence the producer of every other name in them;
4. read the offsets: no producer is left that could commit other ones;
5. commit the claims, with those offsets, in transactions of the locks.

If step 5 succeeds, no other shard has done step 1 since this one, and every shard with an earlier claim is fenced. Opening a
producer removes the fence that another shard has set. Therefore a shard opens its producer only in these steps, even to
replace it (``Writer.renew``): the partitions that it holds must then still be claimed by its name.

Limit: Kafka deletes a topic's offsets with the topic, and the claims with them. Then only the transaction time-out ends the
other shard's transaction.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping

import confluent_kafka as ck

from transforms.errors import FencedError
from transforms.kafka.commit_metadata import claim_in, with_metadata
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.producer import NotCommittedError, ObstructedError, Writer
from transforms.kafka.native.starts import Starts
from transforms.kafka.topic_ids import UNKNOWN

log = logging.getLogger(__name__)

LOCKS = 16
"""The number of claim locks of a group. More of them would be opened at each start of a shard with many partitions; with
fewer, more shards that start at once would meet at the same one."""

ATTEMPTS = 8
"""How often a claim is tried that meets another shard's at a lock."""

FIRST_WAIT_S = 0.1
"""At most so many seconds later it is tried a second time; each time may be twice as late as the one before."""

OpenWriter = Callable[[KafkaConfig], Writer]
"""Makes a writer, which fences the one before of its name."""


def with_claim(config: KafkaConfig, starts: Starts) -> list[ck.TopicPartition]:
    """Returns the start offsets with the claim of this shard in their metadata."""
    offsets = {(tp.topic, tp.partition): tp.offset for tp in starts.offsets}
    return with_metadata(config, offsets, lambda it: starts.identities.get(it, UNKNOWN), claim=True)


def claim_at_start(config: KafkaConfig, reader: Reader, writer: Writer, starts: Starts, open_writer: OpenWriter) -> Starts:
    """As ``claim``, without locks: where all shards start together, and their number stays (Flink).

    Args:
        config: The configuration of this shard.
        reader: The reader of this shard.
        writer: The writer of this shard.
        starts: The starts of the partitions that this shard takes over, with their metadata.
        open_writer: As for ``claim``.

    Returns:
        The starts: those after the fencing.
    """
    starts = fence_others(config, reader, starts, open_writer)
    writer.commit(with_claim(config, starts), reader, reader.consumer.consumer_group_metadata())
    return starts


def claim_again_at_start(config: KafkaConfig, reader: Reader, writer: Writer, held: Mapping[Partition, int | None]) -> None:
    """As ``claim`` of what is held, without locks. The new producer fences whoever has taken the shard over meanwhile.

    Args:
        config: The configuration of this shard.
        reader: The reader of this shard.
        writer: The writer of this shard, without an open transaction.
        held: As for ``claim``.

    Raises:
        FencedError: Another process has gone on with a partition.
        KafkaError: Kafka does not answer, or refuses.
    """
    writer.reopen()
    _check_held(config, reader.starts(sorted(held), commit_first=False), held)


def claim(
    config: KafkaConfig,
    reader: Reader,
    writer: Writer,
    new: Collection[Partition],
    held: Mapping[Partition, int | None],
    open_writer: OpenWriter,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Starts:
    """Fences the other producers that have claimed partitions, and commits the claims of this shard.

    Args:
        config: The configuration of this shard.
        reader: The reader of this shard.
        writer: The writer of this shard, without an open transaction.
        new: The partitions that it takes over.
        held: The partitions that it has claimed before, to the offset that it has committed last; ``None`` for any.
        open_writer: Opens the locks, and the producers to fence.
        sleep: Waits a number of seconds.
        jitter: Returns a random number from 0 to 1.

    Returns:
        The starts of ``new``: those after the fencing.

    Raises:
        FencedError: Another shard has claimed what this one held or, of the same name, gone on with it. Or others claim the
            same partitions again and again.
        KafkaError: Kafka does not answer, or refuses.
    """
    for attempt in range(ATTEMPTS):
        with contextlib.suppress(_LockLostError):
            return _claim(config, reader, writer, new, held, open_writer)
        sleep(jitter() * FIRST_WAIT_S * 2**attempt)
    raise FencedError(f"{config.transactional_id}: others claim the same partitions, {ATTEMPTS} times in a row")


class _LockLostError(Exception):
    """Another shard has opened a lock meanwhile."""


def _claim(
    config: KafkaConfig,
    reader: Reader,
    writer: Writer,
    new: Collection[Partition],
    held: Mapping[Partition, int | None],
    open_writer: OpenWriter,
) -> Starts:
    partitions = sorted({*new, *held})
    with _locked(config, partitions, open_writer) as locks:
        writer.reopen()
        starts = reader.starts(partitions, commit_first=False)
        _check_held(config, starts, held)
        starts = fence_others(config, reader, starts, open_writer)
        group = reader.consumer.consumer_group_metadata()
        for number, lock in locks.items():
            try:
                lock.commit([tp for tp in with_claim(config, starts) if _lock_of(tp.partition) == number], reader, group)
            except FencedError as error:
                raise _LockLostError from error
            except ObstructedError:
                raise
            except NotCommittedError as error:
                raise _LockLostError from error  # Kafka has refused this once
    return Starts([tp for tp in starts.offsets if (tp.topic, tp.partition) in new], starts.identities)


def _check_held(config: KafkaConfig, starts: Starts, held: Mapping[Partition, int | None]) -> None:
    for tp in starts.offsets:
        partition = tp.topic, tp.partition
        if partition not in held:
            continue
        owner, expected = claim_in(tp.metadata), held[partition]
        if owner != config.transactional_id:
            raise FencedError(
                f"{config.transactional_id}: {tp.topic}/{tp.partition} is claimed by {owner or 'nobody'} by now"
            )
        if expected not in (None, tp.offset):
            raise FencedError(f"{config.transactional_id}: a newer process has gone on with {tp.topic}/{tp.partition}")


@contextlib.contextmanager
def _locked(
    config: KafkaConfig, partitions: Collection[Partition], open_writer: OpenWriter
) -> Iterator[Mapping[int, Writer]]:
    """Opens the locks of partitions; closes them after the block."""
    with contextlib.ExitStack() as stack:
        locks = {}
        for number in sorted({_lock_of(number) for _, number in partitions}):
            locks[number] = open_writer(dataclasses.replace(config, instance_id=f"claim-lock-{number}"))
            stack.callback(locks[number].close)
        yield locks


def _lock_of(partition: int) -> int:
    return partition % LOCKS


def fence_others(config: KafkaConfig, reader: Reader, starts: Starts, open_writer: OpenWriter) -> Starts:
    """Fences every other producer that has claimed a partition.

    Args:
        config: The configuration of this shard.
        reader: The reader of this shard; it fetches committed offsets.
        starts: The starts of the partitions that this shard takes over, with their metadata.
        open_writer: As for ``claim``.

    Returns:
        The starts after the fencing. A fenced producer may have committed since ``starts`` was fetched.

    Raises:
        KafkaError: Kafka does not answer.
    """
    fenced = {config.transactional_id}
    while others := {claim_in(tp.metadata) for tp in starts.offsets} - fenced - {""}:
        for name in sorted(others):
            log.warning("%s takes over from %s, which is fenced", config.transactional_id, name)
            instance_id = name.removeprefix(f"{config.group_id}-")
            open_writer(dataclasses.replace(config, instance_id=instance_id)).close()  # opening it fences the other one
        fenced |= others
        starts = reader.starts([(tp.topic, tp.partition) for tp in starts.offsets], commit_first=False)
    return starts
