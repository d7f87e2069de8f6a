"""``Verdict``: what became of a job's records, counted against what should have."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping

from tests import topics
from transforms.types import KafkaRecord

ERROR_CLASS_HEADER = "inference.error.class"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The counts of one scenario.

    Attributes:
        records: How many input records there are.
        missing: Input records without an outcome.
        doubled: Input records with more than one.
        wrong: Predictions that are not the model's answer to their record, and outcomes of records that do not exist.
        out_of_order: Outcomes of one input partition the wrong way round in an output partition.
        wrongly_dead: Healthy records in the dead-letter topic, and poison that is not, or under another class.
    """

    records: int
    missing: int
    doubled: int
    wrong: int
    out_of_order: int
    wrongly_dead: int

    def ok(self, exactly_once: bool) -> bool:
        """Whether the guarantee held; at least once may double and reorder, and nothing else."""
        lost = self.missing or self.wrong or self.wrongly_dead
        return not lost and not (exactly_once and (self.doubled or self.out_of_order))


def judge(
    inputs: Mapping[tuple[str, int], Collection[int]],
    values: Mapping[topics.Source, float],
    poison: Mapping[topics.Source, frozenset[str]],
    predictions: list[KafkaRecord],
    dead_letters: list[KafkaRecord],
) -> Verdict:
    """Compares outcomes with inputs.

    Args:
        inputs: Topic and partition to the offsets that there are.
        values: Healthy record to its ``x``; the model is ``y = 0.5 * x + 2``.
        poison: Record that must become a dead letter to the classes that may be its.
        predictions: What a ``read_committed`` reader finds in the output topic.
        dead_letters: The same in the dead-letter topic.
    """
    report = topics.check_exactly_once(inputs, predictions, dead_letters)
    wrong = sum(not _is_right(record, values) for record in predictions)
    return Verdict(
        records=report.expected,
        missing=len(report.missing),
        doubled=len(report.duplicated),
        wrong=wrong + len(report.unexpected) + report.without_source,
        out_of_order=len(report.out_of_order),
        wrongly_dead=sum(not _is_rightly_dead(record, poison) for record in dead_letters)
        + sum(topics.source_of(record) in poison for record in predictions),
    )


def _is_right(record: KafkaRecord, values: Mapping[topics.Source, float]) -> bool:
    source = topics.source_of(record)
    if source is None or source not in values:
        return True  # counted as unexpected, or as poison
    found: object = json.loads(record.value or b"null")
    return found == {"y": [0.5 * values[source] + 2]}


def _is_rightly_dead(record: KafkaRecord, poison: Mapping[topics.Source, frozenset[str]]) -> bool:
    source = topics.source_of(record)
    error_class = (dict(record.headers).get(ERROR_CLASS_HEADER) or b"").decode()
    return source is not None and source in poison and error_class in poison[source]
