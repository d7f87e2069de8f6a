"""Model files for ``saved_model://``, read through Beam's file systems: ``gs://``, ``s3://``, ``hdfs://`` …

open_client("saved_model://gs://bucket/models/fraud", ClientOptions(model_files=BeamFiles()))
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from transforms.errors import ConfigError


@dataclasses.dataclass(frozen=True, slots=True)
class BeamFiles:
    """``ModelFiles`` over Beam's ``FileSystems``, which choose the file system by the path's scheme. Picklable.

    Beam is imported at the first access to a file, so that checking a URI stays quick.
    """

    def listing(self, folder: str) -> dict[str, int]:
        """See ``ModelFiles``."""
        from apache_beam.io.filesystems import FileSystems

        base = folder.rstrip("/") + "/"
        with _translated(folder):
            [matched] = FileSystems.match([base + "**"])
            sizes = {found.path.removeprefix(base): int(found.size_in_bytes) for found in matched.metadata_list}
        # Object stores mark folders by names that end with a slash. An object's name may also contain "..".
        return {name: size for name, size in sizes.items() if _is_file_below(name)}

    def copy(self, folder: str, target: Path) -> None:
        """See ``ModelFiles``."""
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        for name in self.listing(folder):
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                _translated(folder),
                # Without it, Beam would unpack an asset that is called *.gz.
                FileSystems.open(f"{folder}/{name}", compression_type=CompressionTypes.UNCOMPRESSED) as source,
                path.open("wb") as copied,
            ):
                shutil.copyfileobj(source, copied, 1 << 20)


def _is_file_below(name: str) -> bool:
    path = PurePosixPath(name)
    return name not in ("", ".") and not name.endswith("/") and not path.is_absolute() and ".." not in path.parts


@contextmanager
def _translated(folder: str) -> Iterator[None]:
    """Translates the errors of Beam's file systems, which differ by vendor, into those that ``ModelFiles`` documents."""
    from apache_beam.io.filesystem import BeamIOError

    try:
        yield
    except BeamIOError as error:
        raise OSError(_cause(error)) from error
    except OSError:
        raise
    except ValueError as error:
        if "Unable to get filesystem" not in str(error):
            raise OSError(f"{type(error).__name__}: {error}") from error
        scheme = folder.partition("://")[0]
        cure = f"pip install 'kafka-model-scoring[{_EXTRAS.get(scheme, scheme)}]'" if scheme in _EXTRAS else _OTHERS
        raise ConfigError([f"--model: Beam has no file system for {scheme}:// here: {cure}"]) from error
    except Exception as error:  # each file system's vendor has exception classes of its own
        raise OSError(f"{type(error).__name__}: {error}") from error


def _cause(error: Exception) -> str:
    """The text of the innermost error: a ``BeamIOError`` holds further errors in a dictionary by pattern."""
    from apache_beam.io.filesystem import BeamIOError

    if isinstance(error, BeamIOError) and error.exception_details:
        return "; ".join(_cause(cause) for cause in error.exception_details.values())
    return f"{type(error).__name__}: {error}"


_EXTRAS = {"gs": "gcp"}
_OTHERS = "install apache-beam with the extra that brings it (aws, azure, hdfs), in the worker too"
