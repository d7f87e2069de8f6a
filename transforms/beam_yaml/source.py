"""``ReadFromKafkaNative``: Kafka's records as rows, for Beam YAML."""

# No `from __future__ import annotations`: Beam YAML reads the types of the fields from the signature.

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam

from transforms.beam_yaml.fields import Fields
from transforms.errors import ContractError, SecretError
from transforms.kafka.admin.until_end import until_end
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE, KafkaConfig
from transforms.kafka.native.rows import ToRows
from transforms.kafka.native.source import ReadFromKafka
from transforms.kafka.protected import protected_problem
from transforms.kafka.stop import StopConditions

_FIELDS = Fields("ReadFromKafkaNative")


class ReadFromKafkaNative(beam.PTransform):
    """Reads topics as rows: ``topic``, ``partition``, ``offset``, ``timestamp_ms``, ``key``, ``value`` and ``headers``.

    It reads from the group's committed offsets. With a ``WriteToKafkaNative`` after it outputs and offsets are committed
    together: exactly once. Without one the offsets are committed after a bundle's results: at least once.

    Args:
        bootstrap_servers: ``HOST:PORT[,HOST:PORT]``.
        topics: The topics to read, a list.
        group_id: The consumer group; its committed offsets say where to read on.
        consumer_config: Further properties of librdkafka, such as ``security.protocol``, for reading and writing.
        dead_letter_topic: Where a record goes that can't be scored, or whose output Kafka refuses. Without it a refused
            output ends the pipeline, and what comes from ``ScoreWithModel`` can't be written to Kafka.
        max_num_records: End after so many records; without it the pipeline goes on for ever.
        max_read_time: End after so many seconds.
        until_end: End where the topics end when the pipeline is built; Kafka is asked then.
        delivery: ``exactly_once``, or ``at_least_once``: outputs are written without transactions, and after a failure
            some of them again.
        instance_id: Names this process among those of the group: each needs another, and the same at its next start.

    Raises:
        ValueError: A field can't be used.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topics: Sequence[str],
        group_id: str,
        consumer_config: Mapping[str, str] | None = None,
        dead_letter_topic: str | None = None,
        max_num_records: int | None = None,
        max_read_time: float | None = None,
        until_end: bool = False,
        delivery: str = EXACTLY_ONCE,
        instance_id: str = "0",
    ):
        super().__init__()
        properties = _FIELDS.properties("consumer_config", {} if consumer_config is None else consumer_config)
        for name, value in properties:
            if problem := protected_problem(name, value):
                raise _FIELDS.mistake("consumer_config", f"{name} {_in_yaml(problem)}")
        _FIELDS.number("max_num_records", max_num_records, whole=True)
        _FIELDS.number("max_read_time", max_read_time)
        if not isinstance(until_end, bool):
            raise _FIELDS.mistake("until_end", f"true or false, not {until_end!r}")
        if delivery not in (EXACTLY_ONCE, AT_LEAST_ONCE):
            raise _FIELDS.mistake("delivery", f"{EXACTLY_ONCE} or {AT_LEAST_ONCE}, not {delivery!r}")
        self._until_end = until_end
        self._config = KafkaConfig(
            _FIELDS.text("bootstrap_servers", bootstrap_servers),
            _FIELDS.texts("topics", topics),
            _FIELDS.text("group_id", group_id),
            properties=properties,
            delivery=delivery,
            instance_id=_FIELDS.text("instance_id", instance_id),
            dead_letter_topic=None if dead_letter_topic is None else _FIELDS.text("dead_letter_topic", dead_letter_topic),
        )
        end = None if max_read_time is None else time.time() + max_read_time
        self._stop = StopConditions(max_records=max_num_records, drain_at_s=end)

    def expand(self, pbegin: Any) -> Any:
        """Returns the PCollection of ``KafkaRow`` elements.

        Raises:
            ValueError: The ends of ``until_end`` can't be had.
        """
        read = ReadFromKafka(config=self._config, stop=self._ends() if self._until_end else self._stop)
        return pbegin | "Read" >> read | "Rows" >> ToRows()

    def _ends(self) -> StopConditions:
        try:
            ends = until_end(self._config)
        except (ContractError, SecretError) as error:
            raise _FIELDS.mistake("until_end", str(error)) from error
        return dataclasses.replace(ends, max_records=self._stop.max_records, drain_at_s=self._stop.drain_at_s)


def _in_yaml(problem: str) -> str:
    for flag in ("bootstrap_servers", "group_id"):
        problem = problem.replace(f"--{flag}", f"the field {flag}")
    return problem
