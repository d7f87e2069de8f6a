"""The sessions of this process, in module state: source and sink find theirs by the job's config.

Consumers and producers can't be pickled into DoFns; and source and sink must share them.

Where one process works on a whole job there is one session for it. Where an engine places shards (Flink), one process may
have several, each worked on by bundles of its own, in threads of their own; a bundle runs in one thread from its start to
its end, so the thread tells which sessions are meant. The engine may also give a bundle up that still runs here (a task that
was cancelled) and start the shard anew beside it: then the newer bundle gets a session of its own, whose producer fences the
older one, and the older bundle fails at its commit.
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
from transforms.types import OutputRecord

log = logging.getLogger(__name__)

IDLE_S = 60.0
"""A shard's session that no bundle has used for so long is closed: the engine has placed the shard elsewhere."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Which session: the job's, and of a job in shards, which shard's."""

    config: KafkaConfig
    shard: int = 0
    shards: int = 1


@dataclasses.dataclass(slots=True)
class _Held:
    session: Session
    thread: int | None = None  # whose bundle uses it now
    used_at: float = 0.0


class BundleSession(Protocol):
    """What the stages of a bundle call; a ``Session``, or several of them."""

    def write(self, records: list[OutputRecord]) -> None:
        """As ``Session.write``."""

    def commit(self) -> bool:
        """As ``Session.commit``."""

    def keep_alive(self) -> bool:
        """As ``Session.keep_alive``."""

    def give_up(self, reason: str) -> None:
        """As ``Session.give_up``."""


class _Several:
    """The sessions of a bundle in which the engine has put several shards."""

    def __init__(self, sessions: dict[int, Session], shards: int):
        self._sessions, self._shards = sessions, shards

    def write(self, records: list[OutputRecord]) -> None:
        for shard, session in self._sessions.items():
            session.write([record for record in records if record.source[1] % self._shards == shard])

    def commit(self) -> bool:
        done = [session.commit() for session in self._sessions.values()]  # each of them, whatever becomes of the others
        return all(done)

    def keep_alive(self) -> bool:
        alive = [session.keep_alive() for session in self._sessions.values()]
        return all(alive)

    def give_up(self, reason: str) -> None:
        for session in self._sessions.values():
            session.give_up(reason)


class _Here(threading.local):
    """The sessions that this thread's bundle has entered."""

    def __init__(self) -> None:
        self.entered: dict[Place, Session] = {}


class Sessions:
    """The sessions of a process. The module's functions are those of the one instance that a process has.

    Args:
        open_session: Makes one.
        clock: For tests.
    """

    def __init__(self, open_session: Callable[..., Session] = Session, clock: Callable[[], float] = time.monotonic):
        self._open, self._clock = open_session, clock
        self._held: dict[Place, _Held] = {}
        self._lock = threading.Lock()
        self._here = _Here()

    def session(self, config: KafkaConfig) -> Session:
        """As the function of the module."""
        with self._lock:
            place = Place(config)
            if place not in self._held:
                self._held[place] = _Held(self._open(config))
            return self._held[place].session

    def of_bundle(self, config: KafkaConfig) -> BundleSession:
        """As ``bundle_session``."""
        entered = {place: kafka for place, kafka in self._here.entered.items() if place.config == config}
        if not entered:
            return self.session(config)
        if len(entered) == 1:
            return next(iter(entered.values()))
        [shards] = {place.shards for place in entered}
        return _Several({place.shard: kafka for place, kafka in entered.items()}, shards)

    def enter(self, place: Place) -> Session:
        """As the function of the module."""
        me, now = threading.get_ident(), self._clock()
        with self._lock:
            held = self._held.get(place)
            if held is not None and held.thread not in (None, me):
                log.warning(
                    "shard %d of %d is worked on here already; the newer bundle takes over", place.shard, place.shards
                )
                held = None
            if held is not None:
                held.thread, held.used_at = me, now
            idle = [it for it in self._held if it.shards > 1 and it != place and _is_idle(self._held[it], now)]
            gone = [self._held.pop(it) for it in idle]
        for old in gone:
            _discard(old.session)
        if held is None:  # outside of the lock: other shards need not wait for Kafka's answers
            exactly_once = place.config.delivery == EXACTLY_ONCE  # else nobody can be fenced
            kafka = self._open(place.config.of_shard(place.shard), place.shard, place.shards, claim=exactly_once)
            held = _Held(kafka, me, self._clock())
            with self._lock:
                self._held[place] = held
        self._here.entered[place] = held.session
        return held.session

    def leave(self, config: KafkaConfig) -> None:
        """As the function of the module."""
        for place in [place for place in self._here.entered if place.config == config]:
            kafka = self._here.entered.pop(place)
            with self._lock:
                held = self._held.get(place)
                if held is not None and held.session is kafka:
                    held.thread, held.used_at = None, self._clock()

    def abandon(self, config: KafkaConfig) -> None:
        """As the function of the module."""
        for place in [place for place in self._here.entered if place.config == config]:
            kafka = self._here.entered.pop(place)
            with self._lock:
                if place in self._held and self._held[place].session is kafka:
                    del self._held[place]
            _discard(kafka)

    def close(self) -> None:
        """As ``close_sessions``."""
        with self._lock:
            while self._held:
                self._held.popitem()[1].session.close()


def _is_idle(held: _Held, now: float) -> bool:
    return held.thread is None and now - held.used_at > IDLE_S


def _discard(kafka: Session) -> None:
    with contextlib.suppress(Exception):  # it is of no more use, whatever is wrong with it
        kafka.discard()


_sessions = Sessions()


# Functions, not the bound methods themselves: DoFns hold some of them, and are pickled.


def session(config: KafkaConfig) -> Session:
    """The session of this process for ``config``, which is not in shards; made at the first call.

    Raises:
        FencedError: A newer process of the same instance is there.
        KafkaError: Kafka does not answer, or refuses us.
    """
    return _sessions.session(config)


def bundle_session(config: KafkaConfig) -> BundleSession:
    """The session of the bundle that runs in this thread."""
    return _sessions.of_bundle(config)


def enter(place: Place) -> Session:
    """The session of a shard, for the bundle that runs in this thread until ``leave`` or ``abandon``.

    Raises:
        FencedError: A newer process works on this shard.
        KafkaError: Kafka does not answer, or refuses us.
    """
    return _sessions.enter(place)


def leave(config: KafkaConfig) -> None:
    """The bundle in this thread has ended well; its shards' sessions wait for the next one."""
    _sessions.leave(config)


def abandon(config: KafkaConfig) -> None:
    """The bundle in this thread has failed: its shards' sessions are given up, and the next bundles have new ones."""
    _sessions.abandon(config)


def close_sessions() -> None:
    """Closes every session of this process."""
    _sessions.close()
