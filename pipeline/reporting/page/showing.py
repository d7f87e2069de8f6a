"""Puts the page of a job together, and serves it while the job runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import confluent_kafka as ck

from pipeline.cli.config import Config
from pipeline.cli.program import program
from pipeline.process.samples import Samples, make
from pipeline.process.stats import Totals
from pipeline.reporting.lag import Lag
from pipeline.reporting.page.history import History
from pipeline.reporting.page.inputs import Inputs
from pipeline.reporting.page.server import serve_page
from pipeline.reporting.page.state import Facts, PageState
from pipeline.shell import shell_command
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.originals import Originals

READ_S = 10.0
"""How long the page waits for input records."""

_FEW = {"queued.min.messages": 1, "queued.max.messages.kbytes": 1024, "fetch.message.max.bytes": 65_536, "log_level": 0}
"""Single records are read: nothing is fetched in advance. A larger record comes whole all the same."""


@contextlib.contextmanager
def showing(
    config: Config, kafka: KafkaConfig, model: str, rows: Any, stats_file: Path, lag: Callable[[], Lag | None]
) -> Iterator[str]:
    """Serves the page while the context lasts; yields its URL. Workers that start within it sample their outputs.

    Args:
        config: The flags, with a ``status_port``.
        kafka: The job's configuration of Kafka.
        model: The model's name.
        rows: The workers' rows: see ``pipeline.process.stats``.
        stats_file: Their file.
        lag: Returns the lag; ``None`` while it is not known.

    Raises:
        ScoringError: The port is taken.
    """
    assert config.status_port is not None
    samples = Samples(make(stats_file.parent, len(rows)))
    inputs = Inputs(lambda: Originals(kafka, _open_consumer, READ_S), config.status_inputs)
    history = History(lambda: Totals(rows), lag)
    state = PageState(facts(config, model), rows, history, samples, inputs, lag)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serve_page(config.status_port, state, inputs, config.status_host))
        stack.enter_context(inputs.reading())
        stack.enter_context(history.collecting())
        yield url


def facts(config: Config, model: str) -> Facts:
    """Returns what the page says of the job that does not change."""
    return Facts(
        model,
        config.input_topics,
        config.output_topic,
        config.dead_letter_topic,
        config.delivery.replace("_", " "),
        _show_command(config),
        samples_outputs=not config.with_java,
    )


def _show_command(config: Config) -> str:
    """The command that shows one dead letter. Properties of Kafka may be secrets, so that they are only named."""
    words = [f"--bootstrap_servers={config.bootstrap_servers}", f"--dead_letter_topic={config.dead_letter_topic}"]
    more = ""
    if config.kafka_config_file is not None:
        words.append(f"--kafka_config_file={config.kafka_config_file}")
    elif config.kafka_properties:
        more = "  # and the job's --kafka_config"
    return f"{program('dead_letters')} {shell_command(words)} --source={{}} --show_values{more}"


def _open_consumer(properties: dict[str, Any]) -> Any:
    return ck.Consumer({**properties, **_FEW})
