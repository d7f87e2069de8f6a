"""``LoadedVersion``: one version of a SavedModel in memory. It counts its requests, and is freed after the last one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from transforms.clients.saved_model.arrays import from_tensor, to_tensor, zero_rows
from transforms.clients.tf_runtime.inference import Runner, run_classify, run_regress, run_signature
from transforms.clients.tf_runtime.meta_graph import signature_map_of, signatures_of
from transforms.clients.tf_runtime.serving_error import Code, ServingError
from transforms.clients.wire.outputs import Outputs, classification_outputs
from transforms.clients.wire.tensorflow.signature import from_proto
from transforms.types import METHOD_CLASSIFY, METHOD_REGRESS, Signature

_CONTENT_REFUSED = (Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE)

WARM_UP_TIMEOUT_S = 120.0


class LoadedSession(Runner, Protocol):
    """A loaded graph, such as ``tf_runtime.session.TensorFlowSession``."""

    @property
    def meta_graph_def(self) -> bytes:
        """The serialized ``tensorflow.MetaGraphDef``."""

    def close(self) -> None:
        """Frees the graph. No run may be in progress."""


class LoadedVersion:
    """A version in memory. Safe to use from any thread.

    Args:
        number: The version; ``None`` for a SavedModel outside a version folder.
        session: The loaded graph.
        on_freed: Called after the session was closed; removes the local copy of the files.

    Attributes:
        number: As the argument.
        version: The version as text; empty if ``number`` is ``None``.
        session: As the argument.
        signatures: Signature name to ``tensorflow.SignatureDef``, for ``tf_runtime.inference``.
        published: Signature name to ``Signature``, for clients.
    """

    def __init__(self, number: int | None, session: LoadedSession, on_freed: Callable[[], None] | None = None):
        self.number = number
        self.version = "" if number is None else str(number)
        self.session = session
        self.signatures = signatures_of(session.meta_graph_def)
        self.published = from_proto(signature_map_of(session.meta_graph_def))
        self._on_freed = on_freed
        self._lock = threading.Lock()
        self._uses = 0
        self._retired = self._freed = False
        self._warm: set[str] = set()

    def enter(self) -> bool:
        """Starts a request. If it returns True, ``leave`` must follow.

        Returns:
            Whether this version takes requests. A retired one does not.
        """
        with self._lock:
            if self._retired:
                return False
            self._uses += 1
            return True

    def leave(self) -> None:
        """Ends a request."""
        with self._lock:
            self._uses -= 1
        self._free_if_unused()

    def retire(self) -> None:
        """Takes no more requests, and frees the memory after the last request in progress."""
        with self._lock:
            self._retired = True
        self._free_if_unused()

    def _free_if_unused(self) -> None:
        with self._lock:
            if not self._retired or self._uses or self._freed:
                return
            self._freed = True
        self.session.close()
        if self._on_freed is not None:
            self._on_freed()

    def run(
        self, signature: Signature, inputs: Mapping[str, np.ndarray], timeout_s: float, wanted: Sequence[str] = ()
    ) -> Outputs:
        """Runs one request as TensorFlow Serving would.

        Args:
            signature: One of ``published``.
            inputs: Input name to an array of shape ``[rows, …]``. For Classify and Regress, one entry with the serialized
                ``tf.Example`` records.
            timeout_s: Seconds after which the run is stopped.
            wanted: Names of the outputs to compute; none: all. Classify and Regress compute all of theirs.

        Returns:
            Output name to its values. Classify returns ``classes`` and ``scores``, Regress returns ``value``.

        Raises:
            ServingError: The run failed; code and message are those of TensorFlow Serving.
            TypeError: A string input holds an element that is neither ``bytes`` nor ``str``.
        """
        name = signature.name
        if signature.method in (METHOD_CLASSIFY, METHOD_REGRESS):
            (examples,) = inputs.values()
            records = to_tensor(examples, "string").ravel().tolist()
            if signature.method == METHOD_CLASSIFY:
                return classification_outputs(run_classify(self, name, records, timeout_s))
            return {"value": run_regress(self, name, records, timeout_s)}
        dtypes = {alias: spec.dtype for alias, spec in signature.inputs.items()}
        given = {alias: to_tensor(array, dtypes.get(alias, "")) for alias, array in inputs.items()}
        outputs = run_signature(self, name, given, wanted, timeout_s=timeout_s)
        return {alias: from_tensor(array) for alias, array in outputs.items()}

    def warm_up(self, signature: Signature) -> None:
        """Runs one row of zeros, so that the first record does not wait for the set-up that TensorFlow does in a first run.

        It runs once per signature, and only if the shapes of a row are known. A model that rejects zeros counts as warmed
        up.

        Args:
            signature: One of ``published``.

        Raises:
            ServingError: The model can't be run at all.
        """
        if signature.name in self._warm:
            return
        rows = zero_rows(signature)
        if rows is not None:
            try:
                self.run(signature, rows, WARM_UP_TIMEOUT_S)
            except ServingError as error:
                if error.code not in _CONTENT_REFUSED:
                    raise
        self._warm.add(signature.name)
