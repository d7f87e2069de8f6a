"""``ScoreWithModel``: rows in, the same rows with a model's prediction out, for Beam YAML."""

# No `from __future__ import annotations`: Beam YAML reads the types of the fields from the signature.

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import apache_beam as beam
from apache_beam.typehints.row_type import RowTypeConstraint

from transforms.beam_yaml.fields import Fields, Schema
from transforms.clients import check_uri
from transforms.clients.base import ClientOptions
from transforms.encode.transform import OutcomeEncoder
from transforms.errors import ConfigError, ContractError
from transforms.headers import ERROR_CLASS, ERROR_MESSAGE
from transforms.kafka.native.graph import config_before
from transforms.kafka.native.rows import KafkaHeader, KafkaRow
from transforms.kafka.native.session_guard import SessionGuard
from transforms.outcomes import FailedElement, Outcome
from transforms.predict.options import FAIL, HOLD
from transforms.predict.transform import Predict
from transforms.types import Headers, KafkaRecord

_FIELDS = Fields("ScoreWithModel")

ADDED: Schema = {
    "prediction": Optional[str],  # noqa: UP045  # Beam takes str | None for Any
    "model": str,
    "version": str,
    "error_class": Optional[str],  # noqa: UP045
    "error_message": Optional[str],  # noqa: UP045
}
"""The fields that a scored row has besides those of its input."""

_NOWHERE = KafkaRecord("", 0, 0, None, None, None, [])
"""In place of the record where a row did not come from Kafka."""

DRAIN_S = 60.0
"""Seconds that a hold may go on after a request to drain."""


class RowRecord(KafkaRecord):
    """A record that knows its row.

    Attributes:
        row: The row.
    """

    row: Any


class RowFeatures(dict[str, Any]):
    """Features that know their row.

    Args:
        features: The model's inputs.
        row: The row.
    """

    def __init__(self, features: Mapping[str, Any], row: Any):
        super().__init__(features)
        self.row = row

    def __reduce__(self) -> tuple[type["RowFeatures"], tuple[dict[str, Any], Any]]:
        return RowFeatures, (dict(self), self.row)


