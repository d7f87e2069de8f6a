"""What a fast stub answers to a request with a guilty row. A row is guilty if its first number is negative."""

from __future__ import annotations

import argparse

import numpy as np

from transforms.testing.faults import Fault, StubError

KINDS = {
    "rejected": Fault("status", StubError("INVALID_ARGUMENT", "x must not be negative")),
    "internal": Fault("status", StubError("INTERNAL", "the model raised")),
    "unknown": Fault("status", StubError("UNKNOWN", "Exception calling application: math domain error")),
    "unavailable": Fault("status", StubError("UNAVAILABLE", "the worker died")),
    "overload": Fault("status", StubError("RESOURCE_EXHAUSTED", "too much to do")),
    "cut": Fault("hang_up"),
    "time-out": Fault("hang"),
}
"""Name of a kind of guilty rows to the fault of a request that has one. Over REST, internal and unknown are HTTP 500,
unavailable is 503 and overload is 429."""


def guilty_flag(parser: argparse.ArgumentParser) -> None:
    """Adds ``--guilty`` to a stub's command line."""
    parser.add_argument("--guilty", choices=KINDS, help="with --fast: what a request with a guilty row is answered with")


def fault_of(kind: str | None, x: np.ndarray) -> Fault | None:
    """Returns the fault of a request.

    Args:
        kind: The kind of the guilty rows; ``None`` if no row is guilty.
        x: The rows, shape ``[rows, numbers]``.

    Raises:
        StubError: The request is answered with an error status.
    """
    if kind is None or not bool((x[:, 0] < 0).any()):
        return None
    fault = KINDS[kind]
    if fault.error is not None:
        raise fault.error
    return fault
