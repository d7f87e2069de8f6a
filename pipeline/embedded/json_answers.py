"""Bodies of REST answers: Predict's rows or columns, classifications, regressions, status, metadata, errors.

Source: ``MakeJsonFromTensors`` and its neighbours in json_tensor.cc, ``ToJsonString`` in http_rest_api_util.cc. Floats are
written as TensorFlow Serving writes them (``3.0``, ``9e+06``, bare ``NaN``). Strings are written byte by byte, in any
encoding; as ``{"b64": …}`` if the output's name ends in ``_bytes``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf import json_format

from pipeline.embedded.inference import SIGNATURE_DEF
from transforms.clients.tf_runtime.serving_error import Code, invalid_argument
from transforms.clients.tfserving.messages import VERSION_STATES
from transforms.clients.wire.tensorflow.messages import SignatureDefMap

_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_UNWRITABLE = {np.dtype(name) for name in ("float16", "uint16", "complex64", "complex128")}


def format_floats(values: np.ndarray) -> list[str]:
    """Formats floats, float32 or float64 [n], with six digits where that is exact, else with as many as are needed."""
    digits = 9 if values.dtype == np.float32 else 17
    texts = [f"{value:.6g}" for value in values.tolist()]
    exact = np.array([float(text) for text in texts]).astype(values.dtype) == values
    for i, text in enumerate(texts):
        if text in _SPECIAL:
            texts[i] = _SPECIAL[text]
            continue
        if not exact[i]:
            text = f"{values[i]:.{digits}g}"
        texts[i] = text if "." in text or "e" in text else text + ".0"
    return texts


def _texts(name: str, array: np.ndarray) -> Iterator[str]:
    """Yields the JSON text of each element in order."""
    if array.dtype in (np.float32, np.float64):
        return iter(format_floats(array.reshape(-1)))
    if array.dtype.hasobject:
        encode = _encode_bytes if name.endswith("_bytes") else _encode_string
        return (encode(value) for value in array.reshape(-1).tolist())
    if array.dtype in _UNWRITABLE or array.dtype.kind not in "iub":
        kind = {"float16": "half"}.get(array.dtype.name, array.dtype.name)
        raise invalid_argument(f"Failed to write JSON value for tensor type: {kind}")
    if array.dtype == np.bool_:
        return ("true" if value else "false" for value in array.reshape(-1).tolist())
    return map(str, array.reshape(-1).tolist())


def _encode_bytes(value: bytes) -> str:
    return f'{{ "b64": "{base64.b64encode(value).decode()}" }}'


def _encode_string(value: bytes) -> str:
    # Bytes that are not valid UTF-8 are kept as lone surrogates until the body is encoded.
    return json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False)


def _nested(texts: Iterator[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return next(texts)
    return "[" + ", ".join(_nested(texts, shape[1:]) for _ in range(shape[0])) + "]"


def _body(key: str, value: str) -> bytes:
    return f'{{\n    "{key}": {value}\n}}'.encode("utf-8", "surrogateescape")


def rows(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Predict's answer in row form.

    Raises:
        ServingError: INVALID_ARGUMENT: an output has no rows, has another number of rows than the others, or can't be
            written.
    """
    count = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if count not in (-1, array.shape[0]):
            raise invalid_argument(f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {count}")
        count = array.shape[0]
    texts = {name: _texts(name, array) for name, array in outputs.items()}
    written = []
    for _ in range(count):
        fields = {name: _nested(texts[name], array.shape[1:]) for name, array in outputs.items()}
        written.append(_object(fields) if len(fields) > 1 else fields.popitem()[1])
    return _body("predictions", "[" + ", ".join(written) + "]")


def columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Predict's answer in columnar form.

    Raises:
        ServingError: INVALID_ARGUMENT: an output can't be written.
    """
    fields = {name: _nested(_texts(name, array), array.shape) for name, array in outputs.items()}
    return _body("outputs", _object(fields) if len(fields) > 1 else fields.popitem()[1])


def _object(fields: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in fields.items()) + "}"


def classifications(result: Any) -> bytes:
    """Classify's answer: for each example, a list of ``[label, score]``."""
    written = []
    for entry in result.classifications:
        scores = format_floats(np.array([c.score for c in entry.classes], dtype=np.float32))
        pairs = (f"[{json.dumps(c.label)}, {score}]" for c, score in zip(entry.classes, scores, strict=True))
        written.append("[" + ", ".join(pairs) + "]")
    return _body("results", "[" + ", ".join(written) + "]")


def regressions(result: Any) -> bytes:
    """Regress's answer: one number for each example."""
    values = np.array([entry.value for entry in result.regressions], dtype=np.float32)
    return _body("results", "[" + ", ".join(format_floats(values)) + "]")


def status(response: Any) -> bytes:
    """The answer to ``GET /v1/models/NAME``."""
    versions = [
        {
            "version": str(entry.version),  # an int64 is a string in protobuf's JSON
            "state": VERSION_STATES[entry.state],
            "status": {"error_code": Code(entry.status.error_code).name, "error_message": entry.status.error_message},
        }
        for entry in response.model_version_status
    ]
    return json.dumps({"model_version_status": versions}, indent=1).encode()


def metadata(response: Any) -> bytes:
    """The answer to ``GET /v1/models/NAME/metadata``."""
    spec = response.model_spec
    packed = SignatureDefMap.FromString(response.metadata[SIGNATURE_DEF].value)
    signatures = json_format.MessageToDict(
        packed, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    answer = {
        "model_spec": {"name": spec.name, "signature_name": spec.signature_name, "version": str(spec.version.value)},
        "metadata": {SIGNATURE_DEF: signatures},
    }
    return json.dumps(answer, indent=1).encode()


def error(message: str) -> bytes:
    """The body of a failed request."""
    return json.dumps({"error": message}, ensure_ascii=False).encode("utf-8", "replace")
