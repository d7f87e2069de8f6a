"""What the management APIs of multi-model-server and TorchServe say of a model.

multi-model-server serves one version of a model and answers ``/models/MODEL`` with an object; asked for a version, its
inference API answers with the one it has, whatever was asked. TorchServe answers with a list of one, the default version,
and ``/models/MODEL/all`` with all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transforms.clients.wire.http import HttpResponse
from transforms.clients.wire.json import loads
from transforms.errors import NotServedError, UnavailableError

READY = "READY"


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """The version that answers, and what else there is.

    Attributes:
        version: The one that answers; the one asked for, even if it is not there.
        versions: Every version's name and the state of its workers.
    """

    version: str
    versions: Mapping[str, str]

    def check(self, where: str) -> None:
        """Checks that the version can answer.

        Raises:
            NotServedError: It is not there; the message lists what is.
            UnavailableError: No worker of it is ready.
        """
        state = self.versions.get(self.version)
        if state is None:
            there = ", ".join(f"{version} ({state})" for version, state in self.versions.items())
            raise NotServedError(f"{where}: there is no such version; there are {there}")
        if state != READY:
            raise UnavailableError(f"{where}: none of its workers is ready ({state}); it may be loading")


def is_of_several(answer: HttpResponse) -> bool:
    """Whether a server that answers this keeps several versions of a model: TorchServe."""
    return answer.status == 200 and answer.body.lstrip().startswith(b"[")


def read(answer: HttpResponse, version: str | None) -> Served | None:
    """Reads a description of a model, of either server; ``None`` if it is none.

    Args:
        answer: What ``/models/MODEL`` answered, or ``/models/MODEL/all``.
        version: The version asked for; without one, the answer's first is the one that answers.
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
