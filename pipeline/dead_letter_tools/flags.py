"""The flags of ``python -m pipeline.dead_letters`` and ``python -m pipeline.replay``: filters, and a job's own flags.

Both commands take all flags of the job, so that its command line or its ``--config`` file serves them, too. They use those
of Kafka; ``pipeline.replay --score`` also those of the model and its requests.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.cli.attended import AttendedConfig
from pipeline.cli.flag import Values, flag
from pipeline.cli.kinds.base import Many, One
from pipeline.cli.kinds.plain import SWITCH, choices, names, whole
from pipeline.cli.kinds.time import moment
from pipeline.cli.names import EMBEDDED
from pipeline.cli.options import parse_as
from pipeline.cli.program import program
from pipeline.cli.rules import KAFKA, MODEL_AND_RECORDS, Rule
from pipeline.dead_letter_tools.pattern import MessagePattern
from transforms.errors import ConfigError
from transforms.types import STAGE_DECODE, STAGE_ENCODE, STAGE_PREDICT, STAGE_WRITE

SHOW, REPLAY = "dead_letters", "replay"
"""The commands' names."""

_FILTERS, _REPLAY, _SHOW = "Which dead letters", "Replay", "Show"

ABOUT_SHOW = """\
Shows what is in the dead-letter topic: how many of which class, from where, when; and samples. Changes nothing. Takes the
flags of {run}, so that the job's command line serves."""

ABOUT_REPLAY = """\
Writes dead letters back to the topic that they came from, each once, however often it is started; with --score it puts them
through the model instead. Takes the flags of {run}, so that the job's command line serves. Exit status: 0 done or
stopped by a signal, 2 a wrong flag, topic or model, 1 failed; run it again, and it goes on where it was."""

MAX_SAMPLE = 10_000


def pattern() -> One[MessagePattern]:
    """A regular expression of Python."""
    return One(check=MessagePattern, metavar="REGEX")


def texts(metavar: str) -> Many[tuple[str, ...]]:
    """Any texts."""
    return Many(check=lambda _, values: tuple(values), metavar=metavar)


def places() -> Many[tuple[str, ...]]:
    """``TOPIC/PARTITION/OFFSET``."""

    def check(name: str, values: Sequence[str]) -> tuple[str, ...]:
        if wrong := [value for value in values if not re.fullmatch(r"[\w.-]+/\d+/\d+", value)]:
            raise ConfigError([f"--{name}={value}: give TOPIC/PARTITION/OFFSET, as in inference.source" for value in wrong])
        return tuple(values)

    return Many(check=check, metavar="TOPIC/PARTITION/OFFSET", pattern=r"[\w.-]+/\d+/\d+")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FilterConfig(AttendedConfig):
    """A job's configuration, with which of its dead letters are meant."""

    stages: tuple[str, ...] = flag(
        _FILTERS,
        choices(STAGE_DECODE, STAGE_PREDICT, STAGE_ENCODE, STAGE_WRITE),
        "STAGE,…: those that failed in one of these stages",
        name="stage",
    )
    error_classes: tuple[str, ...] = flag(
        _FILTERS, names("CLASS,…"), "CLASS,…: those of one of these dead-letter classes", name="error_class"
    )
    message: MessagePattern | None = flag(
        _FILTERS, pattern(), "those in whose message this regular expression is found", literal=True
    )
    keys: tuple[str, ...] = flag(
        _FILTERS, texts("KEY"), "those of a record with this key, as the samples show it", name="key", literal=True
    )
    sources: tuple[str, ...] = flag(_FILTERS, places(), "the one of this input record", name="source")
    since_ms: int | None = flag(
        _FILTERS,
        moment(),
        "those of records with this timestamp or a later one: an ISO time, yesterday, or 2h or 3d ago",
        name="since",
    )
    until_ms: int | None = flag(
        _FILTERS, moment(), "those of records with an earlier timestamp than this, given likewise", name="until"
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShowConfig(FilterConfig):
    """The configuration of ``python -m pipeline.dead_letters``."""

    sample: int = flag(_SHOW, whole(least=0, most=MAX_SAMPLE), "how many dead letters to show", default="5")
    show_values: bool = flag(_SHOW, SWITCH, "show the beginnings of values, too")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig(FilterConfig):
    """The configuration of ``python -m pipeline.replay``."""

    score: bool = flag(
        _REPLAY, SWITCH, "put them through the model, as the job with these flags would, and write to the output topic"
    )
    dry_run: bool = flag(_REPLAY, SWITCH, "show how many would be replayed, with samples, and change nothing")
    max_attempts: int = flag(_REPLAY, whole(), "how often a record may be replayed before it is refused", default="3")
    max_rate: int | None = flag(_REPLAY, whole(), "how many to replay a second at most")
    sample: int = flag(_REPLAY, whole(least=0, most=MAX_SAMPLE), "how many to show with --dry_run", default="5")
    show_values: bool = flag(_REPLAY, SWITCH, "show the beginnings of values with them")


def parse_show(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> ShowConfig:
    """Parses the command line of ``python -m pipeline.dead_letters``.

    Raises:
        ConfigError: With every mistake found.
        SystemExit: ``--help`` was asked for.
    """
    about = ABOUT_SHOW.format(run=program())
    return parse_as(ShowConfig, argv, environ, program(SHOW), about, lambda _: KAFKA_RULES)


def parse_replay(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> ReplayConfig:
    """Parses the command line of ``python -m pipeline.replay``.

    Raises:
        ConfigError: With every mistake found.
        SystemExit: ``--help`` was asked for.
    """
    about = ABOUT_REPLAY.format(run=program())
    return parse_as(
        ReplayConfig, argv, environ, program(REPLAY), about, lambda values: SCORE_RULES if values["score"] else KAFKA_RULES
    )


def _topic_of_letters(config: FilterConfig, values: Values) -> Iterator[str]:
    """Which topic, on which Kafka. The embedded broker of a demo is gone with it."""
    if values.unread:
        return  # they may stand in the --config file
    if config.bootstrap_servers == EMBEDDED:
        yield "--bootstrap_servers: name the Kafka that has the dead letters"
    if "dead_letter_topic" not in values.given and "output_topic" not in values.given:
        yield "--dead_letter_topic: name it, or give the job's --output_topic"


def _time_span(config: FilterConfig, values: Values) -> Iterator[str]:
    """Something can be between the two."""
    if config.since_ms is not None and config.until_ms is not None and config.since_ms >= config.until_ms:
        yield "--until: is not after --since, so that no record can be between them"


def _own_model(config: FilterConfig, values: Values) -> Iterator[str]:
    """The demo's model is nobody's job."""
    if config.model == EMBEDDED:
        yield "--model: --score puts records through the job's model; give its --model"
    if "output_topic" not in values.given:
        yield "--output_topic: name the topic that predictions go to"


KAFKA_RULES: tuple[Rule, ...] = (_topic_of_letters, _time_span, *KAFKA)

SCORE_RULES: tuple[Rule, ...] = (*KAFKA_RULES, _own_model, *MODEL_AND_RECORDS)
