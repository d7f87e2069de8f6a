"""Writes ``jars.lock`` from ``pom.xml``: Maven resolves and downloads the jars, and each is hashed.

    python -m transforms.kafka.beam.expansion.make_lock

Only needed to change a version: running the pipeline needs no Maven.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from transforms.kafka.beam.expansion.jars import LOCK

POM = Path(__file__).with_name("pom.xml")
COMMAND = ("mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true")


def lock_lines(libraries: Path) -> list[str]:
    """Returns a line for each jar under a folder that is laid out as a Maven repository."""
    lines = []
    for jar in sorted(libraries.rglob("*.jar")):
        *group, artifact, version, _ = jar.relative_to(libraries).parts
        content = jar.read_bytes()
        lines.append(f"{'.'.join(group)}:{artifact}:{version} {hashlib.sha256(content).hexdigest()} {len(content)}")
    return lines


def main() -> int:
    """Writes the lock file."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*COMMAND, "-f", str(POM), f"-DoutputDirectory={folder}"], check=False)
        if done.returncode:
            return done.returncode
        lines = lock_lines(Path(folder))
    head = "# group:artifact:version SHA-256 bytes; made from pom.xml by python -m transforms.kafka.beam.expansion.make_lock"
    LOCK.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    sys.stdout.write(f"{LOCK}: {len(lines)} jars\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
