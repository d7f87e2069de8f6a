"""The inputs of a REST Predict request as arrays. Source: ``FillPredictRequestFromJson`` in json_tensor.cc.

Row form: ``{"instances": [...]}`` with one element for each row, which is a value or an object by input name. Columnar form:
``{"inputs": ...}`` with whole tensors, which is one value or an object by input name.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.embedded.json_parse import debug_string, is_base64_object, type_string
from transforms.clients.tf_runtime.serving_error import Code, ServingError, invalid_argument
from transforms.clients.tf_runtime.session import DTYPES

TYPE_NAMES = {
    1: "float", 2: "double", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 14: "bfloat16", 17: "uint16", 18: "complex128", 19: "half", 22: "uint32", 23: "uint64",
}  # fmt: skip
"""DataType number to the name in TensorFlow's messages (``DataTypeString``)."""

_INT32 = range(-(2**31), 2**31)
_CHECKS: dict[int, Callable[[Any], bool]] = {
    1: lambda v: type(v) in (int, float),
    2: lambda v: type(v) in (int, float),
    3: lambda v: type(v) is int and v in _INT32,
    4: lambda v: type(v) is int and v in _INT32,
    5: lambda v: type(v) is int and v in _INT32,
    6: lambda v: type(v) is int and v in _INT32,
    7: lambda v: type(v) is str,
    9: lambda v: type(v) is int and -(2**63) <= v < 2**63,
    10: lambda v: type(v) is bool,
    22: lambda v: type(v) is int and 0 <= v < 2**32,
    23: lambda v: type(v) is int and v >= 0,
}
"""DataType number to the check of its JSON values; the other types can't be sent over REST."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def decode_base64(value: Mapping[str, Any]) -> bytes:
    """Returns the bytes of a ``{"b64": text}``.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if not is_base64_object(value):
        raise invalid_argument(f"JSON Value: {debug_string(value)} not formatted correctly for base64 data")
    text = "".join(value["b64"].split())
    unpadded = text.rstrip("=")
    try:
        if not _BASE64.fullmatch(text):
            raise ValueError("an alphabet of its own")
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        raise invalid_argument("Unable to base64 decode") from error


class _Dense:
    """One dense tensor, read from nested lists. The first elements at each level give its shape."""

    def __init__(self, value: Any, dtype: int):
        self.dtype = dtype
        self.values: list[Any] = []
        self.shape: tuple[int, ...] = ()
        level = value
        while isinstance(level, list):
            self.shape += (len(level),)
            if not level:
                break
            level = level[0]
        self._fill(value, 0)

    def array(self) -> np.ndarray:
        """Returns the tensor.

        As in TensorFlow Serving, a float beyond float32 becomes infinite, and an int beyond the dtype wraps.
        """
        return _to_array(self.values, self.dtype).reshape(self.shape)

    def _fill(self, value: Any, level: int) -> None:
        if not isinstance(value, list):
            self._add(value, level)
            return
        if level >= len(self.shape):
            raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(self.shape)}")
        if len(value) != self.shape[level]:
            raise invalid_argument(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {self.shape[level]}"
            )
        check = _CHECKS.get(self.dtype)
        if level == len(self.shape) - 1 and check is not None and all(map(check, value)):  # fast path for the common case
            self.values.extend([v.encode("utf-8", "surrogatepass") for v in value] if self.dtype == 7 else value)
            return
        for element in value:
            self._fill(element, level + 1)

    def _add(self, value: Any, level: int) -> None:
        if level != len(self.shape):
            raise invalid_argument(
                f"JSON Value: {debug_string(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(self.shape)}"
            )
        name = TYPE_NAMES.get(self.dtype, f"DataType {self.dtype}")
        if isinstance(value, dict) and self.dtype == 7:
            self.values.append(decode_base64(value))
            return
        if self.dtype not in _CHECKS and not isinstance(value, dict):
            raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {debug_string(value)} to type: {name}")
        if isinstance(value, dict) or not _CHECKS[self.dtype](value):
            raise invalid_argument(
                f"JSON Value: {debug_string(value)} Type: {type_string(value)} is not of expected type: {name}"
            )
        self.values.append(value.encode("utf-8", "surrogatepass") if self.dtype == 7 else value)


