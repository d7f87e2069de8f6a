"""``TopicLimits``: what a topic takes, as its configuration says. The broker refuses every record that breaks a limit."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, ConfigResource

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0

MOCK_CLUSTER = "mockCluster"
"""Prefix of the cluster ids of librdkafka's mock brokers."""

_CREATE_TIME = "CreateTime"


@dataclasses.dataclass(frozen=True, slots=True)
class TopicLimits:
    """The limits of one topic. ``None``: the topic has no such limit, or the broker is too old to have it.

    Attributes:
        max_bytes: ``max.message.bytes``: the most bytes of a batch, compressed.
        wants_key: Whether the topic is compacted, and takes no record with a null key.
        before_max_ms: How many milliseconds a timestamp may lie in the past.
        after_max_ms: How many milliseconds a timestamp may lie in the future.
    """

    max_bytes: int | None = None
    wants_key: bool = False
    before_max_ms: int | None = None
    after_max_ms: int | None = None


def limits_of(entries: Mapping[str, Any]) -> TopicLimits:
    """Returns the limits in a topic's configuration, as ``describe_configs`` gives it."""
    found = {name: str(entry.value) for name, entry in entries.items()}
    max_bytes = found.get("max.message.bytes")
    before, after = (found.get(f"message.timestamp.{side}.max.ms") for side in ("before", "after"))
    creates = found.get("message.timestamp.type", _CREATE_TIME) == _CREATE_TIME  # else the broker sets its own time
    return TopicLimits(
        None if max_bytes is None else int(max_bytes),
        "compact" in found.get("cleanup.policy", ""),
        int(before) if before is not None and creates else None,
        int(after) if after is not None and creates else None,
    )


def is_mock(admin: AdminClient) -> bool:
    """Whether the broker is librdkafka's mock broker, which leaves many an admin request without an answer."""
    return (admin.list_topics(timeout=TIMEOUT_S).cluster_id or "").startswith(MOCK_CLUSTER)


def read_limits(admin: AdminClient, topics: Iterable[str]) -> dict[str, TopicLimits]:
    """Asks the broker for the limits of topics.

    Returns:
        Topic to its limits. A topic whose configuration can't be read (no right ``DESCRIBE_CONFIGS``) is left out; the
        broker refuses records all the same.
    """
    found = {}
    try:
        if is_mock(admin):
            return {}  # it does not answer this request
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in sorted(set(topics))]
        for resource, future in admin.describe_configs(resources).items():
            try:
                found[resource.name] = limits_of(future.result(TIMEOUT_S))
            except (ck.KafkaException, ValueError, TimeoutError) as error:
                log.debug("the configuration of %s can't be read: %s", resource.name, error)
    except (ck.KafkaException, TimeoutError) as error:
        log.debug("topics' configurations can't be read: %s", error)
    return found
