"""Flags on Flink: what does not fit there and the cure, which of the runner's own are known, and our defaults."""

from __future__ import annotations

import pytest

from pipeline.cli.beam_values import beam_value
from pipeline.cli.config import Config
from pipeline.runners.flink import options as flink
from tests.pipeline.cli.parsing import OWN, mistake, mistakes, parse
from transforms.kafka.native.shards import Shards

FLINK = ("--runner=FlinkRunner", "--flink_master=f:8081")


def on_flink(*argv: str) -> Config:
    return parse(*OWN, *FLINK, *argv)


def test_the_runner_needs_flinks_rest_interface_and_a_portable_one_a_job_server() -> None:
    assert "give --flink_master=HOST:PORT" in mistake("--runner=FlinkRunner")
    assert "give --flink_master=HOST:PORT" in mistake("--runner=FlinkRunner", "--job_endpoint=j:8099")
    assert "give --job_endpoint=HOST:PORT" in mistake("--runner=PortableRunner", "--flink_master=f:8081")
    assert parse(*OWN, "--runner=PortableRunner", "--flink_master=f:8081", "--job_endpoint=j:8099").flink
    assert on_flink().flink
    assert not parse(*OWN).flink
    assert not parse(*OWN, "--runner=PortableRunner", "--job_endpoint=prism:8073").flink, "another runner's job server"


@pytest.mark.parametrize(
    ("given", "flag", "cure"),
    [
        ("--workers=2", "--workers", "places work itself"),
        ("--assignment=group", "--assignment", "leave it out or use static"),
        ("--max_records=5", "--max_records", "use --until_end or --duration_s"),
        ("--status=live", "--status", "use plain"),
        ("--metrics_port=9100", "--metrics_port", "the runner's own metrics"),
        ("--parallelism=x", "--parallelism", "whole number"),
        ("--parallelism=0", "--parallelism", "whole number"),
        ("--max_parallelism=-1", "--max_parallelism", "whole number"),
        ("--savepoint_path=/s", "--savepoint_path", "leave it out"),
        ("--checkpointing_interval=-1", "--checkpointing_interval", "does not restart"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(given: str, flag: str, cure: str) -> None:
    texts = mistakes(*OWN, *FLINK, given)
    assert len(texts) == 1
    assert texts[0].startswith(flag)
    assert cure in texts[0]


def test_more_subtasks_than_key_groups() -> None:
    assert "--max_parallelism" in mistake(*FLINK, "--parallelism=8", "--max_parallelism=4")


def test_embedded_parts_are_out_of_reach_there() -> None:
    (text,) = mistakes(*FLINK)
    assert text.startswith("--runner=FlinkRunner: ")
    assert text.endswith("name your own by --bootstrap_servers, topics and --model")


def test_flinks_own_options_pass_there_and_only_there() -> None:
    option = "--state_backend=rocksdb"
    assert option in flink.beam_args(on_flink(option))
    assert "--state_backend: no such flag" in mistake(option)
    assert "--stat_backend: no such flag" in mistake(*FLINK, "--stat_backend=rocksdb")


def test_defaults_stand_back_behind_what_is_given() -> None:
    given = flink.beam_args(on_flink("--parallelism=3", "--checkpointing_interval", "5000", "--max_bundle_time_mills=50"))
    assert beam_value(given, "checkpointing_interval") == "5000"
    assert [argument for argument in given if "checkpointing_interval=" in argument] == []
    assert beam_value(given, "max_bundle_time_mills") == "50"
    assert beam_value(given, "parallelism") == "3"
    assert beam_value(given, "max_parallelism") == "128"
    defaults = flink.beam_args(on_flink())
    assert beam_value(defaults, "parallelism") == "1"
    assert beam_value(defaults, "checkpointing_interval") == flink.DEFAULTS["checkpointing_interval"]


def test_one_shard_a_subtask() -> None:
    assert flink.shards(on_flink("--parallelism=3")) == Shards(3, 128)
    assert flink.shards(on_flink("--parallelism=3", "--max_parallelism=64")) == Shards(3, 64)
    assert flink.shards(on_flink()) == Shards(1, 128)
