"""``TensorFlowSession``: a SavedModel that is loaded into a TensorFlow session and runs on NumPy arrays.

It is loaded as TensorFlow Serving loads a model: TensorFlow picks the graph with the given tags, restores the variables,
feeds the assets and runs the init operation.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import weakref
from collections.abc import Mapping, Sequence
from ctypes import c_char_p, c_int64, c_void_p
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from transforms.clients.tf_runtime.library import TSTRING_BYTES, Buffer, Deallocator, Output, library
from transforms.clients.tf_runtime.serving_error import Code, ServingError
from transforms.clients.wire.tensorflow.tensors import varint

SERVE = "serve"
"""The tag of the graph for serving."""

DT_STRING = 7
DTYPES: Mapping[int, np.dtype] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    DT_STRING: np.dtype(object),
    8: np.dtype(np.complex64),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype(np.uint16),
    18: np.dtype(np.complex128),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
"""TensorFlow's DataType number to the NumPy dtype. Strings are arrays of dtype object with ``bytes`` elements."""

_MOST_MS = 2**31 - 1
_TIMEOUT_IN_MS = varint(2 << 3)  # the tag of RunOptions.timeout_in_ms: field 2, a varint

_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


class TensorFlowSession:
    """A loaded SavedModel. Several threads may call ``run``, which releases the GIL while the model runs.

    Args:
        path: A folder with a ``saved_model.pb``.
        tags: The tags of the graph to load; the graph must have exactly these.

    Attributes:
        meta_graph_def: The serialized ``tensorflow.MetaGraphDef``, which contains the signatures.

    Raises:
        ServingError: TensorFlow can't load the model; it has TensorFlow's code and message.
    """

    def __init__(self, path: Path, tags: Sequence[str] = (SERVE,)):
        self._lib = lib = library()
        self._graph = lib.TF_NewGraph()
        self._outputs: dict[str, Output] = {}
        names = (c_char_p * len(tags))(*(tag.encode() for tag in tags))
        options = lib.TF_NewSessionOptions()
        buffer = lib.TF_NewBuffer()
        status = lib.TF_NewStatus()
        try:
            self._session = lib.TF_LoadSessionFromSavedModel(
                options, None, str(path).encode(), names, len(tags), self._graph, buffer, status
            )
            _check(status)
            self.meta_graph_def = ctypes.string_at(buffer.contents.data, buffer.contents.length)
        finally:
            lib.TF_DeleteStatus(status)
            lib.TF_DeleteBuffer(buffer)
            lib.TF_DeleteSessionOptions(options)
        self._free = weakref.finalize(self, _free, lib, self._session, self._graph)
        self._free.atexit = False

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_s: float | None = None
    ) -> list[np.ndarray]:
        """Runs the graph once.

        Args:
            feeds: Tensor name, such as ``x:0``, to array.
            fetches: The names of the tensors to return.
            timeout_s: The time limit of the run in seconds; ``None`` for no limit.

        Returns:
            The fetched tensors, in the order of ``fetches``.

        Raises:
            ServingError: The error of TensorFlow with its code and message, such as INVALID_ARGUMENT for a wrong dtype, or
                DEADLINE_EXCEEDED after ``timeout_s``.
        """
        lib = self._lib
        inputs = (Output * len(feeds))(*(self._output(name) for name in feeds))
        outputs = (Output * len(fetches))(*(self._output(name) for name in fetches))
        values = (c_void_p * len(feeds))()
        results = (c_void_p * len(fetches))()
        options = _run_options(timeout_s)
        status = lib.TF_NewStatus()
        try:
            for i, array in enumerate(feeds.values()):
                values[i] = _to_tensor(array)
            counts = len(feeds), len(fetches)
            lib.TF_SessionRun(
                self._session, options, inputs, values, counts[0], outputs, results, counts[1], None, 0, None, status
            )
            _check(status)
            return [_from_tensor(result) for result in results if result]
        finally:
            for tensor in itertools.chain(values, results):
                if tensor:
                    lib.TF_DeleteTensor(tensor)
            lib.TF_DeleteStatus(status)

    def close(self) -> None:
        """Frees the session and its graph. No ``run`` may be in progress. A second call does nothing.

        A session that nobody has any more is freed by itself.
        """
        self._free()

    def _output(self, name: str) -> Output:
        found = self._outputs.get(name)
        if found is None:
            operation, _, index = name.partition(":")
            pointer = self._lib.TF_GraphOperationByName(self._graph, operation.encode())
            if not pointer:
                raise ServingError(Code.NOT_FOUND, f"the signature names the tensor {name}, which the graph does not have")
            found = self._outputs[name] = Output(pointer, int(index or 0))
        return found


