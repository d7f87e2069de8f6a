"""``StubModel``: the model of a stub server, with versions, labels and signatures. Its functions are Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from transforms.testing.faults import StubError
from transforms.types import METHOD_PREDICT, Signature, TensorSpec

Function = Callable[[dict[str, np.ndarray]], Mapping[str, Any]]
"""The function of a signature: takes the inputs by name and returns the outputs by name.

For Classify and Regress it takes ``{"examples": serialized}``. Classify returns ``{"classes": …, "scores": …}`` with a list
for each row, and Regress returns ``{"value": array}``.
"""


def half_plus_two(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns y = 0.5 * x + 2, as TensorFlow Serving's test model does."""
    return {"y": np.float32(0.5) * inputs["x"] + np.float32(2)}


def row_sum(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns y [n], the sum of each row of x [n, m], for benchmarks."""
    return {"y": inputs["x"].sum(axis=1, dtype=np.float32)}


def _half_plus_two() -> dict[str, tuple[Signature, Function]]:
    specs = {"x": TensorSpec("float32", (-1, -1))}, {"y": TensorSpec("float32", (-1, -1))}
    return {"serving_default": (Signature("serving_default", METHOD_PREDICT, *specs), half_plus_two)}


@dataclasses.dataclass
class StubModel:
    """A model. Its fields may be changed while a stub serves it.

    Attributes:
        name: The model's name.
        signatures: Signature name to the signature and its function.
        versions: Version to the name of its ``ModelVersionStatus.State``. The highest version in the state AVAILABLE answers
            requests that name no version.
        labels: Version label to version.
    """

    name: str = "model"
    signatures: dict[str, tuple[Signature, Function]] = dataclasses.field(default_factory=_half_plus_two)
    versions: dict[int, str] = dataclasses.field(default_factory=lambda: {1: "AVAILABLE"})
    labels: dict[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        function: Function,
        method: str = METHOD_PREDICT,
        signature: str = "serving_default",
    ) -> StubModel:
        """Returns a model with one signature.

        Args:
            inputs: Input name to spec.
            outputs: Output name to spec.
            function: The function of the signature.
            method: The method name of the signature.
            signature: The name of the signature.
        """
        return cls(signatures={signature: (Signature(signature, method, inputs, outputs), function)})

    def flip(self, version: int) -> None:
        """Replaces all versions by ``version``, which is available at once."""
        self.versions = {version: "AVAILABLE"}

    def version(self, name: str, version: int | None, label: str | None) -> int:
        """Returns the version that answers a request.

        Args:
            name: The model's name in the request.
            version: The version in the request, if any.
            label: The version label in the request, if any.

        Raises:
            StubError: NOT_FOUND for an unknown name or version, INVALID_ARGUMENT for an unknown label.
        """
        if name != self.name:
            raise StubError("NOT_FOUND", f"Servable not found for request: Latest({name})")
        if label is not None:
            if label not in self.labels:
                raise StubError("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
            version = self.labels[label]
        available = [number for number, state in self.versions.items() if state == "AVAILABLE"]
        if version is None and available:
            return max(available)
        if version not in available:
            wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise StubError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return version

    def signature(self, name: str, over_rest: bool = False, method: str = METHOD_PREDICT) -> tuple[Signature, Function]:
        """Returns a signature and its function.

        Args:
            name: The signature's name; empty for ``serving_default``.
            over_rest: Whether the request came over REST, where TensorFlow Serving has other codes and messages.
            method: The method that is called.

        Raises:
            StubError: FAILED_PRECONDITION for an unknown signature of Predict over gRPC, else INVALID_ARGUMENT.
        """
        name = name or "serving_default"
        if name not in self.signatures:
            if over_rest:
                raise StubError("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def')
            if method == METHOD_PREDICT:
                raise StubError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
            raise StubError("INVALID_ARGUMENT", f"No signature was found with the name: {name}")
        signature, function = self.signatures[name]
        if method != METHOD_PREDICT and signature.method != method:
            kind = method.rpartition("/")[2]
            raise StubError(
                "INVALID_ARGUMENT", f"Expected {kind} signature method_name to be {method}. Was: {signature.method}"
            )
        return signature, function


def summing_model(name: str, width: int = -1) -> StubModel:
    """Returns the model of the benchmarks: ``row_sum`` of x [n, ``width``]."""
    x, y = {"x": TensorSpec("float32", (-1, width))}, {"y": TensorSpec("float32", (-1,))}
    return dataclasses.replace(StubModel.of(x, y, row_sum), name=name)


def check_inputs(signature: Signature, inputs: Mapping[str, np.ndarray], dtype_of: Callable[[np.ndarray], str]) -> None:
    """Checks the names and dtypes of inputs, as TensorFlow Serving does over gRPC.

    Args:
        signature: The signature that is called.
        inputs: Input name to array.
        dtype_of: Returns the dtype name of an array, as in ``TensorSpec``.

    Raises:
        StubError: INVALID_ARGUMENT for missing or extra inputs and for another dtype, with TensorFlow Serving's message.
    """
    missing = {name for name, spec in signature.inputs.items() if not spec.has_default} - set(inputs)
    extra = set(inputs) - set(signature.inputs)
    if missing or extra:
        sizes = f"{len(inputs)} != {len(signature.inputs)}"
        names = f"Sent extra: {{{','.join(sorted(extra))}}}. Missing but required: {{{','.join(sorted(missing))}}}."
        raise StubError("INVALID_ARGUMENT", f"input size does not match signature: {sizes} {names}")
    for name, array in inputs.items():
        if dtype_of(array) != signature.inputs[name].dtype:
            raise StubError("INVALID_ARGUMENT", f"input {name}: {dtype_of(array)} is not {signature.inputs[name].dtype}")
