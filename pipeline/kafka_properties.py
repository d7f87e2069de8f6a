"""Which librdkafka properties can't be used, and why; no message holds a value that may be a secret."""

from __future__ import annotations

from collections.abc import Mapping

from transforms.kafka.config import PROTECTED


def property_problem(name: str, value: str) -> str | None:
    """What is wrong with one property, or ``None``."""
    if name in PROTECTED:
        return "is set by a flag, or by the guarantees; leave it out"
    text = refused_by_librdkafka({name: value})
    if text is None or text.startswith("Failed to create"):
        return None  # alone it makes no client (SASL without a mechanism, say): that is for all of them together to show
    if "No such configuration property" in text:
        return "no such librdkafka property"
    # librdkafka names the property and, for a bad choice, the value; a secret is never a bad choice.
    harmless = len(value) < 20 and "password" not in name and "key" not in name
    return "not accepted by librdkafka: " + (text if harmless else "bad value")


def refused_by_librdkafka(properties: Mapping[str, str]) -> str | None:
    """Why librdkafka makes no client of these properties, in its own words, or ``None``."""
    import confluent_kafka as ck

    try:
        ck.Producer({**properties, "log_level": 0})
    except ck.KafkaException as error:
        return str(error.args[0].str())
    return None
