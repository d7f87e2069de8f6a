"""The registry's client against a registry: what is asked for, what is kept, and every error translated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.formats.decoding import records
from transforms.errors import ConfigError, NotServedError, TransientError, UnavailableError
from transforms.formats.options import RegistryConfig
from transforms.formats.registry import RegisteredSchema, Registry, UnknownSchemaError
from transforms.formats.schemas import FramedAvro
from transforms.testing.schema_registry_stub import Reference, SchemaRegistryStub

pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")

SECRET = "s3cret"


@pytest.fixture
def client(registry: SchemaRegistryStub) -> Iterator[Registry]:
    client = Registry(RegistryConfig(registry.url, (("timeout", "0.5"),)))
    yield client
    client.close()


def test_a_schema_by_its_id(registry: SchemaRegistryStub, client: Registry) -> None:
    number = registry.add('"string"', number=1_000_000)
    for _ in range(3):
        assert client.schema(number) == RegisteredSchema("AVRO", '"string"')
    assert registry.requests == [f"/schemas/ids/{number}"], "and it is kept"
    assert client.schema(registry.add('{"type":"object"}', "JSON")).kind == "JSON"


def test_references_come_before_what_refers_to_them(registry: SchemaRegistryStub, client: Registry) -> None:
    """Each once, though two refer to it."""
    registry.add("A", subject="a")
    registry.add("B", subject="b/b", references=[Reference("A", "a", 1)])
    number = registry.add("C", references=[Reference("A", "a", 1), Reference("B", "b/b", 1), Reference("A", "a", 1)])
    found = client.schema(number)
    assert (found.text, list(found.references.items())) == ("C", [("A", "A"), ("B", "B")])


def test_what_many_refer_to_is_asked_for_once(registry: SchemaRegistryStub, client: Registry) -> None:
    """Each of thirty imports all before it: on every path it would be 2**30 questions."""
    known: list[Reference] = []
    for index in range(30):
        number = registry.add(f"S{index}", subject=f"s{index}", references=known)
        known.append(Reference(f"S{index}", f"s{index}", 1))
    found = client.schema(number)
    assert list(found.references) == [f"S{index}" for index in range(29)]
    assert len(registry.requests) == 30


def test_references_in_a_circle_end(registry: SchemaRegistryStub, client: Registry) -> None:
    number = registry.add("A", subject="a", references=[Reference("A", "a", 1)])
    with pytest.raises(UnknownSchemaError, match="circle"):
        client.schema(number)


def test_unknown_ids(registry: SchemaRegistryStub, client: Registry) -> None:
    with pytest.raises(UnknownSchemaError, match="has no schema 99"):
        client.schema(99)
    asked = len(registry.requests)
    with pytest.raises(UnknownSchemaError, match="ids end at 2147483647"):
        client.schema(0xFFFFFFFF)
    assert len(registry.requests) == asked, "the registry would answer as if the address were wrong"
    number = registry.add("A", references=[Reference("B", "nowhere", 1)])
    with pytest.raises(UnknownSchemaError, match=f"schema {number}, or lacks one that it refers to"):
        client.schema(number)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, NotServedError), (403, NotServedError), (404, TransientError), (429, TransientError), (500, TransientError),
     (503, TransientError)],
)  # fmt: skip
def test_statuses(registry: SchemaRegistryStub, client: Registry, status: int, kind: type[Exception]) -> None:
    """A 404 without a registry's code is a wrong address or a proxy, and no reason to give a record up."""
    number = registry.add('"string"')
    registry.status = status
    with pytest.raises(kind, match=f"HTTP {status}"):
        client.schema(number)
    assert len(registry.requests) == 1, "trying again is not the client's business"
    with pytest.raises(kind):
        client.check()


def test_an_answer_that_is_no_schema(registry: SchemaRegistryStub, client: Registry) -> None:
    for answer in ({}, {"schema": None}, {"schema": {"type": "string"}}):
        registry.answer = lambda *_, answer=answer: (200, answer)  # type: ignore[method-assign]
        with pytest.raises(TransientError):
            client.schema(1)


def test_nobody_there(registry: SchemaRegistryStub, client: Registry) -> None:
    registry.down()
    with pytest.raises(UnavailableError, match="does not answer"):
        client.schema(1)
    registry.up()
    client.check()
    registry.answering.clear()
    with pytest.raises(UnavailableError, match="timed out"):  # after the half second that the client was given
        client.schema(2)


def test_credentials(registry: SchemaRegistryStub, client: Registry) -> None:
    registry.user_info = f"me:{SECRET}"
    number = registry.add('"string"')
    with pytest.raises(NotServedError, match="--schema_registry_config") as caught:
        client.schema(number)
    assert SECRET not in str(caught.value)
    config = RegistryConfig(registry.url, (("basic.auth.user.info", f"me:{SECRET}"),))
    assert SECRET not in repr(config)
    ours = Registry(config)
    assert ours.schema(number).text == '"string"'
    ours.close()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("basic.auth.userinfo", f"me:{SECRET}", "basic.auth.userinfo"),
        ("basic.auth.user.info", SECRET, "username"),
        ("timeout", SECRET, "timeout"),
        ("ssl.ca.location", "/no/such/file", "No such file"),
    ],
)
def test_properties_that_the_client_does_not_take(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Registry(RegistryConfig("http://127.0.0.1:1", ((name, value),)))
    assert SECRET not in str(caught.value)


# ---------------------------------------------------------------------- what is known of ids


def test_ids_are_wanted_until_they_are_known() -> None:
    avro = FramedAvro()
    framed = [b"\0\0\0\0\x07\x02a", b"\0\0\0\0\x08\x02a", b"\0\0\0\0\x07\x02b", b"\0\0\0", None, b"", b"{}"]
    assert avro.wanted(records(*framed)) == [7, 8]
    avro.learn(7, RegisteredSchema("AVRO", '"string"'))
    avro.miss(8, UnknownSchemaError("not there"))
    assert avro.read(framed[0] or b"") == "a"
    with pytest.raises(UnknownSchemaError):
        avro.read(framed[1] or b"")
    assert avro.wanted(records(*framed)) == [8], "it may have come meanwhile"
    avro.learn(8, RegisteredSchema("PROTOBUF", ""))
    assert avro.wanted(records(*framed)) == [], "it will never be Avro"
