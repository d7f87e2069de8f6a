"""Avro object container files: reads the one block that holds a record's datum, and decompresses it within a limit.

Source: the Avro specification 1.11, "Object Container Files". Read here and not by fastavro, which decompresses without a
limit, and reads a stranger's schema in compiled code before anything is known of it.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from transforms.errors import is_sick
from transforms.formats.limits import too_large
from transforms.formats.varint import MalformedError, zigzag

CONTAINER = b"Obj\x01"
"""The first bytes of a container file."""

_SYNC_BYTES = 16
_LZMA_MEMORY = 128 << 20  # xz's strongest preset takes 65 MB; a header may ask for 4 GB
_ZSTD_WINDOW = 128 << 20


def read_container(value: bytes, max_bytes: int) -> tuple[str, bytes]:
    """Returns the schema's text and the datum of a container of one record.

    Args:
        value: The file.
        max_bytes: The most bytes of a datum.

    Raises:
        MalformedError: It is no whole container file, does not hold exactly one record, or its datum is too large.
    """
    metadata, at = _metadata(value, len(CONTAINER))
    sync, at = _take(value, at, _SYNC_BYTES)
    records, found = 0, b""
    while at < len(value):
        count, at = zigzag(value, at)
        size, at = zigzag(value, at)
        block, at = _take(value, at, size)
        marker, at = _take(value, at, _SYNC_BYTES)
        if marker != sync:
            raise MalformedError("a block does not end with the file's sync marker")
        if count < 0:
            raise MalformedError(f"a block counts {count} records")
        records += count
        found = block if count else found
    if records != 1:
        raise MalformedError(f"it holds {records} records; a Kafka record must hold one")
    codec = metadata.get("avro.codec", b"null").decode("utf-8", "replace")
    decompress = _CODECS.get(codec)
    if decompress is None:
        raise MalformedError(f"its codec is none of {', '.join(_CODECS)}")
    try:
        datum = decompress(found, max_bytes)
        schema = metadata["avro.schema"].decode()
    except KeyError:
        raise MalformedError("it has no schema") from None
    except UnicodeDecodeError:
        raise MalformedError("its schema is not UTF-8") from None
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:  # bz2 raises OSError for data that are none
        raise MalformedError(f"its block can't be decompressed ({codec})") from error
    if len(datum) > max_bytes:
        raise MalformedError(too_large("its block", max_bytes))
    return schema, datum


def _metadata(value: bytes, at: int) -> tuple[dict[str, bytes], int]:
    found: dict[str, bytes] = {}
    while True:
        count, at = zigzag(value, at)
        if count == 0:
            return found, at
        if count < 0:
            _, at = zigzag(value, at)
        for _ in range(abs(count)):
            size, at = zigzag(value, at)
            key, at = _take(value, at, size)
            size, at = zigzag(value, at)
            part, at = _take(value, at, size)
            found[key.decode("utf-8", "replace")] = part


def _take(value: bytes, at: int, size: int) -> tuple[bytes, int]:
    if not 0 <= size <= len(value) - at:
        raise MalformedError("it is cut short")
    return value[at : at + size], at + size


# ---------------------------------------------------------------------- codecs: at most one byte more than allowed


def _deflate(data: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    found = stream.decompress(data, max_bytes + 1)
    if not stream.eof and len(found) <= max_bytes:
        raise MalformedError("its block is cut short")
    return found


def _streams(open_stream: Callable[[], Any], data: bytes, max_bytes: int) -> bytes:
    """Decompresses streams that follow each other."""
    found = b""
    while data and len(found) <= max_bytes:
        stream = open_stream()
        found += stream.decompress(data, max_bytes + 1 - len(found))
        if not stream.eof:
            if len(found) <= max_bytes:
                raise MalformedError("its block is cut short")
            break
        data = stream.unused_data
    return found


def _bzip2(data: bytes, max_bytes: int) -> bytes:
    return _streams(bz2.BZ2Decompressor, data, max_bytes)


def _xz(data: bytes, max_bytes: int) -> bytes:
    return _streams(lambda: lzma.LZMADecompressor(lzma.FORMAT_AUTO, _LZMA_MEMORY), data, max_bytes)


def _snappy(data: bytes, max_bytes: int) -> bytes:
    size = shift = 0
    for byte in data[:5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if size > max_bytes:
        raise MalformedError(too_large("its block", max_bytes))
    try:
        from cramjam import snappy  # type: ignore[import-not-found]  # of the user's choice
    except ImportError:
        raise MalformedError("its codec needs a package: pip install cramjam") from None
    try:
        found = bytes(snappy.decompress_raw(data[:-4]))
    except Exception as error:  # a class of the package's own
        if is_sick(error):
            raise
        raise MalformedError("its block can't be decompressed (snappy)") from error
    if zlib.crc32(found) != int.from_bytes(data[-4:], "big"):
        raise MalformedError("its block has a wrong checksum")
    return found


def _zstandard(data: bytes, max_bytes: int) -> bytes:
    try:
        import zstandard
    except ImportError:
        raise MalformedError("its codec needs a package: pip install zstandard") from None
    opened = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    try:
        with opened.stream_reader(io.BytesIO(data), read_across_frames=True) as stream:
            found = b""
            while len(found) <= max_bytes and (piece := stream.read(max_bytes + 1 - len(found))):
                found += piece
            return found
    except zstandard.ZstdError as error:
        raise MalformedError("its block can't be decompressed (zstandard)") from error


def _lz4(data: bytes, max_bytes: int) -> bytes:
    if int.from_bytes(data[:4], "little") > max_bytes:
        raise MalformedError(too_large("its block", max_bytes))
    try:
        import lz4.block  # type: ignore[import-not-found]  # of the user's choice
    except ImportError:
        raise MalformedError("its codec needs a package: pip install lz4") from None
    try:
        return bytes(lz4.block.decompress(data))
    except lz4.block.LZ4BlockError as error:
        raise MalformedError("its block can't be decompressed (lz4)") from error


_CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "null": lambda data, _: data,
    "deflate": _deflate,
    "bzip2": _bzip2,
    "xz": _xz,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "lz4": _lz4,
}
