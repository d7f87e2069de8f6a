"""``Telemetry``: what is exported, by ``--otlp_endpoint`` and OpenTelemetry's own variables of the environment.

The variables are those of OpenTelemetry's specification; the SDK reads most of them itself. Nothing of it is imported here.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Iterator, Mapping

TRACES, METRICS = "traces", "metrics"

INSTALL = "pip install 'kafka-model-scoring[otel]'"

HTTP, GRPC = "http/protobuf", "grpc"
"""The values of ``OTEL_EXPORTER_OTLP_PROTOCOL`` that can be used."""

_PACKAGES = {
    HTTP: ("opentelemetry.exporter.otlp.proto.http", INSTALL),
    GRPC: ("opentelemetry.exporter.otlp.proto.grpc", "pip install opentelemetry-exporter-otlp-proto-grpc"),
}

PREFIX = "OTEL_"

NUMBERS = ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_METRIC_EXPORT_INTERVAL")
"""Variables that are read here, and are whole numbers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Telemetry:
    """What is exported, and how.

    Attributes:
        endpoint: The base URL of ``--otlp_endpoint``; ``None``: as the variables say.
        traces: Whether spans are exported.
        metrics: Whether metrics are.
        variables: OpenTelemetry's variables, for worker processes elsewhere. They may hold a secret
            (``OTEL_EXPORTER_OTLP_HEADERS``).
        instance: ``service.instance.id``.
        group: The consumer group.
        links: How many records a request has at most.
    """

    endpoint: str | None = None
    traces: bool = False
    metrics: bool = False
    variables: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    instance: str = ""
    group: str = ""
    links: int = 0

    @classmethod
    def of(cls, endpoint: str | None, environ: Mapping[str, str]) -> Telemetry:
        """Returns what ``--otlp_endpoint`` and the environment ask for. The flag asks for both; a variable may say none."""
        if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return cls()
        variables = tuple(sorted((name, value) for name, value in environ.items() if name.startswith(PREFIX)))
        wanted = {signal: _exporter(signal, environ) for signal in (TRACES, METRICS)}
        on = {signal: name == "otlp" or (endpoint is not None and not name) for signal, name in wanted.items()}
        if not any(on.values()):
            return cls()
        return cls(endpoint, on[TRACES], on[METRICS], variables)

    def here(self, instance: str) -> Telemetry:
        """Returns the settings for a process of this name, with its own variables."""
        variables = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(PREFIX)))
        return dataclasses.replace(self, instance=instance, variables=variables) if self.traces or self.metrics else self

    def url(self, signal: str) -> str | None:
        """Returns where a signal goes by the flag; ``None``: as the variables say."""
        if self.endpoint is None or self.protocol(signal) == GRPC:
            return self.endpoint
        return f"{self.endpoint.rstrip('/')}/v1/{signal}"

    def protocol(self, signal: str) -> str:
        """Returns the protocol of a signal."""
        return _protocol(signal, dict(self.variables))


OFF = Telemetry()


def mistakes(endpoint: str | None, environ: Mapping[str, str]) -> Iterator[str]:
    """What of the variables can't be used, and which package is missing, each with the cure."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    for signal in (TRACES, METRICS):
        name = _exporter(signal, environ)
        if name not in ("", "otlp", "none"):
            yield f"OTEL_{signal.upper()}_EXPORTER={name}: only otlp is supported here; use otlp or none"
    found = Telemetry.of(endpoint, environ)
    for name in NUMBERS if found.traces or found.metrics else ():
        if (value := environ.get(name, "")) and not (value.isdecimal() and int(value)):
            yield f"{name}={value}: give a whole number of at least 1"
    missing = set()
    for signal in [it for it, on in ((TRACES, found.traces), (METRICS, found.metrics)) if on]:
        protocol = found.protocol(signal)
        if protocol not in _PACKAGES:
            yield f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: is not supported; use {HTTP} or {GRPC}"
        elif not _is_here((package := _PACKAGES[protocol])[0]):
            missing.add(package)
    asked = "OTEL_…_EXPORTER" if endpoint is None else f"--otlp_endpoint={endpoint}"
    for name, install in sorted(missing):
        yield f"{asked}: OpenTelemetry's packages are missing ({name}): {install}"


def _exporter(signal: str, environ: Mapping[str, str]) -> str:
    return environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower()


def _protocol(signal: str, environ: Mapping[str, str]) -> str:
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return next((value for name in names if (value := environ.get(name, "").strip())), HTTP)


def _is_here(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # a package above it is missing
        return False
