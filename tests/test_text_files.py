"""Files with a byte order mark, in UTF-16, or that are no text at all: for every flag that names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.cli.parsing import OWN, mistake, parse
from transforms.errors import ConfigError
from transforms.kafka.beam.properties import java_consumer
from transforms.kafka.config import KafkaConfig
from transforms.text_files import NotTextError, read_text

SIGNATURE = '{"inputs": {"x": {"dtype": "float32", "shape": [-1, 2]}}}'
CHAT = "--model=openai+http://h:1/m?task=chat"
JSON = "--model=json+http://h:1/score"
AVRO = '{"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}'
FLAGS = {
    "signature": (SIGNATURE, ()),
    "labels": ("cat\r\ndog\r\n", ()),
    "request": ('{"rows": {"$rows": "$row"}}', (JSON,)),
    "answer_schema": ('{"type": "object", "properties": {"a": {"type": "string"}}}', (CHAT,)),
    "prompt": ("Sum up: {{ text }}", (CHAT,)),
    "system_prompt": ("Be brief.", (CHAT,)),
    "avro_schema": (AVRO, ("--input_format=avro",)),
    "kafka_config_file": ("client.id=me\r\n", ()),
    "config": ("workers: 2\r\n", ()),
}
"""Flag to the content of its file, and the flags that it needs."""


def of_flag(name: str, path: Path) -> list[str]:
    """The flags of a job with this file; those of its own model come last and count."""
    return [*OWN, *FLAGS[name][1], f"--{name}={path}"]


@pytest.mark.parametrize("name", FLAGS)
def test_a_byte_order_mark_is_no_part_of_a_file(name: str, tmp_path: Path) -> None:
    """Editors of Windows write one. It was part of the first name, key or line."""
    path = tmp_path / "file"
    path.write_bytes(FLAGS[name][0].replace("\r\n", "\n").encode())
    plain = parse(*of_flag(name, path))
    path.write_bytes(b"\xef\xbb\xbf" + FLAGS[name][0].encode())
    assert parse(*of_flag(name, path)) == plain


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SIGNATURE.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"\xff\xfe\x00\x00a\x00\x00\x00", "is UTF-32 text; save it as UTF-8"),
        (b"secret\xff", "is not UTF-8 text (byte 6); save it as UTF-8"),
    ],
)
@pytest.mark.parametrize("name", FLAGS)
def test_what_is_not_utf_8_is_refused_by_its_name(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    told = mistake(*of_flag(name, path))
    assert told.startswith(f"--{name}={path}: ")
    assert told.endswith(said)
    assert "secret" not in told


def test_a_lookup_file(tmp_path: Path) -> None:
    path = tmp_path / "countries.json"
    path.write_bytes(b'\xef\xbb\xbf{"DE": 1}')
    assert parse(*OWN, f"--features=x=$.country|lookup({path})").formats.features
    path.write_bytes('{"DE": 1}'.encode("utf-16"))
    assert mistake(*OWN, f"--features=x=$.country|lookup({path})").endswith("is UTF-16 text; save it as UTF-8")


def test_certificates_for_java(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"\xef\xbb\xbf-----BEGIN CERTIFICATE-----\n")
    config = KafkaConfig("h:9092", ("in",), "g", properties=(("ssl.ca.location", str(path)),))
    assert java_consumer(config)["ssl.truststore.certificates"] == "-----BEGIN CERTIFICATE-----\n"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"ssl\.ca\.location: .*ca\.pem: is not UTF-8 text"):
        java_consumer(config)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")
    assert issubclass(NotTextError, ValueError)
