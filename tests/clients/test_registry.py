"""The registry of protocols: what is found by a scheme, and what is said where nothing is."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_model import FakeModel
from transforms.clients import check_uri, open_client, register_client, registry, unregister_client
from transforms.clients.base import ClientOptions, ModelClient
from transforms.errors import ConfigError, NotServedError
from transforms.predict.ask import ask_model, ask_until_served
from transforms.predict.options import DispatchOptions


class Toy:
    """A protocol as a class."""

    @staticmethod
    def parse(uri: str) -> str:
        return uri

    @staticmethod
    def open(uri: str, options: ClientOptions) -> ModelClient:
        return FakeModel().client()


@pytest.fixture
def toy() -> Iterator[str]:
    """A scheme that a test may register, and that is not registered afterwards."""
    yield "toy+http"
    if "toy+http" in registry.schemes():
        unregister_client("toy+http")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are installed in: on the path, as site-packages is."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, entry_point: str) -> None:
    """Installs the distribution kms-toy with one entry point, as an installer leaves it."""
    folder = site / "kms_toy-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: kms-toy\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\n{entry_point}\n")


@pytest.mark.parametrize("host", [r"a\b", "a b", "exämple", "a\x01b", "a{b"])
@pytest.mark.parametrize("scheme", sorted(set(registry.schemes()) - {"saved_model", "vertex", "sagemaker"}))
def test_a_host_that_no_host_is_called(scheme: str, host: str) -> None:
    """yarl and gRPC refuse some of them by errors of their own, and only when they call."""
    with pytest.raises(ConfigError, match=r"characters that no host has|not a URI|can.t stand in a URI"):
        check_uri(f"{scheme}://{host}:80/v1/models/m?task=embeddings")


@pytest.mark.parametrize("scheme", sorted(registry.schemes()))
def test_every_protocol_of_this_package_says_its_form(scheme: str) -> None:
    """The form of the registry is how the protocol's own, longer one begins."""
    form = registry.schemes()[scheme].form
    with pytest.raises(ConfigError) as caught:
        check_uri(f"{scheme}://")
    assert form in str(caught.value)


@pytest.mark.parametrize("uri", ["toy://h:1/m", "grpc:/h:1/m", "", "://", "GRPC://h:1/m"])
def test_an_unknown_scheme_lists_every_form(uri: str) -> None:
    with pytest.raises(ConfigError, match="unknown form") as caught:
        check_uri(uri)
    assert all(entry.form in str(caught.value) for entry in registry.schemes().values())
    assert str(caught.value).count("grpc://HOST:PORT/MODEL[@VERSION]") == 1  # grpcs:// has the same form
    with pytest.raises(ConfigError, match="unknown form"):
        open_client(uri)


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("grcp://h:1/m", "grpc://HOST"),
        ("GRPC://h:1/m", "grpc://HOST"),
        ("tensrflow://h:1/m", "grpc://HOST"),
        ("oip-http://h:1/m", "oip+http://HOST"),
        ("triton://h:1/m", "oip+grpc://HOST"),
        ("s3://bucket/m", "saved_model:///PATH"),
        ("/models/fraud", "saved_model:///PATH"),
    ],
)
def test_an_unknown_scheme_is_asked_about(uri: str, meant: str) -> None:
    """A misspelt one, or the name of a server."""
    with pytest.raises(ConfigError, match=re.escape(f"unknown form; did you mean {meant}")):
        check_uri(uri)


@pytest.mark.parametrize("uri", ["quantum://h:1/m", "h:8500", ""])
def test_nothing_is_suggested_for_what_is_like_none(uri: str) -> None:
    with pytest.raises(ConfigError, match="unknown form; use one of"):
        check_uri(uri)


@pytest.mark.parametrize("client", [Toy, f"{__name__}:Toy", types.SimpleNamespace(parse=Toy.parse, open=Toy.open)])
def test_a_registered_client(toy: str, client: str | registry.ClientFactory) -> None:
    register_client(toy, client, form="toy+http://HOST:PORT/MODEL")
    check_uri("toy+http://h:1/m")
    assert isinstance(open_client("toy+http://h:1/m"), ModelClient)
    with pytest.raises(ConfigError, match=r"toy\+http://HOST:PORT/MODEL"):
        check_uri("unknown://h:1/m")


