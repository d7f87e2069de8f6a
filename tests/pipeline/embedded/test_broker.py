"""The embedded broker and the generator that publishes to it."""

from __future__ import annotations

import logging
import socket
import struct
from collections import Counter
from typing import Any

import confluent_kafka
import pytest

from pipeline.embedded.broker import EmbeddedBroker, with_dead_letter_topics
from pipeline.embedded.digits import load_digits
from pipeline.embedded.generator import BROKEN_PER_KIND, KINDS, publish_digits, records
from transforms.errors import ContractError, KafkaError
from transforms.kafka.admin.checks import Checker
from transforms.kafka.config import KafkaConfig

"""A question that this broker leaves unanswered costs the whole time-out."""

QUIET = {"log_level": 0}


def read_all(address: str, topic: str, count: int) -> list[Any]:
    """Reads ``count`` records of a topic in a consumer group, and makes sure that there are no more."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest", **QUIET}
    )
    consumer.subscribe([topic])
    found: list[Any] = []
    while len(found) < count:
        messages = consumer.consume(count, timeout=10)
        assert messages, f"{len(found)} of {count} records"
        found += messages
    assert not consumer.consume(1, timeout=0.1)
    assert all(message.error() is None for message in found)
    consumer.commit(asynchronous=False)
    consumer.close()
    return found


def test_topics_have_their_partitions() -> None:
    """Topics are there before anyone asks, with the partitions wanted; later ones can be made."""
    with EmbeddedBroker({"one": 1, "seven": 7}) as broker:
        broker.create_topic("two", 2)
        client = confluent_kafka.Consumer({"bootstrap.servers": broker.address, "group.id": "g", **QUIET})
        topics = client.list_topics(timeout=10).topics
        assert {name: len(topic.partitions) for name, topic in topics.items()} == {"one": 1, "seven": 7, "two": 2}
        with pytest.raises(KafkaError, match=r"topic one .* already exists"):
            broker.create_topic("one", 3)
        client.close()


def test_fixed_port() -> None:
    """Clients reach it by the port asked for; a port in use is an error that says so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with EmbeddedBroker({"t": 1}, port=port) as broker:
        assert broker.address == f"127.0.0.1:{port}"
        producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, **QUIET})
        producer.produce("t", b"value", b"key", headers=[("h", b"1"), ("n", None)], timestamp=1234567890123)
        assert producer.flush(10) == 0
        (message,) = read_all(broker.address, "t", 1)
        assert (message.key(), message.value(), message.headers()) == (b"key", b"value", [("h", b"1"), ("n", None)])
        assert message.timestamp()[1] == 1234567890123
        with pytest.raises(KafkaError, match="in use"):
            EmbeddedBroker(port=port).start()


def test_close_twice() -> None:
    """Closing is safe at any time, and a closed broker starts anew."""
    broker = EmbeddedBroker({"t": 1})
    broker.close()
    first = broker.start()
    broker.close()
    broker.close()
    assert broker.address == ""
    assert broker.start() != ""
    assert first
    broker.close()


def test_generator_publishes_every_image_and_the_broken_ones() -> None:
    """1,797 images with true labels, four each of five kinds of broken records, nothing else."""
    progress: list[tuple[int, int]] = []
    with EmbeddedBroker({"digits": 4}) as broker:
        published = publish_digits(broker.address, "digits", on_progress=lambda *p: progress.append(p))
        found = read_all(broker.address, "digits", published.records)
    assert (published.good, published.broken, published.held_out, published.records) == (1797, 20, 360, 1817)
    assert progress[-1] == (1817, 1817)
    digits = {digit.name.encode(): digit for digit in load_digits()}
    good = {m.key(): m for m in found if m.key() in digits}
    assert good.keys() == digits.keys()
    for key, message in good.items():
        digit, headers = digits[key], dict(message.headers())
        assert message.value() == digit.png
        assert headers == {"label": str(digit.label).encode(), "split": b"held-out" if digit.held_out else b"train"}
    broken = [(dict(m.headers())["broken"].decode(), m.value()) for m in found if m.key() not in digits]
    assert Counter(kind for kind, _ in broken) == dict.fromkeys(KINDS, BROKEN_PER_KIND)
    for kind, value in broken:
        assert (value is None) == (kind == "null")
        assert (value == b"") == (kind == "empty")
        if kind == "truncated":
            assert value
            assert any(d.png.startswith(value) and len(value) < len(d.png) for d in digits.values())
        if kind == "oversized":
            assert struct.unpack(">II", value[16:24]) == (512, 512)  # width and height in the header


def test_order_is_random_but_fixed() -> None:
    """The same seed gives the same records in the same order; another seed another order."""
    first, again, other = (list(records(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(r[0] for r in first) == sorted(r[0] for r in other)
    names = [key for key, _, _ in first]
    assert names != sorted(names)


def test_generator_says_what_failed() -> None:
    """No broker there, or a property that is none: an error with librdkafka's reason."""
    with EmbeddedBroker() as broker:
        address = broker.address
    with pytest.raises(KafkaError, match=r"topic digits failed: .*timed out"):
        publish_digits(address, "digits", kafka_config={"message.timeout.ms": 200, "log_level": 0})
    with pytest.raises(KafkaError, match=r'No such configuration property: "no\.such"'):
        publish_digits(address, "digits", kafka_config={"no.such": 1})


def test_a_dead_letter_topic_that_kafka_does_not_make_is_named_with_the_cure() -> None:
    """The embedded broker never answers CreateTopics."""
    with EmbeddedBroker({"in": 1, "out": 1}) as broker:
        checker = Checker(KafkaConfig(broker.address, ("in",), "group"), create_timeout_s=0.1)
        with pytest.raises(ContractError, match=r"--dead_letter_topic=out\.dead-letter: .*create it first"):
            checker.topics("out", "out.dead-letter")
        checker.close()


def test_a_topic_that_another_flag_names_was_not_meant() -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        checker = Checker(KafkaConfig(broker.address, ("orders",), "group"))
        with pytest.raises(
            ContractError, match=r"--output_topic=orders\.scored: the topic does not exist; --create_topics "
        ):
            checker.topics("orders.scored", "orders.scored.dead-letter")
        checker.close()


def test_the_topics_of_the_command_have_their_dead_letter_topics() -> None:
    asked = {"orders": 4, "scored": 2, "scored.dead-letter": 1}
    with EmbeddedBroker(with_dead_letter_topics(asked)) as broker:
        checker = Checker(KafkaConfig(broker.address, ("orders",), "group"))
        assert checker.topics("scored", "scored.dead-letter").created == ()
        checker.close()
    assert with_dead_letter_topics(asked)["scored.dead-letter"] == 1


def test_the_checks_before_a_job_ask_it_nothing_that_it_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A newcomer's first run begins with these checks. What is not answered in time is logged."""
    caplog.set_level(logging.DEBUG, "transforms.kafka")
    with EmbeddedBroker({"in": 1, "out": 1, "dead": 1}) as broker:
        checker = Checker(KafkaConfig(broker.address, ("in",), "group"))
        found = checker.topics("out", "dead")
        checker.check_group("another")
        checker.close()
    assert (found.created, found.max_value_bytes) == ((), None)
    assert "can't be" not in caplog.text
