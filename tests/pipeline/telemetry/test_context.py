"""``traceparent`` and ``tracestate`` of Kafka records, by W3C's rules."""

from __future__ import annotations

import pytest

from pipeline.telemetry.context import context_from, context_of, traceparent, with_context

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_what_is_read_is_written_again() -> None:
    context = context_from(PARENT, b"a=1,b=2")
    assert context is not None
    assert context.is_remote
    assert context.trace_flags.sampled
    assert traceparent(context) == PARENT
    written = with_context([("k", b"v"), ("traceparent", b"old"), ("tracestate", b"old"), ("traceparent", None)], context)
    assert written == [("traceparent", PARENT), ("tracestate", b"a=1,b=2"), ("k", b"v")]


def test_the_last_header_of_a_name_counts() -> None:
    other = PARENT.replace(b"-01", b"-00")
    context = context_of([("traceparent", PARENT), ("other", None), ("traceparent", other)])
    assert context is not None
    assert not context.trace_flags.sampled
    assert context_of([("traceparent", PARENT), ("traceparent", None)]) is None
    assert context_of([("Traceparent", PARENT)]) is None, "Kafka's names have case"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        b"ff" + PARENT[2:],
        PARENT.upper(),
        PARENT + b"-more",
        PARENT[:-1],
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        b"\xff\xfe",
    ],
)
def test_what_is_no_context_starts_a_new_trace(value: bytes) -> None:
    assert context_from(value) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    context = context_from(b"01" + PARENT[2:] + b"-more")
    assert context is not None
    assert traceparent(context) == PARENT


@pytest.mark.parametrize("state", [b"\xff", b"a=" + b"1" * 600, b""])
def test_a_state_that_can_not_be_carried_is_left_out(state: bytes) -> None:
    context = context_from(PARENT, state)
    assert context is not None
    assert with_context([], context) == [("traceparent", PARENT)]
