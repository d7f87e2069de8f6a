"""A job that answers records with a secret in every place that takes one: none is in anything that it shows or leaves.

``tests/pipeline/test_planted_secrets.py`` does the same for starts that fail.
"""

from __future__ import annotations

import io
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fastavro
import pytest
from cryptography.hazmat.primitives import serialization

from tests import topics
from tests.integration.process import START_S, Job, job_factory, wait_until
from tests.integration.secured import PASSWORD, USER, Secured
from tests.kafka_broker import free_ports
from tests.processes import family
from transforms.testing.schema_registry_stub import SchemaRegistryStub
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

pytest.importorskip("authlib", reason="needs confluent-kafka[schemaregistry]")

IN_ENVIRON = {name: f"planted-{name.lower()}-5e1f" for name in ("KEY_PASSWORD", "MODEL_TOKEN", "OAUTH_SECRET")}
REGISTRY_SECRET = "planted-registry-5e1f"
SECRETS = (*IN_ENVIRON.values(), REGISTRY_SECRET, PASSWORD)
CONTENT = "marked-content-9b27"
"""In each record: value, key and headers."""

GOOD, BAD = 200, 4
REFUSED = 1e6
"""A value that the model server refuses."""

SCHEMA = {
    "type": "record",
    "name": "r",
    "fields": [{"name": "x", "type": {"type": "array", "items": "float"}}, {"name": "who", "type": "string"}],
}

LOG_EVERYTHING = """
import logging
logging.basicConfig(level=1)
logging.root.setLevel = lambda level: None
"""
"""A ``sitecustomize`` for the job and its workers."""


def framed(number: int, x: list[float]) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, SCHEMA, {"x": x, "who": CONTENT})
    return b"\0" + number.to_bytes(4, "big") + body.getvalue()


@pytest.fixture
def registry() -> Iterator[SchemaRegistryStub]:
    with SchemaRegistryStub() as stub:
        stub.user_info = f"me:{REGISTRY_SECRET}"
        yield stub


def flags(folder: Path, secured: Secured, registry: SchemaRegistryStub, port: int) -> list[str]:
    """Secrets from the environment, from files of properties, and from a YAML file."""
    key = serialization.load_pem_private_key((secured.folder / "client.key").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(IN_ENVIRON["KEY_PASSWORD"].encode()),
    )
    (folder / "client.key").write_bytes(encrypted)
    (folder / "kafka.properties").write_text(f"sasl.password={PASSWORD}\n")
    (folder / "registry.properties").write_text(f"basic.auth.user.info=me:{REGISTRY_SECRET}\n")
    (folder / "job.yaml").write_text("model_header:\n  authorization: Bearer ${MODEL_TOKEN}\n")
    kafka = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": USER,
        "ssl.ca.location": secured.folder / "ca.pem",
        "ssl.certificate.location": secured.folder / "client.pem",
        "ssl.key.location": folder / "client.key",
        "ssl.key.password": "${KEY_PASSWORD}",
        "sasl.oauthbearer.client.secret": "${OAUTH_SECRET}",
        "debug": "all",
    }
    return [
        f"--bootstrap_servers={secured.address('LOGIN')}",
        f"--config={folder}/job.yaml",
        f"--kafka_config_file={folder}/kafka.properties",
        f"--schema_registry_config_file={folder}/registry.properties",
        *(f"--kafka_config={name}={value}" for name, value in kafka.items()),
        "--input_format=avro",
        f"--schema_registry={registry.url}",
        "--workers=2",
        f"--metrics_port={port}",
    ]


def produce(job: Job, number: int) -> None:
    """Good records, and such as are dead letters for each step that reads them."""
    cut = framed(number, [1.0])[:-4]
    values = [framed(number, [float(row)]) for row in range(GOOD)]
    values += [cut, framed(number, [REFUSED]), b"\0\0\0\0\x63" + CONTENT.encode(), CONTENT.encode()]
    trace: list[tuple[str, bytes | None]] = [("trace", CONTENT.encode())]
    topics.produce(
        job.bootstrap, job.inputs[0], values, keys=[CONTENT.encode()] * len(values), headers=[trace] * len(values),
        partitions=[index % 2 for index in range(len(values))],
    )  # fmt: skip


def page(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


def test_no_secret_and_no_content_is_shown_or_left(
    secured: Secured, stub: TfServingGrpcStub, registry: SchemaRegistryStub, tmp_path: Path
) -> None:
    """Output at every level of logging, pages, temporary files, arguments and environments of the worker processes."""
    given, temporary, site = (tmp_path / name for name in ("given", "temporary", "site"))
    for folder in (given, temporary, site):
        folder.mkdir()
    (site / "sitecustomize.py").write_text(LOG_EVERYTHING)
    [port] = free_ports(1)
    search = os.pathsep.join([str(site), *(path for path in sys.path if path)])
    environ = {**IN_ENVIRON, "TMPDIR": str(temporary), "PYTHONPATH": search, "PYTHONASYNCIODEBUG": "1"}
    left: dict[str, str] = {}
    with job_factory(secured.broker.bootstrap, show=False) as new_job:
        stub.faults.poison = lambda row: bool(row["x"][0] == REFUSED)
        job = new_job(stub.uri(), partitions=2)
        number = registry.add(str(SCHEMA).replace("'", '"'))
        produce(job, number)
        process = job.start(*flags(given, secured, registry, port), environ=environ)
        wait_until(lambda: sum(job.committed().values()) >= GOOD + BAD, "all records committed", START_S, process)
        assert ("authorization", f"Bearer {IN_ENVIRON['MODEL_TOKEN']}") in stub.faults.last_headers
        pids = family(process.pid)
        assert len(pids) >= 3, "two workers"
        for pid in pids:
            left[f"arguments of {pid}"] = Path(f"/proc/{pid}/cmdline").read_text()
            pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
            left[f"environment of {pid}"] = "\n".join(pair for pair in pairs if pair.partition("=")[0] not in IN_ENVIRON)
        for name in ("/metrics", "/healthz", "/readyz", "/", "/nothing"):
            left[name] = page(port, name)
        assert "scoring" in left["/metrics"]
        for path in temporary.rglob("*"):
            left[str(path)] = path.read_bytes().decode("latin-1") if path.is_file() else path.name
        process.terminate()
        assert process.wait() == 0, process.stderr[-3000:]
        left |= {"stdout": process.stdout, "stderr": process.stderr, "summary": str(process.summary)}
        assert "DEBUG" in process.stderr
        assert "[redacted]" in process.stderr, "librdkafka tells its configuration"
        assert len(job.predictions()) == GOOD
        dead = job.dead_letters()
        assert len(dead) == BAD
        for letter in dead:
            said = [value for name, value in letter.headers if name.startswith("inference.error") and value is not None]
            left[f"dead letter {letter.offset}"] = " ".join(value.decode("latin-1") for value in said)
    for planted in (*SECRETS, CONTENT):
        found = {where: text[max(0, text.index(planted) - 300) :][:700] for where, text in left.items() if planted in text}
        assert found == {}, planted
