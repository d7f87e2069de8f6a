"""Reads the descriptions of models from the management APIs of multi-model-server and TorchServe.

multi-model-server serves one version of a model, and describes it at ``/models/MODEL`` as an object. Its inference API
answers with that version even if a request names another. TorchServe answers ``/models/MODEL`` with a list of one, the
default version, and ``/models/MODEL/all`` with a list of all versions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.json import loads
from transforms.errors import NotServedError, UnavailableError
from transforms.printable import listed, shortened

READY = "READY"


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """The served versions of a model.

    Attributes:
        version: The version that answers, or the version asked for, even if the server does not have it.
        versions: Every version that the server has, to the state of its workers.
    """

    version: str
    versions: Mapping[str, str]

    def check(self, where: str) -> None:
        """Checks that the version can answer.

        Raises:
            NotServedError: The server does not have the version; the message lists those it has.
            UnavailableError: No worker of the version is ready.
        """
        state = self.versions.get(self.version)
        if state is None:
            there = listed(f"{version} ({state})" for version, state in self.versions.items())
            raise NotServedError(f"{where}: there is no such version; there are {there}")
        if state != READY:
            raise UnavailableError(f"{where}: none of its workers is ready ({shortened(state)}); it may be loading")


def is_of_several(answer: HttpResponse) -> bool:
    """Returns whether the answer comes from a server with several versions of a model, which is TorchServe."""
    return answer.status == 200 and answer.body.lstrip().startswith(b"[")


def read(answer: HttpResponse, version: str | None) -> Served | None:
    """Reads the description of a model from either server.

    Args:
        answer: The answer to ``/models/MODEL`` or ``/models/MODEL/all``.
        version: The version asked for. If ``None``, the first version of the answer is the one that answers.

    Returns:
        The served versions; ``None`` if the answer is not a description.
    """
    if answer.status != 200:
        return None
    try:
        document: Any = loads(answer.body)
        descriptions = document if isinstance(document, list) else [document]
        versions = {str(each["modelVersion"]): _state(each["workers"]) for each in descriptions}
    except (KeyError, TypeError, ValueError):
        return None
    return Served(version or next(iter(versions)), versions) if versions else None


def _state(workers: Any) -> str:
    states = [str(worker["status"]) for worker in workers]
    return READY if READY in states else states[0] if states else "no workers"
