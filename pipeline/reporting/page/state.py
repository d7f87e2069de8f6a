"""What the page shows, as one JSON document: counters of all workers, the last ten minutes, and the last outputs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from pipeline.process.histograms import REQUEST_RECORDS
from pipeline.process.samples import Sample, Samples
from pipeline.process.stats import Totals
from pipeline.reporting.lag import Lag, duration, lag_shown
from pipeline.reporting.page.history import History
from pipeline.reporting.page.inputs import Inputs
from pipeline.reporting.phase import phase
from transforms.types import STAGE_DECODE, STAGE_ENCODE, STAGE_PREDICT, STAGE_WRITE

STAGES = (STAGE_DECODE, STAGE_PREDICT, STAGE_ENCODE, STAGE_WRITE)

MOST_PARTITIONS = 200
"""Those with the most to go are shown."""


INPUTS_S = 0.3
"""How long the document waits for input records; those that take longer are in the next one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What the page says of the job that does not change.

    Attributes:
        model: The model's name.
        inputs: The input topics.
        output: The topic of predictions.
        dead_letters_topic: The topic of dead letters.
        delivery: The delivery guarantee, in words.
        show_command: Shows a dead letter on a terminal, with ``{}`` for its source.
        samples_outputs: Whether the workers sample outputs: not with ``--kafka_io=beam``.
    """

    model: str
    inputs: tuple[str, ...]
    output: str
    dead_letters_topic: str
    delivery: str
    show_command: str
    samples_outputs: bool = True


class PageState:
    """Makes the document.

    Args:
        facts: What does not change.
        rows: The workers' rows: see ``pipeline.process.stats``.
        history: The last ten minutes.
        samples: The last outputs.
        inputs: The input records of those.
        lag: Returns the lag; ``None`` while it is not known.
        clock: Returns Unix time.
    """

    def __init__(
        self,
        facts: Facts,
        rows: Any,
        history: History,
        samples: Samples,
        inputs: Inputs,
        lag: Callable[[], Lag | None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ):
        self._facts, self._rows, self._history = facts, rows, history
        self._samples, self._inputs, self._lag, self._clock = samples, inputs, lag, clock
        self._began_at = clock()

    def now(self) -> dict[str, Any]:
        """Returns the document as of now, and asks for the input records of what it shows."""
        totals = Totals(self._rows)
        predictions, dead_letters = self._samples.latest()
        wanted = [*predictions, *(dead_letters if self._inputs.texts else ())]
        self._inputs.want([sample.source for sample in wanted], INPUTS_S)
        facts = dataclasses.asdict(self._facts)
        show = facts.pop("show_command")
        return {
            **facts,
            "began_at": self._began_at,
            "now": self._clock(),
            "workers": len(self._rows),
            "phase": phase(self._rows, totals),
            "holding_since": totals.holding_since,
            "totals": _counters(totals),
            "graph": _graph(totals),
            "by_class": [
                {"stage": stage, "class": name, "count": count}
                for (stage, name), count in sorted(totals.kinds.items(), key=lambda kind: (-kind[1], kind[0]))
            ],
            "batches": _batches(totals),
            "lag": _lag(lag_shown(self._lag(), totals.holding)),
            "points": [list(point) for point in self._history.points],
            "versions": [change._asdict() for change in self._history.changes],
            "shows_inputs": self._inputs.texts,
            "predictions": [self._prediction(sample) for sample in predictions],
            "dead_letters": [self._dead_letter(sample, show) for sample in dead_letters],
        }

    def _prediction(self, sample: Sample) -> dict[str, Any]:
        return {**self._record(sample), "value": sample.value, "version": sample.version, "latency_ms": sample.latency_ms}

    def _dead_letter(self, sample: Sample, show: str) -> dict[str, Any]:
        return {
            **self._record(sample),
            "stage": sample.stage,
            "class": sample.error_class,
            "message": sample.message,
            "attempts": sample.attempts,
            "command": show.replace("{}", _name(sample)),
        }

    def _record(self, sample: Sample) -> dict[str, Any]:
        """What predictions and dead letters tell of their record."""
        seen, source = self._inputs.picture(sample.source), _name(sample)
        return {
            "at": sample.at,
            "source": source,
            "key": sample.key,
            "picture": None if seen is None else f"picture/{source}",
            "input": self._inputs.text(sample.source),
        }


def _name(sample: Sample) -> str:
    topic, partition, offset = sample.source
    return f"{topic}/{partition}/{offset}"


def _counters(totals: Totals) -> dict[str, Any]:
    names = (
        "records",
        "predictions",
        "dead_letters",
        "bundles",
        "batches",
        "retries",
        "rollbacks",
        "restarts",
        "partitions",
    )
    more = ("in_flight", "in_flight_limit", "mean_batch_size", "records_per_s", "versions")
    return {name: getattr(totals, name) for name in (*names, *more)} | {"failures": sum(totals.failures.values())}


def _graph(totals: Totals) -> dict[str, Any]:
    """Returns, for each stage, how many committed records reached it, and how many became dead letters there."""
    left = {stage: sum(count for (failed, _), count in totals.kinds.items() if failed == stage) for stage in STAGES}
    edges, rest = [], totals.records
    for stage in STAGES:
        edges.append({"to": stage, "count": rest, "dead_letters": left[stage]})
        rest -= left[stage]
    return {"edges": edges, "predictions": totals.predictions, "dead_letters": totals.dead_letters}


def _batches(totals: Totals) -> list[dict[str, Any]]:
    """Returns the requests by size: for each bucket its upper bound in records, and how many requests are in it."""
    buckets, _ = totals.histograms[REQUEST_RECORDS]
    before, found = 0, []
    for bound, count in buckets:
        found.append({"up_to": None if bound == float("inf") else int(bound), "count": count - before})
        before = count
    while found and not found[-1]["count"]:
        found.pop()
    return found


def _lag(lag: Lag | None) -> dict[str, Any] | None:
    if lag is None:
        return None
    order = sorted(lag.partitions.items(), key=lambda item: (-item[1], item[0]))
    return {
        "records": lag.records,
        "to_go": None if lag.to_go_s is None else f"about {duration(lag.to_go_s)}",
        "partitions": [
            {"topic": topic, "partition": number, "records": count} for (topic, number), count in order[:MOST_PARTITIONS]
        ],
        "others": max(0, len(order) - MOST_PARTITIONS),
    }
