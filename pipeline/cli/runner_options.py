"""What flags can't be together on a runner, or with one of the two implementations of Kafka; each with its cure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.cli.config import PRISM, Config
from pipeline.runners.flink import options as flink
from transforms.kafka.beam.properties import java_problems


def runner_problems(config: Config, given: Mapping[str, Any]) -> list[str]:
    """Returns what does not fit together.

    Args:
        config: The flags, typed.
        given: Those that were really given, by name.
    """
    found = []
    if config.workers > 1 and not config.direct:
        found.append(f"--workers={config.workers}: is for the DirectRunner; {config.runner} places work itself")
    if config.workers > 1 and config.direct and config.assignment == "static":
        found.append("--workers: needs --assignment=group, by which the workers share the partitions")
    prism = config.runner == PRISM
    if config.embedded_broker and not (config.direct or (prism and not config.with_java)):
        workers = "Java's client can't use" if config.with_java else f"{config.runner}'s workers can't reach"
        found.append(f"--bootstrap_servers: {workers} an embedded broker; name a real one")
    if config.embedded_model and not (config.direct or prism):
        found.append(f"--model: {config.runner}'s workers can't reach an embedded model server; give a URI")
    if config.flink:
        found += flink.mistakes(config)
    if config.with_java:
        found += _java_problems(config, given)
    elif config.expansion_service is not None:
        found.append("--expansion_service: is for --kafka_io=beam; the native implementation needs none")
    return found


def _java_problems(config: Config, given: Mapping[str, Any]) -> list[str]:
    found = []
    if config.direct:
        found.append(
            "--kafka_io=beam: on the DirectRunner nothing comes out of Beam's Java source before Kafka ends, which it never "
            "does (https://github.com/apache/beam/issues/25114); use --runner=PrismRunner, or --kafka_io=native"
        )
    if config.flink:
        found.append(
            "--kafka_io=beam: Beam's runner for Flink starts Java's worker by Docker, whatever the service offers, "
            "and that was never run; use --kafka_io=native, which is exactly once there"
        )
    if config.delivery == "exactly_once":
        found.append(
            "--delivery=exactly_once: Beam has no exactly-once Kafka sink for Python; with --kafka_io=beam give "
            "--delivery=at_least_once, or use --kafka_io=native"
        )
    found += [
        f"--{flag}: is for --kafka_io=native; with beam the runner places the partitions"
        for flag in ("assignment", "instance_id")
        if given.get(flag, "auto") != "auto"
    ]
    found += [
        f"--{flag}: Beam's Java source can't be told to stop on {config.runner}; drain the job by the runner's own means, "
        "or use --kafka_io=native"
        for flag in ("max_records", "until_end", "duration_s")
        if given.get(flag) and not config.workers_are_here
    ]
    address = config.expansion_service
    if address is not None and not re.fullmatch(r"[^\s:/]+:\d{1,5}", address):
        found.append(f"--expansion_service={address}: give HOST:PORT")
    found += [f"--kafka_config {problem}" for problem in java_problems(dict(config.kafka_properties))]
    return found
