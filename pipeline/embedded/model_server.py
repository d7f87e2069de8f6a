"""Starts the embedded model server in its own process.

So TensorFlow's threads and memory are not in the pipeline's process, and the server starts (about a second) while the
pipeline imports Beam: ``start`` returns at once.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from pipeline.embedded.digits import MODEL_DIR, MODEL_NAME
from pipeline.embedded.server_config import POLL_S
from transforms.child_process import module_command, module_environ
from transforms.errors import ScoringError

_STOP_S = 5.0
_SHOWN_CHARACTERS = 2000


class EmbeddedModelServer:
    """A model server in a child process, which ends when this process ends.

    Usage::

        server = EmbeddedModelServer().start()
        import apache_beam
        grpc_port, rest_port = server.wait_ready(60)

    Args:
        models: Model name to the folder of its version folders; the digits model if ``None``.
        labels: ``(model, label)`` to version.
        all_versions: Serve every version, not only the newest and the labelled ones.
        tensor_content: Answer with ``tensor_content`` rather than typed values.
        grpc_port: The gRPC port; 0 for a free one.
        rest_port: The REST port; 0 for a free one.
        poll_s: Seconds between two looks for other versions; 0 for none after the start.
    """

    def __init__(
        self,
        models: Mapping[str, Path | str] | None = None,
        *,
        labels: Mapping[tuple[str, str], int] | None = None,
        all_versions: bool = False,
        tensor_content: bool = False,
        grpc_port: int = 0,
        rest_port: int = 0,
        poll_s: float = POLL_S,
    ):
        flags = [f"--grpc_port={grpc_port}", f"--rest_port={rest_port}", "--json", "--exit_with_parent"]
        flags += [f"--model={name}={path}" for name, path in (models or {MODEL_NAME: MODEL_DIR}).items()]
        flags += [f"--label={name}:{label}={version}" for (name, label), version in (labels or {}).items()]
        flags += [f"--file_system_poll_wait_seconds={poll_s}"]
        flags += ["--all_versions"] * all_versions + ["--tensor_content"] * tensor_content
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._answered = threading.Event()
        self._line = b""

    @property
    def pid(self) -> int | None:
        """The child's process id; ``None`` before ``start`` and after ``close``."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Starts the process and returns at once."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        self._process = subprocess.Popen(
            module_command("pipeline.embedded", *self._flags),
            stdin=subprocess.PIPE,  # the child ends when this pipe closes
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=module_environ() | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            start_new_session=True,  # Ctrl-C on the terminal is for the pipeline, which still needs answers to drain
        )
        threading.Thread(target=self._read, args=(self._process,), name="embedded-model-server", daemon=True).start()
        return self

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._line = process.stdout.readline()
        self._answered.set()

    def wait_ready(self, timeout_s: float = 60.0) -> tuple[int, int]:
        """Waits until every model is loaded and both ports answer; returns ``(grpc_port, rest_port)``.

        Raises:
            ScoringError: The server is not ready in time, or it ended; the message has its output.
        """
        if self._process is None:
            raise ScoringError("the embedded model server is not started")
        in_time = self._answered.wait(timeout_s)
        if in_time and self._line:
            ready = json.loads(self._line)
            return ready["grpc_port"], ready["rest_port"]
        happened = "ended" if in_time else f"was not ready after {timeout_s:g} s"
        said = self._said()
        self.close()
        raise ScoringError(f"the embedded model server {happened}" + (f": {said}" if said else ""))

    def _said(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace")[-_SHOWN_CHARACTERS:].strip()
        return "\n".join(line.removeprefix("error: ") for line in said.splitlines())  # who prints it prefixes it anew

    def close(self) -> None:
        """Stops the process. May be called twice."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if self._errors is not None:
            self._errors.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()
