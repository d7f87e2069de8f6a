"""The guarantee where the input topic is deleted and made again, as a property: each record of the new topic is answered.

As ``test_exactly_once.py``, with everything else that may happen meanwhile.
"""

from __future__ import annotations

import dataclasses
import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.kafka.native.memory_consumer import MemoryConsumer
from tests.kafka.native.memory_kafka import Source
from tests.kafka.native.test_exactly_once import EVENTS, World, logs
from transforms.kafka.commit_metadata import identity_in
from transforms.kafka.config import AT_LEAST_ONCE, EXACTLY_ONCE
from transforms.kafka.native.polling import Polling


class Remade(World):
    """The input topic is deleted and made again, with other records and perhaps other partitions.

    Args:
        log: The records at first.
        seed: Of what happens.
        events: How much happens.
        delivery: The job's guarantee.
        at_once: Whether nobody can notice that the topic was away.
        until_end: Whether the job ends at the ends of the topic.
    """

    def __init__(
        self, log: list[list[bool]], seed: int, events: int, delivery: str, *, at_once: bool, until_end: bool = False
    ):
        super().__init__(log, seed, events, delivery, until_end, None)
        if until_end:
            self.stop_at_ends()
        self.kafka.refuses = lambda _: None
        self._at_once = at_once
        self.former: list[Source] = []
        self._chance = random.Random(seed + 1)

    def between(self, consumer: MemoryConsumer) -> None:
        if gone := set(consumer.positions) - self.all:
            consumer.revoke(gone)
            self.kafka.others -= gone
        if "in" not in self.kafka.gone:
            super().between(consumer)

    def outside(self) -> None:
        super().outside()
        if "in" in self.kafka.gone:
            self.now += 0.3
            if self.session.reader._lost is not None and (self.events <= 0 or self._chance.random() < 0.3):
                self.make_again()
        elif self.session.reader.owned and self.chance(0.05):
            if self._at_once:
                self.make_again()
            else:
                self.kafka.gone.add("in")

    def make_again(self) -> None:
        self.former = self.kafka.records()
        count = self._chance.randint(1, 4)
        log = [[self._chance.random() < 0.8 for _ in range(self._chance.randint(0, 50))] for _ in range(count)]
        self.kafka.make_again(*log, forget=self._chance.random() < 0.5)
        self.all = set(self.kafka.log)
        self.kafka.others &= self.all

    def stop_at_ends(self) -> None:
        """The conditions name the topic that they are of."""
        identity = f"{self.kafka.topic_id('in')}@{self.kafka.cluster}"
        stop = dataclasses.replace(self.polling.stop, identities=(("in", identity),))
        self.polling = Polling(self.session.config, stop, lambda: self.now, first_read=3)

    def is_done(self) -> bool:
        now = f"{self.kafka.topic_id('in')}@{self.kafka.cluster}"
        of_now = all(identity_in(self.kafka.metadata.get(partition)) == now for partition in self.ends())
        return "in" not in self.kafka.gone and of_now and super().is_done()


@settings(max_examples=150, deadline=None)
@given(logs(), st.integers(0, 2**32), EVENTS)
def test_deleted_for_a_while(log: list[list[bool]], seed: int, events: int) -> None:
    """Exactly once: each record of the last topic has one outcome, in order; one of a former topic at most one."""
    world = Remade(log, seed, events, EXACTLY_ONCE, at_once=False)
    world.run()
    outputs = world.kafka.outputs
    assert len(set(outputs)) == len(outputs)
    last = [it for it in outputs if it[0] == world.kafka.name("in")]
    assert sorted(last) == sorted(world.kafka.records())
    for partition in {(name, number) for name, number, _ in outputs}:
        offsets = [offset for *its, offset in outputs if tuple(its) == partition]
        assert offsets == sorted(offsets), "in the order of the input"


@settings(max_examples=100, deadline=None)
@example([[True] * 7, [True] * 15, [True] * 10], 13744, 63, AT_LEAST_ONCE)  # an error of before a rebalance, told after it
@given(logs(), st.integers(0, 2**32), EVENTS, st.sampled_from([EXACTLY_ONCE, AT_LEAST_ONCE]))
def test_made_again_at_once(log: list[list[bool]], seed: int, events: int, delivery: str) -> None:
    """Nothing is lost, however quickly it goes."""
    world = Remade(log, seed, events, delivery, at_once=True)
    world.run()
    world.session.close()
    assert {it for it in world.kafka.outputs if it[0] == world.kafka.name("in")} == set(world.kafka.records())


@settings(max_examples=150, deadline=None)
@example([[True, True]], 2379926, 45, False)  # a new member without partitions compares others' commits with the former ends
@given(logs(), st.integers(0, 2**32), EVENTS, st.booleans())
def test_until_the_end_of_the_last(log: list[list[bool]], seed: int, events: int, at_once: bool) -> None:
    """It ends, and not before all of the topic is answered, or of the one before if it had ended by then."""
    world = Remade(log, seed, events, EXACTLY_ONCE, at_once=at_once, until_end=True)
    world.run()
    answered = set(world.kafka.outputs)
    assert answered >= set(world.kafka.records()) or (world.former and answered >= set(world.former))
