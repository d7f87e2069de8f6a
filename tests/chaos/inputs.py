"""Faults of the input topic: it gets partitions, loses records, has gaps, is deleted and made again."""

from __future__ import annotations

import time

from tests import topics
from tests.chaos.stream import Stream
from tests.integration.process import START_S, Scoring, wait_until

COMPACTED = {"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01"}
KEYS = 999
"""Records of one key are in one partition: a multiple of the number of partitions."""


def add_partitions(stream: Stream, times: int) -> None:
    """The input topic gets more partitions, which have records at once."""
    topic, bootstrap = stream.job.inputs[0], stream.job.bootstrap
    share = stream.planned // (times + 1)
    stream.fill(share)
    process = stream.job.start()
    for _ in range(times):
        with stream.fault(process):
            topics.add_partitions(bootstrap, topic, topics.partition_count(bootstrap, topic) + 1)
            stream.fill(share)
    stream.drain(process)


def aborted_transactions(stream: Stream, times: int) -> None:
    """The input has gaps: aborted transactions between its records, and markers of committed ones."""
    topic, bootstrap = stream.job.inputs[0], stream.job.bootstrap
    count = topics.partition_count(bootstrap, topic)
    for index in range(times):
        stream.fill(stream.planned // times)
        never = (b'{"x": [-7]}' for _ in range(100))
        topics.produce(bootstrap, topic, never, partitions=(n % count for n in range(100)), transaction="abort")
        stream.faults += 1
        stream.say(f"aborted transaction {index + 1}")
    stream.job.run("--until_end")


def retention(stream: Stream, times: int) -> None:
    """Records are deleted before they are read: the job ends and says how many; what it names goes on."""
    topic, bootstrap = stream.job.inputs[0], stream.job.bootstrap
    stream.fill(stream.planned)
    for _ in range(times):
        stream.throttle(0.2)
        process = stream.job.start("--until_end", "--kafka_config=session.timeout.ms=6000")
        stream.stub.faults.wait_for(lambda faults: faults.held > 0, START_S)
        ends = topics.end_offsets(bootstrap, topic)
        before = {partition: min(offset + 1000, ends[partition]) for partition, offset in stream.job.committed().items()}
        topics.delete_records(bootstrap, topic, before)
        stream.faults += 1
        stream.stub.faults.release()
        assert process.wait() == 1, process
        assert "retention has deleted" in process.stderr, process
        # What was committed since then was read before it was deleted.
        for partition, offset in stream.job.committed().items():
            stream.gone |= {(topic, partition, at) for at in range(offset, before[partition])}
        process = stream.job.start(
            "--max_records=1",
            "--start_from=committed_or_earliest",
            "--start_from_again",
            "--kafka_config=session.timeout.ms=6000",
        )
        process.done()
    stream.finish()


def compaction(stream: Stream, times: int) -> None:
    """Log compaction takes the older records of each key away, while the job reads."""
    topic, bootstrap = stream.job.inputs[0], stream.job.bootstrap
    topics.configure(bootstrap, topic, COMPACTED)
    partitions, share = topics.partition_count(bootstrap, topic), stream.planned // (times + 1)
    stream.fill(share, keys=KEYS)
    stream.stub.faults.hold_after(KEYS // 2)  # one of each key stays, however much is compacted: so many are there
    process = stream.job.start()
    for _ in range(times):
        # Compaction may have left fewer records than the model server was to answer: then nothing is held.
        wait_until(lambda: stream.stub.faults.held > 0 or stream.left() <= 0, "answer held, or the end", START_S, process)
        there = _there(stream)
        stream.fill(share - partitions, keys=KEYS)
        time.sleep(0.3)
        stream.fill(partitions, keys=KEYS)  # in a new segment: what was written before may be compacted
        _wait_until_fewer(stream, there + share // 2, process)
        with stream.fault(process):
            stream.stub.faults.hold_after(KEYS // 2)
    stream.drain(process)
    left = topics.offsets_of(topics.read_all(bootstrap, topic))
    stream.optional |= {it for it in stream.values if it[2] not in left.get((topic, it[1]), ())}
    stream.say(f"compaction has left {stream.job.produced - len(stream.optional):,} of {stream.job.produced:,} records")


def _wait_until_fewer(stream: Stream, than: int, process: Scoring) -> None:
    wait_until(lambda: _there(stream) < than, "compaction", START_S, process)


def _there(stream: Stream) -> int:
    return len(topics.read_all(stream.job.bootstrap, stream.job.inputs[0]))


def deleted(stream: Stream, times: int) -> None:
    """The input topic is deleted; the job waits, and says so. Then it is made again, and has other records."""
    _delete_and_make_again(stream, times, noticed=True)


def made_again(stream: Stream, times: int) -> None:
    """The input topic is deleted and made again at once, between two questions of the job, and has other records at once."""
    _delete_and_make_again(stream, times, noticed=False)


def _delete_and_make_again(stream: Stream, times: int, *, noticed: bool) -> None:
    topic, bootstrap = stream.job.inputs[0], stream.job.bootstrap
    count, share = topics.partition_count(bootstrap, topic), stream.planned // (times + 1)
    faults = stream.stub.faults

    def fill() -> None:
        """What comes after some answers is held: else a fast machine would run out of records before they are deleted."""
        faults.hold_after(stream.rng.randrange(share // 4, share // 2))
        stream.fill(share)

    fill()
    process = stream.job.start("--status=plain")
    for index in range(times):
        wait_until(lambda: faults.held > 0 or stream.left() <= 0, "answers, or nothing to answer", START_S, process)
        with stream.fault(process):
            said = _waits(process)
            stream.input_deleted()
            faults.release()
            topics.delete_topic(bootstrap, topic)
            if noticed:
                wait_until(lambda before=said: _waits(process) > before, "WAITING", START_S, process)  # type: ignore[misc]
            topics.create_topic(bootstrap, topic, count + index % 2)  # perhaps with one partition more
            stream.input_made_again()
            fill()
    stream.drain(process)


def _waits(process: Scoring) -> int:
    return process.stdout.count("WAITING for Kafka: the input topic")
