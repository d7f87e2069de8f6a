"""``Bodies``: the bodies of an endpoint's requests and the outputs of its answers, by ``--request`` and ``--response``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from transforms.clients.base import ClientOptions
from transforms.clients.json_bodies.answers import Answers
from transforms.clients.json_bodies.csv_rows import CSV, CSV_TYPE, csv_answers, csv_body
from transforms.clients.json_bodies.form import Form
from transforms.clients.json_bodies.template import ROWS, THE_ROW, Template
from transforms.clients.wire.json import dumps, read_answer
from transforms.clients.wire.json_outputs import PREDICTIONS
from transforms.clients.wire.json_rows import row_values
from transforms.clients.wire.outputs import OutputMatcher
from transforms.clients.wire.row_body import BYTES, RAW_INPUT, Body, request_body
from transforms.errors import ConfigError, MalformedAnswerError, RejectedError
from transforms.formats.casting import FieldMismatch
from transforms.formats.field_paths import NotFoundError
from transforms.types import METHOD_PREDICT, Answer, ModelMetadata, Signature, TensorSpec


class Bodies:
    """Writes requests and reads answers, for one client.

    Args:
        where: The model and its address, for error messages.
        options: The template and the paths.
        form: What a body is.

    Raises:
        ConfigError: The template is wrong.
    """

    def __init__(self, where: str, options: ClientOptions, form: Form):
        self._where, self._form = where, form
        try:
            self._template = Template(options.request or THE_ROW)
        except ValueError as error:
            raise ConfigError([f"--request: {error}"]) from error
        if form.body == CSV and self._template.takes_rows:
            raise ConfigError([f"--request: has {ROWS}, and with body=csv it is one row's line: leave {ROWS} out"])
        self._takes_rows = form.body == CSV or (form.body is None and self._template.takes_rows)
        self._reads_paths = bool(options.response)
        self._answers = Answers(options.response, self._takes_rows)
        self._matcher = OutputMatcher(where)

    def metadata(self, model: str) -> ModelMetadata:
        """Returns the metadata of an endpoint, which describes nothing: bytes have a known signature, of one string.

        Args:
            model: The name of the model.
        """
        signature = Signature.unknown()
        if self._form.body == BYTES:
            signature = Signature("", METHOD_PREDICT, {RAW_INPUT: TensorSpec("string", (-1,))}, {})
        return ModelMetadata(model, "", signature, None if self._takes_rows else 1)

    def request(self, inputs: Mapping[str, np.ndarray], rows: int) -> Body:
        """Returns the body of a request.

        Raises:
            RejectedError: The rows do not fit the template, or there is more than one and it takes one.
        """
        if rows > 1 and not self._takes_rows:
            raise RejectedError(f"{self._where}: a request takes one row, not {rows} rows")
        try:
            if self._form.body == CSV:
                return Body(csv_body(self._template.fill([row]) for row in row_values(inputs)), self._form.content_type)
            if self._form.body is not None:
                body = request_body(inputs, self._form.body, self._form.part)
                return body._replace(content_type=self._form.content_type) if self._form.body == BYTES else body
            document: Any = self._template.fill(row_values(inputs))
            return Body(dumps(document), self._form.content_type)
        except (TypeError, ValueError, NotFoundError, FieldMismatch) as error:
            raise RejectedError(f"{self._where}: the request can't be written: {error}") from error

    def answer(self, body: bytes, rows: int, content_type: str = "") -> Answer:
        """Returns the answer that a body holds, for a request of ``rows`` rows. It names no version.

        Args:
            body: The body.
            rows: How many rows the request had.
            content_type: The answer's content type, where it may be CSV.

        Raises:
            MalformedAnswerError: It is no JSON (or no CSV, if it says that it is), or does not fit the paths or the rows.
        """
        if content_type.partition(";")[0].strip().lower() == CSV_TYPE:
            return self._of_csv(body, rows)
        document = read_answer(body, self._where, exact=True)
        try:
            per_row, whole = self._answers.outputs(document, rows)
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        matched = self._matcher.match(whole, rows).answer("") if whole else Answer({}, "")
        matched.outputs = {**per_row, **matched.outputs}
        return matched

    def _of_csv(self, body: bytes, rows: int) -> Answer:
        try:
            if self._reads_paths:
                raise MalformedAnswerError("the answer is CSV, and --response is for JSON: leave one out")
            return Answer({PREDICTIONS: csv_answers(body, rows)}, "")
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
