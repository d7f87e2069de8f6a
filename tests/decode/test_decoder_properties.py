"""Decoding, as properties: what becomes of a record does not depend on its neighbours, and follows the written rules."""

from __future__ import annotations

import base64
import json
import math
from typing import Any, Literal

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from transforms.decode.decoder import Decoder
from transforms.types import METHOD_PREDICT, DecodedChunk, KafkaRecord, Signature, TensorSpec

SLOW = (HealthCheck.too_slow,)  # says how loaded the machine is, not what is wrong
NUMERIC = (
    *("float16", "bfloat16", "float32", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
SHAPES = (None, (), (-1,), (1,), (-1, 2), (-1, -1), (4, 2, 2), (-1, -1, 2), (-1, 0))

specs = st.builds(
    TensorSpec, st.sampled_from((*NUMERIC, "bool", "string")), st.sampled_from(SHAPES), st.sampled_from((False, False, True))
)
EDGES = (0, 1, -1, 2**7, 2**15, 2**24 + 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**400)
FLOAT_EDGES = (
    0.0,
    -0.0,
    1.0,
    1.5,
    127.0,
    65504.0,
    65519.9,
    65520.0,
    3.4e38,
    3.39e38,
    1e39,
    1e300,
    2.0**53,
    math.nan,
    math.inf,
)

scalars = (
    st.sampled_from(EDGES)
    | st.sampled_from(FLOAT_EDGES)
    | st.integers(-300, 300)
    | st.floats(width=32)
    | st.booleans()
    | st.none()
    | st.sampled_from(("", "a", "é", "1", "1.5", "nan", "null", "\ud800", "ab"))
    | st.sampled_from(({"b64": "AAH/"}, {"b64": "A"}, {"b64": 1}, {"b64": "YQ==", "c": 1}, {}))
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=8)


def rows_like(spec: TensorSpec) -> st.SearchStrategy[Any]:
    """Mostly right rows of a spec."""
    elements: st.SearchStrategy[Any]
    if spec.dtype == "bool":
        elements = st.booleans()
    elif spec.dtype == "string":
        elements = st.text(max_size=3) | st.binary(max_size=3).map(lambda b: {"b64": base64.b64encode(b).decode()})
    elif spec.dtype.startswith(("int", "uint")):
        elements = st.integers(0, 127) | st.integers(0, 127).map(float)
    else:
        elements = st.integers(-2048, 2048) | st.floats(-2048, 2048, width=16)
    strategy = elements
    for size in reversed((spec.shape or ())[1:]):
        low, high = (0, 2) if size < 0 else (size, size)
        strategy = st.lists(strategy, min_size=low, max_size=high)
    return strategy


@st.composite
def cases(draw: st.DrawFn) -> tuple[Signature, list[KafkaRecord], float | None]:
    """A signature, and records of which most fit it, some nearly, and some not at all."""
    names = draw(st.sampled_from((("x",), ("x",), ("x", "y"), ("b64",), ("b64", "y"))))
    inputs = {name: draw(specs) for name in names}
    documents: list[Any] = []
    for _ in range(draw(st.integers(1, 12))):
        document = {name: draw(rows_like(spec)) for name, spec in inputs.items()}
        match draw(st.integers(0, 9)):
            case 0:
                document[draw(st.sampled_from(("x", "y", "b64", "id")))] = draw(values)
            case 1:
                document.pop(draw(st.sampled_from(names)))
            case 2:
                documents.append(draw(values))
                continue
            case 3:
                documents.append(document[names[0]])
                continue
            case 4:
                document["id"] = 1
        documents.append(document)
    raw: list[bytes | None] = [json.dumps(document).encode() for document in documents]
    if draw(st.integers(0, 3)) == 0:
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.sampled_from((None, b"", b"{", b"\xff", b"[1e999]", b"nul")))
    times = st.sampled_from((None, 0, 999, 1000, 5000))
    records = [KafkaRecord("t", 0, i, draw(times), None, value, []) for i, value in enumerate(raw)]
    return Signature("s", METHOD_PREDICT, inputs, {}), records, draw(st.sampled_from((None, None, 1.0)))


def by_row(chunk: DecodedChunk) -> dict[int, Any]:
    """Row → its failure, or its key and its part of each tensor; checks that every row has one outcome."""
    found: dict[int, Any] = dict(chunk.failures)
    keys = [segment.key for segment in chunk.segments]
    assert len(set(keys)) == len(keys), "rows that may share a request are in one segment"
    for segment in chunk.segments:
        assert list(segment.rows) == sorted(segment.rows)
        if len(segment.rows) == len(chunk.records):
            assert segment.rows == range(len(chunk.records))
        for i, row in enumerate(segment.rows):
            assert row not in found
            parts = {}
            for name, array in segment.tensors.items():
                assert len(array) == len(segment.rows)
                part = np.asarray(array[i])
                parts[name] = (array.dtype, array.shape[1:], part.tolist() if array.dtype == object else part.tobytes())
            found[row] = (segment.key, parts)
    assert sorted(found) == list(range(len(chunk.records)))
    return found


@settings(max_examples=400, deadline=None, suppress_health_check=SLOW)
@given(cases())
def test_a_chunk_decodes_as_each_of_its_records_alone(case: tuple[Signature, list[KafkaRecord], float | None]) -> None:
    """The fast path over all rows, the halved groups and the single row obey the same rules, to the bit."""
    signature, records, window_seconds = case
    decoder = Decoder(signature, "json", window_seconds)
    together = by_row(decoder.decode(records))
    for row, record in enumerate(records):
        assert together[row] == by_row(decoder.decode([record]))[0]


LIMITS = {name: np.iinfo(name) for name in NUMERIC if "int" in name}


class RefusalError(Exception):
    """The oracle's answer for a value that must be refused."""


def oracle_shape(value: Any) -> tuple[int, ...]:
    """The shape of regular nested lists, bottom-up (the code goes top-down, by the first elements)."""
    if not isinstance(value, list):
        return ()
    inner = {oracle_shape(v) for v in value}
    if len(inner) > 1:
        raise RefusalError
    return (len(value), *(inner.pop() if inner else ()))


def oracle_element(value: Any, dtype: str) -> Any:
    """One element by the rules as they are written down, with exact integers and NumPy's rounding."""
    if dtype == "string":
        if isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str):
            data = value["b64"].encode()
            if len(data) % 4:
                raise RefusalError
            return base64.b64decode(data, validate=True)
        if not isinstance(value, str) or "\ud800" in value:
            raise RefusalError
        return value.encode()
    if dtype == "bool":
        if not isinstance(value, bool):
            raise RefusalError
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusalError
    if dtype in LIMITS:
        if isinstance(value, float) and (not math.isfinite(value) or math.floor(value) != value):
            raise RefusalError
        if not int(LIMITS[dtype].min) <= int(value) <= int(LIMITS[dtype].max):
            raise RefusalError
        return int(value)
    if isinstance(value, int) and abs(value) > 2**1023:
        raise RefusalError
    with np.errstate(over="ignore"):
        rounded = np.float64(value).astype("float32" if dtype == "bfloat16" else dtype)
    if dtype == "bfloat16" and np.isfinite(rounded) and abs(float(rounded)) >= float.fromhex("0x1.FFp+127"):
        raise RefusalError  # half-way between the greatest bfloat16 and the next power of two
    if np.isinf(rounded) and not math.isinf(value):
        raise RefusalError
    return rounded


