"""A few of the last outputs of each worker, for the page, in one memory-mapped file in the folder of the counters' file.

The file exists only with ``--status_port``; without it workers sample nothing. Each worker writes its own places. A place
has a checksum, by which a reader notices, and skips, a place that is being written.
"""

from __future__ import annotations

import dataclasses
import itertools
import mmap
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from transforms.headers import ATTEMPTS, ERROR_CLASS, ERROR_MESSAGE, LATENCY, VERSION
from transforms.printable import shortened
from transforms.types import OutputRecord

FILE = "samples"
"""The file's name, in the folder of the counters' file."""

PREDICTIONS, DEAD_LETTERS = 16, 32
"""Places of a worker for either kind."""

AT_ONCE = 4
"""Predictions that are taken of one bundle."""

INTERVAL_S = 1.0
"""Seconds between two bundles of which predictions are taken: nobody reads faster. Dead letters are taken of each bundle."""

_HEAD = struct.Struct("<II")  # the length of the text, and its CRC-32
_PLACE_BYTES = 8192
_MOST_KEY, _MOST_VALUE, _MOST_MESSAGE = 80, 400, 800
"""Characters. A place has room for all of them, however they are encoded."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One output that was committed.

    Attributes:
        at: When it was sampled, right after its commit: Unix time.
        number: Its place among those of the same worker.
        source: The input record's topic, partition and offset.
        key: The input record's key as text, shortened; ``None`` if that is null.
        value: A prediction's value as text, shortened; empty for a dead letter, whose value is the input's.
        version: The version of the model that answered.
        latency_ms: Milliseconds that the request took, as text.
        attempts: How many requests the record was part of, as text.
        stage: ``None`` for a prediction; the stage that failed for a dead letter.
        error_class: The dead-letter class.
        message: Why it is a dead letter, shortened.
    """

    at: float
    number: int
    source: tuple[str, int, int]
    key: str | None
    value: str
    version: str
    latency_ms: str
    attempts: str
    stage: str | None
    error_class: str
    message: str


class Sampler:
    """Writes samples of one worker.

    Args:
        path: The file; see ``make``.
        worker: The worker's number.
        clock: Returns seconds, monotonic.
    """

    def __init__(self, path: Path, worker: int, clock: Callable[[], float] = time.monotonic):
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._clock, self._next_at = clock, float("-inf")
        self._first = worker * (PREDICTIONS + DEAD_LETTERS)
        own = [place for place in map(self._sample, range(PREDICTIONS + DEAD_LETTERS)) if place is not None]
        # A restarted worker goes on behind the samples of the process before.
        self._taken = {False: 0, True: 0}
        for dead in self._taken:
            self._taken[dead] = max((place.number for place in own if (place.stage is not None) == dead), default=0)

    def take(self, outputs: Sequence[OutputRecord]) -> None:
        """Takes samples of a bundle's outputs, once they are committed."""
        dead = (output for output in reversed(outputs) if output.failed_stage is not None)
        for output in reversed(list(itertools.islice(dead, DEAD_LETTERS))):
            self._write(output)
        now = self._clock()
        if now < self._next_at:
            return
        answered = (output for output in reversed(outputs) if output.failed_stage is None)
        if taken := list(itertools.islice(answered, AT_ONCE)):
            self._next_at = now + INTERVAL_S
        for output in reversed(taken):
            self._write(output)

    def _sample(self, place: int) -> Sample | None:
        return _read(self._map, self._first + place)

    def _write(self, output: OutputRecord) -> None:
        is_dead = output.failed_stage is not None
        number = self._taken[is_dead] = self._taken[is_dead] + 1
        place = PREDICTIONS + number % DEAD_LETTERS if is_dead else number % PREDICTIONS
        text = orjson.dumps(dataclasses.asdict(_sample_of(output, number)))
        start = (self._first + place) * _PLACE_BYTES
        whole = _HEAD.pack(len(text), zlib.crc32(text)) + text
        self._map[start : start + len(whole)] = whole


def make(folder: Path, workers: int) -> Path:
    """Makes the file for so many workers, which sample from then on; returns its path."""
    path = folder / FILE
    with path.open("wb") as file:
        file.truncate(workers * (PREDICTIONS + DEAD_LETTERS) * _PLACE_BYTES)
    return path


def sampler(stats_file: Path | None, worker: int) -> Sampler | None:
    """Returns the sampler of a worker whose counters are in ``stats_file``; ``None`` if nobody looks."""
    path = None if stats_file is None else stats_file.with_name(FILE)
    return Sampler(path, worker) if path is not None and path.exists() else None


class Samples:
    """Reads the samples of all workers.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def latest(self) -> tuple[list[Sample], list[Sample]]:
        """Returns the latest predictions and the latest dead letters, the newest first."""
        found = [_read(self._map, place) for place in range(len(self._map) // _PLACE_BYTES)]
        samples = sorted((one for one in found if one is not None), key=lambda one: (-one.at, -one.number))
        predictions = [one for one in samples if one.stage is None][:PREDICTIONS]
        return predictions, [one for one in samples if one.stage is not None][:DEAD_LETTERS]


def _sample_of(output: OutputRecord, number: int) -> Sample:
    headers = dict(output.headers)  # the last one of a name is ours
    is_dead = output.failed_stage is not None

    def header(name: str, most: int = _MOST_KEY) -> str:
        return shortened((headers.get(name) or b"").decode("utf-8", "replace"), most)

    return Sample(
        time.time(),
        number,
        output.source,
        None if output.key is None else _text(output.key, _MOST_KEY),
        "" if is_dead else _text(output.value or b"", _MOST_VALUE),
        header(VERSION),
        header(LATENCY),
        header(ATTEMPTS),
        output.failed_stage,
        header(ERROR_CLASS) if is_dead else "",
        header(ERROR_MESSAGE, _MOST_MESSAGE) if is_dead else "",
    )


def _text(value: bytes, most: int) -> str:
    return shortened(value[: 4 * most + 4].decode("utf-8", "replace"), most)


def _read(mapped: mmap.mmap, place: int) -> Sample | None:
    whole = mapped[place * _PLACE_BYTES : (place + 1) * _PLACE_BYTES]
    length, checksum = _HEAD.unpack_from(whole)
    text = whole[_HEAD.size : _HEAD.size + length]
    if not length or zlib.crc32(text) != checksum:
        return None
    fields: dict[str, Any] = orjson.loads(text)
    topic, partition, offset = fields.pop("source")
    return Sample(source=(topic, partition, offset), **fields)
