"""``Predict``: the public transform, for any pipeline, bounded or not. Elements in, one outcome each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from transforms.clients import check_uri
from transforms.clients.base import ClientOptions
from transforms.guard import BundleGuard
from transforms.outcomes import FailedElement
from transforms.own_code import OwnFunction, load
from transforms.predict.options import FAIL, DispatchOptions
from transforms.predict.scorer import Scorer, ScorerConfig, client_options
from transforms.retry import RetryPolicy

PREDICTIONS = "predictions"
FAILURES = "failures"


class Predict(beam.PTransform):
    """Scores each element with a model, and emits one outcome for each: ``Prediction`` or ``FailedElement``.

    An element is a ``KafkaRecord``, which is decoded by the model's signature as ``python -m pipeline`` does it; or
    features: a mapping of input name to one row (an array or Python value without the batch dimension) or, for a model of
    one input, that row alone.

    Requests are batched, and many are in flight. A bundle emits the outcomes of all its elements, in their order, with their
    windows and timestamps. An element that the model refuses, or that does not fit its signature, becomes a
    ``FailedElement``. The other elements of its batch are answered. No connection is opened while the pipeline is
    constructed.

    By default the output is one PCollection, so that ``Encode`` and ``WriteToKafka`` can write a bundle in one Kafka
    transaction. ``with_exception_handling()`` gives two: predictions and failures.

    Args:
        model: The model's URI, as for ``--model``.
        max_batch_size: Most rows of a request.
        input_format: The format of ``KafkaRecord`` values: ``auto``, ``json``, ``bytes`` or ``tf_example``.
        preprocess: A function that takes the fields of a record, or of an element, as a dict, and returns the model's
            inputs; or its name, ``MODULE:FUNCTION``. What has no fields comes as ``{"value": …}``. What it raises makes the
            element a failure (``PreprocessError``).
        request_timeout_s: Time-out of one request, in seconds.
        retry_deadline_s: How long to retry a failing request, in seconds.
        on_unavailable: What to do if the server is still down then: ``fail`` (the bundle fails, and the runner retries it),
            ``hold`` (wait for it) or ``dead_letter`` (the elements are failures).
        max_in_flight: Most requests in flight; ``None`` adapts to the server.
        outputs: Names of the model's outputs to return; none: all.
        client: Options of the client, such as TLS files and headers.
        guard: Keeps the source alive while a bundle waits, which may take long with ``hold``. After ``ReadFromKafka`` use
            ``SessionGuard``.

    Raises:
        ConfigError: The URI can't be used; there is no such function, or it can't be called.
    """

    def __init__(
        self,
        model: str,
        *,
        max_batch_size: int = 64,
        input_format: str = "auto",
        preprocess: OwnFunction | None = None,
        request_timeout_s: float = 30.0,
        retry_deadline_s: float = 60.0,
        on_unavailable: str = FAIL,
        max_in_flight: int | None = None,
        outputs: Sequence[str] = (),
        client: ClientOptions | None = None,
        guard: BundleGuard | None = None,
    ):
        super().__init__()
        check_uri(model)
        if preprocess is not None:
            load("preprocess", preprocess)  # a wrong argument is told where it was written
        dispatch = DispatchOptions(request_timeout_s, RetryPolicy(retry_deadline_s), on_unavailable, max_in_flight)
        options = client_options(client, outputs)
        self._config = ScorerConfig(model, options, dispatch, max_batch_size, input_format, preprocess)
        self._guard = guard
        self._apart = False

    def with_exception_handling(self) -> Predict:
        """Makes the output ``(predictions, failures)`` instead of one PCollection. Beam's transforms use the same name."""
        self._apart = True
        return self

    def expand(self, elements: Any) -> Any:
        """Builds the transform."""
        outcomes = elements | "Score" >> beam.ParDo(PredictElements(self._config, self._guard)).with_output_types(Any)
        if not self._apart:
            return outcomes
        apart = outcomes | "Apart" >> beam.Map(_tagged).with_outputs(FAILURES, main=PREDICTIONS)
        return apart[PREDICTIONS], apart[FAILURES]


def _tagged(outcome: Any) -> Any:
    return TaggedOutput(FAILURES, outcome) if isinstance(outcome, FailedElement) else outcome


class _Windowing(NamedTuple):
    timestamp: Any
    window: Any


class PredictElements(beam.DoFn):
    """The DoFn behind ``Predict``.

    Args:
        config: The model and how to ask it.
        guard: Keeps the source alive while a bundle waits.
    """

    def __init__(self, config: ScorerConfig, guard: BundleGuard | None = None):
        self._config, self._guard = config, guard
        self._scorer: Scorer[_Windowing] | None = None

    def setup(self) -> None:
        """Makes the scorer. Opens no connection."""
        self._scorer = Scorer(self._config, self._guard)

    def start_bundle(self) -> None:
        """Asks for the model's metadata, if it is not known yet."""
        assert self._scorer is not None
        self._scorer.begin()

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[WindowedValue]:
        """Adds an element; yields the outcomes that are complete."""
        assert self._scorer is not None
        for windowing, outcome in self._scorer.add(element, _Windowing(timestamp, window)):
            yield WindowedValue(outcome, windowing.timestamp, (windowing.window,))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Waits for the remaining outcomes."""
        assert self._scorer is not None
        for windowing, outcome in self._scorer.end():
            yield WindowedValue(outcome, windowing.timestamp, (windowing.window,))

    def teardown(self) -> None:
        """Closes the client."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None
