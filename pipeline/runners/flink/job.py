"""A job on a Flink cluster: submits it, watches its progress in Kafka, and cancels it when it should stop.

The progress of the job is the group's committed offsets. They are the checkpoint, and they remain whatever happens to Flink.
Cancelling the job loses nothing: records in flight are not committed, so the next run reads them again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.cli.beam_values import beam_value
from pipeline.cli.config import Config
from pipeline.process.order import EXIT_DONE, EXIT_FAILED, EXIT_WRONG
from pipeline.process.signals import drain_on_signals
from pipeline.reporting.status import Status
from pipeline.runners.flink import options as flink
from pipeline.runners.flink.rest import ENDED, FlinkRest, FlinkRestError, JobState
from pipeline.terminal import tell_error
from transforms.errors import ScoringError
from transforms.kafka.admin.progress import Progress
from transforms.kafka.config import Partition
from transforms.kafka.ends import Ends
from transforms.kafka.stop import StopConditions, draining, request_drain
from transforms.retry import Deadline

if TYPE_CHECKING:
    from pipeline.job import Job

CHECK_S = 0.5
SAY_S = 2.0
STILL_S = 2.0
"""After ``--duration_s``, the job is cancelled once no offset has been committed for this many seconds, …"""
STILL_AT_MOST_S = 30.0
"""… but at the latest after this many seconds."""
CANCEL_S = 60.0
SHOWN = 300
"""Most characters of a failure's reason that are shown."""


class RemoteError(ScoringError):
    """Flink or the job server refused the job, or the job failed."""


class RemoteJob:
    """A job that has been submitted.

    Args:
        result: Beam's.
        rest: Flink's.
        name: Under which it was submitted.
        sleep: For tests.
    """

    def __init__(self, result: Any, rest: FlinkRest, name: str, sleep: Callable[[float], None] = time.sleep):
        self._result, self._rest, self._name, self._sleep = result, rest, name, sleep
        self._id: str | None = None
        self._refused: str | None = None
        self._last = JobState("CREATED")
        # Its streams have to be read, or the reason is lost if the job server refuses it.
        self._waiting = threading.Thread(target=self._wait, name="job", daemon=True)
        self._waiting.start()

    def state(self) -> JobState:
        """Returns the job's state; the last known one while Flink does not answer.

        Raises:
            RemoteError: The job server refused the job.
        """
        with contextlib.suppress(FlinkRestError):
            self._id = self._id or self._rest.find(self._name)
            if self._id is not None:
                self._last = self._rest.state(self._id)
                return self._last
            if self._refused is not None:
                raise RemoteError(f"the job server refused the job: {self._refused}")
        return self._last

    def failure(self) -> str:
        """Returns why the job failed."""
        return (self._rest.failure(self._id) if self._id else "") or self._refused or "see Flink's pages"

    def cancel(self) -> str:
        """Cancels the job; returns its final state. Waits a minute at most.

        Raises:
            RemoteError: Flink does not answer.
        """
        deadline, refusal = Deadline(CANCEL_S), ""
        while (state := self.state().state) not in ENDED and not deadline.passed:
            if self._id is not None and state != "CANCELLING":
                try:
                    self._rest.cancel(self._id)
                except FlinkRestError as error:
                    refusal = str(error)
            self._sleep(CHECK_S)
        if state not in ENDED:
            raise RemoteError(f"job {self._name} could not be cancelled, and may be running still: {refusal or state}")
        return state

    def _wait(self) -> None:
        try:
            self._result.wait_until_finish()
        except Exception as error:  # noqa: BLE001  # Beam raises RuntimeError, with the trace as its text
            self._refused = _last_line(error)


def run(config: Config, job: Job, partitions: Sequence[Partition], status: Status) -> int:
    """Submits the job and watches it until it ends.

    Returns:
        The exit status.
    """
    drain_on_signals(request_drain)
    logging.getLogger().addFilter(lambda record: record.name != "root")  # Beam's messages of the job: we tell its end
    progress = Progress(job.kafka, partitions)
    try:
        submitted = submit(job, config)
    except ScoringError as error:
        progress.close()
        tell_error(error)
        return EXIT_WRONG
    try:
        shards = flink.parallelism(config)
        status.say(
            f"submitted in {shards} shard{'s' if shards > 1 else ''} for {len(partitions)} partitions; "
            "Ctrl-C or SIGTERM here cancels the job"
        )
        state = watch(submitted, progress, job.stop, status)
        records = progress.look()
        if state == "FAILED":
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


def submit(job: Job, config: Config) -> RemoteJob:
    """Submits the job.

    Raises:
        RemoteError: Flink or the job server does not answer, or refuses the job.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipeline.build import build
    from pipeline.runners.worker_process import prepare

    rest = FlinkRest(beam_value(config.beam_args, "flink_master") or "")
    name = f"{config.group_id}-{uuid.uuid4().hex[:8]}"
    options = PipelineOptions([*flink.beam_args(config), f"--job_name={name}", f"--runner={config.runner}", "--streaming"])
    pipeline = beam.Pipeline(options=options)
    build(pipeline, job, flink.shards(config), functools.partial(prepare, job.telemetry))
    try:
        if there := rest.running(config.group_id):
            raise RemoteError(
                f"--group_id={config.group_id}: Flink runs {', '.join(there)} for this group already; the two would take "
                "the partitions from each other. Cancel it first, or use another group"
            )
        return RemoteJob(pipeline.run(), rest, name)
    except FlinkRestError as error:
        raise RemoteError(f"--flink_master: Flink does not answer: {error}") from error
    except RemoteError:
        raise
    except Exception as error:
        where = beam_value(config.beam_args, "job_endpoint") or "its own job server"
        raise RemoteError(f"--runner={config.runner}: {where} did not take the job: {_last_line(error)}") from error


def watch(
    job: RemoteJob,
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
            status.say(f"{committed:,} records, {rate:,.0f}/s, {progress.left():,} to go; {now.state.lower()}")
    return job.cancel()


def _ends_reached(ends: Ends, progress: Progress) -> bool:
    ends.follow(progress.identities)
    ends.renew(progress.end_offsets)
    return ends.are_known and progress.has_committed(ends.pending)


def _committed(progress: Progress, sleep: Callable[[float], None]) -> Iterator[int]:
    while True:
        yield progress.look()
        sleep(CHECK_S)


def _last_line(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return json.dumps(lines[-1])[1:-1] if len(lines) > 1 else lines[0]