class ScoreWithModel(beam.PTransform):
    """Scores each row with a model; every row comes out once, in its order, with its fields and five more.

    ``prediction`` is the prediction as JSON; ``model`` and ``version`` say what answered. Where there is no prediction,
    ``error_class`` and ``error_message`` say why, and ``prediction`` is null; else these two are null. Rows of
    ``ReadFromKafkaNative`` get the headers with which they are to be written.

    A row with the fields of ``ReadFromKafkaNative`` is scored as a record: the model's signature decodes its ``value``.
    Of other rows each field is an input of the model. ``inputs`` says so for any row.

    Args:
        model: The model's URI, as for ``--model``.
        inputs: Name of each of the model's inputs to the field that has its value.
        outputs: Names of the model's outputs to return; none: all.
        input_format: The format of ``value``: ``auto``, ``json``, ``bytes`` or ``tf_example``.
        preprocess: ``MODULE:FUNCTION``, which takes the fields as a dict and returns the model's inputs.
        postprocess: ``MODULE:FUNCTION``, which takes the prediction's fields as a dict and returns those to write.
        labels: Class names by index. A prediction then has the best label, its score and the best classes.
        top_k: The number of classes to write.
        max_batch_size: Most rows of a request.
        max_in_flight: Most requests in flight; without it, as many as the server is fast with.
        request_timeout_s: Time-out of one request, in seconds.
        retry_deadline_s: How long to retry a failing request, in seconds.
        on_unavailable: What to do if the server is down for longer: ``hold`` (wait for it; the default after
            ``ReadFromKafkaNative``), ``dead_letter`` (an error for each row) or ``fail`` (the default elsewhere).
        model_headers: Headers of every request, such as ``authorization``.
        tls_ca_file: PEM file of the authorities to trust.

    Raises:
        ValueError: A field can't be used.
    """

    def __init__(
        self,
        model: str,
        inputs: Mapping[str, str] | None = None,
        outputs: Sequence[str] | None = None,
        input_format: str = "auto",
        preprocess: str | None = None,
        postprocess: str | None = None,
        labels: Sequence[str] | None = None,
        top_k: int | None = None,
        max_batch_size: int = 64,
        max_in_flight: int | None = None,
        request_timeout_s: float = 30.0,
        retry_deadline_s: float = 60.0,
        on_unavailable: str | None = None,
        model_headers: Mapping[str, str] | None = None,
        tls_ca_file: str | None = None,
    ):
        super().__init__()
        _check_model(_FIELDS.text("model", model))
        self._inputs = None if inputs is None else dict(_FIELDS.properties("inputs", inputs))
        for field, number in (("top_k", top_k), ("max_batch_size", max_batch_size), ("max_in_flight", max_in_flight)):
            _FIELDS.number(field, number, whole=True)
        for field, seconds in (("request_timeout_s", request_timeout_s), ("retry_deadline_s", retry_deadline_s)):
            _FIELDS.number(field, seconds)
        if on_unavailable not in (None, HOLD, FAIL, "dead_letter"):
            raise _FIELDS.mistake("on_unavailable", f"hold, dead_letter or fail, not {on_unavailable!r}")
        self._on_unavailable = on_unavailable
        headers = _FIELDS.properties("model_headers", {} if model_headers is None else model_headers)
        self._arguments: dict[str, Any] = {
            "model": model,
            "outputs": () if outputs is None else _FIELDS.texts("outputs", outputs),
            "input_format": input_format,
            "preprocess": preprocess,
            "max_batch_size": max_batch_size,
            "max_in_flight": max_in_flight,
            "request_timeout_s": request_timeout_s,
            "retry_deadline_s": retry_deadline_s,
            "client": ClientOptions(tls_ca_file=tls_ca_file, headers=headers),
        }
        names = None if labels is None else _FIELDS.texts("labels", labels)
        try:
            self._encoder = OutcomeEncoder("", labels=names, top_k=top_k, postprocess=postprocess)
            Predict(**self._arguments)
        except (ConfigError, ContractError) as error:
            raise ValueError(f"ScoreWithModel: {error}") from error

    def expand(self, rows: Any) -> Any:
        """Returns the PCollection of scored rows.

        Raises:
            ValueError: The input has no schema, or not the fields that are needed.
        """
        schema = _FIELDS.schema(rows)
        of_kafka = not _FIELDS.lacking(schema, KafkaRow._fields)
        if taken := [name for name in ADDED if name in schema]:
            raise _FIELDS.mistake(taken[0], "its input has a field of this name already; drop it, or give it another")
        if self._inputs is not None and (missing := _FIELDS.lacking(schema, self._inputs.values())):
            raise _FIELDS.mistake("inputs", missing)
        features = None if of_kafka and self._inputs is None else self._inputs or {name: name for name in schema}
        config = config_before(rows)
        policy = self._on_unavailable or (FAIL if config is None else HOLD)
        guard = None if config is None else SessionGuard(config, DRAIN_S)
        scored = RowTypeConstraint.from_fields(list({**schema, **ADDED}.items()))
        return (
            rows
            | "Elements" >> beam.Map(_element, features).with_output_types(Any)
            | "Score" >> Predict(**self._arguments, on_unavailable=policy, guard=guard)
            | "Rows" >> beam.ParDo(_ScoredRows(self._encoder, tuple(schema), of_kafka)).with_output_types(scored)
        )


def _check_model(uri: str) -> None:
    try:
        check_uri(uri)
    except ConfigError as error:
        raise _FIELDS.mistake("model", str(error).removeprefix("--model=")) from error


def record_of(row: Any) -> RowRecord:
    """Returns the record of a row with the fields of ``KafkaRow``."""
    headers = [(header.key, header.value) for header in row.headers]
    record = RowRecord(row.topic, row.partition, row.offset, row.timestamp_ms, row.key, row.value, headers)
    record.row = row
    return record


def _element(row: Any, features: Mapping[str, str] | None) -> RowRecord | RowFeatures:
    if features is None:
        return record_of(row)
    return RowFeatures({name: getattr(row, field) for name, field in features.items()}, row)


def _last(headers: Headers, name: str) -> str:
    return next((value or b"" for key, value in reversed(headers) if key == name), b"").decode("utf-8", "replace")


class _ScoredRows(beam.DoFn):
    def __init__(self, encoder: OutcomeEncoder, fields: tuple[str, ...], of_kafka: bool):
        self._encoder, self._fields, self._of_kafka = encoder, fields, of_kafka

    def process(self, outcome: Outcome) -> Iterator[beam.Row]:
        """Makes the row of an outcome."""
        row = outcome.element.row
        written = self._encoder.encode(outcome, record_of(row) if self._of_kafka else _NOWHERE)
        fields = {name: getattr(row, name) for name in self._fields}
        if self._of_kafka:
            fields["headers"] = [KafkaHeader(*header) for header in written.headers]
        failed = written.failed_stage is not None
        yield beam.Row(
            **fields,
            prediction=None if failed or written.value is None else written.value.decode(),
            model="" if isinstance(outcome, FailedElement) else outcome.model,
            version="" if isinstance(outcome, FailedElement) else outcome.version,
            error_class=_last(written.headers, ERROR_CLASS) if failed else None,
            error_message=_last(written.headers, ERROR_MESSAGE) if failed else None,
        )
