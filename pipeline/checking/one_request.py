"""A preview of one request: protocol, method, address, rows, tensors and bytes. Nothing is sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from pipeline.checking.contract import ask_timeout_s, client_options
from pipeline.cli.config import Config
from transforms.clients import open_client
from transforms.clients.base import RequestPreview
from transforms.clients.registry import mistakes_named, read_metadata
from transforms.errors import ModelError
from transforms.exact_json import dumps_exactly
from transforms.predict.batching import Batcher, PendingChunk, batch_size, request_inputs
from transforms.predict.request_loop import run_here
from transforms.types import DecodedChunk, ModelMetadata, Signature, TensorSpec


@dataclasses.dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a request.

    Attributes:
        name: The input's name.
        spec: Its dtype and its shape in this request; -1 where only a record can tell.
        payload_bytes: Bytes of its values; ``None`` where only a record can tell.
    """

    name: str
    spec: TensorSpec
    payload_bytes: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class OneRequest:
    """A request as it would be sent.

    Attributes:
        rows: Its rows.
        most: Rows of a request at most.
        why_most: What limits them.
        sampled: Whether it was made of records that were read.
        tensors: Its tensors.
        preview: Protocol, method, address and size; ``None`` where the protocol does not tell, or a tensor's size is open.
    """

    rows: int
    most: int
    why_most: str
    sampled: bool
    tensors: tuple[Tensor, ...]
    preview: RequestPreview | None


def one_request(config: Config, model: ModelMetadata, decoded: DecodedChunk | None) -> OneRequest:
    """Returns the first request made of the records read. If no record fits, one made from the signature."""
    most, why = _limit(config, model)
    if decoded is not None and decoded.segments:
        inputs, rows = first_request(config, model, decoded)
        tensors = tuple(_tensor(model.signature, name, array) for name, array in inputs.items())
        return OneRequest(rows, most, why, True, tensors, _preview(config, inputs, rows))
    zeros = _zeros(model.signature, most)
    preview = _preview(config, zeros, most) if zeros else None
    return OneRequest(most, most, why, False, _declared(model.signature, most), preview)


def first_request(config: Config, model: ModelMetadata, decoded: DecodedChunk) -> tuple[Mapping[str, np.ndarray], int]:
    """Returns the inputs of the first request made of the records read, of which one fits at least, and its rows."""
    pending = PendingChunk.of(decoded)
    batcher = Batcher(_limit(config, model)[0])
    full = [batch for segment in decoded.segments for batch in batcher.add(pending, segment)]
    batch = (full or batcher.flush())[0]
    return request_inputs(model.signature, batch.inputs(), batch.rows)


def _limit(config: Config, model: ModelMetadata) -> tuple[int, str]:
    most = batch_size(model.signature, config.batch_max_size, model.max_rows)
    if model.signature.has_scalar:
        return most, "an input has no batch dimension"
    if model.signature.rows_per_request is not None:
        return most, "the model's batch dimension is fixed"
    if model.max_rows is not None and model.max_rows < config.batch_max_size:
        return most, "the server takes no more"
    return most, "--batch_max_size"


def _preview(config: Config, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview | None:
    if config.model_in_worker:
        return None  # nothing is sent, and to ask again would be to load it again

    async def ask() -> RequestPreview | None:
        async with open_client(config.model, client_options(config)) as client:
            await read_metadata(config.model, client, ask_timeout_s(config))
            with mistakes_named(config.model, "preview"):
                return client.preview(inputs, rows)

    try:
        return run_here(ask())
    except ModelError:
        return None  # it was there a moment ago, and what does not fit is told elsewhere


def _tensor(signature: Signature, name: str, array: np.ndarray) -> Tensor:
    spec = signature.inputs.get(name)
    dtype = "JSON" if not signature.known else "tf.Example" if signature.takes_examples or spec is None else spec.dtype
    if array.dtype == object:
        items = array.ravel().tolist()
        size = sum(len(item) if isinstance(item, bytes) else len(dumps_exactly(item)) for item in items)
    else:
        size = array.size * (2 if dtype == "bfloat16" else array.itemsize)
    return Tensor(name, TensorSpec(dtype, array.shape), size)


def _declared(signature: Signature, rows: int) -> tuple[Tensor, ...]:
    found = []
    for name, spec in signature.inputs.items():
        shape = None if spec.shape is None else (rows, *spec.shape[1:]) if spec.shape else ()
        open_size = shape is None or -1 in shape or spec.dtype == "string"
        size = None if open_size else int(np.prod(shape or (), dtype=np.int64)) * _itemsize(spec.dtype)
        found.append(Tensor(name, TensorSpec("tf.Example" if signature.takes_examples else spec.dtype, shape), size))
    return tuple(found)


def _zeros(signature: Signature, rows: int) -> dict[str, np.ndarray] | None:
    """Returns zeros of the shapes in the signature; ``None`` if a shape is not fixed."""
    tensors = _declared(signature, rows)
    if not tensors or any(tensor.payload_bytes is None for tensor in tensors):
        return None
    dtypes = {tensor.name: "float32" if tensor.spec.dtype == "bfloat16" else tensor.spec.dtype for tensor in tensors}
    return {tensor.name: np.zeros(tensor.spec.shape or (), dtypes[tensor.name]) for tensor in tensors}


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
