"""The exceptions: what can happen to the job. What can happen to one record is a value instead: ``types.Failure``.

    ScoringError
    ├── ConfigError             wrong flags, all of them together              exit status 2
    ├── ContractError           model, topic and flags do not fit              exit status 2
    │   ├── NotReadyError       a server is not there yet: waiting may cure it   after --wait_for_start_s: 1
    │   └── MissingRightError   Kafka refuses what the job needs, found before anything is read
    ├── SecretError             a secret that a flag refers to can't be read
    ├── KafkaError              the broker refused or lost us                  exit status 1
    │   └── FencedError         a newer process of the same instance took over
    └── ModelError              one request failed; raised by clients only
        ├── TransientError      try again: 5xx, and the four below
        │   ├── OverloadedError    too much to do, or no answer in time: says nothing about the request
        │   ├── UnavailableError   no server answers at the address, or the connection was cut
        │   │   └── CertificateError   a certificate is not accepted, by us or by the server
        │   ├── MergedBatchError   the server merged this request with others that do not fit: ask again alone
        │   └── ModelFailedError   the server answers, but its model failed on this request, perhaps for its content
        ├── RejectedError       refused for its content: bisect the batch
        │   ├── BatchTooLargeError     more rows than the server takes
        │   ├── RequestTooLargeError   more bytes than the server takes
        │   └── InternalError          our own code raised what it did not foresee, on this request
        ├── MalformedAnswerError   short, long or unreadable answer
        │   └── AnswerTooLargeError    more bytes than we take
        └── NotServedError      unknown model, version or signature; not allowed

Vendor errors (grpc, aiohttp, confluent_kafka) are translated once, where the vendor's library is called, with
``raise … from error``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

MOST_CHARACTERS = 1000
"""Of an error's message: names in an answer are as long as the server makes them."""

SERVERS_TEXT = "(what the server said is about several records)"


_SICK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def is_sick(error: BaseException) -> bool:
    """Whether an exception says that the process is sick: memory, disk, files. No record is at fault then.

    The one rule wherever any exception of a stranger's code (functions, templates, libraries) is a record's. Code of this
    project has a stricter one: ``internal_errors.py``.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SICK_ERRNOS)


class ScoringError(Exception):
    """The root of this project's exceptions."""


class ConfigError(ScoringError):
    """The flags are wrong. Carries every mistake found; each names its flag and the cure."""

    def __init__(self, mistakes: Sequence[str]):
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[str, ...]]]:
        return type(self), (self.mistakes,)


class ContractError(ScoringError):
    """The model, the topics and the flags do not fit together; found before anything is consumed."""


class NotReadyError(ContractError):
    """A server that the job needs does not answer, or is not ready, at the start: it may be a moment later."""


class MissingRightError(ContractError):
    """The job's user lacks a right that only the producer finds out, before anything is read; the message grants it."""


class SecretError(ScoringError):
    """A secret that a property or a header refers to can't be read. The message never holds its value."""


class KafkaError(ScoringError):
    """A Kafka error that a retry does not cure."""


class FencedError(KafkaError):
    """Another process with the same group and instance id has taken over; this one must stop."""


