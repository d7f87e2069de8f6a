"""``UriModelHandler``: any model that a URI names, in Beam's own ``RunInference``.

An element is one row: a mapping of input name to an array (or Python value) without the batch dimension or, for a model of
one input, the bare array, bytes or value; a ``KafkaRecord`` is decoded by the signature. With Beam's ``KeyedModelHandler``
around the handler, it is a pair of a key and such a row.

The output is one ``PredictionResult`` for each element, in order. Its ``inference`` is a mapping of output name to the
element's row of that output. Its ``model_id`` is ``MODEL@VERSION``, with the version that answered.

Failures:

* An element that the model refuses, or that does not fit its signature, gives a result too: its ``inference`` is a
  ``Failure`` (stage, class, message, attempts). The other elements of its batch are answered. ``is_failure`` distinguishes
  the two. Beam's ``with_exception_handling`` can't do this: it drops the whole batch of an exception.
* If the server is down past the retry deadline, or does not have the model or signature, an exception is raised. The runner
  retries the bundle, as for any DoFn, or ``RunInference(…).with_exception_handling()`` sends the batch to its second output.
  Set ``on_unavailable`` to ``hold`` or ``dead_letter`` to change this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from transforms.clients import check_uri
from transforms.clients.base import ClientOptions
from transforms.errors import ConfigError
from transforms.handlers.loaded import LoadedModel
from transforms.predict.options import FAIL, DispatchOptions
from transforms.predict.scorer import ScorerConfig, client_options
from transforms.retry import RetryPolicy
from transforms.types import Failure


def is_failure(result: Any) -> bool:
    """Whether a result of ``RunInference``, keyed or not, is a failure; ``beam.Partition`` and ``beam.Filter`` take it."""
    if isinstance(result, tuple) and not isinstance(result, PredictionResult) and len(result) == 2:
        result = result[1]
    return isinstance(result, PredictionResult) and isinstance(result.inference, Failure)


class UriModelHandler(ModelHandler):
    """A Beam ``ModelHandler`` for the model that a URI names. The constructor opens no connection. Picklable.

    Args:
        model: The model's URI, as for ``--model``.
        min_batch_size: As Beam's.
        max_batch_size: As Beam's; also the most rows of a request. If the server's own limit is lower, a batch is sent as
            several requests at once.
        max_batch_duration_secs: As Beam's.
        max_batch_weight: As Beam's.
        element_size_fn: As Beam's.
        request_timeout_s: Time-out of one request, in seconds.
        retry_deadline_s: How long to retry a failing request, in seconds.
        on_unavailable: What to do if the server is still down then: ``fail`` (an exception), ``hold`` (wait for it) or
            ``dead_letter`` (the elements are failures).
        max_in_flight: Most requests in flight for one thread; ``None`` adapts to the server.
        outputs: Names of the model's outputs to return; none: all.
        client: Options of the client, such as TLS files and headers.

    Raises:
        ConfigError: The URI can't be used, or is of another protocol.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    """The URI schemes that a subclass takes; empty for all."""

    def __init__(
        self,
        model: str,
        *,
        min_batch_size: int | None = None,
        max_batch_size: int = 64,
        max_batch_duration_secs: int | None = None,
        max_batch_weight: int | None = None,
        element_size_fn: Callable[[Any], int] | None = None,
        request_timeout_s: float = 30.0,
        retry_deadline_s: float = 60.0,
        on_unavailable: str = FAIL,
        max_in_flight: int | None = None,
        outputs: Sequence[str] = (),
        client: ClientOptions | None = None,
    ):
        super().__init__(
            min_batch_size=min_batch_size,
            max_batch_size=max_batch_size,
            max_batch_duration_secs=max_batch_duration_secs,
            max_batch_weight=max_batch_weight,
            element_size_fn=element_size_fn,
        )
        self._check(model)
        self._model = model
        self._client = client_options(client, outputs)
        self._dispatch = DispatchOptions(request_timeout_s, RetryPolicy(retry_deadline_s), on_unavailable, max_in_flight)
        self._max_batch_size = max_batch_size

    def load_model(self) -> LoadedModel:
        """Makes the connections' pool. Connects at the first batch only, so the server may start later than the job."""
        return LoadedModel(ScorerConfig(self._model, self._client, self._dispatch, self._max_batch_size))

    def run_inference(
        self, batch: Sequence[Any], model: LoadedModel, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """Answers one batch.

        Raises:
            UnavailableError: The server is down, and ``on_unavailable`` is ``fail``.
            NotServedError: The model, version or signature is not there.
        """
        return model.predict(list(batch))

    def validate_inference_args(self, inference_args: Mapping[str, Any] | None) -> None:
        """Refuses all ``inference_args``. Options of a request are given by the URI and by ``client``."""
        if inference_args:
            raise ValueError(f"{type(self).__name__} takes no inference_args; put them into the model's URI or client=")

    def update_model_path(self, model_path: str | None = None) -> None:
        """Switches to another model, for Beam's automatic model refresh: its ``model_id`` must be a model URI."""
        if model_path:
            self._check(model_path)
            self._model = model_path

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Returns the bytes of the elements' tensors, without serializing them."""
        return sum(map(_num_bytes, batch))

    def get_metrics_namespace(self) -> str:
        """The namespace of Beam's RunInference metrics."""
        return f"BeamML_{type(self).__name__.removesuffix('Handler').removesuffix('Model')}"

    def _check(self, uri: str) -> None:
        check_uri(uri)
        scheme = uri.partition("://")[0]
        if self.schemes and scheme not in self.schemes:
            forms = ", ".join(f"{name}://" for name in self.schemes)
            raise ConfigError([f"{type(self).__name__} takes {forms}, not {scheme}://; UriModelHandler takes any model URI"])


def _num_bytes(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_num_bytes, value.values()))
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return int(value.nbytes)
    if isinstance(value, np.ndarray | list | tuple):
        return sum(map(_num_bytes, value.ravel().tolist() if isinstance(value, np.ndarray) else value))
    return len(value) if isinstance(value, bytes | str) else 8  # a Python number takes 8 bytes as float64 or int64
