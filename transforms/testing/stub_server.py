"""``StubServer``: the base class of model servers for tests. A stub has a port, a thread and an asyncio loop of its own."""

from __future__ import annotations

import abc
import asyncio
import concurrent.futures
import dataclasses
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from transforms.testing.faults import Fault, Faults, StubError, spoil
from transforms.testing.stub_model import Function, StubModel
from transforms.types import Signature

T = TypeVar("T")

HELD_LOOK_S = 0.005
"""Seconds between two checks whether a held answer was released."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """The PEM files of a TLS server.

    Attributes:
        cert_file: The server's certificate.
        key_file: The private key of the certificate.
        client_ca_file: The authority that signs the certificates of clients; ``None`` if clients need no certificate.
    """

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


class StubServer(abc.ABC):
    """A model server to test against. Use it as a context manager.

    Args:
        model: The model to serve; y = 0.5 * x + 2 if ``None``.
        port: The port; 0 takes a free one.
        tls: The server's identity for TLS; ``None`` for no TLS.

    Attributes:
        model: The served model; may be changed while the server runs.
        faults: The programmed faults and the counters.
        outputs_asked: The outputs that the last request named; empty if it named none.
        describes: Whether the server answers calls for metadata. If not, they are those of a server that has no such call.
    """

    def __init__(self, model: StubModel | None = None, port: int = 0, tls: Tls | None = None):
        self._tls = tls
        self.model = model or StubModel()
        self.faults = Faults()
        # This socket is bound but never listens. It reserves the port while the server is down; connections are refused
        # then.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", port))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)
        self._up = self._closed = False
        self._submitting = threading.Lock()
        self.outputs_asked: tuple[str, ...] = ()
        self.describes = True

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._reserved.getsockname()[1]
        return port

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"127.0.0.1:{self.port}"

    @abc.abstractmethod
    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """Returns the URI of the model on this server.

        Args:
            model: The model's name; ``None`` for the name of the served model.
            version: The version to ask for, if any.
            label: The version label to ask for, if any.
            signature: The signature to ask for, if any.
        """

    @abc.abstractmethod
    async def _start(self) -> None: ...

    @abc.abstractmethod
    async def _stop(self) -> None: ...

    def up(self) -> None:
        """Starts to serve. The port is always the same."""
        if not self._up:
            self._run(self._start())
            self._up = True

    def down(self) -> None:
        """Stops to serve at once: connections are cut, and new ones are refused."""
        if self._up:
            self._up = False
            self._run(self._stop())

    def close(self) -> None:
        """Stops to serve, ends all that is still in progress, and frees the port. A second call does nothing."""
        self.down()
        with self._submitting:
            self._closed = True
        if self._thread.is_alive():
            self._run(end_all_others())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
        self._reserved.close()

    def _must_describe(self) -> None:
        """Called where a call for metadata is answered.

        Raises:
            StubError: UNIMPLEMENTED, over HTTP 404: the server has no such call.
        """
        if not self.describes:
            raise StubError("UNIMPLEMENTED", "Not Found", http_status=404)

    def _asked_for(self, names: Iterable[str], outputs: Mapping[str, T], signature: Signature) -> dict[str, T]:
        """Returns the outputs that a request asks for by name, if it does.

        Raises:
            StubError: INVALID_ARGUMENT, for a name that the signature does not have.
        """
        self.outputs_asked = tuple(names)
        for name in self.outputs_asked:
            if name not in signature.outputs:
                raise StubError("INVALID_ARGUMENT", f"output tensor alias not found in signature: {name}")
        return {name: outputs[name] for name in outputs if name in self.outputs_asked or not self.outputs_asked}

    def _submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> concurrent.futures.Future[T]:
        """Runs what ``work`` returns in the stub's loop. Any thread may call it, at any time.

        Returns:
            A future of its result; a cancelled one if the stub is closed, and ``work`` is not called then.
        """
        with self._submitting:  # a loop that stops would drop what comes now
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(work(), self._loop)
        never: concurrent.futures.Future[T] = concurrent.futures.Future()
        never.cancel()
        return never

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def _respond(
        self,
        function: Function,
        inputs: Mapping[str, np.ndarray],
        rows: int,
        headers: Iterable[tuple[str, str]],
        hang_up: Callable[[], None],
    ) -> tuple[dict[str, Any], Fault | None]:
        """Runs the model on one request with the programmed faults.

        Raises:
            StubError: The request is answered with an error status.
        """
        rows_answered, cancelled = 0, False
        self.faults.last_headers = tuple((name.lower(), value) for name, value in headers)
        try:
            fault = self.faults.arrived(inputs, rows)
            if (holding := self.faults.hold()) is not None:
                await self._held(holding)
            if self.faults.latency_s:
                await asyncio.sleep(self.faults.latency_s)
            if fault is not None and fault.kind == "hang_up":
                hang_up()
            if fault is not None and fault.kind in ("hang", "hang_up"):
                await asyncio.Event().wait()
            outputs = spoil(fault, dict(function(dict(inputs))))
            rows_answered = rows
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            self.faults.left(rows_answered, cancelled)
        return outputs, fault

    async def _held(self, holding: int) -> None:
        try:
            while self.faults.holds(holding):  # noqa: ASYNC110  # it is released in another thread, which knows no loop
                await asyncio.sleep(HELD_LOOK_S)
        finally:
            self.faults.go_on()


async def end_all_others() -> None:
    """Cancels the tasks of the running loop until there are none: whatever ends takes its time, and may begin others."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.sleep(0)  # each has begun after it: one that never begins doesn't close the connection it was given
        for task in others:
            task.cancel()
        await asyncio.wait(others)
