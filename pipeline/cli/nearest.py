"""``nearest``: suggests the known name that is closest to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

ELSEWHERE: Mapping[str, str] = {
    "statsd": "metrics are sent by OpenTelemetry, --otlp_endpoint=http://COLLECTOR:4318, or read in Prometheus's format, "
    "--metrics_port (docs/how-to/monitor.md)",
}
"""Flags that people expect of such a program, and what there is in their place."""


def nearest(name: str, names: Sequence[str]) -> str:
    """Returns ``; did you mean …?`` with the name closest to ``name``, or an empty string if none is close.

    Of a name in ``ELSEWHERE`` it says instead what there is in its place.
    """
    if said := ELSEWHERE.get(name.lstrip("-").lower()):
        return f"; {said}"
    close = difflib.get_close_matches(name, names, 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""
