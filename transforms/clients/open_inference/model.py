"""Metadata of a model on an Open Inference Protocol server.

``metadata_of`` makes ``ModelMetadata`` of a server's answer. ``columns_of`` makes tensors of JSON records for a model
without declared inputs.

Source: https://github.com/kserve/open-inference-protocol (model metadata); Triton's extensions model_configuration
(``max_batch_size``, optional inputs) and model_repository (states of versions).
"""

from __future__ import annotations

import base64
import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transforms.clients.open_inference.tensors import dtype_name
from transforms.clients.open_inference.uri import OipAddress
from transforms.errors import ModelError, NotServedError, UnavailableError
from transforms.printable import listed
from transforms.types import METHOD_PREDICT, ModelMetadata, Signature, TensorSpec

SIGNATURE = "infer"
"""The name of every model's signature: the protocol has one nameless signature per model, and its call is ``infer``."""

UNKNOWN_INPUT = "instances"
"""The input that holds whole JSON records, for a model without declared inputs (``formats/codecs.py``)."""

BARE_INPUT = "input-0"
"""The input name for records that are not JSON objects, for a model without declared inputs.

The documentation of KServe and MLServer uses this name for a sole input. Their runtimes for scikit-learn, XGBoost and
LightGBM take the first input, whatever its name.
"""

MODEL_CONFIGURATION = "model_configuration"
BINARY_TENSOR_DATA = "binary_tensor_data"

Tensor = tuple[str, str, Sequence[int]]
"""Name, datatype and shape."""

_name = operator.itemgetter(0)  # two of one name must not be compared by their shapes: messages have no order


class RepositoryEntry(NamedTuple):
    """One entry of a server's model repository.

    Attributes:
        model: The model's name.
        version: The version; empty if it has none.
        state: ``READY``, ``LOADING``, ``UNLOADING`` or ``UNAVAILABLE``.
    """

    model: str
    version: str
    state: str


@dataclasses.dataclass(frozen=True, slots=True)
class TritonConfig:
    """What Triton's model configuration adds to the metadata.

    Attributes:
        max_batch_size: The highest number of rows in a request; 0 if Triton adds no batch dimension to the model's shapes;
            ``None`` if the server does not say.
        optional: Names of the inputs that may be left out.
    """

    max_batch_size: int | None = None
    optional: frozenset[str] = frozenset()


def metadata_of(
    address: OipAddress,
    versions: Iterable[str],
    inputs: Iterable[Tensor],
    outputs: Iterable[Tensor],
    config: TritonConfig,
    declared: Signature | None = None,
) -> ModelMetadata:
    """Returns a model's metadata.

    The first dimension of every shape is the batch dimension. Triton adds it to the shapes of the model configuration if
    ``max_batch_size`` is not 0. Otherwise, and on other servers, the model's author must declare it; for models that have
    none, see ``unbatched.py``. A model without declared inputs, which MLServer and KServe allow, has the signature of
    ``--signature``, or no known one.

    Args:
        address: The address of the model, with the version asked for.
        versions: The versions that the server lists.
        inputs: The declared inputs.
        outputs: The declared outputs.
        config: The model's configuration.
        declared: The signature of ``--signature``, if it is given.
    """
    takes = {
        name: TensorSpec(dtype_name(datatype), tuple(shape), name in config.optional)
        for name, datatype, shape in sorted(inputs, key=_name)
    }
    gives = {name: TensorSpec(dtype_name(datatype), tuple(shape)) for name, datatype, shape in sorted(outputs, key=_name)}
    signature = Signature(SIGNATURE, METHOD_PREDICT, takes, gives, known=bool(takes))
    if not takes and declared is not None:
        signature = dataclasses.replace(declared, name=SIGNATURE, outputs=gives or declared.outputs)
    version = newest(versions) if address.version is None else address.version
    return ModelMetadata(address.model, version, signature, config.max_batch_size or None)


def declared_metadata(address: OipAddress, declared: Signature, config: TritonConfig) -> ModelMetadata:
    """Returns the metadata of a model whose server has no call for them.

    Args:
        address: The address of the model, with the version asked for.
        declared: The signature of ``--signature``.
        config: The model's configuration.
    """
    signature = dataclasses.replace(declared, name=SIGNATURE)
    return ModelMetadata(address.model, address.version or "", signature, config.max_batch_size or None)


