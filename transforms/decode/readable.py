"""``decode_readable``: decodes a chunk in which some records may have headers that can't be read."""

from __future__ import annotations

from typing import cast

from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.decoder import Decoder
from transforms.types import DecodedChunk, KafkaRecord, UnreadableHeaders


def decode_readable(decoder: Decoder, records: list[KafkaRecord]) -> DecodedChunk:
    """As ``Decoder.decode``. A record with unreadable headers is a ``HeaderError``: a prediction could not carry them."""
    unreadable = [row for row, record in enumerate(records) if type(record[6]) is UnreadableHeaders]
    if not unreadable:
        return decoder.decode(records)
    others = list(records)
    for row in unreadable:
        others[row] = records[row]._replace(value=None)
    chunk = decoder.decode(others)
    chunk.records = records
    for row in unreadable:
        headers = cast("UnreadableHeaders", records[row].headers)
        chunk.failures[row] = DeadLetterClass.HEADER_ERROR.failure(headers.reason)
    return chunk
