"""The sessions of this process, in module state. Source and sink find their session by the job's configuration.

Consumers and producers can't be pickled into DoFns, and source and sink must share them.

* On a runner without shards, a job has one session in a process.
* On a runner that places shards (Flink), each shard that is placed in this process has a session. A bundle runs in one
  thread from its start to its end, so the thread identifies the sessions of the bundle.
* A task that Flink cancelled may still run here when Flink starts its shard again. The newer bundle gets a new session,
  whose producer fences the older one. The older bundle then fails at its commit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from transforms.kafka.config import EXACTLY_ONCE, KafkaConfig
from transforms.kafka.native.session import Session
from transforms.kafka.native.states import CommitResult
from transforms.types import OutputRecord

log = logging.getLogger(__name__)

IDLE_S = 60.0
"""Seconds after which the unused session of a shard is closed: the runner has placed the shard on another worker."""


@dataclasses.dataclass(frozen=True, slots=True)
class SessionKey:
    """Identifies a session in this process.

    Attributes:
        config: The job's Kafka configuration.
        shard: The index of the shard; 0 in a job without shards.
        shards: The number of shards; 1 in a job without shards.
    """

    config: KafkaConfig
    shard: int
    shards: int


@dataclasses.dataclass(slots=True)
class _Entry:
    session: Session
    thread: int | None = None  # of the bundle that uses it now
    used_at: float = 0.0


class BundleSession(Protocol):
    """The part of ``Session`` that the stages of a bundle use: one session, or several that act as one."""

    def write(self, records: list[OutputRecord]) -> None:
        """See ``Session.write``."""

    def commit(self) -> CommitResult:
        """See ``Session.commit``. With several sessions, the worst result of all."""

    def keep_alive(self) -> bool:
        """See ``Session.keep_alive``. With several sessions, whether all of them can still be committed."""

    def give_up(self, reason: str) -> int:
        """See ``Session.give_up``."""


class _Several:
    """The sessions of a bundle with records of several shards."""

    def __init__(self, sessions: dict[int, Session], shards: int):
        self._sessions, self._shards = sessions, shards

    def write(self, records: list[OutputRecord]) -> None:
        for shard, session in self._sessions.items():
            session.write([record for record in records if record.source[1] % self._shards == shard])

    def commit(self) -> CommitResult:
        results = {session.commit() for session in self._sessions.values()}  # independent of each other
        for result in (CommitResult.ROLLED_BACK, CommitResult.BEGUN):
            if result in results:
                return result
        return CommitResult.FINAL

    def keep_alive(self) -> bool:
        alive = [session.keep_alive() for session in self._sessions.values()]
        return all(alive)

    def give_up(self, reason: str) -> int:
        return sum([session.give_up(reason) for session in self._sessions.values()])


class _Here(threading.local):
    """The sessions that this thread's bundle has entered."""

    def __init__(self) -> None:
        self.entered: dict[SessionKey, Session] = {}


class Sessions:
    """The sessions of a process. The functions of this module call the one instance that a process has.

    Args:
        open_session: Makes a session.
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, open_session: Callable[..., Session] = Session, clock: Callable[[], float] = time.monotonic):
        self._open, self._clock = open_session, clock
        self._entries: dict[SessionKey, _Entry] = {}
        self._lock = threading.Lock()
        self._here = _Here()

    def session(self, config: KafkaConfig) -> Session:
        """See the module's ``session``."""
        with self._lock:
            key = SessionKey(config, shard=0, shards=1)
            if key not in self._entries:
                self._entries[key] = _Entry(self._open(config, key.shard, key.shards))
            return self._entries[key].session

    def of_bundle(self, config: KafkaConfig) -> BundleSession:
        """See the module's ``bundle_session``."""
        entered = {key: kafka for key, kafka in self._here.entered.items() if key.config == config}
        if not entered:
            return self.session(config)
        if len(entered) == 1:
            return next(iter(entered.values()))
        [shards] = {key.shards for key in entered}
        return _Several({key.shard: kafka for key, kafka in entered.items()}, shards)

    def enter(self, key: SessionKey) -> Session:
        """See the module's ``enter``."""
        me, now = threading.get_ident(), self._clock()
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.thread not in (None, me):
                log.warning("shard %d of %d is worked on here already; the newer bundle takes over", key.shard, key.shards)
                entry = None
            if entry is not None:
                entry.thread, entry.used_at = me, now
            idle = [it for it in self._entries if it.shards > 1 and it != key and _is_idle(self._entries[it], now)]
            gone = [self._entries.pop(it) for it in idle]
        for old in gone:
            _discard(old.session)
        if entry is None:  # outside the lock, so that other shards do not wait for Kafka's answers
            exactly_once = key.config.delivery == EXACTLY_ONCE  # only a transactional producer can be fenced
            kafka = self._open(key.config.of_shard(key.shard), key.shard, key.shards, claim=exactly_once)
            entry = _Entry(kafka, me, self._clock())
            with self._lock:
                self._entries[key] = entry
        self._here.entered[key] = entry.session
        return entry.session

    def leave(self, config: KafkaConfig) -> None:
        """See the module's ``leave``."""
        for key in [key for key in self._here.entered if key.config == config]:
            kafka = self._here.entered.pop(key)
            with self._lock:
                entry = self._entries.get(key)
                if entry is not None and entry.session is kafka:
                    entry.thread, entry.used_at = None, self._clock()

    def abandon(self, config: KafkaConfig) -> None:
        """See the module's ``abandon``."""
        for key in [key for key in self._here.entered if key.config == config]:
            kafka = self._here.entered.pop(key)
            with self._lock:
                if key in self._entries and self._entries[key].session is kafka:
                    del self._entries[key]
            _discard(kafka)

    def close(self) -> None:
        """See ``close_sessions``."""
        with self._lock:
            while self._entries:
                self._entries.popitem()[1].session.close()


def _is_idle(entry: _Entry, now: float) -> bool:
    return entry.thread is None and now - entry.used_at > IDLE_S


def _discard(kafka: Session) -> None:
    with contextlib.suppress(Exception):  # the session is not used again, so its errors do not matter
        kafka.discard()


_sessions = Sessions()


# Functions, not bound methods of _sessions: DoFns hold some of them and are pickled.


def session(config: KafkaConfig) -> Session:
    """Returns the session of a job without shards in this process, and opens it at the first call.

    Raises:
        FencedError: A newer process of the same instance has taken over.
        KafkaError: Kafka does not answer, or refuses access.
    """
    return _sessions.session(config)


def bundle_session(config: KafkaConfig) -> BundleSession:
    """Returns the session of the bundle that runs in this thread: the shards' sessions, if it has entered any.

    Raises:
        FencedError, KafkaError: As ``session``.
    """
    return _sessions.of_bundle(config)


def enter(key: SessionKey) -> Session:
    """Returns the session of a shard, for the bundle that runs in this thread until ``leave`` or ``abandon``.

    It opens the session if there is none, or if another thread's bundle still uses it.

    Raises:
        FencedError: A newer process has taken over this shard.
        KafkaError: Kafka does not answer, or refuses access.
    """
    return _sessions.enter(key)


def leave(config: KafkaConfig) -> None:
    """Ends the bundle of this thread, which succeeded. The sessions of its shards stay open for the next bundle."""
    _sessions.leave(config)


def abandon(config: KafkaConfig) -> None:
    """Ends the bundle of this thread, which failed. Its shards' sessions are closed; the next bundles open new ones."""
    _sessions.abandon(config)


def close_sessions() -> None:
    """Closes every session of this process."""
    _sessions.close()
