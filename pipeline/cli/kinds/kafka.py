"""Kinds of Kafka's own terms: brokers, topics, where to start, properties of a client."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.cli.kinds.base import Many, Named, One, Pairs
from transforms.errors import ConfigError
from transforms.hosts import HOST, is_authority
from transforms.kafka.start_from import HOW, PATTERN, normalized
from transforms.printable import one_line

_TOPIC = "[a-zA-Z0-9._-]{1,249}"
_LISTENERS = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}
"""What librdkafka takes before ``://``."""
_BROKER = rf"(?:[A-Za-z_]+://)?{HOST}:[0-9]{{1,5}}"


def brokers() -> One[str]:
    """``HOST:PORT``, several with commas between them. Kafka itself tells whether a broker is there."""

    def check(name: str, value: str) -> str:
        if "@" in value:  # not shown: it may hold a password
            raise ConfigError(
                [f"--{name}: give HOST:PORT alone; a login is sasl.username and sasl.password in --kafka_config_file"]
            )
        for broker in value.split(","):
            if broker.strip() and not is_authority(broker.strip().rpartition("://")[2]):
                raise ConfigError([f"--{name}={one_line(value)}: {one_line(broker)} is no HOST:PORT"])
            scheme, separator, _ = broker.strip().rpartition("://")
            if separator and scheme.upper() not in _LISTENERS:  # librdkafka would have no broker, and say nothing
                cure = "give HOST:PORT alone; --kafka_config=security.protocol=SSL is for TLS"
                raise ConfigError([f"--{name}={one_line(value)}: Kafka is not asked by {one_line(scheme)}://; {cure}"])
        return value

    return One(check=check, metavar="HOST:PORT[,…]", pattern=f"{_BROKER}(,{_BROKER})*")


def topic() -> One[str]:
    """A topic's name."""
    return One(check=_topic, metavar="TOPIC", pattern=_TOPIC)


def topics() -> Many[tuple[str, ...]]:
    """Names of topics, each once."""

    def check(name: str, values: Sequence[str]) -> tuple[str, ...]:
        mistakes = [mistake for value in values for mistake in _topic_mistakes(name, value, repeatable=True)]
        if mistakes:
            raise ConfigError(mistakes)
        return tuple(dict.fromkeys(values))

    return Many(check=check, metavar="TOPIC", pattern=_TOPIC)


def _topic(name: str, value: str) -> str:
    if mistakes := _topic_mistakes(name, value):
        raise ConfigError(mistakes)
    return value


def _topic_mistakes(name: str, value: str, *, repeatable: bool = False) -> list[str]:
    if re.fullmatch(_TOPIC, value):
        return []
    several = f"; for several topics give --{name} several times" if repeatable and re.search(r"[,;\s]", value) else ""
    return [f"--{name}={value}: a topic's name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'{several}"]


def start_from() -> One[str]:
    """One of the words of ``transforms.kafka.start_from``, or a time, which is in UTC unless it has a zone."""

    def check(name: str, value: str) -> str:
        try:
            return normalized(value)
        except ValueError:
            raise ConfigError([f"--{name}={value}: {HOW}"]) from None

    return One(check=check, metavar="committed|earliest|latest|TIME", pattern=PATTERN)


def properties() -> Named[Pairs]:
    """Properties of a client, each once: the last one counts. A rule asks the client's library whether it takes them."""
    return Named(check=lambda _, pairs: tuple(sorted(dict(pairs).items())))
