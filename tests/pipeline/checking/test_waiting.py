"""The wait at the start: for whom, for how long, what is said; and that what no waiting cures is not waited for."""

from __future__ import annotations

import threading

import pytest

from pipeline.checking import flags as check_flags
from pipeline.checking import waiting
from pipeline.checking.contract import check_all, served
from pipeline.checking.waiting import StartWait
from pipeline.embedded.broker import EmbeddedBroker
from transforms.errors import ContractError, NotReadyError


class Waited:
    """A wait of 120 s in which no time passes but by its pauses and its attempts."""

    def __init__(self, wait_s: float = 120.0) -> None:
        self.now = 1000.0
        self.lines: list[str] = []
        self.attempts: list[float] = []
        self.waiting = StartWait(wait_s, lambda: self.now, self.pause, self.lines.append)

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def there_after(self, failures: int, takes_s: float = 0.0) -> str:
        """Asks a server that fails so many times first."""

        def check(timeout_s: float) -> str:
            self.attempts.append(timeout_s)
            self.now += takes_s
            if len(self.attempts) <= failures:
                raise NotReadyError("--model=m: refused")
            return "found"

        return self.waiting.until_there("the model server", check)


def test_who_is_there_is_not_waited_for() -> None:
    waited = Waited()
    assert waited.there_after(0) == "found"
    assert waited.lines == []


def test_it_says_who_is_waited_for_and_when_they_are_there() -> None:
    waited = Waited()
    assert waited.there_after(10) == "found"
    assert waited.lines == [
        "waiting for the model server, for up to 120 s more (--wait_for_start_s): --model=m: refused",
        "the model server is there after 5 s",
    ]


def test_it_says_so_again_in_a_long_wait() -> None:
    waited = Waited()
    waited.there_after(140)
    assert [line.partition(" more")[0][-5:] for line in waited.lines[:-1]] == ["120 s", " 90 s", " 60 s"]


def test_the_first_attempt_is_short_so_that_the_line_comes_soon() -> None:
    """A later one has the usual time: who takes longer to answer than the first attempt waits is reached, too."""
    waited = Waited()
    waited.there_after(2)
    assert waited.attempts == [waiting.FIRST_ATTEMPT_S, waiting.ATTEMPT_S, waiting.ATTEMPT_S]


def test_a_later_check_waits_for_what_is_left_of_the_time() -> None:
    """Also after all others are done, which gives the wait up."""
    waited = Waited()
    waited.there_after(100)
    waited.waiting.give_up()
    waited.waiting = waited.waiting.rest()
    waited.attempts.clear()
    waited.lines.clear()
    assert waited.there_after(1) == "found"
    assert " 70 s more" in waited.lines[0]


def test_it_ends_with_the_last_error() -> None:
    waited = Waited(wait_s=10)
    with pytest.raises(NotReadyError, match="refused"):
        waited.there_after(10**9, takes_s=3)
    assert 1010 <= waited.now < 1014
    assert len(waited.lines) == 1


def test_without_a_wait_there_is_one_attempt_of_the_usual_time() -> None:
    waited = Waited(wait_s=0)
    with pytest.raises(NotReadyError):
        waited.there_after(1)
    assert (waited.attempts, waited.lines) == ([waiting.ATTEMPT_S], [])


def test_what_no_waiting_cures_is_raised_at_once() -> None:
    waited = Waited()

    def check(_: float) -> None:
        raise ContractError("--model=m: no such model")

    with pytest.raises(ContractError, match="no such model"):
        waited.waiting.until_there("the model server", check)
    assert (waited.now, waited.lines) == (1000.0, [])


def never(whom: str) -> object:
    raise NotReadyError(f"{whom}: refused")


def test_a_mistake_that_one_check_finds_ends_the_waits_of_the_others() -> None:
    """In real time: the model server would be waited for for an hour. What it said is told beside the mistake."""
    lines: list[str] = []
    waited_for = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        waited_for.set()

    start = StartWait(3600, say=say)

    def topics() -> object:
        waited_for.wait(60)
        raise ContractError("--input_topic=a: the topic does not exist")

    with pytest.raises(ContractError) as raised:
        check_all(start, lambda: start.until_there("the model server", lambda _: never("--model=m")), topics, lambda: None)
    assert not isinstance(raised.value, NotReadyError)
    assert str(raised.value).splitlines() == ["--model=m: refused", "--input_topic=a: the topic does not exist"]
    assert len(lines) == 1


def test_if_nothing_is_wrong_but_that_they_are_not_there_the_error_says_so() -> None:
    start = StartWait(0)
    with pytest.raises(NotReadyError) as raised:
        check_all(
            start,
            lambda: start.until_there("the model server", lambda _: never("--model=m")),
            lambda: start.until_there("Kafka", lambda _: never("--bootstrap_servers=k")),
            lambda: None,
        )
    assert str(raised.value).splitlines() == ["--model=m: refused", "--bootstrap_servers=k: refused"]


def test_kafkas_address_is_not_waited_for_as_a_model_server(broker: EmbeddedBroker) -> None:
    """It would answer as little after two minutes."""
    flags = [f"--bootstrap_servers={broker.address}", "--input_topic=a", "--output_topic=b"]
    for uri in (f"http://{broker.address}/v1/models/m", f"grpc://{broker.address}/m"):
        with pytest.raises(ContractError, match="is an address of --bootstrap_servers") as caught:
            served(check_flags.parse([*flags, f"--model={uri}"], {}), StartWait(0))
        assert not isinstance(caught.value, NotReadyError)
