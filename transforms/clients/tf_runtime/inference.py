"""Predict, Classify and Regress on arrays, with the checks of TensorFlow Serving.

Each function follows the source file of TensorFlow Serving that its docstring names: the same checks in the same order, with
the same status codes and messages. The functions block while the model runs, so call them in a worker thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from transforms.clients.tf_runtime.serving_error import Code, ServingError, invalid_argument


class Runner(Protocol):
    """What runs a loaded graph, such as ``session.TensorFlowSession``."""

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_s: float | None = None
    ) -> list[np.ndarray]:
        """Runs the graph once. See ``session.TensorFlowSession.run``."""


class SavedModel(Protocol):
    """A loaded model: its session and its signatures."""

    @property
    def session(self) -> Runner:
        """The session that runs the graph."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """Signature name to ``tensorflow.SignatureDef``."""


def run_signature(
    model: SavedModel,
    signature_name: str,
    given: Mapping[str, np.ndarray],
    output_filter: Sequence[str] = (),
    timeout_s: float | None = None,
) -> dict[str, np.ndarray]:
    """Runs Predict.

    Source: ``RunPredict`` and ``PreProcessPrediction`` (predict_util.cc), ``GetInputValues`` (cc/saved_model/util.cc).

    Args:
        model: The loaded model.
        signature_name: The name of the signature to run.
        given: Input name to array.
        output_filter: The names of the outputs to compute; empty for all.
        timeout_s: The time limit of the run in seconds; ``None`` for no limit.

    Returns:
        Output name to array.

    Raises:
        ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for wrong inputs or outputs, or the
            error of TensorFlow.
    """
    signature = model.signatures.get(signature_name)
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
            from transforms.clients.tf_runtime.tensor_protos import from_proto  # with ml_dtypes, which TensorFlow brings

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
    fetched = model.session.run(feeds, [signature.outputs[alias].name for alias in aliases], timeout_s)
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


def _run_examples(
    model: SavedModel, examples: Sequence[bytes], fetches: list[str], feed: str, timeout_s: float | None
) -> list[np.ndarray]:
    """Runs the graph on serialized ``tf.Example`` records. Source: ``PerformOneShotTensorComputation`` (util.cc)."""
    if not examples:
        raise invalid_argument("Input is empty.")
    batch = np.empty(len(examples), dtype=object)
    batch[:] = examples
    return model.session.run({feed: batch}, fetches, timeout_s)


def _example_signature(model: SavedModel, name: str) -> Any:
    if name not in model.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    signature = model.signatures[name]
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    return signature


def run_classify(
    model: SavedModel, signature_name: str, examples: Sequence[bytes], timeout_s: float | None = None
) -> list[list[tuple[str, float]]]:
    """Runs Classify. Source: classifier.cc.

    Args:
        model: The loaded model.
        signature_name: The name of the signature to run.
        examples: Serialized ``tf.Example`` records.
        timeout_s: The time limit of the run in seconds; ``None`` for no limit.

    Returns:
        For each record the label and the score of every class. Labels are empty if the signature has no output ``classes``;
        scores are 0 if it has no output ``scores``.

    Raises:
        ServingError: INVALID_ARGUMENT for a signature or an output that does not fit, or the error of TensorFlow.
    """
    signature = _example_signature(model, signature_name)
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
    outputs = _run_examples(model, examples, fetches, signature.inputs["inputs"].name, timeout_s)
    found = dict(zip(kinds, outputs, strict=True))
    for kind, array in found.items():
        _check_classification(kind, array, len(examples))
    width, *others = (array.shape[1] for array in found.values())
    if others not in ([], [width]):
        raise invalid_argument(f"Tensors class and score should match in dim_size(1). Got {width} vs. {others[0]}")
    nothing = [[None] * width] * len(examples)
    classes, scores = (found[kind].tolist() if kind in found else nothing for kind in ("classes", "scores"))
    return [
        [((label or b"").decode("utf-8", "replace"), score or 0.0) for label, score in zip(labels, of_row, strict=True)]
        for labels, of_row in zip(classes, scores, strict=True)
    ]


def _check_classification(kind: str, array: np.ndarray, count: int) -> None:
    expected = np.dtype(object) if kind == "classes" else np.dtype(np.float32)
    if array.ndim != 2:
        shape = "[" + ",".join(map(str, array.shape)) + "]"
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape}")
    if array.dtype != expected:
        wanted = "DT_STRING" if kind == "classes" else "DT_FLOAT"
        raise invalid_argument(f"Expected {kind} Tensor of {wanted}. Got: {array.dtype}")
    if array.shape[0] != count:
        raise invalid_argument(f"Expected {kind} output batch size of {count}. Got: {array.shape[0]}")


def run_regress(
    model: SavedModel, signature_name: str, examples: Sequence[bytes], timeout_s: float | None = None
) -> np.ndarray:
    """Runs Regress. It takes the arguments of ``run_classify``. Source: regressor.cc.

    Returns:
        The value of each record, float32 [n].

    Raises:
        ServingError: INVALID_ARGUMENT for a signature or an output that does not fit, or the error of TensorFlow.
    """
    signature = _example_signature(model, signature_name)
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    fetches = [signature.outputs["outputs"].name]
    (array,) = _run_examples(model, examples, fetches, signature.inputs["inputs"].name, timeout_s)
    count = len(examples)
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        shape = "[" + ",".join(map(str, array.shape)) + "]"
        raise invalid_argument(f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape}")
    if array.shape[0] != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {array.shape[0]}")
    if array.dtype != np.float32:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {array.dtype}")
    return array.reshape(-1)
