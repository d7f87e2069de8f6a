"""``GrpcChannel``: calls with serialized messages, for all gRPC clients. It translates gRPC's errors.

A name of several addresses is a server of several replicas: there is a connection to each, and requests take turns. Replicas
that come and go are followed (``addresses.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from transforms.clients.base import ClientOptions
from transforms.clients.wire.addresses import LOOK_S, AddressWatch, Resolve, is_address, resolve
from transforms.clients.wire.proxies import proxy_of
from transforms.clients.wire.rpc_status import RetryInfo, RpcStatus
from transforms.clients.wire.stand_ins import refused_over_grpc
from transforms.errors import ConfigError, MalformedAnswerError, ModelError, UnavailableError
from transforms.request_headers import grpc_metadata
from transforms.tls import with_tls_cure

_CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.max_send_message_length", -1),
    # A connection to each address of the name, in turns. gRPC's default, pick_first, gives one replica all requests.
    ("grpc.lb_policy_name", "round_robin"),
    # Only what no server has taken is sent again by gRPC itself: a request that meets the end of a connection (GOAWAY: a
    # replica stops, or its connections have a greatest age). All other retries are the caller's: no policy for them is set.
    # Requests above this size are not kept for it: their failure is the caller's to retry.
    ("grpc.enable_retries", 1),
    ("grpc.per_rpc_retry_buffer_size", 8 << 20),
    # Reconnecting must be as quick as the caller's retries; gRPC's backoff grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # The time-out of one attempt to connect, TLS handshake included, in spite of its name. A far or busy server needs some
    # time.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A server that vanished without closing the connection: the next request's bytes are not acknowledged, and after this
    # time-out (it is TCP_USER_TIMEOUT, too) the connection is given up. Pings only find it without requests being sent; they
    # must be as rare as servers allow that set nothing: gRPC's C core, Go and Java all close a connection as abuse
    # (ENHANCE_YOUR_CALM, "too_many_pings") after a third ping within less than five minutes each, if nothing else was sent.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # One connection per client. Without it, all clients of an address in a process share one connection and its limits.
    ("grpc.use_local_subchannel_pool", 1),
)

_MOST_INT = (1 << 31) - 1  # channel options are C's int

Translate = Callable[[str, str, str, float | None], ModelError]
"""Makes the error for a status: ``(where, name of the code, the server's details, retry_after_s)`` to a ``ModelError``."""


RETIRE_S = 10.0
"""Seconds that a replaced connection stays after its last call's time-out: what gRPC ends itself says more than a close."""


class GrpcChannel:
    """Connections to one server and its replicas, opened with the first call.

    Args:
        target: ``HOST:PORT``.
        secure: Whether to use TLS.
        options: TLS files, headers (sent as gRPC metadata) and channel options. They override the defaults: requests of any
            size, keepalive, quick reconnecting.
        where: The model and its address, for error messages.
        translate: Makes the error for a status.
        resolve: Looks up the addresses of a name.
        look_s: Seconds between two looks for new addresses.

    Raises:
        ConfigError: A header can't be sent over gRPC.
    """

    def __init__(
        self,
        target: str,
        secure: bool,
        options: ClientOptions,
        where: str,
        translate: Translate,
        resolve: Resolve = resolve,
        look_s: float = LOOK_S,
    ):
        self._target, self._secure, self._options = target, secure, options
        self._headers = grpc_metadata(options.headers) or None
        self._where = where
        self._translate = translate
        self._channel: Any = None
        self._closed = False
        self._calls: dict[str, Any] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._longest_s = 0.0
        host, port = _host_and_port(target)
        self._proxy = proxy_of(host, secure, grpc=True)
        watched = not is_address(host) and self._proxy is None  # a proxy resolves the name itself
        self._watch = AddressWatch(host, port, resolve, look_s) if watched else None

    async def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        """Sends one request and returns the serialized answer.

        Args:
            method: ``/package.Service/Method``.
            request: The serialized message.
            timeout_s: The time-out in seconds.

        Raises:
            ModelError: The call failed; the error is that of ``translate``.
            MalformedAnswerError: The server says OK, and sends no message.
            UnavailableError: The client, or its connection, was closed.
            ConfigError: A TLS file can't be read.
        """
        if self._watch is not None and not self._closed and self._watch.grown():
            self._replace()
        call = self._calls.get(method) or self._open_call(method)
        self._longest_s = max(self._longest_s, timeout_s)
        try:
            body: bytes | None = await call(request, timeout=timeout_s, metadata=self._headers)
        except grpc.aio.AioRpcError as error:
            # Not "from error": its text may repeat the request, and a traceback shows it.
            raise self._translated(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                # gRPC cancels the requests in flight when a channel closes. The caller itself was not cancelled.
                what = "client" if self._closed else "connection"
                raise UnavailableError(f"{self._where}: the {what} was closed") from None
            raise
        if body is None:  # what gRPC returns for a status of OK that no message came with, or not a whole one
            raise MalformedAnswerError(f"{self._where}: the status is OK, but no message came")
        return body

    def _translated(self, error: grpc.aio.AioRpcError) -> ModelError:
        details = details_of(error, self._secure, self._options)
        if self._proxy is not None and error.code() is grpc.StatusCode.UNAVAILABLE:
            if (refused := refused_over_grpc(self._proxy, self._where, details)) is not None:
                return refused
            details = f"{details}, through {self._proxy}"
        return self._translate(self._where, error.code().name, details, retry_after_s(error))

    def _open_call(self, method: str) -> Any:
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        if self._channel is None:
            self._channel = self._connect()
        self._calls[method] = self._channel.unary_unary(method)  # without serializers: bytes in, bytes out
        return self._calls[method]

    def _connect(self) -> Any:
        return open_channel(self._target, self._secure, self._options)

    def _replace(self) -> None:
        """Resolves the name anew by another channel; requests in flight end on the one before."""
        before, self._channel = self._channel, None
        self._calls.clear()
        if before is not None:
            retired = asyncio.create_task(self._retire(before))
            self._retired.add(retired)
            retired.add_done_callback(self._retired.discard)

    async def _retire(self, channel: Any) -> None:
        # Not close(grace): while it waits, a second close() that cancels the calls does nothing.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._longest_s + RETIRE_S):  # its calls have ended then
                await self._closing.wait()
        await channel.close()

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        self._closed = True
        self._calls.clear()
        if self._watch is not None:
            await self._watch.close()
        self._closing.set()
        await asyncio.gather(*self._retired)
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


Connect: TypeAlias = Callable[..., GrpcChannel]
"""Makes the connections of a client, from what ``GrpcChannel`` takes."""


def open_channel(target: str, secure: bool, options: ClientOptions, more: Sequence[tuple[str, str | int]] = ()) -> Any:
    """Returns a ``grpc.aio.Channel`` for one client, which connects with the first call, through a proxy if there is one.

    Args:
        target: ``HOST:PORT``.
        secure: Whether to use TLS.
        options: TLS files, the largest answer, and channel options, which override all defaults.
        more: Further default channel options, of the protocol.

    Raises:
        ConfigError: A TLS file can't be read, or the environment names a proxy that can't be used.
    """
    proxy = proxy_of(_host_and_port(target)[0], secure, grpc=True)
    more = (*more, ("grpc.enable_http_proxy", 0) if proxy is None else ("grpc.http_proxy", proxy.url))
    # gRPC uses the first of two options with one name, so a default is added only if the user has not set the option.
    given = {name for name, _ in options.channel_options}
    limit = ("grpc.max_receive_message_length", min(options.max_answer_bytes, _MOST_INT))  # inflated, too
    channel_options = [*options.channel_options, *(o for o in (*more, *_CHANNEL_OPTIONS, limit) if o[0] not in given)]
    if secure:
        return grpc.aio.secure_channel(target, _credentials(options), channel_options)
    return grpc.aio.insecure_channel(target, channel_options)


def _host_and_port(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


def _credentials(options: ClientOptions) -> Any:
    contents: list[bytes | None] = []
    for name in ("tls_ca_file", "tls_key_file", "tls_cert_file"):
        path = getattr(options, name)
        try:
            contents.append(Path(path).read_bytes() if path else None)
        except OSError as error:
            raise ConfigError([f"{name}={path}: can't be read: {error.strerror}"]) from error
    return grpc.ssl_channel_credentials(*contents)


def details_of(error: grpc.aio.AioRpcError, secure: bool, options: ClientOptions) -> str:
    """Returns the details of an error; where TLS failed, with the cure.

    Args:
        error: The error.
        secure: Whether the connection uses TLS.
        options: Those that it was opened with.
    """
    details = error.details() or ""
    if not secure or error.code() is not grpc.StatusCode.UNAVAILABLE:
        return details
    return with_tls_cure(details, shows_identity=options.tls_cert_file is not None)


def retry_after_s(error: grpc.aio.AioRpcError) -> float | None:
    """Returns the seconds that the server asks to wait (gRFC A6's pushback, or google.rpc.RetryInfo); ``None`` for none."""
    trailers = dict(error.trailing_metadata() or ())
    try:
        if "grpc-retry-pushback-ms" in trailers:
            pushback_ms = int(trailers["grpc-retry-pushback-ms"])
            return pushback_ms / 1000 if pushback_ms >= 0 else None
        for detail in RpcStatus.FromString(trailers.get("grpc-status-details-bin", b"")).details:
            if detail.type_url.endswith("/google.rpc.RetryInfo"):
                delay = RetryInfo.FromString(detail.value).retry_delay
                return max(0.0, float(delay.seconds + delay.nanos / 1e9))
    except (ValueError, TypeError, ArithmeticError, DecodeError):
        return None  # a wait time that can't be read is ignored
    return None
