"""Checks Kafka before a job starts and, once all checks have passed, applies ``--start_from``."""

from __future__ import annotations

import contextlib
import dataclasses
import time

from pipeline.checking.contract import kafka_config
from pipeline.checking.waiting import StartWait
from pipeline.cli.config import Config
from pipeline.cli.names import DEFAULT_GROUP, EXACTLY_ONCE
from pipeline.reporting.status import Status
from pipeline.terminal import confirmed
from transforms.errors import ContractError
from transforms.kafka.admin.checks import Checker, Topics
from transforms.kafka.admin.start_over import Move, make, planned, started_from
from transforms.kafka.admin.transactions import check_transactions
from transforms.kafka.start_from import COMMITTED
from transforms.kafka.stop import StopConditions

SHARD = "shard"
"""Instance id of a job with shards; the shard's number is appended. It does not name the host, so that the same job fences
the old one when it is submitted again from another host."""


@dataclasses.dataclass(frozen=True, slots=True)
class Looked:
    """What the checks of Kafka found.

    Attributes:
        checker: Its connection is open.
        topics: The topics.
        move: What ``--start_from`` would change; ``None`` for ``committed``.
    """

    checker: Checker
    topics: Topics
    move: Move | None

    def moves(self, config: Config) -> bool:
        """Whether this start moves the group's offsets: once for each value, unless it is asked for again."""
        return self.move is not None and (config.start_from_again or not self.move.was_made)


def look(config: Config, waiting: StartWait, stack: contextlib.ExitStack) -> Looked:
    """Checks topics and group. Makes topics that are to be made, and changes nothing else.

    Args:
        config: The flags.
        waiting: The wait of this start for Kafka.
        stack: Closes the connection.

    Raises:
        NotReadyError: Kafka does not answer.
        ContractError: The job can't run.
    """
    checker = Checker(kafka_config(config, "check"))
    stack.callback(checker.close)
    return waiting.until_there("Kafka", lambda timeout_s: _look(checker, config, timeout_s))


def _look(checker: Checker, config: Config, timeout_s: float) -> Looked:
    outputs = (config.output_topic, config.dead_letter_topic)
    topics = checker.topics(*outputs, create_output=config.create_topics, timeout_s=timeout_s)
    checker.check_group(DEFAULT_GROUP, shared=config.allow_shared_group)
    move = None if config.start_from == COMMITTED else planned(checker, topics.partitions, config.start_from)
    looked = Looked(checker, topics, move)
    if not looked.moves(config):
        checker.check_retention(topics.partitions)
    return looked


def begin(looked: Looked, config: Config, status: Status) -> tuple[StopConditions, tuple[str, ...]]:
    """Moves the group's offsets if this start does, and takes the ends of the topics.

    Returns:
        When to stop, and the values of ``--start_from`` that the group has had.

    Raises:
        NotReadyError: Kafka can't say yet whether the workers may write.
        ContractError: The group can't be moved, or somebody at the terminal does not want it; or workers elsewhere may not
            write in transactions.
    """
    if config.has_shards and config.delivery == EXACTLY_ONCE:
        check_transactions(kafka_config(config, config.instance_id or SHARD))
    checker, partitions, move = looked.checker, looked.topics.partitions, looked.move
    flag = f"--start_from={config.start_from}"
    if move is not None and looked.moves(config):
        said = f"group {config.group_id}: {flag}: {move.described()}"
        matters = move.is_known and (move.again or move.skipped)
        if matters and not config.yes and not confirmed(f"{said}. Go on?"):
            raise ContractError(f"{flag}: not confirmed; no offset was moved. Without it the group goes on where it is")
        had = make(checker, move)
        status.say(said)
    else:
        had = started_from(checker, partitions) if move is None else move.before
        if move is not None:
            status.say(f"{flag} was applied to group {config.group_id} before: it goes on where it is (--start_from_again)")
    if config.with_java:
        checker.commit_first(partitions)
    stop = checker.until_ends(partitions) if config.until_end else StopConditions()
    drain_at_s = time.time() + config.duration_s if config.duration_s is not None else None
    return dataclasses.replace(stop, max_records=config.max_records, drain_at_s=drain_at_s), had
