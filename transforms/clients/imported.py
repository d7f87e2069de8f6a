"""Imports a client by its name, and says why it could not be: not installed, or a mistake in its package."""

from __future__ import annotations

import functools
import importlib
import importlib.util

DESCRIBED = '"Add a protocol" in CONTRIBUTING.md describes what a client has'

FUNCTIONS = ("parse", "open")
"""What every client has: see ``registry.ClientFactory``."""


class ClientMistakeError(Exception):
    """The module or class is no client; the message names it, what is wrong, and where a client is described."""


def load(client: object) -> object:
    """Returns the module or class that a scheme is registered with, imported if it is given by its name.

    Args:
        client: ``package.module`` or ``package.module:Class``, or the module or class itself.

    Raises:
        ImportError: It, or what it imports, can't be imported.
        ClientMistakeError: Its module raises something else, has no such class, or a function of a client is missing.
    """
    loaded = _named(client) if isinstance(client, str) else client
    missing = [name for name in FUNCTIONS if not callable(getattr(loaded, name, None))]
    if missing:
        name = client if isinstance(client, str) else getattr(client, "__name__", repr(client))
        raise ClientMistakeError(f"{name} has no function {' and no '.join(missing)}; {DESCRIBED}")
    return loaded


def _named(client: str) -> object:
    module, _, attribute = client.partition(":")
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        raise
    except (Exception, SystemExit) as error:
        raise ClientMistakeError(f"{module} can't be imported: {type(error).__name__}: {error}") from error
    try:
        return functools.reduce(getattr, attribute.split("."), loaded) if attribute else loaded
    except AttributeError as error:
        raise ClientMistakeError(f"{module} has no {attribute}; {DESCRIBED}") from error


def is_not_installed(error: ImportError) -> bool:
    """Whether an import failed because a package is not there, which an installation cures.

    A package that is there but lacks the module, or the name, has another fault. Those without an ``__init__``, such as
    ``google.cloud``, belong to several distributions: there, what is missing may be not installed.
    """
    if not error.name:
        return False
    if not isinstance(error, ModuleNotFoundError):  # from google.cloud import storage
        return _is_there(error.name) and _is_namespace(error.name)
    parent = ""
    for part in error.name.split("."):
        name = f"{parent}.{part}" if parent else part
        if not _is_there(name):
            return not parent or _is_namespace(parent)
        parent = name
    return False


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # the package above it can't be imported; a module without a spec
        return False


def _is_namespace(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is None and spec.submodule_search_locations is not None
