"""A file system of Beam's that is a dictionary: what an object store such as ``gs://`` looks like, without one."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, ClassVar

from apache_beam.io.filesystem import FileMetadata, FileSystem


class MemoryFileSystem(FileSystem):
    """``memory://``: what an object store looks like to Beam. Its folders are nothing but prefixes of names."""

    objects: ClassVar[dict[str, bytes]] = {}
    error: ClassVar[Exception | None] = None

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath, *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        if self.error is not None:
            raise self.error
        for path, content in self.objects.items():
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(content), 0.0)

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> BytesIO:
        return BytesIO(self._read(path, compression_type))

    def _read(self, path: str, compression_type: str) -> bytes:
        assert compression_type == "uncompressed"
        return self.objects[path]

    def exists(self, path: str) -> bool:
        return path in self.objects

    def unused(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError

    create = mkdirs = copy = rename = size = last_updated = checksum = metadata = delete = unused
