"""Values that depend on several flags: ``auto``, the demo's topics, the dead-letter topic.

Each function is named by a row of the table (``Flag.settle``) and returns the value that the config gets.
"""

from __future__ import annotations

from pipeline.cli.flag import Values
from pipeline.cli.names import AT_LEAST_ONCE, AUTO, BEAM, DIRECT, EMBEDDED, NATIVE, PRISM
from transforms.kafka import msk


def input_topics(values: Values) -> tuple[str, ...]:
    """Returns the topics to read. With the embedded broker the default is the demo's topic."""
    given: tuple[str, ...] = values["input_topic"]
    return given or (("digits",) if _embedded(values) else ())


def output_topic(values: Values) -> str:
    """Returns the topic of predictions. Empty if there is none; a rule refuses that."""
    given: str | None = values["output_topic"]
    return given or ("digits.predictions" if _embedded(values) else "")


def dead_letter_topic(values: Values) -> str:
    """Returns the dead-letter topic: by default the topic of predictions with ``.dead-letter``."""
    given: str | None = values["dead_letter_topic"]
    return given or f"{output_topic(values)}.dead-letter"


def kafka_io(values: Values) -> str:
    """Returns the implementation of Kafka. ``auto`` is librdkafka, on every runner."""
    given: str = values["kafka_io"]
    return NATIVE if given == AUTO else given


def assignment(values: Values) -> str:
    """Returns how partitions are assigned. ``auto`` is the consumer group, or static where a runner places the work."""
    given: str = values["assignment"]
    if given != AUTO:
        return given
    return "group" if values["runner"] in (*DIRECT, PRISM) else "static"


def kafka_properties(values: Values) -> tuple[tuple[str, str], ...]:
    """Returns the properties of Kafka. MSK's login by IAM gets its region here: a worker elsewhere may have another."""
    given: tuple[tuple[str, str], ...] = values["kafka_config"]
    region = msk.region_of(dict(given), values["bootstrap_servers"]) if msk.by_iam(dict(given)) else None
    return given if region is None else tuple(sorted({**dict(given), msk.REGION: region}.items()))


def delivery(values: Values) -> str:
    """Returns the delivery guarantee. The default is the best that the implementation of Kafka has.

    A guarantee that was asked for is never weakened: a rule refuses it (``rules/runners.py``).
    """
    given: str = values["delivery"]
    return given if kafka_io(values) != BEAM or values.given.get("delivery") == given else AT_LEAST_ONCE


def _embedded(values: Values) -> bool:
    return bool(values["bootstrap_servers"] == EMBEDDED)
