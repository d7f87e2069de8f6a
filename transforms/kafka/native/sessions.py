"""The sessions of this process, in module state. Source and sink find their session by the job's configuration.

Consumers and producers can't be pickled into DoFns, and source and sink must share them.

* On a runner without shards, a job has one session in a process.
* On a runner that places shards (Flink), each shard that is placed in this process has a session. A bundle runs in one
  thread from its start to its end, so the thread identifies the sessions of the bundle.
* A task that Flink cancelled may still run here when Flink starts its shard again. The newer bundle gets a new session,
  whose producer fences the older one. The older bundle then fails at its commit.
* Where shards move (Dataflow), a shard's next bundle may come to another worker at any time, and nobody says so. The session
  that stays behind is closed when it was idle for long (``close_idle``). One that finds itself fenced gives its bundle up,
  and the shard waits before it opens another (``takeovers.py``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from transforms.errors import FencedError, KafkaError
from transforms.kafka.config import EXACTLY_ONCE, KafkaConfig
from transforms.kafka.native.session import Session
from transforms.kafka.native.states import CommitResult
from transforms.kafka.native.takeovers import MANY, Takeovers
from transforms.observe import RollbackCause, observer
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
        self.keep_alive()  # also for a shard whose records came after the stages had dropped those of a void one
        results = {session.commit() for session in self._sessions.values()}  # independent of each other
        for result in (CommitResult.ROLLED_BACK, CommitResult.BEGUN):
            if result in results:
                return result
        return CommitResult.FINAL

    def keep_alive(self) -> bool:
        alive = [session.keep_alive() for session in self._sessions.values()]
        if not all(alive):  # the stages drop all outcomes of the bundle then, so that no session may commit
            for session in self._sessions.values():
                session.give_up("another shard of the bundle can't be committed", RollbackCause.SHARD)
        return all(alive)

    def give_up(self, reason: str) -> int:
        return sum([session.give_up(reason) for session in self._sessions.values()])


class _Nothing:
    """Of a bundle that has read nothing, where shards move: it brought a shard's element, or a timer that was early."""

    def write(self, records: list[OutputRecord]) -> None:
        if records:
            raise KafkaError(
                "outputs came in another bundle than the records that they answer: there must be no GroupByKey, Reshuffle "
                "or Flatten between ReadFromKafka and WriteToKafka"
            )

    def commit(self) -> CommitResult:
        return CommitResult.FINAL

    def keep_alive(self) -> bool:
        return True

    def give_up(self, reason: str) -> int:
        return 0


class _Moving:
    """The session of a bundle whose shard another worker may take over at any time, which fences it."""

    def __init__(self, sessions: Sessions, config: KafkaConfig, bundle: BundleSession):
        self._sessions, self._config, self._bundle = sessions, config, bundle

    def write(self, records: list[OutputRecord]) -> None:
        with self._sessions.noting_fences(self._config):
            self._bundle.write(records)

    def commit(self) -> CommitResult:
        """See ``Session.commit``. A fenced session rolls its bundle back by ending: the records belong to another worker."""
        try:
            with self._sessions.noting_fences(self._config):
                return self._bundle.commit()
        except FencedError:
            self._sessions.abandon(self._config)
            observer().rolled_back("another worker has taken the shard over", RollbackCause.REBALANCE)
            return CommitResult.ROLLED_BACK

    def keep_alive(self) -> bool:
        with self._sessions.noting_fences(self._config):
            return self._bundle.keep_alive()

    def give_up(self, reason: str) -> int:
        return self._bundle.give_up(reason)


class _Here(threading.local):
    """The sessions that this thread's bundle has entered."""

    def __init__(self) -> None:
        self.entered: dict[SessionKey, Session] = {}


