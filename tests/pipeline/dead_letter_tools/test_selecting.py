"""Which dead letters are replayed: filters, the ledger, attempts, where they came from; and why others are not."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from pipeline.dead_letter_tools.flags import parse_replay
from pipeline.dead_letter_tools.selecting import Counts, Restored, Selection
from transforms.dead_letter import dead_letter
from transforms.kafka.dead_letters.ledger import Ledger
from transforms.kafka.native.originals import Source
from transforms.types import Failure, Headers, KafkaRecord

T = 1_769_860_800_000


def stored(
    offset: int,
    *,
    stage: str = "decode",
    error_class: str = "JsonError",
    message: str = "not JSON",
    key: bytes | None = b"k",
    topic: str = "in",
    headers: Headers | None = None,
    timestamp_ms: int | None = T,
) -> KafkaRecord:
    """A record of the dead-letter topic."""
    record = KafkaRecord(topic, 0, offset, timestamp_ms, key, b"v%d" % offset, headers or [])
    letter = dead_letter(record, Failure(stage, error_class, message), "dlq")
    return KafkaRecord("dlq", 0, offset, letter.timestamp_ms, letter.key, letter.value, letter.headers)


LETTERS = [
    stored(0),
    stored(1, stage="predict", error_class="Rejected", message="too long: amount"),
    stored(2, stage="write", error_class="WriteTooLarge", key=b"caf\xe9"),
    stored(3, error_class="FieldError", message="amount: expected float32", timestamp_ms=T + 3_600_000),
    stored(4, topic="in2", key=None, timestamp_ms=None),
]


class Originals:
    """Input records that Kafka still has."""

    def __init__(self, there: dict[Source, KafkaRecord]):
        self._there = there
        self.asked: list[Source] = []

    def read(self, sources: Collection[Source]) -> dict[Source, KafkaRecord]:
        self.asked += sources
        return {source: self._there[source] for source in sources if source in self._there}


def select(
    records: list[KafkaRecord], *flags: str, ledger: Ledger | None = None, originals: Originals | None = None
) -> tuple[list[Restored], Counts]:
    config = parse_replay(("--bootstrap_servers=h:1", "--output_topic=out", "--dead_letter_topic=dlq", *flags), {})
    counts = Counts()
    topics = {"in": (0,), "in2": (0,), "dlq": (0,)}
    selection = Selection(config, ledger or Ledger("id"), topics, originals or Originals({}), counts)
    return selection.of(records), counts


def offsets(found: list[Restored]) -> list[int]:
    return [record.offset for _, record in found]


@pytest.mark.parametrize(
    ("flags", "meant"),
    [
        ((), [0, 1, 2, 3, 4]),
        (("--stage=decode",), [0, 3, 4]),
        (("--stage=predict,write",), [1, 2]),
        (("--error_class=Rejected,FieldError",), [1, 3]),
        (("--message=amount",), [1, 3]),
        (("--message=^amount: .*32$",), [3]),
        (("--key=k",), [0, 1, 3]),
        (("--key=caf\\xe9", "--key=other"), [2]),
        (("--key=(null)",), []),
        (("--source=in/0/2", "--source=in2/0/4"), [2, 4]),
        (("--input_topic=in2",), [4]),
        (("--since=2026-01-31T12:30",), [3]),
        (("--until=2026-01-31T12:30",), [0, 1, 2]),
        (("--stage=decode", "--key=k", "--until=2026-01-31T12:30"), [0]),
    ],
)
def test_filters(flags: tuple[str, ...], meant: list[int]) -> None:
    """All that are given have to hold; a record without a timestamp is in no span of time."""
    found, counts = select(LETTERS, *flags)
    assert offsets(found) == meant
    assert (counts.read, counts.others.total()) == (5, 5 - len(meant))


def test_what_one_filter_has_skipped_another_run_replays_and_nothing_twice() -> None:
    ledger = Ledger("id")
    for flags, expected in (("--stage=predict", [1]), ("--message=amount", [3]), ("--key=k", [0]), ("--stage=decode", [4])):
        found, counts = select(LETTERS, flags, ledger=ledger)
        assert offsets(found) == expected
        assert counts.before + counts.others.total() + len(found) == 5
        ledger.add([letter.place for letter, _ in found])


def test_a_record_is_replayed_as_it_was_with_its_count() -> None:
    [(letter, record)], _ = select([stored(7, headers=[("h", b"1"), ("inference.replay.attempts", b"1")])])
    assert letter.place == (0, 7)
    assert record == KafkaRecord(
        "in", 0, 7, T, b"k", b"v7",
        [("h", b"1"), ("inference.replay.attempts", b"2"), ("inference.replay.dead_letter", b"dlq/0/7")],
    )  # fmt: skip


def test_attempts_end() -> None:
    """Three by default."""
    records = [stored(at, headers=[("inference.replay.attempts", b"%d" % at)]) for at in range(5)]
    found, counts = select(records)
    assert offsets(found) == [0, 1, 2]
    assert counts.refused == {"it was replayed as often as --max_attempts=3 allows": 2}
    assert offsets(select(records, "--max_attempts=4")[0]) == [0, 1, 2, 3]


def test_what_can_not_go_back_is_refused_with_the_reason() -> None:
    stranger = KafkaRecord("dlq", 0, 9, T, None, b"x", [])
    found, counts = select([stored(0, topic="gone"), stored(1, topic="dlq"), stranger, stored(3)])
    assert offsets(found) == [3]
    assert sorted(text.split(",")[0].split(":")[0] for text in counts.refused) == [
        "gone",
        "it came from dlq itself",
        "no dead letter of this program",
    ]
    assert counts.refused.total() == 3


def test_a_topic_that_is_gone_does_not_matter_where_the_model_is_asked() -> None:
    found, _ = select([stored(0, topic="gone")], "--score", "--model=grpc://s:1/m")
    assert offsets(found) == [0]


def cut(offset: int) -> KafkaRecord:
    """A dead letter of which the value was cut."""
    letter = stored(offset)
    return letter._replace(value=b"v", headers=[*letter.headers, ("inference.original.value_bytes", b"3")])


def test_what_was_cut_is_read_again_or_refused() -> None:
    whole = KafkaRecord("in", 0, 5, T, b"k", b"v12", [])
    often = whole._replace(offset=6, headers=[("inference.replay.attempts", b"3")])
    originals = Originals({("in", 0, 5): whole, ("in", 0, 6): often})
    found, counts = select([cut(5), cut(6), cut(7), stored(8)], originals=originals)
    assert [(record.offset, record.value) for _, record in found] == [(5, b"v12"), (8, b"v8")]
    assert sorted(originals.asked) == [("in", 0, 5), ("in", 0, 6), ("in", 0, 7)], "what is whole is not asked for"
    assert sorted(counts.refused.values()) == [1, 1]
    assert any("--max_attempts" in text for text in counts.refused), "its count is in the record that was read again"
    assert any("Kafka has deleted the input record" in text for text in counts.refused)
