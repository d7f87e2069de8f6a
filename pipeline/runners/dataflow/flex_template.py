"""The flex template's metadata and its entry point, both generated from the table of flags, so that all three agree.

    python -m pipeline.runners.dataflow.flex_template   # prints it; make reference writes deploy/dataflow/metadata.json

A template's parameters are a map, so each has one value. For a flag that may be repeated, ``|`` separates the values.
Dataflow checks a value with the parameter's regular expressions before it starts a machine.

Sources: https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates (metadata parameters), and
``ParameterMetadata`` of the Dataflow API v1b3.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.cli.config import BY_NAME, FLAGS
from pipeline.cli.flag import Flag
from pipeline.cli.kinds.base import Named, Switch
from pipeline.cli.names import AUTO, DATAFLOW, EMBEDDED
from transforms.errors import ConfigError

SEPARATOR = "|"

WORKER_IMAGE = {
    "name": "sdk_container_image",
    "label": "Worker image",
    "helpText": "The image that the workers run: the one that the template was built with",
    "isOptional": False,
    "regexes": [r"^[^\s/]+/[^\s]+$"],
    "paramType": "TEXT",
    "groupName": "Beam",
}
"""Beam's own option; without it the workers would not have this package."""


def metadata(flags: Sequence[Flag] = FLAGS) -> dict[str, Any]:
    """Returns the template's metadata, with a parameter for every flag except those with ``Flag.no_parameter``."""
    return {
        "name": "Kafka model scoring",
        "description": "Scores the records of Kafka topics with a model server: each is answered by a prediction in the "
        "output topic, or by a dead letter that says why there is none.",
        "streaming": True,
        "supportsAtLeastOnce": True,
        "supportsExactlyOnce": True,
        "defaultStreamingMode": "EXACTLY_ONCE",
        "parameters": [
            *(_parameter(flag) for flag in sorted(flags, key=_required_first) if not flag.no_parameter),
            WORKER_IMAGE,
        ],
    }


def _required_first(flag: Flag) -> int:
    return not flag.required


def _parameter(flag: Flag) -> dict[str, Any]:
    kind = flag.kind
    parameter: dict[str, Any] = {
        "name": flag.name,
        "label": flag.name.replace("_", " ").capitalize(),
        "helpText": _help(flag),
        "isOptional": not flag.required,
        "regexes": [f"^({_pattern(flag)})$"],
        "paramType": "ENUM" if kind.choices else "BOOLEAN" if isinstance(kind, Switch) else "TEXT",
        "groupName": flag.section,
    }
    if kind.choices:
        parameter["enumOptions"] = [{"value": choice, "label": choice} for choice in kind.choices]
    # A default that other flags may change is left out: the console would pass it, and a passed value is never changed.
    changes = flag.settle is not None and flag.default != AUTO
    if flag.default not in (None, EMBEDDED) and not changes:
        parameter["defaultValue"] = flag.default
    return parameter


def _help(flag: Flag) -> str:
    text = flag.help
    if isinstance(flag.kind, Named):
        text += ", a secret as ${secret:projects/P/secrets/S/versions/V}"
    if flag.kind.repeatable:
        text += f"; several with '{SEPARATOR}' between them"
    if flag.kind.content:
        text += "; gs://… or a path in the image"
    return text[0].upper() + text[1:]


def _pattern(flag: Flag) -> str:
    item = flag.kind.regex()
    return rf"{item}(\{SEPARATOR}{item})*" if flag.kind.repeatable else item


def flags_of(argv: Sequence[str]) -> list[str]:
    """Returns the flags of ``python -m pipeline`` for the launcher's arguments: ``--name=value``, some of them Beam's.

    A parameter left empty in the console arrives as ``--name=`` and counts as not given. The launcher passes the job's
    labels as ``--labels={…}``, which is Beam's flag; this project's flag ``--labels`` names a file.
    """
    flags = [f"--runner={DATAFLOW}"]
    for argument in argv:
        name, equals, value = argument.removeprefix("--").partition("=")
        flag = BY_NAME.get(name)
        if flag is None or not argument.startswith("--"):
            flags.append(argument)
        elif name == "labels" and value.lstrip().startswith("{"):
            flags.append(f"--label={value}")
        elif not flag.no_parameter and value:
            flags += [f"--{name}={item}" for item in (value.split(SEPARATOR) if flag.kind.repeatable else [value])]
        elif not equals:
            flags.append(argument)
    return flags


def with_local_files(flags: Sequence[str], folder: Path) -> list[str]:
    """Copies the files that flags name and only Beam can read (``gs://…``) into ``folder``; returns the changed flags.

    Raises:
        ConfigError: A file can't be read.
    """
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    found = []
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        if name in BY_NAME and BY_NAME[name].kind.content and "://" in value:
            copy = folder / name
            try:
                with (
                    FileSystems.open(value, compression_type=CompressionTypes.UNCOMPRESSED) as source,
                    copy.open("wb") as target,
                ):
                    shutil.copyfileobj(source, target)
            except Exception as error:  # OSError, BeamIOError, Google's
                raise ConfigError([f"--{name}={value}: can't be read: {type(error).__name__}: {error}"]) from error
            found.append(f"--{name}={copy}")
        else:
            found.append(flag)
    return found


def main() -> None:
    """Prints the metadata."""
    print(json.dumps(metadata(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
