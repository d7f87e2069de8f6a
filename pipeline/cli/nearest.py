"""``nearest``: suggests the known name that is closest to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

ELSEWHERE: Mapping[str, str] = {
    "statsd": "metrics are sent by OpenTelemetry, --otlp_endpoint=http://COLLECTOR:4318, or read in Prometheus's format, "
    "--metrics_port (docs/how-to/monitor.md)",
}
"""Flags that people expect of such a program, and what there is in their place."""


_LEAST_CLOSE, _CLOSE = 0.6, 0.85


def nearest(name: str, names: Sequence[str], others: Sequence[str] = ()) -> str:
    """Returns ``; did you mean …?`` with the name closest to ``name``, or an empty string if none is close.

    Of a name in ``ELSEWHERE`` it says instead what there is in its place.

    Args:
        name: What was typed.
        names: The names that may be meant.
        others: Names that count only where they are very close, such as Beam's hundreds of options.
    """
    if said := ELSEWHERE.get(name.lstrip("-").lower()):
        return f"; {said}"
    close = difflib.get_close_matches(name, [*names, *others], 1, _CLOSE) or difflib.get_close_matches(
        name, names, 1, _LEAST_CLOSE
    )
    return f"; did you mean {close[0]}?" if close else ""
