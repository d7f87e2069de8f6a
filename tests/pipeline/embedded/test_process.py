"""``python -m pipeline.embedded`` as a process: flags, readiness, signals, the parent's death."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pipeline.embedded.model_server import EmbeddedModelServer
from pipeline.embedded.options import parse
from tests.pipeline.embedded.servers import KINDS_DIR, Served
from tests.processes import alive
from tests.processes import ended as has_ended
from transforms.errors import ConfigError, ScoringError

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "pipeline.embedded"]


def test_everything_by_default(tmp_path: Path) -> None:
    """Broker, model server and generator start together, say where, are quiet, and end with status 0 on SIGTERM."""
    ready_file = tmp_path / "ready.json"
    process = subprocess.Popen(
        [*COMMAND, "--grpc_port=0", "--rest_port=0", "--generate=digits", f"--ready_file={ready_file}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    assert [line.split()[0] for line in lines] == ["kafka", "grpc", "rest", "published"], process.stderr
    assert lines[3].strip() == "published 1797 images and 20 broken records to digits"
    ready = json.loads(ready_file.read_text())
    assert ready["pid"] == process.pid
    assert ready["models"] == {"digits": [1]}
    url = lines[2].split()[1]
    assert url == f"http://127.0.0.1:{ready['rest_port']}/v1/models/digits"
    with urllib.request.urlopen(url, timeout=10) as response:
        assert b"AVAILABLE" in response.read()
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (0, "", "")


def test_ends_with_its_parent() -> None:
    """A parent that is killed takes the server along."""
    code = (
        "import os, signal\n"
        "from pipeline.embedded.model_server import EmbeddedModelServer\n"
        "server = EmbeddedModelServer().start()\n"
        "server.wait_ready()\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert has_ended([int(ended.stdout)])


def test_close_stops_the_process() -> None:
    """Closing, also twice and before it is ready, leaves no process behind."""
    server = EmbeddedModelServer({"kinds": KINDS_DIR})
    server.close()
    pid = server.start().pid
    assert pid is not None
    server.close()
    server.close()
    assert not alive(pid)
    assert server.pid is None


def test_wait_ready_tells_what_went_wrong(tmp_path: Path) -> None:
    """A model that can't be loaded, or is not there, is an error with the server's own words."""
    broken = tmp_path / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"no model")
    for path, message in ((tmp_path / "broken", "model broken: can't load"), (tmp_path / "none", "there is no folder")):
        server = EmbeddedModelServer({"broken": path}).start()
        pid = server.pid
        with pytest.raises(ScoringError, match=message):
            server.wait_ready(60)
        assert pid is not None
        assert not alive(pid)
    with pytest.raises(ScoringError, match="not started"):
        EmbeddedModelServer().wait_ready(1)


def test_too_late_is_an_error() -> None:
    """Not ready in time: an error, and no process left."""
    server = EmbeddedModelServer().start()
    pid = server.pid
    with pytest.raises(ScoringError, match=r"not ready after 0\.001 s"):
        server.wait_ready(0.001)
    assert pid is not None
    assert not alive(pid)


@pytest.mark.parametrize("flag", ["--grpc_port", "--rest_port", "--kafka_port"])
def test_port_in_use(served: Served, flag: str) -> None:
    """A port in use is a failure that says so, not a second server on it."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as another server of gRPC's would
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*COMMAND, f"{flag}={port}"], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
        )
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}; is the port in use?" in ended.stderr


NO_TENSORFLOW = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "tensorflow" else found(name, *more)
"""
NOT_HERE = "a SavedModel is run by TensorFlow, which is not installed here: pip install 'kafka-model-scoring[embedded]'"
UNTESTED = """
from transforms.clients.tf_runtime import library
library.TESTED = ((99, 0), (99, 0))
"""


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("pipeline.embedded", NO_TENSORFLOW, f"error: {NOT_HERE}"),
        ("pipeline", NO_TENSORFLOW, f"error: the embedded model server ended: {NOT_HERE}"),
        ("pipeline.embedded", UNTESTED, "error: TensorFlow 2."),
    ],
)
def test_without_its_tensorflow_it_ends_with_2_and_says_so_once(program: str, code: str, said: str, tmp_path: Path) -> None:
    """On its own, and for the pipeline, whose demo starts it: nothing has been served, so it is no failure while running."""
    (tmp_path / "sitecustomize.py").write_text(code)  # for the process, and for the server that it starts
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment, check=False)
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith(said)
    assert line.count("error: ") == 1


def test_all_mistakes_at_once() -> None:
    """Every wrong flag is named with what is expected."""
    with pytest.raises(ConfigError) as raised:
        parse(
            [
                *("--grpc_port=x", "--kafka_port=70000", "--rate=-1", "--topic=t:0", "--bootstrap_servers=h:1"),
                *("--model=a", "--model=b=/none", "--label=c:d=1"),
            ]
        )
    text = "\n".join(raised.value.mistakes)
    for flag in ("--grpc_port=x", "--kafka_port=70000", "--model=a", "--label=c:d=1", "--rate=-1", "--topic=t:0"):
        assert f"{flag}:" in text
    assert "--model=b=/none: there is no folder /none" in text
    assert "--generate TOPIC" in text


def test_version_folders_are_checked(tmp_path: Path) -> None:
    """A path that is itself a version, and a label without its version, are told with the cure."""
    with pytest.raises(ConfigError, match=f"give the folder above it, {KINDS_DIR}"):
        parse([f"--model=kinds={KINDS_DIR / '1'}"])
    with pytest.raises(ConfigError, match=r"has no version folder; expected .*/1/saved_model.pb"):
        parse([f"--model=empty={tmp_path}"])
    with pytest.raises(ConfigError, match=r"labels \{'stable': 3\} name versions that are not there; it has 1"):
        parse([f"--model=kinds={KINDS_DIR}", "--label=kinds:stable=3"])


def test_only_what_is_asked_for() -> None:
    """Without flags broker and models; with flags only what they name."""

    def parts(*flags: str) -> tuple[bool, bool, bool, bool]:
        config = parse(flags)
        server = config.server
        grpc_on = server is not None and server.grpc_port is not None
        rest_on = server is not None and server.rest_port is not None
        return config.kafka_port is not None, grpc_on, rest_on, config.generate is not None

    assert parts() == (True, True, True, False)
    assert parts("--kafka_port=0") == (True, False, False, False)
    assert parts("--grpc_port=0") == (False, True, False, False)
    assert parts("--rest_port=0") == (False, False, True, False)
    assert parts(f"--model=kinds={KINDS_DIR}") == (False, True, True, False)
    assert parts("--generate=t") == (True, False, False, True)
    assert parts("--generate=t", "--bootstrap_servers=h:1") == (False, False, False, True)


def test_tensorflow_python_is_not_imported() -> None:
    """The server needs TensorFlow's C library only: importing the Python package would cost it 7 s and more."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline.embedded.servable import ModelConfig, Models\n"
        "from pipeline.embedded.digits import MODEL_DIR\n"
        "models = Models([ModelConfig('digits', MODEL_DIR)])\n"
        "assert models.names == {'digits': [1]}\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
