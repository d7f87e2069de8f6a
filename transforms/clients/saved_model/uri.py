"""The URI of a model in the worker.

    saved_model:///models/fraud[?signature=NAME][&version=N][&tags=TAG,…]     a folder of this machine
    saved_model://gs://bucket/models/fraud[?…]                                a folder of any file system that Beam reads

``saved_model://`` is followed by an absolute local path, or by a path with its own scheme. The folder holds version folders
(``fraud/7/saved_model.pb``, the layout of TensorFlow Serving), or it is itself a SavedModel. As in every URI, a ``%``, ``?``
or space in the path is written ``%25``, ``%3F`` or ``%20``.
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import parse_qsl, unquote

from transforms.clients.model_files import is_local
from transforms.clients.uri import shown
from transforms.errors import ConfigError

FORM = "saved_model:///PATH[?signature=NAME][&version=N][&tags=TAG,…], or saved_model://gs://BUCKET/PATH"

SERVE = "serve"
"""The tag of the graph for serving."""

MAX_VERSION = 2**63 - 1
SCHEME = "saved_model"
_PREFIX = f"{SCHEME}://"
_PARAMETERS = ("signature", "version", "tags")


@dataclasses.dataclass(frozen=True, slots=True)
class SavedModelAddress:
    """The address of a SavedModel, parsed from a URI.

    Attributes:
        path: The folder, absolute or with a scheme, without a trailing slash.
        version: The version's number, if one is asked for.
        signature: The signature's name, if one is asked for.
        tags: The tags of the graph, sorted.
    """

    path: str
    version: int | None = None
    signature: str | None = None
    tags: tuple[str, ...] = (SERVE,)

    @property
    def model(self) -> str:
        """The model's name: the name of its folder. If ``path`` is a version folder, the folder above it."""
        *_, above, name = ("", *self.path.split("/"))
        return above if version_number(name) is not None and above else name

    def __str__(self) -> str:
        return f"model {self.model}{f'@{self.version}' if self.version is not None else ''} at {self.path}"


def version_number(name: str) -> int | None:
    """Returns the version of a folder's name (``00000123`` is 123); ``None`` if the name is not a version."""
    if not re.fullmatch(r"[0-9]{1,30}", name) or int(name) > MAX_VERSION:
        return None
    return int(name)


def parse(uri: str) -> SavedModelAddress:
    """Parses a ``saved_model://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    text, _, query = uri.removeprefix(_PREFIX).partition("?")
    path = unquote(text)
    scheme, separator, rest = path.partition("://")
    if separator and "@" in rest.partition("/")[0]:
        # The message does not repeat the URI: it may hold a secret.
        raise ConfigError([f"--model: a URI must not hold a user name or password; the form is {FORM}"])
    if is_local(path):
        if not path.startswith("/"):
            raise _mistake(uri, "a path of this machine must be absolute, with three slashes before it")
        path = "/" + path.strip("/")
    else:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
            raise _mistake(uri, "what stands before the second :// is no scheme")
        if re.search(r"[*?\[\]]", rest):
            raise _mistake(uri, "the path can't hold wildcards: it is one folder")
        path = path.rstrip("/")
    if not path.rpartition("/")[2] or path.endswith(":"):
        raise _mistake(uri, "the model's folder is missing")
    if "\0" in path:
        raise ConfigError([f"--model: the path holds a null character; the form is {FORM}"])
    asked = _parameters(uri, query)
    return SavedModelAddress(path, _version(uri, asked), asked.get("signature"), _tags(uri, asked))


def _mistake(uri: str, problem: str) -> ConfigError:
    return ConfigError([f"--model={shown(uri)}: {problem}; the form is {FORM}"])


def _parameters(uri: str, query: str) -> dict[str, str]:
    asked: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise _mistake(uri, f"unknown parameter {name}")
        if name in asked or not value:
            raise _mistake(uri, f"{name} takes one value")
        asked[name] = value
    return asked


def _version(uri: str, asked: dict[str, str]) -> int | None:
    text = asked.get("version")
    if text is None:
        return None
    number = version_number(text)
    if number is None:
        raise _mistake(uri, "a version is a whole number of at most 64 bits; labels are a model server's")
    return number


def _tags(uri: str, asked: dict[str, str]) -> tuple[str, ...]:
    tags = [tag.strip() for tag in asked.get("tags", SERVE).split(",")]
    if not all(tags):
        raise _mistake(uri, "a tag is empty")
    return tuple(sorted(set(tags)))
