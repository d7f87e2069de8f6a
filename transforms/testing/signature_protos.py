"""Converts the signatures of a ``StubModel`` to TensorFlow's protobuf messages."""

from __future__ import annotations

from typing import Any

from transforms.clients.wire.tensorflow.messages import SignatureDefMap
from transforms.clients.wire.tensorflow.tensors import dtype_of
from transforms.testing.stub_model import StubModel
from transforms.types import TensorSpec


def signature_map(model: StubModel) -> Any:
    """Returns a model's signatures as a ``SignatureDefMap``. The tensor of the input or output NAME is called ``NAME:0``."""
    definitions = SignatureDefMap()
    for name, (signature, _) in model.signatures.items():
        definition = definitions.signature_def[name]
        definition.method_name = signature.method
        for specs, infos in ((signature.inputs, definition.inputs), (signature.outputs, definition.outputs)):
            for key, spec in specs.items():
                _fill_info(infos[key], key, spec)
        for key, spec in signature.inputs.items():
            if spec.has_default:
                definition.defaults[key].dtype = dtype_of(spec.dtype)
    return definitions


def _fill_info(info: Any, name: str, spec: TensorSpec) -> None:
    info.name, info.dtype = f"{name}:0", dtype_of(spec.dtype)
    info.tensor_shape.unknown_rank = spec.shape is None
    for size in spec.shape or ():
        info.tensor_shape.dim.add(size=size)
