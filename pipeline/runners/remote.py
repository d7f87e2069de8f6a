"""A job whose workers are elsewhere: watches its progress in Kafka, and cancels it when it should stop.

The progress of the job is the group's committed offsets. They are the checkpoint, and they remain whatever happens to the
runner. Cancelling the job loses nothing: records in flight are not committed, so the next run reads them again.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import logging
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pipeline.cli.config import Config
from pipeline.process.order import EXIT_DONE, EXIT_FAILED, EXIT_WRONG
from pipeline.process.signals import drain_on_signals
from pipeline.reporting.status import Status
from pipeline.terminal import tell_error
from transforms.errors import ScoringError
from transforms.kafka.admin.progress import Progress
from transforms.kafka.config import Partition
from transforms.kafka.ends import Ends
from transforms.kafka.stop import StopConditions, draining, request_drain
from transforms.printable import counted
from transforms.retry import Deadline

if TYPE_CHECKING:
    from pipeline.job import Job

CANCELED, CANCELLING, FAILED, FINISHED = "CANCELED", "CANCELLING", "FAILED", "FINISHED"
ENDED = (CANCELED, FAILED, FINISHED)

CHECK_S = 0.5
CANCEL_S = 60.0
ANSWER_S = 10.0
"""How long one call of a job server may take."""

SAY_S = 2.0
STILL_S = 2.0
"""After ``--duration_s``, the job is cancelled once no offset has been committed for this many seconds, …"""
STILL_AT_MOST_S = 30.0
"""… but at the latest after this many seconds."""
SHOWN = 300
"""Most characters of a failure's reason that are shown."""


class RemoteError(ScoringError):
    """The runner or its job server refused the job, or the job failed."""


@dataclasses.dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job.

    Attributes:
        state: Flink's name of the state: ``RUNNING``, ``RESTARTING``, ``FAILED``, ``CANCELED``, ``FINISHED`` …
        restarted_ms: When the runner last restarted the job, in milliseconds since the epoch; 0 if it never did.
    """

    state: str
    restarted_ms: int = 0


class Remote(Protocol):
    """A job that has been submitted."""

    def state(self) -> JobState:
        """Returns the job's state; the last known one while the runner does not answer.

        Raises:
            RemoteError: The job was refused, or nothing has been heard of it for long.
        """

    def failure(self) -> str:
        """Returns why the job failed."""

    def cancel(self) -> str:
        """Cancels the job; returns its final state.

        Raises:
            RemoteError: It could not be cancelled.
        """


T = TypeVar("T")


def in_time(call: Callable[[], T], answer_s: float = ANSWER_S) -> T:
    """Calls what has no deadline of its own, as Beam's client of a job server: in a thread, which is left if it hangs.

    Raises:
        TimeoutError: It has not come back after ``answer_s``.
    """
    answer: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again where the answer is waited for
            answer.set_exception(error)

    threading.Thread(target=run, name="one call", daemon=True).start()
    try:
        return answer.result(answer_s)
    except concurrent.futures.TimeoutError as error:
        raise TimeoutError(f"no answer within {answer_s:.0f} s") from error


def cancelled(name: str, look: Callable[[], str], ask: Callable[[str], str], sleep: Callable[[float], None]) -> str:
    """Cancels a job; returns its final state. Waits a minute at most.

    Args:
        name: The job's.
        look: Returns the job's state.
        ask: Asks the runner to cancel a job in this state; returns why it refused, ``""`` if it did not. It is called until
            the job has ended.
        sleep: Waits a number of seconds.

    Raises:
        RemoteError: The runner does not answer, or the job runs on.
    """
    deadline, refusal = Deadline(CANCEL_S), ""
    while (state := look()) not in ENDED and not deadline.passed:
        refusal = ask(state) or refusal
        sleep(CHECK_S)
    if state not in ENDED:
        raise RemoteError(f"job {name} could not be cancelled, and may be running still: {refusal or state}")
    return state


class Waiting:
    """Waits for the end of a job in a thread: its streams have to be read, or the reason is lost if it is refused or fails.

    Args:
        result: Beam's.

    Attributes:
        reason: Why the job was refused or failed; ``None`` as long as nothing is known of that.
    """

    def __init__(self, result: Any):
        self._result = result
        self.reason: str | None = None
        self._thread = threading.Thread(target=self._wait, name="job", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Waits for the end, so many seconds at most."""
        self._thread.join(timeout_s)

    def _wait(self) -> None:
        try:
            self._result.wait_until_finish()
        except Exception as error:  # noqa: BLE001  # Beam raises RuntimeError, with the trace as its text
            self.reason = last_line(error)


