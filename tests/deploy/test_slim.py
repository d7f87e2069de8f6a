"""What makes an image's environment small touches no other environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy import slim


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A shared library with debug information."""
    if shutil.which("cc") is None or shutil.which("strip") is None:
        pytest.skip("there is no C compiler here, or no binutils")
    source, made = tmp_path / "made.c", tmp_path / "made.so"
    source.write_text("int made(int by) { return by + 1; }\n")
    subprocess.run(["cc", "-g", "-shared", "-fPIC", "-o", str(made), str(source)], check=True)
    return made


def test_stripping_writes_into_no_file_that_another_environment_may_use(library: Path) -> None:
    """uv links one file into every environment; changed in place, it killed the programs that ran with it."""
    elsewhere = library.with_name("elsewhere.so")
    os.link(library, elsewhere)
    library.chmod(0o640)
    before = elsewhere.read_bytes()
    assert slim.has_debug_information(library)
    slim.strip(library)
    assert elsewhere.read_bytes() == before
    assert not slim.has_debug_information(library)
    assert library.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in library.parent.glob("*.so*")) == ["elsewhere.so", "made.so"]
