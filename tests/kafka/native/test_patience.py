"""Kafka is away for longer than anybody planned for: a job waits and says so, with either guarantee."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import confluent_kafka as ck
import pytest

from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.acknowledged import AcknowledgedWriter
from transforms.kafka.native.patience import DRAIN_S, SHOWN_AFTER_S, Patience
from transforms.kafka.native.producer import OutcomeUnknownError
from transforms.kafka.native.transactional import TransactionalWriter
from transforms.kafka.obstacles import Obstacles
from transforms.kafka.stop import request_drain
from transforms.observe import Observer, set_observer
from transforms.predict.hold import Hold

AWAY = ck.KafkaError(ck.KafkaError._TIMED_OUT, "timed out")
AN_HOUR_S = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class AwayProducer:
    """Each of its calls that wait for Kafka times out, until Kafka is back."""

    def __init__(self, clock: Clock):
        self.clock, self.back_at, self.committed, self.opens = clock, 0.0, False, 0

    def opened(self, _: dict[str, Any], **__: Any) -> AwayProducer:
        self.opens += 1
        self.back_at = 0.0
        return self

    def purge(self) -> None: ...

    def init_transactions(self, timeout_s: float) -> None:
        self._call(timeout_s)

    def commit_transaction(self, timeout_s: float) -> None:
        self._call(timeout_s)
        self.committed = True

    def send_offsets_to_transaction(self, _: object, __: object, timeout_s: float) -> None:
        self._call(timeout_s)

    def flush(self, timeout_s: float) -> int:
        if self.clock.now < self.back_at:
            self.clock.now += timeout_s
            return 3
        self.committed = True
        return 0

    def begin_transaction(self) -> None: ...

    def poll(self, _: float) -> None: ...

    def _call(self, timeout_s: float) -> None:
        if self.clock.now < self.back_at:
            self.clock.now += timeout_s
            raise ck.KafkaException(AWAY)


class AwayAdmin:
    """Asks a Kafka that is away, or there."""

    def __init__(self, away: bool):
        self._away = away

    def list_topics(self, timeout: float) -> None:
        if self._away:
            raise ck.KafkaException(ck.KafkaError(ck.KafkaError._TRANSPORT))

    def describe_consumer_groups(self, _: list[str]) -> None:
        raise ck.KafkaException(ck.KafkaError(ck.KafkaError.GROUP_AUTHORIZATION_FAILED))


Kind = type[TransactionalWriter | AcknowledgedWriter]


def writer_of(kind: Kind, producer: AwayProducer, away: bool = True) -> TransactionalWriter | AcknowledgedWriter:
    config, admin = KafkaConfig("h:1", ("in",), "g"), AwayAdmin(away)
    if issubclass(kind, TransactionalWriter):
        return kind(config, producer.opened, producer.clock, lambda _: admin)
    return kind(config, producer.opened, producer.clock, Obstacles(config, lambda _: admin))


class Shown(Observer):
    def __init__(self) -> None:
        self.reasons: list[str | None] = []
        self.polls = 0

    def polled(self) -> None:
        self.polls += 1

    def holding(self, reason: str | None) -> None:
        self.reasons.append(reason)


@pytest.fixture
def shown() -> Iterator[Shown]:
    observer = Shown()
    set_observer(observer)
    yield observer
    set_observer(Observer())


class NoConsumer:
    def memberid(self) -> str:
        return "member"


class NoCommits:
    def commit(self, consumer: object, offsets: object) -> None: ...


class NoReader:
    consumer, commits = NoConsumer(), NoCommits()


@pytest.mark.parametrize("kind", [TransactionalWriter, AcknowledgedWriter])
def test_a_commit_waits_for_as_long_as_kafka_is_away(shown: Shown, caplog: pytest.LogCaptureFixture, kind: Kind) -> None:
    clock = Clock()
    producer = AwayProducer(clock)
    writer = writer_of(kind, producer)
    producer.back_at = AN_HOUR_S
    with caplog.at_level(logging.WARNING):
        writer.commit([], NoReader(), None)  # type: ignore[arg-type]
    assert producer.committed
    assert shown.reasons[0] is not None
    assert shown.reasons[0].startswith("Kafka: ")
    assert shown.reasons[-1] is None
    assert shown.polls > AN_HOUR_S / 60, "it is not stuck, which /healthz would say"
    assert "Kafka answers again after 3600 s" in caplog.text
    assert 55 <= caplog.text.count("waiting for Kafka") <= 61, "once a minute"


def test_a_call_that_never_ends_is_given_up_where_kafka_answers(shown: Shown) -> None:
    """A broker died in mid-call and came back: librdkafka asked to be called again, for ever.

    Kafka has not said that a newer process is there; whoever may not ask the group does not believe it then.
    """
    clock = Clock()
    producer = AwayProducer(clock)
    writer = writer_of(TransactionalWriter, producer, away=False)
    producer.back_at = AN_HOUR_S  # of this producer's calls: a new one's come back
    with pytest.raises(OutcomeUnknownError, match="hangs, although Kafka answers"):
        writer.commit([], NoReader(), None)  # type: ignore[arg-type]
    assert producer.opens == 2
    assert clock.now < 2 * 60 + 10, "twice the transaction's time-out at most: the offsets', and the commit's"
    assert shown.reasons[-1] is None


@pytest.mark.parametrize("drained_at", [0.0, AN_HOUR_S])
def test_a_drain_waits_for_a_while(drained_at: float) -> None:
    clock = Clock()
    with Patience("transaction", clock, lambda: clock.now >= drained_at) as patience:
        while patience.lasts(AWAY):
            clock.now += 1
    assert clock.now == pytest.approx(drained_at + DRAIN_S, abs=1)


def test_what_is_short_is_not_shown(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with Patience("transaction", clock) as patience:
        clock.now = SHOWN_AFTER_S - 1
        assert patience.lasts(AWAY)
    assert shown.reasons == []
    assert caplog.text == ""


@pytest.mark.usefixtures("not_draining")
@pytest.mark.parametrize(
    ("kind", "text"), [(TransactionalWriter, "transaction: "), (AcknowledgedWriter, "outputs: 3 were not acknowledged")]
)
def test_a_drain_ends_with_an_error(caplog: pytest.LogCaptureFixture, kind: Kind, text: str) -> None:
    clock = Clock()
    producer = AwayProducer(clock)
    writer = writer_of(kind, producer)
    producer.back_at = AN_HOUR_S
    request_drain()
    with pytest.raises(KafkaError, match=text):
        writer.commit([], NoReader(), None)  # type: ignore[arg-type]
    assert clock.now < AN_HOUR_S
    assert "answers again" not in caplog.text


def test_the_model_servers_hold_outlasts_kafkas(shown: Shown) -> None:
    """The commit of one bundle waits for Kafka in the background, the next one's requests for the model server."""
    clock, hold = Clock(), Hold()
    hold.begin("request", "refused")
    with Patience("transaction", clock) as patience:
        clock.now = SHOWN_AFTER_S
        assert patience.lasts(AWAY)
    assert shown.reasons[-1] == "the model server: refused"
    hold.end("request")
    assert shown.reasons[-1] is None
