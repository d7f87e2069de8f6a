"""The patches of Beam's local runner are applied where it is as in the tested versions, and refused elsewhere, by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.worker import statesampler

from pipeline.runners.beam_internals import TESTED, close_metrics_leak, keep_worker_pool_local, stop_state_sampling
from transforms.errors import ContractError

NAMES_THE_VERSIONS = rf"apache-beam {beam.__version__}; install a version from {TESTED[0]} to {TESTED[1]}"


def lazily(infos: Any) -> Iterator[Any]:
    yield from infos


def runner(consolidate: Any) -> SimpleNamespace:
    """A stand-in for Beam's module whose runner consolidates metrics with the function."""

    class FnApiRunner:
        def run_stages(self) -> Any:
            return consolidate_monitoring_infos([1])  # type: ignore[name-defined]  # noqa: F821  # only its name is read

    return SimpleNamespace(FnApiRunner=FnApiRunner, consolidate_monitoring_infos=consolidate)


class Sampler:
    """Behaves as Beam's, and can be told to differ."""

    def __init__(self, prefix: str, counter_factory: Any, sampling_period_ms: int = 200):
        self.tracked_thread: threading.Thread | None = None
        self.started = self.finished = False
        self.threads = 0

    def start(self) -> None:
        self.threads += 1  # what the patch is there to save
        self.tracked_thread = threading.current_thread()
        TRACKER.append(self)
        self.started = True

    def stop(self) -> None:
        TRACKER.append(None)
        self.finished = True


TRACKER: list[Any] = [None]


def sampling(sampler: type) -> SimpleNamespace:
    return SimpleNamespace(
        StateSampler=sampler, get_current_tracker=lambda: TRACKER[-1], set_current_tracker=lambda one: TRACKER.append(one)
    )


def test_the_installed_beam_is_one_that_the_patches_fit() -> None:
    close_metrics_leak()
    stop_state_sampling()
    assert fn_runner.consolidate_monitoring_infos(iter(())) == []
    sampler = statesampler.StateSampler("a", None, sampling_period_ms=60_000)  # stopping a real one would wait for a minute
    sampler.start()
    assert statesampler.get_current_tracker() is sampler
    sampler.stop()
    assert statesampler.get_current_tracker() is None
    assert (sampler.started, sampler.finished) == (True, True)


def test_a_lazy_consolidation_is_done_at_once_after_the_patch() -> None:
    patched = runner(lazily)
    close_metrics_leak(patched)
    close_metrics_leak(patched)  # once more changes nothing
    assert patched.consolidate_monitoring_infos(iter([1, 2])) == [1, 2]


def test_a_consolidation_that_is_not_lazy_is_left_alone() -> None:
    """Then Beam has closed the leak itself."""
    mended = runner(list)
    close_metrics_leak(mended)
    assert mended.consolidate_monitoring_infos is list


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (SimpleNamespace(FnApiRunner=object), "FnApiRunner does not call consolidate_monitoring_infos"),
        (
            SimpleNamespace(FnApiRunner=object, consolidate_monitoring_infos=lazily),
            "FnApiRunner does not call consolidate_monitoring_infos",
        ),
        (runner(lambda infos, by: lazily(infos)), "takes other arguments"),
        (runner(lambda infos: 7), "returns a int"),
    ],
)
def test_another_runner_is_refused_with_the_versions_that_were_tested(changed: SimpleNamespace, found: str) -> None:
    with pytest.raises(ContractError, match=f"{found}.*{NAMES_THE_VERSIONS}"):
        close_metrics_leak(changed)


def test_a_sampler_without_its_thread_sets_what_it_set_before() -> None:
    class Mine(Sampler):
        pass

    patched = sampling(Mine)
    stop_state_sampling(patched)
    stop_state_sampling(patched)
    sampler = Mine("a", None)
    sampler.start()
    assert (TRACKER[-1], sampler.tracked_thread, sampler.started) == (sampler, threading.current_thread(), True)
    sampler.stop()
    assert (TRACKER[-1], sampler.finished, sampler.threads) == (None, True, 0)


def test_a_sampler_without_a_thread_is_left_alone() -> None:
    """As in Beam without its compiled modules."""

    class Slow(Sampler):
        def stop(self) -> None:
            TRACKER.append(None)

    start = Slow.start
    stop_state_sampling(sampling(Slow))
    assert Slow.start is start


class KeepsItsTracker(Sampler):
    def stop(self) -> None:
        self.finished = True


class NamesItOtherwise(Sampler):
    def start(self) -> None:
        super().start()
        del self.tracked_thread


class WantsMore(Sampler):
    def start(self, bundle: str) -> None:  # type: ignore[override]
        super().start()


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (KeepsItsTracker, "goes through other states"),
        (NamesItOtherwise, "can't be started and stopped"),
        (WantsMore, "can't be started and stopped"),
    ],
)
def test_another_sampler_is_refused_and_left_as_it_is(changed: type[Sampler], found: str) -> None:
    start = changed.start
    with pytest.raises(ContractError, match=f"{found}.*{NAMES_THE_VERSIONS}"):
        stop_state_sampling(sampling(changed))
    assert changed.start is start
    assert TRACKER[-1] is None


def pool(start: Any) -> SimpleNamespace:
    """A stand-in for Beam's module whose worker pool is started by the function."""

    class BeamFnExternalWorkerPoolServicer:
        pass

    BeamFnExternalWorkerPoolServicer.start = classmethod(start)  # type: ignore[attr-defined]
    return SimpleNamespace(BeamFnExternalWorkerPoolServicer=BeamFnExternalWorkerPoolServicer)


def test_the_worker_pool_listens_on_this_machine_only() -> None:
    def start(cls: Any, server: Any, port: int = 7) -> Any:
        return server.add_insecure_port("[::]:%s" % port)  # noqa: UP031  # as Beam has it

    patched = pool(start)
    keep_worker_pool_local(patched)
    keep_worker_pool_local(patched)
    server = SimpleNamespace(add_insecure_port=lambda address: address)
    assert patched.BeamFnExternalWorkerPoolServicer.start(server, port=9) == "127.0.0.1:9"


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (SimpleNamespace(), "the worker pool has no method start"),
        (pool(lambda cls, server: server.add_insecure_port("0.0.0.0:1")), "the worker pool does not listen on"),
        (pool(lambda cls, server: server.add_port("[::]:%s")), "the worker pool does not listen on"),
    ],
)
def test_another_worker_pool_is_refused(changed: SimpleNamespace, found: str) -> None:
    with pytest.raises(ContractError, match=f"{found}.*{NAMES_THE_VERSIONS}"):
        keep_worker_pool_local(changed)
