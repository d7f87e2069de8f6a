"""``open_admin``: an admin client with a job's own credentials."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from transforms.kafka.config import KafkaConfig, is_common


def open_admin(config: KafkaConfig) -> AdminClient:
    """Makes an admin client. Keep it while it is asked: a freed one answers ``_DESTROY``."""
    properties = {name: value for name, value in config.client_properties().items() if is_common(name)}
    return AdminClient({**properties, "log_level": 0})
