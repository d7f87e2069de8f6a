"""TensorFlow's C library: found in the installed ``tensorflow`` package, and its functions declared for ctypes.

``import tensorflow`` takes 7 to 10 s, most of it for Python modules that serving does not need. The C library alone loads in
0.4 s. Its loader (``TF_LoadSessionFromSavedModel``) is the one of TensorFlow Serving, so it also loads TF1 models, which
``tf.saved_model.load`` refuses. All functions belong to TensorFlow's public, stable C API (``tensorflow/c/c_api.h``,
``tf_tensor.h``, ``tf_tstring.h``).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

from transforms.errors import ConfigError


class Output(ctypes.Structure):
    """``TF_Output``: one output of one operation of a graph."""

    _fields_ = (("oper", c_void_p), ("index", c_int))


class Buffer(ctypes.Structure):
    """``TF_Buffer``: a pointer to bytes, and their number."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("data_deallocator", c_void_p))


Deallocator = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)
"""The type of the callback of ``TF_NewTensor``. The library calls it, in any thread, when the tensor is no longer used."""

_FUNCTIONS = {
    "TF_Version": (c_char_p, []),
    "TF_NewStatus": (c_void_p, []),
    "TF_DeleteStatus": (None, [c_void_p]),
    "TF_GetCode": (c_int, [c_void_p]),
    "TF_Message": (c_char_p, [c_void_p]),
    "TF_NewBuffer": (POINTER(Buffer), []),
    "TF_DeleteBuffer": (None, [POINTER(Buffer)]),
    "TF_NewGraph": (c_void_p, []),
    "TF_DeleteGraph": (None, [c_void_p]),
    "TF_GraphOperationByName": (c_void_p, [c_void_p, c_char_p]),
    "TF_NewSessionOptions": (c_void_p, []),
    "TF_DeleteSessionOptions": (None, [c_void_p]),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        [c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(Buffer), c_void_p],
    ),
    "TF_CloseSession": (None, [c_void_p, c_void_p]),
    "TF_DeleteSession": (None, [c_void_p, c_void_p]),
    "TF_SessionRun": (
        None,
        [c_void_p, c_void_p]
        + [POINTER(Output), POINTER(c_void_p), c_int] * 2
        + [POINTER(c_void_p), c_int, c_void_p, c_void_p],
    ),
    "TF_NewTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_void_p, c_size_t, Deallocator, c_void_p]),
    "TF_AllocateTensor": (c_void_p, [c_int, POINTER(c_int64), c_int, c_size_t]),
    "TF_DeleteTensor": (None, [c_void_p]),
    "TF_TensorType": (c_int, [c_void_p]),
    "TF_NumDims": (c_int, [c_void_p]),
    "TF_Dim": (c_int64, [c_void_p, c_int]),
    "TF_TensorByteSize": (c_size_t, [c_void_p]),
    "TF_TensorData": (c_void_p, [c_void_p]),
    "TF_StringInit": (None, [c_void_p]),
    "TF_StringCopy": (None, [c_void_p, c_char_p, c_size_t]),
    "TF_StringDealloc": (None, [c_void_p]),
    "TF_StringGetDataPointer": (c_void_p, [c_void_p]),
    "TF_StringGetSize": (c_size_t, [c_void_p]),
}

TESTED = ((2, 17), (2, 21))
"""The oldest and the newest TensorFlow version that the tests ran with."""

INSTALL = "pip install 'kafka-model-scoring[embedded]'"
"""The command that installs TensorFlow."""

TSTRING_BYTES = 24
"""``sizeof(TF_TString)``."""


@functools.cache
def library() -> ctypes.CDLL:
    """Returns the C library. The first call in a process loads it, which takes 0.4 s.

    Raises:
        ImportError: TensorFlow is not installed, or its package has no C library with one of the expected file names.
        ConfigError: The binary interface of the installed version may differ from the declarations.
    """
    spec = importlib.util.find_spec("tensorflow")  # finds the folder; does not import the package
    if spec is None or not spec.submodule_search_locations:
        message = f"a SavedModel is run by TensorFlow, which is not installed here: {INSTALL}"
        raise ModuleNotFoundError(message, name="tensorflow")
    folder = Path(spec.submodule_search_locations[0])
    candidates = sorted([*folder.glob("libtensorflow_cc.so.*"), *folder.glob("libtensorflow_cc.*.dylib")])
    if not candidates:
        raise ImportError(f"{folder} has no libtensorflow_cc; there is one in TensorFlow's wheels for Linux and macOS")
    return bind(ctypes.CDLL(str(candidates[0])))


def bind(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """Declares the functions of the C library and checks its version. A wrong declaration would crash the process.

    TensorFlow keeps its C API compatible within a major version, so newer minor versions than the tested ones are accepted.
    The layout of ``TF_TString`` is checked by writing and reading one, because this project allocates it itself.

    Args:
        loaded: The library as ctypes loaded it.

    Returns:
        The same library.

    Raises:
        ConfigError: The version is not supported, a function is missing, or strings have another layout.
    """
    try:
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(loaded, name)
            function.restype = result
            function.argtypes = arguments
    except AttributeError as error:
        raise _untested(_version(loaded), f"has no {name}") from error
    version = _version(loaded)
    number = re.match(r"(\d+)\.(\d+)\.", version)
    if not number or not TESTED[0] <= (int(number[1]), int(number[2])) < (TESTED[1][0] + 1, 0):
        raise _untested(version, "may have another binary interface")
    if not _reads_strings(loaded):
        raise _untested(version, "has another layout of strings")
    return loaded


def _version(loaded: ctypes.CDLL) -> str:
    try:
        function = loaded.TF_Version
    except AttributeError:
        return "unknown"
    function.restype = c_char_p
    return (function() or b"unknown").decode(errors="replace")


def _reads_strings(loaded: ctypes.CDLL) -> bool:
    """Whether a short string (kept inside of ``TF_TString``) and a long one come back as they were."""
    for text in (b"inside", b"outside" * 10):
        room = ctypes.create_string_buffer(TSTRING_BYTES * 2)  # the second half must stay as it is
        loaded.TF_StringInit(room)
        loaded.TF_StringCopy(room, text, len(text))
        read = ctypes.string_at(loaded.TF_StringGetDataPointer(room), loaded.TF_StringGetSize(room))
        loaded.TF_StringDealloc(room)
        if read != text or any(room.raw[TSTRING_BYTES:]):
            return False
    return True


def _untested(version: str, problem: str) -> ConfigError:
    oldest, newest = (".".join(map(str, tested)) for tested in TESTED)
    cure = f"pip install 'tensorflow>={oldest},<{TESTED[1][0] + 1}'"
    return ConfigError([f"TensorFlow {version} {problem}; tested with its C library are {oldest} to {newest}: {cure}"])
