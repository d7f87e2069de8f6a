"""Makes the virtual environment of an image small: run this by the environment's own Python while the image is built.

    /venv/bin/python deploy/slim.py

Leaves out packages that are required but never imported here, test modules and debug information. Compiles the rest to byte
code, which the user that an image runs as can't write. Licences stay: they are in each package's ``.dist-info``.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

LEFT_OUT = {
    "pyarrow": "Beam requires it for Parquet and for columnar batches, and imports it only if it is there",
    "pyarrow-hotfix": "is about pyarrow",
    "pillow": "Beam requires it for Gemini and Hugging Face",
    "grpcio-tools": "envoy-data-plane requires it, to make code of .proto files",
    "setuptools": "builds packages; grpcio-tools requires it",
}
"""Package to why the service can do without it; ``pip check`` names them as missing. pip stays, to build upon the image."""

TESTS = {"numpy": "**/tests", "apache_beam": "**/*_test.py"}
"""Package to the pattern of its tests, where they weigh something."""


def main() -> None:
    """Makes the environment of the running Python small; prints what it weighs before and after."""
    site = Path(sysconfig.get_path("purelib"))
    if sys.prefix == sys.base_prefix:
        raise SystemExit(f"{sys.executable} is not a virtual environment's: nothing was removed")
    before = size(site)
    remove_tests(site)
    stripped = [library for library in shared_libraries(site) if has_debug_information(library)]
    for library in stripped:
        strip(library)
    remove_packages()
    compileall.compile_dir(site, quiet=1)
    after = size(site)
    print(f"slim: {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB with byte code; {len(stripped)} libraries stripped")


def remove_tests(site: Path) -> None:
    """Removes the test modules of ``TESTS``."""
    for package, pattern in TESTS.items():
        for path in sorted((site / package).glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def remove_packages() -> None:
    """Uninstalls what of ``LEFT_OUT`` is installed."""
    installed = {distribution.name.lower() for distribution in distributions()}
    names = [name for name in LEFT_OUT if name in installed]
    if names:
        pip = [sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", "--root-user-action=ignore"]
        subprocess.run([*pip, *names], check=True)


def shared_libraries(site: Path) -> Iterator[Path]:
    """Yields the extension modules and the libraries beside them."""
    for path in sorted(site.rglob("*.so*")):
        if path.is_file() and not path.is_symlink():
            yield path


def has_debug_information(library: Path) -> bool:
    """Whether there is something to strip: a library without it stays byte for byte as its package's makers shipped it."""
    command = ["readelf", "--section-headers", "--wide", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return " .debug_info " in done.stdout


def strip(library: Path) -> None:
    """Replaces the library by a copy without debug information.

    ``strip`` alone overwrites the file in place. An installer may have linked that file into other environments and its
    cache (uv does): programs that run with it there would be killed by SIGBUS or worse.
    """
    stripped = library.with_name(f"{library.name}.stripped")
    subprocess.run(["strip", "--strip-debug", "-o", str(stripped), str(library)], check=True)
    shutil.copymode(library, stripped)
    stripped.replace(library)


def size(folder: Path) -> int:
    """Returns the bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    main()
