"""``PollRecords``: the DoFn of ``ReadFromKafka`` in a pipeline of one's own, with a ``WriteToKafka`` or alone.

With one, the sink commits: exactly once (``session.py``). Alone, the source commits what the runner has said to be durable:
at least once (``alone.py``).
"""

from __future__ import annotations

import contextlib
import dataclasses
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
from transforms.kafka.native.sessions import session
from transforms.kafka.native.sinks import require_sink
from transforms.kafka.native.watermark import Watermark
from transforms.kafka.stop import StopConditions
from transforms.observe import reporting_failures

JobKey = tuple[KafkaConfig, StopConditions]

_polling: dict[JobKey, Polling] = {}


@dataclasses.dataclass(slots=True)
class _Alone:
    """What a source without a sink has in this process."""

    session: AloneSession
    polling: Polling
    watermark: Watermark
    times_read_again: int = 0


_alone: dict[JobKey, _Alone] = {}


def poll_bundle(config: KafkaConfig, stop: StopConditions, tracker: Any) -> Iterator[RecordChunk]:
    """Reads one bundle, which a sink commits, and asks to be called again unless it is time to stop.

    Args:
        config: The job's Kafka configuration.
        stop: Its stop conditions.
        tracker: The restriction tracker of the bundle.

    Raises:
        KafkaError: There is no sink in the stage, or Kafka can't be read.
    """
    if not tracker.try_claim(tracker.current_restriction()):
        return
    with reporting_failures():
        require_sink(config)
        kafka = session(config)
        kafka.begin()
        key = config, stop
        polling = _polling.get(key) or _polling.setdefault(key, Polling(*key))
        if polling.finished(kafka):
            del _polling[key]  # the next job in this process must start with a new budget
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
            alone = self._here(number)
            kafka = alone.session
            kafka.begin(number)
            if kafka.times_read_again != alone.times_read_again:
                # What was read before is emitted again: a watermark that knows of it would make it late.
                alone.times_read_again, alone.watermark = kafka.times_read_again, Watermark()
            stopping = alone.polling.finished(kafka)
            if stopping and kafka.finish_commit():
                self._end()
                return
            if stopping or kafka.is_full:
                kafka.poll_nothing(IDLE_POLL_S)  # until the runner has finalised what it has
            else:
                for chunk in alone.polling.chunks(kafka):
                    alone.watermark.note(chunk)
                    yield chunk
            if (finalise := kafka.hand_over()) is not None:
                finalizer.register(finalise)
            if (now := alone.watermark.current(kafka.reader.owned, kafka.reader.ends)) is not None:
                _advance(watermark, now)
            tracker.defer_remainder()

    def _here(self, number: int) -> _Alone:
        key = self._config, self._stop
        if number == 0 and key in _alone:
            _alone[key].polling = Polling(*key)  # of an earlier job in this process, which failed
        if key not in _alone:
            _alone[key] = _Alone(AloneSession(self._config), Polling(*key), Watermark())
        return _alone[key]

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
        _alone.pop((self._config, self._stop)).session.close()


def _advance(estimator: Any, seconds: float) -> None:
    """Moves the watermark on, never back: another process may have been ahead."""
    at, before = Timestamp(micros=int(seconds * 1_000_000)), estimator.current_watermark()
    if before is None or at > before:
        estimator.set_watermark(at)
