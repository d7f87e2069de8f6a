"""Rules of the runners and of the two implementations of Kafka."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pipeline.cli.beam_values import beam_value
from pipeline.cli.config import Config
from pipeline.cli.flag import Flag, Values, Where
from pipeline.cli.names import DATAFLOW, EXACTLY_ONCE, PORTABLE, PRISM, RUNNERS
from pipeline.cli.nearest import nearest
from pipeline.cli.rules.demo import is_demo
from pipeline.runners.dataflow.options import dataflow_mistakes
from pipeline.runners.flink import options as flink_options
from transforms.hosts import HOST
from transforms.kafka.beam.properties import java_problems
from transforms.printable import one_line


def refusals(config: Config, flags: Sequence[Flag], values: Values) -> Iterator[str]:
    """What the table says does not fit where this job runs."""
    places = _places(config)
    for row in flags:
        if row.name not in values.given or row.name in values.wrong or (value := values[row.name]) == row.unset:
            continue
        for refusal in row.refused:
            if refusal.where in places and refusal.value in (None, value):
                shown = "" if value is True or row.secret else f"={values.given[row.name]}"
                yield f"--{row.name}{shown}: {refusal.why.format(runner=config.runner)}"


def _places(config: Config) -> set[Where]:
    found = {
        Where.NOT_DIRECT: not config.direct,
        Where.REMOTE: config.remote,
        Where.DATAFLOW: config.runner == DATAFLOW,
        Where.NATIVE: not config.with_java,
        Where.JAVA: config.with_java,
        Where.JAVA_ELSEWHERE: config.with_java and not config.workers_are_here and config.runner != DATAFLOW,
    }
    return {where for where, here in found.items() if here}


LACKS = {
    "KafkaStreamsRunner": "it has no splittable DoFns, and no state and timers (apache/beam#39631, #39629)",
    "SamzaRunner": "it has no splittable DoFns (apache/beam#19693)",
    "SparkRunner": "it has no timers in streaming (apache/beam#20397)",
}
"""Beam's other runners, and which features they lack that the source of records needs, by Beam's issues of 2026."""


def supported(config: Config, values: Values) -> Iterator[str]:
    """Refuses Beam's other runners: they would accept the pipeline, then fail midway or drop work of a streaming source."""
    if config.runner in RUNNERS:
        return
    known = LACKS.get(config.runner)
    why, meant = (f": {known}", "") if known is not None else ("", nearest(config.runner, RUNNERS))
    yield f"--runner={config.runner}: is not supported{why}; use {', '.join(RUNNERS)}{meant}"


def workers_of_a_group(config: Config, values: Values) -> Iterator[str]:
    """Several processes on one machine are members of one group."""
    if config.workers > 1 and config.direct and config.assignment == "static":
        yield "--workers: needs --assignment=group, by which the workers share the partitions"


def embedded_parts(config: Config, values: Values) -> Iterator[str]:
    """Embedded parts serve this machine only, and the broker no Java client."""
    near = config.direct or (config.runner == PRISM and not config.with_java)
    if is_demo(values) and config.runner in RUNNERS and not near:
        workers = "Java's client can't use" if config.with_java else f"{config.runner}'s workers can't reach"
        what = "--kafka_io=beam" if config.with_java else f"--runner={config.runner}"
        yield f"{what}: {workers} the demo's broker and model; name your own by --bootstrap_servers, topics and --model"


def flink(config: Config, values: Values) -> Iterable[str]:
    """What a Flink cluster needs."""
    return flink_options.mistakes(config) if config.flink else ()


_ENVIRONMENTS = ("LOOPBACK", "EXTERNAL", "PROCESS", "DOCKER")
"""Beam's names of who starts the workers; it knows them by URN as well."""

_WORKERS = ("environment_config", "environment_option", "environment_options", "sdk_container_image")
"""Beam's flags that say where workers come from."""


def portable(config: Config, values: Values) -> Iterator[str]:
    """Checks a runner of which only the job server is known: its address, and who starts its workers."""
    if not config.job_endpoint_alone:
        return
    if config.runner == PORTABLE and beam_value(config.beam_args, "job_endpoint") is None:
        yield (
            f"--runner={PORTABLE}: give --job_endpoint=HOST:PORT of the runner's job server; for a Flink cluster "
            f"--flink_master=HOST:PORT, too"
        )
    endpoint = beam_value(config.beam_args, "job_endpoint")
    if endpoint is not None and not re.fullmatch(rf"{HOST}:\d{{1,5}}", endpoint):
        yield f"--job_endpoint={one_line(endpoint)}: give HOST:PORT"
    given = beam_value(config.beam_args, "environment_type")
    if given is not None and given not in _ENVIRONMENTS and not given.startswith("beam:env:"):
        yield f"--environment_type={one_line(given)}: give one of {', '.join(_ENVIRONMENTS)}"
    if config.runner == PRISM and not config.with_java and not config.workers_are_here:
        yield (
            f"--environment_type={given}: Prism's workers are threads of this process; leave it out (LOOPBACK), or start a "
            f"Prism of your own and use --runner={PORTABLE} with --job_endpoint"
        )
    if config.remote and all(beam_value(config.beam_args, name) is None for name in _WORKERS):
        yield (
            f"--environment_type={given}: give --environment_config=…, by which the runner gets workers with this package: "
            f"HOST:PORT of a worker pool (EXTERNAL), an image (DOCKER), a command (PROCESS)"
        )


def java(config: Config, values: Values) -> Iterator[str]:
    """Where Beam's Java transforms run, and what they can promise."""
    if not config.with_java:
        return
    if config.direct:
        yield (
            "--kafka_io=beam: on the DirectRunner nothing comes out of Beam's Java source before Kafka ends, which it never "
            "does (https://github.com/apache/beam/issues/25114); use --runner=PrismRunner, or --kafka_io=native"
        )
    if config.flink:
        yield (
            "--kafka_io=beam: Beam's runner for Flink starts Java's worker by Docker, whatever the service offers, "
            "and that was never run; use --kafka_io=native, which is exactly once there"
        )
    if config.delivery == EXACTLY_ONCE:
        yield (
            "--delivery=exactly_once: Beam has no exactly-once Kafka sink for Python; with --kafka_io=beam give "
            "--delivery=at_least_once, or use --kafka_io=native"
        )
    for problem in java_problems(dict(config.kafka_properties)):
        yield f"--kafka_config {problem}"


def dataflow(config: Config, values: Values) -> Iterable[str]:
    """What Dataflow needs, and what must not be seen there."""
    return dataflow_mistakes(config, values.variables) if config.runner == DATAFLOW else ()
