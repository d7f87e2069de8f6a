"""The hand-written consumer that the pipeline is compared with: what a good engineer would write for this one job.

    python -m bench.handwritten --bootstrap_servers … --input_topic … --output_topic … --group_id … --model HOST:PORT/MODEL

asyncio, confluent-kafka, orjson and grpc.aio with TensorFlow Serving's messages; batches of 64, 16 requests in flight, the
results written in the order of the input, offsets committed once a second after the outputs have been flushed: at least
once. JSON records of 16 floats, ``{"x": […]}``, come in; ``{"y": …}`` with the input's key and timestamp goes out.

It has no barrier: reading, 16 requests and writing overlap all the time. It does less work than the pipeline: one record
format, no check against a signature, no dead letters, no bisection, no metrics; and it writes duplicates after a crash. With
``--headers`` it writes the input's headers and the five ``inference.*`` headers, so its records equal the pipeline's. Only
then is the comparison fair.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc.aio
import numpy as np
import orjson
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from transforms.clients.tfserving import messages as messages_of
from transforms.clients.wire.tensorflow.messages import DATA_TYPES

BATCH = 64
IN_FLIGHT = 16
POLL = BATCH * IN_FLIGHT
COMMIT_INTERVAL_S = 1.0
PREDICT = "/tensorflow.serving.PredictionService/Predict"
Request, Response = messages_of.PredictRequest, messages_of.PredictResponse

# gRPC's own retries: they need no code, and cost nothing while requests succeed.
RETRY = (
    '{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s",'
    ' "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]}'
)

Answer = tuple[list[Any], str, float]
"""The predictions of a batch, the served version and the request's latency in milliseconds."""


