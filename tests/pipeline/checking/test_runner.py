"""The wait for whom a job is handed to: Beam's job server, and Flink."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.portability.api import beam_job_api_pb2_grpc as api_grpc

from pipeline.checking.runner import check_runner
from pipeline.checking.waiting import StartWait
from tests.http_server import answering
from tests.pipeline.cli.parsing import OWN, parse
from transforms.errors import ContractError, NotReadyError

ELSEWHERE = ("--environment_type=EXTERNAL", "--environment_config=127.0.0.1:1")


class JobServer(api_grpc.JobServiceServicer):
    """One that names no runner."""

    def DescribePipelineOptions(self, request: object, context: object) -> api.DescribePipelineOptionsResponse:
        return api.DescribePipelineOptionsResponse()


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """A port where nobody answers, and which nobody else gets."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def check(*flags: str, come: Callable[[], None] = lambda: None, wait_s: float = 120.0) -> list[str]:
    """Waits for the runner; after the first attempt, ``come``. Returns what was said."""
    now, lines = [0.0], list[str]()

    def pause(seconds: float) -> None:
        now[0] += seconds
        come()

    check_runner(parse(*OWN, *flags), StartWait(wait_s, lambda: now[0], pause, lines.append), lambda: None)
    return lines


def test_a_job_server_that_comes_later() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool, nobody() as port:
        server = grpc.server(pool)
        api_grpc.add_JobServiceServicer_to_server(JobServer(), server)

        def come() -> None:
            server.add_insecure_port(f"127.0.0.1:{port}")
            server.start()

        lines = check("--runner=PortableRunner", f"--job_endpoint=127.0.0.1:{port}", *ELSEWHERE, come=come)
        server.stop(None).wait()
    assert [line.partition(",")[0] for line in lines] == ["waiting for the job server", "the job server is there after 0 s"]
    assert f"--job_endpoint=127.0.0.1:{port}: no job server of Beam answers there" in lines[0]


def flink_at(answer: Callable[[], tuple[int, object]], *more: str) -> list[str]:
    """Asks for Flink at a server that answers so."""

    def respond(request: BaseHTTPRequestHandler) -> None:
        status, document = answer()
        body = json.dumps(document).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(respond) as url:
        return check("--runner=FlinkRunner", f"--flink_master={url}", *more)


def test_flink_that_is_there_and_one_that_is_not_ready_yet() -> None:
    assert flink_at(lambda: (200, {"jobs": []})) == []
    answers = [(503, {"errors": ["not ready"]})]
    lines = flink_at(lambda: answers.pop() if answers else (200, {"jobs": []}))
    assert [line.partition(",")[0] for line in lines] == ["waiting for Flink", "Flink is there after 0 s"]


@pytest.mark.parametrize("answer", [(404, {}), (200, {"hello": 1}), (200, ["a"])])
def test_what_is_not_flink_is_not_waited_for(answer: tuple[int, object]) -> None:
    with pytest.raises(ContractError, match=r"^--flink_master=http://127\.0\.0\.1:\d+: .*Flink's REST interface") as told:
        flink_at(lambda: answer)
    assert not isinstance(told.value, NotReadyError)


def test_who_does_not_come_is_named_as_one_that_may_still_come() -> None:
    """So that the start ends with 1, after which a service manager tries again."""
    with nobody() as port, pytest.raises(NotReadyError, match=rf"^--flink_master=127\.0\.0\.1:{port}: "):
        check("--runner=FlinkRunner", f"--flink_master=127.0.0.1:{port}", wait_s=0.0)


def test_other_runners_have_nobody_to_wait_for() -> None:
    assert check("--runner=DirectRunner") == check("--runner=PrismRunner") == []
