"""Compiles ``scoring.jar`` from its source, reproducibly.

    python -m transforms.kafka.beam.java.build FOLDER_OF_JARS

The folder is the one that ``--kafka_io=beam`` fills: ``jars`` in the cache folder. Needs ``javac``. Users do not: the jar is
in the repository and in the package.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from transforms.kafka.beam.java import JAR

SOURCE = Path(__file__).with_name("src")
RELEASE = "11"
"""The oldest version of Java that Beam's workers use."""

# Not what the jars of others miss: annotations, and the jars that their manifests name.
JAVAC = ("javac", "--release", RELEASE, "-Xlint:all,-classfile,-path", "-Werror")

EPOCH = (1980, 1, 1, 0, 0, 0)


NEEDED = (
    "kafka-clients-",
    "beam-vendor-grpc-",
    "beam-sdks-java-expansion-service-",
    "beam-sdks-java-core-",
    "beam-model-job-management-",
)
"""How the names of the jars begin whose classes the source uses, or the classes that it extends or calls need in turn."""


def compiled(jars: Sequence[Path]) -> bytes:
    """Returns the jar's bytes.

    Args:
        jars: The jars that the source needs (``NEEDED``).

    Raises:
        CalledProcessError: The source does not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = sorted(map(str, SOURCE.rglob("*.java")))
        subprocess.run(
            [*JAVAC, "-d", folder, "-cp", os.pathsep.join(map(str, jars)), *sources],
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
    folder = Path(sys.argv[1])
    JAR.write_bytes(compiled([jar for jar in sorted(folder.iterdir()) if jar.name.startswith(NEEDED)]))
    print(f"{JAR}: {JAR.stat().st_size} bytes")


if __name__ == "__main__":
    main()
