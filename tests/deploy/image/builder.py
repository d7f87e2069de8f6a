"""buildah as a machine without Docker can run it: the vfs driver, chroot isolation, and a temporary store of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.kafka_broker import ROOT

ISOLATION = "--isolation=chroot"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SHOWN = 4000
"""How many characters of what a failed command said a message has."""

PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


class ImageError(RuntimeError):
    """An image could not be made, or is not as it should be; the message says what happened."""


@dataclasses.dataclass(frozen=True, slots=True)
class Weight:
    """What an image weighs unpacked, in bytes: a layer counts what it adds.

    Attributes:
        base: The layers of the image that it was built upon.
        ours: The layers above them.
    """

    base: int
    ours: int


class Builder:
    """A store of images in a temporary folder, and the commands upon it; use it as a context manager.

    Args:
        folder: Where the store is made. Each layer is a whole copy there, so it takes gigabytes for a while.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(dir=folder, prefix="store-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ImageError):
            self.buildah("rm", "--all")
        shutil.rmtree(self._folder, ignore_errors=True)

    def command(self, *arguments: str) -> list[str]:
        """Returns the command line that runs buildah upon this store."""
        store = [f"--root={self._folder}/storage", f"--runroot={self._folder}/run", "--storage-driver=vfs"]
        return ["buildah", *store, *arguments]

    def buildah(self, *arguments: str) -> str:
        """Runs buildah; returns what it printed.

        Raises:
            ImageError: It failed.
        """
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)
        if done.returncode:
            raise ImageError(f"buildah {arguments[0]} failed ({done.returncode}):\n{(done.stdout + done.stderr)[-SHOWN:]}")
        return done.stdout.strip()

    def commit_root(self, root: Path, image: str, environ: Sequence[str]) -> None:
        """Makes an image of one layer from a tar file of a whole file system."""
        container = self.buildah("from", "scratch")
        self.buildah("add", container, str(root), "/")
        self.buildah("config", *(f"--env={variable}" for variable in environ), container)
        self.buildah("commit", "--rm", container, image)

    def commit_file(self, base: str, file: Path, target: str, image: str, entry_point: str) -> None:
        """Makes an image of ``base`` and one file."""
        container = self.buildah("from", "--pull-never", base)
        self.buildah("copy", container, str(file), target)
        self.buildah("config", f"--entrypoint={json.dumps([entry_point])}", container)
        self.buildah("commit", "--rm", container, image)

    def build(self, target: str, image: str, arguments: Mapping[str, str], log: Path) -> None:
        """Builds a target of ``deploy/Dockerfile`` as Docker would, by the machine's way to its package registries.

        Args:
            target: The stage.
            image: What the image is called.
            arguments: The build's arguments.
            log: Where what the steps say goes.

        Raises:
            ImageError: A step failed.
        """
        with _way_to_the_registries(self._folder) as volumes, log.open("w", encoding="utf-8") as out:
            command = self.command(
                "build",
                ISOLATION,
                "--layers=false",  # one layer a stage: with vfs each is a copy of all below it
                "--format=docker",  # the other one has no HEALTHCHECK
                "--pull-never",
                f"--file={ROOT}/deploy/Dockerfile",
                f"--target={target}",
                f"--tag={image}",
                *(f"--build-arg={name}={value}" for name, value in arguments.items()),
                *(f"--volume={volume}" for volume in volumes),
                str(ROOT),
            )
            status = subprocess.run(command, stdout=out, stderr=out, check=False).returncode
        if status:
            said = log.read_text(encoding="utf-8", errors="replace")[-SHOWN:]
            raise ImageError(f"the target {target} can't be built ({status}); the whole log is in {log}:\n{said}")

    def config(self, image: str) -> dict[str, Any]:
        """Returns what the image is run with (``Entrypoint``, ``User``, ``Healthcheck``, …)."""
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type=image", image))["Docker"]["config"]
        return found

    def weight(self, image: str, base: str) -> Weight:
        """Weighs an image by its unpacked layers, which is what ``docker images`` shows."""
        below, all_layers = self._layers(base), self._layers(image)
        if all_layers[: len(below)] != below:
            raise ImageError(f"{image} is not built upon {base}")
        ours = all_layers[len(below) :]
        return Weight(base=sum(size for _, size in below), ours=sum(size for _, size in ours))

    def _layers(self, image: str) -> list[tuple[str, int]]:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            self.buildah("push", image, f"oci:{folder}/image")
            blobs = Path(folder, "image", "blobs", "sha256")
            index = json.loads(Path(folder, "image", "index.json").read_text(encoding="utf-8"))
            manifest = json.loads((blobs / index["manifests"][0]["digest"].partition(":")[2]).read_text(encoding="utf-8"))
            config = json.loads((blobs / manifest["config"]["digest"].partition(":")[2]).read_text(encoding="utf-8"))
            packed = [blobs / layer["digest"].partition(":")[2] for layer in manifest["layers"]]
            return list(zip(config["rootfs"]["diff_ids"], map(_unpacked_size, packed), strict=True))


def _unpacked_size(layer: Path) -> int:
    """Returns the bytes of a layer's tar file, which buildah writes compressed."""
    with gzip.open(layer) as tar:
        return sum(len(chunk) for chunk in iter(lambda: tar.read(1 << 20), b""))


@contextlib.contextmanager
def _way_to_the_registries(folder: Path) -> Iterator[list[str]]:
    """Yields volumes that give a build this machine's certificates and its settings of pip.

    Proxies in the environment (``http_proxy`` …) reach a build by themselves.
    """
    volumes = []
    settings = _pip_settings()
    if CERTIFICATES.exists():
        volumes.append(f"{CERTIFICATES}:{CERTIFICATES}:ro")
        settings["cert"] = str(CERTIFICATES)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        file = Path(made, "pip.conf")
        file.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()), encoding="utf-8")
        yield [*volumes, f"{file}:/etc/pip.conf:ro"]


def _pip_settings() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, env=os.environ
    )
    found = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        setting = name.rpartition(".")[2]
        if setting in PIP_SETTINGS:
            found[setting] = value.strip("'\"")
    return found
