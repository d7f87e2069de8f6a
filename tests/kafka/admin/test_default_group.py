"""The default group, which two jobs of different topics would share without knowing."""

from __future__ import annotations

import types
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
import pytest

from transforms.errors import ContractError
from transforms.kafka.admin.group import check_read
from transforms.kafka.config import KafkaConfig

CONFIG = KafkaConfig("h:1", ("payments",), "group")


class Admin:
    """Answers what the group has committed."""

    def __init__(self, *offsets: tuple[str, int]):
        self._offsets = offsets

    def list_consumer_group_offsets(self, asked: list[Any], request_timeout: float) -> dict[str, Future[Any]]:
        future: Future[Any] = Future()
        partitions = [ck.TopicPartition(topic, 0, offset) for topic, offset in self._offsets]
        future.set_result(types.SimpleNamespace(topic_partitions=partitions))
        return {asked[0].group_id: future}


def test_a_group_that_has_read_other_topics_is_refused() -> None:
    with pytest.raises(ContractError, match=r"has read orders and none of this job's topics.*--group_id=payments-scoring"):
        check_read(Admin(("orders", 5)), CONFIG)


@pytest.mark.parametrize("offsets", [(), (("orders", 5), ("payments", 0)), (("orders", ck.OFFSET_INVALID),)])
def test_others_are_not(offsets: Any) -> None:
    """Nor a job that has got one more topic."""
    check_read(Admin(*offsets), CONFIG)
