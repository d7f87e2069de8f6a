"""Beam's worker pool on this machine, for a runner that has its workers elsewhere: ``--environment_type=EXTERNAL``."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.flink_cluster import Process
from tests.integration.process import START_S, wait_until
from tests.kafka_broker import free_ports


class WorkerPool:
    """A pool that starts a Python worker, a process, whenever a runner asks for one.

    Args:
        folder: Where its log goes.

    Attributes:
        address: Where it listens.
    """

    def __init__(self, folder: Path):
        self._host, self._port = "127.0.0.1", next(free_ports(1))
        self.address = f"{self._host}:{self._port}"
        command = [sys.executable, "-m", "tests.flink_worker_pool", self._host, str(self._port)]
        # It starts workers by the name "python".
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._pool = Process("worker-pool", command, folder, {"PATH": path})
        wait_until(self._listens, "worker pool", START_S, self)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._pool.running

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that it has started and that run."""
        return self._pool.children

    def close(self) -> None:
        """Ends it and its workers."""
        self._pool.close()

    def _listens(self) -> bool:
        try:
            socket.create_connection((self._host, self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def __str__(self) -> str:
        return self._pool.log_tail()


@contextlib.contextmanager
def worker_pool() -> Iterator[WorkerPool]:
    """Runs a pool while the block runs."""
    with tempfile.TemporaryDirectory(prefix="worker-pool-") as folder:
        pool = WorkerPool(Path(folder))
        try:
            yield pool
        finally:
            pool.close()
