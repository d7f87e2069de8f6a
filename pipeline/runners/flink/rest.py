"""Flink's REST interface: finds our job, reads its state, and cancels it.

Beam's job service can't do this. It reports a cancelled job as cancelled, but on a Flink cluster the job goes on running
(seen with runner 2.62 and Flink 1.19). It does not report restarts, and reports metrics only when a job has ended.

Restarts are read off the job itself: Flink's metric ``numRestarts`` comes through a cache, which had nothing of a job that
was restarted twice within a minute (seen once with Flink 1.19, on a fast machine).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import urllib.error
import urllib.request
from typing import Any

from pipeline.runners.remote import ENDED, JobState
from transforms.errors import ContractError, NotReadyError

TIMEOUT_S = 10.0


class FlinkRestError(Exception):
    """Flink does not answer, or refuses a request.

    Attributes:
        away: Whether nobody answers, or somebody who says to be not ready (HTTP 5xx).
    """

    def __init__(self, message: str, away: bool = True):
        super().__init__(message)
        self.away = away


def check_flink(address: str, answer_s: float) -> None:
    """Asks whether Flink is there.

    Args:
        address: ``--flink_master``.
        answer_s: How long it may take to answer, in seconds.

    Raises:
        NotReadyError: It does not answer.
        ContractError: Somebody else does.
    """
    try:
        FlinkRest(address, answer_s).running("")
    except FlinkRestError as error:
        refused = NotReadyError if error.away else ContractError
        raise refused(f"--flink_master={address}: Flink's REST interface does not answer there: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ContractError(f"--flink_master={address}: what answers there is not Flink's REST interface") from error


class FlinkRest:
    """The REST interface of one cluster.

    Args:
        address: ``host:port`` or ``http(s)://host:port``.
        answer_s: How long an answer may take, in seconds.
    """

    def __init__(self, address: str, answer_s: float = TIMEOUT_S):
        self._answer_s = answer_s
        self.address = (address if "://" in address else f"http://{address}").rstrip("/")

    def find(self, name: str) -> str | None:
        """Returns the id of the newest job of a name; ``None`` if no job has this name yet."""
        found = [job for job in self._ask("GET", "jobs/overview")["jobs"] if job["name"] == name]
        return str(max(found, key=lambda job: job["start-time"])["jid"]) if found else None

    def running(self, group: str) -> list[str]:
        """Returns the names of a consumer group's jobs (``GROUP-`` and eight hexadecimal digits) that have not ended."""
        ours = re.compile(re.escape(group) + "-[0-9a-f]{8}")
        jobs = self._ask("GET", "jobs/overview")["jobs"]
        return sorted(job["name"] for job in jobs if ours.fullmatch(job["name"]) and job["state"] not in ENDED)

    def state(self, job: str) -> JobState:
        """Returns a job's state."""
        found = self._ask("GET", f"jobs/{job}")
        return JobState(str(found["state"]), int(found.get("timestamps", {}).get("RESTARTING", 0)))

    def failure(self, job: str) -> str:
        """Returns the cause of a job's last failure, in one line."""
        with contextlib.suppress(FlinkRestError, KeyError):
            trace = str(self._ask("GET", f"jobs/{job}/exceptions").get("root-exception") or "")
            lines = [line.strip() for line in trace.splitlines() if line.strip() and not line.startswith("\tat ")]
            ours = [line for line in lines if line.startswith("transforms.errors.")]
            return (ours or lines or [""])[-1]
        return ""

    def cancel(self, job: str) -> None:
        """Asks Flink to cancel a job."""
        self._ask("PATCH", f"jobs/{job}?mode=cancel")

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"{self.address}/{path}", method=method)  # noqa: S310  # an address of the user's
        try:
            with urllib.request.urlopen(request, timeout=self._answer_s) as answer:  # noqa: S310
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise FlinkRestError(f"{self.address}/{path}: HTTP status {error.code}", error.code >= 500) from error
        except OSError as error:
            raise FlinkRestError(f"{self.address}: {getattr(error, 'reason', error)}") from error
        except ValueError as error:
            raise FlinkRestError(f"{self.address}/{path}: the answer is no JSON", away=False) from error
        except http.client.HTTPException as error:  # no HTTP, or cut
            raise FlinkRestError(f"{self.address}/{path}: the answer is no HTTP ({type(error).__name__})") from error
