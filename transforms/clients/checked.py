"""``ask_metadata``: a model's metadata, checked: what a client of another package or a hostile server may say of a model.

The decoder, the probes and every message are made from the metadata. So they are looked at once, here, before anything uses
them; metadata that are refused always raise a ``ModelError``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from transforms.clients.base import ModelClient
from transforms.clients.imported import DESCRIBED, ClientMistakeError
from transforms.errors import NotServedError
from transforms.printable import shortened
from transforms.types import ModelMetadata, Signature, TensorSpec

MAX_TENSORS = 10_000
MAX_NAME = 1_000
MAX_RANK = 32
"""Of NumPy before version 2."""

MAX_ROW_VALUES = 1 << 28
"""A probe is a row of zeros: 1 GiB of float32. gRPC sends no message above 2 GiB."""

_SIZES = {"float": (16, 32, 64), "int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "complex": (64, 128)}
DTYPES = {"bool", "string", "bfloat16", *(f"{kind}{bits}" for kind, sizes in _SIZES.items() for bits in sizes)}
"""What ``TensorSpec`` knows, and NumPy or this project can hold."""


async def ask_metadata(client: ModelClient, timeout_s: float) -> ModelMetadata:
    """Returns what a client's ``metadata`` does, with a version that is one short printable line.

    Raises:
        ModelError: As ``ModelClient.metadata``.
        NotServedError: No record could be sent to such a model; the message says why.
        ClientMistakeError: The client returned something else.
    """
    found = await client.metadata(timeout_s)
    if not isinstance(found, ModelMetadata) or not isinstance(found.signature, Signature):
        raise ClientMistakeError(f"metadata returned {type(found).__name__}, no ModelMetadata; {DESCRIBED}")
    signature = found.signature
    texts = (found.model, found.version, signature.name, signature.method)
    for field, text in zip(("model", "version", "signature.name", "signature.method"), texts, strict=True):
        if not isinstance(text, str):
            raise ClientMistakeError(f"metadata returned {field}={type(text).__name__}, no text; {DESCRIBED}")
    if found.max_rows is not None and (not isinstance(found.max_rows, int) or found.max_rows < 1):
        raise NotServedError(f"{found.model}: the server takes {shortened(str(found.max_rows))} rows in a request")
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        _check_side(found.model, kind, specs, signature.takes_examples)
    if not signature.takes_examples and (wrong := _wrong_batch(signature, found.max_rows)):
        raise NotServedError(f"{found.model}: {wrong}")
    return dataclasses.replace(found, version=shortened(found.version))


def _check_side(model: str, kind: str, specs: Mapping[str, TensorSpec], examples: bool) -> None:
    if not isinstance(specs, Mapping):
        raise ClientMistakeError(f"metadata returned {kind}s in a {type(specs).__name__}, no mapping; {DESCRIBED}")
    if len(specs) > MAX_TENSORS:
        raise NotServedError(f"{model}: the model declares {len(specs)} {kind}s; at most {MAX_TENSORS} are taken")
    for name, spec in specs.items():
        if not isinstance(name, str) or not isinstance(spec, TensorSpec):
            raise ClientMistakeError(f"metadata returned an {kind} that is no name and TensorSpec; {DESCRIBED}")
        wrong = _wrong_name(name) or _wrong_shape(spec, kind == "input" and not examples)
        if not wrong and kind == "input" and not examples and not spec.has_default and spec.dtype not in DTYPES:
            wrong = f"is of type {shortened(str(spec.dtype))}, which no record has"
        if wrong:
            raise NotServedError(f"{model}: the model's {kind} {shortened(name)} {wrong}")


def _wrong_batch(signature: Signature, max_rows: int | None) -> str:
    """Why no request of a fixed batch size could be answered; empty if it could, or if the size is not fixed.

    All requests have the same size then, so no answer shows which outputs have a value for each row: they must be declared.
    """
    sizes = {name: spec.shape[0] for name, spec in signature.inputs.items() if spec.shape and not spec.has_default}
    fixed = {name: size for name, size in sizes.items() if size > 0}
    if not fixed:
        return ""
    (name, size), *others = fixed.items()
    told = f"the shape of input {shortened(name)} begins with {size}, which is the number of rows of every request"
    cure = "-1 stands for any number, in --signature if the shape is from there"
    if unlike := [other for other, its_size in others if its_size != size]:
        return f"{told}, and that of {shortened(unlike[0])} with {fixed[unlike[0]]}: they must be the same; {cure}"
    if max_rows is not None and size > max_rows:
        return f"{told}, and a request takes {max_rows} at most; {cure}"
    unknown = [output for output, spec in signature.outputs.items() if spec.shape is None]
    if size > 1 and (unknown or not signature.outputs):
        what = f"the shape of output {shortened(unknown[0])}" if unknown else "the outputs"
        return f"{told}; {cure}; if the model takes {size} and no other number, declare {what}, too"
    return ""


def _wrong_name(name: str) -> str:
    if len(name) > MAX_NAME:
        return f"has a name of {len(name)} characters; at most {MAX_NAME} are taken"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "has a name that is no valid Unicode: it has a lone surrogate"
    return ""


def _wrong_shape(spec: TensorSpec, bounded: bool) -> str:
    shape = spec.shape
    if shape is None:
        return ""
    if not isinstance(shape, tuple) or not all(type(size) is int for size in shape):
        raise ClientMistakeError(f"metadata returned a shape that is no tuple of integers; {DESCRIBED}")
    if len(shape) > MAX_RANK:
        return f"has {len(shape)} dimensions; at most {MAX_RANK} are taken"
    if any(size < -1 for size in shape):
        return f"has a dimension of {min(shape)}; it must be 0 or more, or -1 for any size"
    if bounded and (values := math.prod(max(1, size) for size in shape[1:])) > MAX_ROW_VALUES:
        return f"has {values:.3g} values in a record; at most {MAX_ROW_VALUES} are taken"
    return ""
