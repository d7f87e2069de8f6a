"""Compiles ``secret-manager.jar`` from its source, reproducibly.

    python -m transforms.kafka.beam.java.build KAFKA_CLIENTS_JAR

Needs ``javac``. Users do not: the jar is in the repository and in the package.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from transforms.kafka.beam.java import JAR

SOURCE = Path(__file__).with_name("src")
RELEASE = "11"
"""The oldest version of Java that Beam's workers use."""

EPOCH = (1980, 1, 1, 0, 0, 0)


def compiled(kafka_clients: Path) -> bytes:
    """Returns the jar's bytes.

    Raises:
        CalledProcessError: The source does not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = sorted(map(str, SOURCE.rglob("*.java")))
        subprocess.run(
            ["javac", "--release", RELEASE, "-Xlint:all", "-Werror", "-d", folder, "-cp", str(kafka_clients), *sources],
            check=True,
        )
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as jar:
            _add(jar, "META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\n\r\n")
            for path in sorted(Path(folder).rglob("*.class")):
                _add(jar, path.relative_to(folder).as_posix(), path.read_bytes())
    return content.getvalue()


def _add(jar: zipfile.ZipFile, name: str, content: bytes) -> None:
    # Uncompressed: the bytes must not depend on zlib's version.
    jar.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_STORED)


def main() -> None:
    """Writes the jar."""
    JAR.write_bytes(compiled(Path(sys.argv[1])))
    print(f"{JAR}: {JAR.stat().st_size} bytes")


if __name__ == "__main__":
    main()
