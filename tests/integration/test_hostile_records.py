"""``python -m pipeline`` over the embedded broker: records made to end the job, between others, which are all answered."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import fastavro
import numpy as np
import pytest

from pipeline.embedded.broker import EmbeddedBroker
from tests import topics
from tests.formats.test_avro_hostile import STREAMS, chain, text, zigzag
from tests.formats.test_avro_hostile import file as avro_file
from tests.formats.test_npy_headers import file as npy_file
from tests.integration.process import Job
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

ROW = {"type": "record", "name": "Row", "fields": [{"name": "x", "type": {"type": "array", "items": "float"}}]}

HOSTILE_NPY = [
    npy_file(f"({'1, ' * 100})", data=bytes(4)),
    npy_file(f"(0, {2**70})"),
    npy_file(f"(0, {2**62}, {2**62})"),
    npy_file(f"({10**15},)", "'|S0'"),
    npy_file(f"({10**15},)", "'<U0'"),
    npy_file("(True, 2)", data=bytes(8)),
]
HOSTILE_AVRO = [
    avro_file('{"type":"fixed","name":"F","size":"x"}', (1, b"")),
    avro_file('"int"', (-1, b"\0"), (2, b"\0\0")),
    avro_file(json.dumps(chain(10_000)), (1, zigzag(10_000))),
    avro_file(json.dumps(chain(39, doubled=True)), (1, zigzag(39))),
    *[avro_file('"bytes"', (1, pack(text(bytes(100_000_000)))), codec=name.encode()) for name, pack in STREAMS.items()],
]


@pytest.fixture
def job() -> Iterator[Job]:
    with EmbeddedBroker({"in": 1, "out": 1, "out.dead-letter": 1}) as broker:
        job = Job(broker.address, ("in",), "out", "group")
        yield job
        for process in job.started:
            print(process)  # shown by pytest if the test fails
            process.close()


@pytest.mark.parametrize("kind", ["npy", "avro"])
def test_each_hostile_record_is_a_dead_letter_and_the_others_are_answered(job: Job, kind: str) -> None:
    def value(n: int) -> bytes:
        out = io.BytesIO()
        if kind == "npy":
            np.save(out, np.array([n], np.int16))
        else:
            fastavro.writer(out, fastavro.parse_schema(ROW), [{"x": [n]}], "deflate")
        return out.getvalue()

    hostile = HOSTILE_NPY if kind == "npy" else HOSTILE_AVRO
    good = [value(number) for number in range(40)]
    topics.produce(job.bootstrap, "in", [*good[:20], *hostile, *good[20:]])
    with TfServingGrpcStub() as stub:
        process = job.run(f"--model={stub.uri()}", f"--input_format={kind}", f"--max_records={40 + len(hostile)}")
    assert (process.summary["predictions"], process.summary["dead_letters"]) == (40, len(hostile))
    assert set(process.summary["dead_letters_by_class"]) <= {"NpyError", "AvroError", "SchemaError"}
