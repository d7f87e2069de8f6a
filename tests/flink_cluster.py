"""A Flink cluster of real processes on this machine, with Beam's job server and Python workers: for tests and people.

    python -m tests.flink_cluster [--task_managers 2] [--slots 2]

One job manager, task managers, the job server that turns a Beam pipeline into a Flink job, and beside every task manager a
worker pool which starts its Python workers, as a sidecar container does on Kubernetes. The jars come from Maven Central
(``flink_pom.xml``; 152 MB, once, into ``.cache/``); the environment variable ``FLINK`` takes another version of Flink. All
listen on loopback addresses; all data are in a temporary directory.

The flags of a job that runs on it are ``FlinkCluster.flags``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.kafka_broker import ROOT, BrokerError, free_ports, install_jars
from tests.processes import alive

FLINK, BEAM = os.environ.get("FLINK", "1.19.0"), "2.62.0"
"""The Flink that runs, and Beam's runner, which is made for Flink 1.19."""

JARS = ROOT / ".cache" / f"flink-{FLINK}-beam-{BEAM}"
POM = Path(__file__).with_name("flink_pom.xml")
START_S = 300.0
LOG_TAIL_LINES = 30

POOL_HOST = "worker-pool"
"""What a task manager calls the pool beside it; each has a hosts file of its own."""

OPENED = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent", "util.concurrent.atomic")
JAVA_17 = ["--add-exports=java.base/sun.net.util=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"] + [
    f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in OPENED
]
"""What Flink's own start scripts add."""

PROPERTIES = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "taskmanager.host": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "cluster.evenly-spread-out-slots": "true",
    "state.backend.type": "hashmap",
    # A dead task manager is noticed by its broken connections at once, or after this.
    "heartbeat.interval": "1000",
    "heartbeat.timeout": "8000",
    "web.submit.enable": "false",
    # Small processes: the machine is shared with what is tested.
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.task.heap.size": "192m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.network.min": "16m",
    "taskmanager.memory.network.max": "16m",
    "taskmanager.memory.managed.size": "16m",
    "taskmanager.memory.framework.heap.size": "64m",
    "taskmanager.memory.framework.off-heap.size": "32m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
}


class FlinkError(RuntimeError):
    """The cluster can't be installed or started; the message says what to do, or shows the end of a log."""


