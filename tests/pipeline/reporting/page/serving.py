"""The page of a job that is not there: its counters, samples and input records are what the test says."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pipeline.process.samples import Samples, make
from pipeline.process.stats import Totals, WorkerStats
from pipeline.reporting.lag import Lag
from pipeline.reporting.page.history import History
from pipeline.reporting.page.inputs import Inputs, Source
from pipeline.reporting.page.server import serve_page
from pipeline.reporting.page.state import Facts, PageState
from transforms.dead_letter import dead_letter
from transforms.headers import ATTEMPTS, LATENCY, VERSION
from transforms.types import Failure, Headers, KafkaRecord, OutputRecord

FACTS = Facts("fraud", ("in",), "out", "out.dead-letter", "exactly once", "python -m pipeline.dead_letters --source={}")


class Reader:
    """Reads records that are in memory."""

    def __init__(self, records: Mapping[Source, KafkaRecord]):
        self.records, self.asked = dict(records), list[Source]()
        self.closed = False

    def read(self, sources: Collection[Source]) -> Mapping[Source, KafkaRecord]:
        self.asked += sources
        return {source: self.records[source] for source in sources if source in self.records}

    def close(self) -> None:
        self.closed = True


@dataclasses.dataclass
class Served:
    """A page that is served.

    Attributes:
        url: Where.
        worker: The only worker's counters.
        history: The points of its charts, which come when the test adds them.
        state: What it shows.
        reader: Reads input records.
        lag: The lag.
    """

    url: str
    worker: WorkerStats
    history: History
    state: PageState
    reader: Reader
    lag: Lag | None = None

    def commit(self, outputs: list[OutputRecord]) -> None:
        """A bundle with these outputs is committed."""
        kinds: dict[tuple[str, str], int] = {}
        for output in outputs:
            if output.failed_stage is not None:
                kind = output.failed_stage, (dict(output.headers)["inference.error.class"] or b"").decode()
                kinds[kind] = kinds.get(kind, 0) + 1
        self.worker.committed(len(outputs) - sum(kinds.values()), kinds, [(0.005, len(outputs))])
        self.worker.written(outputs)


def record(offset: int, value: bytes | None, key: bytes | None = b"k") -> KafkaRecord:
    return KafkaRecord("in", 0, offset, 5, key, value, [])


def prediction(source: KafkaRecord, value: bytes = b'{"label":7}', version: bytes = b"3") -> OutputRecord:
    headers: Headers = [(VERSION, version), (LATENCY, b"4.1"), (ATTEMPTS, b"1")]
    return OutputRecord("out", source.key, value, headers, 5, source[:3], None)


def letter(source: KafkaRecord, message: str, stage: str = "decode", error_class: str = "Tombstone") -> OutputRecord:
    return dead_letter(source, Failure(stage, error_class, message), "out.dead-letter")


@contextlib.contextmanager
def served(
    folder: Path,
    records: Collection[KafkaRecord] = (),
    *,
    texts: bool = False,
    host: str = "127.0.0.1",
    timeout_s: float = 10,
) -> Iterator[Served]:
    """Serves a page.

    Args:
        folder: For the counters and samples.
        records: What is in the input topic.
        texts: As ``--status_inputs``.
        host: As ``--status_host``.
        timeout_s: How long a client may be silent.
    """
    samples = Samples(make(folder, 1))
    worker = WorkerStats(folder / "stats")
    reader = Reader({record[:3]: record for record in records})
    inputs = Inputs(lambda: reader, texts)
    history = History(lambda: Totals(worker.rows), lambda: page.lag)
    state = PageState(FACTS, worker.rows, history, samples, inputs, lambda: page.lag)
    page = Served("", worker, history, state, reader)
    with serve_page(0, state, inputs, host, timeout_s) as page.url, inputs.reading():
        yield page
