"""The models that this process has in memory: each once, however many clients use it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Hashable

from transforms.clients.saved_model.shared import SharedModel

LINGER_S = 30.0
"""How long a model stays after its last client: the next often comes soon, such as the job's after its start-up check."""


@dataclasses.dataclass(slots=True)
class _Entry:
    model: SharedModel
    clients: int = 0
    timer: threading.Timer | None = None


class ModelStore:
    """Models by key, counted by their users. Safe to use from any thread.

    Args:
        linger_s: How long an unused model stays, in seconds.
    """

    def __init__(self, linger_s: float = LINGER_S):
        self._linger_s = linger_s
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    def acquire(self, key: Hashable, make: Callable[[], SharedModel]) -> SharedModel:
        """Returns the model of ``key``, made by ``make`` if it is not there; ``release`` must follow. Loads nothing."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(make())
            entry.clients += 1
            if entry.timer is not None:
                entry.timer.cancel()
                entry.timer = None
            return entry.model

    def release(self, key: Hashable) -> None:
        """One client fewer; the last one's model is let go after ``linger_s``."""
        with self._lock:
            entry = self._entries[key]
            entry.clients -= 1
            if entry.clients:
                return
            if self._linger_s > 0:
                entry.timer = threading.Timer(self._linger_s, self._let_go, (key, entry))
                entry.timer.daemon = True
                entry.timer.start()
                return
        self._let_go(key, entry)

    def poll(self) -> None:
        """Looks for other versions of all models, now."""
        with self._lock:
            models = [entry.model for entry in self._entries.values()]
        for model in models:
            model.poll()

    def close(self) -> None:
        """Lets every model go that has no client, at once."""
        with self._lock:
            unused = [(key, entry) for key, entry in self._entries.items() if not entry.clients]
        for key, entry in unused:
            if entry.timer is not None:
                entry.timer.cancel()
            self._let_go(key, entry)

    def _let_go(self, key: Hashable, entry: _Entry) -> None:
        with self._lock:
            if entry.clients or self._entries.get(key) is not entry:
                return
            del self._entries[key]
        entry.model.close()


STORE = ModelStore()
"""This process's models."""