class ModelError(ScoringError):
    """One request to the model server failed. The message never holds payload bytes, and is cut to ``MOST_CHARACTERS``.

    Attributes:
        said: What of the message the server wrote; empty if nothing. Whoever makes the error sets it, so that the caller can
            leave out a text that repeats the request (``predict/echoes.py``).
    """

    said: str = ""
    _unseen: Callable[[], None] | None = None

    def __init__(self, message: str):
        super().__init__(message if len(message) <= MOST_CHARACTERS else message[:MOST_CHARACTERS] + "…")

    def before_shown(self, look: Callable[[], None]) -> None:
        """Calls ``look`` before anybody is shown the message, once: it may ``hide`` what the server said.

        Most errors are never shown, and to look through a text costs more than the request did.
        """
        self._unseen = look

    def hide(self, instead: str) -> None:
        """Replaces what the server said."""
        self._unseen = None
        self.args, self.said = (self.args[0].replace(self.said, instead), *self.args[1:]), ""

    @property
    def own_words(self) -> str:
        """The message without what the server said."""
        return str(self.args[0]).replace(self.said, SERVERS_TEXT) if self.said else str(self)

    def _looked_at(self) -> ModelError:
        if (look := self._unseen) is not None:
            self._unseen = None
            look()
        return self

    def __str__(self) -> str:
        return super(ModelError, self._looked_at()).__str__()

    def __repr__(self) -> str:
        return super(ModelError, self._looked_at()).__repr__()

    def __reduce__(self) -> str | tuple[Any, ...]:
        return super(ModelError, self._looked_at()).__reduce__()


class TransientError(ModelError):
    """Worth trying again: UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, 429, 5xx.

    Attributes:
        retry_after_s: How long the server asked to wait, if it did.
        not_run: Whether no model has worked on the request for certain: it was not sent, or the server was too busy for it.
    """

    def __init__(self, message: str, retry_after_s: float | None = None, not_run: bool = False):
        super().__init__(message)
        self.retry_after_s, self.not_run = retry_after_s, not_run


class OverloadedError(TransientError):
    """The server has too much to do (RESOURCE_EXHAUSTED, 429, a full queue), or did not answer in time.

    It says nothing about the request's content: no record is ever a dead letter for it, unless ``on_unavailable`` says so.
    """


class UnavailableError(TransientError):
    """No server answers at the address: connection refused or reset, or the host name is not resolved."""


class CertificateError(UnavailableError):
    """The TLS handshake failed for a certificate, the server's or ours, or nobody speaks TLS there: mend it first."""


class MergedBatchError(TransientError):
    """The server merged this request with others into one batch, and they do not fit together (server-side batching).

    It says nothing about the request's content: the same request may be answered if it is the only one.
    """


class ModelFailedError(TransientError):
    """The server says that its model failed on this request: its code raised, or its process ended.

    The request's content may be the cause, but need not be: a server that batches the requests of several clients fails all
    of them for one, and a model may run out of memory. So the request is tried again, like after any transient error.
    """


class RejectedError(ModelError):
    """The server refused the request for its content: INVALID_ARGUMENT, 400, 413, 422."""


class BatchTooLargeError(RejectedError):
    """The request has more rows than the server takes.

    Attributes:
        most_rows: How many it takes, if it says so.
    """

    def __init__(self, message: str, most_rows: int | None = None):
        super().__init__(message)
        self.most_rows = most_rows


class RequestTooLargeError(RejectedError):
    """The request, or its answer, has more bytes than are taken. If it has several rows, a smaller request may fit.

    Attributes:
        takes: What share of these bytes is taken, between 0 and 1, if the server says it.
    """

    def __init__(self, message: str, takes: float | None = None):
        super().__init__(message)
        self.takes = takes


class InternalError(RejectedError):
    """The client raised what it did not foresee: a bug, which only some content may show. ``__cause__`` is the exception."""


class MalformedAnswerError(ModelError):
    """The answer is short, long or unreadable: it can't be matched to the rows of the request.

    Attributes:
        tokens: What the request took of the prompt and of the answer (``types.Tokens``), where the server has said it.
    """

    tokens: tuple[int | None, int | None] | None = None


class AnswerTooLargeError(MalformedAnswerError):
    """The answer has more bytes than ``max_answer_bytes``. If the request has several rows, the answer to fewer may fit."""


class NotServedError(ModelError):
    """The server is there but does not serve this: unknown model, version, label or signature; no permission.

    Attributes:
        unimplemented: Whether the server says that it has no such call at all (UNIMPLEMENTED, 405, 501).
    """

    unimplemented: bool = False
