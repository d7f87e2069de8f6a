"""``--workers=auto``: the processor time that there is, by the kernel's files, and how many workers fill it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.process.cores import fitting_workers, usable_cores

HERE = float(len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("cores", "partitions", "count"),
    [(1.0, 8, 1), (2.0, 8, 1), (0.5, 8, 1), (4.0, 8, 3), (3.9, 8, 2), (64.0, 8, 8), (64.0, 1, 1), (64.0, 0, 1)],
)
def test_as_many_as_cores_and_partitions_allow(cores: float, partitions: int, count: int) -> None:
    assert fitting_workers(cores, partitions) == count


class Groups:
    """Control groups in a folder, as the kernel shows them."""

    def __init__(self, folder: Path):
        self.list, self.mounted = folder / "cgroup", folder / "mounted"

    def cores(self, listed: str, **files: str) -> float:
        """What this process may use. ``files``: path below the mount, with ``__`` for ``/``, to its text."""
        self.list.write_text(listed)
        for name, text in files.items():
            file = self.mounted / name.replace("__", "/").replace("cpu_", "cpu.")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return usable_cores(self.list, self.mounted)


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


def test_a_container_of_version_2(groups: Groups) -> None:
    """Its own group is the root that it sees."""
    assert groups.cores("0::/\n", cpu_max="50000 100000\n") == 0.5


def test_the_least_of_the_group_and_of_those_above_it(groups: Groups) -> None:
    files = {"a__cpu_max": "30000 100000", "a__b__cpu_max": "max 100000", "cpu_max": "90000 100000"}
    assert groups.cores("0::/a/b\n", **files) == 0.3


def test_version_1(groups: Groups) -> None:
    files = {"cpu,cpuacct__a__cpu_cfs_quota_us": "25000\n", "cpu,cpuacct__a__cpu_cfs_period_us": "100000\n"}
    assert groups.cores("5:memory:/x\n4:cpu,cpuacct:/a\n", **files) == 0.25


@pytest.mark.parametrize(
    ("listed", "files"),
    [
        ("0::/\n", {"cpu_max": "max 100000"}),
        ("1:cpu:/\n", {"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}),
        ("0::/gone\n", {}),
        ("0::/\n", {"cpu_max": "100000000 100000"}),
        ("", {}),
    ],
)
def test_without_a_limit_it_is_what_the_process_may_run_on(groups: Groups, listed: str, files: dict[str, str]) -> None:
    assert groups.cores(listed, **files) == HERE


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path) == HERE
