"""``Verdict``: what became of a job's records, counted against what should have."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Self

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

    def __add__(self, other: Self) -> Self:
        ours, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return type(self)(*(one + another for one, another in zip(ours, theirs, strict=True)))


@dataclasses.dataclass(frozen=True)
class Generation:
    """The records of an input topic, from its being made to its being deleted: another generation has the same offsets.

    Attributes:
        end: Numbers of its records are below this one, and not below that of the generation before.
        values: Healthy record to its number.
        poison: Record that can only be a dead letter to the classes that may be its.
        gone: Records that were deleted before they could be read.
        optional: Records that were deleted, and that may have been read before.
    """

    end: int
    values: Mapping[topics.Source, float]
    poison: Mapping[topics.Source, frozenset[str]]
    gone: Collection[topics.Source] = ()
    optional: Collection[topics.Source] = ()


def judge_all(generations: Sequence[Generation], predictions: list[KafkaRecord], dead_letters: list[KafkaRecord]) -> Verdict:
    """Compares outcomes with the inputs of each generation; a prediction's number says of which it is.

    Dead letters have no number: they are taken for the last generation's.
    """
    last = len(generations) - 1
    own: list[list[KafkaRecord]] = [[] for _ in generations]
    for record in predictions:
        number = number_of(record)
        index = next((n for n, it in enumerate(generations) if number is not None and number < it.end), last)
        own[index].append(record)
    total: Verdict | None = None
    for index, (it, its) in enumerate(zip(generations, own, strict=True)):
        inputs: dict[tuple[str, int], set[int]] = {}
        for topic, partition, offset in (it.values.keys() | it.poison.keys()).difference(it.gone, it.optional):
            inputs.setdefault((topic, partition), set()).add(offset)
        dead = dead_letters if index == last else []
        verdict = judge(inputs, it.values, it.poison, its, dead, it.optional)
        total = verdict if total is None else total + verdict
    assert total is not None
    return total


def number_of(prediction: KafkaRecord) -> float | None:
    """The number that the model was asked for, by its answer; ``None`` if that is not one of the model's."""
    match json.loads(prediction.value or b"null"):
        case {"y": [float() | int() as answer]}:
            return (answer - 2) * 2
    return None


def judge(
    inputs: Mapping[tuple[str, int], Collection[int]],
    values: Mapping[topics.Source, float],
    poison: Mapping[topics.Source, frozenset[str]],
    predictions: list[KafkaRecord],
    dead_letters: list[KafkaRecord],
    optional: Collection[topics.Source] = (),
) -> Verdict:
    """Compares outcomes with inputs.

    Args:
        inputs: Topic and partition to the offsets that there are.
        values: Healthy record to its ``x``; the model is ``y = 0.5 * x + 2``.
        poison: Record that must become a dead letter to the classes that may be its.
        predictions: What a ``read_committed`` reader finds in the output topic.
        dead_letters: The same in the dead-letter topic.
        optional: Records, not among the inputs, that may have an outcome; if they have, it counts as any other.
    """
    report = topics.check_exactly_once(inputs, predictions, dead_letters)
    unexpected = set(report.unexpected).difference(optional)
    wrong = sum(not _is_right(record, values) for record in predictions)
    return Verdict(
        records=report.expected + len(set(report.unexpected)) - len(unexpected),
        missing=len(report.missing),
        doubled=len(report.duplicated),
        wrong=wrong + len(unexpected) + report.without_source,
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
