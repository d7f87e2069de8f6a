"""The guarantee of a source alone, as a property: no record is committed before it is durable, and all are in the end."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kafka.native.memory_alone import Alone, Finalise
from transforms.errors import KafkaError
from transforms.kafka.native.alone import FINAL_WITHIN_S


class Runner:
    """Runs bundles of a source alone as a runner may: they fail, are run again, are final late, in any order, or never."""

    def __init__(self, logs: list[list[bool]], seed: int, events: int):
        self.random, self.events = random.Random(seed), events
        self.alone = Alone(*logs, between=self.rebalance)
        self.durable: Counter[tuple[int, int]] = Counter()
        self.waiting: list[tuple[Finalise, list[tuple[int, int]]]] = []

    def may(self, chance: float) -> bool:
        if self.events and self.random.random() < chance:
            self.events -= 1
            return True
        return False

    def rebalance(self) -> None:
        alone = self.alone
        all_of = set(alone.kafka.log)
        owned = set(alone.consumer.positions)
        if owned and self.may(0.05):
            alone.consumer.revoke({self.random.choice(sorted(owned))})
        elif owned != all_of and (not self.events or self.may(0.3)):
            alone.consumer.assign(all_of)

    def bundle(self) -> bool:
        """Runs one; returns whether there may be more to read."""
        alone = self.alone
        try:
            alone.session.begin(alone.number)
        except KafkaError:  # the only callback so far was dropped: the job ends, and is started again
            alone.session.close()
            alone.number = 0
            alone.open()
            return True
        found = [(it.partition, it.offset) for it in alone.session.poll(self.random.choice((1, 3, 50)), 0.1)]
        if self.may(0.15):
            return True  # a stage raised: the same number again
        finalise = alone.session.hand_over()
        alone.wait(0.1)
        if self.may(0.1):
            return True  # ``finish_bundle`` of a later stage raised
        alone.number += 1
        if finalise is not None:
            self.waiting.append((finalise, found))
        self.finalise()
        return bool(found)

    def finalise(self) -> None:
        while self.waiting and (not self.events or self.random.random() < 0.5):
            finalise, found = self.waiting.pop(self.random.randrange(len(self.waiting)))
            if self.may(0.1):
                continue  # the runner has dropped the callback, after it made the results durable
            self.durable.update(found)  # first the results, then the callback
            finalise()

    def check(self) -> None:
        """Every record before a committed offset is durable: whatever happens now, nothing is lost."""
        committed = self.alone.kafka.committed
        for _, partition, offset in self.alone.kafka.records():
            if offset < committed.get(("in", partition), 0):
                assert self.durable[partition, offset], f"{partition}/{offset} is committed and lost"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.booleans(), max_size=40), min_size=1, max_size=3), st.integers(0, 2**32), st.integers(0, 40))
def test_whatever_happens_no_record_is_committed_before_it_is_durable_and_all_are_in_the_end(
    logs: list[list[bool]], seed: int, events: int
) -> None:
    runner = Runner(logs, seed, events)
    alone = runner.alone
    quiet = 0
    for _ in range(1000):
        more = runner.bundle()
        runner.check()
        busy = more or runner.events or runner.waiting or alone.steps or not alone.session.finish_commit()
        quiet = 0 if busy else quiet + 1
        if quiet == 3:  # a partition that came back in the last poll is read in the next
            break
        if not runner.events and runner.random.random() < 0.05:
            alone.wait(FINAL_WITHIN_S + 1)  # for what was dropped
    alone.session.close()
    runner.check()
    ends = {partition: len(log) for partition, log in alone.kafka.log.items()}
    read_to_end = {partition: alone.kafka.committed.get(partition, 0) for partition in ends}
    assert read_to_end == ends
