"""Flags from files and the environment; and secrets, which are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.cli.parsing import OWN, mistake, mistakes, parse

# ---------------------------------------------------------------------- files and the environment


def yaml(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return f"--config={path}"


def test_flags_from_a_file(tmp_path: Path) -> None:
    config = parse(
        yaml(
            tmp_path,
            """
bootstrap_servers: h:9092
input_topic: [a, b]
output_topic: out
model: grpc://h:1/m
workers: 2
window_seconds: 1.5
until_end: true
max_in_flight: auto
kafka_config:
  client.id: me
  enable.ssl.certificate.verification: false
start_from: 2026-01-31T12:00:00Z
max_records: null
""",
        )
    )
    assert config.input_topics == ("a", "b")
    assert (config.workers, config.window_seconds, config.until_end, config.max_in_flight) == (2, 1.5, True, None)
    assert dict(config.kafka_properties) == {"client.id": "me", "enable.ssl.certificate.verification": "false"}
    assert config.start_from == "2026-01-31T12:00:00+00:00"
    assert config.max_records is None


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    config = parse(yaml(tmp_path, "workers: 2\ngroup_id: file\nuntil_end: true"), "--workers=3", "--until_end=false")
    assert (config.workers, config.group_id, config.until_end) == (3, "file", False)


@pytest.mark.parametrize(
    ("text", "flag", "cure"),
    [
        ("worker: 2", "worker: no such flag", "did you mean workers?"),
        ("config: other.yaml", "config: no such flag", ""),
        ("workers: [1, 2]", "--workers", "takes one value"),
        ("workers: many", "--workers=many", "whole number"),
        ("until_end: perhaps", "--until_end", "true or false"),
        ("until_end: [true]", "--until_end", "true or false"),
        ("- workers", "--config=", "name: value"),
        ("a: [", "--config=", "can't be read"),
        ("5: 5", "5: no such flag", ""),
    ],
)
def test_a_mistake_in_the_file(tmp_path: Path, text: str, flag: str, cure: str) -> None:
    found = mistake(yaml(tmp_path, text))
    assert flag in found
    assert cure in found


def test_a_mistake_in_the_file_does_not_hide_the_others(tmp_path: Path) -> None:
    assert len(mistakes(*OWN, yaml(tmp_path, "worker: 2\ntop_k: 0"), "--delivery=maybe")) == 4


def test_the_environment_is_put_in_and_a_file_of_properties_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kafka.properties"
    path.write_text("# comment\n! comment\n\nsasl.username = me\nsasl.password=${SECRET}=x\nclient.id=file\n")
    config = parse(
        *OWN,
        f"--kafka_config_file={path}",
        "--kafka_config=client.id=flag",
        "--model_header=authorization=Bearer ${TOKEN}",
        environ={"SECRET": "hunter2", "TOKEN": "t0k3n"},
    )
    assert dict(config.kafka_properties) == {"sasl.username": "me", "sasl.password": "hunter2=x", "client.id": "flag"}
    assert config.model_headers == (("authorization", "Bearer t0k3n"),)


def test_a_variable_that_is_not_set_is_a_mistake() -> None:
    text = mistake("--kafka_config=sasl.password=${NOT_SET}")
    assert text == "--kafka_config sasl.password: the environment variable NOT_SET is not set"


def test_the_usual_ways_to_a_secured_broker_are_accepted() -> None:
    for properties in (
        {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "p"},
        {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": "u",
            "sasl.password": "p",
        },
        {"security.protocol": "SSL", "enable.ssl.certificate.verification": "false"},
        {"fetch.min.bytes": "1", "linger.ms": "5", "socket.timeout.ms": "5000", "statistics.interval.ms": "0"},
    ):
        given = [f"--kafka_config={name}={value}" for name, value in properties.items()]
        assert dict(parse(*OWN, *given).kafka_properties) == properties


# ---------------------------------------------------------------------- secrets

SECRET = "hunter2-0123456789"


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    config = parse(*OWN, f"--kafka_config=sasl.password={SECRET}", f"--model_header=authorization={SECRET}")
    assert SECRET not in repr(config)


@pytest.mark.parametrize("secret", [SECRET, "s3cret"])
def test_secrets_are_never_in_a_message(tmp_path: Path, secret: str) -> None:
    """However a flag is misspelt around them."""
    path = tmp_path / "kafka.properties"
    path.write_text(f"sasl.password {secret}\nssl.key.pasword={secret}\n")
    texts = mistakes(
        *OWN,
        f"--kafka_config_file={path}",
        f"--kafka_config=sasl.pasword={secret}",
        f"--kafka_config={secret}",
        f"--kafka_config=ssl.key.pem={secret}",
        f"--kafka_config=ssl.ca.pem={secret}",
        f"--kafka_config=sasl.jaas.config={secret}",
        f"--kafka_config=transactional.id={secret}",
        f"--model_header={secret}",
        f"--kafka_confg=sasl.password={secret}",
        f"sasl.password={secret}",
    )
    assert len(texts) >= 9
    assert not [text for text in texts if secret in text]


@pytest.mark.parametrize("flag", ["kafka_config", "model_header", "schema_registry_config"])
@pytest.mark.parametrize(
    ("item", "says"),
    [
        (SECRET, "give NAME=VALUE (one without '=' came)"),
        (f"sasl.password: {SECRET}=", "give NAME=VALUE, not NAME: VALUE; what came before '=' is no name"),
        (f"Basic {SECRET}==", "give NAME=VALUE; what came before '=' is no name"),
        (f"={SECRET}", "give NAME=VALUE; what came before '=' is no name"),
        (f"a\x1b={SECRET}", "give NAME=VALUE; what came before '=' is no name"),
        (f"client.id={SECRET}\0", "the value is not UTF-8 text, or has a null character in it"),
        (f"client.id={SECRET}\udcff", "the value is not UTF-8 text, or has a null character in it"),
    ],
)
def test_an_item_that_is_no_pair_names_its_flag_and_is_not_shown(flag: str, item: str, says: str) -> None:
    texts = [text for text in mistakes(*OWN, f"--{flag}={item}") if says in text]
    assert [text for text in texts if text.startswith(f"--{flag}")], "which flag, and what to do"
    assert not [text for text in mistakes(*OWN, f"--{flag}={item}") if SECRET in text or not text.isprintable()]


@pytest.mark.parametrize(
    ("item", "environ", "says"),
    [
        (
            "authorization=Bearer ${TOKEN}",
            {"TOKEN": f"{SECRET}\n"},
            "--model_header authorization: the value has a line break",
        ),
        (f"authorization={SECRET}\r\nx: y", {}, "--model_header authorization: the value has a line break"),
        (f"Content-Length={SECRET}", {}, "--model_header Content-Length: the connection sets it by itself"),
    ],
)
def test_a_header_that_no_connection_can_send(item: str, environ: dict[str, str], says: str) -> None:
    [text] = mistakes(*OWN, f"--model_header={item}", environ=environ)
    assert text.startswith(says)
    assert SECRET not in text


def test_a_file_of_properties_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "kafka.properties"
    path.write_bytes(b"sasl.password=\xff\xfe\n")
    assert mistakes(*OWN, f"--kafka_config_file={path}") == [
        f"--kafka_config_file={path}: is not UTF-8 text (byte 14); save it as UTF-8"
    ]
