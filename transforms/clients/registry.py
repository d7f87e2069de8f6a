"""The registry of model-server protocols: URI scheme to the module or class that speaks it.

Nothing is imported before its scheme is used. There are three ways into the registry:

* the protocols of this package are in ``_BUILT_IN``;
* ``register_client`` adds one in this process, for a notebook or a test;
* a package of somebody else names its protocol in the entry-point group ``kafka_model_scoring.clients``, with the scheme as
  the entry point's name. Every process of an environment in which that package is installed finds it, Beam's workers too::

      [project.entry-points."kafka_model_scoring.clients"]
      "toy+http" = "kms_toy.client"

A client is a module, or a class with static methods, that has ``parse`` and ``open``: see ``ClientFactory``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib.metadata
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, cast

from transforms.clients.base import ClientOptions, ModelClient
from transforms.clients.checked import ask_metadata
from transforms.clients.imported import DESCRIBED, ClientMistakeError, is_not_installed, load
from transforms.clients.selection import select_outputs
from transforms.clients.uri import has_login, login_mistake, mistake, shown
from transforms.errors import ConfigError, ScoringError
from transforms.types import ModelMetadata

ENTRY_POINT_GROUP = "kafka_model_scoring.clients"
"""The group in which an installed package names its protocols."""

DISTRIBUTION = "kafka-model-scoring"

_REGISTERED = "added by register_client"
_OURS = __name__.partition(".")[0]
_SCHEME = re.compile(r"[a-z][a-z0-9+._-]*")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class ClientFactory(Protocol):
    """What a scheme is registered with: a module, or a class with static methods."""

    def parse(self, uri: str, /) -> object:
        """Checks a URI without any I/O.

        Raises:
            ConfigError: It can't be used; the message says what form is expected.
        """

    def open(self, uri: str, options: ClientOptions, /) -> ModelClient:
        """Makes the client. Does no I/O.

        Raises:
            ConfigError: The URI can't be used.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One scheme of the registry.

    Attributes:
        client: ``package.module`` or ``package.module:Class``, imported on first use; or the module or class itself.
        form: The URI's form, for error messages. Schemes that differ only in TLS share one.
        install: What ``pip install`` takes to bring the packages that the client imports; empty if that is not known.
        added_by: What added the scheme, for error messages: an entry point and its package, or ``register_client``; empty
            for a protocol of this package.
    """

    client: str | ClientFactory
    form: str
    install: str = DISTRIBUTION
    added_by: str = ""

    @property
    def described(self) -> str:
        """The client and what added it, for error messages."""
        name = self.client if isinstance(self.client, str) else getattr(self.client, "__name__", repr(self.client))
        return f"{name}, {self.added_by}" if self.added_by else name


_GRPC = Entry("transforms.clients.tfserving.grpc", "grpc://HOST:PORT/MODEL[@VERSION]")
_REST = Entry("transforms.clients.tfserving.rest", "http://HOST:PORT/v1/models/MODEL")
_OIP_GRPC = Entry("transforms.clients.open_inference.grpc", "oip+grpc://HOST:PORT/MODEL[/VERSION]")
_OIP_HTTP = Entry("transforms.clients.open_inference.http", "oip+http://HOST:PORT/MODEL[/VERSION]")
_MMS = Entry("transforms.clients.multi_model_server.http", "mms+http://HOST:PORT/MODEL")
_OPENAI = Entry("transforms.clients.openai.http", "openai+http://HOST[:PORT][/PATH]/MODEL?task=embeddings")
_MLFLOW = Entry("transforms.clients.mlflow.client", "mlflow+http://HOST[:PORT][/PATH]")
_SAGEMAKER = Entry("transforms.clients.sagemaker.client", "sagemaker://ENDPOINT?region=REGION", f"{DISTRIBUTION}[sagemaker]")
_JSON = Entry("transforms.clients.json_http.client", "json+http://HOST[:PORT]/PATH")

_BUILT_IN = {
    "grpc": _GRPC,
    "grpcs": _GRPC,
    "http": _REST,
    "https": _REST,
    "oip+grpc": _OIP_GRPC,
    "oip+grpcs": _OIP_GRPC,
    "oip+http": _OIP_HTTP,
    "oip+https": _OIP_HTTP,
    "mms+http": _MMS,
    "mms+https": _MMS,
    "openai+http": _OPENAI,
    "openai+https": _OPENAI,
    "mlflow+http": _MLFLOW,
    "mlflow+https": _MLFLOW,
    "json+http": _JSON,
    "json+https": _JSON,
    "vertex": Entry("transforms.clients.vertex.client", "vertex://PROJECT/REGION/ENDPOINT", f"{DISTRIBUTION}[vertex]"),
    "sagemaker": Entry(
        "transforms.clients.sagemaker.client", "sagemaker://ENDPOINT?region=REGION", f"{DISTRIBUTION}[sagemaker]"
    ),
    "saved_model": Entry("transforms.clients.saved_model.client", "saved_model:///PATH", f"{DISTRIBUTION}[embedded]"),
}

_SERVERS = {
    **dict.fromkeys(("tensorflow", "tfserving", "tensorflow_serving", "tf"), "grpc"),
    **dict.fromkeys(("triton", "mlserver", "kserve", "seldon", "oip", "v2"), "oip+grpc"),
    **dict.fromkeys(("torchserve", "torch", "mms"), "mms+http"),
    **dict.fromkeys(("openai", "vllm", "ollama"), "openai+http"),
    **dict.fromkeys(("mlflow", "databricks"), "mlflow+http"),
    **dict.fromkeys(("json", "fastapi", "bentoml", "litserve"), "json+http"),
    **dict.fromkeys(("file", "savedmodel", "s3", "gs"), "saved_model"),
    **dict.fromkeys(("vertexai", "vertex_ai"), "vertex"),
}
"""What people write in a scheme's place: the name of the server. For the question only, never taken as the scheme."""

