"""Checks the lock files without a network: ``make audit``.

* every pin has an exact version and a hash, and comes from an index: no URL, no checkout, no path;
* no pin is a version with a vulnerability that ``.ci/advisories.toml`` knows;
* what is installed here has a licence that may be linked with, and the version that is pinned.

It can't know what was published after the date of that list, nor what was yanked: ``pip-audit`` asks for both, and needs a
network.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ADVISORIES = Path(__file__).parent / "advisories.toml"

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
_NOT_LINKED = re.compile(r"(?<![Ll])(?<!Lesser )(?:\bA?GPL|\bGNU (?:Affero )?General Public|\bSSPL|\bBUSL)")
_ALLOWED: dict[str, str] = {}
"""Packages whose licence the pattern takes for another, and why they may be used."""


def pins(lock: str) -> Iterator[tuple[Requirement | None, str]]:
    """Yields each entry of a lock file: what is pinned (``None`` if it can't be read), and its lines."""
    for block in re.split(r"(?m)^(?=[^\s#])", lock)[1:]:
        line = block.partition("\n")[0].rstrip("\\ ")
        try:
            yield Requirement(line), block
        except ValueError:
            yield None, block


def lock_mistakes(lock: str) -> Iterator[str]:
    """Yields what is wrong with the pins of a lock file."""
    for pin, block in pins(lock):
        name = block.split()[0] if pin is None else pin.name
        if pin is None or pin.url is not None or [part.operator for part in pin.specifier] != ["=="]:
            yield f"{name}: is not pinned to a version of an index"
        elif not _HASH.search(block):
            yield f"{name}: has no hash"


def vulnerable(lock: str, advisories: dict[str, str]) -> Iterator[str]:
    """Yields the pins that have a known vulnerability."""
    known = [(number, Requirement(affected)) for number, affected in advisories.items()]
    for pin, _ in pins(lock):
        version = None if pin is None else next((part.version for part in pin.specifier), None)
        for number, affected in known:
            if pin is None or version is None or canonicalize_name(pin.name) != canonicalize_name(affected.name):
                continue
            if affected.specifier.contains(version, prereleases=True):
                yield f"{pin.name} {version}: {number} ({affected})"


def licence_of(package: str) -> str:
    """The licence that an installed package states: the SPDX expression, else its classifiers, else a short text."""
    found = importlib.metadata.metadata(package)
    classifiers = [
        text.rpartition("::")[2].strip() for text in found.get_all("Classifier") or () if text.startswith("License")
    ]
    return found.get("License-Expression") or "; ".join(classifiers) or (found.get("License") or "").partition("\n")[0][:80]


def licence_mistakes(lock: str, stated: Callable[[str], str] = licence_of) -> tuple[int, list[str]]:
    """Returns how many of a lock's packages are installed, and which have no licence or one that may not be linked with.

    Args:
        lock: The text of a lock file.
        stated: Returns the licence that an installed package states.
    """
    looked, mistakes = 0, []
    for pin, _ in pins(lock):
        if pin is None or pin.name in _ALLOWED:
            continue
        try:
            licence = stated(pin.name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another Python or system, or of an environment of its own
        looked += 1
        if _NOT_LINKED.search(licence):
            mistakes.append(f"{pin.name}: its licence is {licence}")
    return looked, mistakes


def main() -> int:
    """Prints what was looked at and what is wrong; returns 1 if anything is."""
    known = tomllib.loads(ADVISORIES.read_text(encoding="utf-8"))
    mistakes: list[str] = []
    for path in sorted(ROOT.glob("requirements*.txt")):
        lock = path.read_text(encoding="utf-8")
        looked, licences = licence_mistakes(lock)
        found = [*lock_mistakes(lock), *vulnerable(lock, known["advisories"]), *licences]
        mistakes += [f"{path.name}: {mistake}" for mistake in found]
        print(f"{path.name}: {len(list(pins(lock)))} pins, {looked} installed here, {len(found)} mistakes")
    print(f"known vulnerabilities: {len(known['advisories'])}, a list of {known['date']}; nothing newer is known to it")
    print(*mistakes, sep="\n")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
