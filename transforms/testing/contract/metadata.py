"""``MetadataContract``: tests of metadata, versions, labels, signatures, headers and TLS."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from transforms.clients import open_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.errors import (
    CertificateError,
    ConfigError,
    ModelError,
    NotServedError,
    RejectedError,
    UnavailableError,
)
from transforms.testing.contract.certificates import write_certificates
from transforms.testing.faults import Kind
from transforms.testing.stub_model import StubModel
from transforms.testing.stub_server import StubServer, Tls
from transforms.types import METHOD_PREDICT, Signature, TensorSpec

T = TypeVar("T")
TIMEOUT_S = 20.0


def rows_of(count: int, width: int = 3) -> np.ndarray:
    """Returns x [count, width], float32. All numbers differ, so that a shifted row is noticed."""
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


class MetadataContract:
    """Tests of a model's metadata, and the attributes that describe a protocol.

    Attributes:
        stub_class: The protocol's stub server.
        dtypes: The dtypes that requests and answers can have; empty if answers have no dtype.
        has_signature: Whether the server publishes signatures.
        has_labels: Whether a URI can name a version by a label.
        tells_version: Whether the server says which version answers.
        max_rows: The highest number of rows of a request; ``None`` if the protocol has no limit.
        visible_kinds: The kinds of faults that a client can detect in an answer.
        poison_error: The error for a batch with a guilty row.
        sole_output: The name that the client gives to an output without a name; ``None`` if all outputs have names.
        where: The text that names the model in error messages.
    """

    stub_class: type[StubServer]
    dtypes: tuple[str, ...]
    has_signature = True
    has_labels = True
    tells_version = True
    max_rows: int | None = None
    visible_kinds: tuple[Kind, ...] = ("short", "long", "scalar", "wrong_dtype", "no_outputs", "malformed")
    poison_error: type[ModelError] = RejectedError
    sole_output: str | None = None
    where = "model model"

    @pytest.fixture
    def stub(self) -> Iterator[StubServer]:
        """A running stub server, one for each test."""
        with self.stub_class() as stub:
            yield stub

    def at_most(self, rows: int) -> int:
        """Returns ``rows``, limited to ``max_rows``."""
        return min(rows, self.max_rows or rows)

    def open(self, uri: str, options: ClientOptions | None = None) -> ModelClient:
        """Returns a new client of a URI. Override it if the tests need other settings, such as shorter intervals."""
        return open_client(uri, options)

    def use(
        self,
        stub: StubServer,
        work: Callable[[ModelClient], Awaitable[T]],
        uri: str | None = None,
        options: ClientOptions | None = None,
    ) -> T:
        """Makes a client, reads the metadata, runs ``work`` and closes the client.

        Args:
            stub: The server.
            work: Called with the client.
            uri: The model URI; the URI of the stub if ``None``.
            options: The options of the client.

        Returns:
            The result of ``work``.
        """

        async def run() -> T:
            async with self.open(uri or stub.uri(), options) as client:
                await client.metadata(TIMEOUT_S)
                return await work(client)

        return asyncio.run(run())

    def predict(self, stub: StubServer, x: np.ndarray, timeout_s: float = TIMEOUT_S) -> Any:
        """Sends one request with ``x`` as the only input and returns the answer."""
        return self.use(stub, lambda client: client.predict({"x": x}, len(x), timeout_s))

    def output(self, answer: Any, name: str = "y") -> Any:
        """Returns the output ``name`` of an answer, or the only output if the protocol does not name it."""
        return answer.outputs[self.sole_output or name]

    def needs_signatures(self) -> None:
        """Skips the test if the server publishes no signatures."""
        if not self.has_signature:
            pytest.skip("the server publishes no signatures")

    def needs_versions(self) -> None:
        """Skips the test if the server says no version."""
        if not self.tells_version:
            pytest.skip("the server says no version")

    def metadata_error(self, uri: str) -> Exception:
        """Reads the metadata of a URI, which must fail, and returns the error."""

        async def run() -> Exception:
            async with self.open(uri) as client:
                with pytest.raises((NotServedError, UnavailableError)) as caught:
                    await client.metadata(TIMEOUT_S)
                return caught.value

        return asyncio.run(run())

    # ---- metadata, versions, signatures

    def test_metadata(self, stub: StubServer) -> None:
        """The metadata name the model, its highest version that is available, and its signature."""
        stub.model.versions = {3: "AVAILABLE", 4: "AVAILABLE", 5: "LOADING"}

        async def work(client: ModelClient) -> Any:
            return await client.metadata(TIMEOUT_S)

        metadata = self.use(stub, work)
        assert (metadata.model, metadata.version) == ("model", "4" if self.tells_version else "")
        assert metadata.max_rows == self.max_rows
        assert metadata.signature.known == self.has_signature
        assert not self.has_signature or metadata.signature == stub.model.signatures["serving_default"][0]

    @pytest.mark.parametrize("shape", [None, (), (2, 3), (-1, 4)])
    def test_shapes_of_the_signature(self, stub: StubServer, shape: tuple[int, ...] | None) -> None:
        """Shapes keep unknown ranks, scalars and unknown dimensions."""
        self.needs_signatures()
        stub.model = StubModel.of({"x": TensorSpec("int32", shape)}, {"y": TensorSpec("string", shape)}, dict)

        async def work(client: ModelClient) -> Any:
            return (await client.metadata(TIMEOUT_S)).signature

        signature = self.use(stub, work)
        assert signature.inputs == {"x": TensorSpec("int32", shape)}
        assert signature.outputs == {"y": TensorSpec("string", shape)}

    def test_a_version_and_a_label_in_the_uri(self, stub: StubServer) -> None:
        """A URI without a version gets the highest one; a version or label in it chooses another."""
        self.needs_versions()
        stub.model.versions = {1: "AVAILABLE", 2: "AVAILABLE"}
        stub.model.labels = {"stable": 1}

        async def work(client: ModelClient) -> Any:
            return (await client.metadata(TIMEOUT_S)).version, (
                await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)
            ).version

        assert self.use(stub, work) == ("2", "2")
        assert self.use(stub, work, stub.uri(version=1)) == ("1", "1")
        if self.has_labels:
            assert self.use(stub, work, stub.uri(label="stable")) == ("1", "1")

    def test_a_version_flip_is_noticed(self, stub: StubServer) -> None:
        """Answers have the new version after the server has changed it."""
        self.needs_versions()

        async def work(client: ModelClient) -> str:
            assert (await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)).version == "1"
            stub.model.flip(2)
            version = "1"
            async with asyncio.timeout(TIMEOUT_S):
                while version == "1":
                    version = (await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)).version
            return version

        assert self.use(stub, work) == "2"

    def test_an_unknown_model_version_and_label(self, stub: StubServer) -> None:
        """Unknown names raise ``NotServedError``, which lists the versions of the model."""
        self.needs_versions()
        stub.model.versions = {7: "AVAILABLE"}
        unknown = [stub.uri(model="other"), stub.uri(version=8)]
        for uri in [*unknown, stub.uri(label="no_such")] if self.has_labels else unknown:
            error = self.metadata_error(uri)
            assert isinstance(error, NotServedError), uri
        assert re.search(r"\b7 \((AVAILABLE|READY)\)", str(self.metadata_error(stub.uri(version=8))))

    def test_a_model_still_loading_is_not_available_yet(self, stub: StubServer) -> None:
        """A model that is loading raises ``UnavailableError``, so that callers retry."""
        stub.model.versions = {1: "LOADING"}
        error = self.metadata_error(stub.uri())
        assert isinstance(error, UnavailableError)
        assert "loading" in str(error)

    def test_the_signature_asked_for(self, stub: StubServer) -> None:
        """``?signature=NAME`` chooses a signature; an unknown one raises ``NotServedError``, which lists the others."""
        self.needs_signatures()
        spec = TensorSpec("float32", (-1,))
        twice = Signature("twice", METHOD_PREDICT, {"x": spec}, {"z": spec})
        stub.model.signatures["twice"] = (twice, lambda inputs: {"z": inputs["x"] * 2})
        answer = self.use(
            stub, lambda client: client.predict({"x": np.ones(2, np.float32)}, 2, TIMEOUT_S), stub.uri(signature="twice")
        )
        assert list(answer.outputs) == ["z"]
        error = self.metadata_error(stub.uri(signature="thrice"))
        assert isinstance(error, NotServedError)
        assert "serving_default, twice" in str(error)

    def test_the_only_signature_needs_no_name(self, stub: StubServer) -> None:
        """The only signature of a model is used, whatever its name."""
        spec = TensorSpec("float32", (-1,))
        stub.model = StubModel.of({"x": spec}, {"y": spec}, lambda i: {"y": i["x"]}, signature="only")
        ones = np.ones(self.at_most(2), np.float32)
        answer = self.use(stub, lambda client: client.predict({"x": ones}, len(ones), TIMEOUT_S))
        assert list(self.output(answer)) == list(ones)

    def test_model_or_signature_gone_while_running(self, stub: StubServer) -> None:
        """The error is ``NotServedError``: the records are not at fault, so bisection would not help."""

        async def work(client: ModelClient) -> None:
            if self.has_signature:
                signatures, stub.model.signatures = stub.model.signatures, {}
                with pytest.raises(NotServedError):
                    await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)
                stub.model.signatures = signatures
            stub.model.versions = {}
            with pytest.raises(NotServedError):
                await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)

        self.use(stub, work)

    def test_headers_travel_and_stay_secret(self, stub: StubServer) -> None:
        """Headers of the options are sent, and their values are not in ``repr``."""
        options = ClientOptions(headers=(("authorization", "Bearer s3cret"),))
        assert "s3cret" not in repr(options)

        async def run() -> Any:
            async with self.open(stub.uri(), options) as client:
                await client.metadata(TIMEOUT_S)
                return await client.predict({"x": rows_of(1)}, 1, TIMEOUT_S)

        asyncio.run(run())
        assert ("authorization", "Bearer s3cret") in stub.faults.last_headers

    # ---- TLS

    @staticmethod
    def over_tls(uri: str) -> str:
        """Returns a URI that asks for TLS where ``uri`` does not."""
        scheme, _, rest = uri.partition("://")
        return f"{scheme}s://{rest}"

    @pytest.mark.parametrize(
        ("server", "trusts", "said"),
        [
            ("server", False, "of an authority that is not trusted here"),
            ("elsewhere", True, "for another host name"),
            ("expired", True, "has expired"),
        ],
    )
    def test_a_certificate_that_is_no_good_is_told_apart(self, tmp_path: Path, server: str, trusts: bool, said: str) -> None:
        """Each has another cure."""
        write_certificates(tmp_path)
        options = ClientOptions(tls_ca_file=str(tmp_path / "ca.pem") if trusts else None)

        async def ask() -> None:
            async with self.open(stub.uri(), options) as client:
                await client.metadata(TIMEOUT_S)

        identity = Tls(tmp_path / f"{server}.pem", tmp_path / f"{server}.key")
        with self.stub_class(tls=identity) as stub, pytest.raises(CertificateError, match=said):
            asyncio.run(ask())

    def test_a_server_that_speaks_no_tls(self) -> None:
        """No waiting cures it."""

        async def ask() -> None:
            async with self.open(uri, ClientOptions()) as client:
                await client.metadata(TIMEOUT_S)

        with self.stub_class() as stub:
            uri = self.over_tls(stub.uri())
            with pytest.raises(CertificateError, match="does not speak TLS"):
                asyncio.run(ask())

    def test_mutual_tls(self, tmp_path: Path) -> None:
        """A client needs the authority's certificate and one of its own; a wrong path is named."""
        write_certificates(tmp_path)
        pem = {name: str(tmp_path / name) for name in ("ca.pem", "client.pem", "client.key")}
        full = ClientOptions(tls_ca_file=pem["ca.pem"], tls_cert_file=pem["client.pem"], tls_key_file=pem["client.key"])

        async def model(options: ClientOptions) -> str:
            async with self.open(stub.uri(), options) as client:
                return (await client.metadata(TIMEOUT_S)).model

        with self.stub_class(tls=Tls(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")) as stub:
            assert asyncio.run(model(full)) == "model"
            with pytest.raises(CertificateError, match="not trusted here"):
                asyncio.run(model(ClientOptions()))
            # The stubs close the connection without a word: they are asyncio's.
            with pytest.raises(UnavailableError, match=r"wants a certificate of its clients.*--model_cert_file"):
                asyncio.run(model(ClientOptions(tls_ca_file=pem["ca.pem"])))
            with pytest.raises(ConfigError, match=r"tls_ca_file=/no/such\.pem"):
                asyncio.run(model(ClientOptions(tls_ca_file="/no/such.pem")))
