"""Whether a side answered each record, and in the order of its key; and how fast it wrote."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import orjson

from bench.throughput import committed, rate

_CLOSE = 1e-2  # of a sum of floats of 32 bits, added up by different programs in different orders


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a side wrote.

    Attributes:
        rate: Records a second, between the 5th and the 95th percentile of the broker's append times.
        count: Committed records.
        doubled: Outputs of a key beyond its records.
        right: Whether each key's outputs are the answers to its records; in their order, where order was asked for.
    """

    rate: float
    count: int
    doubled: int
    right: bool


def expected_of(records: Sequence[tuple[bytes, bytes]]) -> dict[bytes, list[float]]:
    """Key to the sums of x of its records, in their order, from keys and values."""
    expected: dict[bytes, list[float]] = defaultdict(list)
    for key, value in records:
        expected[key].append(float(np.sum(np.array(orjson.loads(value)["x"], np.float32))))
    return expected


def compare(
    expected: Mapping[bytes, Sequence[float]], found: Mapping[bytes, Sequence[float]], ordered: bool
) -> tuple[int, bool]:
    """Returns how many outputs are beyond their key's records, and whether all are the answers to them.

    Args:
        expected: Key to values, in the order of the input.
        found: Key to values, in the order of the output; fewer where a side was ended early.
        ordered: Whether a key's outputs have to be in the order of its records. If not, a key of which some are not there
            yet is not judged.
    """
    doubled, right = 0, True
    for key, got in found.items():
        wanted = expected.get(key, ())
        doubled += max(0, len(got) - len(wanted))
        if ordered:
            right = right and bool(np.allclose(wanted[: len(got)], got[: len(wanted)], atol=_CLOSE))
        elif len(got) == len(wanted):
            right = right and bool(np.allclose(sorted(wanted), sorted(got), atol=_CLOSE))
    return doubled, right


def read(bootstrap: str, topic: str, expected: Mapping[bytes, Sequence[float]], ordered: bool) -> Outputs:
    """Reads a topic of predictions to its end, with ``read_committed``, and judges it; for ``ordered`` see ``compare``."""
    times: list[int] = []
    found: dict[bytes, list[float]] = defaultdict(list)
    for message in committed(bootstrap, topic):
        times.append(message.timestamp()[1])
        answer = orjson.loads(message.value()).get("y", float("nan"))  # what a side writes of a failed request
        found[message.key()].append(answer[0] if isinstance(answer, list) else answer)
    doubled, right = compare(expected, found, ordered)
    per_second = rate(np.sort(np.array(times, dtype=np.int64))) if len(times) > 1 else 0.0
    return Outputs(per_second, len(times), doubled, right)