def _free(lib: Any, session: int, graph: int) -> None:
    status = lib.TF_NewStatus()
    lib.TF_CloseSession(session, status)
    lib.TF_DeleteSession(session, status)
    lib.TF_DeleteStatus(status)
    lib.TF_DeleteGraph(graph)


def _run_options(timeout_s: float | None) -> Any:
    """Returns a pointer to a serialized ``tensorflow.RunOptions`` (config.proto) with only ``timeout_in_ms``."""
    if timeout_s is None:
        return None
    timeout_ms = max(1, min(round(timeout_s * 1000), _MOST_MS))
    encoded = _TIMEOUT_IN_MS + varint(timeout_ms)
    content = ctypes.create_string_buffer(encoded, len(encoded))
    buffer = Buffer(ctypes.cast(content, c_void_p), len(encoded), None)
    buffer.content = content  # keeps the bytes alive as long as the buffer that points to them
    return ctypes.byref(buffer)


def _check(status: int) -> None:
    lib = library()
    code = lib.TF_GetCode(status)
    if code:
        raise ServingError(Code(code), lib.TF_Message(status).decode("utf-8", "replace"))


def _to_tensor(array: np.ndarray) -> int:
    """Copies an array into a new ``TF_Tensor``."""
    lib = library()
    dims = (c_int64 * array.ndim)(*array.shape)
    if array.dtype.hasobject:
        return _to_string_tensor(array, dims)
    number = _NUMBERS.get(array.dtype)
    if number is None:
        raise ServingError(Code.UNIMPLEMENTED, f"no TensorFlow type for an array of {array.dtype}")
    array = np.asarray(array, order="C")  # not ascontiguousarray, which makes a scalar one-dimensional
    tensor: int = lib.TF_AllocateTensor(number, dims, array.ndim, array.nbytes)
    ctypes.memmove(lib.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
    return tensor


_string_buffers: dict[int, ctypes.Array[ctypes.c_char]] = {}
_string_keys = itertools.count(1)
_string_lock = threading.Lock()


@Deallocator
def _free_strings(data: int | None, length: int, key: int) -> None:
    """Frees the strings of a tensor. TensorFlow calls it; for a stateful model that can be long after the run."""
    lib = library()
    for address in range(data or 0, (data or 0) + length, TSTRING_BYTES):
        lib.TF_StringDealloc(address)
    with _string_lock:
        _string_buffers.pop(key, None)


def _to_string_tensor(array: np.ndarray, dims: ctypes.Array[c_int64]) -> int:
    lib = library()
    length = array.size * TSTRING_BYTES
    buffer = ctypes.create_string_buffer(max(length, 1))
    address = ctypes.addressof(buffer)
    for position, value in enumerate(array.ravel().tolist()):
        target = address + position * TSTRING_BYTES
        lib.TF_StringInit(target)
        lib.TF_StringCopy(target, value, len(value))
    with _string_lock:
        key = next(_string_keys)
        _string_buffers[key] = buffer
    tensor: int = lib.TF_NewTensor(DT_STRING, dims, array.ndim, address, length, _free_strings, key)
    return tensor


def _from_tensor(tensor: int) -> np.ndarray:
    """Copies a ``TF_Tensor`` into a new array."""
    lib = library()
    number = lib.TF_TensorType(tensor)
    shape = tuple(lib.TF_Dim(tensor, i) for i in range(lib.TF_NumDims(tensor)))
    dtype = DTYPES.get(number)
    if dtype is None:
        raise ServingError(Code.UNIMPLEMENTED, f"outputs of TensorFlow's DataType {number} are not supported")
    data = lib.TF_TensorData(tensor)
    if number == DT_STRING:
        array = np.empty(shape, dtype=object)
        flat = array.reshape(-1)
        for i in range(flat.size):
            address = data + i * TSTRING_BYTES
            flat[i] = ctypes.string_at(lib.TF_StringGetDataPointer(address), lib.TF_StringGetSize(address))
        return array
    size = lib.TF_TensorByteSize(tensor)
    return np.frombuffer(ctypes.string_at(data, size), dtype).reshape(shape)
