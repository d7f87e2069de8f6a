"""Flags of the two commands: which a job's command line brings along, which are needed, and what is wrong with others."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.kinds.time import moment
from pipeline.dead_letter_tools.flags import FilterConfig, parse_replay, parse_show
from transforms.errors import ConfigError

KAFKA = ("--bootstrap_servers=h:1", "--output_topic=out")
JOB = (*KAFKA, "--input_topic=in", "--model=grpc://s:1/m", "--runner=FlinkRunner", "--flink_master=h:2", "--workers=2")


def mistakes(parse: Callable[..., FilterConfig], *argv: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(argv, {})
    return caught.value.mistakes


@pytest.mark.parametrize("parse", [parse_show, parse_replay])
def test_the_dead_letter_topic_follows_from_the_output_topic(parse: Callable[..., FilterConfig]) -> None:
    """As in the job."""
    assert parse(KAFKA, {}).dead_letter_topic == "out.dead-letter"
    assert parse(("--bootstrap_servers=h:1", "--dead_letter_topic=dlq"), {}).dead_letter_topic == "dlq"


@pytest.mark.parametrize("more", [(), ("--score",)])
def test_a_jobs_command_line_serves_whatever_its_runner(more: tuple[str, ...]) -> None:
    config = parse_replay((*JOB, *more), {})
    assert (config.input_topics, config.model, config.max_attempts) == (("in",), "grpc://s:1/m", 3)


def test_so_does_a_jobs_config_file_with_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "bootstrap_servers: h:1\noutput_topic: out\nkafka_config:\n  security.protocol: SASL_SSL\n"
        "  sasl.mechanism: PLAIN\n  sasl.username: me\n  sasl.password: ${PASSWORD}\n"
    )
    config = parse_replay((f"--config={path}", "--stage=decode,write"), {"PASSWORD": "secret"})
    assert dict(config.kafka_properties)["sasl.password"] == "secret"
    assert config.stages == ("decode", "write")
    assert "secret" not in repr(config)


def test_all_mistakes_are_told_together() -> None:
    found = mistakes(
        parse_replay,
        "--stage=deocde",
        "--message=(",
        "--source=orders",
        "--since=yesteryear",
        "--until=latest",
        "--max_attempts=0",
        "--kafka_config=transactional.id=mine",
        "--eror_class=JsonError",
    )
    for text in (
        "--stage=deocde: use decode, predict, encode or write; did you mean decode?",
        "--message=(: is no regular expression",
        "--source=orders: give TOPIC/PARTITION/OFFSET",
        "--since=yesteryear: give today, yesterday, 2h ago as 2h",
        "--until=latest: give today",
        "--max_attempts=0: give a whole number of at least 1",
        "--kafka_config transactional.id: ",
        "--bootstrap_servers: name the Kafka that has the dead letters",
        "--dead_letter_topic: name it, or give the job's --output_topic",
        "--eror_class: no such flag; did you mean --error_class?",
    ):
        assert any(mistake.startswith(text) for mistake in found), (text, found)
    assert len(found) == 10


def test_scoring_wants_the_jobs_model_and_output_topic() -> None:
    found = mistakes(parse_replay, "--bootstrap_servers=h:1", "--dead_letter_topic=dlq", "--score", "--top_k=2")
    assert [mistake.partition(":")[0] for mistake in found] == ["--model", "--output_topic", "--top_k"]


def test_a_time_span_that_holds_nothing_is_a_mistake() -> None:
    assert mistakes(parse_show, *KAFKA, "--since=2026-02-01", "--until=2026-01-01") == (
        "--until: is not after --since, so that no record can be between them",
    )


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2026-01-31T12:00:00+00:00", 1_769_860_800_000),
        ("2026-01-31T12:00", 1_769_860_800_000),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800_000),
        ("2h", 1_769_860_800_000 - 7_200_000),
        ("yesterday", 1_769_860_800_000 - 36 * 3_600_000),
        ("-3d", 1_769_860_800_000 - 3 * 86_400_000),
    ],
)
def test_times_are_iso_or_how_long_ago(text: str, expected_ms: int) -> None:
    """In UTC unless they have a zone."""
    now = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    assert moment(lambda: now).read("since", text) == expected_ms
