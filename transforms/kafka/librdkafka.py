"""What librdkafka says of properties before a client is opened with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.kafka import msk

NO_SUCH_PROPERTY = "No such configuration property"
"""librdkafka's words."""


def refused_by_librdkafka(properties: Mapping[str, Any]) -> str | None:
    """Why librdkafka makes no client of these properties, in its own words, or ``None``."""
    import confluent_kafka as ck

    try:
        ck.Producer({**properties, "log_level": 0})
    except ck.KafkaException as error:
        return str(error.args[0].str())
    except (TypeError, ValueError, AttributeError):  # what confluent_kafka takes from Python alone: functions, dictionaries
        return NO_SUCH_PROPERTY
    return None


def unknown_properties(properties: Mapping[str, Any]) -> list[str]:
    """Returns the names that are no properties of librdkafka; MSK's login by IAM has some of ours."""
    found = msk.as_librdkafka_has_it(properties)
    return [name for name, value in found.items() if NO_SUCH_PROPERTY in (refused_by_librdkafka({name: value}) or "")]
