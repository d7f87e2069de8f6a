"""Kafka → OpenAI-compatible servers → Kafka: the stub for counts, LitServe for real."""

from __future__ import annotations

import base64
import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import Job
from tests.servers.litserve import CHAT, EMBEDDINGS, litserve, minilm, minilm_vectors
from transforms.testing.openai.stub import OpenAiStub, rerank_model, text_model

RECORDS, BATCH = 1600, 64


def letters(job: Job) -> dict[bytes | None, str]:
    return {record.key: (dict(record.headers)["inference.error.class"] or b"").decode() for record in job.dead_letters()}


def test_embeddings_are_asked_for_in_full_batches(new_job: NewJob) -> None:
    """A request for each 64 records, beside the probes; nothing else goes to the server."""
    with OpenAiStub() as stub:
        job = new_job(stub.uri(), flags=("--features=$.text", "--max_in_flight=4", "--pass_through=id"))
        values = [json.dumps({"id": n, "text": "e" * (n % 50 + 1)}).encode() for n in range(RECORDS)]
        topics.produce(job.bootstrap, job.inputs[0], values, partitions=[0] * RECORDS)
        summary = job.run("--until_end").summary
        sizes = stub.faults.batch_sizes
    assert job.report().ok, job.report()
    assert summary["predictions"] == RECORDS == sum(sizes)
    assert len(sizes) == math.ceil(RECORDS / BATCH)
    for record in job.predictions():
        value: Any = json.loads(record.value or b"")
        count = value["id"] % 50 + 1
        assert value["embedding"] == [count, count, 0, 0, 0, 0, 0, 0]
        assert dict(record.headers)["inference.version"] == b"model-1"


def test_a_kill_in_mid_stream_asks_again_for_what_was_not_committed(new_job: NewJob) -> None:
    """And for nothing else, in full batches; each record is written once."""
    half, held = RECORDS // 2, 10
    with OpenAiStub() as first, OpenAiStub() as second:
        job = new_job(first.uri(), flags=("--max_in_flight=4",))
        produce = functools.partial(topics.produce, job.bootstrap, job.inputs[0], partitions=[0] * half)
        produce([b"sea %d" % n for n in range(half)])
        process = job.start()
        job.wait_for_commit(half, process)
        first.faults.hold_after(held)
        produce([b"sea %d" % n for n in range(half, RECORDS)])
        job.wait_for_held(first, process)
        process.kill()
        committed, asked = sum(job.committed().values()), sum(first.faults.batch_sizes)
        job.run("--until_end", f"--model={second.uri()}")
        again = second.faults.batch_sizes
    assert job.report().ok, job.report()
    assert sum(again) == RECORDS - committed
    assert len(again) == math.ceil(sum(again) / BATCH)
    assert 0 < asked - committed <= (held + 4) * BATCH, "asked for twice: what was in the bundle that was cut off"


def test_real_embeddings(new_job: NewJob) -> None:
    """Texts as they are, with some that are refused; the most texts of a request are learnt."""
    values: list[bytes | None] = [b"sea %d" % n for n in range(300)]
    values[7], values[50], values[51], values[299] = b"poison", b"\xff\xfe", None, b"poison too"
    with litserve(EMBEDDINGS) as address:
        job = new_job(f"openai+http://{address}/letters?task=embeddings", flags=("--max_in_flight=4",))
        keys = [b"%d" % n for n in range(len(values))]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=keys, partitions=[0] * len(values))
        job.run("--until_end")
    assert job.report().ok, job.report()
    assert letters(job) == {b"7": "Rejected", b"50": "Rejected", b"51": "Tombstone", b"299": "Rejected"}
    assert all(json.loads(record.value or b"")["embedding"][1:4] == [1, 1, 0] for record in job.predictions())
    for record in job.dead_letters():
        message = dict(record.headers)["inference.error.message"] or b""
        assert b"poison" not in message
        assert base64.b64encode(b"\xff\xfe") not in message


SENTENCES = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
ALIKE = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
"""How alike they are, as sentence-transformers has it of these weights.

Source: https://sbert.net/docs/sentence_transformer/usage/usage.html.
"""


def test_real_weights(new_job: NewJob) -> None:
    """all-MiniLM-L6-v2: the vectors in Kafka are the model's own, and those of near sentences are near."""
    texts = [*SENTENCES, *(f"Parcel {n} was sent on a rainy day." for n in range(130))]
    with minilm() as address:
        job = new_job(f"openai+http://{address}/all-MiniLM-L6-v2?task=embeddings")
        topics.produce(
            job.bootstrap, job.inputs[0], [text.encode() for text in texts], keys=[b"%d" % n for n in range(len(texts))]
        )
        summary = job.run("--until_end").summary
    assert job.report().ok, job.report()
    assert summary["predictions"] == len(texts)
    found = {int(record.key or b""): json.loads(record.value or b"")["embedding"] for record in job.predictions()}
    vectors = np.array([found[n] for n in range(len(texts))])
    assert vectors.shape == (len(texts), 384)
    np.testing.assert_allclose(vectors, minilm_vectors(*texts), atol=1e-5)
    np.testing.assert_allclose(vectors[:3] @ vectors[:3].T, ALIKE, atol=1e-3)


