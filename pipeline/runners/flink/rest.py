"""Flink's REST interface: which job is ours, how it is, and its end.

Beam's job service can't do this part: cancelled there, a job on a Flink cluster is told to be cancelled, and goes on running
(seen with runner 2.62 and Flink 1.19); and it tells nothing of restarts, and of metrics only when a job has ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import urllib.error
import urllib.request
from typing import Any

TIMEOUT_S = 10.0
ENDED = ("CANCELED", "FAILED", "FINISHED")


class FlinkRestError(Exception):
    """Flink does not answer, or refuses."""


@dataclasses.dataclass(frozen=True, slots=True)
class JobState:
    """How a job is.

    Attributes:
        state: Flink's name of it: ``RUNNING``, ``RESTARTING``, ``FAILED``, ``CANCELED``, ``FINISHED`` …
        restarts: How often it has been started again.
    """

    state: str
    restarts: int


class FlinkRest:
    """The REST interface of one cluster.

    Args:
        address: ``host:port`` or ``http(s)://host:port``.
    """

    def __init__(self, address: str):
        self.address = (address if "://" in address else f"http://{address}").rstrip("/")

    def find(self, name: str) -> str | None:
        """The id of the newest job of this name; ``None`` if there is none yet."""
        found = [job for job in self._ask("GET", "jobs/overview")["jobs"] if job["name"] == name]
        return str(max(found, key=lambda job: job["start-time"])["jid"]) if found else None

    def running(self, group: str) -> list[str]:
        """The names of a consumer group's jobs (``GROUP-`` and eight hexadecimal digits) that have not ended."""
        ours = re.compile(re.escape(group) + "-[0-9a-f]{8}")
        jobs = self._ask("GET", "jobs/overview")["jobs"]
        return sorted(job["name"] for job in jobs if ours.fullmatch(job["name"]) and job["state"] not in ENDED)

    def state(self, job: str) -> JobState:
        """How a job is."""
        state = str(self._ask("GET", f"jobs/{job}")["state"])
        [restarts] = self._ask("GET", f"jobs/{job}/metrics?get=numRestarts") or [{}]
        return JobState(state, int(restarts.get("value", 0)))

    def failure(self, job: str) -> str:
        """The cause of a job's (last) failure, in a line."""
        with contextlib.suppress(FlinkRestError, KeyError):
            trace = str(self._ask("GET", f"jobs/{job}/exceptions").get("root-exception") or "")
            lines = [line.strip() for line in trace.splitlines() if line.strip() and not line.startswith("\tat ")]
            ours = [line for line in lines if line.startswith("transforms.errors.")]
            return (ours or lines or [""])[-1]
        return ""

    def cancel(self, job: str) -> None:
        """Asks for a job's end."""
        self._ask("PATCH", f"jobs/{job}?mode=cancel")

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"{self.address}/{path}", method=method)  # noqa: S310  # an address of the user's
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise FlinkRestError(f"{self.address}/{path}: HTTP status {error.code}") from error
        except (OSError, ValueError) as error:
            raise FlinkRestError(f"{self.address}: {getattr(error, 'reason', error)}") from error
