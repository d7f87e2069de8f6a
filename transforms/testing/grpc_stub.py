"""``GrpcStub``: the base class of stub servers that speak gRPC."""

from __future__ import annotations

import abc
import contextlib
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from transforms.testing.faults import StubError
from transforms.testing.stub_server import StubServer, Tls

GARBAGE = b"\xff\xffthis is no protobuf message"

_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

Handler = Callable[[bytes, Any], Awaitable[bytes]]
"""Takes a serialized request and gRPC's context, and returns the serialized response. It may raise ``StubError``."""


class GrpcStub(StubServer):
    """A stub server that speaks gRPC. A protocol implements ``_handlers`` and ``uri``. See ``StubServer``."""

    _server: Any = None

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers(
            service_handlers({method: _with_status(handler) for method, handler in self._handlers().items()})
        )
        if self._tls is None:
            self._server.add_insecure_port(self.address)
        else:
            self._server.add_secure_port(self.address, _credentials(self._tls))
        await self._server.start()

    async def _stop(self) -> None:
        await self._server.stop(None)

    @abc.abstractmethod
    def _handlers(self) -> dict[str, Handler]:
        """Returns the handler of each method, by its full path such as ``/package.Service/Method``."""

    def _hang_up(self, context: Any) -> None:
        """Cuts the TCP connection of a call. gRPC has no function for it, so the socket is searched in the open files."""
        peer = context.peer()
        for fd in map(int, os.listdir("/dev/fd")):  # noqa: PTH208  # names are all that is needed
            with contextlib.suppress(OSError):  # some are closed meanwhile, or not connected
                if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                    continue
                with socket.socket(fileno=os.dup(fd)) as ours:
                    if ours.family == socket.AF_UNIX or ours.getsockname()[1] != self.port:
                        continue
                    if peer.endswith(f":{ours.getpeername()[1]}"):
                        ours.shutdown(socket.SHUT_RDWR)


def service_handlers(handlers: dict[str, Handler]) -> tuple[Any, ...]:
    """Returns gRPC's generic handlers for methods with serialized requests and responses.

    Args:
        handlers: The full path of a method to its handler.
    """
    services: dict[str, dict[str, Any]] = {}
    for path, handler in handlers.items():
        _, service, method = path.split("/")
        services.setdefault(service, {})[method] = grpc.unary_unary_rpc_method_handler(handler)
    return tuple(grpc.method_handlers_generic_handler(service, methods) for service, methods in services.items())


def _with_status(handler: Handler) -> Handler:
    async def answer(body: bytes, context: Any) -> bytes:
        try:
            return await handler(body, context)
        except StubError as error:
            trailers: tuple[tuple[str, str], ...] = ()
            if error.retry_after_s is not None:
                trailers = (("grpc-retry-pushback-ms", str(round(error.retry_after_s * 1000))),)
            await context.abort(getattr(grpc.StatusCode, error.code), error.message, trailers)
            raise AssertionError("abort raises") from error

    return answer


def _credentials(tls: Tls) -> Any:
    ca = tls.client_ca_file.read_bytes() if tls.client_ca_file else None
    identity = [(tls.key_file.read_bytes(), tls.cert_file.read_bytes())]
    return grpc.ssl_server_credentials(identity, root_certificates=ca, require_client_auth=ca is not None)
