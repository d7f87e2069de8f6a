"""Flags → one frozen, validated config. ALL mistakes are reported at once, each with its cure.

Nothing here imports Beam, so that a wrong flag is answered at once.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli.beam_arguments import argument_problems
from pipeline.cli.command_line import NO_VALUE, given_flags
from pipeline.cli.config import BEAM, DATAFLOW, DIRECT, EMBEDDED, NATIVE, PRISM, Config
from pipeline.cli.flags import BY_NAME
from pipeline.cli.format_options import GivenFormats, format_options
from pipeline.cli.kafka_properties import property_problem, refused_by_librdkafka, without_references
from pipeline.cli.nearest import nearest
from pipeline.cli.runner_options import runner_problems
from pipeline.runners.dataflow.options import dataflow_mistakes
from transforms.clients import check_uri
from transforms.errors import ConfigError
from transforms.formats.options import FormatOptions
from transforms.formats.readers import FRAMED
from transforms.secret_manager import reference_problem


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Config:
    """Parses the command line.

    Raises:
        ConfigError: With every mistake found.
        SystemExit: ``--help`` was asked for.
    """
    return config_of(*given_flags(argv), environ)


def config_of(given: dict[str, Any], rest: list[str], environ: Mapping[str, str]) -> Config:
    """Checks what ``given_flags`` has found.

    Raises:
        ConfigError: With every mistake found.
    """
    return _Checker(given, rest, environ).config()


class _Checker:
    """Turns what was given into a ``Config`` and collects every mistake on the way."""

    def __init__(self, given: dict[str, Any], rest: list[str], environ: Mapping[str, str]):
        self.mistakes: list[str] = []
        self._environ = environ
        self._from_environment: dict[str, str] = {}
        self._rest = rest
        given = self._with_values(given)
        self._given = {**self._from_file(given.get("config")), **given}

    def config(self) -> Config:
        """Checks everything, then raises or returns."""
        runner = self._text("runner") or ""
        topics = self._topics()
        kafka_io = self._kafka_io(runner)
        config = Config(
            runner=runner,
            bootstrap_servers=self._text("bootstrap_servers") or "",
            **topics,
            group_id=self._text("group_id") or "kafka-model-scoring",
            start_from=self._start_from(),
            kafka_properties=self._kafka_properties(),
            delivery=self._delivery(kafka_io),
            workers=self._whole("workers") or 1,
            assignment=self._assignment(runner),
            instance_id=self._text("instance_id"),
            kafka_io=kafka_io,
            expansion_service=self._text("expansion_service"),
            model=self._model(),
            model_headers=tuple(self._pairs("model_header")),
            model_ca_file=self._file("model_ca_file"),
            model_cert_file=self._file("model_cert_file"),
            model_key_file=self._file("model_key_file"),
            model_poll_s=self._number("model_poll_s") or 60.0,
            input_format=self._choice("input_format"),
            formats=self._formats(),
            output_mode=self._choice("output_mode"),
            labels=self._labels(),
            top_k=self._whole("top_k"),
            batch_max_size=self._whole("batch_max_size") or 1,
            batch_max_wait_ms=self._whole("batch_max_wait_ms", least=0) or 0,
            window_seconds=self._number("window_seconds"),
            max_in_flight=self._max_in_flight(),
            request_timeout_s=(self._whole("request_timeout_ms") or 1) / 1000,
            retry_deadline_s=self._number("retry_deadline_s") or 60.0,
            on_unavailable=self._choice("on_unavailable"),
            max_records=self._whole("max_records"),
            until_end=self._switch("until_end"),
            duration_s=self._number("duration_s"),
            status=self._choice("status"),
            summary_json=self._output_file("summary_json"),
            metrics_port=self._whole("metrics_port", most=65535),
            metrics_host=self._text("metrics_host") or "127.0.0.1",
            beam_args=tuple(self._rest),
        )
        self._check_combinations(config)
        self.mistakes += argument_problems(self._rest, config)
        if self.mistakes:
            raise ConfigError(self.mistakes)
        return config

    # ------------------------------------------------------------------ single flags

    def _with_values(self, given: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in given.items():
            kept = [item for item in value if item is not NO_VALUE] if isinstance(value, list) else value
            if kept is NO_VALUE or kept != value:
                self.mistakes.append(f"--{name}: takes a value, as in --{name}=VALUE")
            if kept is not NO_VALUE:
                found[name] = kept
        return found

    def _switch(self, name: str) -> bool:
        value = self._given.get(name, False)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            self.mistakes.append(f"--{name}: give true or false, or the flag alone for true")
        return bool(value)

    def _text(self, name: str) -> str | None:
        value = self._given.get(name, BY_NAME[name].default)
        if value is None:
            return None
        if isinstance(value, (list, dict)):
            self.mistakes.append(f"--{name}: takes one value")
            return BY_NAME[name].default
        if str(value) == "":
            self.mistakes.append(f"--{name}: is empty; leave it out or give a value")
        return str(value)

    def _many(self, name: str) -> list[str]:
        value = self._given.get(name) or []
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]

    def _choice(self, name: str) -> str:
        value, choices = self._text(name) or "", BY_NAME[name].choices
        if value not in choices:
            self.mistakes.append(f"--{name}={value}: {_one_of(value, choices)}")
        return value

    def _whole(self, name: str, least: int = 1, most: int | None = None) -> int | None:
        text = self._text(name)
        if text is None:
            return None
        if not re.fullmatch(r"\d{1,15}", text) or int(text) < least or (most is not None and int(text) > most):
            upper = f" and at most {most}" if most is not None else ""
            self.mistakes.append(f"--{name}={text}: give a whole number of at least {least}{upper}")
            return least
        return int(text)

    def _number(self, name: str) -> float | None:
        text = self._text(name)
        if text is None:
            return None
        if not re.fullmatch(r"\d{1,12}(\.\d+)?|\.\d+", text) or float(text) <= 0:
            self.mistakes.append(f"--{name}={text}: give a number above 0")
            return 1.0
        return float(text)

    def _file(self, name: str) -> str | None:
        text = self._text(name)
        if text and not Path(text).is_file():
            self.mistakes.append(f"--{name}={text}: no such file")
        return text

    def _output_file(self, name: str) -> Path | None:
        text = self._text(name)
        if not text:
            return None
        path = Path(text)
        if not path.parent.is_dir():
            self.mistakes.append(f"--{name}={text}: the folder {path.parent} does not exist; make it first")
        elif path.is_dir():
            self.mistakes.append(f"--{name}={text}: is a folder; give a file")
        return path

    # ------------------------------------------------------------------ flags with rules of their own

    def _topics(self) -> dict[str, Any]:
        embedded = self._given.get("bootstrap_servers", EMBEDDED) == EMBEDDED
        inputs = tuple(dict.fromkeys(self._many("input_topic")))
        output = self._text("output_topic")
        if embedded:
            inputs, output = inputs or ("digits",), output or "digits.predictions"
        if not inputs:
            self.mistakes.append("--input_topic: name the topic to read (it may be repeated)")
        if not output:
            self.mistakes.append("--output_topic: name the topic that predictions go to")
        output = output or "?"
        given_dead = self._text("dead_letter_topic")
        dead = given_dead or f"{output}.dead-letter"
        for name, topic in [
            *(("input_topic", topic) for topic in inputs),
            ("output_topic", output),
            *([("dead_letter_topic", given_dead)] if given_dead else []),
        ]:
            if not topic.startswith("?") and not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", topic):
                self.mistakes.append(
                    f"--{name}={topic}: a topic's name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'"
                )
        for name, topic in (("output_topic", output), ("dead_letter_topic", dead)):
            if topic in inputs:
                self.mistakes.append(f"--{name}={topic}: is an input topic too; that would feed the job its own output")
        return {"input_topics": inputs, "output_topic": output, "dead_letter_topic": dead}

    def _start_from(self) -> str:
        value = self._text("start_from") or ""
        if value in ("committed", "earliest", "latest"):
            return value
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            self.mistakes.append(
                f"--start_from={value}: give committed, earliest, latest or an ISO time such as 2026-01-31T12:00:00+00:00"
            )
            return value
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.isoformat()

    def _assignment(self, runner: str) -> str:
        value = self._choice("assignment")
        if value != "auto":
            return value
        return "group" if runner in (*DIRECT, PRISM) else "static"

    def _kafka_io(self, runner: str) -> str:
        value = self._choice("kafka_io")
        if value != "auto":
            return value
        return BEAM if runner == DATAFLOW else NATIVE

    def _delivery(self, kafka_io: str) -> str:
        # Never weakened against a word that was given: runner_options.py refuses that.
        return self._choice("delivery") if kafka_io != BEAM or "delivery" in self._given else "at_least_once"

    def _model(self) -> str:
        value = self._text("model") or ""
        if value != EMBEDDED:
            try:
                check_uri(value)
            except ConfigError as error:
                self.mistakes.extend(error.mistakes)
        return value

    def _max_in_flight(self) -> int | None:
        return None if self._text("max_in_flight") == "auto" else self._whole("max_in_flight")

    def _labels(self) -> tuple[str, ...] | None:
        text = self._text("labels")
        if text is None:
            return None
        from transforms.encode.labels import parse_labels

        try:
            return tuple(parse_labels(text))
        except (OSError, ValueError, ConfigError) as error:
            self.mistakes.append(f"--labels={text}: {error}")
            return None

    # ------------------------------------------------------------------ Kafka properties

    def _pairs(self, name: str) -> list[tuple[str, str]]:
        pairs = []
        for item in self._many(name):
            key, equals, value = item.partition("=")
            if not equals or not key.strip():
                self.mistakes.append(f"--{name}: give NAME=VALUE (one without '=' came)")
                continue
            pairs.append((key.strip(), self._expand(name, key.strip(), value)))
        return pairs

    def _expand(self, flag: str, key: str, value: str, where: str | None = None) -> str:
        where = where or f"--{flag} {key}"
        if problem := reference_problem(value):
            self.mistakes.append(f"{where}: {problem}")

        def replace(match: re.Match[str]) -> str:
            variable = match.group(1)
            self._from_environment[f"{flag} {key}"] = variable
            if variable not in self._environ:
                self.mistakes.append(f"{where}: the environment variable {variable} is not set")
                return ""
            return self._environ[variable]

        return re.sub(r"\$\{(\w+)\}", replace, value)

    def _properties(self, flag: str) -> dict[str, str]:
        """What ``--<flag>_file`` and ``--<flag>`` say; the latter wins."""
        found: dict[str, str] = {}
        if (path := self._file(f"{flag}_file")) and Path(path).is_file():
            for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
                text = line.strip()
                if not text or text.startswith(("#", "!")):
                    continue
                key, equals, value = text.partition("=")
                where = f"--{flag}_file={path}, line {number}"
                if not equals or not key.strip():
                    self.mistakes.append(f"{where}: give NAME=VALUE")  # the line itself may hold a secret
                    continue
                found[key.strip()] = self._expand(flag, key.strip(), value.strip(), where)
        found.update(self._pairs(flag))
        return found

    def _kafka_properties(self) -> tuple[tuple[str, str], ...]:
        found = self._properties("kafka_config")
        problems = {name: problem for name, value in found.items() if (problem := property_problem(name, value))}
        self.mistakes += [f"--kafka_config {name}: {problem}" for name, problem in problems.items()]
        if found and not problems and (refusal := refused_by_librdkafka(without_references(found))):
            self.mistakes.append(f"--kafka_config: not accepted by librdkafka: {refusal}")
        return tuple(sorted(found.items()))

    def _formats(self) -> FormatOptions:
        given = GivenFormats(
            self._text("input_format") or "",
            self._file("avro_schema"),
            self._text("schema_registry"),
            self._properties("schema_registry_config"),
            self._many("features"),
            self._many("pass_through"),
            self._text("output_mode") or "",
        )
        return format_options(given, self.mistakes)

    # ------------------------------------------------------------------ the whole

    def _check_combinations(self, config: Config) -> None:
        if config.top_k is not None and config.labels is None and not self._given.get("labels"):
            self.mistakes.append("--top_k: needs --labels")
        if config.output_mode == "merge" and config.input_format in ("bytes", "tf_example", "avro", "protobuf", "npy"):
            cure = "; name the fields to keep by --pass_through" if config.input_format in FRAMED else ""
            self.mistakes.append(f"--output_mode=merge: needs JSON records, but --input_format={config.input_format}{cure}")
        if bool(config.model_cert_file) != bool(config.model_key_file):
            self.mistakes.append("--model_cert_file and --model_key_file: give both or neither")
        self.mistakes += runner_problems(config, self._given)
        if config.runner == DATAFLOW:
            self.mistakes += dataflow_mistakes(config, self._from_environment)

    def _from_file(self, path: str | None) -> dict[str, Any]:
        if path is None:
            return {}
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            self.mistakes.append(f"--config={path}: can't be read: {type(error).__name__}: {str(error).splitlines()[0]}")
            return {}
        if not isinstance(content, dict):
            self.mistakes.append(f"--config={path}: give flags as 'name: value' lines")
            return {}
        for name in content:
            if name not in BY_NAME or name == "config":
                self.mistakes.append(f"--config={path}: {name}: no such flag{nearest(str(name), list(BY_NAME))}")
        return {name: _plain(value) for name, value in content.items() if name in BY_NAME and value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):  # kafka_config: {name: value}
        return [f"{key}={str(item).lower() if isinstance(item, bool) else _plain(item)}" for key, item in value.items()]
    if isinstance(value, list) or value is True or value is False:
        return value
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _one_of(value: str, choices: Sequence[str]) -> str:
    return f"use {', '.join(choices[:-1])} or {choices[-1]}{nearest(value, choices)}"