def oracle_flat(value: Any) -> list[Any]:
    return [leaf for v in value for leaf in oracle_flat(v)] if isinstance(value, list) else [value]


def oracle(value: Any, spec: TensorSpec) -> tuple[tuple[int, ...], list[Any]]:
    """The row shape and the elements; raises ``RefusalError``."""
    declared = None if spec.shape is None else spec.shape[1:]
    shape = oracle_shape(value)
    if declared is not None:
        if 0 in shape and len(shape) < len(declared):
            shape += declared[len(shape) :]
        if len(shape) != len(declared) or any(s < 0 or d not in (-1, s) for s, d in zip(shape, declared, strict=True)):
            raise RefusalError
    return shape, [oracle_element(v, spec.dtype) for v in oracle_flat(value)]


@settings(max_examples=1000, deadline=None, suppress_health_check=SLOW)
@given(specs.flatmap(lambda spec: st.tuples(st.just(spec), rows_like(spec) | values)))
@example((TensorSpec("int64", (-1, 2)), [9007199254740993, 1.0]))
@example((TensorSpec("float32", (-1, 2)), [True, 1.5]))
@example((TensorSpec("float64", (-1, 2)), ["1", 1.5]))
@example((TensorSpec("string", (-1, 2)), ["ab", "cd"]))
@example((TensorSpec("string", (-1, 2, 2)), ["ab", "cd"]))
def test_a_value_is_cast_exactly_or_refused(case: tuple[TensorSpec, Any]) -> None:
    """Against an oracle without struct, without fast paths: same verdict, same shape, same elements."""
    spec, value = case
    raw = json.dumps({"x": value}).encode()
    chunk = Decoder(Signature("s", METHOD_PREDICT, {"x": spec}, {}), "json").decode(
        [KafkaRecord("t", 0, 0, None, None, raw, [])]
    )
    try:
        shape, elements = oracle(json.loads(raw)["x"], spec)
    except RefusalError:
        assert chunk.failures[0].error_class == "FieldError"
        return
    assert not chunk.failures
    array = chunk.segments[0].tensors["x"]
    assert array.shape == (1, *shape)
    expected = {"string": "object", "bfloat16": "float32"}.get(spec.dtype, spec.dtype)
    assert array.dtype == np.dtype(expected)
    if spec.dtype == "string":
        assert array.ravel().tolist() == elements
    else:
        assert array.tobytes() == np.array(elements, expected).tobytes()


