"""The rule of the demo: its broker, topics and model are used together, and never with the user's own.

The demo's model would turn a user's topic into dead letters, and the job would commit its offsets. So any mix is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.cli.config import Config
from pipeline.cli.flag import Values
from pipeline.cli.names import EMBEDDED

_OWN = {
    "bootstrap_servers": "name your Kafka, such as --bootstrap_servers=HOST:9092",
    "input_topic": "name the topic to read (it may be repeated)",
    "output_topic": "name the topic that predictions go to",
    "model": "name your model, such as --model=grpc://HOST:8500/MODEL",
}


def is_demo(values: Values) -> bool:
    """Whether nothing of one's own is named: neither Kafka nor topics nor a model."""
    return not any(_is_own(name, values) for name in (*_OWN, "dead_letter_topic"))


def all_or_nothing(config: Config, values: Values) -> Iterator[str]:
    """Names the flags that are missing, if the user gave some of them."""
    if is_demo(values) or values.unread:
        return
    for name, cure in _OWN.items():
        if not _is_own(name, values):
            shown = f"={EMBEDDED}" if name in values.given else ""
            yield f"--{name}{shown}: {cure}; the demo's is for the demo alone, which starts without any of these flags"


def _is_own(name: str, values: Values) -> bool:
    return name in values.given and values.given[name] != EMBEDDED
