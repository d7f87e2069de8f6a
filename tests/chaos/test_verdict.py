"""The chaos suite sees each kind of fault in what it judges: a suite that finds nothing must be one that could."""

from __future__ import annotations

import pytest

from tests.chaos.verdict import Generation, Verdict, judge, judge_all
from tests.kafka_cluster import java_hash
from transforms.types import Headers, KafkaRecord

TOPIC = "in"
VALUES = {(TOPIC, 0, 0): 1.0, (TOPIC, 0, 1): 2.0, (TOPIC, 0, 3): 4.0}
POISON = {(TOPIC, 0, 2): frozenset({"Rejected"})}


def outcome(offset: int, value: bytes | None = None, error_class: str = "", topic: str = "out") -> KafkaRecord:
    headers: Headers = [("inference.source", f"{TOPIC}/0/{offset}".encode())]
    if error_class:
        headers.append(("inference.error.class", error_class.encode()))
    return KafkaRecord(topic, 0, 0, None, None, value, headers)


PREDICTIONS = [outcome(0, b'{"y": [2.5]}'), outcome(1, b'{"y": [3.0]}'), outcome(3, b'{"y": [4.0]}')]
DEAD = [outcome(2, error_class="Rejected", topic="out.dead-letter")]
GOOD = {"records": 4, "missing": 0, "doubled": 0, "wrong": 0, "out_of_order": 0, "wrongly_dead": 0}


def judged(predictions: list[KafkaRecord], dead_letters: list[KafkaRecord]) -> Verdict:
    return judge({(TOPIC, 0): range(4)}, VALUES, POISON, predictions, dead_letters)


def test_all_is_well() -> None:
    verdict = judged(PREDICTIONS, DEAD)
    assert verdict == Verdict(**GOOD)
    assert verdict.ok(exactly_once=True)


@pytest.mark.parametrize(
    ("predictions", "dead_letters", "found"),
    [
        (PREDICTIONS[1:], DEAD, {"missing": 1}),
        (PREDICTIONS, [], {"missing": 1}),
        ([*PREDICTIONS[:2], outcome(3, b'{"y": [9.0]}')], DEAD, {"wrong": 1}),
        ([*PREDICTIONS, outcome(7, b'{"y": [1.0]}')], DEAD, {"wrong": 1}),
        (PREDICTIONS[:2], [*DEAD, outcome(3, error_class="ServerError", topic="out.dead-letter")], {"wrongly_dead": 1}),
        (PREDICTIONS, [outcome(2, error_class="Unavailable", topic="out.dead-letter")], {"wrongly_dead": 1}),
        ([*PREDICTIONS[:2], outcome(2, b'{"y": [1.0]}'), PREDICTIONS[2]], [], {"wrongly_dead": 1}),
    ],
    ids=["lost", "poison lost", "another's answer", "nobody's answer", "healthy and dead", "another class", "poison scored"],
)
def test_no_guarantee_allows_it(
    predictions: list[KafkaRecord], dead_letters: list[KafkaRecord], found: dict[str, int]
) -> None:
    verdict = judged(predictions, dead_letters)
    assert verdict == Verdict(**{**GOOD, **found})
    assert not verdict.ok(exactly_once=False)


@pytest.mark.parametrize(
    ("predictions", "found"),
    [([*PREDICTIONS, PREDICTIONS[2]], {"doubled": 1}), (PREDICTIONS[::-1], {"out_of_order": 2})],
    ids=["twice", "wrong way round"],
)
def test_only_at_least_once_allows_it(predictions: list[KafkaRecord], found: dict[str, int]) -> None:
    verdict = judged(predictions, DEAD)
    assert verdict == Verdict(**{**GOOD, **found})
    assert not verdict.ok(exactly_once=True)
    assert verdict.ok(exactly_once=False)


def test_a_deleted_record_may_have_been_answered_or_not() -> None:
    """Once at most, and rightly; where it has an outcome, it counts as a record."""
    deleted = Generation(10, VALUES, {}, optional={(TOPIC, 0, 3)})
    answered, not_answered = judge_all([deleted], PREDICTIONS, []), judge_all([deleted], PREDICTIONS[:2], [])
    assert answered == Verdict(**{**GOOD, "records": 3})
    assert not_answered == Verdict(**{**GOOD, "records": 2})
    assert judge_all([deleted], [*PREDICTIONS, PREDICTIONS[2]], []).doubled == 1
    assert judge_all([deleted], [*PREDICTIONS[:2], outcome(3, b'{"y": [9.0]}')], []).wrong == 1
    assert judge_all([deleted], PREDICTIONS[1:], []).missing == 1


def test_a_record_deleted_before_it_was_read_has_no_outcome() -> None:
    assert judge_all([Generation(10, VALUES, {}, gone={(TOPIC, 0, 3)})], PREDICTIONS, []).wrong == 1


NEW_VALUES = {(TOPIC, 0, 0): 10.0, (TOPIC, 0, 1): 11.0}
NEW_PREDICTIONS = [outcome(0, b'{"y": [7.0]}'), outcome(1, b'{"y": [7.5]}')]
GENERATIONS = [Generation(10, VALUES, {}), Generation(12, NEW_VALUES, {})]


def test_a_topic_made_again_has_the_same_offsets() -> None:
    """Offset 0 of it is no second outcome of the former topic's offset 0; each generation is judged for itself."""
    assert judge_all(GENERATIONS, [*PREDICTIONS, *NEW_PREDICTIONS], []) == Verdict(**{**GOOD, "records": 5})


@pytest.mark.parametrize(
    ("predictions", "dead_letters", "found"),
    [
        ([*PREDICTIONS, *NEW_PREDICTIONS[1:]], [], {"missing": 1}),
        ([*PREDICTIONS[1:], *NEW_PREDICTIONS], [], {"missing": 1}),
        ([*PREDICTIONS, *NEW_PREDICTIONS, NEW_PREDICTIONS[1]], [], {"doubled": 1}),
        ([*PREDICTIONS, *NEW_PREDICTIONS[::-1]], [], {"out_of_order": 1}),
        ([*PREDICTIONS, NEW_PREDICTIONS[0], outcome(1, b'{"y": [99.0]}')], [], {"wrong": 1}),
        ([*PREDICTIONS, NEW_PREDICTIONS[0], outcome(1, b'{"y": "?"}')], [], {"wrong": 1}),
        # An answer of the former topic's record for the new one's: it is doubled there and wrong, and missing here.
        ([*PREDICTIONS, NEW_PREDICTIONS[0], outcome(1, b'{"y": [2.5]}')], [], {"doubled": 1, "wrong": 1, "missing": 1}),
        ([*PREDICTIONS, NEW_PREDICTIONS[0]], [outcome(1, error_class="Rejected")], {"wrongly_dead": 1}),
    ],
    ids=["new one lost", "old one lost", "twice", "wrong way round", "nobody's answer", "no number", "mixed up", "dead"],
)
def test_each_generation_is_judged(
    predictions: list[KafkaRecord], dead_letters: list[KafkaRecord], found: dict[str, int]
) -> None:
    verdict = judge_all(GENERATIONS, predictions, dead_letters)
    assert {name: getattr(verdict, name) for name in found} == found
    assert not verdict.ok(exactly_once=True)


def test_java_hash() -> None:
    """Of ``String.hashCode``, as documented: "hello" is 99162322; "polygenelubricants" is the lowest number there is."""
    assert java_hash("hello") == 99162322
    assert java_hash("polygenelubricants") == 0
