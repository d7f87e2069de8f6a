"""Each input judged alone: what is at fault is what the decoder refuses, and every fault of a record is found."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.formats.decoding import UNKNOWN, records, takes
from transforms.decode.decoder import Decoder
from transforms.formats.options import FormatOptions, Paths
from transforms.types import TensorSpec

FLOAT = TensorSpec("float32", (-1,))
TWO = takes(a=FLOAT, b=TensorSpec("int64", (-1, 2)))

_VALUES = st.none() | st.booleans() | st.integers(0, 5) | st.floats(0, 5) | st.sampled_from(["1", "x"])
_DOCUMENTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), _VALUES | st.lists(_VALUES, max_size=3)) | _VALUES
_FEATURES: list[Paths] = [(), (("a", "$.c|number|default(1)"),), (("b", "[$.a,$.c]"),)]


@given(st.lists(_DOCUMENTS, max_size=5), st.sampled_from(_FEATURES), st.booleans(), st.booleans())
def test_what_is_at_fault_is_refused_and_nothing_else(
    documents: list[Any], features: Paths, optional: bool, returned: bool
) -> None:
    signature = takes(a=TensorSpec("float32", (-1,), has_default=optional), b=TWO.inputs["b"])
    options = FormatOptions(features=features, preprocess=dict if returned else None)
    decoder = Decoder(signature, "json", formats=options)
    chunk = records(*[json.dumps(document).encode() for document in documents], None, b"{")
    judged = decoder.judge(chunk)
    assert judged is not None
    assert list(judged.rows) == list(range(len(documents)))
    assert judged.at_fault() | {len(documents), len(documents) + 1} == set(decoder.decode(chunk).failures)


def test_all_faults_of_a_record_are_found() -> None:
    judged = Decoder(TWO, "json").judge(records(b'{"a":"x","b":[1,null]}', b'{"a":1}', b"5"))
    assert judged is not None
    a, b = judged.inputs["a"], judged.inputs["b"]
    assert [one.problem.partition(";")[0] for one in (a[0], b[0])] == [
        "a: expected float32, came a string",
        "b[1]: expected int64, came null",
    ]
    assert (a[1].values, a[1].at_fault, b[1].missing) == ((1,), False, "$.b")
    assert (a[2].missing, b[2].missing, judged.at_fault()) == ("the record is no object",) * 2 + ({0, 1, 2},)


def test_records_without_fields_are_not_judged() -> None:
    assert Decoder(takes(x=TensorSpec("string", (-1,)))).judge(records(b"x")) is None
    assert Decoder(UNKNOWN).judge(records(b"{}")) is None
