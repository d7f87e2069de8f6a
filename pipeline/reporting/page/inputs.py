"""The input records of the outputs on the page: images and, with ``--status_inputs``, the beginnings of others.

A separate thread reads them again from Kafka, by their offsets, and only while somebody looks at the page. The page can
request no other records of a topic.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

from pipeline.reporting.page.pictures import Picture, picture
from transforms.errors import ScoringError
from transforms.printable import shortened
from transforms.types import KafkaRecord

Source = tuple[str, int, int]
"""Topic, partition and offset of an input record."""

KEPT = 128
"""Records of which something is kept: more than the page shows at a time."""

KEPT_BYTES = 64_000_000
"""Of all images together; those that the page shows at a time are fewer (``pictures.MOST_BYTES`` each)."""

TRIED = 64
"""After so many records without an image no more records are read, unless the beginnings of records are shown."""

_MOST_TEXT = 400


class Reads(Protocol):
    """Reads records by their offsets: ``Originals``."""

    def read(self, sources: Collection[Source]) -> Mapping[Source, KafkaRecord]:
        """Source to its record; deleted ones are left out."""

    def close(self) -> None:
        """Closes the connection."""


class Inputs:
    """Keeps what the page shows of input records.

    Args:
        open_reader: Makes the reader, in the thread that uses it.
        texts: Whether the beginnings of records are shown that are no images.
    """

    def __init__(self, open_reader: Callable[[], Reads], texts: bool = False):
        self._open, self._texts = open_reader, texts
        self._pictures: OrderedDict[Source, Picture | None] = OrderedDict()
        self._shown: dict[Source, str] = {}
        self._wanted: set[Source] = set()
        self._tried, self._found = 0, 0
        self._change = threading.Condition()
        self._ended = False

    @property
    def texts(self) -> bool:
        """Whether the beginnings of records are shown that are no images."""
        return self._texts

    def want(self, sources: Collection[Source], wait_s: float = 0.0) -> None:
        """Asks for records. Those that do not come within ``wait_s`` seconds come later."""
        with self._change:
            if not self._texts and not self._found and self._tried >= TRIED:
                return
            self._wanted = {source for source in sources if source not in self._pictures}
            if self._wanted:
                self._change.notify_all()
                self._change.wait_for(lambda: self._ended or self._pictures.keys() >= set(sources), wait_s)

    def picture(self, source: Source) -> Picture | None:
        """The image of a record that was asked for; ``None`` if it is none, or not there yet."""
        with self._change:
            return self._pictures.get(source)

    def text(self, source: Source) -> str | None:
        """The beginning of a record that was asked for; ``None`` where texts are not shown."""
        with self._change:
            return self._shown.get(source)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Reads what is asked for while the block runs."""
        thread = threading.Thread(target=self._run, name="inputs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._change:
                self._ended = True
                self._change.notify_all()
            thread.join(10)  # a request to Kafka; a broker that is gone keeps nobody here

    def _run(self) -> None:
        reader: Reads | None = None
        try:
            while True:
                with self._change:
                    self._change.wait_for(lambda: self._ended or self._wanted)
                    if self._ended:
                        return
                    wanted, self._wanted = self._wanted, set()
                reader = reader or self._open()
                try:
                    found = reader.read(wanted)
                except (
                    ScoringError
                ):  # Kafka is away, or the topic: the job says so itself; asked for again with the next look
                    continue
                self._keep({source: found.get(source) for source in wanted})
        finally:
            if reader is not None:
                reader.close()

    def _keep(self, records: Mapping[Source, KafkaRecord | None]) -> None:
        with self._change:
            for source, record in records.items():
                seen = None if record is None else picture(record.value)
                self._tried, self._found = self._tried + 1, self._found + (seen is not None)
                self._pictures[source] = seen
                if self._texts and seen is None:
                    self._shown[source] = _shown(record)
            kept = sum(len(it.content) for it in self._pictures.values() if it is not None)
            while len(self._pictures) > KEPT or kept > KEPT_BYTES:
                source, oldest = self._pictures.popitem(last=False)
                kept -= 0 if oldest is None else len(oldest.content)
                self._shown.pop(source, None)
            self._change.notify_all()


def _shown(record: KafkaRecord | None) -> str:
    if record is None:
        return "(deleted)"
    if record.value is None:
        return "(null)"
    return shortened(record.value[: 4 * _MOST_TEXT + 4].decode("utf-8", "replace"), _MOST_TEXT)
