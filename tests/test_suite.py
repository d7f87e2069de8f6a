"""How ``make test`` puts its two parts together, and which test is in which."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import LONG
from tests.kafka_broker import ROOT
from tests.processes import family
from tests.suite import COVERAGE, ONCE_MORE, THREE_FILES_AT_A_TIME, both, end, outside_make, part, twice, whole

OK, FAILED, INTERRUPTED, HUNG, WRONG, NOTHING = (pytest.ExitCode(number) for number in range(6))


class Parts:
    """Remembers what was run, and ends as the test says."""

    def __init__(self, *statuses: pytest.ExitCode):
        self._statuses = list(statuses)
        self.ran: list[tuple[str, ...]] = []
        self.prepared = 0

    def part(self, *arguments: str) -> int:
        self.ran.append(arguments)
        return self._statuses.pop(0)

    def preparing(self) -> contextlib.AbstractContextManager[None]:
        self.prepared += 1
        return contextlib.nullcontext()

    def run(self, *arguments: str) -> int:
        return both(arguments, self.part, self.preparing)


@pytest.mark.parametrize(
    ("unit", "system", "expected"),
    [
        (OK, OK, OK),
        (FAILED, OK, FAILED),
        (OK, FAILED, FAILED),
        (NOTHING, OK, OK),
        (OK, NOTHING, OK),
        (NOTHING, FAILED, FAILED),
        (NOTHING, NOTHING, NOTHING),
    ],
)
def test_the_suite_fails_if_either_part_does(
    unit: pytest.ExitCode, system: pytest.ExitCode, expected: pytest.ExitCode
) -> None:
    """A part without a test has not failed, unless the other one has none either."""
    parts = Parts(unit, system)
    assert parts.run() == expected
    assert [ran[0] for ran in parts.ran] == ["unit", "system"]


@pytest.mark.parametrize("status", [INTERRUPTED, WRONG])
def test_after_ctrl_c_or_a_wrong_argument_nothing_more_is_run(status: pytest.ExitCode) -> None:
    parts = Parts(status)
    assert parts.run() == status


def test_arguments_go_to_both_and_for_some_tests_nothing_is_prepared() -> None:
    whole, some = Parts(OK, OK), Parts(OK, OK)
    whole.run("--coverage")
    some.run("-k", "name")
    assert (whole.prepared, some.prepared) == (1, 0)
    assert set(COVERAGE) <= set(whole.ran[0])
    assert whole.ran[1] == ("system", *THREE_FILES_AT_A_TIME), "coverage is of the unit tests"
    assert not set(COVERAGE) & set(some.ran[0])
    assert [ran[-2:] for ran in some.ran] == [("-k", "name")] * 2


@pytest.mark.parametrize(
    ("statuses", "again", "expected"),
    [
        ([OK], True, OK),
        ([FAILED, OK], True, OK),
        ([FAILED, FAILED], True, FAILED),
        ([FAILED], False, FAILED),
        ([HUNG], True, HUNG),
        ([INTERRUPTED], True, INTERRUPTED),
        ([NOTHING], True, NOTHING),
    ],
)
def test_only_failed_tests_are_asked_once_more(
    statuses: list[pytest.ExitCode], again: bool, expected: pytest.ExitCode
) -> None:
    """After a part that had to be ended nobody knows which tests those are."""
    asked: list[Sequence[str]] = []

    def run(arguments: Sequence[str]) -> int:
        asked.append(arguments)
        return statuses[len(asked) - 1]

    assert twice(run, ["--coverage", "-x"], again=again) == expected
    assert [list(arguments) for arguments in asked] == [["--coverage", "-x"], ["-x", *ONCE_MORE]][: len(statuses)]


def test_a_part_that_hangs_is_ended_with_all_that_it_has_started() -> None:
    code = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('there', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as hanging:
        assert hanging.stdout
        assert hanging.stdout.readline() == b"there\n"
        assert len(family(hanging.pid)) == 2
        end(hanging.pid)
        assert hanging.stdout.read() == b"", "nobody has it open"


@pytest.mark.parametrize(("first", "took_s", "runs"), [(HUNG, 60.0, 2), (HUNG, 3600.0, 1), (FAILED, 60.0, 1), (OK, 60.0, 1)])
def test_a_part_that_broke_off_is_run_once_more(first: pytest.ExitCode, took_s: float, runs: int) -> None:
    """Not one that hung until it was ended: there is no time for that."""
    asked: list[str] = []
    now = [0.0]

    def run(name: str, *arguments: str) -> int:
        asked.append(name)
        now[0] += took_s
        return first if len(asked) == 1 else OK

    assert whole("system", "-x", run=run, clock=lambda: now[0]) == (OK if runs == 2 else first)
    assert len(asked) == runs


def test_such_a_part_has_not_passed() -> None:
    assert part("unit", "--collect-only", limit_s=0.1) == HUNG


def test_failures_of_the_other_part_alone_are_no_reason_to_run_this_one_again(tmp_path: Path) -> None:
    """pytest runs all tests if none of those that failed is among them."""
    cache = tmp_path / "cache"
    (cache / "v" / "cache").mkdir(parents=True)
    (cache / "v" / "cache" / "lastfailed").write_text(
        '{"tests/test_kafka_broker.py::test_data_outlive_a_restart_and_a_kill": true}'
    )
    again = ("--last-failed", "--last-failed-no-failures=none", "-o", f"cache_dir={cache}", "--collect-only", "-q")

    def collected(part: str) -> tuple[int, str]:
        command = [
            sys.executable,
            "-m",
            "pytest",
            f"--part={part}",
            *again,
            "tests/test_facts.py",
            "tests/test_kafka_broker.py",
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        return done.returncode, done.stdout

    assert collected("unit")[0] == NOTHING
    status, found = collected("system")
    assert (status, "tests/test_kafka_broker.py: 1" in found) == (OK, True), found


def test_long_files_come_first_and_are_there() -> None:
    assert [name for name in LONG if not (ROOT / "tests" / name).is_file()] == []
    command = [sys.executable, "-m", "pytest", "--part=system", "--collect-only", "-q", "-p", "no:cacheprovider"]
    named = ["tests/test_kafka_broker.py", f"tests/{LONG[1]}", f"tests/{LONG[0]}"]
    done = subprocess.run([*command, *named], capture_output=True, text=True, cwd=ROOT, check=False)
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("tests/")] == named[::-1]


@pytest.mark.parametrize(("part", "found"), [("unit", "tests/test_facts.py"), ("system", "tests/test_kafka_broker.py")])
def test_a_part_has_its_tests_and_no_other(part: str, found: str) -> None:
    """Also where files of both were named."""
    command = [sys.executable, "-m", "pytest", f"--part={part}", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/test_facts.py", "tests/test_kafka_broker.py"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = {line.partition("::")[0].partition(":")[0] for line in done.stdout.splitlines() if line.startswith("tests/")}
    assert files == {found}


def test_ci_measures_the_first_run_only_and_compares_it_after_the_second() -> None:
    """A run of failed tests alone would be below any floor; the floor counts also if such a run was needed."""
    lines = (ROOT / ".ci/run").read_text().splitlines()
    tests = next(at for at, line in enumerate(lines) if line.startswith("make test "))
    assert '"--coverage --again"' in lines[tests]
    assert any(line.startswith("make coverage-floor") for line in lines[tests:])
    assert "--cov-fail-under=0" in COVERAGE, "a floor that is missed is no failed test, which is run again"


def test_the_coverage_floor_says_what_to_run_first(tmp_path: Path) -> None:
    """With an environment but nothing measured; and without one, it makes it."""
    for path in [ROOT / "Makefile", *ROOT.glob("requirements*.txt"), ROOT / "setup.py", ROOT / ".ci"]:
        (tmp_path / path.name).symlink_to(path)
    stamps = ("uv", "installed", "installed-dev")
    made = [option for stamp in stamps for option in ("-o", f".venv/.{stamp}")]  # a test must not install anything

    def make(*options: str) -> subprocess.CompletedProcess[str]:
        command = ["make", *options, "coverage-floor"]
        return subprocess.run(command, cwd=tmp_path, env=outside_make(), capture_output=True, text=True, check=False)

    assert "-m venv .venv" in make("--dry-run").stdout
    (tmp_path / ".venv").mkdir()
    for stamp in stamps:
        (tmp_path / ".venv" / f".{stamp}").touch()
    unmeasured = make(*made)
    assert unmeasured.returncode == 2
    assert unmeasured.stderr.startswith("nothing has been measured yet: make test SUITE_ARGS=--coverage\n")
    (tmp_path / ".coverage").touch()
    assert "-m coverage report" in make(*made).stdout
