"""What the two stubs of the Open Inference Protocol share: traits, versions and the repository index."""

from __future__ import annotations

import argparse
import dataclasses
import signal
from typing import ClassVar

from transforms.testing.faults import StubError
from transforms.testing.stub_model import Function, StubModel
from transforms.testing.stub_server import StubServer, Tls
from transforms.types import Signature

_STATES = {"AVAILABLE": "READY", "LOADING": "LOADING", "START": "LOADING", "UNLOADING": "UNLOADING"}

EXTENSIONS = ("model_configuration", "model_repository", "binary_tensor_data")


@dataclasses.dataclass
class OipTraits:
    """The differences between Open Inference Protocol servers. They may be changed while the server runs.

    Attributes:
        extensions: The extensions of the server. ``model_configuration``: it answers Triton's model configuration;
            ``model_repository``: it lists its models; ``binary_tensor_data``: raw tensors over REST.
        max_batch_size: The value in the model's configuration. To refuse larger requests, set ``faults.max_batch``.
        ready: Whether the model is ready.
        declares: Whether the metadata have the model's inputs and outputs.
        typed: Whether gRPC answers have typed contents instead of raw ones.
        null_for_nan: Whether JSON answers have null for NaN and infinities, as with MLServer and KServe.
        tells_version: Whether an answer names its version.
    """

    extensions: tuple[str, ...] = EXTENSIONS
    max_batch_size: int = 0
    ready: bool = True
    declares: bool = True
    typed: bool = False
    null_for_nan: bool = False
    tells_version: bool = True

    def must_have(self, extension: str) -> None:
        """Checks that the server has an extension.

        Raises:
            StubError: UNIMPLEMENTED: it does not.
        """
        if extension not in self.extensions:
            raise StubError("UNIMPLEMENTED", f"no {extension} here", http_status=404)


class OipStub(StubServer):
    """The Open Inference Protocol with one model and programmable faults, over one of its transports. See ``StubServer``.

    Attributes:
        scheme: That of its URIs, without TLS.
        traits: The differences from other servers of the protocol.
    """

    scheme: ClassVar[str]

    def __init__(self, model: StubModel | None = None, port: int = 0, tls: Tls | None = None):
        super().__init__(model, port, tls)
        self.traits = OipTraits()

    def uri(
        self, model: str | None = None, version: int | None = None, label: str | None = None, signature: str | None = None
    ) -> str:
        """See ``StubServer``. A label is a version that is not a number. Signatures are ignored."""
        asked = version if version is not None else label
        query = f"?signature={signature}" if signature else ""
        scheme = f"{self.scheme}s" if self._tls else self.scheme
        return f"{scheme}://{self.address}/{model or self.model.name}{'' if asked is None else f'/{asked}'}{query}"


def served(model: StubModel, name: str, version: str) -> tuple[int, Signature, Function]:
    """Returns the version that answers a request, its signature and function.

    The protocol has one signature per model: here ``serving_default``, or the first one if there is none of that name.

    Raises:
        StubError: NOT_FOUND, in Triton's words.
    """
    try:
        number = int(version) if version.isdecimal() else None
        answering = model.version(name, number, version if version and number is None else None)
    except StubError as error:
        asked = f"'{name}'{f' version {version}' if version else ''}"
        raise StubError("NOT_FOUND", f"Request for unknown model: {asked} is not found") from error
    if not model.signatures:
        raise StubError("NOT_FOUND", f"Request for unknown model: '{name}' is not found")
    signature, function = model.signatures.get("serving_default") or next(iter(model.signatures.values()))
    return answering, signature, function


def listed(model: StubModel, version: str) -> list[str]:
    """Returns the versions in the model's metadata: those that answer, or the one asked for."""
    available = sorted(number for number, state in model.versions.items() if state == "AVAILABLE")
    return [version] if version else [str(number) for number in available]


def index(model: StubModel) -> list[dict[str, str]]:
    """Returns the repository's index: an entry for each version, with its state."""
    return [
        {"name": model.name, "version": str(number), "state": _STATES.get(state, "UNAVAILABLE"), "reason": ""}
        for number, state in model.versions.items()
    ]


def serve(kind: type[StubServer], description: str | None) -> None:
    """Runs a stub as a program: prints its port as the first line, and serves until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--model", default="model", help="the model's name")
    parser.add_argument("--latency_ms", type=float, default=0.0, help="what every request takes")
    flags = parser.parse_args()
    stub = kind(StubModel(name=flags.model), flags.port)
    stub.faults.latency_s = flags.latency_ms / 1000
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # before the threads start: they inherit it
    with stub:
        print(stub.port, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