def test_a_registered_module(toy: str) -> None:
    register_client(toy, "transforms.clients.tfserving.rest")
    check_uri("toy+http://h:1/v1/models/m")


def test_a_scheme_is_not_taken_over_by_accident(toy: str) -> None:
    register_client(toy, Toy)
    register_client(toy, Toy)  # the same again: a module that is imported twice
    for scheme in (toy, "grpc"):
        with pytest.raises(ValueError, match="replace=True"):
            register_client(scheme, "elsewhere")
    register_client("grpc", Toy, replace=True)
    assert registry.parse("grpc://anything goes") == "grpc://anything goes"
    unregister_client("grpc")
    assert next(iter(registry.schemes())) == "grpc"  # its old place in every list
    with pytest.raises(ConfigError, match="grpc://HOST:PORT"):
        check_uri("grpc://anything goes")


@pytest.mark.parametrize("scheme", sorted(registry.schemes()))
def test_the_pattern_fits_every_scheme_and_no_other(scheme: str) -> None:
    assert re.fullmatch(registry.uri_pattern(), f"{scheme}://h:1/m")
    assert not re.fullmatch(registry.uri_pattern(), f"{scheme}x://h:1/m")
    assert not re.fullmatch(registry.uri_pattern(), f"{scheme}://")
    assert not re.fullmatch(registry.uri_pattern(), "oipp+grpc://h:1/m")  # the + of a scheme is a plus sign


@pytest.mark.parametrize("scheme", ["", "Toy", "1toy", "toy://", "to y"])
def test_what_is_no_scheme_is_not_registered(scheme: str) -> None:
    with pytest.raises(ValueError, match="no URI scheme"):
        register_client(scheme, Toy)


# ---- packages that are missing


def test_a_missing_package_is_named_with_what_to_install(toy: str) -> None:
    def open_without(uri: str, options: ClientOptions) -> ModelClient:
        raise ModuleNotFoundError("No module named 'vendor.api'", name="vendor.api")

    register_client(toy, types.SimpleNamespace(parse=Toy.parse, open=open_without), install="kms-toy[vendor]")
    check_uri("toy+http://h:1/m")
    with pytest.raises(ConfigError) as caught:
        open_client("toy+http://h:1/m")
    assert str(caught.value) == (
        "--model=toy+http://h:1/m: toy+http:// needs packages that are not here (vendor.api): pip install 'kms-toy[vendor]'"
    )


def test_a_client_that_is_not_there_at_all(toy: str) -> None:
    """What would bring it is said if the caller has said so; this package would not."""
    register_client(toy, "no_such_package.client")
    with pytest.raises(ConfigError) as caught:
        check_uri("toy+http://h:1/m")
    assert str(caught.value) == (
        "--model=toy+http://h:1/m: toy+http:// needs packages that are not here (no_such_package); "
        "its client is no_such_package.client, added by register_client"
    )
    register_client(toy, "no_such_package.client", install="kms-toy", replace=True)
    with pytest.raises(ConfigError, match=r"\(no_such_package\): pip install 'kms-toy'$"):
        check_uri("toy+http://h:1/m")


def test_a_wrong_import_of_our_own_is_no_missing_package(toy: str) -> None:
    register_client(toy, "transforms.clients.no_such_module")
    with pytest.raises(ModuleNotFoundError, match=r"transforms\.clients\.no_such_module"):
        check_uri("toy+http://h:1/m")


# ---- packages that somebody else installs


def test_an_installed_package_adds_a_protocol(site: Path) -> None:
    install(site, f"toy+http = {__name__}:Toy")
    check_uri("toy+http://h:1/m")
    assert isinstance(open_client("toy+http://h:1/m"), ModelClient)
    with pytest.raises(ConfigError, match=r"toy\+http://…"):
        check_uri("unknown://h:1/m")


def test_what_an_installed_package_lacks_is_in_its_extra(site: Path) -> None:
    install(site, "toy+http = no_such_package.client [grpc]")
    with pytest.raises(ConfigError, match=r"\(no_such_package\): pip install 'kms-toy\[grpc\]'"):
        check_uri("toy+http://h:1/m")


def test_an_installed_package_does_not_replace_a_protocol_of_this_one(site: Path) -> None:
    install(site, f"grpc = {__name__}:Toy")
    with pytest.raises(ConfigError, match="grpc://HOST:PORT"):
        check_uri("grpc://anything goes")


