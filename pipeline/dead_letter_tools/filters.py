"""Which dead letters are meant, and the text by which people see keys and times."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from pipeline.cli.nearest import nearest
from pipeline.dead_letter_tools.flags import FilterConfig
from transforms.kafka.dead_letters.letter import Letter
from transforms.printable import one_line

NULL = "(null)"
"""How a null key is shown; no ``--key`` means it."""


def is_meant(config: FilterConfig, letter: Letter) -> bool:
    """Whether a dead letter passes all filters that were given, and comes from an input topic if some were named."""
    timestamp_ms = letter.timestamp_ms
    return (
        (not config.input_topics or letter.source[0] in config.input_topics)
        and (not config.stages or letter.stage in config.stages)
        and (not config.error_classes or letter.error_class in config.error_classes)
        and (config.message is None or config.message.is_in(letter.message))
        and (not config.keys or (letter.key is not None and shown(letter.key) in config.keys))
        and (not config.sources or source_text(letter) in config.sources)
        and (config.since_ms is None or (timestamp_ms is not None and timestamp_ms >= config.since_ms))
        and (config.until_ms is None or (timestamp_ms is not None and timestamp_ms < config.until_ms))
    )


def classes_left_out(others: Mapping[str, int], classes: Sequence[str]) -> str:
    """Returns the classes of the dead letters that the filters leave out, and what a name of none of them may mean.

    Args:
        others: The classes that were left out, with how many there are.
        classes: Those of ``--error_class``.
    """
    text = ", ".join(f"{one_line(name)} {count:,}" for name, count in sorted(others.items()))
    meant = [f"{name}{near}" for name in classes if name not in others and (near := nearest(name, list(others)))]
    return "".join([f" ({text})", *(f"; --error_class={name}" for name in meant)])


def shown(data: bytes | None) -> str:
    r"""Returns bytes as text: UTF-8, and what is none or not printable as escapes, such as ``\xff``."""
    return NULL if data is None else one_line(data.decode("utf-8", "backslashreplace"))


def source_text(letter: Letter) -> str:
    """Returns the place of the input record, as ``inference.source`` has it."""
    return "/".join(map(str, letter.source))


def time_text(timestamp_ms: int | None) -> str:
    """Returns a timestamp as an ISO time in UTC, to the second."""
    if timestamp_ms is None:
        return "no time"
    try:
        moment = datetime.datetime.fromtimestamp(timestamp_ms / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{timestamp_ms} ms"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
