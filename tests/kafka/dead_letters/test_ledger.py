"""The ledger: a set of dead letters, kept as one entry of fixed size for each block of offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import KafkaError
from transforms.kafka.dead_letters.ledger import BLOCK_OFFSETS, Ledger, Place
from transforms.types import KafkaRecord

places = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 5 * BLOCK_OFFSETS)), max_size=30)


def as_read(entries: list[tuple[bytes, bytes]]) -> list[KafkaRecord]:
    return [KafkaRecord("dlq.replayed", 0, offset, 0, key, value, []) for offset, (key, value) in enumerate(entries)]


@given(st.lists(places, max_size=4), places)
def test_what_was_committed_is_in_it_and_nothing_else(commits: list[set[Place]], others: set[Place]) -> None:
    """Also after the topic was compacted: of each key, only the last entry counts."""
    ledger = Ledger("id")
    topic: list[tuple[bytes, bytes]] = []
    for commit in commits:
        topic += ledger.entries(commit)
        ledger.add(commit)
    there = set().union(*commits)
    assert len(ledger) == len(there)
    for entries in (topic, list(dict(topic).items())):
        again = Ledger("id")
        again.read(as_read(entries))
        assert len(again) == len(there)
        assert all((place in again) == (place in there) for place in there | others)


def test_entries_that_were_not_committed_change_nothing() -> None:
    ledger = Ledger("id")
    assert ledger.entries([(0, 1)])
    assert (0, 1) not in ledger


def test_its_size_does_not_grow_with_the_replays() -> None:
    """A kilobyte for 8,192 offsets, however often it is written."""
    ledger = Ledger("id")
    keys = set()
    for offset in range(BLOCK_OFFSETS):
        ledger.add([(0, offset)])
        keys |= {key for key, value in ledger.entries([(0, offset)]) if len(value) == 1024}
    assert keys == {b"id/0/0"}


def test_an_id_with_slashes_is_read_back() -> None:
    """Kafka's ids are base64."""
    ledger, again = Ledger("a/b/+c"), Ledger("a/b/+c")
    again.read(as_read(ledger.entries([(1, 5)])))
    assert (1, 5) in again


def test_a_topic_that_was_made_anew_has_a_ledger_of_its_own() -> None:
    """Its offsets begin at 0 again."""
    before = Ledger("first")
    after = Ledger("second")
    after.read(as_read(before.entries([(0, 0), (1, 5)])))
    assert len(after) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [(None, b"x"), (b"id/0", bytes(1024)), (b"id/0/x", bytes(1024)), (b"id/0/0", b"short"), (b"id/0/0", None)],
)
def test_what_is_no_entry_is_not_passed_over(key: bytes | None, value: bytes | None) -> None:
    """Whoever wrote it may have replaced an entry: better to stop than to replay twice."""
    with pytest.raises(KafkaError, match=r"dlq.replayed/0/0: is no entry"):
        Ledger("id").read([KafkaRecord("dlq.replayed", 0, 0, 0, key, value, [])])
