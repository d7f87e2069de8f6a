"""Which replica this process is: a number per host and group that is free now, and comes back after a crash.

Two processes of one group need different ``transactional.id``s, or they fence each other; a restarted one should take over
its former self's, so that what that left open is aborted at once. A file lock a number does both: the operating system frees
it when its process dies, however that happens.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import tempfile
from pathlib import Path
from typing import IO

MOST = 1000


class InstanceIds:
    """The instance ids of this process's workers; keep it referenced, for it holds the locks.

    Args:
        bootstrap_servers: Of the cluster.
        group_id: The consumer group.
        given: ``--instance_id``; the host name and the lowest free numbers otherwise.
        count: How many workers.
    """

    def __init__(self, bootstrap_servers: str, group_id: str, given: str | None, count: int):
        self._locks: list[IO[bytes]] = []
        if given is not None:
            self.ids = [given] if count == 1 else [f"{given}-{index}" for index in range(count)]
            return
        name = hashlib.sha256(f"{bootstrap_servers}\n{group_id}".encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"kafka-model-scoring-{os.getuid()}" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        host = socket.gethostname()
        self.ids = []
        for number in range(MOST):
            if len(self.ids) == count:
                break
            lock = (folder / f"{number}.lock").open("wb")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            self._locks.append(lock)
            self.ids.append(f"{host}-{number}")

    def close(self) -> None:
        """Frees the numbers."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()
