"""``open_writer``: the writer of a job, by its delivery guarantee."""

from __future__ import annotations

from transforms.kafka.config import EXACTLY_ONCE, KafkaConfig
from transforms.kafka.native.acknowledged import AcknowledgedWriter
from transforms.kafka.native.producer import Writer
from transforms.kafka.native.transactional import TransactionalWriter


def open_writer(config: KafkaConfig) -> Writer:
    """Makes the writer for ``config.delivery``.

    Raises:
        FencedError: A newer process of this instance is already there.
        KafkaError: No broker answers, or it refuses us.
    """
    return TransactionalWriter(config) if config.delivery == EXACTLY_ONCE else AcknowledgedWriter(config)
