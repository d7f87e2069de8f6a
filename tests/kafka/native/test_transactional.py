"""What an error of the transactional producer leaves behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import confluent_kafka as ck
import pytest

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.producer import NotCommittedError
from transforms.kafka.native.transactional import TransactionalWriter


class Aborting:
    """A producer whose transactions have to be aborted once offsets are added."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def init_transactions(self, timeout_s: float) -> None: ...

    def begin_transaction(self) -> None: ...

    def send_offsets_to_transaction(self, offsets: Any, group: Any, timeout_s: float) -> None:
        raise ck.KafkaException(ck.KafkaError(ck.KafkaError.ILLEGAL_GENERATION, "rebalanced", txn_requires_abort=True))

    def poll(self, timeout_s: float) -> int:
        return 0


class Consumer:
    def memberid(self) -> str:
        return "member"


class Reader:
    consumer = Consumer()


def test_the_error_of_a_commit_goes_with_who_has_handled_it() -> None:
    """Not when garbage is collected, which is rare: its trace holds the producer, and all that is to be written."""
    writer = TransactionalWriter(KafkaConfig("h:1", ("in",), "group", "id"), open_producer=Aborting)
    reader: Any = Reader()
    gc.disable()
    try:
        with pytest.raises(NotCommittedError) as raised:
            writer.commit([], reader, None)
        error = weakref.ref(raised.value)
        del raised
        assert error() is None
    finally:
        gc.enable()