class Handwritten:
    """One consumer, one channel, one producer, and two coroutines: one reads and predicts, the other writes and commits."""

    def __init__(self, args: argparse.Namespace):
        servers = {"bootstrap.servers": args.bootstrap_servers}
        self.args = args
        self.consumer = Consumer(
            {**servers, "group.id": args.group_id, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        )
        # A callback for every record would cost time, so it is called for failures only.
        self.producer = Producer(
            {**servers, "linger.ms": args.linger_ms, "delivery.report.only.error": True, "on_delivery": self._failed}
        )
        self.address, _, self.model = args.model.partition("/")
        self.polling = ThreadPoolExecutor(1)
        self.flushing = ThreadPoolExecutor(1)
        self.stopping = False
        self.next_offsets: dict[int, int] = {}
        self.error: Exception | None = None

    async def run(self) -> None:
        """Scores until the end offsets (``--until_end``) or SIGTERM, then commits. Raises the first error of a callback."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        ends = self._end_offsets() if self.args.until_end else None
        queue: asyncio.Queue[tuple[list[Message], asyncio.Task[Answer]] | None] = asyncio.Queue(4 * IN_FLIGHT)
        options = [("grpc.service_config", RETRY)]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            self.predict = channel.unary_unary(
                PREDICT,
                request_serializer=Request.SerializeToString,
                response_deserializer=Response.FromString,
            )
            self.consumer.subscribe([self.args.input_topic])
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(queue, ends))
                group.create_task(self._write(queue))
        self.consumer.close()

    def _stop(self) -> None:
        self.stopping = True

    def _failed(self, error: Any, message: Message) -> None:
        self.error = KafkaException(error)

    def _end_offsets(self) -> dict[int, int]:
        topic = self.args.input_topic
        partitions = self.consumer.list_topics(topic).topics[topic].partitions
        ends = {p: self.consumer.get_watermark_offsets(TopicPartition(topic, p))[1] for p in partitions}
        return {partition: end for partition, end in ends.items() if end}

    def _poll(self) -> list[Message]:
        # Waits for one record, then takes all that are there: prompt at low load, large batches at high load.
        first = self.consumer.poll(0.1)
        if first is None:
            return []
        messages = [first, *self.consumer.consume(POLL - 1, 0.0)]
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        return messages

    async def _read(self, queue: asyncio.Queue[Any], ends: dict[int, int] | None) -> None:
        loop = asyncio.get_running_loop()
        slots = asyncio.Semaphore(IN_FLIGHT)
        reached: dict[int, int] = {}
        while not self.stopping and not (ends is not None and all(reached.get(p, 0) >= end for p, end in ends.items())):
            messages = await loop.run_in_executor(self.polling, self._poll)
            for start in range(0, len(messages), BATCH):
                batch = messages[start : start + BATCH]
                await slots.acquire()
                task = asyncio.create_task(self._ask(batch))
                task.add_done_callback(lambda _: slots.release())
                await queue.put((batch, task))
            if ends is not None:
                reached.update((message.partition(), message.offset() + 1) for message in messages)
        await queue.put(None)

    async def _ask(self, batch: list[Message]) -> Answer:
        rows = np.array([orjson.loads(message.value())["x"] for message in batch], dtype="<f4")  # shape [batch, 16]
        request = request_of(self.model, rows)
        started = time.perf_counter()
        response = await self.predict(request, timeout=30)
        latency_ms = (time.perf_counter() - started) * 1000
        output = response.outputs["y"]
        content = output.tensor_content
        values = np.frombuffer(content, "<f4").reshape(len(batch), -1).tolist() if content else list(output.float_val)
        if len(values) != len(batch):
            raise ValueError(f"{self.model} answered {len(values)} rows to {len(batch)}")
        return values, str(response.model_spec.version.value), latency_ms

    async def _write(self, queue: asyncio.Queue[Any]) -> None:
        committed_at = time.monotonic()
        while (item := await queue.get()) is not None:
            batch, task = item
            values, version, latency_ms = await task
            added: list[tuple[str, bytes]] = []
            if self.args.headers:
                model, served, latency = self.model.encode(), version.encode(), b"%.1f" % latency_ms
                added = [
                    ("inference.model", model),
                    ("inference.version", served),
                    ("inference.latency_ms", latency),
                    ("inference.attempts", b"1"),
                ]
            for message, value in zip(batch, values, strict=True):
                await self._produce(message, orjson.dumps({"y": value}), added)
            self.producer.poll(0)
            if time.monotonic() - committed_at >= COMMIT_INTERVAL_S:
                await self._commit()
                committed_at = time.monotonic()
        await self._commit()

    async def _produce(self, message: Message, value: bytes, added: list[tuple[str, bytes]]) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        headers: Any = added
        if added:
            source = f"{topic}/{partition}/{offset}".encode()
            headers = [*(message.headers() or ()), *added, ("inference.source", source)]
        while True:
            try:
                self.producer.produce(
                    self.args.output_topic, value, message.key(), timestamp=message.timestamp()[1], headers=headers
                )
                break
            except BufferError:  # the queue is full: let some records leave first
                self.producer.poll(0)
                await asyncio.sleep(0.005)
        self.next_offsets[partition] = offset + 1

    async def _commit(self) -> None:
        """Flushes the outputs and commits their source offsets. Requests in flight continue meanwhile."""
        await asyncio.get_running_loop().run_in_executor(self.flushing, self.producer.flush)
        if self.error:
            raise self.error
        topic = self.args.input_topic
        if offsets := [TopicPartition(topic, partition, offset) for partition, offset in self.next_offsets.items()]:
            await asyncio.get_running_loop().run_in_executor(
                self.flushing, lambda: self.consumer.commit(offsets=offsets, asynchronous=False)
            )


def request_of(model: str, rows: np.ndarray) -> Any:
    """Returns TensorFlow Serving's ``PredictRequest`` for rows of floats of 32 bits, as the input x."""
    request = Request()
    request.model_spec.name = model
    tensor = request.inputs["x"]
    tensor.dtype = DATA_TYPES["DT_FLOAT"]
    for size in rows.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = rows.tobytes()
    return request


def main() -> None:
    """Parses the flags and runs."""
    parser = argparse.ArgumentParser(prog="python -m bench.handwritten")
    for name in ("bootstrap_servers", "input_topic", "output_topic", "group_id"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--model", required=True, metavar="HOST:PORT/MODEL")
    parser.add_argument("--headers", action="store_true", help="write the headers that the pipeline writes")
    parser.add_argument("--until_end", action="store_true", help="stop at the end offsets found at the start")
    parser.add_argument("--linger_ms", type=float, default=5, help="librdkafka's linger.ms")
    asyncio.run(Handwritten(parser.parse_args()).run())


if __name__ == "__main__":
    main()
