"""``AnswerBody``: the body of a server's answer, no larger than ``max_answer_bytes``. The rule of all HTTP connections.

A server may send without end, or a few bytes that inflate to gigabytes. So bodies are counted as they come, and compressed
ones are asked for only by a user who wants them: ``Accept-Encoding: identity`` unless the headers say otherwise. A body
that is compressed nevertheless is refused unread; one that was asked for is inflated piece by piece, and counted as it is
then. Over gRPC, ``grpc.max_receive_message_length`` does the same, also for inflated messages.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from transforms.errors import AnswerTooLargeError, MalformedAnswerError

ACCEPT_ENCODING = "accept-encoding"
NOT_COMPRESSED = "identity"
RAISE_LIMIT = "raise --max_answer_bytes"

MAX_ANSWER_BYTES = 256 << 20
"""Most bytes of one answer, unless ``ClientOptions`` or ``RegistryConfig`` say otherwise."""

MAX_ERROR_BYTES = 1 << 20
"""Most bytes that are read of an error's text: its status says what it is, and people read the first lines."""

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_INFLATED = ("gzip", "x-gzip", "deflate")


def asks_for_compression(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether the headers of every request say which encodings are accepted, so that we must not."""
    return any(name.lower() == ACCEPT_ENCODING for name, _ in headers)


class AnswerBody:
    """Collects a body.

    Args:
        where: Whose answer it is, for error messages.
        limit: Most bytes, inflated.
        encoding: The Content-Encoding header; empty if there was none.
        inflates: Whether a compressed body was asked for.

    Raises:
        MalformedAnswerError: The body is compressed, and was not asked for, or is so in an unknown way.
    """

    def __init__(self, where: str, limit: int, encoding: str = "", inflates: bool = False):
        self._where, self._limit = where, limit
        self._pieces: list[bytes] = []
        self._bytes = 0
        encoding = encoding.strip().lower()
        if encoding in ("", NOT_COMPRESSED):
            self._inflater = None
        elif inflates and encoding in _INFLATED:
            self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        else:
            cure = "use gzip or deflate" if inflates else "ask for it by --model_header=accept-encoding=gzip"
            raise MalformedAnswerError(f"{where}: the answer is compressed ({encoding[:20]!a}); {cure}")

    def add(self, piece: bytes) -> None:
        """Adds the next bytes from the connection.

        Raises:
            AnswerTooLargeError: The body has more bytes than the limit.
            MalformedAnswerError: It can't be inflated.
        """
        if self._inflater is None:
            self._keep(piece)
            return
        try:
            while piece:
                self._keep(self._inflater.decompress(piece, self._limit - self._bytes + 1))
                if self._inflater.unconsumed_tail:
                    piece = self._inflater.unconsumed_tail
                elif piece := self._inflater.unused_data:  # gzip: one member after the other
                    self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        except zlib.error as error:
            raise MalformedAnswerError(f"{self._where}: the compressed answer can't be inflated") from error

    def whole(self) -> bytes:
        """Returns the body, after its last bytes.

        Raises:
            MalformedAnswerError: A compressed body is not complete.
        """
        if self._inflater is not None and not self._inflater.eof and self._pieces:
            raise MalformedAnswerError(f"{self._where}: the compressed answer is cut")
        return b"".join(self._pieces)

    def _keep(self, piece: bytes) -> None:
        self._bytes += len(piece)
        if self._bytes > self._limit:
            self._pieces.clear()
            raise AnswerTooLargeError(f"{self._where}: the answer has more than {self._limit:,} bytes; {RAISE_LIMIT}")
        self._pieces.append(piece)
