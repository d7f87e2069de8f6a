"""``Mender``: what becomes of outputs that Kafka refuses. A prediction becomes a dead letter; a dead letter is made to fit.

A batch is refused as a whole. Kafka names the guilty records in its answer (KIP-467), but librdkafka (2.16) hands that on
only if there are two or more; of a batch that is too large Kafka names none. So a report is proof where the topic's limits
explain it, or where the record was alone in its batch. If there is no proof, the outputs are written again in smaller
batches.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import confluent_kafka as ck

from transforms.dead_letter import dead_letter
from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import KafkaError
from transforms.headers import ATTEMPTS, ON_PREDICTIONS, ORIGINAL_VALUE_BYTES
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig
from transforms.kafka.fitting import fitted, is_timestamp_refused, size_of, with_timestamp_of_now
from transforms.kafka.native.deliveries import Refusal
from transforms.kafka.native.originals import Originals, Source
from transforms.kafka.topic_limits import TopicLimits, read_limits
from transforms.kafka.vendor import TOO_LARGE, describe
from transforms.tracing import tracer
from transforms.types import Failure, KafkaRecord, OutputRecord

LIMITS_S = 30.0
"""How long limits that were read are believed."""

WATCHFUL_BUNDLES = 10
"""For how many bundles after a refusal outputs are compared with the topics' limits before they are written."""

SMALL_BATCH_BYTES = 16_384
"""``batch.size`` where a batch was too large for a topic whose limit can't be read; the default of Java's producer."""

ALONE = 1
"""A ``batch.size`` with which each record has a batch of its own."""

MARGIN_MS = 5_000
"""By how much a timestamp must break a limit to be refused here: the broker's clock counts, not ours."""

ReadLimits = Callable[[Iterable[str]], Mapping[str, TopicLimits]]


@dataclasses.dataclass(frozen=True, slots=True)
class Mended:
    """A bundle's outputs after ``Mender.mend``.

    Attributes:
        outputs: As many as before, in their order.
        dead: Class to the number of predictions that became dead letters.
        batch_bytes: The ``batch.size`` to go on with; ``None`` to leave it.
    """

    outputs: list[OutputRecord]
    dead: Counter[str]
    batch_bytes: int | None


