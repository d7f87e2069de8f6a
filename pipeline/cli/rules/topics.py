"""Rules of the topics."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.cli.config import Config
from pipeline.cli.flag import Values


def apart(config: Config, values: Values) -> Iterator[str]:
    """What is written must not be read again."""
    for name, topic in (("output_topic", config.output_topic), ("dead_letter_topic", config.dead_letter_topic)):
        if topic in config.input_topics:
            yield f"--{name}={topic}: is an input topic too; that would feed the job its own output"
