"""``Letter``: a dead letter read back: why it is one, and the input record that it was.

A dead letter is its input record with headers behind it (``transforms.dead_letter``). If its topic refused it, parts of it
were changed, and headers name each change (``transforms.kafka.fitting``). A changed part is restored from those headers if
they have all of it, else from the input record if Kafka still has it. A dead letter that can't be restored is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from transforms.headers import (
    ERROR_CLASS,
    ERROR_MESSAGE,
    ERROR_STAGE,
    ON_DEAD_LETTERS,
    ON_REPLAYED,
    ORIGINAL_HEADERS,
    ORIGINAL_KEY,
    ORIGINAL_VALUE_BYTES,
    REPLAY_ATTEMPTS,
    REPLAY_DEAD_LETTER,
    SOURCE,
    TIMESTAMP,
    source_of,
)
from transforms.kafka.fitting import SHORT_MESSAGE_BYTES
from transforms.kafka.native.originals import Source
from transforms.types import Header, Headers, KafkaRecord, UnreadableHeaders

NO_LETTER = "no dead letter of this program: the headers inference.error.… and inference.source are not there"
HEADERS_GONE = "the headers of its input record can't be read: a name is not UTF-8"
SOURCE_GONE = "the dead-letter topic has only a part of it, and Kafka has deleted the input record"
SOURCE_DIFFERS = "the dead-letter topic has only a part of it, and another record is at the place of the input record now"

_CUT = (ORIGINAL_VALUE_BYTES, ORIGINAL_HEADERS)


@dataclasses.dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    Attributes:
        record: The dead letter as it is in its topic.
        stage: The stage that failed.
        error_class: The dead-letter class.
        message: What was wrong.
        source: The input record's topic, partition and offset.
        headers: The input record's headers, without those that dead letters before this one have added.
        changed: What was changed so that the dead-letter topic takes it: header to value.
        replays: How many times the record was replayed before this dead letter.
        append_time: Whether the dead letter's timestamp is the broker's (``LogAppendTime``), and not the input's.
    """

    record: KafkaRecord
    stage: str
    error_class: str
    message: str
    source: Source
    headers: Headers
    changed: Mapping[str, bytes | None]
    replays: int
    append_time: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Its partition and offset in the dead-letter topic."""
        return self.record.partition, self.record.offset

    @property
    def key(self) -> bytes | None:
        """The input record's key; the first bytes of it where it was cut."""
        return self.changed.get(ORIGINAL_KEY, self.record.key)

    @property
    def timestamp_ms(self) -> int | None:
        """The input record's timestamp; the dead letter's where its topic sets timestamps itself."""
        if TIMESTAMP not in self.changed:
            return self.record.timestamp_ms
        value = int(self.changed[TIMESTAMP] or b"-1")
        return None if value == -1 else value

    @property
    def needs_original(self) -> bool:
        """Whether the input record must be read again, as this is only a part of it."""
        key = self.changed.get(ORIGINAL_KEY)
        cut_key = key is not None and len(key) >= SHORT_MESSAGE_BYTES
        no_time = self.append_time and TIMESTAMP not in self.changed
        return no_time or cut_key or any(name in self.changed for name in _CUT)


def read_letter(record: KafkaRecord, append_time: bool = False) -> Letter | None:
    """Returns the dead letter that a record of the dead-letter topic is; ``None`` if it is none.

    Args:
        record: The record.
        append_time: Whether its topic sets timestamps itself.
    """
    headers = record.headers
    begin = next((at for at in range(len(headers) - 1, -1, -1) if headers[at][0] == ERROR_STAGE), None)
    if begin is None or isinstance(headers, UnreadableHeaders):
        return None
    ours = {name: value for name, value in headers[begin:] if name in ON_DEAD_LETTERS}
    source = _source(ours.get(SOURCE))
    if source is None or not _is_number(ours.get(TIMESTAMP, b"0")):
        return None
    behind = [header for header in headers[begin:] if header[0] not in ON_DEAD_LETTERS]  # of a tool that copied the topic
    return Letter(
        record,
        _text(ours[ERROR_STAGE]),
        _text(ours.get(ERROR_CLASS)),
        _text(ours.get(ERROR_MESSAGE)),
        source,
        [*_without_older(headers[:begin]), *behind],
        {name: ours[name] for name in (ORIGINAL_KEY, *_CUT, TIMESTAMP) if name in ours},
        replays_of(headers),
        append_time,
    )


