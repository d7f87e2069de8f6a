"""The jars of Beam's expansion service and Java worker, downloaded from Maven Central without Maven and checked by hash.

``jars.lock`` has the coordinates, SHA-256 and size of each; ``make_lock.py`` writes it. The jars are kept in the cache
folder (``transforms/cache.py``), and their hashes are checked again at every start.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from transforms.cache import CACHE_VARIABLE, cache_folder
from transforms.errors import ContractError

LOCK = Path(__file__).with_name("jars.lock")

REPOSITORY_VARIABLE = "KAFKA_MODEL_SCORING_MAVEN"
"""Environment variable with the address of a repository to use instead of Maven Central, such as a company's mirror."""

MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"
DOWNLOADS = 8
TIMEOUT_S = 60.0
READ_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Jar:
    """A jar, as a line of the lock file describes it.

    Attributes:
        coordinates: ``group:artifact:version``.
        sha256: SHA-256 of the file, in hexadecimal.
        size: Size of the file in bytes.
    """

    coordinates: str
    sha256: str
    size: int

    @property
    def path(self) -> str:
        """The jar's path in a Maven repository."""
        group, artifact, version = self.coordinates.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.name}"

    @property
    def name(self) -> str:
        """The file's name."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


def locked_jars(lock: Path = LOCK) -> list[Jar]:
    """Reads the lock file."""
    lines = [line.split() for line in lock.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [Jar(coordinates, sha256, int(size)) for coordinates, sha256, size in lines]


def install(jars: Sequence[Jar], say: Callable[[str], None], folder: Path | None = None) -> list[Path]:
    """Returns the files of ``jars``, in their order. Downloads those that are missing from the cache or have another hash.

    Args:
        jars: The jars.
        say: Called with messages for the user: the start and the progress of a download.
        folder: The folder of the jars; by default in the cache folder.

    Raises:
        ContractError: A jar can't be downloaded, or does not have the hash of the lock file.
    """
    folder = folder or cache_folder() / "jars"
    files = [folder / jar.name for jar in jars]
    with concurrent.futures.ThreadPoolExecutor(DOWNLOADS) as pool:
        whole = list(pool.map(_is_whole, files, jars))
        missing = [jar for jar, there in zip(jars, whole, strict=True) if not there]
        if missing:
            _make(folder)
            _download(missing, folder, say, pool)
    return files


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ContractError(f"{folder}: can't be written ({error}); name another folder by {CACHE_VARIABLE}") from error


def _download(
    missing: Sequence[Jar], folder: Path, say: Callable[[str], None], pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    repository = os.environ.get(REPOSITORY_VARIABLE, MAVEN_CENTRAL).rstrip("/")
    total, done, told = sum(jar.size for jar in missing), 0, 0
    say(f"downloading Beam's Java transforms for Kafka: {len(missing)} jars, {total / 1e6:.0f} MB, once, into {folder}")
    downloads = {pool.submit(_fetch, jar, folder, repository): jar for jar in missing}
    try:
        for download in concurrent.futures.as_completed(downloads):
            download.result()
            done += downloads[download].size
            if done * 10 // total > told:
                told = done * 10 // total
                say(f"downloading: {done / 1e6:.0f} of {total / 1e6:.0f} MB")
    except BaseException:
        for download in downloads:
            download.cancel()
        raise


def _fetch(jar: Jar, folder: Path, repository: str) -> None:
    url = f"{repository}/{jar.path}"
    if not url.startswith(("https://", "http://", "file://")):
        raise ContractError(f"{REPOSITORY_VARIABLE}={repository}: give an https:// address")
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{jar.name}", delete=False) as part:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  # the scheme is looked at above
                while block := answer.read(READ_BYTES):
                    digest.update(block)
                    part.write(block)
            if digest.hexdigest() != jar.sha256:
                raise ContractError(
                    f"{url} is not the file that was locked (SHA-256 {digest.hexdigest()}, expected {jar.sha256}); not used"
                )
            Path(part.name).rename(folder / jar.name)  # atomic: another process never sees half a file
        except OSError as error:
            raise ContractError(
                f"--kafka_io=beam: {url} can't be downloaded: {error}; set {REPOSITORY_VARIABLE} to a Maven repository that "
                "can be reached, name a running service by --expansion_service=HOST:PORT, or use --kafka_io=native, which "
                "needs no Java"
            ) from error
        finally:
            Path(part.name).unlink(missing_ok=True)


def _is_whole(file: Path, jar: Jar) -> bool:
    if not file.is_file() or file.stat().st_size != jar.size:
        return False
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == jar.sha256
