"""``--signature``: what a model takes and gives, from a file, for servers that do not say it.

The file is JSON::

    {"inputs": {"x": {"dtype": "float32", "shape": [-1, 16]}},
     "outputs": {"y": {"dtype": "float32", "shape": [-1, 3]}}}

The first size of a shape is that of the batch: -1 for any. A fixed one is the number of rows of every request, filled up if
records are missing; then the outputs have to be declared (``checked.py``). A shape that is left out is not known. An input
with ``"optional": true`` may be missing in a record. ``outputs`` may be left out: answers then show them.

The ``MLmodel`` file of an MLflow model is read as well (``mlmodel.py``).

A server that publishes a signature is believed. The file must not contradict it; where the server leaves a size or the
outputs open, the file's word counts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from transforms.clients.checked import DTYPES
from transforms.clients.mlmodel import is_mlmodel, read_mlmodel
from transforms.errors import ModelError, NotServedError
from transforms.printable import listed, shortened
from transforms.types import METHOD_PREDICT, Signature, TensorSpec

EXAMPLE = '{"inputs": {"x": {"dtype": "float32", "shape": [-1, 16]}}, "outputs": {"y": {"dtype": "float32", "shape": [-1]}}}'
"""A file, for messages."""

NAME = "serving_default"
"""The name of the signature: TensorFlow Serving's for the default one. Other protocols have no names."""

_SIDES = ("inputs", "outputs")
_OF_INPUT, _OF_OUTPUT = ("dtype", "shape", "optional"), ("dtype", "shape")


def parse_signature(text: str) -> Signature:
    """Reads the content of a file.

    Raises:
        ValueError: It is no signature; the message names the field and what is expected there.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if is_mlmodel(text):
            return read_mlmodel(text)
        raise ValueError(f"is no JSON; give a file such as {EXAMPLE}, or the MLmodel file of an MLflow model") from error
    _check_object("the file", document, _SIDES)
    if not document.get("inputs"):
        raise ValueError(f"has no inputs; give a file such as {EXAMPLE}")
    inputs, outputs = (_specs(side, document.get(side, {})) for side in _SIDES)
    return Signature(NAME, METHOD_PREDICT, inputs, outputs)


def _specs(side: str, described: Any) -> dict[str, TensorSpec]:
    if not isinstance(described, dict):
        raise ValueError(f'{side}: must be an object, such as {{"x": {{"dtype": "float32", "shape": [-1, 16]}}}}')
    return {name: _spec(f"{side}.{name}", spec, side == "inputs") for name, spec in sorted(described.items())}


def _spec(where: str, described: Any, is_input: bool) -> TensorSpec:
    _check_object(where, described, _OF_INPUT if is_input else _OF_OUTPUT)
    dtype, shape, optional = (described.get(field) for field in _OF_INPUT)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{where}.dtype: must be one of {', '.join(sorted(DTYPES))}")
    if optional is not None and not isinstance(optional, bool):
        raise ValueError(f"{where}.optional: must be true or false")
    if shape is None:
        return TensorSpec(dtype, None, bool(optional))
    if not isinstance(shape, list) or not all(type(size) is int and size >= -1 for size in shape):
        raise ValueError(f"{where}.shape: must be a list of sizes, that of the batch first, -1 for any: [-1, 16]")
    return TensorSpec(dtype, tuple(shape), bool(optional))


def _check_object(where: str, described: Any, fields: tuple[str, ...]) -> None:
    if not isinstance(described, dict):
        raise ValueError(f"{where}: must be an object with {', '.join(fields)}")
    if unknown := [shortened(field) for field in described if field not in fields]:
        raise ValueError(f"{where}: has {', '.join(unknown)}; known are {', '.join(fields)}")


def write_signature(signature: Signature) -> str:
    """Returns the content of the file of a signature, one input or output a line."""
    lines = []
    for side, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        rows = [f"    {json.dumps(name)}: {json.dumps(_described(spec))}" for name, spec in specs.items()]
        if rows:
            lines.append(f"  {json.dumps(side)}: {{\n" + ",\n".join(rows) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _described(spec: TensorSpec) -> dict[str, Any]:
    described: dict[str, Any] = {"dtype": spec.dtype}
    if spec.shape is not None:
        described["shape"] = list(spec.shape)
    if spec.has_default:
        described["optional"] = True
    return described


def declared_or_refused(error: ModelError, call: str, declared: Signature | None) -> Signature:
    """Returns the signature of the file, for a server that does not answer a call for metadata.

    Args:
        error: What it answers instead.
        call: What was asked for, such as ``GetModelMetadata``.
        declared: The file's signature; ``None`` if no file is given.

    Raises:
        NotServedError: There is no file; the message names the call and shows one.
    """
    if declared is not None:
        return declared
    raise NotServedError(
        f"{error}; the server does not answer {call}. If it is the right port, give --signature=FILE, which says what the "
        f"model takes: {EXAMPLE}; python -m pipeline.check --guess_signature=FILE writes one from records of the topic"
    )


def merged(published: Signature, declared: Signature, where: str) -> Signature:
    """Returns the published signature with what the file says of sizes and outputs that it leaves open.

    Raises:
        NotServedError: The file contradicts it; the message names every difference.
    """
    differences = [*_differences("input", published.inputs, declared.inputs)]
    if published.outputs:
        differences += _differences("output", published.outputs, declared.outputs, all_there=False)
    if differences:
        raise NotServedError(
            f"{where}: --signature contradicts what the server publishes: {listed(differences)}; "
            "mend the file, or leave it out"
        )
    inputs = {name: _closer(spec, declared.inputs.get(name)) for name, spec in published.inputs.items()}
    outputs = {name: _closer(spec, declared.outputs.get(name)) for name, spec in published.outputs.items()}
    return dataclasses.replace(published, inputs=inputs, outputs=outputs or declared.outputs)


def _differences(
    kind: str, published: Mapping[str, TensorSpec], declared: Mapping[str, TensorSpec], all_there: bool = True
) -> Iterator[str]:
    for name, spec in declared.items():
        there = published.get(name)
        if there is None:
            yield f"{kind} {name} is only in the file; the server has {listed(sorted(published))}"
        elif there.dtype != spec.dtype or not _agree(there.shape, spec.shape):
            yield f"{kind} {name} is {there}, in the file {spec}"
    if all_there:
        for name, spec in published.items():
            if name not in declared and not spec.has_default:
                yield f"{kind} {name}: {spec} is not in the file"


def _agree(published: tuple[int, ...] | None, declared: tuple[int, ...] | None) -> bool:
    if published is None or declared is None:
        return True
    return len(published) == len(declared) and all(a == b or -1 in (a, b) for a, b in zip(published, declared, strict=True))


def _closer(published: TensorSpec, declared: TensorSpec | None) -> TensorSpec:
    """The published spec, with sizes of the file where it has none."""
    if declared is None or declared.shape is None:
        return published
    shape = published.shape or declared.shape if published.shape != () else ()
    known = tuple(b if a < 0 else a for a, b in zip(shape, declared.shape, strict=True))
    return dataclasses.replace(published, shape=known)
