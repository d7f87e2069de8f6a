"""What follows from several flags together: ``auto``, the demo's topics, the topic of dead letters.

Each function is named by a row of the table (``Flag.settle``) and returns the value that the config gets.
"""

from __future__ import annotations

from pipeline.cli.flag import Values
from pipeline.cli.names import AT_LEAST_ONCE, AUTO, BEAM, DATAFLOW, DIRECT, EMBEDDED, NATIVE, PRISM


def input_topics(values: Values) -> tuple[str, ...]:
    """The topics to read: the demo's where the broker is embedded and none is named."""
    given: tuple[str, ...] = values["input_topic"]
    return given or (("digits",) if _embedded(values) else ())


def output_topic(values: Values) -> str:
    """The topic of predictions: likewise; empty if there is none, which the rules refuse."""
    given: str | None = values["output_topic"]
    return given or ("digits.predictions" if _embedded(values) else "")


def dead_letter_topic(values: Values) -> str:
    """The topic of dead letters: named after the one of predictions unless given."""
    given: str | None = values["dead_letter_topic"]
    return given or f"{output_topic(values)}.dead-letter"


def kafka_io(values: Values) -> str:
    """The implementation of Kafka: Beam's on Dataflow, else librdkafka."""
    given: str = values["kafka_io"]
    if given != AUTO:
        return given
    return BEAM if values["runner"] == DATAFLOW else NATIVE


def assignment(values: Values) -> str:
    """Who shares the partitions: the group, unless an engine places the work."""
    given: str = values["assignment"]
    if given != AUTO:
        return given
    return "group" if values["runner"] in (*DIRECT, PRISM) else "static"


def delivery(values: Values) -> str:
    """The guarantee: what the implementation of Kafka can promise, unless given.

    A guarantee that was asked for is never weakened: a rule refuses it (``rules/runners.py``).
    """
    given: str = values["delivery"]
    return given if kafka_io(values) != BEAM or values.given.get("delivery") == given else AT_LEAST_ONCE


def _embedded(values: Values) -> bool:
    return bool(values["bootstrap_servers"] == EMBEDDED)
