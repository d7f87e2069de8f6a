"""When reading ends: at offsets, at a deadline, and with a drain; against a session that hands out what the test says."""

from __future__ import annotations

import dataclasses

import pytest

from tests.kafka.native.fake_session import A, B, FakeSession, finished, make, read
from transforms.kafka.native.bundle import NOTHING_CARRIED, Carried
from transforms.kafka.native.polling import CHECK_COMMITTED_S, FIRST_READ
from transforms.kafka.stop import StopConditions, request_drain

pytestmark = pytest.mark.usefixtures("not_draining")


def to_ends(**ends: int) -> StopConditions:
    found = tuple((("in", int(name[1:])), end) for name, end in ends.items())
    return StopConditions(end_offsets=found, pending=tuple(partition for partition, _ in found))


def test_records_beyond_the_ends_are_left_out() -> None:
    kafka = FakeSession(10)
    assert read(make(kafka, to_ends(p0=6, p1=3)), kafka) == [6]
    assert [record.offset for record in kafka.beyond] == [6, 7, 8, 9]


def test_it_ends_when_all_ends_are_committed() -> None:
    kafka = FakeSession()
    polling = make(kafka, to_ends(p0=6, p1=3))
    for committed, over in (({}, False), ({A: 6}, False), ({A: 6, B: 2}, False), ({A: 6, B: 3}, True)):
        kafka.commits.offsets = committed
        assert finished(polling, kafka) is over
    assert kafka.asked_group == 0, "all of it is ours: nobody else needs to be asked"


def test_with_nothing_to_read_it_ends_at_once() -> None:
    kafka = FakeSession()
    assert finished(make(kafka, StopConditions(end_offsets=())), kafka)
    assert finished(make(kafka, StopConditions(end_offsets=((A, 5),), pending=())), kafka), "the group has committed the end"


def test_the_shares_of_others_are_asked_for_now_and_then() -> None:
    kafka = FakeSession()
    kafka.reader.owned = {A}
    kafka.commits.offsets = {A: 6}
    polling = make(kafka, to_ends(p0=6, p1=3))
    for _ in range(10):
        assert not finished(polling, kafka)
        kafka.now += CHECK_COMMITTED_S / 5
    assert kafka.asked_group == 2
    kafka.group = {A: 6, B: 3}
    kafka.now += CHECK_COMMITTED_S
    assert finished(polling, kafka)


def test_a_member_that_owns_nothing_waits_for_the_others() -> None:
    kafka = FakeSession()
    kafka.reader.owned = set()
    polling = make(kafka, to_ends(p0=6))
    assert not finished(polling, kafka)
    kafka.group, kafka.now = {A: 6}, kafka.now + 1
    assert finished(polling, kafka)


def test_a_deadline() -> None:
    kafka = FakeSession()
    assert finished(make(kafka, StopConditions(drain_at_s=1.0)), kafka)
    assert not finished(make(kafka, StopConditions(drain_at_s=1e12)), kafka)


def test_a_topic_that_is_made_again_is_read_to_its_own_ends() -> None:
    """Its partitions, too; and while Kafka does not say its ends, nothing is left out, and nothing ends."""
    kafka = FakeSession(9, 9)
    stop = dataclasses.replace(to_ends(p0=3), identities=(("in", "a@c"),))
    polling = make(kafka, stop)
    kafka.commits.offsets = {A: 3}
    kafka.reader.identities = {"in": "b@c"}
    assert not finished(polling, kafka)
    assert read(polling, kafka) == [9]
    kafka.ends = {A: 12, B: 2, ("in", 2): 0}
    kafka.commits.offsets = {A: 12}
    assert not finished(polling, kafka)
    assert read(polling, kafka) == [3]
    kafka.commits.offsets = {A: 12, B: 2}
    assert finished(polling, kafka)


@pytest.mark.parametrize("now", ["", "a@c", "b@another cluster"])
def test_what_is_not_known_to_be_another_topic_is_read_to_the_ends_of_the_start(now: str) -> None:
    kafka = FakeSession(9)
    polling = make(kafka, dataclasses.replace(to_ends(p0=3), identities=(("in", "a@c"),)))
    kafka.reader.identities = {"in": now}
    kafka.commits.offsets = {A: 3}
    assert finished(polling, kafka)


@pytest.mark.parametrize("stop", [StopConditions(drain_at_s=1.0), StopConditions(end_offsets=())])
def test_what_is_carried_is_answered_by_one_more_bundle_that_reads_nothing(stop: StopConditions) -> None:
    kafka = FakeSession(FIRST_READ, FIRST_READ)
    polling = make(kafka, stop)
    kafka.inherited = Carried({}, 4, 0)
    assert not finished(polling, kafka)
    assert read(polling, kafka) == []
    assert (kafka.polls, kafka.left_more) == ([], 0)
    kafka.inherited = NOTHING_CARRIED
    assert finished(polling, kafka)


def test_without_any_condition_it_goes_on_until_it_is_drained() -> None:
    kafka = FakeSession()
    polling = make(kafka)
    assert not finished(polling, kafka)
    request_drain()
    assert finished(polling, kafka)
