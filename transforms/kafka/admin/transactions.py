"""Checks the right to write in transactions, for a job whose workers are elsewhere: nobody sees there that it is missing."""

from __future__ import annotations

import dataclasses
import time

import confluent_kafka as ck

from transforms.errors import ContractError, NotReadyError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.grants import on_transactional_id
from transforms.kafka.vendor import REFUSED_ID, describe, is_transient
from transforms.retry import Deadline

TIMEOUT_S = 10.0

CHECK = "check"
"""In place of a shard's number: the transactional id of no shard and of no claim lock, so that nobody is fenced."""


def check_transactions(config: KafkaConfig) -> None:
    """Opens a transactional producer, and writes nothing.

    Args:
        config: The Kafka configuration of a job with shards.

    Raises:
        NotReadyError: Kafka can't say it yet.
        ContractError: The user may not write with the transactional ids of the group.
    """
    ours = dataclasses.replace(config, instance_id=f"{config.instance_id}-{CHECK}")
    producer = ck.Producer({**ours.producer_properties(), "log_level": 0})  # errors are raised as ContractError instead
    deadline = Deadline(TIMEOUT_S)
    while True:
        try:
            producer.init_transactions(max(deadline.left_s, 0.1))
        except ck.KafkaException as raised:
            error = raised.args[0]
        else:
            return
        if error.code() in REFUSED_ID:
            raise ContractError(f"--delivery=exactly_once: {on_transactional_id(ours)}")
        if not is_transient(error) or deadline.passed:
            kind = NotReadyError if is_transient(error) else ContractError
            raise kind(f"--delivery=exactly_once: no transaction can be begun: {describe(error)}")
        time.sleep(0.1)
