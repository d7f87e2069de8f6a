"""``Probes``: whether the server works, by what it answered lately and by probes on a connection of their own.

A probe is one row that this server answered before (the *known-good row*), or a row of zeros before there is one. No probe
is sent if a request that was sent after the failed one has been answered: that says as much. Failures that come together
share one probe, and a probe that failed counts for ``REMEMBER_S``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from transforms.errors import ModelError, RejectedError, TransientError
from transforms.predict.contract import WORKS, ContractChangedError, Finding, Verdict, difference
from transforms.predict.endpoint import Endpoint
from transforms.predict.limiter import Limiter
from transforms.predict.limits import row_bytes
from transforms.predict.spans import Inputs, Span
from transforms.types import ModelMetadata, Signature

PROBE_ROWS = 1

REMEMBER_S = 1.0
"""How long a probe that failed answers for the next ones, in seconds."""

RENEW_S = 5.0
"""After how many seconds another answered row becomes the known-good row. So it is one of the version that serves now."""


class Probes:
    """What is known of the server. For one asyncio loop.

    Args:
        endpoint: Where probes are sent.
        limiter: Gives the slots of probes.
        signature: The signature that requests are made for.
        clock: Returns seconds, monotonic.
    """

    def __init__(self, endpoint: Endpoint, limiter: Limiter, signature: Signature, clock: Callable[[], float]):
        self._endpoint, self._limiter, self._clock = endpoint, limiter, clock
        self._asking = asyncio.Lock()
        self._begun = 0
        self.renew(signature)

    def renew(self, signature: Signature) -> None:
        """Forgets what is known, for another signature."""
        self._signature = signature
        self._answered = 0  # the number of the newest request that was answered
        self._known_good: Inputs | None = None
        self._known_at, self._version = 0.0, ""
        self._bad: Finding | None = None
        self._bad_at = 0.0

    @property
    def has_known_good(self) -> bool:
        """Whether the server has answered a row."""
        return self._known_good is not None

    def begin(self) -> int:
        """Numbers a request that is about to be sent."""
        self._begun += 1
        return self._begun

    def answered(self, number: int, inputs: Inputs, version: str) -> None:
        """Request ``number`` was answered."""
        self._answered = max(self._answered, number)
        self._bad = None
        now = self._clock()
        if self._known_good is None or version != self._version or now - self._known_at >= RENEW_S:
            self._known_good = {name: values[:PROBE_ROWS].copy() for name, values in inputs.items()}
            self._known_at, self._version = now, version

    def answered_since(self, number: int) -> bool:
        """Whether request ``number``, or one that was sent after it, was answered."""
        return self._answered >= number

    def as_large(self, span: Span) -> bool:
        """Whether the known-good row is about as large as the first row of a span, or larger: that one is not too large."""
        known = self._known_good
        most = 2 * row_bytes(known, PROBE_ROWS)[0] if known is not None else 0
        return bool(row_bytes(span.inputs, span.rows)[0] <= most)

    async def examine(self, since: int) -> Finding:
        """Finds out whether the server still takes what it took before.

        Args:
            since: The number of the failed request: an answer to a later one proves that it does.
        """
        if self._answered >= since:
            return WORKS
        async with self._asking:
            if self._answered >= since:
                return WORKS
            if self._bad is not None and self._remembers_bad:
                return self._bad
            found = await self._look()
            if found is not WORKS:
                self._bad, self._bad_at = found, self._clock()
            return found

    async def answers_a_row_of(self, span: Span) -> bool:
        """Whether the server works, before it has answered anything: by the first and last rows of ``span``, or by zeros.

        If one row is guilty, then the first or the last of several rows is not.
        """
        async with self._asking:
            if self._known_good is not None:
                return await self._send_first(self._known_good) is None
            if self._remembers_bad:
                return False
            for row in (0, span.rows - 1) if span.rows > 1 else ():
                probe = {name: values[row : row + PROBE_ROWS] for name, values in span.inputs.items()}
                if await self._send_first(probe, learn=True) is None:
                    return True
            if await self.control():
                return True
            self._bad, self._bad_at = Finding(Verdict.DOWN), self._clock()
            return False

    @property
    def _remembers_bad(self) -> bool:
        return self._bad is not None and self._clock() - self._bad_at < REMEMBER_S

    async def control(self, alone: bool = False, by: Endpoint | None = None) -> bool:
        """Sends a probe, whatever is known; returns whether the server works.

        Args:
            alone: Whether the caller has all slots, so that the probe must not wait for one.
            by: Where it is sent; ``None``: where all probes are.
        """
        probe = self._known_good or _zeros(self._signature)
        if probe is None:
            return False
        error = await (self._send(probe, by=by) if alone else self._send_first(probe, by=by))
        # Zeros may be refused: a server that refuses them is there.
        return error is None or (self._known_good is None and isinstance(error, RejectedError))

    async def ready(self) -> ModelError | None:
        """Asks for the model's metadata, which costs the server little; returns the error if it is not answered."""
        try:
            await self._endpoint.metadata()
        except ModelError as error:
            return error
        return None

    async def change(self) -> ContractChangedError | None:
        """Asks for the metadata; returns how the model's signature differs, and ``None`` if it does not or is not told."""
        try:
            now = await self._endpoint.metadata()
        except ModelError:
            return None
        changed = self._change(now)
        return ContractChangedError(now, changed.reason) if changed is not None else None

    def _change(self, found: ModelMetadata) -> Finding | None:
        if found.signature == self._signature:
            return None
        reason = f"the model has another signature{_as_version(found.version)}: "
        return Finding(Verdict.CHANGED, reason + difference(self._signature, found.signature), found)

    async def _look(self) -> Finding:
        probe = self._known_good or _zeros(self._signature)
        error = await self._send_first(probe) if probe is not None else None
        if probe is not None and error is None:
            return WORKS
        if isinstance(error, TransientError):
            return Finding(Verdict.DOWN, str(error))
        try:
            async with self._limiter.first():
                found = await self._endpoint.metadata()
        except TransientError as failed:
            return Finding(Verdict.DOWN, str(failed))
        except ModelError as failed:
            return Finding(Verdict.BROKEN, str(failed))
        if (changed := self._change(found)) is not None:
            return changed
        if probe is None or self._known_good is None:
            return Finding(Verdict.UNPROVEN, str(error or ""))
        if await self._send_first(probe) is None:  # this client may have stood at another version's signature
            return WORKS
        was = f", with version {self._version}" if self._version else ""
        return Finding(
            Verdict.BROKEN,
            f"it refuses a record that it answered before{was}, though its signature is the same"
            f"{_as_version(found.version)}: {error}",
        )

    async def _send_first(self, probe: Inputs, learn: bool = False, by: Endpoint | None = None) -> ModelError | None:
        async with self._limiter.first():
            return await self._send(probe, learn, by)

    async def _send(self, probe: Inputs, learn: bool = False, by: Endpoint | None = None) -> ModelError | None:
        """Sends a probe; returns its error. With ``learn`` an answered one becomes the known-good row."""
        number = self.begin()
        try:
            answer, _ = await (by or self._endpoint).send(probe, PROBE_ROWS)
        except ModelError as error:
            return error
        if learn:
            self.answered(number, probe, answer.version)
        else:
            self._answered, self._bad = max(self._answered, number), None
        return None


def _as_version(version: str) -> str:
    return f" (version {version})" if version else ""


def _zeros(signature: Signature) -> Inputs | None:
    """Returns one row of zeros and empty strings, with 1 for unknown sizes; ``None`` if the signature is not known."""
    if not signature.known:
        return None
    inputs: dict[str, np.ndarray] = {}
    for name, spec in signature.inputs.items():
        shape = [PROBE_ROWS, *(max(1, size) for size in (spec.shape or ())[1:])]
        if spec.dtype == "string":
            inputs[name] = np.full(shape, b"", object)
        else:
            inputs[name] = np.zeros(shape, np.float32 if spec.dtype == "bfloat16" else spec.dtype)
    return inputs or None
