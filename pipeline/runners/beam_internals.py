"""Patches of Beam that streaming jobs or their security need. Each patch first checks the code that it changes.

The patches change internal modules, for which Beam makes no promises. A patch is applied only if the internals behave as in
the tested versions of Beam. Otherwise the job does not start, and the error names the tested versions.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

import apache_beam
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.worker import statesampler, worker_pool_main
from apache_beam.utils.counters import CounterFactory

from transforms.errors import ContractError

TESTED = ("2.73.0", "2.77.0")
"""The oldest and the newest Beam that the tests ran on (``make test``, ``make test-newest``)."""

_ANYWHERE, _LOCAL = "[::]:%s", "127.0.0.1:%s"
_CONSOLIDATE = "consolidate_monitoring_infos"


def close_metrics_leak(module: Any = fn_runner) -> None:
    """Patches FnApiRunner so that its memory does not grow with every bundle.

    FnApiRunner merges metrics by a generator over those of the bundle and of all bundles before. It chains these generators
    without running them, which leaks about 20 KB for each bundle. The patch returns a list, so they run at once.

    Args:
        module: The module of ``FnApiRunner``.

    Raises:
        ContractError: The runner consolidates its metrics in another way than the tested versions do.
    """
    original = getattr(module, _CONSOLIDATE, None)
    if getattr(original, "closes_leak", False):
        return
    methods = [method for _, method in inspect.getmembers(module.FnApiRunner, inspect.isfunction)]
    if original is None or not any(_CONSOLIDATE in method.__code__.co_names for method in methods):
        _refuse(f"FnApiRunner does not call {_CONSOLIDATE}")
    try:
        consolidated = original(iter(()))
    except TypeError as error:
        _refuse(f"{_CONSOLIDATE} takes other arguments ({error})")
    if isinstance(consolidated, Collection):
        return  # Beam has closed the leak itself
    if not isinstance(consolidated, Iterator):
        _refuse(f"{_CONSOLIDATE} returns a {type(consolidated).__name__}")

    def consolidate(*arguments: Any, **named: Any) -> list[Any]:
        return list(original(*arguments, **named))

    consolidate.closes_leak = True  # type: ignore[attr-defined]  # marks the patch, so that it is applied once
    setattr(module, _CONSOLIDATE, consolidate)


def stop_state_sampling(module: Any = statesampler) -> None:
    """Patches Beam so that bundles have no state-sampling thread.

    Each bundle starts a thread that records, every 2 to 200 ms, which stage is running. At its end the bundle waits until
    this thread wakes up once more: a twelfth of the time of a long bundle, and most of a short one. Without the thread only
    Beam's counters of milliseconds in each stage are missing; elements are still counted.

    Args:
        module: The module of ``StateSampler``.

    Raises:
        ContractError: Starting and stopping a sampler does something else than in the tested versions.
    """
    sampler_class = module.StateSampler
    if getattr(sampler_class.start, "samples_nothing", False):
        return
    if not _samples(module):
        return

    def start(sampler: Any) -> None:
        sampler.tracked_thread = threading.current_thread()
        module.set_current_tracker(sampler)
        sampler.started = True

    def stop(sampler: Any) -> None:
        module.set_current_tracker(None)
        sampler.finished = True

    start.samples_nothing = True  # type: ignore[attr-defined]  # marks the patch, so that it is applied once
    sampler_class.start = start
    sampler_class.stop = stop


def _samples(module: Any) -> bool:
    """Runs a sampler for a moment: what its ``start`` and ``stop`` change is what the patch has to change.

    Returns:
        Whether there is something to patch. Beam without its compiled modules has no sampling thread, and finishes none.
    """
    before = module.get_current_tracker()
    try:
        sampler = module.StateSampler("probe", CounterFactory(), sampling_period_ms=1)
        idle = _visible(module, sampler)
        sampler.start()
        running = _visible(module, sampler)
        sampler.stop()
        stopped = _visible(module, sampler)
    except (AttributeError, TypeError) as error:
        _refuse(f"StateSampler can't be started and stopped ({error})")
    finally:
        module.set_current_tracker(before)
    here = threading.current_thread()
    started = (idle[1:], running) == ((None, False, False), (True, here, True, False))
    if not started or stopped[:3] != (False, here, True):
        _refuse(f"StateSampler goes through other states: {idle}, {running}, {stopped}")
    return stopped[3]


def _visible(module: Any, sampler: Any) -> tuple[bool, threading.Thread | None, bool, bool]:
    """What the patched methods set: the current tracker, its thread, started, finished."""
    return module.get_current_tracker() is sampler, sampler.tracked_thread, sampler.started, sampler.finished


def keep_worker_pool_local(module: Any = worker_pool_main) -> None:
    """Patches Beam so that its worker pool listens on 127.0.0.1.

    With ``--environment_type=LOOPBACK`` the workers run in this process. The pool that starts them listens on all addresses,
    without asking who calls, and takes the address of a control service from the caller: any stranger could have this
    process run his functions. The patch replaces the address, a constant of the method.

    Args:
        module: The module of ``BeamFnExternalWorkerPoolServicer``.

    Raises:
        ContractError: The pool is started in another way than in the tested versions.
    """
    start: Any = getattr(getattr(module, "BeamFnExternalWorkerPoolServicer", None), "start", None)
    code = getattr(getattr(start, "__func__", None), "__code__", None)
    if code is None:
        _refuse("the worker pool has no method start")
    if _LOCAL in code.co_consts:
        return
    if code.co_consts.count(_ANYWHERE) != 1 or "add_insecure_port" not in code.co_names:
        _refuse(f"the worker pool does not listen on {_ANYWHERE}")
    start.__func__.__code__ = code.replace(
        co_consts=tuple(_LOCAL if constant == _ANYWHERE else constant for constant in code.co_consts)
    )


def _refuse(found: str) -> NoReturn:
    oldest, newest = TESTED
    raise ContractError(
        f"Beam is not as it was tested: {found} in apache-beam {apache_beam.__version__}; "
        f"install a version from {oldest} to {newest}: pip install 'apache-beam>={oldest},<={newest}'"
    )
