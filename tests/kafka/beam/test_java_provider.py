"""The Java class that reads secrets: its jar is what its source says, and Kafka's own client resolves references by it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.google_cloud import PROJECT, GoogleCloud
from tests.kafka_broker import JARS, install
from transforms.kafka.beam.expansion import jars
from transforms.kafka.beam.expansion.jars import locked_jars
from transforms.kafka.beam.java import JAR, PROVIDER, in_jaas, provider_properties
from transforms.kafka.beam.java.build import NEEDED, compiled
from transforms.kafka.beam.properties import java_consumer, java_producer
from transforms.kafka.config import KafkaConfig

NAME = f"projects/{PROJECT}/secrets/kafka/versions/3"
REFERENCE = f"${{secret:{NAME}}}"

PRINTS_WHAT_KAFKA_GETS = """
import java.util.*;
import org.apache.kafka.clients.consumer.ConsumerConfig;

public class Resolve {
  public static void main(String[] given) {
    Map<String, Object> properties = new HashMap<>();
    for (String pair : given) properties.put(pair.substring(0, pair.indexOf('=')), pair.substring(pair.indexOf('=') + 1));
    String deserializer = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
    properties.put("key.deserializer", deserializer);
    properties.put("value.deserializer", deserializer);
    System.out.println(new ConsumerConfig(properties).getPassword("sasl.jaas.config").value());
  }
}
"""


def config(password: str) -> KafkaConfig:
    given = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "alice",
        "sasl.password": password,
    }
    return KafkaConfig("h:1", ("in",), "g", delivery="at_least_once", properties=tuple(given.items()))


def test_only_a_reference_brings_the_provider() -> None:
    for made in (java_consumer, java_producer):
        assert "config.providers" not in made(config("plain"))
        properties = made(config(REFERENCE))
        assert properties["config.providers.secret.class"] == PROVIDER
        assert f'password="${{secret:jaas:{NAME}}}";' in properties["sasl.jaas.config"]


def test_references_in_a_login() -> None:
    assert in_jaas(f"a {REFERENCE} b") == f"a ${{secret:jaas:{NAME}}} b"
    assert in_jaas("plain") == "plain"
    assert provider_properties(["a", "b"]) == {}


def test_the_jar_is_what_its_source_says() -> None:
    """Else: python -m transforms.kafka.beam.java.build FOLDER_OF_JARS. Another javac may write other bytes."""
    if shutil.which("javac") is None:
        pytest.skip("javac is not here: a JDK, of which users need none, compiles the class")
    version = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith("javac 17."):
        pytest.skip(f"the jar was compiled by javac 17, this is {version.strip()}, which may write other bytes")
    needed = [jar for jar in locked_jars() if jar.name.startswith(NEEDED)]
    assert len(needed) == len(NEEDED)
    assert JAR.read_bytes() == compiled(jars.install(needed, print))


def resolve(cloud: GoogleCloud, folder: Path, password: str) -> subprocess.CompletedProcess[str]:
    install()
    source = folder / "Resolve.java"
    source.write_text(PRINTS_WHAT_KAFKA_GETS)
    pairs = [f"{name}={value}" for name, value in java_consumer(config(password)).items()]
    path = os.pathsep.join([f"{JARS}/*", str(JAR)])
    return subprocess.run(
        ["java", "-cp", path, str(source), *pairs],
        env=os.environ | {"SECRET_MANAGER_ENDPOINT": cloud.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.skipif(shutil.which("javac") is None, reason="javac is not here: it compiles the program of this test")
def test_kafkas_client_gets_the_value_also_one_with_quotes(tmp_path: Path) -> None:
    with GoogleCloud(tmp_path, {NAME: 'pass"wo\\rd'}) as cloud:
        done = resolve(cloud, tmp_path, REFERENCE)
        assert done.returncode == 0, done.stderr
        assert 'password="pass\\"wo\\\\rd";' in done.stdout
        assert cloud.accessed == [NAME]


@pytest.mark.skipif(shutil.which("javac") is None, reason="javac is not here: it compiles the program of this test")
def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    with GoogleCloud(tmp_path) as cloud:
        done = resolve(cloud, tmp_path, REFERENCE)
        assert done.returncode != 0
        assert f"secret {NAME}: there is no such secret, or not that version of it" in done.stderr
