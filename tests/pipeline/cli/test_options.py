"""Flags: the contract's defaults, every mistake at once with its cure, and Beam's own."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.config import BY_NAME, FLAGS
from tests.pipeline.cli.parsing import OWN, mistake, mistakes, parse
from transforms.errors import ConfigError

# ---------------------------------------------------------------------- the contract

CONTRACT: dict[str, Any] = {
    "runner": "DirectRunner",
    "bootstrap_servers": "embedded",
    "input_topics": ("digits",),
    "output_topic": "digits.predictions",
    "dead_letter_topic": "digits.predictions.dead-letter",
    "start_from": "committed",
    "kafka_properties": (),
    "delivery": "exactly_once",
    "workers": 1,
    "assignment": "group",
    "instance_id": None,
    "model": "embedded",
    "model_headers": (),
    "model_poll_s": 60.0,
    "input_format": "auto",
    "output_mode": "prediction",
    "labels": None,
    "top_k": None,
    "batch_max_size": 64,
    "batch_max_wait_ms": 20,
    "window_seconds": None,
    "max_in_flight": None,
    "request_timeout_s": 30.0,
    "retry_deadline_s": 60.0,
    "on_unavailable": "hold",
    "idle_look_s": 2.5,
    "max_records": None,
    "until_end": False,
    "duration_s": None,
    "status": "auto",
    "summary_json": None,
    "metrics_port": None,
    "metrics_host": "127.0.0.1",
    "beam_args": (),
}

FLAGS_OF_THE_CONTRACT = [
    "runner",
    "bootstrap_servers",
    "input_topic",
    "output_topic",
    "dead_letter_topic",
    "group_id",
    "start_from",
    "kafka_config",
    "kafka_config_file",
    "delivery",
    "workers",
    "assignment",
    "instance_id",
    "kafka_io",
    "model",
    "model_poll_s",
    "input_format",
    "output_mode",
    "labels",
    "top_k",
    "batch_max_size",
    "batch_max_wait_ms",
    "window_seconds",
    "max_in_flight",
    "request_timeout_ms",
    "retry_deadline_s",
    "on_unavailable",
    "max_records",
    "until_end",
    "duration_s",
    "status",
    "summary_json",
    "metrics_port",
    "config",
]


def test_without_a_flag_everything_has_the_contracts_default() -> None:
    config = parse()
    assert {name: getattr(config, name) for name in CONTRACT} == CONTRACT
    assert config.group_id
    assert config.demo
    assert config.direct
    assert config.endless


def test_every_flag_of_the_contract_is_there_and_explains_itself() -> None:
    assert set(FLAGS_OF_THE_CONTRACT) <= set(BY_NAME)
    assert all(flag.text and not flag.text.endswith(".") for flag in FLAGS)


EXAMPLES: dict[str, tuple[str, str, Any]] = {
    "runner": ("FnApiRunner", "runner", "FnApiRunner"),
    "bootstrap_servers": ("a:1,b:2", "bootstrap_servers", "a:1,b:2"),
    "input_topic": ("other", "input_topics", ("in", "other")),
    "output_topic": ("o", "output_topic", "o"),
    "dead_letter_topic": ("d", "dead_letter_topic", "d"),
    "group_id": ("g", "group_id", "g"),
    "start_from": ("earliest", "start_from", "earliest"),
    "kafka_config": ("client.id=me", "kafka_properties", (("client.id", "me"),)),
    "delivery": ("at_least_once", "delivery", "at_least_once"),
    "workers": ("3", "workers", 3),
    "assignment": ("static", "assignment", "static"),
    "instance_id": ("i", "instance_id", "i"),
    "model": ("http://h:1/v1/models/m", "model", "http://h:1/v1/models/m"),
    "model_header": ("authorization=x", "model_headers", (("authorization", "x"),)),
    "input_format": ("bytes", "input_format", "bytes"),
    "output_mode": ("merge", "output_mode", "merge"),
    "batch_max_size": ("7", "batch_max_size", 7),
    "batch_max_wait_ms": ("0", "batch_max_wait_ms", 0),
    "window_seconds": ("1.5", "window_seconds", 1.5),
    "max_in_flight": ("9", "max_in_flight", 9),
    "request_timeout_ms": ("250", "request_timeout_s", 0.25),
    "retry_deadline_s": ("0.5", "retry_deadline_s", 0.5),
    "on_unavailable": ("fail", "on_unavailable", "fail"),
    "idle_look_s": ("0", "idle_look_s", 0.0),
    "max_records": ("5", "max_records", 5),
    "duration_s": ("2.5", "duration_s", 2.5),
    "status": ("off", "status", "off"),
    "metrics_port": ("9400", "metrics_port", 9400),
    "metrics_host": ("0.0.0.0", "metrics_host", "0.0.0.0"),
    "status_port": ("0", "status_port", 0),
    "status_host": ("::1", "status_host", "::1"),
}

NEEDED = {"metrics_host": ["--metrics_port=1"], "status_host": ["--status_port=1"]}
"""What a flag does nothing without."""


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("joined", [True, False])
def test_a_flag_sets_its_field_with_and_without_an_equals_sign(name: str, joined: bool) -> None:
    text, field, value = EXAMPLES[name]
    given = [f"--{name}={text}"] if joined else [f"--{name}", text]
    given += NEEDED.get(name, [])
    assert getattr(parse(*OWN, *given), field) == value
    assert re.fullmatch(BY_NAME[name].kind.pattern, text), "Dataflow takes it, too"


def test_the_rest_of_the_flags(tmp_path: Path) -> None:
    config = parse(*OWN, "--until_end", f"--summary_json={tmp_path}/s.json", "--kafka_io=native", "--max_in_flight=auto")
    assert config.until_end
    assert config.summary_json == tmp_path / "s.json"
    assert config.max_in_flight is None
    assert not config.endless


def test_topics_may_be_repeated_and_are_read_once_each() -> None:
    assert parse(*OWN, "--input_topic=b", "--input_topic=in").input_topics == ("in", "b")


def test_dead_letters_follow_the_output_topic() -> None:
    assert parse(*OWN).dead_letter_topic == "out.dead-letter"


@pytest.mark.parametrize(
    ("runner", "assignment"),
    [("DirectRunner", "group"), ("FnApiRunner", "group"), ("PrismRunner", "group"), ("FlinkRunner", "static")],
)
def test_assignment_auto(runner: str, assignment: str) -> None:
    assert parse(*OWN, f"--runner={runner}", "--flink_master=f:8081").assignment == assignment


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-01-31T12:00:00+01:00", "2026-01-31T12:00:00+01:00"),
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2h", "-2h"),
        ("-02h", "-2h"),
        ("yesterday", "yesterday"),
    ],
)
def test_a_time_to_start_from_without_a_zone_is_utc(given: str, meant: str) -> None:
    assert parse(*OWN, f"--start_from={given}").start_from == meant


def test_a_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse().workers = 2  # type: ignore[misc]  # that is the point


# ---------------------------------------------------------------------- mistakes

WRONG = {
    "--workers=0": ("--workers=0", "whole number of at least 1"),
    "--workers=two": ("--workers=two", "whole number of at least 1"),
    "--batch_max_size=-1": ("--batch_max_size=-1", "whole number of at least 1"),
    "--batch_max_size=1.5": ("--batch_max_size=1.5", "whole number"),
    "--batch_max_wait_ms=-1": ("--batch_max_wait_ms=-1", "whole number of at least 0"),
    "--max_in_flight=many": ("--max_in_flight=many", "whole number"),
    "--window_seconds=0": ("--window_seconds=0", "number above 0"),
    "--retry_deadline_s=-5": ("--retry_deadline_s=-5", "number above 0"),
    "--idle_look_s=-1": ("--idle_look_s=-1", "number of at least 0"),
    "--duration_s=nan": ("--duration_s=nan", "number above 0"),
    "--duration_s=inf": ("--duration_s=inf", "number above 0"),
    "--metrics_port=65536": ("--metrics_port=65536", "at most 65535"),
    "--delivery=exactly-once": ("--delivery=exactly-once", "use exactly_once or at_least_once; did you mean exactly_once?"),
    "--on_unavailable=wait": ("--on_unavailable=wait", "use hold, dead_letter or fail"),
    "--input_format=xml": ("--input_format=xml", "use auto, json, bytes, tf_example, avro, protobuf or npy"),
    "--status=loud": ("--status=loud", "use auto, live, plain or off"),
    "--start_from=Tuesday": ("--start_from=Tuesday", "an ISO time such as 2026"),
    "--model=h:8500": ("--model=h:8500", "grpc://HOST:PORT/MODEL"),
    "--model=ftp://h/m": ("--model=ftp://h/m", "grpc://HOST:PORT/MODEL"),
    "--output_topic=a b": ("--output_topic=a b", "1 to 249 of the characters"),
    "--output_topic=in": ("--output_topic=in", "its own output"),
    "--dead_letter_topic=in": ("--dead_letter_topic=in", "its own output"),
    "--labels=/nowhere/labels.txt": ("--labels=/nowhere/labels.txt", "No such file"),
    "--kafka_config_file=/nowhere": ("--kafka_config_file=/nowhere", "no such file"),
    "--model_ca_file=/nowhere": ("--model_ca_file=/nowhere", "no such file"),
    "--summary_json=/nowhere/s.json": ("--summary_json=/nowhere/s.json", "the folder /nowhere does not exist; make it"),
    "--summary_json=/tmp": ("--summary_json=/tmp", "is a folder"),
    "--config=/nowhere.yaml": ("--config=/nowhere.yaml", "can't be read"),
    "--kafka_config=linger.ms": ("--kafka_config", "NAME=VALUE"),
    "--kafka_config=no.such=1": ("--kafka_config no.such", "no such librdkafka property"),
    "--kafka_config=linger.ms=long": ("--kafka_config linger.ms", "not accepted by librdkafka"),
    "--kafka_config=enable.auto.commit=true": ("--kafka_config enable.auto.commit", "leave it out"),
    "--kafka_config=transactional.id=x": ("--kafka_config transactional.id", "leave it out"),
    "--kafka_io=beam": ("--kafka_io=beam", "--runner=PrismRunner, or --kafka_io=native"),
    "--group_id=": ("--group_id", "is empty"),
    "--until_end=maybe": ("--until_end", "true or false"),
    "--max_record=5": ("--max_record", "did you mean --max_records?"),
    "--quantum_mode": ("--quantum_mode", "no such flag"),
    "-x": ("-x", "no such flag"),
    "stray": ("a word belongs to no flag", "--name=value"),
    "--workers": ("--workers", "takes a value"),
    "--input_topic": ("--input_topic", "takes a value"),
}


@pytest.mark.parametrize("given", WRONG)
def test_a_mistake_names_its_flag_and_the_cure(given: str) -> None:
    flag, cure = WRONG[given]
    text = mistake(given)
    assert text.startswith(flag)
    assert cure in text


@pytest.mark.parametrize("name", BY_NAME)
def test_a_mistake_says_its_flag_once(name: str) -> None:
    """Whatever the value is taken for: what reads it may name the flag, or who asks it to, but not both."""
    texts: list[str] = []
    for value in ("?", "/nowhere/file", "/tmp", "", "a=b=c", "x://y"):
        try:
            parse(*OWN, f"--{name}={value}")
        except ConfigError as error:
            texts += error.mistakes
    assert not [text for text in texts if len(re.findall(rf"--{name}[=: ]", text)) > 1]


def test_all_mistakes_are_reported_at_once() -> None:
    """Those that argparse would stop at, too."""
    apart = ("--config=", "--output_topic", "--workers=", "--summary", "stray")  # each has its own test above
    broken = [given for given in WRONG if not given.startswith(apart)]
    texts = mistakes(*OWN, *broken)
    for given in broken:
        flag, cure = WRONG[given]
        if given.split("=")[0] in ("--batch_max_size", "--duration_s", "--model") and given not in (
            "--batch_max_size=1.5", "--duration_s=inf", "--model=ftp://h/m",
        ):  # fmt: skip
            continue  # given twice: the last one counts
        assert any(text.startswith(flag) and cure in text for text in texts), (given, texts)


def test_combinations_that_can_not_be() -> None:
    assert "--top_k: needs --labels" in mistake("--top_k=3")
    for count in ("2", "auto"):
        assert "places work itself" in mistake(f"--workers={count}", "--runner=PrismRunner")
    assert "needs --assignment=group" in mistake("--workers=2", "--assignment=static")
    assert "needs JSON records" in mistake("--output_mode=merge", "--input_format=bytes")


def test_client_certificates_come_in_pairs(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("")
    assert "give both or neither" in mistake(f"--model_cert_file={tmp_path}/c.pem")


def test_other_runners_can_not_reach_the_demos_parts() -> None:
    [text] = mistakes("--runner=FlinkRunner", "--flink_master=f:1")
    assert text.startswith("--runner=FlinkRunner: FlinkRunner's workers can't reach the demo's broker and model")
    assert parse("--runner=PrismRunner").demo, "its workers are threads of this process"
    assert "Java's client can't use the demo's broker" in mistakes("--runner=PrismRunner", "--kafka_io=beam")[0]


OWN_PARTS = {"--bootstrap_servers": "h:1", "--input_topic": "in", "--output_topic": "out", "--model": "grpc://h:1/m"}


@pytest.mark.parametrize("named", range(1, 16))
def test_the_demo_is_mixed_with_nothing(named: int) -> None:
    """An own topic that the digits model scores would be all dead letters, with its offsets committed."""
    given = {flag: value for bit, (flag, value) in enumerate(OWN_PARTS.items()) if named >> bit & 1}
    argv = [f"{flag}={value}" for flag, value in given.items()]
    if len(given) == len(OWN_PARTS):
        assert not parse(*argv).demo
        return
    assert [text.split(":")[0] for text in mistakes(*argv)] == [flag for flag in OWN_PARTS if flag not in given]
    assert all("name " in text and "the demo" in text for text in mistakes(*argv))


@pytest.mark.parametrize("host", ["[::1]x", "x[::1]", "a b", "a\tb", "a\nb", "a\x01b", "[v1.a]", "[]"])
@pytest.mark.parametrize(
    "flag",
    [
        "--bootstrap_servers={}:9092",
        "--bootstrap_servers=h:1,SSL://{}:9092",
        "--otlp_endpoint=http://{}:4317",
        "--expansion_service={}:8097",
        "--schema_registry=http://{}:8081",
    ],
)
def test_a_host_is_taken_whole_or_refused(flag: str, host: str) -> None:
    """librdkafka takes the address in brackets and drops the rest; an error with a line break in it is read as two."""
    name = flag.partition("=")[0]
    own = [f"{name}={value}" for name, value in OWN_PARTS.items() if not flag.startswith(name)]
    found = [text for text in mistakes(*own, flag.format(host), "--input_format=avro") if text.startswith(name)]
    assert [text for text in found if "HOST" in text], found
    assert all(text.isprintable() for text in found)


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1", "a-b.c_d"])
def test_hosts_of_brokers(host: str) -> None:
    for servers in (f"{host}:9092", f"SASL_SSL://{host}:1, {host}:2", host):
        own = [f"{name}={value}" for name, value in OWN_PARTS.items() if name != "--bootstrap_servers"]
        assert parse(*own, f"--bootstrap_servers={servers}").bootstrap_servers == servers


@pytest.mark.parametrize("flag", ["--bootstrap_servers=embedded", "--model=embedded"])
def test_nor_if_it_is_named(flag: str) -> None:
    name = flag.partition("=")[0]
    others = [given for given in OWN if not given.startswith(name)]
    [text] = mistakes(*others, flag)
    assert text.startswith(f"{flag}: name your ")
    assert parse("--bootstrap_servers=embedded", "--model=embedded").demo


def test_a_wrong_value_is_not_a_missing_one() -> None:
    """One mistake, one line."""
    assert len(mistakes("--bootstrap_servers=h:1", "--input_topic=a b", "--output_topic=c d", "--model=h:1")) == 3


@pytest.mark.parametrize("given", [["--direct_num_workers=4"], ["--direct_num_workers", "4"], ["--direct_num_workers=0"]])
def test_beams_own_workers_are_refused_with_the_reason(given: list[str]) -> None:
    text = mistake(*given)
    assert text.startswith("--direct_num_workers")
    assert "drops data" in text
    assert "use --workers" in text


def test_beams_running_modes_are_refused() -> None:
    assert "use --workers" in mistake("--direct_running_mode=multi_processing")
    assert parse(*OWN, "--direct_running_mode=in_memory", "--direct_num_workers=1").beam_args


def test_beams_own_flags_pass_through() -> None:
    beam = ("--project=p", "--region", "r", "--temp_location=gs://b/t", "--job_name=j", "--streaming", "--flink_master=h:1")
    assert parse(*OWN, *beam).beam_args == beam


def test_messages_never_end_in_python() -> None:
    """A person reads them: no class names, no tracebacks."""
    for given in WRONG:
        assert not re.search(r"Traceback|<class|Error\(", "\n".join(mistakes(*OWN, given)))
