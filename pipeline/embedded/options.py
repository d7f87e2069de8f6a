"""The flags of ``python -m pipeline.embedded``; all mistakes are reported at once."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.cli.command_line import version
from pipeline.cli.program import program
from pipeline.cli.telling import TellingParser
from pipeline.embedded.digits import MODEL_DIR, MODEL_NAME
from pipeline.embedded.server_config import POLL_S, ModelConfig, ServerConfig
from transforms.errors import ConfigError

DEFAULT_PARTITIONS = 4

_DESCRIPTION = """\
A Kafka broker, a TensorFlow Serving look-alike and a generator of records, for trying out and for tests, on 127.0.0.1.
Without flags: the broker and the model server with the digits model, on free ports. With flags: what they ask for.
Not for production: use Apache Kafka and TensorFlow Serving there."""


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddedConfig:
    """The configuration of the command.

    Attributes:
        server: The model server, ``None`` for none.
        kafka_port: The broker's port, 0 for a free one, ``None`` for no broker.
        topics: Topics to create on the broker, with their numbers of partitions.
        generate: The topic to publish the digits to, ``None`` for none.
        rate: Records a second of the generator, ``None`` for no limit.
        bootstrap_servers: The broker that the generator publishes to; ``None`` for the embedded broker.
        ready_file: File to write the addresses to, as JSON, when everything is ready.
        json_ready: Print that JSON on standard output instead of lines for people.
        exit_with_parent: Exit when standard input ends or the parent process is gone.
        verbose: Show TensorFlow's log.
    """

    server: ServerConfig | None
    kafka_port: int | None
    topics: Mapping[str, int]
    generate: str | None
    rate: float | None
    bootstrap_servers: str | None
    ready_file: Path | None
    json_ready: bool
    exit_with_parent: bool
    verbose: bool


def _parser() -> TellingParser:
    parser = TellingParser(
        prog=program("embedded"),
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=version(), help="print the version")
    add("--kafka_port", metavar="PORT", help="run the broker; 0: a free port")
    add(
        "--topic",
        metavar="NAME[:PARTITIONS]",
        action="append",
        default=[],
        help="a topic to make on it, and NAME.dead-letter; repeatable",
    )
    add("--grpc_port", metavar="PORT", help="serve the models over gRPC; 0: a free port")
    add("--rest_port", metavar="PORT", help="serve the models over REST; 0: a free port")
    add("--model", metavar="NAME=PATH", action="append", default=[], help="a folder of version folders; repeatable")
    add("--label", metavar="MODEL:LABEL=VERSION", action="append", default=[], help="a name for a version; repeatable")
    add("--all_versions", action="store_true", help="serve every version, not only the newest and the labelled ones")
    add(
        "--file_system_poll_wait_seconds",
        metavar="SECONDS",
        default=str(POLL_S),
        help="look for versions that were put there or taken away so often; 0: never",
    )
    add("--tensor_content", action="store_true", help="answer with tensor_content rather than typed values")
    add("--generate", metavar="TOPIC", help="publish the 1,797 digits and 20 broken records to a topic")
    add("--rate", metavar="N", help="records a second of the generator (default: as fast as it goes)")
    add("--bootstrap_servers", metavar="HOST:PORT", help="publish there instead of to the embedded broker")
    add("--ready_file", metavar="FILE", type=Path, help="write the addresses there as JSON when all is ready")
    add("--json", action="store_true", help="print the addresses as one line of JSON")
    add("--exit_with_parent", action="store_true", help="exit when standard input ends or the parent process is gone")
    add("--verbose", action="store_true", help="show TensorFlow's log")
    return parser


def parse(arguments: Sequence[str]) -> EmbeddedConfig:
    """Reads the flags.

    Raises:
        ConfigError: A flag is wrong; the message lists every mistake.
        SystemExit: ``--help`` or ``--version`` was asked for.
    """
    args, mistakes = _parser().parse_telling(arguments)
    kafka_port = _port("--kafka_port", args.kafka_port, mistakes)
    grpc_port = _port("--grpc_port", args.grpc_port, mistakes)
    rest_port = _port("--rest_port", args.rest_port, mistakes)
    topics = _topics(args.topic, mistakes)
    models = _models(args.model, args.label, args.all_versions, mistakes)
    rate = _rate(args.rate, mistakes)
    poll_s = _seconds("--file_system_poll_wait_seconds", args.file_system_poll_wait_seconds, mistakes)

    wants_server = bool(args.model) or args.grpc_port is not None or args.rest_port is not None
    wants_broker = bool(args.topic) or args.kafka_port is not None
    if args.generate and not args.bootstrap_servers:
        wants_broker = True
        topics.setdefault(args.generate, DEFAULT_PARTITIONS)
    if args.rate and not args.generate:
        mistakes.append("--rate: needs --generate TOPIC")
    if args.bootstrap_servers and not args.generate:
        mistakes.append("--bootstrap_servers: is where --generate publishes to; add --generate TOPIC")
    if not wants_server and not wants_broker and not args.generate:
        wants_server = wants_broker = True
    if wants_server and args.grpc_port is None and args.rest_port is None:
        grpc_port = rest_port = 0
    if mistakes:
        raise ConfigError(mistakes)
    return EmbeddedConfig(
        server=ServerConfig(models, grpc_port, rest_port, args.tensor_content, poll_s) if wants_server else None,
        kafka_port=(kafka_port or 0) if wants_broker else None,
        topics=topics,
        generate=args.generate,
        rate=rate,
        bootstrap_servers=args.bootstrap_servers,
        ready_file=args.ready_file,
        json_ready=args.json,
        exit_with_parent=args.exit_with_parent,
        verbose=args.verbose,
    )


def _port(flag: str, text: str | None, mistakes: list[str]) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) > 65535:
        mistakes.append(f"{flag}={text}: expected a port, 0 to 65535")
        return None
    return int(text)


def _rate(text: str | None, mistakes: list[str]) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 < rate < float("inf"):
        mistakes.append(f"--rate={text}: expected records a second, above 0")
    return rate


def _seconds(flag: str, text: str, mistakes: list[str]) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        mistakes.append(f"{flag}={text}: expected seconds, 0 or more")
    return seconds


def _topics(flags: Sequence[str], mistakes: list[str]) -> dict[str, int]:
    topics = {}
    for flag in flags:
        name, _, partitions = flag.partition(":")
        if not name or not (partitions or "1").isdecimal() or int(partitions or 1) < 1:
            mistakes.append(f"--topic={flag}: expected NAME or NAME:PARTITIONS, such as digits:4")
            continue
        topics[name] = int(partitions or DEFAULT_PARTITIONS)
    return topics


def _models(flags: Sequence[str], labels: Sequence[str], all_versions: bool, mistakes: list[str]) -> list[ModelConfig]:
    paths: dict[str, Path] = {} if flags else {MODEL_NAME: MODEL_DIR}
    for flag in flags:
        name, _, path = flag.partition("=")
        if not name or not path:
            mistakes.append(f"--model={flag}: expected NAME=PATH, such as digits=/models/digits")
        elif name in paths:
            mistakes.append(f"--model={flag}: {name} is given twice")
        else:
            paths[name] = Path(path)
    by_model: dict[str, dict[str, int]] = {}
    for flag in labels:
        name, _, rest = flag.partition(":")
        label, _, version = rest.partition("=")
        if not name or not label or not version.isdecimal():
            mistakes.append(f"--label={flag}: expected MODEL:LABEL=VERSION, such as digits:stable=1")
        elif name not in paths:
            mistakes.append(f"--label={flag}: no --model={name}=PATH is given")
        else:
            by_model.setdefault(name, {})[label] = int(version)
    configs = [ModelConfig(name, path, by_model.get(name, {}), all_versions) for name, path in paths.items()]
    for config in configs:
        try:
            config.version_folders()
        except ValueError as error:
            mistakes.append(f"--model={config.name}={config.path}: {str(error).removeprefix(f'model {config.name}: ')}")
    return configs
