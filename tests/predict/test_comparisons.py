"""Comparisons: a row is guilty that fails while the known-good row is answered is guilty, if that is no chance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.dispatching import says
from transforms.errors import ModelError, TransientError
from transforms.predict.batching import RowsResult
from transforms.predict.causes import PROVEN, Causes
from transforms.predict.comparisons import LEAST_STRIKES, MOST_STRIKES, Comparisons
from transforms.predict.false_alarms import FalseAlarms
from transforms.predict.spans import Span
from transforms.predict.trials import Guilty

ERROR = says(TransientError, "the model raised")
ANSWER = RowsResult(0, 1, 1)


class Bench:
    """Rows under comparison at a server that is played by two functions, each called with the number of the request."""

    def __init__(
        self,
        of_row: Callable[[int], RowsResult | ModelError] = lambda number: ERROR,
        of_known_good: Callable[[int], bool] = lambda number: True,
    ):
        self.causes, self.alarms = Causes(), FalseAlarms()
        self.asked = self.controls = 0
        for _ in range(PROVEN):
            self.causes.found_guilty(ERROR)
        self._of_row, self._of_known_good = of_row, of_known_good
        self._comparisons = Comparisons(self._attempt, self._control, self.alarms, self.causes)

    def judge(self, rows: int) -> list[RowsResult | Guilty | None]:
        async def work() -> list[RowsResult | Guilty | None]:
            return await asyncio.gather(*(self._comparisons.judge(Span.of({}, 1), ERROR) for _ in range(rows)))

        return asyncio.run(work())

    async def _attempt(self, span: Span) -> RowsResult | ModelError:
        self.asked += 1
        number = self.asked
        await asyncio.sleep(0)
        return self._of_row(number)

    async def _control(self) -> bool:
        self.controls += 1
        number = self.controls
        await asyncio.sleep(0)
        return self._of_known_good(number)


def test_many_guilty_rows_share_what_is_known_of_the_server() -> None:
    bench = Bench()
    assert bench.judge(64) == [Guilty(ERROR)] * 64
    assert bench.asked == bench.controls == LEAST_STRIKES * 64


def test_few_rows_fail_more_often() -> None:
    bench = Bench()
    assert bench.judge(8) == [Guilty(ERROR)] * 8
    assert LEAST_STRIKES * 8 < bench.asked <= 6 * 8


def test_of_one_row_alone_nothing_can_be_told() -> None:
    bench = Bench()
    assert bench.judge(1) == [None]
    assert bench.asked == MOST_STRIKES


def test_a_row_that_is_answered_clears_its_cause() -> None:
    bench = Bench(lambda number: ANSWER if number == 100 else ERROR)
    assert ANSWER in bench.judge(64)
    assert not bench.causes.proven(ERROR)
    assert bench.alarms.any


def test_nothing_is_told_if_the_known_good_row_fails_once() -> None:
    bench = Bench(of_known_good=lambda number: number != 70)
    assert bench.judge(64) == [None] * 64
    assert bench.alarms.any


def test_nothing_is_told_of_a_row_that_fails_of_something_else() -> None:
    other = says(TransientError, "out of memory")
    assert Bench(lambda number: other).judge(64) == [None] * 64
