"""What is installed has all files that the code reads, not the Python ones alone."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).parents[1]


def package_data() -> dict[str, list[str]]:
    """``package_data`` of ``setup.py``, without running it."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "package_data":
            found: dict[str, list[str]] = ast.literal_eval(node.value)
            return found
    raise AssertionError("setup.py has no package_data")


def test_every_file_that_is_no_code_is_installed() -> None:
    data = package_data()
    installed = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    there = {
        path
        for top in ("pipeline", "transforms")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and path.name != ".gitignore"
    }
    assert there - installed == set()


def test_the_check_of_the_wheel_removes_only_what_its_build_makes(tmp_path: Path) -> None:
    """``make docs`` has built the site in the same folder."""
    lines = (ROOT / ".ci" / "wheel-check").read_text(encoding="utf-8").splitlines()
    removals = [line for line in lines if line.startswith("rm ")]
    for path in (
        "build/lib/pipeline/a.py",
        "build/bdist.linux-x86_64/wheel",
        "build/site/index.html",
        "a.egg-info/SOURCES.txt",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    subprocess.run(["bash", "-e", "-c", "\n".join(removals)], cwd=tmp_path, check=True)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "build/site/index.html"
    ]


def test_the_version_is_the_newest_release_or_says_what_it_comes_before() -> None:
    setup = re.findall(r'^    version="(.*)",$', (ROOT / "setup.py").read_text(), re.M)
    assert len(setup) == 1
    unreleased, *releases = re.split(r"^## \[", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1:]
    version, released = Version(setup[0]), Version(releases[0].partition("]")[0])
    if unreleased.partition("]")[2].strip():
        assert version.is_devrelease
        assert version > released
    else:
        assert version == released
