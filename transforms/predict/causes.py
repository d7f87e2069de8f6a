"""``Causes``: what rows failed of, as trials have shown. Rows that fail of the same may be compared (``Comparisons``).

A cause is an error's class and text, where the server said more than its status. It is proven by ``PROVEN`` rows that their
trials found guilty. From then on a sample of the rows that fail of it has trials, and one acquittal ends that: what a server
says under load may be the same.
"""

from __future__ import annotations

import collections
import dataclasses
import http
import math
import re

from transforms.errors import (
    SERVERS_TEXT,
    MergedBatchError,
    ModelError,
    OverloadedError,
    TransientError,
    UnavailableError,
)

PROVEN = 8
"""So many rows must have been found guilty in trials, and none acquitted, before a cause is proven."""

SAMPLE_MOST = 256
"""One of so many rows with a proven cause has a trial all the same. The first is one of ``PROVEN``, then twice as many."""

MOST_CAUSES = 64
"""So many causes are known; then the one that was seen longest ago is forgotten."""

OF_SEVERAL = OverloadedError, UnavailableError, MergedBatchError
"""What other requests may have caused: too much to do, a connection that was cut. It is never proven."""

_VARYING = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|[0-9]+")
"""What differs between two texts of the same cause: quoted values, and numbers."""


_PHRASES = frozenset(status.phrase.lower() for status in http.HTTPStatus)


@dataclasses.dataclass(slots=True)
class _Cause:
    guilty: float = 0
    blamed: int = 0
    sample: int = PROVEN

    @property
    def proven(self) -> bool:
        return self.guilty >= PROVEN


class Causes:
    """What is known of causes, for one model server. Texts are kept as hashes: they may repeat what a record held."""

    def __init__(self) -> None:
        self._causes: collections.OrderedDict[int, _Cause] = collections.OrderedDict()

    def forget(self) -> None:
        """Forgets all causes: another model fails for others."""
        self._causes.clear()

    @property
    def any_proven(self) -> bool:
        """Whether any cause is proven."""
        return any(cause.proven for cause in self._causes.values())

    def proven(self, error: ModelError) -> bool:
        """Whether trials have proven that rows with this error are guilty, and acquitted none."""
        cause = self._causes.get(_key(error))
        return cause is not None and cause.proven

    def found_guilty(self, error: ModelError) -> None:
        """A trial found a row guilty, which failed with this error."""
        if isinstance(error, TransientError) and not isinstance(error, OF_SEVERAL) and _names_a_cause(error):
            self._of(error).guilty += 1

    def acquitted(self, error: ModelError) -> None:
        """A row failed with this error, and was answered when asked for alone: the cause is not proven from now on."""
        self._of(error).guilty = -math.inf
        if SERVERS_TEXT in error.args[0]:  # the row failed with others, and what was said of them is hidden: it may be any
            for cause in self._causes.values():
                cause.guilty = -math.inf

    def blamed(self, error: ModelError) -> None:
        """A row was found guilty without a trial."""
        self._of(error).blamed += 1

    def samples(self, error: ModelError) -> bool:
        """Whether a row shall have a trial although its cause is proven. The next one follows after as many rows again."""
        cause = self._causes.get(_key(error))
        if cause is None or not cause.proven or cause.blamed < cause.sample:
            return False
        cause.blamed, cause.sample = 0, min(2 * cause.sample, SAMPLE_MOST)
        return True

    def _of(self, error: ModelError) -> _Cause:
        key = _key(error)
        cause = self._causes.setdefault(key, _Cause())
        self._causes.move_to_end(key)
        if len(self._causes) > MOST_CAUSES:
            self._causes.popitem(last=False)
        return cause


def _names_a_cause(error: ModelError) -> bool:
    """Whether the server said more than its status: "Internal Server Error" is said of anything."""
    return bool(_VARYING.sub("", error.said).strip(" .:")) and error.said.strip(" .").lower() not in _PHRASES


def _key(error: ModelError) -> int:
    return hash((type(error), _VARYING.sub("", str(error.args[0]))))
