"""Faults of the model server: away, hanging, overloaded, cut off, answering wrongly, changing its version."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.chaos.cutting_proxy import CuttingProxy
from tests.chaos.stream import Stream
from transforms.testing.faults import Kind, StubError

Fault = Callable[[Stream], None]
Act = Callable[[Stream, int], None]

CUT_ANSWERS = 20


def in_mid_stream(fault: Fault) -> Act:
    """A scenario of one process whose model server has the fault, so many times, at random moments."""

    def act(stream: Stream, times: int) -> None:
        stream.with_one_process(times, lambda _: fault(stream))

    return act


def restart(stream: Stream) -> None:
    """It is away for a second."""
    stream.stub.down()
    time.sleep(1)
    stream.stub.up()


def hang(stream: Stream) -> None:
    """Ten requests are never answered."""
    stream.stub.faults.answer_next(10, "hang")


def unavailable(stream: Stream) -> None:
    """UNAVAILABLE for 20 s."""
    stream.stub.faults.fail_next(None, "UNAVAILABLE")
    time.sleep(20)
    _well_again(stream)


def overloaded(stream: Stream) -> None:
    """RESOURCE_EXHAUSTED for 3 s, as a full queue answers."""
    stream.stub.faults.fail_next(None, "RESOURCE_EXHAUSTED", "queue is full")
    time.sleep(3)
    _well_again(stream)


def cut(stream: Stream) -> None:
    """The connection is cut for 20 requests."""
    stream.stub.faults.answer_next(20, "hang_up")


def wrong_rows(stream: Stream) -> None:
    """Ten answers with a row too few, ten with one too many, ten that can't be read."""
    for kind in ("short", "long", "malformed"):
        stream.stub.faults.answer_next(10, kind)


def another_version(stream: Stream) -> None:
    """The next version is served from now on."""
    stream.stub.model.flip(stream.faults + 1)


def cut_answers(stream: Stream, times: int) -> None:
    """20 answers end in the middle, at any byte, with the connection."""
    with CuttingProxy(stream.stub.address, stream.rng) as proxy:
        stream.job.flags = tuple(it.replace(stream.stub.address, proxy.address) for it in stream.job.flags)

        def cut(_: int) -> None:
            before = proxy.cuts
            proxy.cut_next(CUT_ANSWERS)
            stream.until(lambda: proxy.cuts >= before + CUT_ANSWERS, "cut answers")

        stream.with_one_process(times, cut)


def poison(code: str, message: str, *classes: str) -> Act:
    """A scenario in which the model server answers this to each batch with one of 1% of the records."""
    return _poison("status", StubError(code, message), *classes)


def poison_that(kind: Kind, *classes: str) -> Act:
    """A scenario in which the model server has this fault for each batch with one of 1% of the records."""
    return _poison(kind, None, *classes)


def _poison(kind: Kind, error: StubError | None, *classes: str) -> Act:
    def act(stream: Stream, times: int) -> None:
        stream.stub.faults.poison = lambda row: bool((row["x"] < 0).any())
        stream.stub.faults.poison_kind = kind
        if error is not None:
            stream.stub.faults.poison_error = error
        stream.fill(stream.planned, every=100, classes=classes)
        stream.faults = len(stream.poison)
        stream.job.run("--until_end")

    return act


def slow(stream: Stream, times: int) -> None:
    """2 s an answer, against a transaction's time-out of 10 s."""
    stream.stub.faults.latency_s = 2.0
    stream.fill(stream.planned)
    stream.faults = times
    stream.job.run("--until_end")


def _well_again(stream: Stream) -> None:
    latency_s = stream.stub.faults.latency_s
    stream.stub.faults.clear()
    stream.stub.faults.latency_s = latency_s
