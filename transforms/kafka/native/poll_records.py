"""``PollRecords``: the DoFn of ``ReadFromKafka`` in a pipeline of one's own, with a ``WriteToKafka`` or alone.

With one, the sink commits: exactly once (``session.py``). Alone, the source commits what the runner has said to be durable:
at least once (``alone.py``).
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.utils.timestamp import Timestamp

from transforms.coders import RecordChunk
from transforms.errors import KafkaError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.alone import AloneSession
from transforms.kafka.native.graph import SourceFn
from transforms.kafka.native.polling import IDLE_POLL_S, Polling
from transforms.kafka.native.polls import Polls
from transforms.kafka.native.sessions import close_job, end, session
from transforms.kafka.native.sinks import require_sink
from transforms.kafka.native.watermark import Watermark
from transforms.kafka.stop import StopConditions
from transforms.observe import reporting_failures

log = logging.getLogger(__name__)

JobKey = tuple[KafkaConfig, StopConditions]

_polling: dict[JobKey, Polling] = {}


@dataclasses.dataclass(slots=True)
class _Alone:
    """What a source without a sink has in this process while it is in the group."""

    session: AloneSession
    watermark: Watermark
    times_read_again: int = 0


_alone: dict[JobKey, _Alone] = {}
_polling_alone: dict[JobKey, Polling] = {}
_set_up: collections.Counter[JobKey] = collections.Counter()
_set_up_lock = threading.Lock()


def poll_bundle(config: KafkaConfig, stop: StopConditions, tracker: Any) -> Iterator[RecordChunk]:
    """Reads one bundle, which a sink commits, and asks to be called again unless it is time to stop.

    Args:
        config: The job's Kafka configuration.
        stop: Its stop conditions.
        tracker: The restriction tracker of the bundle.

    Raises:
        KafkaError: There is no sink in the stage, or Kafka can't be read.
    """
    number = tracker.current_restriction()
    if not tracker.try_claim(number):
        return
    with reporting_failures():
        require_sink(config)
        kafka = session(config)
        kafka.begin()
        key = config, stop
        if number == 0 or key not in _polling:  # a job of this process that failed has left one, with what it has read
            _polling[key] = Polling(*key)
        polling = _polling[key]
        if polling.finished(kafka):
            del _polling[key]  # the next job in this process must start with a new budget
            end(config)  # at the end of the bundle, which the sink has still to commit
            return  # without a deferred remainder the source ends, and the job with it
        yield from polling.chunks(kafka)
        tracker.defer_remainder()


class PollRecords(SourceFn):
    """Reads chunks, bundle by bundle.

    Args:
        config: The job's Kafka configuration.
        stop: Its stop conditions.
    """

    def __init__(self, config: KafkaConfig, stop: StopConditions):
        self._config, self._stop = config, stop

    def setup(self) -> None:
        """Counts this DoFn among those that read for the pipeline."""
        with _set_up_lock:
            _set_up[self._config, self._stop] += 1

    def teardown(self) -> None:
        """Leaves the group when nothing reads for the pipeline any more, which may have failed.

        In a notebook, as on a cluster, the process lives on. A member that reads no more would keep its partitions from the
        next run for ``max.poll.interval.ms``, and an open transaction keeps readers waiting. A bundle that the runner may
        still finalise keeps its DoFn.
        """
        key = self._config, self._stop
        with _set_up_lock:
            _set_up[key] -= 1
            if _set_up[key] > 0:
                return
            del _set_up[key]
        try:
            if (alone := _alone.pop(key, None)) is not None:
                alone.session.close()
            if self.has_sink:
                close_job(self._config)  # it is open if the pipeline has failed
        except KafkaError as error:  # the runner has its own error, or none: nothing is lost by this one
            log.warning("leaving the group %s: %s", self._config.group_id, error)

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        _: object,
        finalizer: Any = beam.DoFn.BundleFinalizerParam,  # before the restriction, or Beam does not find it
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider()),
        tracker: Any = beam.DoFn.RestrictionParam(Polls()),
    ) -> Iterator[RecordChunk]:
        """Reads one bundle, and asks to be called again unless it is time to stop."""
        if self.has_sink:
            yield from poll_bundle(self._config, self._stop, tracker)
            return
        number = tracker.current_restriction()
        if not tracker.try_claim(number):
            return
        with reporting_failures(), self._not_kept_if_broken():
            alone = self._here()
            kafka = alone.session
            kafka.begin(number)
            if kafka.times_read_again != alone.times_read_again:
                # What was read before is emitted again: a watermark that knows of it would make it late.
                alone.times_read_again, alone.watermark = kafka.times_read_again, Watermark()
            polling = self._polling(number)
            stopping = polling.finished(kafka)
            if stopping and kafka.finish_commit():
                self._end()
                return
            if stopping or kafka.is_full:
                kafka.poll_nothing(IDLE_POLL_S)  # until the runner has finalised what it has
            else:
                for chunk in polling.chunks(kafka):
                    alone.watermark.note(chunk)
                    yield chunk
            if (finalise := kafka.hand_over()) is not None:
                finalizer.register(finalise)
            if (now := alone.watermark.current(kafka.reader.owned, kafka.reader.ends)) is not None:
                _advance(watermark, now)
            tracker.defer_remainder()

    def _here(self) -> _Alone:
        key = self._config, self._stop
        if key not in _alone:
            _alone[key] = _Alone(AloneSession(self._config), Watermark())
        return _alone[key]

    def _polling(self, number: int) -> Polling:
        """What it has read so far counts on, also by another session; unless it is of an earlier job, which failed."""
        key = self._config, self._stop
        if number == 0 or key not in _polling_alone:
            _polling_alone[key] = Polling(*key)
        return _polling_alone[key]

    @contextlib.contextmanager
    def _not_kept_if_broken(self) -> Iterator[None]:
        """After an error of Kafka the next attempt reads by a session of its own: this one's reader may be lost for good."""
        try:
            yield
        except KafkaError:
            if (alone := _alone.pop((self._config, self._stop), None)) is not None:
                with contextlib.suppress(KafkaError):  # the first error says more
                    alone.session.close()
            raise

    def _end(self) -> None:
        key = self._config, self._stop
        _polling_alone.pop(key, None)
        _alone.pop(key).session.close()


def _advance(estimator: Any, seconds: float) -> None:
    """Moves the watermark on, never back: another process may have been ahead."""
    at, before = Timestamp(micros=int(seconds * 1_000_000)), estimator.current_watermark()
    if before is None or at > before:
        estimator.set_watermark(at)