_entries: dict[str, Entry] = dict(_BUILT_IN)


def register_client(
    scheme: str, client: str | ClientFactory, *, form: str = "", install: str = "", replace: bool = False
) -> None:
    """Adds a protocol in this process. To add it in all processes, use the entry-point group.

    Args:
        scheme: The scheme of its URIs, in lower case.
        client: ``package.module`` or ``package.module:Class``, or the module or class itself.
        form: The URI's form, for error messages, such as ``toy+http://HOST:PORT/MODEL``.
        install: What ``pip install`` takes to bring the packages that the client imports; errors say so if it is given.
        replace: Whether the scheme may have a client already.

    Raises:
        ValueError: It is not a URI scheme, or it has another client already and ``replace`` is not set.
    """
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(f"{scheme!r} is no URI scheme: use lower-case letters, digits and + . _ -")
    entry = Entry(client, form or f"{scheme}://…", install, _REGISTERED)
    known = _entries.get(scheme)
    if known is not None and known != entry and not replace:
        raise ValueError(f"{scheme}:// has a client already ({known.client}); pass replace=True to take its place")
    _entries[scheme] = entry


def unregister_client(scheme: str) -> None:
    """Undoes ``register_client``. A scheme of this package gets its original client back.

    Raises:
        KeyError: The scheme is not registered.
    """
    if scheme in _BUILT_IN:
        _entries[scheme] = _BUILT_IN[scheme]  # in its old place: lists of schemes have an order
    else:
        del _entries[scheme]


def schemes() -> dict[str, Entry]:
    """Returns every scheme that this process knows. A registered client overrides that of an installed package."""
    return {**_entries, **_installed(), **_entries}


def uri_pattern() -> str:
    """Returns a regular expression that fits the URIs of every scheme that this process knows."""
    return f"({'|'.join(map(re.escape, schemes()))})://.+"


def parse(uri: str) -> object:
    """Checks a URI with the ``parse`` function of its client, without I/O, and returns the result.

    Raises:
        ConfigError: The URI can't be used, a package that its client imports is missing, or the client has a mistake.
    """
    _refuse_unprintable(uri)
    with mistakes_named(uri, "parse") as factory:
        parsed = factory().parse(uri)
    _refuse_login(uri)
    return parsed


