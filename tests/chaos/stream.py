"""``Stream``: one job under test, every record of its input known, and the measure of how soon it goes on after a fault."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections.abc import Callable, Collection, Iterator

from confluent_kafka import KafkaException

from tests import topics
from tests.chaos.verdict import Generation, Verdict, judge_all
from tests.integration.process import Job, Running, Scoring, wait_until
from transforms.testing.stub_server import StubServer

GOES_ON_S = 360.0
"""How long a job may take to commit again after a fault; only a fault of ours lasts longer. A broker that came back may hold
a consumer's JoinGroup for ``max.poll.interval.ms``, 300 s."""

FIRST_POISON = -1.0
"""A row with this or a lower number is one that the model server does not take."""


class NotHereError(Exception):
    """This machine has not what the scenario needs; the message says what."""


HELP_ROWS = 500
"""How many rows more the model server answers at a time where those that it was to answer were not enough."""

HELP_S = 1.0
"""How long it waits between two such times."""

LEVELS: tuple[topics.Isolation, ...] = ("read_committed", "read_uncommitted")

Said = Callable[[str], None]


@dataclasses.dataclass
class Stream:
    """A job, its model server and its records.

    Attributes:
        job: Topics, group and flags.
        stub: The model server.
        rng: Of the scenario; its seed is told.
        exactly_once: The job's guarantee.
        say: Shows progress to the person who waits.
        faults: How many faults were injected.
        pauses: Seconds from each fault (or from its end) to the next commit.
        values: Healthy record to its number.
        poison: Record that can only be a dead letter to the classes that may be its.
        gone: Records that were deleted before they could be read.
        optional: Records that were deleted, and that may have been read before: they may have an outcome, at most one.
        planned: How many records the scenario has.
    """

    job: Job
    stub: StubServer
    rng: random.Random
    exactly_once: bool
    say: Said
    faults: int = 0
    pauses: list[float] = dataclasses.field(default_factory=list)
    values: dict[topics.Source, float] = dataclasses.field(default_factory=dict)
    poison: dict[topics.Source, frozenset[str]] = dataclasses.field(default_factory=dict)
    gone: set[topics.Source] = dataclasses.field(default_factory=set)
    optional: set[topics.Source] = dataclasses.field(default_factory=set)
    planned: int = 0

    def __post_init__(self) -> None:
        self._verdict: Verdict | None = None
        self._former: list[Generation] = []

    @contextlib.contextmanager
    def elsewhere(self, bootstrap: str) -> Iterator[None]:
        """Makes the topics on a broker of the scenario's own, which faults may hit. The verdict is given before it ends."""
        usual, self.job.bootstrap = self.job.bootstrap, bootstrap
        topics.create_topic(bootstrap, self.job.inputs[0], topics.partition_count(usual, self.job.inputs[0]))
        for topic in (self.job.output, f"{self.job.output}.dead-letter"):
            topics.create_topic(bootstrap, topic, topics.partition_count(usual, topic))
        yield

    # ------------------------------------------------------------------ its input

    def fill(self, records: int, every: int = 0, classes: Collection[str] = (), keys: int = 0) -> None:
        """Writes so many numbers.

        Args:
            records: How many.
            every: One in so many is poison for the model server, ...
            classes: ... to be a dead letter of one of these.
            keys: How many keys they have, in turn; none if 0.
        """
        topic = self.job.inputs[0]
        count = topics.partition_count(self.job.bootstrap, topic)
        numbers = range(self.job.produced, self.job.produced + records)
        rows = [-1.0 - number if every and number % every == every // 2 else float(number) for number in numbers]
        self.job.produced += records
        written = topics.produce(
            self.job.bootstrap,
            topic,
            (b'{"x": [%d]}' % row for row in rows),
            keys=(b"%d" % (number % keys) for number in numbers) if keys else None,
            partitions=(number % count for number in numbers),
        )
        for (partition, offset), row in zip(written, rows, strict=True):
            source = (topic, partition, offset)
            if row <= FIRST_POISON:
                self.poison[source] = frozenset(classes)
            else:
                self.values[source] = row

    def input_deleted(self) -> None:
        """The input topic is about to be deleted: what is not committed need not be answered."""
        topic, committed = self.job.inputs[0], self.job.committed()
        self.optional |= {it for it in self.values if it[0] == topic and it[2] >= committed.get(it[1], 0)}

    def input_made_again(self) -> None:
        """The deleted input topic is there again, empty: its offsets begin at 0, so what was in it is judged for itself."""
        self._former.append(Generation(self.job.produced, self.values, self.poison, self.gone, self.optional))
        self.values, self.poison, self.gone, self.optional = {}, {}, set(), set()

    @property
    def records(self) -> int:
        """How many there are to be answered."""
        return len(self.values) + len(self.poison) - len(self.gone)

    # ------------------------------------------------------------------ its progress

    def committed(self) -> int:
        """How many records the group has committed (transaction markers of the input are counted, too)."""
        # Not by the admin client: its list_consumer_group_offsets ends the process with SIGSEGV where the group is not known
        # yet (https://github.com/confluentinc/librdkafka/issues/5040, open in 2.16).
        while True:
            try:
                return sum(self.job.committed().values())
            except KafkaException:  # Kafka is away, which may be the scenario
                time.sleep(0.2)

    def answered(self, rows: int, process: Running | None = None) -> None:
        """Waits until the model server has answered so many rows more, or holds them (``throttle``), or the process ends."""
        faults = self.stub.faults
        mark = faults.rows_answered + rows

        def met() -> bool:
            return faults.rows_answered >= mark or faults.held > 0 or (process is not None and not process.running)

        wait_until(met, f"{rows} more answers", GOES_ON_S, process)

    @contextlib.contextmanager
    def fault(self, process: Running | None = None) -> Iterator[None]:
        """Counts the fault that is made in the block, and measures how long after it the next commit comes."""
        self.faults += 1
        yield
        self.goes_on(process)

    def goes_on(self, process: Running | None = None) -> None:
        """Waits for the next commit, and notes how long it took. Where nothing is left, none is to come."""
        before, began = self.committed(), time.monotonic()
        if self.left() <= 0:
            return
        self.until(lambda: self.committed() > before, "commit after a fault", process)
        self.pauses.append(time.monotonic() - began)
        self.say(f"fault {self.faults}: went on after {self.pauses[-1]:.1f} s, {before:,} records committed")

    def until(self, condition: Callable[[], bool], what: str, process: Running | None = None) -> None:
        """Waits for what needs answers. A model server that holds them all (``throttle``) answers some rows more.

        What it was to answer may have gone into bundles that a rebalance has rolled back, or into answers that were cut.
        """

        help_at = 0.0

        def met() -> bool:
            nonlocal help_at
            if condition():
                return True
            if self.stub.faults.held and time.monotonic() >= help_at:  # not all of them while a fault lasts
                help_at = time.monotonic() + HELP_S
                self.stub.faults.hold_after(HELP_ROWS)
            return False

        wait_until(met, what, GOES_ON_S, process)

    def left(self) -> int:
        """How many records are not committed yet."""
        return self.job.produced - (self._former[-1].end if self._former else 0) - self.committed()

    def throttle(self, share: float) -> None:
        """Lets the model server answer this share of what is left, and hold what comes then: nobody runs out of records."""
        self.stub.faults.hold_after(max(1, int(self.left() * share)))

    def with_one_process(self, times: int, fault: Callable[[int], None]) -> None:
        """Scores everything with one process; at random moments ``fault`` is called with the number of faults left."""
        self.fill(self.planned)
        self.throttle(0.5)
        process = self.job.start("--until_end")
        for time_left in range(times, 0, -1):
            self.answered(self.rng.randrange(1, max(2, self.left() // (2 * time_left))), process)
            if not process.running:
                self.say(f"no records are left for {time_left} of {times} faults")
                break
            with self.fault(process):
                fault(time_left)
                self.throttle(0.5)
        self.finish(process)

    # ------------------------------------------------------------------ its end

    def finish(self, *processes: Scoring) -> None:
        """No more faults: what runs comes to the end, or one more process does."""
        self.stub.faults.clear()
        if not processes:
            self.job.run("--until_end")
        for process in processes:
            process.done()

    def drain(self, *processes: Scoring) -> None:
        """The same for processes that run for ever: they are asked to end when everything is committed."""
        self.stub.faults.clear()
        wait_until(lambda: self.left() <= 0, "commit of everything", GOES_ON_S)
        for process in processes:
            process.terminate()
        for process in processes:
            process.done()

    def settle(self) -> None:
        """Gives the verdict now, as the broker is about to end."""
        self._verdict = self.verdict()

    def verdict(self) -> Verdict:
        """Counts what became of the records."""
        if self._verdict is not None:
            return self._verdict
        present = Generation(self.job.produced, self.values, self.poison, self.gone, self.optional)
        predictions, dead_letters = self.job.predictions(), self.job.dead_letters()
        verdict = judge_all([*self._former, present], predictions, dead_letters)
        if not verdict.ok(self.exactly_once):
            self.say(f"{verdict}\n{self._where_it_is_missing({*map(topics.source_of, [*predictions, *dead_letters])})}")
        return verdict

    def _where_it_is_missing(self, answered: Collection[topics.Source | None]) -> str:
        """What someone who looks for the cause wants to know, as long as the broker is there."""
        wanted = (self.values.keys() | self.poison.keys()).difference(answered, self.gone, self.optional)
        missing: dict[tuple[str, int], list[int]] = {}
        for topic, partition, offset in sorted(wanted):
            missing.setdefault((topic, partition), []).append(offset)
        lines = [f"missing in {where}: {len(its)}, from {its[0]} to {its[-1]}" for where, its in missing.items()]
        lines.append(f"committed: {self.job.committed()}")
        for topic in (self.job.output, f"{self.job.output}.dead-letter"):
            ends = {level: topics.end_offsets(self.job.bootstrap, topic, level) for level in LEVELS}
            lines.append(f"ends of {topic}: {ends}")
            there = [it for it in topics.read_all(self.job.bootstrap, topic, LEVELS[1]) if topics.source_of(it) in wanted]
            if there:
                places = sorted((it.partition, it.offset) for it in there)
                lines.append(f"a {LEVELS[1]} reader finds {len(there)} of them, from {places[0]} to {places[-1]}")
        return "\n".join(lines)
