"""The examples of a REST Classify or Regress request as ``tf.Example`` records.

Source: ``FillClassifyRegressRequestFromJson`` in json_tensor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.embedded.json_parse import debug_string, is_base64_object, type_string
from pipeline.embedded.json_tensors import decode_base64
from transforms.clients.tf_runtime.serving_error import invalid_argument
from transforms.clients.wire.tensorflow.messages import Example

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64", None: "UNKNOWN"}


def read_examples(document: Mapping[str, Any]) -> list[bytes]:
    """Returns a serialized ``tf.Example`` for each element of ``examples``, each preceded by the ``context``.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        raise _format_error(document, "When method is classify, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _format_error(document, "'examples' value is an empty array")
    return [context + _example(value) for value in examples]


def _format_error(document: Mapping[str, Any], message: str) -> Exception:
    return invalid_argument(f"JSON Value: {debug_string(document)} {message}")


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_string(value)}")
    example = Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add(element, name, feature)
    return bytes(example.SerializeToString())


def _add(value: Any, name: str, feature: Any) -> None:
    if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_base64_object(value)):
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_string(value)}")
    kind: str
    converted: Any
    if isinstance(value, bool):
        kind, converted = "int64_list", int(value)
    elif isinstance(value, dict):
        kind, converted = "bytes_list", decode_base64(value)
    elif isinstance(value, str):
        kind, converted = "bytes_list", value.encode("utf-8", "surrogatepass")
    elif isinstance(value, float):
        with np.errstate(over="ignore"):
            kind, converted = "float_list", float(np.float32(value))
    else:
        kind, converted = "int64_list", value
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}")
    if kind == "int64_list" and not -(2**63) <= converted < 2**63:
        raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    getattr(feature, kind).value.append(converted)
