"""Builds the images of ``deploy/Dockerfile`` by buildah, weighs them, and runs the service in its own, with Apache Kafka.

    python -m tests.deploy.image [--only service]

Needs root, and Debian's ``buildah`` and ``debootstrap``; no registry of images: those that ours are built upon are stand-ins
(``tests/deploy/image/base.py``). The service image must stay below 400 MB, its base counted as at least 150 MB.

Exit status: 0 all is as it should be, 1 it is not, 2 something is missing here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tests.deploy.image import base
from tests.deploy.image.builder import ISOLATION, Builder, ImageError, Weight
from tests.deploy.service import check_service
from tests.kafka_broker import KafkaBroker

LIMIT = 400_000_000
BASE_AT_LEAST = 150_000_000
"""What ``python:3.11-slim-bookworm`` is taken to weigh unpacked, to be on the safe side, if the stand-in weighs less."""

USER = 10001
HEALTH_PORT = "9400"
"""The image's own; the run takes a free one, because a container of chroot's has the machine's network."""

TARGETS = {"service": base.PYTHON, "worker": base.BEAM, "dataflow": base.BEAM}
"""Target of the Dockerfile to the image that it is built upon."""

ARGUMENTS = {"PYTHON_IMAGE": base.PYTHON, "BEAM_IMAGE": base.BEAM, "LAUNCHER_IMAGE": base.LAUNCHER}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.image", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=list(TARGETS), action="append", help="build this target only; may be repeated")
    args = parser.parse_args(argv)
    missing = [name for name in ("buildah", "debootstrap", "java", "mvn") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print(
            f"needs root, and {', '.join(missing) or 'nothing else'}: apt-get install buildah debootstrap", file=sys.stderr
        )
        return 2
    try:
        with Builder(base.CACHE) as builder:
            return _make(builder, args.only or list(TARGETS))
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except AssertionError as error:
        print(f"error: the service in the image did not do what it must: {error}", file=sys.stderr)
        return 1


def _make(builder: Builder, targets: Sequence[str]) -> int:
    base.make_stand_ins(builder)
    print(
        "the base images are stand-ins: Debian bookworm with its Python for python:3.11-slim-bookworm and for Beam's worker"
    )
    print(f"image; placeholders for Beam's boot and Google's launcher ({', '.join(base.PLACEHOLDERS.values())})")
    too_heavy = False
    for target in targets:
        started = time.monotonic()
        builder.build(target, image_of(target), ARGUMENTS, base.CACHE / f"{target}.log")
        weight = builder.weight(image_of(target), TARGETS[target])
        print(f"{target}: {described(weight)}; built in {time.monotonic() - started:.0f} s", flush=True)
        if target == "service":
            print(
                f"service: {counted(weight) / 1e6:.0f} MB count, with a base of {BASE_AT_LEAST / 1e6:.0f} MB or more",
                flush=True,
            )
        if target == "service" and counted(weight) > LIMIT:
            print(
                f"error: service counts {counted(weight) / 1e6:.0f} MB, the limit is {LIMIT / 1e6:.0f} MB", file=sys.stderr
            )
            too_heavy = True
    if "service" in targets:
        run_service(builder, image_of("service"))
        print(f"service: as uid {USER} healthy by the image's own check, answered every record once, drained on SIGTERM")
    return int(too_heavy)


def image_of(target: str) -> str:
    """Returns the name of a target's image."""
    return f"localhost/kafka-model-scoring-{target}"


def counted(weight: Weight) -> int:
    """Returns what the limit holds for: our layers, and the base as no lighter than the real one may be."""
    return weight.ours + max(weight.base, BASE_AT_LEAST)


def described(weight: Weight) -> str:
    """Returns the figures for a person."""
    whole = weight.base + weight.ours
    return f"{whole / 1e6:.0f} MB unpacked: the stand-in {weight.base / 1e6:.0f} MB, ours {weight.ours / 1e6:.0f} MB"


def run_service(builder: Builder, image: str) -> None:
    """Runs the image as an engine would: entry point, user, folder and environment are those that it names itself.

    Raises:
        AssertionError: The service did not do what it must.
        ImageError: No container could be made of the image.
    """
    config = builder.config(image)
    assert config["User"] == str(USER), config["User"]
    container = builder.buildah("from", "--pull-never", image)
    run = builder.command("run", ISOLATION, container, "--")

    def probe(port: int) -> None:
        kind, *check = config["Healthcheck"]["Test"]
        assert kind == "CMD", kind
        command = [part.replace(HEALTH_PORT, str(port)) for part in check]
        assert command != check, check
        done = subprocess.run([*run, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def start(command: list[str], out: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*run, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    with tempfile.TemporaryDirectory() as folder, KafkaBroker() as broker:
        check_service(broker.bootstrap, config["Entrypoint"], start, Path(folder, "log"), USER, probe)


if __name__ == "__main__":
    sys.exit(main())
