"""The default group, which two jobs of different topics would share without knowing."""

from __future__ import annotations

import types
from typing import Any

import confluent_kafka as ck
import pytest

from transforms.errors import ContractError
from transforms.kafka.admin.group import check_read
from transforms.kafka.config import KafkaConfig

CONFIG = KafkaConfig("h:1", ("payments",), "group")


class Consumer:
    """Knows what the group has committed of two topics, one partition each."""

    def __init__(self, **offsets: int):
        self._offsets = {"orders": ck.OFFSET_INVALID, "payments": ck.OFFSET_INVALID} | offsets

    def list_topics(self, timeout: float) -> Any:
        return types.SimpleNamespace(topics={name: types.SimpleNamespace(partitions={0: None}) for name in self._offsets})

    def committed(self, partitions: list[ck.TopicPartition], timeout: float) -> list[ck.TopicPartition]:
        return [ck.TopicPartition(tp.topic, tp.partition, self._offsets[tp.topic]) for tp in partitions]


def test_a_group_that_has_read_other_topics_is_refused() -> None:
    with pytest.raises(ContractError, match=r"has read orders and none of this job's topics.*--group_id=payments-scoring"):
        check_read(Consumer(orders=5), CONFIG)


@pytest.mark.parametrize("offsets", [{}, {"orders": 5, "payments": 0}, {"payments": 7}])
def test_others_are_not(offsets: dict[str, int]) -> None:
    """Nor a job that has got one more topic."""
    check_read(Consumer(**offsets), CONFIG)