def _to_array(values: list[Any], dtype: int) -> np.ndarray:
    target = DTYPES[dtype]
    if target.hasobject:
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    if dtype == 1:
        with np.errstate(over="ignore"):
            return np.array(values, dtype=np.float64).astype(np.float32)
    if dtype in (3, 4, 5, 6):
        return np.array(values, dtype=np.int64).astype(target)
    return np.array(values, dtype=target)


def read_inputs(
    document: Mapping[str, Any], signature_name: str, infos: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], bool]:
    """Reads the inputs of a parsed Predict request.

    Args:
        document: The request.
        signature_name: The name in the request, for error messages.
        infos: Input name to ``tensorflow.TensorInfo``.

    Returns:
        Input name to array, and whether the request came in row form.

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype that REST can't carry (only in columnar form, as in
            TensorFlow Serving).
    """
    if not infos:
        raise invalid_argument(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    if "instances" in document:
        instances = document["instances"]
        if "inputs" in document:
            raise _format_error(
                document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
            )
        if not isinstance(instances, list):
            raise _format_error(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise _format_error(document, "No values in 'instances' array")
        return _read_rows(instances, infos), True
    if "inputs" in document:
        return _read_columns(document["inputs"], infos), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _format_error(document: Mapping[str, Any], message: str) -> ServingError:
    return invalid_argument(f"JSON Value: {debug_string(document)} {message}")


class _Rows:
    """The rows of one input, which must all have the same shape."""

    def __init__(self, dtype: int):
        self.dtype = dtype
        self.shape: tuple[int, ...] | None = None
        self.values: list[Any] = []

    def add(self, value: Any) -> None:
        row = _Dense(value, self.dtype)
        if self.shape is None:
            self.shape = row.shape
        elif row.shape != self.shape:
            size, got = int(np.prod(self.shape)), len(row.values)
            if size != got:
                raise invalid_argument(f"Expecting tensor size: {size} but got: {got}")
            raise invalid_argument(f"Expecting shape {_shape(self.shape)} but got: {_shape(row.shape)}")
        self.values.extend(row.values)


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _read_rows(instances: list[Any], infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as "
            "multiple input tensors required as per tensorinfo_map"
        )
    named = _is_object(instances[0])
    rows = {name: _Rows(infos[name].dtype) for name in sorted(infos)}
    only = min(infos)
    for position, element in enumerate(instances):
        if _is_object(element) != named:
            expecting = "object but got list" if named else "value/list but got object"
            raise invalid_argument(f"Expecting {expecting} at item {position} of input list")
        if not named:
            with _Where(f"Failed to process element: {position} of 'instances' list. Error: "):
                rows[only].add(element)
            continue
        for name, value in element.items():
            with _Where(f"Failed to process element: {position} key: {name} of 'instances' list. Error: "):
                if name not in rows:
                    raise invalid_argument(f"JSON object: does not have named input: {name}")
                rows[name].add(value)
        if element.keys() != rows.keys():
            raise invalid_argument(
                f"Failed to process element: {position} of 'instances' list. JSON object: {debug_string(element)} "
                f"keys must be equal to: {','.join(rows)}"
            )
    filled = {name: tensor for name, tensor in rows.items() if tensor.shape is not None}
    return {
        name: _to_array(tensor.values, tensor.dtype).reshape(len(instances), *(tensor.shape or ()))
        for name, tensor in filled.items()
    }


class _Where:
    """Adds a place to an error's message; the code becomes INVALID_ARGUMENT, as in TensorFlow Serving."""

    def __init__(self, place: str):
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ServingError):
            raise invalid_argument(f"{self._place}{error}") from error


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64_object(value)


def _read_columns(value: Any, infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not _is_object(value):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as "
                "multiple input tensors required as per tensorinfo_map"
            )
        name = min(infos)
        return {name: _Dense(value, infos[name].dtype).array()}
    arrays = {}
    for name in sorted(infos):
        if name not in value:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _Dense(value[name], infos[name].dtype).array()
    return arrays
