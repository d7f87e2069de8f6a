"""Headers that confluent_kafka can't read are told apart from headers that are not there."""

from __future__ import annotations

import pickle

import numpy as np

from pipeline.embedded.broker import EmbeddedBroker
from tests import raw_produce
from transforms.dead_letter import dead_letter
from transforms.decode.decoder import Decoder
from transforms.decode.readable import decode_readable
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.static_reader import StaticReader
from transforms.types import METHOD_PREDICT, KafkaRecord, Signature, TensorSpec, UnreadableHeaders

GOOD, BAD = [(b"ok", b"1")], [(b"ok", b"1"), (b"caf\xe9", b"2")]
TIMES = 100
"""More than the interpreter needs to find its fast path for a call."""

X = Signature("s", METHOD_PREDICT, {"x": TensorSpec("float32", (-1, 1))}, {})


def test_a_name_that_is_not_utf8_is_found_each_time() -> None:
    with EmbeddedBroker({"in": 1}) as broker:
        for number in range(TIMES):
            for headers in (GOOD, BAD):
                raw_produce.produce(broker.address, "in", [(b'{"x": [%d]}' % number, 7)], headers=headers)
        reader, found = StaticReader(KafkaConfig(broker.address, ("in",), "g", assignment="static")), list[KafkaRecord]()
        while len(found) < 2 * TIMES:
            found += reader.consume(2 * TIMES, 1.0)
        reader.close()
    assert [record.headers for record in found[::2]] == [[("ok", b"1")]] * TIMES
    assert all(isinstance(record.headers, UnreadableHeaders) for record in found[1::2])
    chunk = decode_readable(Decoder(X), found)
    assert sorted(chunk.failures) == list(range(1, 2 * TIMES, 2))
    assert [row for segment in chunk.segments for row in segment.rows] == list(range(0, 2 * TIMES, 2))
    assert np.concatenate([segment.tensors["x"] for segment in chunk.segments]).ravel().tolist() == list(range(TIMES))
    letter = dead_letter(chunk.records[1], chunk.failures[1], "dead")
    told = dict(letter.headers)
    assert letter.value == b'{"x": [0]}'
    assert told["inference.error.class"] == b"HeaderError"
    assert told["inference.error.message"] == b"the name of a header is not UTF-8 (byte 4 of 4)"
    assert told["inference.original.headers"] == b"?"


def test_they_stay_unreadable_between_processes() -> None:
    headers = pickle.loads(pickle.dumps(UnreadableHeaders("why")))
    assert isinstance(headers, UnreadableHeaders)
    assert (headers, headers.reason) == ([], "why")
