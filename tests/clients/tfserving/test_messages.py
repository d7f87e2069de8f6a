"""Our description of TensorFlow Serving's messages equals the official one, and brings no TensorFlow along."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from google.protobuf import any_pb2, duration_pb2, message_factory, wrappers_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # they ship no types
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lazily import Lazily
from tests.lazily import tensorflow as tf
from transforms.clients.tfserving import messages
from transforms.clients.wire import rpc_status
from transforms.clients.wire.tensorflow import messages as tensorflow_messages
from transforms.clients.wire.tensorflow.messages import SignatureDefMap
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

classification_pb2, get_model_metadata_pb2, get_model_status_pb2, predict_pb2, regression_pb2 = (
    Lazily(f"tensorflow_serving.apis.{name}_pb2")
    for name in ("classification", "get_model_metadata", "get_model_status", "predict", "regression")
)
_FILES = (
    any_pb2,
    wrappers_pb2,
    duration_pb2,
    status_pb2,
    error_details_pb2,
    predict_pb2,
    classification_pb2,
    regression_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
)
_BYTES_FOR_MESSAGE = {("tensorflow.serving.ExampleList", "examples")}
_INT_FOR_ENUM = {("tensorflow.serving.StatusProto", "error_code")}


def official(name: str) -> Any:
    """The message of the official description; each of the files adds its own to the one pool."""
    [pool] = {file.DESCRIPTOR.pool for file in _FILES}
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def wire_form(field: FieldDescriptor) -> dict[str, Any]:
    oneof = field.containing_oneof
    return {
        "number": field.number,
        "type": field.type,
        "repeated": field.is_repeated,
        "packed": field.is_packed,
        "message": field.message_type.full_name if field.message_type else None,
        "enum": field.enum_type.full_name if field.enum_type else None,
        "oneof": oneof.name if oneof else None,
    }


@pytest.mark.parametrize(
    ("described", "name"),
    [(module, name) for module in (rpc_status, tensorflow_messages, messages) for name in module.MESSAGE_NAMES],
)
def test_every_field_has_the_official_number_and_type(described: Any, name: str) -> None:
    ours: Descriptor = described.message_class(name).DESCRIPTOR
    theirs: Descriptor = official(name).DESCRIPTOR
    assert ours is not theirs
    for field in ours.fields:
        expected = wire_form(theirs.fields_by_name[field.name])
        if (name, field.name) in _BYTES_FOR_MESSAGE:  # length-delimited either way
            assert expected["type"] == FieldDescriptor.TYPE_MESSAGE
            expected |= {"type": FieldDescriptor.TYPE_BYTES, "message": None}
        if (name, field.name) in _INT_FOR_ENUM:  # a varint either way
            expected |= {"type": FieldDescriptor.TYPE_INT32, "enum": None}
        assert wire_form(field) == expected, field.name
        if field.message_type and field.message_type.GetOptions().map_entry:
            entry = theirs.fields_by_name[field.name].message_type
            assert entry is not None
            assert entry.GetOptions().map_entry


def test_enums_have_the_official_numbers() -> None:
    for name, number in tensorflow_messages.DATA_TYPES.items():
        assert tf.dtypes.as_dtype(number).as_datatype_enum == number if number else name == "DT_INVALID"
    for number, name in messages.VERSION_STATES.items():
        assert get_model_status_pb2.ModelVersionStatus.State.Value(name) == number


arrays = st.one_of(
    st.lists(st.floats(width=32), max_size=8).map(lambda v: np.array(v, np.float32)),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8).map(lambda v: np.array(v, np.int64)),
    st.lists(st.binary(max_size=20), max_size=4).map(lambda v: np.array(v, object)),
)


@given(st.dictionaries(st.text(max_size=8), arrays, max_size=4), st.text(max_size=5), st.integers(0, 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_predict_messages_are_equal_on_the_wire(inputs: dict[str, np.ndarray], name: str, version: int) -> None:
    theirs = predict_pb2.PredictRequest()
    theirs.model_spec.name, theirs.model_spec.version.value = name, version
    for key, array in inputs.items():
        dtype = tf.string if array.dtype == object else tf.dtypes.as_dtype(array.dtype)
        theirs.inputs[key].CopyFrom(tf.make_tensor_proto(array.tolist(), dtype, array.shape))
    sent = theirs.SerializeToString(deterministic=True)
    ours = messages.PredictRequest.FromString(sent)
    assert len(UnknownFieldSet(ours)) == 0
    assert ours.SerializeToString(deterministic=True) == sent
    assert set(ours.inputs) == set(inputs)
    assert predict_pb2.PredictRequest.FromString(ours.SerializeToString()) == theirs


@given(st.lists(st.lists(st.tuples(st.text(max_size=5), st.floats(width=32, allow_nan=False)), max_size=3), max_size=3))
@settings(max_examples=30, deadline=None)
def test_classification_messages_are_equal_on_the_wire(rows: list[list[tuple[str, float]]]) -> None:
    theirs = classification_pb2.ClassificationResponse()
    for row in rows:
        classes = theirs.result.classifications.add()
        for label, score in row:
            classes.classes.add(label=label, score=score)
    sent = theirs.SerializeToString()
    ours = messages.ClassificationResponse.FromString(sent)
    assert [[(c.label, c.score) for c in row.classes] for row in ours.result.classifications] == rows
    assert ours.SerializeToString() == sent


def test_serialized_examples_go_in_as_they_are() -> None:
    record = tf.train.Example(
        features=tf.train.Features(feature={"x": tf.train.Feature(float_list=tf.train.FloatList(value=[1, 2]))})
    )
    ours = messages.RegressionRequest(model_spec=messages.ModelSpec(name="m", version_label="stable"))
    ours.input.example_list.examples.extend([record.SerializeToString()] * 2)
    theirs = regression_pb2.RegressionRequest.FromString(ours.SerializeToString())
    assert list(theirs.input.example_list.examples) == [record, record]
    assert theirs.model_spec.version_label == "stable"


def test_metadata_of_the_official_messages_is_read() -> None:
    definition = get_model_metadata_pb2.SignatureDefMap()
    signature = definition.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    signature.inputs["x"].dtype = tf.float32.as_datatype_enum
    signature.inputs["x"].tensor_shape.CopyFrom(tf.TensorShape([None, 3]).as_proto())
    signature.defaults["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    theirs = get_model_metadata_pb2.GetModelMetadataResponse()
    theirs.metadata["signature_def"].Pack(definition)
    ours = messages.GetModelMetadataResponse.FromString(theirs.SerializeToString())
    read = SignatureDefMap.FromString(ours.metadata["signature_def"].value).signature_def["serving_default"]
    assert [dim.size for dim in read.inputs["x"].tensor_shape.dim] == [-1, 3]
    assert list(read.defaults) == ["x"]


def test_the_official_client_reads_what_our_stub_answers() -> None:
    """The stub is only worth something if it is TensorFlow Serving to its own client."""
    grpc = pytest.importorskip("grpc")
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array([[1, 2], [3, 4]], np.float32)))
    with TfServingGrpcStub() as stub, grpc.insecure_channel(stub.address) as channel:
        response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), [[2.5, 3], [3.5, 4]])
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (1, "serving_default")


_USE_IT = """
import asyncio, json, sys
import numpy as np
from transforms.clients import open_client
async def main():
    async with open_client(sys.argv[1]) as client:
        metadata = await client.metadata(10)
        answer = await client.predict({"x": np.ones((2, 3), np.float32)}, 2, 10)
        return metadata.version, answer.outputs["y"].tolist()
answer = asyncio.run(main())
print(json.dumps([answer, sorted(m for m in sys.modules if m.partition(".")[0] in ("tensorflow", "tensorflow_serving"))]))
"""


def test_tensorflow_is_never_imported() -> None:
    """Importing and using the gRPC client in a fresh process leaves TensorFlow out of it."""
    with TfServingGrpcStub() as stub:
        done = subprocess.run([sys.executable, "-c", _USE_IT, stub.uri()], capture_output=True, text=True, check=True)
    answer, imported = json.loads(done.stdout)
    assert answer == ["1", [[2.5] * 3] * 2]
    assert imported == []