def newest(versions: Iterable[str]) -> str:
    """Returns the version that answers a request without a version.

    That is the highest number, which is Triton's rule; without any number, the last version listed; empty without any
    version.
    """
    there = list(versions)
    numbers = [version for version in there if version.isascii() and version.isdecimal()]
    if numbers:  # compared without int(), which refuses a text of thousands of digits
        return max(numbers, key=lambda text: (len(text.lstrip("0")), text.lstrip("0")))
    return there[-1] if there else ""


def explain(error: ModelError, address: OipAddress, entries: Sequence[RepositoryEntry]) -> ModelError:
    """Returns a more helpful error for a model or version that was not found.

    Args:
        error: The server's error.
        address: The address of the model, with the version asked for.
        entries: The entries of the model repository; empty if it can't be read.

    Returns:
        ``UnavailableError`` if the model is still loading. Otherwise ``NotServedError`` with the versions of the model, or
        with the models of the server, as far as they are known.
    """
    versions = sorted((entry.version, entry.state) for entry in entries if entry.model == address.model)
    asked = [state for version, state in versions if address.version in (None, version)]
    if "LOADING" in asked and "READY" not in asked:
        return UnavailableError(f"{address}: still loading ({error})")
    if versions:
        there = listed(f"{version or 'one without a name'} ({state})" for version, state in versions)
        return NotServedError(f"{error}; it has the versions {there}")
    models = sorted({entry.model for entry in entries})
    if models:
        return NotServedError(f"{error}; the server has the models {listed(models)}")
    return NotServedError(str(error))


def columns_of(documents: Sequence[Any]) -> dict[str, np.ndarray]:
    """Returns the tensors of whole JSON records, for a model without declared inputs.

    If all records are objects, each field is an input. Otherwise each record is a value of ``BARE_INPUT``. Integers become
    int64; numbers of which any is a float become float64; strings and ``{"b64": …}`` become bytes; booleans become bool.

    Args:
        documents: One parsed JSON value per row; at least one.

    Returns:
        Input name to an array of shape ``[rows, …]``.

    Raises:
        ValueError: The records differ in their fields or shapes, or hold values that no tensor can hold.
    """
    if all(isinstance(document, dict) and not _is_b64(document) for document in documents):
        names = list(documents[0])
        if not names or any(document.keys() != documents[0].keys() for document in documents):
            raise ValueError("the records do not all have the same fields")
        return {name: _column(name, [document[name] for document in documents]) for name in names}
    return {BARE_INPUT: _column(BARE_INPUT, list(documents))}


def _column(name: str, values: list[Any]) -> np.ndarray:
    flat: list[Any] = values
    shape = [len(values)]
    while flat and all(isinstance(value, list) for value in flat):
        sizes = set(map(len, flat))
        if len(sizes) != 1:
            break
        shape.append(sizes.pop())
        flat = [item for value in flat for item in value]
    kinds = {bytes if _is_b64(value) else type(value) for value in flat}
    if kinds and kinds <= {str, bytes}:
        strings = [base64.b64decode(v["b64"], validate=True) if isinstance(v, dict) else v.encode() for v in flat]
        return np.fromiter(strings, dtype=object, count=len(strings)).reshape(shape)
    if kinds == {bool}:
        return np.array(flat, np.bool_).reshape(shape)
    if kinds <= {int, float}:
        try:
            return np.array(flat, np.int64 if kinds == {int} else np.float64).reshape(shape)
        except OverflowError as error:
            raise ValueError(f"{name}: an integer is beyond 64 bits") from error
    raise ValueError(f"{name}: the records do not share a shape and a kind of value")


def _is_b64(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def unknown_columns(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Returns the tensors of a request to a model without a known signature.

    Args:
        inputs: Either whole records under ``UNKNOWN_INPUT``, which are converted by ``columns_of``, or arrays by input name,
            which are returned as they are.

    Raises:
        ValueError: As ``columns_of``.
    """
    if list(inputs) == [UNKNOWN_INPUT] and inputs[UNKNOWN_INPUT].dtype == object:
        return columns_of(inputs[UNKNOWN_INPUT].tolist())
    return inputs
