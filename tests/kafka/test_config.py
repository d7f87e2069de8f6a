"""What Kafka's clients are told: the guarantees' properties are fixed, everything else is the user's."""

from __future__ import annotations

import dataclasses
import pickle

import confluent_kafka as ck
import pytest

from transforms.kafka.config import AT_LEAST_ONCE, KafkaConfig, Value
from transforms.kafka.native.source import config_from_properties
from transforms.kafka.protected import PROTECTED
from transforms.memory import DEFAULT_MB, LEAST_MB, Memory

CONFIG = KafkaConfig("127.0.0.1:1", ("in",), "group", "host-3")


def with_properties(**properties: str) -> KafkaConfig:
    return dataclasses.replace(CONFIG, properties=tuple((name.replace("__", "."), v) for name, v in properties.items()))


def test_what_the_guarantees_rest_on() -> None:
    consumer, producer = CONFIG.consumer_properties(), CONFIG.producer_properties()
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["enable.auto.commit"] is False
    assert consumer["auto.offset.reset"] == "error"
    assert consumer["enable.partition.eof"] is True
    assert consumer["group.id"] == "group"
    assert producer["enable.idempotence"] is True
    assert producer["transactional.id"] == CONFIG.transactional_id == "group-host-3"


def test_at_least_once_has_no_transactions() -> None:
    producer = dataclasses.replace(CONFIG, delivery=AT_LEAST_ONCE).producer_properties()
    assert not [name for name in producer if name.startswith("transaction")]
    assert producer["enable.idempotence"] is True


def test_the_group_protocol_is_only_asked_for_where_it_is_used() -> None:
    assert CONFIG.consumer_properties()["partition.assignment.strategy"] == "cooperative-sticky"
    static = dataclasses.replace(CONFIG, assignment="static")
    assert "partition.assignment.strategy" not in static.consumer_properties()


def test_where_the_broker_assigns_it_has_the_times_of_a_member() -> None:
    """KIP-848: librdkafka refuses them, and a strategy. Only where there is a group."""
    new = with_properties(group__protocol="consumer")
    consumer = new.consumer_properties()
    assert consumer["group.protocol"] == "consumer"
    ours = {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}
    assert not ours & consumer.keys()
    assert ours <= with_properties(group__protocol="classic").consumer_properties().keys()
    assert "group.protocol" not in dataclasses.replace(new, assignment="static").consumer_properties()
    assert "group.protocol" not in new.producer_properties()
    assert (new.session_timeout_s, CONFIG.session_timeout_s) == (45.0, 10.0)


def test_the_users_properties_win_over_our_defaults_and_go_where_they_belong() -> None:
    config = with_properties(linger__ms="7", fetch__wait__max__ms="9", ssl__ca__location="/ca.pem", client__id="me")
    consumer, producer = config.consumer_properties(), config.producer_properties()
    assert (producer["linger.ms"], consumer["fetch.wait.max.ms"]) == ("7", "9")
    assert "linger.ms" not in consumer
    assert "fetch.wait.max.ms" not in producer
    for properties in (consumer, producer):
        assert properties["ssl.ca.location"] == "/ca.pem"
        assert str(properties["client.id"]).startswith("me")  # the consumer's goes on with the name of the replica


@pytest.mark.parametrize("name", sorted(PROTECTED))
def test_a_protected_property_can_not_be_changed_even_from_code(name: str) -> None:
    """--kafka_config refuses them; whoever builds a KafkaConfig by hand may not lose the guarantee either."""
    config = with_properties(**{name.replace(".", "__"): "true"})
    for of in (KafkaConfig.consumer_properties, KafkaConfig.producer_properties):
        assert of(config).get(name) == of(CONFIG).get(name)


def test_librdkafka_takes_all_of_it() -> None:
    """A wrong name or a contradiction among our own defaults would be an exception here."""
    static = dataclasses.replace(CONFIG, delivery=AT_LEAST_ONCE, assignment="static")
    for config in (CONFIG, static, with_properties(group__protocol="consumer")):
        ck.Consumer({**config.consumer_properties(), "log_level": 0}).close()
        ck.Producer({**config.producer_properties(), "log_level": 0})


