"""The embedded model server for tests, one process for all who share it.

Usage::

    with model_server({"digits": MODEL_DIR}) as served:
        client = open_client(f"grpc://127.0.0.1:{served.grpc_port}/digits")
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.embedded.model_server import EmbeddedModelServer

TESTDATA = Path(__file__).parents[3].parent / "shared" / "testdata" / "tensorflow_serving"
"""TensorFlow Serving's own test models; they are not part of the project."""

KINDS_DIR = Path(__file__).parent / "models" / "kinds"
"""A model with a signature for each dtype, for ragged rows, refused rows, short answers …; see make_models.py."""

DTYPES = (
    *("half", "bfloat16", "float32", "float64", "complex64", "complex128", "bool", "string"),
    *("int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)
"""TensorFlow's names of the dtypes that tensors can have; kinds has a signature ``echo_…`` for each."""

needs_testdata = pytest.mark.skipif(not TESTDATA.is_dir(), reason=f"TensorFlow Serving's test models are not at {TESTDATA}")


@dataclasses.dataclass(frozen=True)
class Served:
    """Where a model server answers."""

    grpc_port: int
    rest_port: int
    pid: int

    def rest(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, bytes]:
        """Sends a REST request (a body that is not bytes as JSON); returns status and body whatever the status."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@contextlib.contextmanager
def model_server(models: Mapping[str, Path | str] | None = None, **options: Any) -> Iterator[Served]:
    """Runs the embedded model server; arguments as ``EmbeddedModelServer``."""
    with EmbeddedModelServer(models, **options) as server:
        grpc_port, rest_port = server.wait_ready(300)
        assert server.pid is not None
        yield Served(grpc_port, rest_port, server.pid)