class Process:
    """A process that ends with this one, and that may be killed.

    Args:
        name: What it is called, and its log.
        command: What is run.
        folder: Where the log goes.
        environ: More environment variables.
    """

    def __init__(self, name: str, command: list[str], folder: Path, environ: dict[str, str] | None = None):
        self.name, self.log_file = name, folder / f"{name}.log"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | (environ or {}),
                start_new_session=True,  # Ctrl-C at a terminal is for the parent; and a group that is ended as one
            )
        self.pid = self._process.pid
        # As tests/kafka_broker.py: ends the group when this process ends in any way.
        self._watcher = subprocess.Popen(
            ["sh", "-c", 'read -r _ || kill -9 "-$1"', "sh", str(self.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def children(self) -> list[int]:
        """The process ids of what it has started and still runs."""
        found = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [pid for pid in map(int, task.read_text().split()) if alive(pid)]
        return found

    def kill(self) -> None:
        """``kill -9``, of this process alone."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it and all it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._watcher.communicate(b"\n")

    def log_tail(self) -> str:
        """The last lines of its log."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:]) or "(the log is empty)"


class TaskManager:
    """A task manager's JVM and the worker pool beside it.

    Attributes:
        jvm: The task manager.
        pool: The pool, which starts Python workers when the task manager asks for them.
    """

    def __init__(self, jvm: Process, pool: Process):
        self.jvm, self.pool = jvm, pool

    @property
    def workers(self) -> list[int]:
        """The process ids of its Python workers."""
        return self.pool.children

    def kill_worker(self) -> int:
        """``kill -9`` of one Python worker; returns its process id."""
        pid = self.workers[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def close(self) -> None:
        """Ends both."""
        self.jvm.close()
        self.pool.close()


class FlinkCluster:
    """A cluster that runs from construction to ``close`` (or the end of the ``with`` block, or of this process).

    Args:
        task_managers: How many.
        slots: Of each.
        properties: Flink's, added to or in place of ``PROPERTIES``.

    Attributes:
        rest: ``http://127.0.0.1:PORT`` of Flink's REST interface and its web pages.
        job_endpoint: ``127.0.0.1:PORT`` of Beam's job server.
        task_managers: They.

    Raises:
        FlinkError: ``java`` or ``mvn`` is missing, or a process did not start.
    """

    def __init__(self, task_managers: int = 2, slots: int = 2, properties: dict[str, str] | None = None):
        install()
        ports = free_ports(5)
        rpc, rest, job, artifact, self._pool_port = (next(ports) for _ in range(5))
        self.folder = Path(tempfile.mkdtemp(prefix="flink-cluster-"))
        self.rest, self.job_endpoint = f"http://127.0.0.1:{rest}", f"127.0.0.1:{job}"
        config = {
            **PROPERTIES,
            "jobmanager.rpc.port": str(rpc),
            "rest.port": str(rest),
            "taskmanager.numberOfTaskSlots": str(slots),
            "state.checkpoints.dir": f"file://{self.folder}/checkpoints",
            "state.savepoints.dir": f"file://{self.folder}/savepoints",
            "io.tmp.dirs": str(self.folder),
            **(properties or {}),
        }
        (self.folder / "flink-conf.yaml").write_text("".join(f"{name}: {value}\n" for name, value in config.items()))
        self.task_managers: list[TaskManager] = []
        self._processes: list[Process] = []
        try:
            self._job_manager = self._java(
                "job-manager",
                "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
                "--configDir",
                str(self.folder),
            )
            self._processes.append(self._job_manager)
            for _ in range(task_managers):
                self.add_task_manager(wait=False)
            self._job_server = self._java(
                "job-server",
                "org.apache.beam.runners.flink.FlinkJobServerDriver",
                "--job-host=127.0.0.1",
                f"--job-port={job}",
                f"--artifact-port={artifact}",
                "--expansion-port=0",
                f"--artifacts-dir={self.folder}/artifacts",
                f"--flink-master=127.0.0.1:{rest}",
                f"--flink-conf-dir={self.folder}",
            )
            self._processes.append(self._job_server)
            for number, manager in enumerate(self.task_managers, 1):
                self._wait_for(lambda n=number: self.slots() >= n * slots, "task manager", manager.jvm)  # type: ignore[misc]
            self._wait_for(lambda: _listens(self.job_endpoint), "job server", self._job_server)
        except BaseException:
            self.close()
            raise

    @property
    def flags(self) -> list[str]:
        """What a job needs to run here."""
        return [
            "--runner=FlinkRunner",
            f"--flink_master={self.rest.removeprefix('http://')}",
            f"--job_endpoint={self.job_endpoint}",
            "--environment_type=EXTERNAL",
            f"--environment_config={self.pool}",
        ]

    @property
    def pool(self) -> str:
        """Where a task manager finds the pool beside it."""
        return f"{POOL_HOST}:{self._pool_port}"

    def add_task_manager(self, wait: bool = True) -> TaskManager:
        """Starts a further task manager with its pool."""
        number = len(self.task_managers)
        address = f"127.0.0.{number + 2}"
        hosts = self.folder / f"hosts-{number}"
        hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n{address} {POOL_HOST}\n")
        pool = Process(
            f"worker-pool-{number}",
            [sys.executable, "-m", "tests.flink_worker_pool", address, str(self._pool_port)],
            self.folder,
            # It starts whatever "python" is.
            {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        jvm = self._java(
            f"task-manager-{number}",
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            "--configDir",
            str(self.folder),
            options=[f"-Djdk.net.hosts.file={hosts}", "-Xmx640m"],
        )
        manager = TaskManager(jvm, pool)
        self.task_managers.append(manager)
        if wait:
            before = self.slots()
            self._wait_for(lambda: self.slots() > before, "task manager", jvm)
        return manager

    def kill_worker(self, number: int) -> int | None:
        """``kill -9`` of a Python worker of the task manager of that number, modulo theirs, or else of any other.

        Returns:
            Its process id; ``None`` if there is no worker at this moment: Flink may have put the whole job into one task
            manager, or is starting it again.
        """
        first = number % len(self.task_managers)
        for manager in (*self.task_managers[first:], *self.task_managers[:first]):
            with contextlib.suppress(IndexError, ProcessLookupError):  # none, or it ends by itself
                return manager.kill_worker()
        return None

    def get(self, path: str) -> Any:
        """Asks Flink's REST interface."""
        with urllib.request.urlopen(f"{self.rest}/{path}", timeout=10) as answer:
            return json.load(answer)

    def slots(self) -> int:
        """How many slots the task managers that are known have; 0 while nobody answers."""
        try:
            return sum(manager["slotsNumber"] for manager in self.get("taskmanagers")["taskmanagers"])
        except OSError:
            return 0

    def jobs(self) -> dict[str, str]:
        """Job ids and their states."""
        return {job["id"]: job["status"] for job in self.get("jobs")["jobs"]}

    def close(self) -> None:
        """Ends everything and removes the data. May be called twice."""
        for process in self._processes:
            process.close()
        for manager in self.task_managers:
            manager.close()
        self._processes, self.task_managers = [], []
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        """The ends of all logs."""
        tails = []
        for file in sorted(self.folder.glob("*.log")):
            lines = file.read_text(errors="replace").splitlines()
            tails.append("\n".join([f"--- {file.name}", *lines[-LOG_TAIL_LINES:]]))
        return "\n".join(tails)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _java(self, name: str, main: str, *arguments: str, options: list[str] | None = None) -> Process:
        log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
        command = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *JAVA_17, *log, *(options or [])]
        return Process(name, [*command, "-cp", f"{JARS}/*", main, *arguments], self.folder)

    def _wait_for(self, condition: Callable[[], bool], what: str, process: Process) -> None:
        stop_at = time.monotonic() + START_S
        while not condition():
            if not process.running or time.monotonic() > stop_at:
                raise FlinkError(f"no {what} within {START_S:.0f} s. The end of {process.log_file}:\n{process.log_tail()}")
            time.sleep(0.1)


def install() -> Path:
    """Returns the directory of the jars; copies them there with Maven the first time. Safe among processes.

    Raises:
        FlinkError: ``java`` or ``mvn`` is missing, or Maven failed.
    """
    try:
        return install_jars(JARS, POM, f"-Dflink.version={FLINK}")
    except BrokerError as error:
        raise FlinkError(str(error)) from error


def _listens(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def main(say: Callable[..., None] = print) -> None:
    """Runs a cluster until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.flink_cluster", description="A real Flink cluster to play with.")
    parser.add_argument("--task_managers", type=int, default=2, help="how many (2)")
    parser.add_argument("--slots", type=int, default=2, help="slots of each (2)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with FlinkCluster(args.task_managers, args.slots) as cluster:
            say(f"Flink {FLINK} with {args.task_managers} task managers: {cluster.rest} (logs in {cluster.folder})")
            say("A job runs on it with these flags:")
            say(f"  {' '.join(cluster.flags)} --parallelism={args.task_managers}")
            say("Ctrl-C stops it and removes its data.", flush=True)
            signal.pause()
    except FlinkError as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        say("stopped")


if __name__ == "__main__":
    main()
