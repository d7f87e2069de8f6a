"""``python -m pipeline.replay``: dead letters back to the topic they came from, or through the model, each exactly once.

LetterTopics ─► TopicReader ─► Selection ─► ─────────────► ReplayTransactions ─► source topic, ledger
                (from the      (filters,    └► Scoring ─►                        (or output topic, ledger)
                beginning)     ledger,
                               restored)
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from pipeline import worker
from pipeline.checking.waiting import StartWait
from pipeline.cli.entry import flags_or_told
from pipeline.dead_letter_tools.exit_status import exit_status
from pipeline.dead_letter_tools.flags import REPLAY, ReplayConfig, parse_replay
from pipeline.dead_letter_tools.output import print_counts, print_samples, print_tally, write_counts
from pipeline.dead_letter_tools.pace import ReplayRate
from pipeline.dead_letter_tools.progress import NoProgress, open_progress
from pipeline.dead_letter_tools.selecting import Counts, Restored, Selection
from pipeline.dead_letter_tools.tally import Tally
from pipeline.process.order import EXIT_DONE, EXIT_FAILED, EXIT_WRONG
from pipeline.process.signals import drain_on_signals
from pipeline.terminal import tell_error
from transforms.clients.saved_model.store import STORE
from transforms.errors import ContractError, FencedError, ScoringError
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig
from transforms.kafka.dead_letters.reading import TopicReader
from transforms.kafka.dead_letters.topics import LetterTopics
from transforms.kafka.dead_letters.writing import ReplayTransactions, ReplayWriter, replay_config
from transforms.kafka.native.mending import Mender
from transforms.kafka.native.originals import Originals
from transforms.kafka.stop import draining, request_drain, reset_drain
from transforms.kafka.topic_limits import read_limits
from transforms.types import KafkaRecord, OutputRecord

if TYPE_CHECKING:
    from pipeline.dead_letter_tools.scoring import Scoring

AT_ONCE, AT_ONCE_BYTES = 500, 8_000_000
"""Most records of a transaction, and most bytes of their values unless one alone has more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    asked = flags_or_told(parse_replay, argv, REPLAY)
    if asked is None:
        return EXIT_WRONG
    worker.quiet_logging()
    reset_drain()
    drain_on_signals(request_drain)
    return replay(asked, sys.stdout)


def replay(asked: ReplayConfig, out: TextIO) -> int:
    """Replays, or with ``--dry_run`` shows what would be replayed.

    Returns:
        0 done, or drained by a signal; 2 if topics, model and flags do not fit; 1 if it failed while replaying.
    """
    counts, tally = Counts(), Tally(asked.sample)
    kafka = replay_config(asked.bootstrap_servers, asked.dead_letter_topic, asked.kafka_properties)
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(STORE.close)  # a model in this process
            _replay(asked, kafka, counts, tally, stack)
    except FencedError:
        tell_error(f"another replay of {asked.dead_letter_topic} has begun; it goes on, and nothing is written twice")
        return EXIT_FAILED
    except ScoringError as error:
        tell_error(error)
        if counts.replayed and not asked.dry_run:
            tell_error(f"{counts.replayed:,} were replayed before that; run it again for the rest")
        return exit_status(error, asked.wait_for_start_s)
    if asked.dry_run:
        print_tally(tally, out, with_replayed=False)
        print_samples(tally.samples(), out, show_values=asked.show_values)
    if asked.status != "off" or asked.dry_run:
        print_counts(counts, out, score=asked.score, dry_run=asked.dry_run, stopped=draining(), classes=asked.error_classes)
    if asked.summary_json is not None:
        write_counts(counts, asked.summary_json)
    return EXIT_DONE


