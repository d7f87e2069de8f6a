"""What the model server answers, whichever protocol asked: Predict, Classify, Regress, metadata and status.

Each function follows one of TensorFlow Serving's sources, named in its docstring, check by check, with the same codes and
messages. They block while the model runs: call them from a worker thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.embedded.messages import serialized_examples
from pipeline.embedded.servable import DEFAULT_SIGNATURE, Models, Servable
from pipeline.embedded.status import Code, ServingError, invalid_argument
from pipeline.embedded.tensor_protos import fill_proto, from_proto
from transforms.clients.tfserving_messages import (
    ClassificationResponse,
    GetModelMetadataResponse,
    GetModelStatusResponse,
    PredictResponse,
    RegressionResponse,
    SignatureDefMap,
)

STATE_AVAILABLE = 30
SIGNATURE_DEF = "signature_def"
_ANY_PREFIX = "type.googleapis.com/"


def find_servable(models: Models, request: Any) -> Servable:
    """Returns the servable a request asks for.

    Raises:
        ServingError: There is none, or the request has no model_spec.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return models.find(request.model_spec)


def run_signature(
    servable: Servable, signature_name: str, given: Mapping[str, np.ndarray], output_filter: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Runs Predict on arrays; returns output name to array.

    Source: ``RunPredict`` and ``PreProcessPrediction`` (predict_util.cc), ``GetInputValues`` (cc/saved_model/util.cc).

    Raises:
        ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for wrong inputs or outputs, and
            whatever TensorFlow says.
    """
    signature = servable.signatures.get(signature_name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{signature_name}" not found.')
    names, inputs = set(given), signature.inputs
    if len(given) > len(inputs) or (len(given) < len(inputs) and not signature.defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(given)}!={len(inputs)} len({_set(given)}) != len({_set(inputs)}). "
            f"Sent extra: {_set(names - set(inputs))}. Missing but required: {_set(set(inputs) - names)}."
        )
    feeds = {}
    for alias in sorted(inputs):
        feed_name = inputs[alias].name
        if alias in given:
            feeds[feed_name] = given[alias]
        elif alias in signature.defaults:
            feeds[feed_name] = from_proto(signature.defaults[alias], alias)
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {feed_name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_set(given)}, or default input alias set: "
                f"{_list(signature.defaults)}"
            )
    if not names <= set(inputs):
        used = _list(names & set(inputs))
        raise invalid_argument(f"Inputs contains invalid name. Used request inputs: {used}, request input: {_list(given)}")
    aliases = _outputs(signature, output_filter)
    fetched = servable.session.run(feeds, [signature.outputs[alias].name for alias in aliases])
    return dict(zip(aliases, fetched, strict=True))


def _outputs(signature: Any, output_filter: Sequence[str]) -> list[str]:
    for position, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            expected = _set(signature.outputs)
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {expected}."
            )
        if alias in output_filter[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return list(output_filter) or sorted(signature.outputs)


def _list(names: Any) -> str:
    return ",".join(sorted(names))


def _set(names: Any) -> str:
    return "{" + _list(names) + "}"


def _answered(response: Any, servable: Servable, signature_name: str) -> None:
    response.model_spec.name = servable.name
    response.model_spec.signature_name = signature_name
    response.model_spec.version.value = servable.version


def predict(models: Models, request: Any, as_content: bool = False) -> Any:
    """``PredictRequest`` to ``PredictResponse``. Source: predict_impl.cc."""
    servable = find_servable(models, request)
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:  # before the inputs are read, as there
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    given = {alias: from_proto(request.inputs[alias], alias) for alias in request.inputs}
    response = PredictResponse()
    _answered(response, servable, name)
    for alias, array in run_signature(servable, name, given, request.output_filter).items():
        fill_proto(array, response.outputs[alias], as_content)
    return response


def _run_examples(servable: Servable, request: Any, fetches: list[str], feed: str) -> tuple[int, list[np.ndarray]]:
    """Source: ``PerformOneShotTensorComputation`` (util.cc)."""
    examples = serialized_examples(request.input)
    if not examples:
        raise invalid_argument("Input is empty.")
    batch = np.empty(len(examples), dtype=object)
    batch[:] = examples
    return len(examples), servable.session.run({feed: batch}, fetches)


def _example_signature(servable: Servable, request: Any) -> tuple[str, Any]:
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return name, servable.signatures[name]


def classify(models: Models, request: Any) -> Any:
    """``ClassificationRequest`` to ``ClassificationResponse``. Source: classifier.cc."""
    servable = find_servable(models, request)
    name, signature = _example_signature(servable, request)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    kinds = [kind for kind in ("classes", "scores") if kind in signature.outputs]
    if not kinds:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}"
        )
    fetches = [signature.outputs[kind].name for kind in kinds]
    count, outputs = _run_examples(servable, request, fetches, signature.inputs["inputs"].name)
    found = dict(zip(kinds, outputs, strict=True))
    for kind, array in found.items():
        expected = np.dtype(object) if kind == "classes" else np.dtype(np.float32)
        if array.ndim != 2:
            shape = "[" + ",".join(map(str, array.shape)) + "]"
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape}")
        if array.dtype != expected:
            wanted = "DT_STRING" if kind == "classes" else "DT_FLOAT"
            raise invalid_argument(f"Expected {kind} Tensor of {wanted}. Got: {array.dtype}")
        if array.shape[0] != count:
            raise invalid_argument(f"Expected {kind} output batch size of {count}. Got: {array.shape[0]}")
    width, *others = (array.shape[1] for array in found.values())
    if others not in ([], [width]):
        raise invalid_argument(f"Tensors class and score should match in dim_size(1). Got {width} vs. {others[0]}")
    response = ClassificationResponse()
    _answered(response, servable, name)
    for row in range(count):
        classifications = response.result.classifications.add()
        for column in range(width):
            entry = classifications.classes.add()
            if "classes" in found:
                entry.label = found["classes"][row, column].decode("utf-8", "replace")
            if "scores" in found:
                entry.score = found["scores"][row, column]
    return response


def regress(models: Models, request: Any) -> Any:
    """``RegressionRequest`` to ``RegressionResponse``. Source: regressor.cc."""
    servable = find_servable(models, request)
    name, signature = _example_signature(servable, request)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    fetches = [signature.outputs["outputs"].name]
    count, (array,) = _run_examples(servable, request, fetches, signature.inputs["inputs"].name)
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        shape = "[" + ",".join(map(str, array.shape)) + "]"
        raise invalid_argument(f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape}")
    if array.shape[0] != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {array.dtype}")
    response = RegressionResponse()
    _answered(response, servable, name)
    for value in array.reshape(-1).tolist():
        response.result.regressions.add(value=value)
    return response


def model_metadata(models: Models, request: Any) -> Any:
    """``GetModelMetadataRequest`` to ``GetModelMetadataResponse``. Source: get_model_metadata_impl.cc."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")
    servable = models.find(request.model_spec)
    signatures = SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = GetModelMetadataResponse()
    response.model_spec.name = servable.name
    response.model_spec.version.value = servable.version
    packed = response.metadata[SIGNATURE_DEF]
    packed.type_url = _ANY_PREFIX + SignatureDefMap.DESCRIPTOR.full_name
    packed.value = signatures.SerializeToString()
    return response


def model_status(models: Models, request: Any) -> Any:
    """``GetModelStatusRequest`` to ``GetModelStatusResponse``. Source: get_model_status_impl.cc."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    response = GetModelStatusResponse()
    for version in models.states(request.model_spec):
        status = response.model_version_status.add(version=version, state=STATE_AVAILABLE)
        status.status.SetInParent()
    return response
