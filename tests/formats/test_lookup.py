"""Waiting for the schema registry: the bundle is held, the group kept, and the three ways to end the wait."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.dispatching import recording
from tests.formats.decoding import records
from transforms.errors import NotServedError, TransientError, UnavailableError
from transforms.formats.lookup import RegistryUnavailableError, SchemaLookup
from transforms.formats.registry import RegisteredSchema, UnknownSchemaError
from transforms.formats.schemas import FramedAvro
from transforms.retry import RetryPolicy

STRING = RegisteredSchema("AVRO", '"string"')
VALUES = records(b"\0\0\0\0\x07\x02a", b"\0\0\0\0\x08\x02b")


class Source:
    """Fails as scripted, then answers."""

    def __init__(self, *errors: Exception, known: tuple[int, ...] = (7, 8)):
        self.errors, self.known = list(errors), known
        self.asked: list[int | str] = []

    def schema(self, schema_id: int | str) -> RegisteredSchema:
        self.asked.append(schema_id)
        if self.errors:
            raise self.errors.pop(0)
        if schema_id not in self.known:
            raise UnknownSchemaError(f"no {schema_id}")
        return STRING

    def close(self) -> None:
        """Nothing to close."""


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= 0.25, "the group must be kept meanwhile"
        self.now += seconds


class Guard:
    def __init__(self, good_for: int = 10**9):
        self.asked, self.good_for = 0, good_for

    def keep_alive(self, holding: bool = False) -> bool:
        self.asked += 1
        return self.asked <= self.good_for


Make = Callable[..., SchemaLookup]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[SchemaLookup] = []

    def make(source: Source, guard: Guard | None = None, on: str = "hold", deadline_s: float = 60) -> SchemaLookup:
        time = Time()
        lookup = SchemaLookup(source, guard or Guard(), RetryPolicy(deadline_s), on, time, time.sleep, random.Random(1))
        made.append(lookup)
        return lookup

    yield make
    for lookup in made:
        lookup.close()


def down(times: int) -> list[Exception]:
    return [UnavailableError("the schema registry at u does not answer: refused") for _ in range(times)]


def read(avro: FramedAvro) -> list[str]:
    found = []
    for record in VALUES:
        try:
            found.append(avro.read(record.value or b""))
        except UnknownSchemaError:
            found.append("unknown")
    return found


def test_each_schema_is_asked_for_once(make: Make) -> None:
    source, avro = Source(), FramedAvro()
    lookup = make(source)
    assert all(lookup.teach(avro, VALUES) for _ in range(3))
    assert (source.asked, read(avro)) == ([7, 8], ["a", "b"])


def test_an_unknown_id_is_no_reason_to_wait_and_is_asked_for_again(make: Make) -> None:
    source, avro, guard = Source(known=(8,)), FramedAvro(), Guard()
    lookup = make(source, guard)
    assert lookup.teach(avro, VALUES)
    assert (read(avro), guard.asked) == (["unknown", "b"], 0)
    source.known = (7, 8)
    assert lookup.teach(avro, VALUES)
    assert read(avro) == ["a", "b"]


def test_a_registry_that_is_down_holds_the_bundle_until_it_is_back(make: Make) -> None:
    """For as long as it takes, which is longer here than any deadline; and says so, and when it is over."""
    source, avro, guard = Source(*down(500)), FramedAvro(), Guard()
    with recording() as told:
        assert make(source, guard).teach(avro, VALUES)
    assert read(avro) == ["a", "b"]
    assert guard.asked > 500
    assert told.held[-1] is None
    assert set(told.held[:-1]) == {"the schema registry at u does not answer: refused"}


def test_a_blip_is_told_nobody(make: Make) -> None:
    with recording() as told:
        assert make(Source(TransientError("HTTP 500"), NotServedError("HTTP 401"))).teach(FramedAvro(), VALUES)
    assert told.held == []


def test_a_bundle_that_can_no_longer_be_committed_is_let_go(make: Make) -> None:
    with recording() as told:
        assert not make(Source(*down(10**5)), Guard(good_for=40)).teach(FramedAvro(), VALUES)
    assert told.held[-1] is None


def test_a_registry_that_hangs_does_not_keep_the_group_waiting(make: Make) -> None:
    """The guard is asked while the request is under way."""
    answering, avro = threading.Event(), FramedAvro()

    class Hanging(Source):
        def schema(self, schema_id: int | str) -> RegisteredSchema:
            assert answering.wait(20)
            return STRING

    class Answered(Guard):
        def keep_alive(self, holding: bool = False) -> bool:
            if super().keep_alive() and self.asked == 2:
                answering.set()
            return True

    guard = Answered()
    assert make(Hanging(), guard).teach(avro, VALUES)
    assert guard.asked >= 2
    assert read(avro) == ["a", "b"]


def test_a_bundle_is_let_go_while_the_registry_hangs(make: Make) -> None:
    answering = threading.Event()

    class Hanging(Source):
        def schema(self, schema_id: int | str) -> RegisteredSchema:
            answering.wait(20)
            return STRING

    assert not make(Hanging(), Guard(good_for=1)).teach(FramedAvro(), VALUES)
    answering.set()


def test_on_unavailable_dead_letter(make: Make) -> None:
    """After the deadline, with a class of their own; the next chunk asks again."""
    source, avro = Source(*down(10**5)), FramedAvro()
    lookup = make(source, on="dead_letter", deadline_s=5)
    assert lookup.teach(avro, VALUES)
    with pytest.raises(RegistryUnavailableError, match="schema 7 could not be looked up: the schema registry at u"):
        avro.read(VALUES[0].value or b"")
    source.errors = []
    assert lookup.teach(avro, VALUES)
    assert read(avro) == ["a", "b"]


def test_on_unavailable_fail(make: Make) -> None:
    with recording() as told, pytest.raises(UnavailableError, match="the schema registry is down"):
        make(Source(*down(10**5)), on="fail", deadline_s=5).teach(FramedAvro(), VALUES)
    assert told.held[-1] is None
