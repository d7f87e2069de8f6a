"""``DecodeChunks`` as Beam drives it, with a registry: bundles that are let go, and those that go on."""

from __future__ import annotations

import pytest

from tests.formats.decoding import X, records, rows_of
from transforms.errors import UnavailableError
from transforms.formats.options import FormatOptions, RegistryConfig
from transforms.observe import Observer, observer, set_observer
from transforms.retry import RetryPolicy
from transforms.stages import DecodeChunks, DecodeConfig
from transforms.testing.schema_registry_stub import SchemaRegistryStub
from transforms.types import DecodedChunk, KafkaRecord

pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")

ROW = '{"type":"record","name":"Row","fields":[{"name":"x","type":{"type":"array","items":"%s"}}]}'


class Guard:
    def __init__(self, answer: bool):
        self.answer = answer

    def keep_alive(self, holding: bool = False) -> bool:
        return self.answer


def stage(registry: SchemaRegistryStub, guard: Guard, on_unavailable: str = "hold") -> DecodeChunks:
    formats = FormatOptions(registry=RegistryConfig(registry.url, (("timeout", "0.5"),)))
    retry = RetryPolicy(0.001, 0.001, 0.001)
    made = DecodeChunks(DecodeConfig(X, "avro", formats=formats, retry=retry, on_unavailable=on_unavailable), guard)
    made.setup()
    return made


def framed(number: int) -> list[KafkaRecord]:
    return records(b"\0" + number.to_bytes(4, "big") + b"\x04\0\0\x80\x3f\0\0\0\x40\0")


def bundle(made: DecodeChunks, *chunks: list[KafkaRecord]) -> list[DecodedChunk]:
    made.start_bundle()
    return [decoded for chunk in chunks for decoded in made.process(chunk)]


def test_nothing_of_a_void_bundle_leaves_after_its_void_is_known(registry: SchemaRegistryStub) -> None:
    """Not even what could be decoded; the next bundle starts anew."""
    known, other = registry.add(ROW % "float"), registry.add(ROW % "int")
    guard = Guard(answer=False)
    made = stage(registry, guard)
    assert [rows_of(chunk) for chunk in bundle(made, framed(known))] == [{0: [1, 2]}]
    registry.down()
    assert bundle(made, framed(other), framed(known)) == []
    guard.answer = True
    assert [rows_of(chunk) for chunk in bundle(made, framed(known))] == [{0: [1, 2]}]
    registry.up()
    assert len(bundle(made, framed(other))) == 1
    made.teardown()


def test_the_error_that_ends_the_job_is_told(registry: SchemaRegistryStub) -> None:
    told: list[Exception] = []

    class Recorder(Observer):
        def failed(self, error: Exception) -> None:
            told.append(error)

    number = registry.add(ROW % "float")
    registry.down()
    made = stage(registry, Guard(answer=True), "fail")
    before = observer()
    set_observer(Recorder())
    try:
        with pytest.raises(UnavailableError, match="the schema registry is down"):
            bundle(made, framed(number))
    finally:
        set_observer(before)
        made.teardown()
    assert [type(error) for error in told] == [UnavailableError]
