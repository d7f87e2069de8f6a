"""``confluent_kafka.Producer`` on the broker in memory, transactional or not.

* Each call is right in some states only, as librdkafka's: ``init_transactions`` once, then ``begin_transaction``, outputs
  and offsets, then commit or abort.
* After an error that requires an abort, nothing but an abort is taken.
* A newer producer of the same ``transactional.id`` fences this one, and aborts its transaction; so does the coordinator with
  a transaction that takes longer than ``transaction.timeout.ms``.
* Offsets sent under an older generation of the group are refused (KIP-447); those of a consumer without a group are not.
* A batch with a record that its topic refuses is refused as a whole; then the next transaction fails once, too.
* A commit that went through may seem to have failed: then the coordinator does not take the abort, and the producer is lost.
* An output to a topic that is gone stays in the queue, and is waited for. A transaction with no other outputs can't be
  aborted: the broker has never heard of it.
* Without transactions an output is on the broker only after ``flush``; ``purge`` drops what is still queued.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import confluent_kafka as ck

from tests.kafka.native.memory_kafka import WITHOUT_GROUP, MemoryKafka, Output, Source, Transaction, refused


class ProducerState(enum.Enum):
    INIT = "Init"
    READY = "Ready"
    IN_TRANSACTION = "InTransaction"
    COMMIT_NOT_ACKED = "CommitNotAcked"
    ABORTABLE_ERROR = "AbortableError"
    FATAL_ERROR = "FatalError"


_S = ProducerState

BATCH = 4
"""Records of a batch."""


class MemoryProducer:
    """A producer."""

    def __init__(self, kafka: MemoryKafka):
        self.kafka = self._kafka = kafka
        self.properties: dict[str, Any] = {}
        self.produced: list[tuple[Any, ...]] = []
        self.state = _S.INIT
        self.on_delivery: dict[Source, Any] = {}
        self.taken: dict[Source, Output] = {}
        self.aborted = 0
        self.full = 0
        self.refuses: ck.KafkaException | None = None
        self._epoch = -1
        self._queue: list[Output] = []
        self._gap = self._stuck = self._committing = self._ended = False

    def opened(self, properties: dict[str, Any], **_: Any) -> MemoryProducer:
        """What ``Writer`` calls in place of ``ck.Producer``: a new producer, which knows nothing of one before."""
        self.properties, self.state, self._epoch, self._gap = properties, _S.INIT, -1, False
        self._stuck = self._committing = self._ended = False
        self._queue.clear()
        return self

    @property
    def open(self) -> bool:
        """Whether a transaction is open."""
        return self.state in (_S.IN_TRANSACTION, _S.ABORTABLE_ERROR)

    # ---- transactions

    def init_transactions(self, timeout: float) -> None:
        self._require(_S.INIT)
        if self._kafka.init_failures:
            self._raise(self._kafka.init_failures.pop(0))
        self._epoch = self._kafka.init_producer(self._name)
        self.state = _S.READY

    def begin_transaction(self) -> None:
        self._require(_S.READY)
        if self._kafka.begin_failures:
            self._raise(self._kafka.begin_failures.pop(0))
        timeout_s = float(self.properties["transaction.timeout.ms"]) / 1000
        self._kafka.expire()
        if self._kafka.epochs[self._name] == self._epoch:  # local, in truth: a fenced one learns it later
            self._kafka.transactions[self._name] = Transaction(self._epoch, self._kafka.clock() + timeout_s)
        self.state = _S.IN_TRANSACTION

    def send_offsets_to_transaction(self, offsets: list[Any], group: Any, timeout: float) -> None:
        if group is None:
            raise TypeError("expected bytes, NoneType found")
        self._require(_S.IN_TRANSACTION)
        self._check_epoch()
        if self._kafka.send_failures:
            self._raise(self._kafka.send_failures.pop(0))
        if group not in (WITHOUT_GROUP, self._kafka.generation):
            self._raise(refused(ck.KafkaError.ILLEGAL_GENERATION, "Specified group generation id is not valid", abort=True))
        if any(tp.topic in self._kafka.gone for tp in offsets):
            self._raise(refused(ck.KafkaError.UNKNOWN_TOPIC_OR_PART, abort=True))
        found = {(tp.topic, tp.partition): (tp.offset, tp.metadata or "") for tp in offsets}
        self._kafka.transactions[self._name].offsets.update(found)

    def commit_transaction(self, timeout: float) -> None:
        if self.state is _S.COMMIT_NOT_ACKED:
            self.state = _S.READY
            return
        self._require(_S.IN_TRANSACTION)
        self._may_stick(timeout)
        self._check_epoch()
        if self.flush(timeout):
            self._committing = True
            self._raise(refused(ck.KafkaError._TIMED_OUT, "Failed to flush all outstanding messages", retriable=True))
        self._committing = False
        if self.state is _S.ABORTABLE_ERROR:  # an output was refused
            self._raise(refused(ck.KafkaError._STATE, "an output was refused", abort=True))
        if self._kafka.commit_failures:
            self._raise(self._kafka.commit_failures.pop(0))
        self._kafka.commit_transaction(self._name)
        self.state = _S.READY
        if self._kafka.lost_answers:
            self._kafka.lost_answers -= 1
            self.state = _S.COMMIT_NOT_ACKED
            raise refused(ck.KafkaError._TIMED_OUT, retriable=True)
        if self._kafka.denied_commits:
            self._kafka.denied_commits -= 1
            self._ended = True
            self._raise(refused(ck.KafkaError.UNKNOWN_PRODUCER_ID, abort=True))
        if self._kafka.hung_commits:
            self._kafka.hung_commits -= 1
            self._kafka.wait(float(self.properties["transaction.timeout.ms"]) / 1000 + 1)
            self._raise(refused(ck.KafkaError._FENCED, fatal=True))

    def abort_transaction(self, timeout: float) -> None:
        self._require(_S.IN_TRANSACTION, _S.ABORTABLE_ERROR)
        self._may_stick(timeout)
        if self._committing:
            self._kafka.wait(timeout)
            raise refused(ck.KafkaError._CONFLICT, "commit_transaction is in progress", retriable=True)
        self._check_epoch()
        if self._ended:
            self._raise(refused(ck.KafkaError.INVALID_TXN_STATE, fatal=True))
        transaction = self._kafka.transactions.pop(self._name)
        if not transaction.outputs and not transaction.offsets and any(it.topic in self._kafka.gone for it in self._queue):
            self._raise(refused(ck.KafkaError.INVALID_TXN_STATE, fatal=True))
        self._queue.clear()
        self.state = _S.READY
        self.aborted += 1

    def _may_stick(self, timeout: float) -> None:
        """As librdkafka 2.16, after its broker died and came back, for as long as anybody calls it again."""
        if self._kafka.stuck and not self._stuck:
            self._kafka.stuck -= 1
            self._stuck = True
        if self._stuck:
            self._kafka.wait(timeout)
            raise refused(ck.KafkaError._TIMED_OUT, "Timed out waiting for operation to finish", retriable=True)

    @property
    def _name(self) -> str:
        return str(self.properties["transactional.id"])

    def _require(self, *states: ProducerState) -> None:
        if self.state is _S.FATAL_ERROR:
            raise refused(ck.KafkaError._FENCED, fatal=True)
        if self.state not in states:
            raise refused(
                ck.KafkaError._STATE,
                f"Operation not valid in state {self.state.value}",
                abort=self.state is _S.ABORTABLE_ERROR,
            )

    def _check_epoch(self) -> None:
        self._kafka.expire()
        if self._kafka.epochs[self._name] != self._epoch:
            self._raise(refused(ck.KafkaError._FENCED, fatal=True))

    def _raise(self, error: Any) -> None:
        if error.args[0].fatal():
            self.state = _S.FATAL_ERROR
        elif error.args[0].txn_requires_abort():
            self.state = _S.ABORTABLE_ERROR
        raise error

    # ---- outputs

    def produce(self, topic: str, value: Any, key: Any, partition: int, *rest: Any) -> None:
        if "transactional.id" in self.properties and self.state is not _S.IN_TRANSACTION:
            raise refused(ck.KafkaError._STATE, "Unable to produce message: Local: Erroneous state")
        if self.full:
            self.full -= 1
            raise BufferError
        if self.refuses is not None:
            raise self.refuses
        on_delivery, _, timestamp_ms, headers = rest
        self.produced.append((topic, key, value, partition, timestamp_ms, headers))
        where, number, offset = dict(headers)["inference.source"].decode().split("/")
        source = where, int(number), int(offset)
        self.on_delivery[source] = on_delivery
        self._queue.append(Output(topic, key, value, timestamp_ms, headers, source, on_delivery))

    def flush(self, timeout: float) -> int:
        gone = self._kafka.gone
        queue, self._queue = ([it for it in self._queue if (it.topic in gone) is away] for away in (False, True))
        transactional = "transactional.id" in self.properties
        if self._gap and queue:
            # librdkafka 2.16: the transaction after a refused batch fails, too; the one after it does not.
            self._gap, self.state = False, _S.ABORTABLE_ERROR
        taken: list[Output] = []
        for batch in self._batches(queue):
            if transactional and self.state is _S.ABORTABLE_ERROR:
                self._report(batch, ck.KafkaError._PURGE_QUEUE)
            elif self._kafka.delivery_failures:
                self._report(batch[:1], self._kafka.delivery_failures.pop(0))
                taken += batch[1:]
                if self.state is _S.IN_TRANSACTION:
                    self.state = _S.ABORTABLE_ERROR
            elif self._refused(batch):
                if transactional:
                    self.state, self._gap = _S.ABORTABLE_ERROR, True
            else:
                taken += batch
        self._take(output for output in queue if output in taken)  # in the order in which they were produced
        if self._queue:
            self._kafka.wait(timeout)
        return len(self._queue)

    def _batches(self, queue: list[Output]) -> Iterator[list[Output]]:
        """A batch for each topic; for each record where ``batch.size`` says so."""
        for topic in sorted({output.topic for output in queue}):
            mine = [output for output in queue if output.topic == topic]
            size = 1 if int(self.properties.get("batch.size", 1_000_000)) <= 1 else BATCH
            yield from (mine[start : start + size] for start in range(0, len(mine), size))

    def _refused(self, batch: list[Output]) -> bool:
        """Reports a batch that the topic does not take, as librdkafka 2.16 does: two guilty ones are named, one is not."""
        codes = [self._kafka.refuses(output) for output in batch]
        found = [code for code in codes if code is not None]
        if not found:
            return False
        if len(found) == 1 or ck.KafkaError.MSG_SIZE_TOO_LARGE in found:
            self._report(batch, found[0])
        else:
            for output, code in zip(batch, codes, strict=True):
                named = ck.KafkaError._INVALID_DIFFERENT_RECORD if code is None else ck.KafkaError.INVALID_RECORD
                self._report([output], named)
        return True

    def _report(self, batch: list[Output], code: int) -> None:
        for output in batch:
            output.on_delivery(ck.KafkaError(code), None)

    def _take(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if "transactional.id" in self.properties:
                self._kafka.transactions[self._name].outputs.append(output.source)
            else:
                self._kafka.outputs.append(output.source)
            self.taken[output.source] = output

    def poll(self, timeout: float) -> int:
        return 0

    def purge(self) -> None:
        self._queue.clear()

    def list_topics(self, topic: str, timeout: float) -> Any:
        error = ck.KafkaError(ck.KafkaError.UNKNOWN_TOPIC_OR_PART) if topic in self._kafka.gone else None
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: None, 1: None, 2: None}, error=error)})