def test_secrets_are_not_shown() -> None:
    config = with_properties(sasl__password="hunter2")
    assert "hunter2" not in repr(config)
    assert pickle.loads(pickle.dumps(config)) == config, "but they travel to the workers"


def test_a_config_from_beam_style_properties() -> None:
    config = config_from_properties({"bootstrap.servers": "h:1", "group.id": "g", "client.id": "me"}, ["in"])
    assert config == KafkaConfig("h:1", ("in",), "g", properties=(("client.id", "me"),))
    with pytest.raises(ValueError, match=r"consumer_config lacks bootstrap\.servers and group\.id"):
        config_from_properties({}, ["in"])


# ---------------------------------------------------------------------- memory


@pytest.mark.parametrize("total_mb", [LEAST_MB, DEFAULT_MB, 4_096, 16_384, 10**9])
def test_librdkafka_takes_the_shares_of_the_memory(total_mb: int) -> None:
    """It refuses some values together, for example a ``fetch.max.bytes`` below ``message.max.bytes``."""
    memory = Memory.of_process(total_mb)
    config = dataclasses.replace(CONFIG, memory=memory)
    consumer, producer = config.consumer_properties(), config.producer_properties()
    assert consumer["queued.max.messages.kbytes"] == memory.queue // 1024
    assert consumer["fetch.max.bytes"] == memory.fetch
    ck.Consumer({**consumer, "log_level": 0}).close()
    ck.Producer({**producer, "log_level": 0})


def test_a_smaller_largest_answer_of_the_users_bounds_a_fetch() -> None:
    """librdkafka raises its own default of ``receive.message.max.bytes``, but refuses the user's."""
    config = dataclasses.replace(
        CONFIG, memory=Memory.of_process(4_096), properties=(("receive.message.max.bytes", "50000000"),)
    )
    ck.Consumer({**config.consumer_properties(), "log_level": 0}).close()


def test_a_larger_record_than_a_fetch_may_have_is_taken_where_the_user_says_so() -> None:
    config = with_properties(message__max__bytes="500000000")
    assert config.consumer_properties()["fetch.max.bytes"] == 500_000_000
    assert int(config.producer_properties()["queue.buffering.max.kbytes"]) * 1024 > 500_000_000
    ck.Consumer({**config.consumer_properties(), "log_level": 0}).close()
    assert with_properties(message__max__bytes="-").consumer_properties()["fetch.max.bytes"] == Memory().fetch


class Resolved(KafkaConfig):
    """With a secret of Google's."""

    def client_properties(self) -> dict[str, Value]:
        return {**dict(self.properties), "message.max.bytes": "500000000", "bootstrap.servers": self.bootstrap_servers}


def test_that_may_be_a_secret_too() -> None:
    """As every property; librdkafka refuses a smaller ``fetch.max.bytes``."""
    config = Resolved("h:1", ("in",), "g", properties=(("message.max.bytes", "${secret:projects/p/secrets/s/versions/1}"),))
    assert config.consumer_properties()["fetch.max.bytes"] == 500_000_000
    assert int(config.producer_properties()["queue.buffering.max.kbytes"]) * 1024 > 500_000_000


def test_no_output_is_larger_than_the_producers_queue() -> None:
    """It would never get into it."""
    producer = dataclasses.replace(CONFIG, memory=Memory(1)).producer_properties()
    assert int(producer["queue.buffering.max.kbytes"]) * 1024 > int(producer["message.max.bytes"])


def test_what_the_user_gives_wins_over_the_memory_and_is_named_where_it_is_more() -> None:
    config = with_properties(queued__max__messages__kbytes="500000", fetch__max__bytes="2000000", linger__ms="9999999")
    assert config.consumer_properties()["queued.max.messages.kbytes"] == "500000"
    assert config.consumer_properties()["fetch.max.bytes"] == "2000000"
    assert list(config.beyond_memory()) == [("queued.max.messages.kbytes", 500_000, config.memory.queue // 1024)]
    assert list(with_properties(fetch__max__bytes="${secret:a}").beyond_memory()) == [], "not asked for here"
