"""The whole test suite, as ``make test`` runs it.

    python -m tests.suite [--coverage] [--again] [PYTEST'S ARGUMENTS]

Two parts, one after the other (``--part`` in ``tests/conftest.py`` tells which test is in which):

* ``unit``: tests that share nothing run on several processes, side by side. Meanwhile ``tests/prepare.py`` gets in the
  background what the others will need, unless only some tests are asked for.
* ``system``: tests with real brokers, runners and servers, on three processes, whole files each, with brokers of their own:
  mostly they wait. A crash in a C extension fails one test and names it, instead of ending all.

With ``--coverage`` the unit tests are measured. ``make coverage-floor`` then compares the result with the floor in
``pyproject.toml``: not the suite, as a failed test may be run again alone, which cannot be measured.

With ``--again`` (CI) the tests that failed are asked once more, alone, and named: a test of real processes that a slow
machine breaks is a fault to mend, but must not keep everything else from landing. What fails twice fails. A part that broke
off (processes of pytest-xdist crashed, and it lost count of them) has no list of failures: it is run as a whole once more. A
part in which no test begins or ends any more names those that are running, and ends itself (``tests/standing_still.py``).
One that takes longer than its ``LIMIT_S`` is ended, and fails at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from tests.kafka_broker import ROOT
from tests.processes import family

LOG = ROOT / ".cache" / "prepare.log"
SIDE_BY_SIDE = ("--numprocesses=4", "--dist=loadscope")
"""More than there may be cores: half of the time such a process waits, for a server's delay or for what it has started."""
THREE_FILES_AT_A_TIME = ("--numprocesses=3", "--dist=loadfile", "--no-loadscope-reorder", "--max-worker-restart=3")
"""What tests of one file share (a cluster, a server) is started once. Three keep two cores busy for 80 to 90%. The order of
the files is in ``tests/conftest.py``: pytest-xdist's own, by the number of tests, would leave long ones for last."""
LIMIT_S = {"unit": 30 * 60.0, "system": 60 * 60.0}
"""What a part may take, more than twice what it does on 2 cores."""
ONCE_MORE = ("--last-failed", "--last-failed-no-failures=none", "-v")
COVERAGE = ("--cov", "--cov-report=", "--cov-fail-under=0")
A_MAKE_HANDS_ON = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "VENV")
GOOD = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def main(arguments: Sequence[str]) -> int:
    """Runs the suite; returns the exit status."""
    given = [argument for argument in arguments if argument != "--again"]
    again = len(given) < len(arguments)
    run_part = whole if again else part
    return twice(lambda asked: both(asked, run_part, preparing), given, again=again)


def twice(run: Callable[[Sequence[str]], int], arguments: Sequence[str], *, again: bool) -> int:
    """Runs the suite and, if tests have failed and that is wanted, those once more.

    Args:
        run: Runs both parts.
        arguments: The command line's.
        again: Whether it is wanted.

    Returns:
        The exit status of the last run: nothing but failed tests leads to a second one.
    """
    status = run(arguments)
    if status != pytest.ExitCode.TESTS_FAILED or not again:
        return status
    print("\nfailed, and run again alone (fails twice: fails)", flush=True)
    return run([*(argument for argument in arguments if argument != "--coverage"), *ONCE_MORE])


def both(
    arguments: Sequence[str], part: Callable[..., int], preparing: Callable[[], contextlib.AbstractContextManager[None]]
) -> int:
    """Runs both parts, the second one also if tests of the first one fail.

    Args:
        arguments: The command line's.
        part: Runs one of them; see the function of this name.
        preparing: What goes on meanwhile if the whole suite is run.

    Returns:
        The exit status.
    """
    given = [argument for argument in arguments if argument != "--coverage"]
    coverage = COVERAGE if len(given) < len(arguments) else ()
    with contextlib.nullcontext() if given else preparing():
        unit = part("unit", *SIDE_BY_SIDE, *coverage, *given)
        if unit not in (*GOOD, pytest.ExitCode.TESTS_FAILED):
            return unit  # interrupted, or called wrongly
        system = part("system", *THREE_FILES_AT_A_TIME, *given)
    bad = [status for status in (unit, system) if status not in GOOD]
    return bad[0] if bad else min(unit, system)  # no tests at all only if neither part has one


def outside_make() -> dict[str, str]:
    """The environment for a ``make`` that a test runs, without what the one around the tests hands on.

    With it, `make VENV=.venv-3.11` around the tests would hold for theirs, too.
    """
    return {name: value for name, value in os.environ.items() if name not in A_MAKE_HANDS_ON}


def with_bytecode(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python keeps what it compiles: the tests start hundreds of processes of the same modules."""
    return {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def part(name: str, *arguments: str, limit_s: float | None = None) -> int:
    """Runs pytest on one part in a process of its own; returns its exit status, ``INTERNAL_ERROR`` if it had to be ended."""
    print(f"\n{name} tests", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", f"--part={name}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=with_bytecode(os.environ))
    try:
        return process.wait(LIMIT_S[name] if limit_s is None else limit_s)
    except subprocess.TimeoutExpired:
        print(f"\nthe {name} tests hang, and are ended", flush=True)
        end(process.pid)
        process.wait()
        return pytest.ExitCode.INTERNAL_ERROR
    except KeyboardInterrupt:  # pytest got it, too, and has told what it had found
        process.wait()
        return pytest.ExitCode.INTERRUPTED
    finally:
        print(f"{name} tests: {(time.monotonic() - began) / 60:.1f} min", flush=True)


def end(pid: int) -> None:
    """Kills a process and all that it has started: workers of pytest-xdist, with the servers of their tests."""
    for one in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def whole(name: str, *arguments: str, run: Callable[..., int] = part, clock: Callable[[], float] = time.monotonic) -> int:
    """Runs ``part``, and once more if it broke off early enough for that; returns the exit status."""
    began = clock()
    status = run(name, *arguments)
    if status == pytest.ExitCode.INTERNAL_ERROR and clock() - began < LIMIT_S[name] / 2:
        print(f"\nthe {name} tests broke off, and are run once more", flush=True)
        status = run(name, *arguments)
    return status


@contextlib.contextmanager
def preparing() -> Iterator[None]:
    """Gets in the background what the system tests need, and ends that with the block."""
    LOG.parent.mkdir(exist_ok=True)
    print(f"jars, Prism and servers come in the background ({LOG.relative_to(ROOT)})", flush=True)
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.prepare"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        yield
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # with uv, Maven or Go under it
        process.wait()
        for line in LOG.read_text(errors="replace").splitlines():
            print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
