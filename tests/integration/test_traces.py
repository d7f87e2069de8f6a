"""``--otlp_endpoint``: the trace of a record goes through the job, and the metrics of all workers to the same place."""

from __future__ import annotations

from tests import topics
from tests.integration.conftest import NewJob
from tests.integration.process import START_S, wait_until
from tests.otlp_receiver import plain, receiving
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub
from transforms.types import Headers

TRACED = 8
PAYLOAD = "4111111111"


def parent(number: int, flags: str = "01") -> Headers:
    return [("traceparent", f"00-{number:032x}-{number:016x}-{flags}".encode())]


def test_traces_and_metrics_of_two_workers(new_job: NewJob, stub: TfServingGrpcStub) -> None:
    """Everything is there once the job has ended on SIGTERM, seconds before the next export was due."""
    with receiving() as receiver:
        job = new_job(stub.uri(), partitions=2, flags=("--workers=2", f"--otlp_endpoint={receiver.url}"))
        values = [b'{"x": [%s]}' % PAYLOAD.encode()] * TRACED + [
            b'{"x": ["%s"]}' % PAYLOAD.encode(),
            b'{"x": [1]}',
            b'{"x": [2]}',
        ]
        headers = [*(parent(number) for number in range(1, TRACED + 2)), parent(99, "00"), []]
        process = job.start()
        wait_until(lambda: list(job.shares().values()) == [1, 1], "each worker has a partition", START_S, process)
        topics.produce(
            job.bootstrap, job.inputs[0], values, headers=headers, partitions=(at % 2 for at in range(len(values)))
        )
        wait_until(lambda: sum(job.committed().values()) == len(values), "all are committed", START_S, process)
        process.terminate()
        process.done()
    written = job.predictions() + job.dead_letters()
    spans = {span.span_id: span for span in receiver.spans}
    requests, records = receiver.named("predict model"), receiver.named(f"process {job.inputs[0]}")
    assert len(spans) == len(requests) + len(records)
    assert len(records) == TRACED + 2, "all but the one that is not sampled"
    links = {link.trace_id for request in requests for link in request.links}
    answering = {request.span_id for request in requests}
    for at, came in enumerate(headers):
        source = f"{job.inputs[0]}/{at % 2}/{at // 2}".encode()
        [output] = [it for it in written if dict(it.headers)["inference.source"] == source]
        _, trace, span_id, flags = (dict(output.headers)["traceparent"] or b"").decode().split("-")
        if flags == "00":
            assert output.headers[0] == came[0], "left as it was"
            continue
        span = spans[bytes.fromhex(span_id)]
        assert span.trace_id == bytes.fromhex(trace)
        if came:
            assert (span.trace_id, span.parent_span_id) == ((at + 1).to_bytes(16, "big"), (at + 1).to_bytes(8, "big"))
        if at == TRACED:
            assert plain(span.attributes)["error.type"] == "FieldError"
            assert span.trace_id not in links, "it never reached the model"
        else:
            assert {link.span_id for link in span.links} <= answering
            assert span.links
            assert came == [] or span.trace_id in links
    assert not [span for span in receiver.spans if PAYLOAD in str(span)]
    for asked in [plain(request.attributes) for request in requests]:
        assert (asked["rpc.system"], asked["server.address"], asked["inference.version"]) == ("grpc", "127.0.0.1", "1")
    assert len({it["service.instance.id"] for it in receiver.resources}) >= 2, "each worker has its own name"
    last = receiver.exports[-1]
    [answered], [dead] = last["scoring_predictions"].sum.data_points, last["scoring_spans_lost"].sum.data_points
    assert (answered.as_int, dead.as_int) == (len(values) - 1, 0), "of both workers"
