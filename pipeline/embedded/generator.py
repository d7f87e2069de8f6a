"""Publishes the handwritten digits to a topic: 1,797 images and, among them, 20 records that are broken on purpose.

Each good record has the image's id as key (``digit-0042``), a PNG as value, and the headers ``label`` (the true label, as
text) and ``split`` (``train`` or ``held-out``). A broken record has the key ``broken-…`` and its kind in the header
``broken``. There are five kinds, four records each.
"""

from __future__ import annotations

import dataclasses
import json
import random
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka

from pipeline.embedded.digits import Digit, load_digits
from transforms.errors import KafkaError
from transforms.printable import counted

SEED = 20240501
KINDS = ("truncated", "empty", "null", "wrong_type", "oversized")
BROKEN_PER_KIND = 4
OVERSIZED_PIXELS = 512
_FLUSH_S = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Published:
    """The counts of one run of the generator.

    Attributes:
        good: Valid images.
        broken: Records that are broken on purpose.
        held_out: How many of the good images were held out of the model's training.
        duration_s: The duration of the run.
    """

    good: int
    broken: int
    held_out: int
    duration_s: float

    @property
    def records(self) -> int:
        """The number of all records."""
        return self.good + self.broken


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def grey_png(width: int, height: int) -> bytes:
    """Encodes a black image of 8 bit grey as PNG (PNG specification, chapters 5 and 11)."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height))  # each row: filter type 0, then its pixels
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _broken_value(kind: str, digit: Digit) -> bytes | None:
    if kind == "truncated":
        return digit.png[: len(digit.png) // 2]
    if kind == "empty":
        return b""
    if kind == "null":
        return None
    if kind == "wrong_type":
        return json.dumps({"image": digit.name, "note": "JSON, where an image is expected"}).encode()
    return grey_png(OVERSIZED_PIXELS, OVERSIZED_PIXELS)


def records(seed: int = SEED) -> Iterator[tuple[str, bytes | None, list[tuple[str, str | bytes | None]]]]:
    """Yields key, value and headers of all 1,817 records, in a random order that ``seed`` fixes."""
    shuffled = random.Random(seed)
    digits = load_digits()
    items: list[tuple[str, bytes | None, list[tuple[str, str | bytes | None]]]] = [
        (d.name, d.png, [("label", str(d.label)), ("split", "held-out" if d.held_out else "train")]) for d in digits
    ]
    for number, kind in enumerate(KINDS * BROKEN_PER_KIND):
        value = _broken_value(kind, shuffled.choice(digits))
        items.append((f"broken-{number:02d}", value, [("broken", kind)]))
    shuffled.shuffle(items)
    yield from items


def publish_digits(
    bootstrap: str,
    topic: str,
    rate: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    seed: int = SEED,
    stop: threading.Event | None = None,
    kafka_config: dict[str, Any] | None = None,
) -> Published:
    """Publishes all records and waits until the broker has acknowledged them. Blocks: run it in its own thread.

    Args:
        bootstrap: ``HOST:PORT`` of a broker.
        topic: The topic; it must exist, unless the broker creates topics automatically.
        rate: Records a second; ``None`` for no limit.
        on_progress: Called from time to time with the number of records sent and the number of all records.
        seed: Fixes the order, and which images are broken.
        stop: When set, publishing ends early.
        kafka_config: More librdkafka properties, such as TLS.

    Raises:
        KafkaError: The broker did not accept every record; the message has librdkafka's reason.
    """
    failed: list[confluent_kafka.KafkaError] = []

    def delivered(error: confluent_kafka.KafkaError | None, _: confluent_kafka.Message) -> None:
        if error is not None:
            failed.append(error)

    config = {"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True, "log_level": 2}
    try:
        producer = confluent_kafka.Producer({**config, **(kafka_config or {})})
    except confluent_kafka.KafkaException as error:
        raise KafkaError(f"publishing the digits to topic {topic} failed: {error.args[0].str()}") from error
    everything = list(records(seed))
    stop = stop or threading.Event()
    sent: Counter[str] = Counter()
    start = time.monotonic()
    for position, (key, value, headers) in enumerate(everything):
        if rate and (wait_s := start + position / rate - time.monotonic()) > 0:
            producer.poll(0)
            stop.wait(wait_s)
        if stop.is_set() or failed:
            break
        producer.produce(topic, key=key, value=value, headers=headers, on_delivery=delivered)
        sent.update(["broken" if key.startswith("broken") else "good", *(str(v) for n, v in headers if n == "split")])
        if position % 50 == 0:
            producer.poll(0)
            if on_progress:
                on_progress(position + 1, len(everything))
    left = producer.flush(_FLUSH_S)
    if failed or left:
        reason = (
            failed[0].str()
            if failed
            else f"{counted(left, 'record is', 'records are')} not acknowledged after {_FLUSH_S:.0f} s"
        )
        raise KafkaError(f"publishing the digits to topic {topic} failed: {reason}")
    published = Published(sent["good"], sent["broken"], sent["held-out"], time.monotonic() - start)
    if on_progress:
        on_progress(published.records, len(everything))
    return published
