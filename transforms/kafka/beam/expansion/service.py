"""The process of Beam's expansion service. For a runner on this machine it is also the Java worker.

It runs Beam's ready-made jar if that is in Beam's cache already (``JavaJarExpansionService`` or an operator put it there),
else the jars of ``jars.lock``. Beam would download its own jar without checking a hash; ours are checked. Beam's main method
would listen on all addresses of the machine, so it is called by one of ours, which has it listen on 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from transforms.child_process import child_server, free_port
from transforms.errors import ContractError
from transforms.kafka.beam.expansion.jars import install, locked_jars
from transforms.kafka.beam.java import EXPANSION_SERVICE, JAR

BEAM_VERSION = "2.73.0"
READY_MADE = f"beam-sdks-java-io-expansion-service-{BEAM_VERSION}.jar"


@contextlib.contextmanager
def expansion_service(loopback: bool, say: Callable[[str], None]) -> Iterator[str]:
    """Runs the service while the block runs; yields its ``host:port``.

    Args:
        loopback: Whether it is also the job's Java worker, for runners on this machine.
        say: Called with messages for the user.

    Raises:
        ContractError: Java is not installed, a jar can't be downloaded, or the service does not start.
    """
    java, jars, port = find_java(), [*classpath(say), JAR], free_port()
    command = [
        java,
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        os.pathsep.join(map(str, jars)),
        EXPANSION_SERVICE,
        str(port),
        "--javaClassLookupAllowlistFile=*",
        *(["--alsoStartLoopbackWorker"] if loopback else []),
    ]
    with child_server(command, port, "--kafka_io=beam: Beam's expansion service"):
        yield f"127.0.0.1:{port}"


def find_java() -> str:
    """Returns the ``java`` command.

    Raises:
        ContractError: Java is not installed.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(str(Path(home, "bin", "java")) if home else "java")
    if found is None:
        where = f"JAVA_HOME={home} has no bin/java" if home else "there is no java on the PATH"
        raise ContractError(
            f"--kafka_io=beam: Beam's Kafka transforms are Java, and {where}; install Java 11 or newer (Debian, Ubuntu: "
            "apt-get install default-jre-headless), name a running service by --expansion_service=HOST:PORT, or use "
            "--kafka_io=native, which needs no Java"
        )
    return found


def classpath(say: Callable[[str], None]) -> list[Path]:
    """Returns the jars to run.

    Raises:
        ContractError: A jar can't be downloaded.
    """
    ready_made = Path.home() / ".apache_beam" / "cache" / "jars" / READY_MADE
    return [ready_made] if ready_made.is_file() else install(locked_jars(), say)
