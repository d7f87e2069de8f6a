"""Faults of processes: killed, suspended. Each scenario leaves a job that has come to its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.stream import GOES_ON_S, Stream
from tests.integration.process import Running, Scoring, wait_until
from tests.processes import alive

SHORT_TIMES = ("--kafka_config=session.timeout.ms=6000", "--kafka_config=transaction.timeout.ms=4000")
"""How long a dead process's partitions and its open transaction are kept: so a scenario is over in minutes."""

BROKER_ASSIGNS = ("--kafka_config=group.protocol=consumer", "--kafka_config=transaction.timeout.ms=4000")
"""The same with KIP-848's protocol of groups, whose session time-out is the broker's (``kafka_broker.PROPERTIES``)."""


ELDER = 0.75
"""How often the elder one of two workers is killed; else either."""


def kill_one(stream: Stream, times: int) -> None:
    """The only process is killed at any moment, and started again."""
    stream.fill(stream.planned)
    stream.throttle(1 / (times + 1))
    process = stream.job.start("--until_end")
    for time_left in range(times, 0, -1):
        in_mid_stream(stream, time_left, process)
        with stream.fault():
            process.kill()
            stream.throttle(1 / time_left)
            process = stream.job.start("--until_end")
    stream.finish(process)


def kill_one_of_two(stream: Stream, times: int) -> None:
    """Of two processes of a group one is killed, and started again; then the other one."""
    _kill_of_two(stream, times, lambda time_left: (time_left % 2,))


def kill_both(stream: Stream, times: int) -> None:
    """Both processes of a group are killed at the same moment, and started again."""
    _kill_of_two(stream, times, lambda _: (0, 1))


def _kill_of_two(stream: Stream, times: int, victims: Callable[[int], tuple[int, ...]]) -> None:
    stream.fill(stream.planned)
    stream.throttle(1 / (times + 1))
    processes = [stream.job.start() for _ in range(2)]
    for time_left in range(times, 0, -1):
        in_mid_stream(stream, time_left)
        with stream.fault():
            for victim in victims(time_left):
                processes[victim].kill()
            stream.throttle(1 / time_left)
            for victim in victims(time_left):
                processes[victim] = stream.job.start()
    stream.drain(*processes)


def kill_workers(stream: Stream, times: int) -> None:
    """With ``--workers=2`` a worker is killed; its parent starts it again."""
    stream.fill(stream.planned)
    stream.throttle(1 / (times + 1))
    process = stream.job.start("--until_end", "--workers=2")
    for time_left in range(times, 0, -1):
        in_mid_stream(stream, time_left, process)
        _two_workers(process)
        with stream.fault(process):
            os.kill(_victim(stream, process), signal.SIGKILL)
            stream.throttle(1 / time_left)
    stream.finish(process)


def kill_parent(stream: Stream, times: int) -> None:
    """The parent of two workers is killed; the workers end by themselves, and it is started again, meanwhile."""
    stream.fill(stream.planned)
    stream.throttle(1 / (times + 1))
    process = stream.job.start("--until_end", "--workers=2")
    for time_left in range(times, 0, -1):
        _two_workers(process)
        in_mid_stream(stream, time_left, process)
        orphans = _workers(process)
        with stream.fault():
            process.kill()
            stream.throttle(1 / time_left)
            process = stream.job.start("--until_end", "--workers=2")
        _ended(orphans)
    stream.finish(process)


def suspend(stream: Stream, times: int) -> None:
    """Of two processes one is suspended until Kafka has given it up, and wakes up when the other has its partitions."""
    stream.fill(stream.planned)
    stream.throttle(1 / (times + 1))
    processes = [stream.job.start() for _ in range(2)]
    for time_left in range(times, 0, -1):
        in_mid_stream(stream, time_left)
        victim = processes[time_left % 2]
        os.kill(victim.pid, signal.SIGSTOP)
        stream.throttle(1 / (2 * time_left + 1))
        time.sleep(8)  # past the session's and the transaction's time-out
        stream.goes_on()
        with stream.fault():
            os.kill(victim.pid, signal.SIGCONT)
            stream.throttle(1 / (2 * time_left))
    stream.drain(*processes)


def in_mid_stream(stream: Stream, times_left: int, process: Running | None = None) -> None:
    """Waits for some answers, and some more time: less than what the model server gives before it holds."""
    share = stream.left() // times_left
    stream.answered(stream.rng.randrange(max(1, share // 2)), process)
    time.sleep(stream.rng.uniform(0, 0.3))


def _victim(stream: Stream, process: Scoring) -> int:
    """A worker: the elder one, as a rule, so that none dies five times in its start, which would rightly end the job."""
    workers = _workers(process)
    return min(workers, key=_started_at) if stream.rng.random() < ELDER else stream.rng.choice(workers)


def _started_at(pid: int) -> int:
    """When a process was started, in ticks since the machine's start; /proc/PID/stat has it as field 22."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _two_workers(process: Scoring) -> None:
    wait_until(lambda: len(_workers(process)) == 2, "two workers", GOES_ON_S, process)


def _ended(pids: list[int]) -> None:
    wait_until(lambda: not any(map(alive, pids)), "end of the workers", GOES_ON_S)


def _workers(process: Scoring) -> list[int]:
    """The worker processes under a parent, by /proc."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            if parent == process.pid and b"pipeline.worker" in command:
                found.append(int(folder.name))
    return found
