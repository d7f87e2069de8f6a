"""A shell of one job: it runs the job in a process group of its own, in the foreground or not, and tells what became of it.

``python -m tests.pipeline.reporting.small_shell HOW [&]`` starts itself as the job, with ``--job``. It is there because the
kernel resets a terminal whose session ends: then nothing can be seen of how a job left it.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import termios
import time

WAIT_S = 60.0


def shell(how: str, background: bool) -> None:
    """Runs the job, and says how it ended and whether the terminal is as before."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGTTOU, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])  # to give the terminal away, and to take it back
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = termios.tcgetattr(0)
    job = subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.reporting.small_shell", how, "--job"],
        process_group=0,
        preexec_fn=as_from_a_terminal,  # no threads here
    )
    if not background:
        os.tcsetpgrp(0, job.pid)
    print(f"job {job.pid}", flush=True)
    while True:
        _, status = os.waitpid(job.pid, os.WUNTRACED)
        same = f"terminal as before: {termios.tcgetattr(0) == before}"
        if not os.WIFSTOPPED(status):
            print(f"ended: status {os.waitstatus_to_exitcode(status)}, {same}", flush=True)
            return
        print(f"stopped: {same}", flush=True)
        os.kill(job.pid, signal.SIGCONT)


def as_from_a_terminal() -> None:
    """What a job inherits there, however the tests were started: ``nohup`` ignores a signal for all that comes of it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTTOU])


def job(how: str) -> None:
    """Draws the live status until a signal comes."""
    from pipeline.process.signals import drain_on_signals
    from pipeline.process.stats import WorkerStats
    from pipeline.reporting.lag import Lag
    from pipeline.reporting.status import LiveStatus

    status, signals, stats = LiveStatus(), list[str](), WorkerStats()

    def drain() -> None:
        status.say("draining")
        signals.append("drain")

    if how == "starts":
        signal.signal(signal.SIGINT, lambda *_: os._exit(7))
    with status.watching(stats.rows, None, lambda: Lag({("orders", 3): 77})):
        if how != "starts":
            drain_on_signals(drain, status.put_back)
        status.say("ready")
        wait_for(signals)
        if how == "raises":
            raise RuntimeError
        if how == "stays":
            wait_for([])


def wait_for(signals: list[str]) -> None:
    """Waits without a lock: a handler that runs in the thread that has the lock of an ``Event`` can't set it."""
    ends_at = time.monotonic() + WAIT_S
    while not signals and time.monotonic() < ends_at:
        time.sleep(0.02)


if __name__ == "__main__":
    if sys.argv[-1] == "--job":
        job(sys.argv[1])
    else:
        shell(sys.argv[1], sys.argv[-1] == "&")