def run(
    config: Config, job: Job, partitions: Sequence[Partition], status: Status, submit: Callable[[], Remote], shards: int
) -> int:
    """Submits the job and watches it until it ends.

    Args:
        config: All flags.
        job: The job.
        partitions: Of all input topics.
        status: Told what a person should know.
        submit: Submits the job.
        shards: How many shards it has.

    Returns:
        The exit status.
    """
    drain_on_signals(request_drain)
    logging.getLogger().addFilter(lambda record: record.name != "root")  # Beam's messages of the job: we tell its end
    progress = Progress(job.kafka, partitions)
    try:
        submitted = submit()
    except ScoringError as error:
        progress.close()
        tell_error(error)
        return EXIT_WRONG
    try:
        status.say(
            f"submitted in {counted(shards, 'shard')} for {counted(len(partitions), 'partition')}; "
            "Ctrl-C or SIGTERM here cancels the job"
        )
        state = watch(submitted, progress, job.stop, status)
        records = progress.look()
        if state == FAILED:
            raise RemoteError(f"the job failed: {submitted.failure()}")
    except ScoringError as error:
        tell_error(error)
        return EXIT_FAILED
    finally:
        progress.close()
    summary = summarize(records, progress.moving_s)
    if config.status != "off":
        print(f"\ndone (the job is {state.lower()}; what was in flight is read again by the next one)")
        print(f"  {'records':<16} {records:,}")
        print(f"  {'records/s':<16} {summary['records_per_s']:,.0f}")
    if config.summary_json is not None:
        config.summary_json.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return EXIT_DONE


def summarize(records: int, moving_s: float) -> dict[str, float]:
    """Returns the content of ``--summary_json``: what can be seen from outside the workers, in Kafka.

    Args:
        records: How many the group has committed.
        moving_s: How long commits came, in seconds.
    """
    rate = records / moving_s if moving_s else 0.0
    return {"records": records, "duration_s": round(moving_s, 3), "records_per_s": round(rate, 1)}


def watch(
    job: Remote,
    progress: Progress,
    stop: StopConditions,
    status: Status,
    draining: Callable[[], bool] = draining,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Watches a job until it ends, and cancels it when it should stop.

    Args:
        job: The job.
        progress: What its group has committed.
        stop: When to end it.
        status: Told what a person should know.
        draining: Whether it is to be ended.
        clock: For tests.
        sleep: For tests.

    Returns:
        The state it has come to.
    """
    said_at, before, restarts, restarted_ms, state = clock(), 0, 0, 0, ""
    ends = Ends(stop) if stop.end_offsets is not None else None
    for committed in _committed(progress, sleep):
        now = job.state()
        if now.state in ENDED:
            return now.state
        if now.restarted_ms > restarted_ms:
            restarts, restarted_ms = restarts + 1, now.restarted_ms
            reason = textwrap.shorten(job.failure(), SHOWN, placeholder=" …")
            status.say(f"Flink has started the job again (restart {restarts}), and nothing is lost. Why: {reason}")
        if draining():
            status.say("cancelling the job (a second signal leaves it running)")
            break
        if ends is not None and _ends_reached(ends, progress):
            break
        over_s = time.time() - stop.drain_at_s if stop.drain_at_s is not None else -1.0
        if over_s >= STILL_AT_MOST_S or (over_s >= 0 and progress.still_s >= STILL_S):
            break
        since_s = clock() - said_at
        if since_s >= SAY_S and (committed, now.state) != (before, state):
            rate = (committed - before) / since_s
            said_at, before, state = clock(), committed, now.state
            status.say(f"{counted(committed, 'record')}, {rate:,.0f}/s, {progress.left():,} to go; {now.state.lower()}")
    return job.cancel()


def _ends_reached(ends: Ends, progress: Progress) -> bool:
    ends.follow(progress.identities)
    ends.renew(progress.end_offsets)
    return ends.are_known and progress.has_committed(ends.pending)


def _committed(progress: Progress, sleep: Callable[[float], None]) -> Iterator[int]:
    while True:
        yield progress.look()
        sleep(CHECK_S)


def last_line(error: BaseException) -> str:
    """Returns the last line of an error's text. Beam's is a trace, with the reason at its end."""
    details = getattr(error, "details", None)  # gRPC's errors are traces of many lines
    text = details() if callable(details) else str(error)
    lines: Sequence[str] = str(text or error).strip().splitlines() or [type(error).__name__]
    return json.dumps(lines[-1])[1:-1] if len(lines) > 1 else lines[0]
