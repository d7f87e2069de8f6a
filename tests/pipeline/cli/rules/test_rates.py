"""``--rate_limit`` and ``--token_limit``: their values, and whose part of them a worker gets."""

from __future__ import annotations

import pytest

from pipeline.launch import _rate_limits
from tests.pipeline.cli.parsing import OWN, mistake, parse
from transforms.predict.pace import RateLimits

CHAT = "--model=openai+http://h/v1/m?task=chat"


@pytest.mark.parametrize(("value", "per_s"), [("10/s", 10), ("0.5/s", 0.5), ("90/min", 1.5), ("100000/min", 100000 / 60)])
def test_a_rate(value: str, per_s: float) -> None:
    assert parse(*OWN, f"--rate_limit={value}").rate_limit == pytest.approx(per_s)


@pytest.mark.parametrize("value", ["10", "0/s", "-1/s", "1/h", "1/ s", "inf/s", "1e3/s", ""])
def test_what_is_no_rate(value: str) -> None:
    said = mistake(f"--rate_limit={value}")
    assert said.startswith("--rate_limit")


def test_tokens_are_counted_by_language_models_only() -> None:
    assert parse(*OWN[:3], CHAT, "--token_limit=600/min").token_limit == 10
    assert mistake("--token_limit=600/min").startswith("--token_limit: is for --model=openai+http://…")


def test_workers_and_shards_keep_a_limit_together() -> None:
    limit = "--rate_limit=12/s"
    assert _rate_limits(parse(*OWN, limit)) == RateLimits(12)
    assert _rate_limits(parse(*OWN, limit, "--workers=4")) == RateLimits(3)
    flink = ("--runner=FlinkRunner", "--flink_master=h:8081", "--parallelism=3", "--environment_type=LOOPBACK")
    assert _rate_limits(parse(*OWN, limit, *flink)) == RateLimits(4, per_shard=True)
    by_job_server = ("--runner=PortableRunner", "--job_endpoint=h:1", *flink[1:])
    assert _rate_limits(parse(*OWN, limit, *by_job_server)) == RateLimits(4, per_shard=True)
