"""A writer that may not use its transactional id: told with the command that grants it, and only with cures that fit."""

from __future__ import annotations

from functools import partial
from typing import Any

import confluent_kafka as ck
import pytest

from transforms.errors import MissingRightError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.dead_letters.writing import ReplayWriter, replay_config
from transforms.kafka.native.transactional import TransactionalWriter


class Refused:
    """A producer whose user may not write with its transactional id."""

    def __init__(self, properties: dict[str, Any], logger: Any): ...

    def init_transactions(self, timeout_s: float) -> None:
        raise ck.KafkaException(ck.KafkaError(ck.KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))

    def poll(self, timeout_s: float) -> int:
        return 0

    def flush(self, timeout_s: float) -> int:
        return 0

    def purge(self) -> None: ...


@pytest.mark.parametrize(
    ("open_writer", "other_cure"),
    [
        (partial(TransactionalWriter, KafkaConfig("h:1", ("in",), "group", "id")), True),
        (partial(ReplayWriter, replay_config("h:1", "dlq", ()), True), False),
    ],
)
def test_the_command_that_grants_it_is_named(open_writer: Any, other_cure: bool) -> None:
    with pytest.raises(MissingRightError, match=r"no right to Write with the transactional id .*kafka-acls\.sh") as raised:
        open_writer(open_producer=Refused)
    assert ("--delivery=" in str(raised.value)) is other_cure, "a replay has no other delivery"


def test_shards_are_granted_all_their_names_at_once() -> None:
    """Each shard has a transactional id, and each claim lock; to be told them one after the other would take many starts."""
    config = KafkaConfig("h:1", ("in",), "group", "shard-0", assignment="static")
    with pytest.raises(MissingRightError, match=r"--transactional-id group- --resource-pattern-type prefixed"):
        TransactionalWriter(config, open_producer=Refused)
