"""The little of HTTP/2 and HPACK that a server needs to send what no library would send (RFC 9113, RFC 7541)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE_BYTES = 24
MOST_PAYLOAD = 16_384

Pairs = Iterable[tuple[str, bytes]]
Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""Answers a request, whose stream has that number."""

GRPC_HEAD: list[tuple[str, bytes]] = [(":status", b"200"), ("content-type", b"application/grpc")]
OK: list[tuple[str, bytes]] = [("grpc-status", b"0")]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _length(number: int) -> bytes:
    """An integer of HPACK with a prefix of seven bits."""
    if number < 127:
        return bytes([number])
    encoded, number = bytearray([127]), number - 127
    while number >= 128:
        encoded.append(number % 128 + 128)
        number //= 128
    encoded.append(number)
    return bytes(encoded)


def headers(stream: int, pairs: Pairs, end: bool = False) -> bytes:
    """A list of headers, as literals that are not indexed; in as many frames as it takes."""
    block = b"".join(b"\0" + _length(len(name)) + name.encode() + _length(len(value)) + value for name, value in pairs)
    pieces = [block[at : at + MOST_PAYLOAD] for at in range(0, len(block), MOST_PAYLOAD)] or [b""]
    frames = []
    for at, piece in enumerate(pieces):
        flags = (END_HEADERS if at == len(pieces) - 1 else 0) | (END_STREAM if end and at == 0 else 0)
        frames.append(frame(CONTINUATION if at else HEADERS, flags, stream, piece))
    return b"".join(frames)


def message(stream: int, content: bytes, length: int | None = None, compressed: int = 0) -> bytes:
    """A gRPC message in DATA frames."""
    content = struct.pack(">BI", compressed, len(content) if length is None else length) + content
    return b"".join(frame(DATA, 0, stream, content[at : at + MOST_PAYLOAD]) for at in range(0, len(content), MOST_PAYLOAD))


def speaks(answer: Answer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Handles a connection: greets as HTTP/2 wants it, and answers each request by ``answer``."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(PREFACE_BYTES)
        writer.write(frame(SETTINGS, 0, 0))
        while True:
            head = await reader.readexactly(9)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream, payload = int.from_bytes(head[5:], "big"), await reader.readexactly(size)
            if kind in (SETTINGS, PING) and not flags & ACK:
                writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind in (DATA, HEADERS) and flags & END_STREAM:
                await answer(writer, stream)
            await writer.drain()

    return connection


def sends(make: Callable[[int], bytes], again: Callable[[int], bytes] | None = None) -> Answer:
    """Sends frames, and others for as long as the connection lasts; both are made for the stream."""

    async def answer(writer: asyncio.StreamWriter, stream: int) -> None:
        writer.write(make(stream))
        while again is not None and not writer.is_closing():
            await writer.drain()
            writer.write(again(stream))
            await asyncio.sleep(0)

    return answer


def response(content: bytes, trailers: Pairs = tuple(OK)) -> Answer:
    """A whole answer of one message."""
    return sends(lambda s: headers(s, GRPC_HEAD) + message(s, content) + headers(s, trailers, end=True))
