"""Rules of what a job shows while it runs."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.cli.config import Config
from pipeline.cli.flag import Values

OF_A_PORT = {
    "metrics_host": ("metrics_port", "the address of /metrics"),
    "status_host": ("status_port", "the address of the page"),
    "status_inputs": ("status_port", "about the page"),
}
"""Flag to the flag that it needs, and to a description of it for the message."""

_AS_WITHOUT = (False, "127.0.0.1")
"""Values that change nothing: a file of flags may list them all."""


def served(config: Config, values: Values) -> Iterator[str]:
    """Refuses flags about a server that the job does not start: otherwise they would be ignored silently."""
    for name, (port, what) in OF_A_PORT.items():
        if name not in values.given or port in values.given or values[name] in _AS_WITHOUT:
            continue
        shown = "" if values[name] is True else f"={values.given[name]}"
        yield f"--{name}{shown}: is {what}, which is served with --{port} only; add --{port}=PORT, or leave it out"
