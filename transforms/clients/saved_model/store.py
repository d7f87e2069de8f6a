"""``ModelStore``: the SavedModels in the memory of this process. Clients of the same model share it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Hashable

from transforms.clients.saved_model.shared import SharedModel

LINGER_S = 30.0
"""Seconds that a model stays in memory after its last client has closed.

The next client often follows soon: the job's client opens after the start-up check has closed its own.
"""


@dataclasses.dataclass(slots=True)
class _Entry:
    model: SharedModel
    clients: int = 0
    timer: threading.Timer | None = None


class ModelStore:
    """Models by key, with a count of the clients of each. Safe to use from any thread.

    Args:
        linger_s: Seconds that a model without clients stays in memory.
    """

    def __init__(self, linger_s: float = LINGER_S):
        self._linger_s = linger_s
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}

    def acquire(self, key: Hashable, make: Callable[[], SharedModel]) -> SharedModel:
        """Returns the model of ``key`` and counts one more client. ``release`` must follow.

        Args:
            key: What identifies the model: path, version, tags and file system.
            make: Makes the model if the store has none for ``key``. It must not load anything yet.
        """
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
        """Counts one client less. After the last client, the model is closed once ``linger_s`` have passed.

        Raises:
            KeyError: The store has no such model.
        """
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
        """Looks for newer versions of all models at once. Blocks."""
        with self._lock:
            models = [entry.model for entry in self._entries.values()]
        for model in models:
            model.poll()

    def close(self) -> None:
        """Closes all models without clients at once."""
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
"""The store of this process."""