def open_client(uri: str, options: ClientOptions) -> ModelClient:
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI can't be used, a package that its client imports is missing, or the client has a mistake.
    """
    _refuse_unprintable(uri)
    with mistakes_named(uri, "open") as factory:
        client = factory().open(uri, options)
        if not isinstance(client, ModelClient):
            raise ClientMistakeError(f"open returned {type(client).__name__}, no ModelClient; {DESCRIBED}")
    _refuse_login(uri)
    return select_outputs(client, options.outputs)


async def read_metadata(uri: str, client: ModelClient, timeout_s: float) -> ModelMetadata:
    """Returns what a client's ``metadata`` does, before anything is consumed.

    Raises:
        ModelError: As ``ModelClient.metadata``.
        ConfigError: A package that the client imports is missing, or the client has a mistake.
    """
    with mistakes_named(uri, "metadata"):
        return await ask_metadata(client, timeout_s)


def missing_packages(model: str, scheme: str, error: ImportError) -> ConfigError:
    """Returns the error for a client that could not import a package: what to install, if that would help.

    An ``ImportError`` in ``open`` or in the first ``metadata`` becomes this error by itself. A client that imports a package
    later raises this error.

    Args:
        model: The model's URI, or the name of the model in messages.
        scheme: The scheme of the client.
        error: The import error.
    """
    entry = schemes()[scheme]
    if not is_not_installed(error) or _is_absent(entry, error):
        return _unusable(model, scheme, entry, f"{type(error).__name__}: {error}")
    cure = f": pip install '{entry.install}'" if entry.install else f"; its client is {entry.described}"
    return ConfigError([f"--model={model}: {scheme}:// needs packages that are not here ({error.name}){cure}"])


def _is_absent(entry: Entry, error: ImportError) -> bool:
    """Whether an entry point names a module that is not there. Its package is installed: to install it again is no cure."""
    if entry.added_by in ("", _REGISTERED) or "[" in entry.install or not isinstance(error, ModuleNotFoundError):
        return False
    return f"{entry.client}.".replace(":", ".").startswith(f"{error.name}.")


def _unusable(model: str, scheme: str, entry: Entry, problem: str) -> ConfigError:
    who = f" ({entry.described})" if entry.added_by else ""
    return ConfigError([f"--model={model}: the client of {scheme}://{who} can't be used: {problem}"])


def _scheme(uri: str) -> str:
    scheme, separator, _ = uri.partition("://")
    return scheme if separator else ""


def _entry(uri: str) -> Entry:
    scheme = _scheme(uri)
    entry = _entries.get(scheme) or schemes().get(scheme)  # reading all packages' metadata takes time: only on a miss
    if entry is None:
        known = schemes()
        meant = _meant(uri, known)
        forms = ", ".join(dict.fromkeys(one.form for one in known.values() if one.form != meant))
        asked = f"did you mean {meant}? If not, " if meant else ""
        raise ConfigError([f"--model={shown(uri)}: unknown form; {asked}use one of {forms}, or embedded"])
    return entry


def _meant(uri: str, known: Mapping[str, Entry]) -> str:
    """Returns the form that may be meant by a misspelt scheme, the name of a server or a path. Empty if none is like it."""
    if uri.startswith(("/", "./", "~")):
        return known["saved_model"].form
    scheme, names = _scheme(uri), {name: name for name in known} | _SERVERS
    close = difflib.get_close_matches(scheme.lower(), names, 1, 0.7)
    return known[names[close[0]]].form if close else ""


def _refuse_unprintable(uri: str) -> None:
    """Refuses what no request can hold, and what ``urlsplit`` would drop without a word: line breaks and tabs."""
    found = _UNPRINTABLE.search(uri)
    if found is not None:
        raise mistake(uri, f"character {found.start() + 1} ({found[0]!r}) can't stand in a URI", _entry(uri).form)


def _refuse_login(uri: str) -> None:
    """Refuses what the client's own check let pass: it would stand in messages."""
    if has_login(uri):
        raise login_mistake(_entry(uri).form)


def _installed() -> dict[str, Entry]:
    """The protocols of installed packages, by their entry points. Imports none of them."""
    found: dict[str, Entry] = {}
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        package = point.dist.name if point.dist is not None else ""
        client, _, extras = point.value.partition("[")  # point.module and point.attr raise for a value of another form
        install = f"{package}[{extras}".replace(" ", "") if extras else package
        entry = Entry(re.sub(r"\s*:\s*", ":", client.strip()), f"{point.name}://…", install, f"an entry point of {package}")
        found.setdefault(point.name, entry)
    return found


@contextlib.contextmanager
def mistakes_named(uri: str, function: str) -> Iterator[Callable[[], ClientFactory]]:
    """Yields what loads the client of a URI, and turns what is wrong with the client into a ``ConfigError``.

    Args:
        uri: The URI.
        function: The function of the client that is called, for messages.
    """
    entry, scheme = _entry(uri), _scheme(uri)
    try:
        yield lambda: cast(ClientFactory, load(entry.client))
    except ScoringError:
        raise
    except ClientMistakeError as error:
        raise _unusable(uri, scheme, entry, str(error)) from error
    except ImportError as error:
        if isinstance(entry.client, str) and entry.client.partition(".")[0] == (error.name or "").partition(".")[0] == _OURS:
            raise  # a fault of this package: no installation would cure it
        raise missing_packages(uri, scheme, error) from error
    except (Exception, SystemExit) as error:
        if not entry.added_by:
            raise  # a fault of this package: its traceback is what is needed
        raise _unusable(uri, scheme, entry, f"{function} raised {type(error).__name__}: {error}") from error
