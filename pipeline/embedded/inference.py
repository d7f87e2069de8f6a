"""The model server's calls, independent of the protocol: Predict, Classify, Regress, metadata and status.

Each function follows one of TensorFlow Serving's sources, named in its docstring, check by check, with the same codes and
messages. The functions block while the model runs: call them in a worker thread.
"""

from __future__ import annotations

from typing import Any

from pipeline.embedded.messages import serialized_examples
from pipeline.embedded.servable import DEFAULT_SIGNATURE, Models, Servable
from transforms.clients.tf_runtime.inference import run_classify, run_regress, run_signature
from transforms.clients.tf_runtime.serving_error import Code, ServingError, invalid_argument
from transforms.clients.tf_runtime.tensor_protos import fill_proto, from_proto
from transforms.clients.tfserving.messages import (
    ClassificationResponse,
    GetModelMetadataResponse,
    GetModelStatusResponse,
    PredictResponse,
    RegressionResponse,
)
from transforms.clients.wire.tensorflow.messages import SignatureDefMap

SIGNATURE_DEF = "signature_def"
_ANY_PREFIX = "type.googleapis.com/"


def find_servable(models: Models, request: Any) -> Servable:
    """Returns the servable a request asks for.

    Raises:
        ServingError: There is no such servable, or the request has no model_spec.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return models.find(request.model_spec)


def _answered(response: Any, servable: Servable, signature_name: str) -> None:
    response.model_spec.name = servable.name
    response.model_spec.signature_name = signature_name
    response.model_spec.version.value = servable.version


def predict(models: Models, request: Any, as_content: bool = False) -> Any:
    """``PredictRequest`` to ``PredictResponse``. Source: predict_impl.cc."""
    servable = find_servable(models, request)
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:  # before the inputs are read, as TensorFlow Serving does
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    given = {alias: from_proto(request.inputs[alias], alias) for alias in request.inputs}
    response = PredictResponse()
    _answered(response, servable, name)
    for alias, array in run_signature(servable, name, given, request.output_filter).items():
        fill_proto(array, response.outputs[alias], as_content)
    return response


def classify(models: Models, request: Any) -> Any:
    """``ClassificationRequest`` to ``ClassificationResponse``. Source: classifier.cc."""
    servable = find_servable(models, request)
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    rows = run_classify(servable, name, serialized_examples(request.input))
    response = ClassificationResponse()
    _answered(response, servable, name)
    for row in rows:
        classes = response.result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)
    return response


def regress(models: Models, request: Any) -> Any:
    """``RegressionRequest`` to ``RegressionResponse``. Source: regressor.cc."""
    servable = find_servable(models, request)
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    values = run_regress(servable, name, serialized_examples(request.input))
    response = RegressionResponse()
    _answered(response, servable, name)
    for value in values.tolist():
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
    for known in models.states(request.model_spec):
        status = response.model_version_status.add(version=known.version, state=known.state)
        status.status.SetInParent()
        if known.error is not None:
            status.status.error_code = known.error.code.value
            status.status.error_message = known.error.message
    return response
