"""W3C trace context in the headers of Kafka records: ``traceparent`` and ``tracestate``."""

from __future__ import annotations

import re

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from transforms.types import Headers

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"

_FORM = re.compile(rb"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*")
_MOST_STATE = 512
"""Characters of ``tracestate`` that have to be carried, by the standard; a longer one is left out."""


def context_of(headers: Headers) -> SpanContext | None:
    """Returns the trace context of a record; ``None`` if it has none, or none that can be read.

    Of several headers of one name the last one counts, as for Kafka's own clients.
    """
    parent, state = None, None
    for name, value in headers:
        if name == TRACEPARENT:
            parent = value
        elif name == TRACESTATE:
            state = value
    return None if parent is None else context_from(parent, state)


def context_from(parent: bytes, state: bytes | None = None) -> SpanContext | None:
    """Returns the context that the values of the two headers name; ``None`` if they can't be read."""
    match = _FORM.fullmatch(parent)
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    return SpanContext(trace_id, span_id, True, TraceFlags(int(flags, 16)), _state(state))


def traceparent(context: SpanContext) -> bytes:
    """Returns the value of the header for a context."""
    return b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)


def with_context(headers: Headers, context: SpanContext) -> Headers:
    """Returns the headers with this context in place of their own, first: what we add to a dead letter stands last."""
    ours: Headers = [(TRACEPARENT, traceparent(context))]
    if context.trace_state:
        ours.append((TRACESTATE, context.trace_state.to_header().encode()))
    return ours + [header for header in headers if header[0] not in (TRACEPARENT, TRACESTATE)]


def _state(value: bytes | None) -> TraceState | None:
    if not value or len(value) > _MOST_STATE or not value.isascii():
        return None
    return TraceState.from_header([value.decode()])
