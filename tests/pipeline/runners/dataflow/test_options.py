"""What keeps a job from Dataflow is said before anything is asked or staged, each with its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli.beam_values import beam_values
from pipeline.runners.dataflow.options import is_secret
from tests.pipeline.cli.parsing import DATAFLOW, OWN, mistake, mistakes, parse

SECRET = "${secret:projects/p/secrets/kafka/versions/3}"


def test_a_job_that_can_go_there() -> None:
    parse(
        *OWN,
        *DATAFLOW,
        "--kafka_config=security.protocol=SASL_SSL",
        "--kafka_config=sasl.mechanism=PLAIN",
        "--kafka_config=sasl.username=alice",
        f"--kafka_config=sasl.password={SECRET}",
        f"--model_header=authorization={SECRET}",
        "--update",
        "--job_name=scoring",
        "--label=team=risk",
    )


def test_what_dataflow_needs() -> None:
    texts = mistakes(*OWN, "--runner=DataflowRunner")
    assert [text.partition(":")[0] for text in texts] == [
        "--project",
        "--region",
        "--temp_location",
        "--sdk_container_image",
    ]
    assert "--setup_file=./setup.py" in texts[-1]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("kafka_config", "sasl.password=hunter2"),
        ("kafka_config", "ssl.key.password=hunter2"),
        ("kafka_config", "ssl.key.pem=hunter2"),
        ("model_header", "authorization=Bearer hunter2"),
        ("model_header", "x-api-key=hunter2"),
    ],
)
def test_a_plain_secret_is_refused_with_the_cure(flag: str, value: str) -> None:
    name = value.partition("=")[0]
    [text] = [text for text in mistakes(*OWN, *DATAFLOW, f"--{flag}={value}") if f"--{flag} {name}: is a secret" in text]
    assert f"{name}=${{secret:projects/PROJECT/secrets/NAME/versions/VERSION}}" in text
    assert "hunter2" not in text


def test_a_secret_from_a_file_or_with_something_around_it_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "kafka").write_text("sasl.password=hunter2\n")
    assert "is a secret" in mistake(*DATAFLOW, f"--kafka_config_file={tmp_path}/kafka")
    assert "is a secret" in mistake(*DATAFLOW, f"--model_header=authorization=Bearer hunter2{SECRET}")


def test_a_registrys_secret() -> None:
    text = mistake(
        *DATAFLOW, "--input_format=json", "--schema_registry=http://h:1", "--schema_registry_config=basic.auth.user.info=a:b"
    )
    assert text.startswith("--schema_registry_config basic.auth.user.info: is a secret")


def test_what_comes_from_the_environment_is_meant_as_a_secret() -> None:
    text = mistake(*DATAFLOW, "--model_header=x-tenant=${TENANT}", environ={"TENANT": "hunter2"})
    assert "comes from the environment variable TENANT" in text
    assert "hunter2" not in text


def test_a_reference_names_its_secret_in_full() -> None:
    assert "not named in full" in mistake(*DATAFLOW, "--kafka_config=sasl.password=${secret:kafka}")
    assert "not named in full" in mistake("--model_header=x-api-key=${secret:kafka}")  # on any runner


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("sasl.password", True),
        ("ssl.keystore.password", True),
        ("sasl.oauthbearer.client.secret", True),
        ("sasl.oauthbearer.token.endpoint.url", False),
        ("sasl.oauthbearer.client.id", False),
        ("sasl.username", False),
        ("sasl.oauthbearer.method", False),
        ("session.timeout.ms", False),
        ("Authorization", True),
        ("cookie", True),
        ("x-goog-user-project", False),
    ],
)
def test_what_a_secret_is_called(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


@pytest.mark.parametrize(
    ("flag", "cure"),
    [
        ("--max_records=3", "drain the job"),
        ("--until_end", "drain the job"),
        ("--duration_s=3", "drain the job"),
        ("--metrics_port=9000", "until it is drained"),
        ("--job_name=Not_This", "lower-case"),
        ("--update", "--job_name"),
        ("--label=Team=Risk", "key=value"),
        ("--staging_location=/tmp/here", "gs://BUCKET/PATH"),
        ("--workers=2", "places work itself"),
    ],
)
@pytest.mark.parametrize("kafka_io", ["native", "beam"])
def test_what_does_not_go_there(flag: str, cure: str, kafka_io: str) -> None:
    [text] = mistakes(*OWN, *DATAFLOW, flag, f"--kafka_io={kafka_io}")
    assert cure in text


def test_files_on_this_machine_are_not_on_the_workers(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    without_image = [*DATAFLOW[:-1], "--setup_file=./setup.py"]
    assert "is not on Dataflow's workers" in mistake(*without_image, f"--model_ca_file={tmp_path}/ca.pem")
    assert mistake(*without_image, "--model=saved_model:///models/m").startswith("--model: /models/m is not on")
    parse(*OWN, *DATAFLOW, "--model=saved_model:///models/m")  # an image may have it
    key = f"--kafka_config=ssl.ca.location={tmp_path}/ca.pem"
    assert "ssl.ca.pem=" in mistake(*without_image, key)
    parse(*OWN, *DATAFLOW, key)
    assert "ssl.ca.pem=" in mistake(*DATAFLOW, key, "--kafka_io=beam"), "Java's worker has an image of its own"


def test_values_of_beams_flags() -> None:
    given = ["--project=a", "--region", "b", "--update", "--label=x=1", "--label", "y=2"]
    assert beam_values(given, "project") == ["a"]
    assert beam_values(given, "region") == ["b"]
    assert beam_values(given, "update") == ["true"]
    assert beam_values(given, "label") == ["x=1", "y=2"]
    assert beam_values(given, "zone") == []


def test_keys_and_certificates_may_be_references() -> None:
    """librdkafka looks into PEM at once, and a reference is none: the workers will."""
    given = ("--kafka_config=security.protocol=SSL", *(f"--kafka_config=ssl.{name}.pem={SECRET}" for name in ("ca", "key")))
    for certificate in (SECRET, "-----BEGIN CERTIFICATE-----"):
        config = parse(*OWN, *DATAFLOW, *given, f"--kafka_config=ssl.certificate.pem={certificate}")
        assert dict(config.kafka_properties)["ssl.key.pem"] == SECRET
    assert "ssl.ca.pem" in mistake(*DATAFLOW, given[0], "--kafka_config=ssl.ca.pem=wrong")