def test_real_chat(new_job: NewJob) -> None:
    """A request a record, many in flight; what the answer says beside its text is in the headers."""
    values: list[bytes | None] = [b'{"text": "sea %d"}' % n for n in range(200)]
    values[9], values[80] = b'{"text": "poison"}', b'{"other": 1}'
    with litserve(CHAT) as address:
        job = new_job(f"openai+http://{address}/shout?task=chat", flags=("--features=prompt=$.text",))
        keys = [b"%d" % n for n in range(len(values))]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=keys, partitions=[0] * len(values))
        job.run("--until_end")
    assert job.report().ok, job.report()
    assert letters(job) == {b"9": "Rejected", b"80": "FieldError"}
    for record in job.predictions():
        assert json.loads(record.value or b"") == {"answer": f"SEA {int(record.key or b'')}"}
        headers = dict(record.headers)
        assert headers["inference.finish_reason"] == b"stop"
        assert (headers["inference.tokens.prompt"], headers["inference.tokens.completion"]) == (b"2", b"2")


def test_prompts_and_answers_that_are_none(new_job: NewJob, tmp_path: Path) -> None:
    """Each record is asked for once: the model has answered, and would cut or filter it again. A field is missing in one."""
    (tmp_path / "prompt.txt").write_text("record {{ n }}\n{% if n > 38 %}{{ record.missing }}{% endif %}", encoding="utf-8")
    (tmp_path / "system.txt").write_text("Say it louder.", encoding="utf-8")
    ends = {7: ("length", "CutAnswer"), 30: ("content_filter", "RefusedAnswer")}
    with OpenAiStub(text_model()) as stub:
        stub.task = "chat"
        stub.finish = lambda prompt: ends.get(int(prompt.split()[1]), ("stop", ""))[0]
        stub.faults.latency_s = 0.05
        job = new_job(stub.uri(), flags=(f"--prompt={tmp_path}/prompt.txt", f"--system_prompt={tmp_path}/system.txt"))
        values = [b'{"n": %d}' % n for n in range(40)]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=[b"%d" % n for n in range(40)], partitions=[0] * 40)
        job.run("--until_end")
        assert stub.faults.requests == 39
        assert stub.last_request["messages"][0] == {"role": "system", "content": "Say it louder."}
        assert stub.faults.max_concurrent > 1
    assert job.report().ok, job.report()
    assert letters(job) == {b"39": "FieldError", **{b"%d" % n: kind for n, (_, kind) in ends.items()}}
    attempts = {record.key: dict(record.headers)["inference.error.attempts"] for record in job.dead_letters()}
    assert attempts == {b"39": b"0", b"7": b"1", b"30": b"1"}
    said = {record.key: json.loads(record.value or b"")["answer"] for record in job.predictions()}
    assert said[b"38"] == "RECORD 38\n"


def test_answers_in_the_form_of_a_schema(new_job: NewJob, tmp_path: Path) -> None:
    """What does not fit is asked for once more, and is then a dead letter."""
    pytest.importorskip("fastjsonschema", reason="requirements.txt has it: make .venv/.installed")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "even": {"type": "boolean"}}, "required": ["n"]}
    (tmp_path / "answer.json").write_text(json.dumps(schema), encoding="utf-8")

    def judge(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The first answer to 3 and both to 5 do not fit; the second request has what is wrong in place of the number."""
        text = inputs["prompt"][0].decode()
        if not text.isdecimal():
            said = '{"n": 3}' if "data.n must be integer" in text else "{}"
        else:
            said = {3: '{"n": "three"}', 5: "{}"}.get(int(text), json.dumps({"n": int(text), "even": int(text) % 2 == 0}))
        return {"answer": np.array([said.encode()], object)}

    model = text_model()
    model.signatures = {name: (signature, judge) for name, (signature, _) in model.signatures.items()}
    with OpenAiStub(model) as stub:
        stub.task = "chat"
        job = new_job(
            stub.uri(), flags=(f"--answer_schema={tmp_path}/answer.json", "--features=$.text", "--pass_through=id")
        )
        values = [json.dumps({"id": f"r{n}", "text": str(n)}).encode() for n in range(10)]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=[b"%d" % n for n in range(10)], partitions=[0] * 10)
        job.run("--until_end")
        assert stub.faults.requests == 12
    assert job.report().ok, job.report()
    assert letters(job) == {b"5": "AnswerSchemaError"}
    said = {record.key: json.loads(record.value or b"") for record in job.predictions()}
    assert said[b"4"] == {"id": "r4", "n": 4, "even": True}
    assert said[b"3"] == {"id": "r3", "n": 3, "even": None}


def test_documents_are_reranked(new_job: NewJob) -> None:
    """Records with any number of documents; the scores of each stand in the order of its documents."""
    with OpenAiStub(rerank_model()) as stub:
        stub.task = "rerank"
        job = new_job(stub.uri(), flags=("--features=query=$.query,documents=$.documents", "--pass_through=id"))
        values: list[bytes | None] = [
            json.dumps({"id": n, "query": "red car", "documents": ["red", "a boat", "red car"][: n % 4]}).encode()
            for n in range(200)
        ]
        keys = [b"%d" % n for n in range(len(values))]
        topics.produce(job.bootstrap, job.inputs[0], values, keys=keys, partitions=[0] * len(values))
        job.run("--until_end")
    assert job.report().ok, job.report()
    assert set(letters(job).values()) == {"Rejected"}
    assert set(letters(job)) == {b"%d" % n for n in range(0, 200, 4)}, "those without documents"
    for record in job.predictions():
        value: Any = json.loads(record.value or b"")
        assert value["scores"] == [0.5, 0.0, 1.0][: value["id"] % 4]
