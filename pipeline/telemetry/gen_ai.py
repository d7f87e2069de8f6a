"""The metrics of language models by OpenTelemetry's conventions for generative AI: tokens, and how long requests took.

The names are those of https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/, as Prometheus writes them. OTLP
has them in OpenTelemetry's own writing: ``OTEL_METRICS``, ``OTEL_ATTRIBUTES``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import HistogramMetricFamily

from pipeline.process.histograms import INPUT_TOKENS, OPERATION, prometheus_buckets
from pipeline.process.stats import Totals
from transforms.clients.openai.uri import CHAT, COMPLETIONS, EMBEDDINGS, RERANK, parse

USAGE = "gen_ai_client_token_usage"
DURATION = "gen_ai_client_operation_duration_seconds"

OTEL_METRICS = {
    USAGE: ("gen_ai.client.token.usage", "{token}"),
    DURATION: ("gen_ai.client.operation.duration", "s"),
}
"""Prometheus' name of a metric to OpenTelemetry's, and the unit."""

OTEL_ATTRIBUTES = {
    "gen_ai_operation_name": "gen_ai.operation.name",
    "gen_ai_provider_name": "gen_ai.provider.name",
    "gen_ai_request_model": "gen_ai.request.model",
    "gen_ai_token_type": "gen_ai.token.type",
}
"""Prometheus' name of a label to OpenTelemetry's of an attribute."""

_OPERATIONS = {CHAT: "chat", COMPLETIONS: "text_completion", EMBEDDINGS: "embeddings", RERANK: "rerank"}
"""Task to the convention's name of the operation. It has none for ``rerank``, and lets an own one be used."""

_PROVIDER = "openai"
"""What the convention wants for whatever speaks OpenAI's protocol, where only that is known."""


class GenAi(NamedTuple):
    """The labels that all metrics of a language model have.

    Attributes:
        gen_ai_operation_name: What is asked of it.
        gen_ai_provider_name: Whose protocol it speaks.
        gen_ai_request_model: Its name in requests.
    """

    gen_ai_operation_name: str
    gen_ai_provider_name: str
    gen_ai_request_model: str


def gen_ai_of(uri: str) -> GenAi | None:
    """Returns the labels for a model's URI; ``None`` for one that is no language model's."""
    if not uri.startswith("openai+"):
        return None
    address = parse(uri)
    return GenAi(_OPERATIONS[address.task], _PROVIDER, address.model)


def families(totals: Totals, labels: GenAi) -> Iterator[HistogramMetricFamily]:
    """Yields the metrics as of the totals."""
    usage = HistogramMetricFamily(
        USAGE, "Tokens of a request, as the model server counts them.", labels=(*GenAi._fields, "gen_ai_token_type")
    )
    for histogram, (buckets, total) in totals.tokens.items():
        kind = "input" if histogram is INPUT_TOKENS else "output"
        usage.add_metric((*labels, kind), prometheus_buckets(buckets), total)
    yield usage
    duration = HistogramMetricFamily(DURATION, OPERATION.help, labels=GenAi._fields)
    buckets, total = totals.operations
    duration.add_metric(labels, prometheus_buckets(buckets), total)
    yield duration
