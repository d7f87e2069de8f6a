"""``Shards``: the shards of a static assignment on Flink, and a key for each that places it on a subtask of its own;
``MovingShards``: those of a runner that moves keys between its workers as it likes (Dataflow).

Flink sends an element with the key *k* to the subtask ``group(k) * parallelism // max_parallelism``. ``group(k)`` is
``murmur(hash(k)) % max_parallelism``, which Flink calls the key group (``KeyGroupRangeAssignment``). Beam's Flink runner
hashes the encoded bytes of the key, as Java's ``ByteBuffer.hashCode`` does. With the keys 0, 1, 2 …, some subtasks would get
several shards and others none. So ``Shards.keys`` searches one key for each subtask.
"""

from __future__ import annotations

import dataclasses

_MASK = 0xFFFFFFFF
_FEWEST_KEY_GROUPS, _MOST_KEY_GROUPS = 128, 1 << 15


@dataclasses.dataclass(frozen=True, slots=True)
class Shards:
    """The division of a job into shards.

    Attributes:
        count: The number of shards, which is the job's parallelism. Shard *i* reads the partitions whose number modulo
            ``count`` is *i*.
        max_parallelism: Flink's maximum parallelism, which is its number of key groups.
    """

    count: int
    max_parallelism: int

    def keys(self) -> list[int]:
        """Returns one key per shard, in order; Flink processes the key of shard *i* in its subtask *i*."""
        found: dict[int, int] = {}
        key = 0
        while len(found) < self.count:
            found.setdefault(key_group(key, self.max_parallelism) * self.count // self.max_parallelism, key)
            key += 1
        return [found[subtask] for subtask in range(self.count)]


@dataclasses.dataclass(frozen=True, slots=True)
class MovingShards:
    """The division of a job into shards that the runner moves between workers; their keys are 0, 1, 2 …

    Attributes:
        count: The number of shards. Shard *i* reads the partitions whose number modulo ``count`` is *i*.
    """

    count: int


def default_max_parallelism(parallelism: int) -> int:
    """Returns Flink's default: 1.5 times the parallelism, rounded up to a power of two, within 128 and 32,768."""
    wanted = 1 << (parallelism + parallelism // 2 - 1).bit_length()
    return min(max(wanted, _FEWEST_KEY_GROUPS), _MOST_KEY_GROUPS)


def key_group(key: int, max_parallelism: int) -> int:
    """Returns the key group of a key that Beam's ``VarIntCoder`` encodes.

    Args:
        key: The key; 0 or more.
        max_parallelism: Flink's number of key groups.
    """
    encoded = []
    while key > 127:
        encoded.append(key & 127 | 128)
        key >>= 7
    encoded.append(key)
    code = 1
    for byte in reversed(encoded):  # ByteBuffer.hashCode
        code = (31 * code + (byte - 256 if byte > 127 else byte)) & _MASK
    return _murmur(code) % max_parallelism


def _murmur(code: int) -> int:
    """MurmurHash3 (x86, 32 bits) of one 4-byte block, made positive: ``MathUtils.murmurHash`` of Flink."""
    code = code * 0xCC9E2D51 & _MASK
    code = _rotated(code, 15) * 0x1B873593 & _MASK
    code = (_rotated(code, 13) * 5 + 0xE6546B64) & _MASK
    code ^= 4
    code = (code ^ code >> 16) * 0x85EBCA6B & _MASK
    code = (code ^ code >> 13) * 0xC2B2AE35 & _MASK
    code ^= code >> 16
    signed = code - (1 << 32) if code >> 31 else code
    return 0 if signed == -(1 << 31) else abs(signed)


def _rotated(code: int, bits: int) -> int:
    return (code << bits | code >> (32 - bits)) & _MASK