@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
@given(st.data(), st.sampled_from(NUMERIC), st.integers(1, 5))
def test_arrays_come_back_as_they_were(data: st.DataObject, dtype: str, rows: int) -> None:
    """array → JSON → decode is the identity, for every dtype and to the bit (bfloat16 travels as float32)."""
    kind = "float32" if dtype == "bfloat16" else dtype
    if dtype in LIMITS:
        elements: st.SearchStrategy[Any] = st.integers(int(LIMITS[dtype].min), int(LIMITS[dtype].max))
    else:
        widths: dict[str, Literal[16, 32, 64]] = {"float16": 16, "float64": 64}
        bound = 2.0**126 if dtype == "bfloat16" else None  # above it some float32 round to infinity
        elements = st.floats(None if bound is None else -bound, bound, allow_nan=False, width=widths.get(dtype, 32))
    lists = data.draw(st.lists(st.lists(elements, min_size=3, max_size=3), min_size=rows, max_size=rows))
    array = np.array(lists, kind)
    records = [
        KafkaRecord("t", 0, i, None, None, json.dumps({"x": row}).encode(), []) for i, row in enumerate(array.tolist())
    ]
    decoder = Decoder(Signature("s", METHOD_PREDICT, {"x": TensorSpec(dtype, (-1, 3))}, {}))
    (segment,) = decoder.decode(records).segments
    assert segment.rows == range(rows)
    assert segment.tensors["x"].dtype == array.dtype
    assert segment.tensors["x"].tobytes() == array.tobytes()


@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
@given(
    cases(), st.sampled_from((b"'s3cret-42'", b'{"x":"s3cret-42"}', b'{"x":["s3cret-42",1]}', b'{"x":{"b64":"s3cret-42"}}'))
)
def test_no_message_holds_a_value(case: tuple[Signature, list[KafkaRecord], float | None], secret: bytes) -> None:
    signature, _, _ = case
    raw = [secret, secret[:-1], secret + b"\xff", secret.replace(b"s3cret-42", b"73419.5"), secret.replace(b"x", b"b64")]
    records = [KafkaRecord("t", 0, i, None, None, value, []) for i, value in enumerate(raw)]
    for failure in Decoder(signature, "json").decode(records).failures.values():
        assert "s3cret" not in failure.message
        assert "73419" not in failure.message


@settings(max_examples=500, deadline=None, suppress_health_check=SLOW)
@given(
    st.lists(
        st.binary(max_size=20) | st.text(alphabet='{}[]",:xb641-.eENaInfitytruefalsn\\ud8 ').map(str.encode), max_size=6
    )
)
def test_any_bytes_are_an_outcome_never_a_crash(raw: list[bytes]) -> None:
    records = [KafkaRecord("t", 0, i, None, None, value, []) for i, value in enumerate(raw)]
    for dtype in ("float32", "string"):
        for input_format in ("json", "bytes", "tf_example"):
            if dtype == "string" or input_format == "json":
                decoder = Decoder(Signature("s", METHOD_PREDICT, {"x": TensorSpec(dtype, (-1,))}, {}), input_format)
                by_row(decoder.decode(records))
