"""Request and response bodies of the Open Inference Protocol's REST API.

There are two forms: plain JSON, and Triton's extension binary_tensor_data. With the extension, the body is a JSON header and
then the raw bytes of the tensors that have a ``binary_data_size``, in the header's order. The HTTP header
``Inference-Header-Content-Length`` holds the length of the JSON header. An answer may mix JSON tensors and raw ones.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md;
https://github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.clients.open_inference.tensors import datatype_of_array, from_data, from_raw, to_data, to_raw
from transforms.clients.wire.json import dumps, loads
from transforms.errors import MalformedAnswerError
from transforms.printable import counted

HEADER_LENGTH = "Inference-Header-Content-Length"
BINARY_TYPE = "application/octet-stream"
_MOST_DIGITS = 18  # Python refuses to read thousands


def infer_body(
    inputs: Mapping[str, np.ndarray], bfloat16: frozenset[str], binary: bool, outputs: Sequence[str] = ()
) -> tuple[bytes, int | None]:
    """Returns the body of an ``infer`` request.

    In JSON, NaN and infinities are written bare, as Triton reads and writes them. Servers that read standard JSON refuse
    them.

    Args:
        inputs: Input name to an array of shape ``[rows, …]``.
        bfloat16: The names of the inputs that are bfloat16.
        binary: Whether the server takes binary tensors.
        outputs: Names of the outputs to ask for; none: all.

    Returns:
        The body, and the length of its JSON header in bytes; ``None`` if the whole body is JSON.

    Raises:
        TypeError, ValueError: A value has no form in this protocol.
    """
    tensors: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, array in inputs.items():
        datatype = datatype_of_array(array, name in bfloat16)
        tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype}
        if binary:
            blobs.append(to_raw(array, datatype))
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = to_data(array, datatype)
        tensors.append(tensor)
    document: dict[str, Any] = {"inputs": tensors}
    if outputs:
        document["outputs"] = [{"name": name} for name in outputs]
    if not binary:
        return dumps(document), None
    header = dumps({**document, "parameters": {"binary_data_output": True}})
    return b"".join((header, *blobs)), len(header)


def read_answer(body: bytes, header_length: str | None) -> tuple[dict[str, np.ndarray], str]:
    """Reads an answer to ``infer``.

    Args:
        body: The body.
        header_length: The HTTP header ``Inference-Header-Content-Length``; ``None`` if the whole body is JSON.

    Returns:
        The outputs, sorted by name, and the version that answered; the version is empty if the answer does not name it.

    Raises:
        MalformedAnswerError: The body is not a valid answer.
    """
    length = len(body)
    if header_length is not None:
        digits = header_length.lstrip("0")
        if not header_length.isdecimal() or len(digits) > _MOST_DIGITS or int(header_length[-_MOST_DIGITS:]) > len(body):
            raise MalformedAnswerError(f"the {HEADER_LENGTH} does not fit a body of {len(body)} bytes")
        length = int(header_length[-_MOST_DIGITS:])
    try:
        document = loads(body[:length])
    except ValueError as error:
        raise MalformedAnswerError(f"the answer is no JSON ({counted(len(body), 'byte')})") from error
    tensors = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(tensors, list):
        raise MalformedAnswerError("the answer has no list of outputs")
    outputs: dict[str, np.ndarray] = {}
    rest, at = memoryview(body)[length:], 0
    for tensor in tensors:
        name, datatype, shape, parameters = _described(tensor)
        size = parameters.get("binary_data_size")
        if size is None:
            values = from_data(tensor.get("data"), datatype, shape, name)
            outputs[name] = _from_base64(values, name) if parameters.get("content_type") == "base64" else values
            continue
        if not isinstance(size, int) or not 0 <= size <= len(rest) - at:
            raise MalformedAnswerError(f"output {name}: its binary_data_size does not fit the body")
        outputs[name] = from_raw(rest[at : at + size], datatype, shape, name)
        at += size
    return {name: outputs[name] for name in sorted(outputs)}, str(document.get("model_version") or "")


def _described(tensor: Any) -> tuple[str, str, list[int], dict[str, Any]]:
    if isinstance(tensor, dict):
        name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
        sizes = isinstance(shape, list) and all(type(size) is int for size in shape)
        if isinstance(name, str) and isinstance(datatype, str) and sizes and shape is not None:
            parameters = tensor.get("parameters")
            return name, datatype, shape, parameters if isinstance(parameters, dict) else {}
    raise MalformedAnswerError("an output lacks its name, datatype or shape")


def _from_base64(values: np.ndarray, name: str) -> np.ndarray:
    """Decodes BYTES with the content type base64: MLServer answers bytes that are not text in this way."""
    if values.dtype != object:
        return values
    try:
        decoded = [base64.b64decode(value, validate=True) for value in values.ravel().tolist()]
    except ValueError as error:
        raise MalformedAnswerError(f"output {name}: its content type is base64, but it is not") from error
    return np.fromiter(decoded, dtype=object, count=len(decoded)).reshape(values.shape)