class Mender:
    """Mends the bundles of one session.

    Args:
        config: The job's; without ``dead_letter_topic`` a refusal ends the job.
        read_limits: Gives the limits of topics.
        originals: Reads input records again.
        clock: Seconds, monotonic.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        config: KafkaConfig,
        read_limits: ReadLimits | None = None,
        originals: Any = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ):
        self._config, self._clock, self._now = config, clock, now
        self._read_limits = read_limits or self._ask_limits
        self._originals = originals or Originals(config)
        self._limits: Mapping[str, TopicLimits] = {}
        self._limits_read_at: float | None = None
        self._watchful = 0

    def close(self) -> None:
        """Closes its connections."""
        self._originals.close()

    def mend(self, outputs: Sequence[OutputRecord], refused: Sequence[Refusal], batch_bytes: int) -> Mended:
        """Replaces what Kafka has refused, and what it would refuse for the same reason.

        Args:
            outputs: All outputs of a bundle.
            refused: Those that were refused, by identity.
            batch_bytes: The producer's ``batch.size``.

        Raises:
            KafkaError: A dead letter is refused, and nothing of it is left to change; or there is no dead-letter topic.
        """
        if self._config.dead_letter_topic is None:
            raise KafkaError(f"writing to {refused[0].record.topic}: {describe(refused[0].error)}")
        limits = self._fresh_limits(refused)
        self._watchful = WATCHFUL_BUNDLES
        codes, smaller = self._guilty(refused, batch_bytes, limits)
        mended = list(outputs)
        reasons: dict[int, Failure] = {}
        for at, record in enumerate(outputs):
            error = codes.get(id(record))
            if record.failed_stage is not None:
                if error is not None:
                    mended[at] = self._fit(record, error, limits.get(record.topic))
            elif error is not None:
                reasons[at] = self._failure(record, error, limits.get(record.topic))
            elif (foreseen := self._foreseen(record, limits, sizes=True)) is not None:
                reasons[at] = foreseen
        self._bury(mended, reasons)
        return Mended(mended, Counter(reason.error_class for reason in reasons.values()), smaller)

    def foresee(self, records: list[OutputRecord]) -> list[OutputRecord]:
        """Replaces predictions that break a limit of their topic, for some bundles after a refusal."""
        if not self._watchful or self._limits_read_at is None:
            return records
        found = [(at, self._foreseen(record, self._limits)) for at, record in enumerate(records)]
        reasons = {at: reason for at, reason in found if reason is not None}
        if not reasons:
            return records
        self._watchful = WATCHFUL_BUNDLES
        mended = list(records)
        self._bury(mended, reasons)
        return mended

    def committed(self) -> bool:
        """A bundle was committed.

        Returns:
            Whether the last refusal was so long ago that batches may have their usual size again.
        """
        self._watchful = max(0, self._watchful - 1)
        return not self._watchful

    # ------------------------------------------------------------------ who is guilty

    def _guilty(
        self, refused: Sequence[Refusal], batch_bytes: int, limits: Mapping[str, TopicLimits]
    ) -> tuple[dict[int, ck.KafkaError], int | None]:
        """Returns the errors by the identity of their records, and a ``batch.size`` by which the guilty ones stand alone.

        As long as there is proof against one, the others of the topic are written again as they are.
        """
        by_topic: dict[str, list[Refusal]] = {}
        for refusal in refused:
            by_topic.setdefault(refusal.record.topic, []).append(refusal)
        guilty: dict[int, ck.KafkaError] = {}
        smaller = []
        for topic, refusals in by_topic.items():
            found = [it for it in refusals if it.certain or self._explains(limits.get(topic), it)]
            if not found and (len(refusals) == 1 or batch_bytes <= ALONE):
                found = refusals
            # Of a batch that is too large, or of records that are longer than a batch: they can have no company.
            found = found or [it for it in refusals if size_of(it.record) > batch_bytes]
            guilty |= {id(it.record): it.error for it in found}
            if not found:
                smaller.append(_smaller(batch_bytes, refusals, limits.get(topic)))
        return guilty, min(smaller, default=None)

    def _explains(self, limits: TopicLimits | None, refusal: Refusal) -> bool:
        record = refusal.record
        if limits is None:
            return False
        if refusal.error.code() in TOO_LARGE:
            return limits.max_bytes is not None and size_of(record) > limits.max_bytes
        return (record.key is None and limits.wants_key) or bool(
            is_timestamp_refused(record.timestamp_ms, limits, self._now_ms())
        )

    def _foreseen(self, record: OutputRecord, limits: Mapping[str, TopicLimits], *, sizes: bool = False) -> Failure | None:
        found = limits.get(record.topic)
        if found is None or record.failed_stage is not None:
            return None
        if record.key is None and found.wants_key:
            return self._failure(record, ck.KafkaError(ck.KafkaError.INVALID_RECORD), found)
        if record.timestamp_ms is not None and self._breaks_by_far(record.timestamp_ms, found):
            return self._failure(record, ck.KafkaError(ck.KafkaError.INVALID_TIMESTAMP), found)
        if sizes and found.max_bytes is not None and len(record.value or b"") + len(record.key or b"") > found.max_bytes:
            return self._failure(record, ck.KafkaError(ck.KafkaError.MSG_SIZE_TOO_LARGE), found)
        return None

    def _breaks_by_far(self, timestamp_ms: int, limits: TopicLimits) -> bool:
        now_ms = self._now_ms()
        return all(is_timestamp_refused(timestamp_ms, limits, at) for at in (now_ms - MARGIN_MS, now_ms + MARGIN_MS))

    # ------------------------------------------------------------------ what becomes of it

    def _failure(self, record: OutputRecord, error: ck.KafkaError, limits: TopicLimits | None) -> Failure:
        """Why a prediction was refused. Kafka says ``INVALID_RECORD`` of keys and timestamps alike."""
        attempts = dict(record.headers).get(ATTEMPTS) or b""
        count = int(attempts) if attempts.isdigit() else 0
        topic, code, now_ms = record.topic, error.code(), self._now_ms()
        if code in TOO_LARGE:
            most = "" if limits is None or limits.max_bytes is None else f"; its max.message.bytes is {limits.max_bytes}"
            message = f"{topic} refuses the prediction: {size_of(record)} bytes with key and headers{most}"
            return DeadLetterClass.WRITE_TOO_LARGE.failure(message, count)
        if code == ck.KafkaError.INVALID_RECORD and record.key is None and limits is not None and limits.wants_key:
            message = f"{topic} refuses the prediction: it is compacted, and the input record's key is null"
            return DeadLetterClass.KEY_REQUIRED.failure(message, count)
        invalid = code == ck.KafkaError.INVALID_RECORD and is_timestamp_refused(record.timestamp_ms, limits, now_ms)
        if code == ck.KafkaError.INVALID_TIMESTAMP or invalid:
            message = f"{topic} refuses the timestamp {record.timestamp_ms}: {_distance(record.timestamp_ms or 0, now_ms)}"
            if limits is not None:
                message += (
                    f"; its message.timestamp.before.max.ms is {limits.before_max_ms}, "
                    f"message.timestamp.after.max.ms {limits.after_max_ms}"
                )
            return DeadLetterClass.TIMESTAMP_REFUSED.failure(message, count)
        return DeadLetterClass.WRITE_REFUSED.failure(f"{topic} refuses the prediction: {describe(error)}", count)

    def _bury(self, outputs: list[OutputRecord], reasons: Mapping[int, Failure]) -> None:
        """Puts dead letters of the input records in place of predictions."""
        if not reasons:
            return
        originals: Mapping[Source, KafkaRecord] = self._originals.read({outputs[at].source for at in reasons})
        topic = self._config.dead_letter_topic or ""
        for at, reason in reasons.items():
            prediction = outputs[at]
            original = originals.get(prediction.source)
            letter = dead_letter(original or _without_value(prediction), reason, topic)
            if original is None:
                letter = letter._replace(headers=[*letter.headers, (ORIGINAL_VALUE_BYTES, b"?")])
            if reason.error_class == DeadLetterClass.TIMESTAMP_REFUSED.error_class:
                letter = with_timestamp_of_now(letter, self._now_ms())
            tracing = tracer()
            outputs[at] = letter if tracing is None else tracing.refused(prediction, letter)

    def _fit(self, record: OutputRecord, error: ck.KafkaError, limits: TopicLimits | None) -> OutputRecord:
        changed = fitted(record, error.code(), limits, self._now_ms())
        if changed is None:
            source = "/".join(map(str, record.source))
            raise KafkaError(
                f"--dead_letter_topic={record.topic}: refuses the dead letter of {source}, and nothing of it is left to "
                f"change: {describe(error)}; mend the topic's configuration, or write to another --dead_letter_topic"
            )
        return changed

    # ------------------------------------------------------------------ limits

    def _fresh_limits(self, refused: Sequence[Refusal]) -> Mapping[str, TopicLimits]:
        read_at, topics = self._limits_read_at, {refusal.record.topic for refusal in refused}
        if read_at is None or self._clock() - read_at > LIMITS_S or not topics <= self._limits.keys():
            self._limits = {**self._limits, **self._read_limits(sorted(topics | self._limits.keys()))}
            self._limits_read_at = self._clock()
        return self._limits

    def _ask_limits(self, topics: Iterable[str]) -> Mapping[str, TopicLimits]:
        return read_limits(open_admin(self._config), topics)

    def _now_ms(self) -> int:
        return round(self._now() * 1000)


def _smaller(batch_bytes: int, refusals: Sequence[Refusal], limits: TopicLimits | None) -> int:
    """The next ``batch.size`` to try; ``ALONE`` in the end, where each record has a report of its own."""
    if all(refusal.error.code() in TOO_LARGE for refusal in refusals):
        known = limits.max_bytes if limits is not None else None
        for smaller in (known, SMALL_BATCH_BYTES):
            if smaller is not None and smaller < batch_bytes:
                return smaller
    return ALONE


def _without_value(prediction: OutputRecord) -> KafkaRecord:
    """The input record as far as its prediction knows it."""
    headers = [header for header in prediction.headers if header[0] not in ON_PREDICTIONS]
    return KafkaRecord(*prediction.source, prediction.timestamp_ms, prediction.key, None, headers)


def _distance(timestamp_ms: int, now_ms: int) -> str:
    ahead_s = (timestamp_ms - now_ms) / 1000
    return f"{abs(ahead_s):,.0f} s {'ahead' if ahead_s > 0 else 'ago'}"
