"""What several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka_broker import TO_BE_KILLED, KafkaBroker
from transforms.kafka.stop import reset_drain
from transforms.observe import _waiting

# How long an example takes says something of the machine, not of the code: what must be fast has a test of its own.
# In CI property tests try the same examples each time (a failure there is of the change, and comes again); elsewhere others.
settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("project")

# Most JVMs of the tests live for seconds (brokers, Flink, Beam's Java parts): without the second compiler and a collector of
# several threads a broker's start and work take half the processor time. Benchmarks and `make kafka` have Java's defaults.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")

SYSTEM = [Path("tests", name) for name in ("deploy", "docs/test_runs.py", "integration", "servers", "test_kafka_broker.py")]
"""Where the tests are that start real brokers, runners and servers: ``--part=system``. All others are ``--part=unit``."""


LONG = [
    "docs/test_runs.py",
    *(f"integration/test_{name}.py" for name in ("flink", "beam_pair", "outages", "replay", "dataflow", "kill", "workers")),
    *("servers/test_tfx_bsl.py", "deploy/test_dockerfile.py"),
    *(f"integration/test_{name}.py" for name in ("stopping", "group", "prism", "claims", "refused_records")),
]
"""Files that take long, the longest first. What comes last should be short, as one process then waits for the other."""


def pytest_configure(config: pytest.Config) -> None:
    """However pytest is called: this file is read always, an option could be left out."""
    config.pluginmanager.import_plugin("tests.standing_still")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", choices=("unit", "system"), help="only the tests of this part of the suite")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spares reading the files of the other part."""
    part, path = config.getoption("part"), collection_path.relative_to(config.rootpath)
    if part is None or any(path in system.parents for system in SYSTEM):
        return None
    return True if _is_system(path) != (part == "system") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of the other part that were named on the command line, which are read all the same.

    And all, if tests are to be run again that failed and none of them is in this part: pytest would take all of it then.
    What takes long comes first.
    """
    part = config.getoption("part")
    if part is None:
        return
    kept = [item for item in items if _is_system(item.path.relative_to(config.rootpath)) == (part == "system")]
    cache = getattr(config, "cache", None)  # there is none with `-p no:cacheprovider`
    failed: dict[str, bool] = cache.get("cache/lastfailed", {}) if cache and config.getoption("lf", False) else {}
    if failed and not any(item.nodeid in failed or item.nodeid.partition("::")[0] in failed for item in kept):
        kept = []
    left_out = set(items).difference(kept)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    long = {Path("tests", name): place for place, name in enumerate(LONG)}
    items[:] = sorted(kept, key=lambda item: long.get(item.path.relative_to(config.rootpath), len(long)))


def _is_system(path: Path) -> bool:
    return any(path == system or system in path.parents for system in SYSTEM)


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    """Sessions that a test never closes leave what they wait for: to the next one the job would seem to hold."""
    yield
    _waiting.clear()


@pytest.fixture
def not_draining() -> Iterator[None]:
    """Whatever a test asks for, the next one is not draining."""
    reset_drain()
    yield
    reset_drain()


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The address of a real Apache Kafka, shared by all tests: use topics and groups of your own names.

    With ``KAFKA_BOOTSTRAP`` set, a broker that runs already is used (``python -m tests.kafka_broker --port …``), which
    spares its start while one test is being worked on.
    """
    if address := os.environ.get("KAFKA_BOOTSTRAP"):
        yield address
        return
    with KafkaBroker() as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def own_kafka() -> Iterator[KafkaBroker]:
    """A broker that a test may stop, kill and start again, and that has a SASL listener; leave it running."""
    with KafkaBroker(properties=TO_BE_KILLED) as broker:
        yield broker
