"""The states of a session, which are those of its open bundle, and how a commit ends.

    begin ──► READING ─────────────(1)───────────────┐
               │ ▲ │                                 │
    keep_alive │ │ │ commit                          │
               │ │ └──────────┐                      │
               ▼ │ poll       │                      ▼
             WAITING ─────────┼──────(1)──────────► VOID ──rollback──► READING, the same records
               │              │                      ▲
               │ commit       ▼                      │
               └────────► COMMITTING ───refused──────┘
                              │
                              └── final, or begun in the background ──► READING, the next records

(1) a rebalance, ``give_up``, a failed write or background commit, an input
topic that is gone or was made again; ``commit`` where another copy of the stage has the requests of carried records; and
``begin`` after a bundle that was never committed, which is rolled back first. ``begin`` after a bundle that read nothing
goes from WAITING to READING, as ``poll`` does.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """What happens to the open bundle: the one between source and sink."""

    READING = "reading"
    """Records are read and outputs are written. Also the state before the first record."""

    WAITING = "waiting"
    """The model server has not answered. Partitions are paused; the consumer is polled to stay in the group."""

    COMMITTING = "committing"
    """Outputs and offsets are handed to Kafka. It ends with ``commit``, unless the commit failed for good."""

    VOID = "void"
    """The bundle can't be committed. Its outputs are dropped, and a rollback reads its records again."""


TRANSITIONS: dict[State, frozenset[State]] = {
    State.READING: frozenset({State.WAITING, State.COMMITTING, State.VOID}),
    State.WAITING: frozenset({State.READING, State.COMMITTING, State.VOID}),
    State.COMMITTING: frozenset({State.READING, State.VOID}),
    State.VOID: frozenset({State.READING}),
}
"""Each state and those that may follow it."""


class IllegalTransitionError(RuntimeError):
    """A method of a session was called in a state that does not allow it: a mistake in the calling code."""

    def __init__(self, old: State, new: State):
        super().__init__(f"a session that is {old.value} can't become {new.value}")


class StateMachine:
    """A state that changes only as ``TRANSITIONS`` allows."""

    def __init__(self) -> None:
        self.state = State.READING

    def enter(self, state: State) -> None:
        """Changes the state. To enter the current state again is allowed.

        Raises:
            IllegalTransitionError: ``TRANSITIONS`` does not allow the change.
        """
        if state is not self.state:
            if state not in TRANSITIONS[self.state]:
                raise IllegalTransitionError(self.state, state)
            self.state = state


class CommitResult(enum.Enum):
    """How ``Session.commit`` ended."""

    FINAL = "final"
    """Outputs and offsets are committed."""

    BEGUN = "begun"
    """The commit runs in the background. ``Session.finish_commit`` returns how it ended."""

    ROLLED_BACK = "rolled back"
    """Nothing was committed. The records are read again."""
