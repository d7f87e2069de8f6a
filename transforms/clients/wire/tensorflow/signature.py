"""TensorFlow Serving's signature definitions, from protobuf or JSON, and the choice of one.

Source: tensorflow_serving/apis/get_model_metadata.proto; https://www.tensorflow.org/tfx/serving/signature_defs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from transforms.clients.wire.tensorflow.messages import DATA_TYPES
from transforms.clients.wire.tensorflow.tensors import dtype_name
from transforms.errors import ModelError, NotServedError, UnavailableError
from transforms.printable import listed
from transforms.types import METHOD_PREDICT, Signature, TensorSpec

DEFAULT = "serving_default"
_LOADING = ("START", "LOADING")
_INIT_OP = "__saved_model_init_op"  # listed by TensorFlow Serving like a signature, but nothing to call


class Address(Protocol):
    """The address of a model: ``ModelAddress`` or ``SavedModelAddress``."""

    @property
    def signature(self) -> str | None:
        """The signature's name, if one is asked for."""

    @property
    def version(self) -> int | None:
        """The version's number, if one is asked for."""


def from_proto(definitions: Any) -> dict[str, Signature]:
    """Reads a ``SignatureDefMap`` message: signature name to signature."""
    signatures = {}
    for name, definition in definitions.signature_def.items():
        defaults = set(definition.defaults)
        inputs, outputs = (
            {key: _spec_of_proto(infos[key], key in defaults) for key in sorted(infos)}
            for infos in (definition.inputs, definition.outputs)
        )
        signatures[name] = Signature(name, definition.method_name or METHOD_PREDICT, inputs, outputs)
    return signatures


def _spec_of_proto(info: Any, has_default: bool) -> TensorSpec:
    known = info.HasField("tensor_shape") and not info.tensor_shape.unknown_rank
    return TensorSpec(
        dtype_name(info.dtype), tuple(dim.size for dim in info.tensor_shape.dim) if known else None, has_default
    )


def from_json(definitions: Mapping[str, Any]) -> dict[str, Signature]:
    """Reads the JSON form of a ``SignatureDefMap``: signature name to signature.

    In this form int64 numbers are strings, and fields with default values may be missing.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: The document has another form.
    """
    signatures = {}
    for name, definition in definitions["signature_def"].items():
        defaults = set(definition.get("defaults") or ())
        inputs, outputs = (
            {key: _spec_of_json(info, key in defaults) for key, info in sorted((definition.get(side) or {}).items())}
            for side in ("inputs", "outputs")
        )
        method = definition.get("method_name") or METHOD_PREDICT
        if not isinstance(method, str):
            raise TypeError("a method's name is no text")
        signatures[name] = Signature(name, method, inputs, outputs)
    return signatures


def _spec_of_json(info: Mapping[str, Any], has_default: bool) -> TensorSpec:
    dtype = info.get("dtype", "DT_INVALID")
    number = dtype if isinstance(dtype, int) else DATA_TYPES.get(dtype.removesuffix("_REF"), 0)
    shape = info.get("tensor_shape")
    known = shape is not None and not shape.get("unknown_rank")
    sizes = tuple(int(dim.get("size", 0)) for dim in shape.get("dim") or ()) if known and shape is not None else None
    return TensorSpec(dtype_name(number), sizes, has_default)


def choose(signatures: Mapping[str, Signature], address: Address) -> Signature:
    """Returns the signature that the address names. Without a name, ``serving_default``, or the only signature of the model.

    Raises:
        NotServedError: The model has no such signature; the message lists those it has.
    """
    names = sorted(name for name in signatures if name != _INIT_OP)
    wanted = address.signature or DEFAULT
    if wanted in names:
        return signatures[wanted]
    if address.signature is None and len(names) == 1:
        return signatures[names[0]]
    there = f"it has {listed(names)}; choose with ?signature=NAME" if names else "it publishes no signature"
    raise NotServedError(f"{address} has no signature {wanted}: {there}")


def no_such_model(error: ModelError) -> NotServedError:
    """Returns the error for a model that the server does not know, not even another version of it."""
    return NotServedError(f"{error}; is that the model's name on this server? No version of it is known there")


def explain_versions(error: ModelError, address: Address, states: Mapping[int, str]) -> ModelError:
    """Returns a more helpful error for a model or version that was not found.

    Args:
        error: The server's error.
        address: The address of the model.
        states: Version number to the name of its ``ModelVersionStatus.State``; empty if not known.

    Returns:
        ``UnavailableError`` if the version is still loading; ``NotServedError`` with the versions of the model; or ``error``
        itself if no versions are known.
    """
    asked = {address.version: states.get(address.version, "")} if address.version is not None else states
    if any(state in _LOADING for state in asked.values()) and "AVAILABLE" not in asked.values():
        return UnavailableError(f"{address}: still loading ({error})")
    if not states:
        return error
    there = listed(f"{version} ({state})" for version, state in sorted(states.items()))
    return NotServedError(f"{error}; it has the versions {there}")
