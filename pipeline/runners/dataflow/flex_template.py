"""The flex template's metadata and its entry point, both made of ``flags.py``, so that neither can drift from it.

    python -m pipeline.runners.dataflow.flex_template > deploy/dataflow/metadata.json

A template's parameters are a map: each has one value. So a flag that may be repeated takes several values with ``|`` between
them. Dataflow checks a value by the parameter's regular expressions before it starts a machine.

Sources: https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates (metadata parameters), and
``ParameterMetadata`` of the Dataflow API v1b3.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.cli.flags import BY_NAME, FLAGS, Flag
from transforms.errors import ConfigError

SEPARATOR = "|"

LEFT_OUT = {
    "runner": "is Dataflow's",
    "workers": "Dataflow places the work",
    "assignment": "Dataflow places the work",
    "instance_id": "Dataflow places the work",
    "kafka_config_file": "a file here would have to be in the image; give kafka_config",
    "schema_registry_config_file": "a file here would have to be in the image; give schema_registry_config",
    "max_records": "the job runs until it is drained",
    "until_end": "the job runs until it is drained",
    "duration_s": "the job runs until it is drained",
    "status": "nobody watches the launcher",
    "summary_json": "the job runs until it is drained",
    "metrics_port": "Dataflow has metrics of its own",
    "metrics_host": "Dataflow has metrics of its own",
    "expansion_service": "the launcher starts its own",
    "config": "the parameters are the file",
}
"""Flags that are no parameters of the template, and why."""

REQUIRED = ("bootstrap_servers", "input_topic", "output_topic", "model")

WORKER_IMAGE = {
    "name": "sdk_container_image",
    "label": "Worker image",
    "helpText": "The image that the workers run: the one that the template was built with",
    "isOptional": False,
    "regexes": [r"^[^\s/]+/[^\s]+$"],
    "paramType": "TEXT",
    "groupName": "Beam",
}
"""Beam's own option, without which the workers would not have this package."""

_TOPIC = "[a-zA-Z0-9._-]{1,249}"
_PAIR = r"[^=|]+=[^|]*"
_PATTERNS = {
    "bootstrap_servers": r"[^,:\s]+:[0-9]{1,5}(,[^,:\s]+:[0-9]{1,5})*",
    "input_topic": rf"{_TOPIC}(\|{_TOPIC})*",
    "output_topic": _TOPIC,
    "dead_letter_topic": _TOPIC,
    "kafka_config": rf"{_PAIR}(\|{_PAIR})*",
    "model_header": rf"{_PAIR}(\|{_PAIR})*",
    "schema_registry_config": rf"{_PAIR}(\|{_PAIR})*",
    "features": r"[^=|]+=[^|]+(\|[^=|]+=[^|]+)*",
    "model": r"(grpcs?|https?|oip\+grpcs?|oip\+https?|mms\+https?|vertex|saved_model)://.+",
    "schema_registry": "https?://.+",
    "start_from": r"committed|earliest|latest|\d{4}-\d{2}-\d{2}([T ].*)?",
    "max_in_flight": r"auto|[1-9]\d{0,14}",
    "group_id": r"\S+",
}
_BY_KIND = {
    "natural": r"[1-9]\d{0,14}",
    "count": r"\d{1,15}",
    "number": r"\d{1,12}(\.\d+)?|\.\d+",
    "switch": "true|false",
}
_BOOLEAN = {"switch": "BOOLEAN"}
_NO_DEFAULT = ("delivery",)  # what it is by default follows from kafka_io
_READ_HERE = ("avro_schema", "labels")  # files that the launcher reads; their content goes into the job


def metadata() -> dict[str, Any]:
    """Returns the template's metadata."""
    return {
        "name": "Kafka model scoring",
        "description": "Scores the records of Kafka topics with a model server: each is answered by a prediction in the "
        "output topic, or by a dead letter that says why there is none.",
        "streaming": True,
        "supportsAtLeastOnce": True,
        "supportsExactlyOnce": True,
        "defaultStreamingMode": "EXACTLY_ONCE",
        "parameters": [
            *(_parameter(flag) for flag in sorted(FLAGS, key=_required_first) if flag.name not in LEFT_OUT),
            WORKER_IMAGE,
        ],
    }


def _required_first(flag: Flag) -> int:
    return flag.name not in REQUIRED


def _parameter(flag: Flag) -> dict[str, Any]:
    parameter: dict[str, Any] = {
        "name": flag.name,
        "label": flag.name.replace("_", " ").capitalize(),
        "helpText": _help(flag),
        "isOptional": flag.name not in REQUIRED,
        "regexes": [f"^({_pattern(flag)})$"],
        "paramType": "ENUM" if flag.choices else _BOOLEAN.get(flag.kind, "TEXT"),
        "groupName": flag.group,
    }
    if flag.choices:
        parameter["enumOptions"] = [{"value": choice, "label": choice} for choice in flag.choices]
    if flag.default not in (None, "embedded") and flag.name not in _NO_DEFAULT:
        parameter["defaultValue"] = flag.default
    return parameter


def _help(flag: Flag) -> str:
    text = flag.help.partition(" (embedded:")[0].partition("; embedded starts")[0]
    text = text.replace("may be repeated", f"several with '{SEPARATOR}' between them")
    text = text.replace("${ENV} is replaced", "a secret as ${secret:projects/P/secrets/S/versions/V}")
    if flag.name in _READ_HERE:
        text += "; gs://… or a path in the image"
    return text[0].upper() + text[1:]


def _pattern(flag: Flag) -> str:
    if flag.choices:
        return "|".join(flag.choices)
    return _PATTERNS.get(flag.name) or _BY_KIND.get(flag.kind) or r".+"


def flags_of(argv: Sequence[str]) -> list[str]:
    """Returns the flags of ``python -m pipeline`` for what Dataflow's launcher gives: ``--name=value``, Beam's among them.

    A parameter left empty in the console comes as ``--name=``: that is one not given. The job's labels come from it as
    ``--labels={…}``, which is Beam's flag; ours of that name holds a file.
    """
    flags = ["--runner=DataflowRunner"]
    for argument in argv:
        name, equals, value = argument.removeprefix("--").partition("=")
        flag = BY_NAME.get(name)
        if flag is None or not argument.startswith("--"):
            flags.append(argument)
        elif name == "labels" and value.lstrip().startswith("{"):
            flags.append(f"--label={value}")
        elif name not in LEFT_OUT and value:
            flags += [f"--{name}={item}" for item in (value.split(SEPARATOR) if flag.kind == "many" else [value])]
        elif not equals:
            flags.append(argument)
    return flags


def with_local_files(flags: Sequence[str], folder: Path) -> list[str]:
    """Copies the files that the launcher reads from where only Beam reads (``gs://…``) into ``folder``.

    Raises:
        ConfigError: One can't be read.
    """
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    found = []
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition("=")
        if name in _READ_HERE and "://" in value:
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
