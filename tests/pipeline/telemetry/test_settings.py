"""What the flag and OpenTelemetry's variables ask for, and what of it can't be used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.telemetry.settings import INSTALL, METRICS, OFF, TRACES, Telemetry, mistakes
from tests.pipeline.cli.parsing import OWN, parse
from transforms.errors import ConfigError

URL = "http://collector:4318"


@pytest.mark.parametrize(
    ("endpoint", "environ", "on"),
    [
        (None, {}, (False, False)),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_SERVICE_NAME": "s"}, (False, False)),  # other programs' settings
        (URL, {}, (True, True)),
        (URL, {"OTEL_METRICS_EXPORTER": "none"}, (True, False)),
        (URL, {"OTEL_TRACES_EXPORTER": "none"}, (False, True)),
        (None, {"OTEL_TRACES_EXPORTER": " OTLP "}, (True, False)),
        (None, {"OTEL_METRICS_EXPORTER": "otlp"}, (False, True)),
        (URL, {"OTEL_SDK_DISABLED": "true"}, (False, False)),
    ],
)
def test_what_is_exported(endpoint: str | None, environ: dict[str, str], on: tuple[bool, bool]) -> None:
    found = Telemetry.of(endpoint, environ)
    assert (found.traces, found.metrics) == on
    assert list(mistakes(endpoint, environ)) == []
    if not any(on):
        assert found == OFF


def test_where_it_goes() -> None:
    found = Telemetry.of(f"{URL}/", {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc", "HOME": "/"})
    assert (found.url(TRACES), found.url(METRICS)) == (f"{URL}/v1/traces", f"{URL}/"), "gRPC has no path"
    assert Telemetry.of(None, {"OTEL_TRACES_EXPORTER": "otlp"}).url(TRACES) is None, "the SDK reads the variables"
    assert found.variables == (("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),)


def test_a_secret_among_the_variables_is_not_shown() -> None:
    found = Telemetry.of(URL, {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=planted"})
    assert "planted" not in repr(found)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin: only otlp is supported here; use otlp or none"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=http/json: is not supported; use http/protobuf or grpc",
        ),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "many"}, "OTEL_BSP_MAX_QUEUE_SIZE=many: give a whole number of at least 1"),
    ],
)
def test_a_variable_that_can_not_be_used_is_named(environ: dict[str, str], told: str) -> None:
    assert told in list(mistakes(URL, environ))


def test_missing_packages_are_named_with_their_cure() -> None:
    program = (
        "import sys; sys.modules['opentelemetry.exporter'] = None\n"
        "from pipeline.telemetry.settings import mistakes\n"
        f"print(*mistakes({URL!r}, {{}}), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        f"--otlp_endpoint={URL}: OpenTelemetry's packages are missing (opentelemetry.exporter.otlp.proto.http): {INSTALL}"
    ]


@pytest.mark.parametrize("value", ["collector:4318", "grpc://collector:4317", "http://", "http://h:1?x=1"])
def test_an_endpoint_is_a_url(value: str) -> None:
    with pytest.raises(ConfigError, match=r"--otlp_endpoint=.*: give http\(s\)://HOST:PORT"):
        parse(*OWN, f"--otlp_endpoint={value}")


def test_an_endpoint_with_a_password_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match=r"--otlp_endpoint: must not hold a user name or password") as raised:
        parse(*OWN, "--otlp_endpoint=http://me:planted@h:1")
    assert "planted" not in str(raised.value)


def test_not_on_dataflow() -> None:
    with pytest.raises(ConfigError, match=r"--otlp_endpoint=http://collector:4318: Dataflow has metrics of its own"):
        parse(*OWN, f"--otlp_endpoint={URL}", "--runner=DataflowRunner")
