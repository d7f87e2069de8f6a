"""Chooses the instance id of a process: the host's name and the lowest number that no process of the group uses there.

Two processes of one group need different ``transactional.id``s, or they fence each other. A restarted process should get the
id of its predecessor, so that a transaction which that left open is aborted at once. One file lock for each number ensures
both: the operating system releases the lock when the process ends, also after a crash.
"""

from __future__ import annotations

import fcntl
import hashlib
import socket
from typing import IO

from transforms.private_folder import private_folder

MOST = 1000


class InstanceIds:
    """The instance ids of a process's workers. Keep a reference, because the object holds the locks.

    Args:
        bootstrap_servers: The addresses of the cluster.
        group_id: The consumer group.
        given: ``--instance_id``; ``None`` for the host name with the lowest free numbers.
        count: Number of workers.
    """

    def __init__(self, bootstrap_servers: str, group_id: str, given: str | None, count: int):
        self._locks: list[IO[bytes]] = []
        if given is not None:
            self.ids = [given] if count == 1 else [f"{given}-{index}" for index in range(count)]
            return
        name = hashlib.sha256(f"{bootstrap_servers}\n{group_id}".encode()).hexdigest()[:16]
        folder = private_folder() / name
        folder.mkdir(exist_ok=True, mode=0o700)
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
        """Releases the locks."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()