def _replay(asked: ReplayConfig, kafka: KafkaConfig, counts: Counts, tally: Tally, stack: contextlib.ExitStack) -> None:
    waiting = StartWait(asked.wait_for_start_s)
    topics = stack.enter_context(contextlib.closing(waiting.until_there("Kafka", lambda _: LetterTopics(kafka))))
    ledger = topics.new_ledger()
    originals = stack.enter_context(contextlib.closing(Originals(kafka)))
    selection = Selection(asked, ledger, topics.partitions, originals, counts)
    scoring = _scoring(asked, kafka, topics, waiting, stack) if asked.score else None
    progress = open_progress("off" if asked.dry_run else asked.status)
    transactions = None
    if asked.dry_run:
        ledger.read(topics.read_ledger())
    else:
        if topics.make_ledger():
            progress.say(f"made {topics.ledger_topic}, the ledger of what was replayed")
        writer = ReplayWriter(kafka, to_source=not asked.score)
        mender = Mender(kafka) if asked.score else None
        transactions = ReplayTransactions(writer, mender, ledger, topics.ledger_topic, topics.read_ledger)
        stack.callback(transactions.close)
        transactions.refresh()  # after the producer has ended what another one had left open
        where = f"through {asked.model} into {asked.output_topic}" if asked.score else "to the topics they came from"
        progress.say(f"replaying the dead letters of {topics.name} {where}, exactly once")
    reader = stack.enter_context(contextlib.closing(topics.letters()))
    with progress:
        for part in _parts(asked, reader, selection, progress):
            if transactions is None:
                for letter, _ in part:
                    tally.add(letter)
                counts.replayed += len(part)
            elif not _commit(part, transactions, scoring, counts):
                break


def _parts(asked: ReplayConfig, reader: TopicReader, selection: Selection, progress: NoProgress) -> Iterator[list[Restored]]:
    """Yields what to replay, in parts of one transaction each, no faster than asked for, until it is time to end."""
    pace = ReplayRate(None if asked.dry_run else asked.max_rate, draining)
    end_at = None if asked.duration_s is None else time.monotonic() + asked.duration_s
    counts, asked_for = selection.counts, asked.max_records
    for records in reader.chunks():
        found = selection.of(records, reader.append_time)
        if asked_for is not None:
            found = found[: asked_for - counts.replayed]
        while found:
            part = _first_part(found, pace.part(AT_ONCE))
            pace.wait(len(part))
            if draining():
                return
            yield part
            found = found[len(part) :]
            progress.show(reader.passed, reader.offsets, counts)
        progress.show(reader.passed, reader.offsets, counts)
        if end_at is not None and time.monotonic() > end_at:
            request_drain()
        if draining() or (asked_for is not None and counts.replayed >= asked_for):
            return


def _first_part(found: Sequence[Restored], most: int) -> list[Restored]:
    size, part = 0, list[Restored]()
    for letter, record in found[:most]:
        size += len(record.value or b"")
        if part and size > AT_ONCE_BYTES:
            break
        part.append((letter, record))
    return part


def _commit(part: Sequence[Restored], transactions: ReplayTransactions, scoring: Scoring | None, counts: Counts) -> bool:
    """Replays one part; returns false if the replay ended while the model server was waited for."""
    records = [record for _, record in part]
    outputs = [_as_output(record) for record in records] if scoring is None else scoring.score(records)
    if outputs is None:
        return False
    committed = transactions.commit({letter.place: output for (letter, _), output in zip(part, outputs, strict=True)})
    counts.replayed += committed.done
    counts.refused += committed.refused
    counts.dead += committed.dead
    return True


def _as_output(record: KafkaRecord) -> OutputRecord:
    source = record.topic, record.partition, record.offset
    return OutputRecord(record.topic, record.key, record.value, record.headers, record.timestamp_ms, source, None)


def _scoring(
    asked: ReplayConfig, kafka: KafkaConfig, topics: LetterTopics, waiting: StartWait, stack: contextlib.ExitStack
) -> Scoring:
    if asked.output_topic not in topics.partitions:
        raise ContractError(f"--output_topic={asked.output_topic}: the topic does not exist")
    from pipeline.dead_letter_tools.scoring import open_scoring  # here: it loads Beam, which takes a second

    limits = read_limits(open_admin(kafka), [asked.output_topic]).get(asked.output_topic)
    scoring = open_scoring(asked, None if limits is None else limits.max_bytes, waiting)
    stack.callback(scoring.close)
    return scoring