# ---- mistakes in a package that somebody else installs

TOY_CLIENT = """
def parse(uri): return uri
def open(uri, options): return object()
"""


@pytest.fixture
def package(site: Path) -> Iterator[Path]:
    """The folder of the package ``kms_toy``, without an entry point yet."""
    (site / "kms_toy").mkdir()
    (site / "kms_toy" / "__init__.py").touch()
    yield site / "kms_toy"
    for name in [name for name in sys.modules if name.partition(".")[0] == "kms_toy"]:
        del sys.modules[name]


@pytest.fixture
def kms_toy(site: Path, package: Path) -> Path:
    """The module ``kms_toy/client.py``, to write, of an installed package."""
    install(site, "toy+http = kms_toy.client")
    return package / "client.py"


OF_TOY = "--model=toy+http://h:1/m: the client of toy+http:// (kms_toy.client, an entry point of kms-toy)"
DESCRIBED = '; "Add a protocol" in CONTRIBUTING.md describes what a client has'


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def parse(uri): return uri", "kms_toy.client has no function open" + DESCRIBED),
        ("def open(uri, options): return None", "kms_toy.client has no function parse" + DESCRIBED),
        ("parse = None", "kms_toy.client has no function parse and no open" + DESCRIBED),
        ("1 / 0", "kms_toy.client can't be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "kms_toy.client can't be imported: SystemExit: 3"),
        ("import kms_toy.nothing", "ModuleNotFoundError: No module named 'kms_toy.nothing'"),
        ("import numpy.nothing", "ModuleNotFoundError: No module named 'numpy.nothing'"),
        ("import transforms.clients.nothing", "ModuleNotFoundError: No module named 'transforms.clients.nothing'"),
        (TOY_CLIENT, "open returned object, no ModelClient" + DESCRIBED),
    ],
)
def test_a_mistake_in_a_client_is_named(kms_toy: Path, code: str, said: str) -> None:
    """None is a traceback, and none says to install what is installed."""
    kms_toy.write_text(code)
    with pytest.raises(ConfigError) as caught:
        open_client("toy+http://h:1/m")
    assert str(caught.value) == f"{OF_TOY} can't be used: {said}"
    if code != TOY_CLIENT:
        with pytest.raises(ConfigError) as caught_by_check:
            check_uri("toy+http://h:1/m")
        assert str(caught_by_check.value) == str(caught.value)


@pytest.mark.parametrize("origin", ["kms_toy", "numpy", "transforms.clients"])
def test_a_name_that_an_installed_package_has_not(kms_toy: Path, origin: str) -> None:
    kms_toy.write_text(f"from {origin} import nothing")
    with pytest.raises(
        ConfigError, match=f"can't be used: ImportError: cannot import name 'nothing' from '{origin}'"
    ) as caught:
        check_uri("toy+http://h:1/m")
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("import no_such_package", "no_such_package"),
        ("import no_such_package.api", "no_such_package"),
        ("import vendor_space.api", "vendor_space.api"),
        ("from vendor_space import api", "vendor_space"),
    ],
)
def test_what_is_not_installed_is_said_to_be(kms_toy: Path, code: str, missing: str) -> None:
    """A package without an ``__init__``, as ``google.cloud``, may be there for another distribution of its parts."""
    (kms_toy.parent.parent / "vendor_space").mkdir()
    kms_toy.write_text(code)
    with pytest.raises(ConfigError, match=rf"not here \({missing}\): pip install 'kms-toy'"):
        check_uri("toy+http://h:1/m")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("KeyError('port')", "KeyError: 'port'"),
        ("ValueError('no port in it')", "ValueError: no port in it"),
        ("OSError(2, 'No such file')", "FileNotFoundError: [Errno 2] No such file"),
        ("SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_what_an_outside_client_raises_is_an_error_that_names_its_package(kms_toy: Path, raised: str, said: str) -> None:
    kms_toy.write_text(f"def parse(uri): raise {raised}\ndef open(uri, options): raise {raised}")
    for call, function in ((check_uri, "parse"), (open_client, "open")):
        with pytest.raises(ConfigError) as caught:
            call("toy+http://h:1/m")
        assert str(caught.value) == f"{OF_TOY} can't be used: {function} raised {said}"


METADATA_RAISES = """
from transforms.clients.base import ModelClient
class Client(ModelClient):
    async def metadata(self, timeout_s): {}
    async def predict(self, inputs, rows, timeout_s): ...
    async def close(self): ...
def parse(uri): return uri
def open(uri, options): return Client()
"""


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("raise KeyError('signature')", "metadata raised KeyError: 'signature'"),
        ("raise ConnectionRefusedError(111, 'refused')", "metadata raised ConnectionRefusedError: [Errno 111] refused"),
        ("raise SystemExit(3)", "metadata raised SystemExit: 3"),
        ("return {'signature': 1}", "metadata returned dict, no ModelMetadata" + DESCRIBED),
        ("import kms_toy.nothing", "ModuleNotFoundError: No module named 'kms_toy.nothing'"),
    ],
)
def test_what_an_outside_client_raises_when_the_job_starts(kms_toy: Path, metadata: str, said: str) -> None:
    """The command line ends with status 2 for a ``ConfigError``; anything else was a traceback."""
    kms_toy.write_text(METADATA_RAISES.format(metadata))
    with pytest.raises(ConfigError) as caught:
        ask_model("toy+http://h:1/m", None, 1.0)
    assert str(caught.value) == f"{OF_TOY} can't be used: {said}"
    with pytest.raises(ConfigError) as caught:
        ask_until_served("toy+http://h:1/m", None, DispatchOptions())
    assert str(caught.value) == f"{OF_TOY} can't be used: {said}"