class Sessions:
    """The sessions of a process. The functions of this module call the one instance that a process has.

    Args:
        open_session: Makes a session.
        clock: Returns the seconds of a monotonic clock.
        jitter: As for ``Takeovers``.
    """

    def __init__(
        self,
        open_session: Callable[..., Session] = Session,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ):
        self._open, self._clock = open_session, clock
        self._entries: dict[SessionKey, _Entry] = {}
        self._lock = threading.Lock()
        self._here = _Here()
        self._ended: set[KafkaConfig] = set()
        self._takeovers = Takeovers(clock, jitter)

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
            return _Nothing() if config.shards_move else self.session(config)
        found: BundleSession
        if len(entered) == 1:
            found = next(iter(entered.values()))
        else:
            [shards] = {key.shards for key in entered}
            found = _Several({key.shard: kafka for key, kafka in entered.items()}, shards)
        return _Moving(self, config, found) if config.shards_move else found

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
        self.close_idle(key)
        if entry is None:  # outside the lock, so that other shards do not wait for Kafka's answers
            exactly_once = key.config.delivery == EXACTLY_ONCE  # only a transactional producer can be fenced
            kafka = self._open(key.config.of_shard(key.shard), key.shard, key.shards, claim=exactly_once)
            entry = _Entry(kafka, me, self._clock())
            with self._lock:
                self._entries[key] = entry
        self._here.entered[key] = entry.session
        return entry.session

    def close_idle(self, but: SessionKey | None = None) -> None:
        """Closes the sessions of shards that no bundle has used for ``IDLE_S``, except that of ``but``."""
        with self._lock:
            now = self._clock()
            idle = [it for it in self._entries if _is_of_shard(it) and it != but and _is_idle(self._entries[it], now)]
            gone = [self._entries.pop(it) for it in idle]
        for old in gone:
            _discard(old.session)

    def wait_s(self, key: SessionKey) -> float:
        """See the module's ``wait_s``."""
        return self._takeovers.wait_s(key)

    def fenced(self, key: SessionKey) -> None:
        """Notes that a shard was fenced, and says so."""
        times = self._takeovers.fenced(key)
        more = f", {times} times in a row: is there another job of this group?" if times >= MANY else ""
        log.warning("shard %d of %d was taken over by another worker%s", key.shard, key.shards, more)

    @contextlib.contextmanager
    def noting_fences(self, config: KafkaConfig) -> Iterator[None]:
        """Notes a ``FencedError`` that leaves the block for the shards of this thread's bundle."""
        try:
            yield
        except FencedError:
            for key in [key for key in self._here.entered if key.config == config]:
                self.fenced(key)
            raise

    def leave(self, config: KafkaConfig) -> None:
        """See the module's ``leave``."""
        for key in [key for key in self._here.entered if key.config == config]:
            kafka = self._here.entered.pop(key)
            with self._lock:
                entry = self._entries.get(key)
                if entry is not None and entry.session is kafka:
                    entry.thread, entry.used_at = None, self._clock()
        if config in self._ended:
            self.close_job(config)

    def end(self, config: KafkaConfig) -> None:
        """See the module's ``end``."""
        self._ended.add(config)

    def close_job(self, config: KafkaConfig) -> None:
        """See the module's ``close_job``."""
        self._ended.discard(config)
        with self._lock:
            entry = self._entries.pop(SessionKey(config, shard=0, shards=1), None)
        if entry is not None:
            entry.session.close()

    def abandon(self, config: KafkaConfig, only: SessionKey | None = None) -> None:
        """See the module's ``abandon``."""
        for key in [key for key in self._here.entered if key.config == config and only in (None, key)]:
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


def _is_of_shard(key: SessionKey) -> bool:
    return key.shards > 1 or key.config.shards_move  # else it is the job's only reader, which nobody would replace


def _is_idle(entry: _Entry, now: float) -> bool:
    return entry.thread is None and now - entry.used_at > IDLE_S


def _discard(kafka: Session) -> None:
    with contextlib.suppress(Exception):  # the session is not used again, so its errors do not matter
        kafka.discard()


_sessions = Sessions()
_closing_idle = threading.Lock()
_closer: threading.Thread | None = None


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
    if key.config.shards_move:
        _close_idle_from_now_on()
    return _sessions.enter(key)


def wait_s(key: SessionKey) -> float:
    """Returns how many seconds a shard that was fenced still has to wait before ``enter``; 0 if it need not."""
    return _sessions.wait_s(key)


def fenced(key: SessionKey) -> None:
    """Notes that a shard was fenced while its session was opened or read from: it has to wait."""
    _sessions.fenced(key)


def _close_idle_from_now_on() -> None:
    """Closes idle sessions by a thread: when all shards of this process have moved on, no bundle comes that would do it."""
    global _closer
    with _closing_idle:
        if _closer is None:
            _closer = threading.Thread(target=_close_idle_forever, name="idle-sessions", daemon=True)
            _closer.start()


def _close_idle_forever() -> None:
    while True:
        time.sleep(IDLE_S / 2)
        _sessions.close_idle()


def leave(config: KafkaConfig) -> None:
    """Ends the bundle of this thread, which succeeded. The sessions of its shards stay open for the next bundle."""
    _sessions.leave(config)


def end(config: KafkaConfig) -> None:
    """Has the session of a job without shards closed by ``leave``: its source has ended, and reads no other bundle."""
    _sessions.end(config)


def close_job(config: KafkaConfig) -> None:
    """Closes the session of a job without shards, if it is open: what is not committed is rolled back.

    Raises:
        KafkaError: The commit in progress failed for good.
    """
    _sessions.close_job(config)


def abandon(config: KafkaConfig, only: SessionKey | None = None) -> None:
    """Closes the sessions of this thread's bundle, which failed, or that of one shard. The next bundles open new ones."""
    _sessions.abandon(config, only)


def close_sessions() -> None:
    """Closes every session of this process."""
    _sessions.close()
