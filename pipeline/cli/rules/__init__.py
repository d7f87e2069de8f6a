"""The rules of flags that depend on each other: named functions, all of which run, so that every mistake is reported.

A rule ends where it looks at a flag whose own value is wrong (``wrong_values.py``).

A rule takes the config and what was given, and yields what does not fit, each with its cure. A flag that merely does not fit
a runner needs no rule: its row says so (``Flag.refused``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipeline.cli.config import Config
from pipeline.cli.flag import Flag, Values
from pipeline.cli.rules import demo, formats, librdkafka, model, reporting, runners, telemetry, topics
from pipeline.cli.wrong_values import as_far_as_right

Rule = Callable[[Any, Values], Iterable[str]]
"""Takes the config, of the class of the command, and what was given."""

KAFKA: tuple[Rule, ...] = (topics.apart, librdkafka.accepted)

MODEL_AND_RECORDS: tuple[Rule, ...] = (
    model.class_names,
    model.client_certificate,
    model.token_limit,
    model.json_endpoint,
    model.chat_model,
    formats.merged_records,
    formats.fields_of_records,
    formats.preprocessed_records,
    formats.prompt_or_features,
    formats.pass_through_or_merge,
    formats.avro_schema,
    formats.schema_registry,
    formats.written_by_schema,
    formats.schema_registry_properties,
)

RULES: tuple[Rule, ...] = (
    demo.all_or_nothing,
    *KAFKA,
    *MODEL_AND_RECORDS,
    formats.embedded_records,
    runners.supported,
    runners.workers_of_a_group,
    runners.embedded_parts,
    runners.flink,
    runners.portable,
    runners.java,
    runners.dataflow,
    telemetry.exported,
    reporting.served,
)


def broken_rules(config: Config, flags: Sequence[Flag], values: Values, rules: Sequence[Rule] | None = None) -> list[str]:
    """Returns what does not fit together, each with its cure.

    Args:
        config: The flags, typed.
        flags: The table.
        values: What was given.
        rules: Those of a command that runs no job on a runner; ``None``: all of a job.
    """
    if rules is not None:
        return [mistake for rule in rules for mistake in as_far_as_right(functools.partial(rule, config, values))]
    found = [mistake for rule in RULES for mistake in as_far_as_right(functools.partial(rule, config, values))]
    return found + list(as_far_as_right(lambda: runners.refusals(config, flags, values)))