def test_a_model_error_of_an_outside_client_is_left_as_it_is(kms_toy: Path) -> None:
    kms_toy.write_text(METADATA_RAISES.format("from transforms.errors import NotServedError; raise NotServedError('gone')"))
    with pytest.raises(NotServedError, match=r"^gone$"):
        ask_model("toy+http://h:1/m", None, 1.0)


def test_what_a_registered_client_raises_is_an_error_that_says_so(toy: str) -> None:
    register_client(toy, types.SimpleNamespace(__name__="Broken", parse=lambda: None, open=Toy.open))
    with pytest.raises(ConfigError, match=r"\(Broken, added by register_client\) can't be used: parse raised TypeError"):
        check_uri("toy+http://h:1/m")


def test_an_error_of_the_job_is_left_as_the_client_raises_it(kms_toy: Path) -> None:
    raising = "from transforms.errors import ConfigError\ndef {}: raise ConfigError(['--model: a port is needed'])\n"
    kms_toy.write_text(raising.format("parse(uri)") + raising.format("open(uri, options)"))
    for call in (check_uri, open_client):
        with pytest.raises(ConfigError) as caught:
            call("toy+http://h:1/m")
        assert caught.value.mistakes == ("--model: a port is needed",)


def test_a_fault_of_this_package_keeps_its_traceback() -> None:
    """It is ours to mend, not the user's."""
    with pytest.raises(ZeroDivisionError), registry.mistakes_named("grpc://h:1/m", "parse"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("no_such_package.client", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("no_such_package:Toy", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("kms_toy.absent", "ModuleNotFoundError: No module named 'kms_toy.absent'"),
        ("two words", "ModuleNotFoundError: No module named 'two words'"),
        ("kms_toy.", "ModuleNotFoundError: No module named 'kms_toy.'"),
    ],
)
@pytest.mark.usefixtures("package")
def test_an_entry_point_without_its_module_names_the_package_that_has_it(site: Path, value: str, problem: str) -> None:
    """The package is installed: to install it again, or an extra of ours, is no cure."""
    install(site, f"toy+http = {value}")
    with pytest.raises(ConfigError) as caught:
        check_uri("toy+http://h:1/m")
    named = f"({value}, an entry point of kms-toy)"
    assert str(caught.value) == f"--model=toy+http://h:1/m: the client of toy+http:// {named} can't be used: {problem}"
    assert "grpc" in registry.schemes()  # the others can be used


def test_spaces_in_an_entry_point_are_not_of_its_name(site: Path) -> None:
    install(site, f"toy+http = {__name__} : Toy [grpc]")
    check_uri("toy+http://h:1/m")


def test_a_class_that_is_not_in_the_module(toy: str) -> None:
    register_client(toy, f"{__name__}:NoSuchClass")
    with pytest.raises(ConfigError, match=f"test_registry has no NoSuchClass{DESCRIBED}"):
        check_uri("toy+http://h:1/m")
