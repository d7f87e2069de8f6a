"""Makes a lock file of ``uv pip compile --no-strip-extras`` one that pip older than 23.1 takes as well.

That pip looks for the hashes of ``google-auth`` and of ``google-auth[pyopenssl]`` apart: a dependency that asks for one
is refused when only the other is pinned. uv writes the second alone; here the first is put before it. Newer pip takes both.

Usage: ``python .ci/pin_extras.py requirements.txt …`` (``make requirements`` does it).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PIN = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[\w,.-]+\])?(?P<version>==[^\\\n]+)")
"""The first line of a pin: a name, perhaps extras, the version and perhaps a marker."""


def pin_extras(lock: str) -> str:
    """Returns the lock with the package itself before each pin of its extras, once."""
    blocks = re.split(r"(?m)^(?=[^\s#])", lock)  # a pin, its hashes, and who asked for it
    pins = [PIN.match(block) for block in blocks]
    alone = {(pin["name"], pin["version"].strip()) for pin in pins if pin and not pin["extras"]}
    completed = []
    for block, pin in zip(blocks, pins, strict=True):
        if pin and pin["extras"] and (pin["name"], pin["version"].strip()) not in alone:
            alone.add((pin["name"], pin["version"].strip()))
            lines = (pin["name"] + block[pin.end("extras") :]).splitlines(keepends=True)
            completed += [line for line in lines if not line.lstrip().startswith("#")]
        completed.append(block)
    return "".join(completed)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(pin_extras(path.read_text(encoding="utf-8")), encoding="utf-8")
