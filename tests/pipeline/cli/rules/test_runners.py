"""What fits which runner and which of the two implementations of Kafka; each refusal with its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.cli.parsing import DATAFLOW, OWN, mistake, parse

PRISM = "--runner=PrismRunner"
ELSEWHERE = (
    "--runner=PortableRunner",
    "--job_endpoint=h:1",
    "--environment_type=EXTERNAL",
    "--environment_config=h:2",
)
JAVA = (PRISM, "--kafka_io=beam")


@pytest.mark.parametrize("runner", [(), (PRISM,), ELSEWHERE, DATAFLOW, ("--runner=FlinkRunner", "--flink_master=f:1")])
def test_native_is_what_runs_on_every_runner_and_is_exactly_once(runner: tuple[str, ...]) -> None:
    config = parse(*OWN, *runner)
    assert (config.kafka_io, config.delivery, config.with_java) == ("native", "exactly_once", False)


def test_beams_java_transforms_are_chosen() -> None:
    for runner in ((PRISM,), DATAFLOW):
        config = parse(*OWN, *runner, "--kafka_io=beam")
        assert (config.kafka_io, config.delivery, config.has_shards) == ("beam", "at_least_once", False)


def test_dataflow_moves_the_shards() -> None:
    config = parse(*OWN, *DATAFLOW)
    assert (config.has_shards, config.shards_move, config.remote, config.assignment) == (True, True, False, "static")


def test_java_writes_at_least_once_and_never_says_more() -> None:
    """Left out, the guarantee is what there is; asked for, exactly once is refused."""
    assert parse(*OWN, *JAVA).delivery == "at_least_once"
    assert parse(*OWN, *JAVA, "--delivery=at_least_once").delivery == "at_least_once"
    assert "give --delivery=at_least_once" in mistake(*JAVA, "--delivery=exactly_once")
    assert parse(*OWN, PRISM).delivery == "exactly_once", "native on Prism is the same stage as on the DirectRunner"


def test_prism_assigns_by_the_group_and_its_workers_are_here() -> None:
    config = parse(*OWN, PRISM)
    assert (config.assignment, config.workers_are_here) == ("group", True)
    assert not parse(*OWN, "--runner=FlinkRunner", "--flink_master=f:1").workers_are_here
    assert parse(*OWN, "--runner=PortableRunner", "--job_endpoint=h:1", "--environment_type=LOOPBACK").workers_are_here
    assert parse(*OWN, "--runner=PortableRunner", "--job_endpoint=h:1", "--environment_type", "LOOPBACK").workers_are_here
    assert parse(*OWN, "--runner=PortableRunner", "--job_endpoint=h:1").workers_are_here
    assert not parse(*OWN, *JAVA, "--environment_type=DOCKER").workers_are_here, "a gate in a container is nobody's here"


def test_a_portable_runner_with_workers_elsewhere_has_shards_that_move() -> None:
    """Of such a runner nothing says that it leaves a shard where it is; of workers in this process there is one session."""
    config = parse(*OWN, *ELSEWHERE)
    assert (config.remote, config.shards_move, config.assignment) == (True, True, "static")
    here = parse(*OWN, "--runner=PortableRunner", "--job_endpoint=h:1")
    assert (here.remote, here.shards_move) == (False, False)
    on_flink = parse(*OWN, *ELSEWHERE, "--flink_master=f:1")
    assert (on_flink.remote, on_flink.shards_move) == (True, False)
    java = parse(*OWN, *ELSEWHERE, "--kafka_io=beam")
    assert (java.remote, java.shards_move) == (False, False)


REFUSED = {
    ("--kafka_io=beam",): ("--kafka_io=beam", "--runner=PrismRunner"),
    ("--expansion_service=h:1",): ("--expansion_service", "--kafka_io=beam"),
    (*JAVA, "--expansion_service=h"): ("--expansion_service=h", "HOST:PORT"),
    (*JAVA, "--assignment=static"): ("--assignment", "--kafka_io=native"),
    (*JAVA, "--instance_id=a"): ("--instance_id", "--kafka_io=native"),
    (*JAVA, "--kafka_config=debug=all"): ("--kafka_config debug", "--kafka_io=native"),
    ("--runner=PortableRunner", "--job_endpoint=h:1", "--environment_type=DOCKER", "--kafka_io=beam", "--until_end"): (
        "--until_end",
        "drain the job",
    ),
    ("--runner=PortableRunner",): ("--runner=PortableRunner", "--job_endpoint=HOST:PORT"),
    ("--runner=PortableRunner", "--job_endpoint=localhost"): ("--job_endpoint=localhost", "give HOST:PORT"),
    ("--runner=PortableRunner", "--job_endpoint=h:1", "--environment_type=FOO", "--environment_config=h:2"): (
        "--environment_type=FOO",
        "EXTERNAL",
    ),
    ("--runner=PortableRunner", "--job_endpoint=h:1", "--environment_type=PROCESS"): (
        "--environment_type=PROCESS",
        "--environment_config=…",
    ),
    (*ELSEWHERE, "--max_records=5"): ("--max_records=5", "--until_end"),
    (*ELSEWHERE, "--status_port=0"): ("--status_port=0", "the runner's own pages"),
    (*ELSEWHERE, "--assignment=group"): ("--assignment=group", "leave it out"),
    (PRISM, "--environment_type=DOCKER"): ("--environment_type=DOCKER", "leave it out"),
    ("--runner=FlinkRunner", "--flink_master=f:1", "--kafka_io=beam"): ("--kafka_io=beam", "use --kafka_io=native"),
    ("--runner=FlinkRunner", "--flink_master=f:1", "--job_name=mine"): ("--job_name", "leave it out"),
    (PRISM, "--workers=2"): ("--workers=2", "DirectRunner"),
}


@pytest.mark.parametrize("given", REFUSED, ids=" ".join)
def test_what_does_not_fit_is_refused_with_its_cure(given: tuple[str, ...]) -> None:
    flag, cure = REFUSED[given]
    text = mistake(*given)
    assert text.startswith(flag)
    assert cure in text


def test_stop_conditions_are_for_workers_in_this_process() -> None:
    config = parse(*OWN, *JAVA, "--until_end", "--max_records=5", "--duration_s=2")
    assert (config.until_end, config.max_records, config.duration_s) == (True, 5, 2.0)


def test_a_property_of_both_clients_is_taken(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    given = ("--kafka_config=security.protocol=PLAINTEXT", "--kafka_config=fetch.wait.max.ms=20")
    assert dict(parse(*OWN, *JAVA, *given).kafka_properties)["fetch.wait.max.ms"] == "20"