def restored(letter: Letter, original: KafkaRecord | None) -> KafkaRecord | str:
    """Returns the input record that a dead letter was, at its former place; or why it can't be had.

    Args:
        letter: The dead letter.
        original: What is at the place of the input record now, if ``letter.needs_original``; ``None`` if it is not there.
    """
    topic, partition, offset = letter.source
    if letter.changed.get(ORIGINAL_HEADERS) == b"?":
        return HEADERS_GONE
    if not letter.needs_original:
        return KafkaRecord(
            topic, partition, offset, letter.timestamp_ms, letter.key, letter.record.value, list(letter.headers)
        )
    if original is None:
        return SOURCE_GONE
    if isinstance(original.headers, UnreadableHeaders):
        return HEADERS_GONE
    if not _is_part_of(letter, original):
        return SOURCE_DIFFERS
    return original._replace(headers=_without_older(original.headers))


def replayed(letter: Letter, record: KafkaRecord) -> KafkaRecord:
    """Returns the restored record with the headers that say that it was replayed."""
    before = max(letter.replays, replays_of(record.headers))  # a dead letter without the input's headers has no count
    added: list[Header] = [
        (REPLAY_ATTEMPTS, b"%d" % (before + 1)),
        (REPLAY_DEAD_LETTER, source_of(letter.record)),
    ]
    return record._replace(headers=[*(header for header in record.headers if header[0] not in ON_REPLAYED), *added])


def _is_part_of(letter: Letter, original: KafkaRecord) -> bool:
    """Whether a record can be the one that was cut: a topic that was made anew has other records at the same offsets."""
    value, key = letter.record.value, letter.key
    if ORIGINAL_VALUE_BYTES not in letter.changed:
        same_value = value == original.value
    elif value is None or letter.changed[ORIGINAL_VALUE_BYTES] == b"?":
        same_value = True  # nothing of it was kept
    else:
        length = b"%d" % len(original.value or b"")
        same_value = (original.value or b"").startswith(value) and length == letter.changed[ORIGINAL_VALUE_BYTES]
    cut_key = ORIGINAL_KEY in letter.changed and key is not None
    same_key = (original.key or b"").startswith(key or b"") if cut_key else key == original.key
    return same_value and same_key and (letter.append_time or letter.timestamp_ms == original.timestamp_ms)


def _without_older(headers: Headers) -> Headers:
    """An input's headers without those of dead letters before, of a record that was copied back with all its headers.

    ``inference.source`` is left alone elsewhere: it is a header of predictions, too, which are another job's input.
    """
    kept: Headers = []
    within: set[str] | None = None
    for header in headers:
        name = header[0]
        if name == ERROR_STAGE:
            within = set()
        elif within is not None and (name not in ON_DEAD_LETTERS or name in within):
            within = None
        if within is None:
            kept.append(header)
        else:
            within.add(name)
    return kept


def replays_of(headers: Headers) -> int:
    """Returns how many times the record with these headers was replayed."""
    values = [value for name, value in headers if name == REPLAY_ATTEMPTS and value and value.isdigit() and len(value) < 10]
    return max(map(int, values), default=0)


def _source(value: bytes | None) -> Source | None:
    match (value or b"").decode("utf-8", "replace").rsplit("/", 2):
        case [topic, partition, offset] if topic and partition.isdecimal() and offset.isdecimal():
            return topic, int(partition), int(offset)
    return None


def _is_number(value: bytes | None) -> bool:
    digits = (value or b"").removeprefix(b"-")
    return digits.isdigit() and len(digits) < 20


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
