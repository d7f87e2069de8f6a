"""Our description of the Open Inference Protocol's messages equals tritonclient's and MLServer's.

Their generated code can't be loaded into one process with another's; each runs in its server's own environment.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers import mlserver, triton
from tests.servers.environment import environment
from transforms.clients.open_inference import messages
from transforms.clients.open_inference.tensors import from_raw, to_raw

# Run there: prints every message's fields, and what it reads of a request and writes as an answer, in hexadecimal.
_THEIRS = """
import importlib, json, sys
modules = [importlib.import_module(name) for name in sys.argv[1].split(",")]
fields = {}
def walk(message):
    fields[message.full_name.replace("inference.model_repository.", "inference.")] = {
        field.name: [field.number, field.type, field.label == 3 if hasattr(field, "label") else field.is_repeated,
                     field.message_type.full_name.replace("model_repository.", "") if field.message_type else None]
        for field in message.fields}
    for nested in message.nested_types:
        walk(nested)
for module in modules:
    for message in module.DESCRIPTOR.message_types_by_name.values():
        walk(message)
request = modules[0].ModelInferRequest.FromString(bytes.fromhex(sys.argv[2]))
answer = modules[0].ModelInferResponse(model_name="m", model_version="7", id="i")
answer.parameters["p"].string_param = "unknown to us"
for given, raw in zip(request.inputs, request.raw_input_contents):
    answer.outputs.add(name=given.name, datatype=given.datatype, shape=given.shape)
    answer.raw_output_contents.append(raw)
typed = modules[0].ModelInferResponse()
typed.outputs.add(name="t", datatype="INT8", shape=[2]).contents.int_contents.extend([-1, 2])
read = [request.model_name, request.model_version, [[i.name, i.datatype, list(i.shape)] for i in request.inputs]]
print(json.dumps({"fields": fields, "read": read, "answer": answer.SerializeToString().hex(),
                  "typed": typed.SerializeToString().hex()}))
"""

_SIDES = {
    "triton": ("pytriton", triton.REQUIREMENTS, "tritonclient.grpc.service_pb2,tritonclient.grpc.model_config_pb2"),
    "mlserver": (
        "mlserver",
        mlserver.REQUIREMENTS,
        "mlserver.grpc.dataplane_pb2,mlserver.grpc.model_repository_pb2",
    ),
}
_TRITONS_OWN = {
    "inference.ModelConfig",
    "inference.ModelConfigRequest",
    "inference.ModelConfigResponse",
    "inference.ModelInput",
}

X = np.array([[1.5, -2]], np.float32)
WORDS = np.array([b"ab", b""], dtype=object)


def theirs(side: str) -> Any:
    name, requirements, modules = _SIDES[side]
    folder: Path = environment(name, requirements)
    request = messages.ModelInferRequest(model_name="m", model_version="7")
    for input_name, array, datatype in (("x", X, "FP32"), ("w", WORDS, "BYTES")):
        request.inputs.add(name=input_name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(to_raw(array, datatype))
    command = [str(folder / "bin/python"), "-c", _THEIRS, modules, request.SerializeToString().hex()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def ours(name: str) -> dict[str, list[Any]]:
    fields = messages.message_class(name).DESCRIPTOR.fields
    return {
        field.name: [
            field.number,
            field.type,
            field.is_repeated,
            field.message_type.full_name if field.message_type else None,
        ]
        for field in fields
    }


@pytest.mark.parametrize("side", _SIDES)
def test_fields_and_bytes_are_theirs(side: str) -> None:
    found = theirs(side)
    for name in messages.MESSAGE_NAMES:
        if side == "mlserver" and name in _TRITONS_OWN:
            continue
        for field, form in ours(name).items():
            assert found["fields"][name][field] == form, f"{name}.{field}"
    assert found["read"] == ["m", "7", [["x", "FP32", [1, 2]], ["w", "BYTES", [2]]]]
    answer = messages.ModelInferResponse.FromString(bytes.fromhex(found["answer"]))
    assert answer.model_version == "7"
    x, words = (
        from_raw(raw, output.datatype, output.shape, output.name)
        for raw, output in zip(answer.raw_output_contents, answer.outputs, strict=True)
    )
    np.testing.assert_array_equal(x, X)
    assert words.tolist() == WORDS.tolist()
    typed = messages.ModelInferResponse.FromString(bytes.fromhex(found["typed"]))
    assert list(typed.outputs[0].contents.int_contents) == [-1, 2]
