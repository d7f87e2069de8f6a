"""``Predict``: the public transform. Elements in, one outcome each, for anybody's pipeline, bounded or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from transforms.clients import check_uri
from transforms.clients.base import ClientOptions
from transforms.guard import BundleGuard
from transforms.outcomes import FailedElement
from transforms.predict.dispatch import FAIL, DispatchOptions
from transforms.predict.scorer import Scorer, ScorerConfig, client_with_files
from transforms.retry import RetryPolicy

PREDICTIONS = "predictions"
FAILURES = "failures"


class Predict(beam.PTransform):
    """Scores each element with a model, and gives one outcome each: ``Prediction`` or ``FailedElement``.

    Elements are ``KafkaRecord`` values, decoded by the model's signature as the pipeline does it, or features: a mapping of
    input name to one row (an array or Python value without the batch dimension) or, for a model of one input, that row.

    Requests are batched, many are in flight, and a bundle's outcomes leave in it, in the order of its elements, with their
    windows and timestamps. An element that the model refuses, or that does not fit its signature, is a ``FailedElement``;
    the others of its batch are answered. Nobody is contacted while the pipeline is constructed.

    By default everything comes out in one PCollection, so that ``Encode`` and ``WriteToKafka`` can write a bundle in one
    Kafka transaction; ``with_exception_handling()`` gives predictions and failures apart.

    Args:
        model: The model's URI, as for ``--model``.
        max_batch_size: Rows of a request at most.
        input_format: How a ``KafkaRecord`` is read: ``auto``, ``json``, ``bytes`` or ``tf_example``.
        request_timeout_s: One request's time at most, in seconds.
        retry_deadline_s: How long a failing request is tried again, in seconds.
        on_unavailable: With the server down after that: ``fail`` (the bundle fails, and the runner tries it again),
            ``hold`` (wait for it) or ``dead_letter`` (the elements are failures).
        max_in_flight: Requests at a time; ``None`` adapts to what the server takes.
        client: TLS files, headers and the like.
        guard: Keeps the source alive while a bundle waits, which ``hold`` may make long: ``SessionGuard`` behind
            ``ReadFromKafka``.

    Raises:
        ConfigError: The URI can't be used.
    """

    def __init__(
        self,
        model: str,
        *,
        max_batch_size: int = 64,
        input_format: str = "auto",
        request_timeout_s: float = 30.0,
        retry_deadline_s: float = 60.0,
        on_unavailable: str = FAIL,
        max_in_flight: int | None = None,
        client: ClientOptions | None = None,
        guard: BundleGuard | None = None,
    ):
        super().__init__()
        check_uri(model)
        dispatch = DispatchOptions(request_timeout_s, RetryPolicy(retry_deadline_s), on_unavailable, max_in_flight)
        self._config = ScorerConfig(model, client_with_files(client), dispatch, max_batch_size, input_format)
        self._guard = guard
        self._apart = False

    def with_exception_handling(self) -> Predict:
        """Gives ``(predictions, failures)`` instead of one PCollection, as Beam's transforms do by this name."""
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
        """Makes the scorer; contacts nobody yet."""
        self._scorer = Scorer(self._config, self._guard)

    def start_bundle(self) -> None:
        """Finds out what is served, if that is not known yet."""
        assert self._scorer is not None
        self._scorer.begin()

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[WindowedValue]:
        """Takes an element; yields what is complete."""
        assert self._scorer is not None
        for windowing, outcome in self._scorer.add(element, _Windowing(timestamp, window)):
            yield WindowedValue(outcome, windowing.timestamp, (windowing.window,))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Waits for every answer."""
        assert self._scorer is not None
        for windowing, outcome in self._scorer.end():
            yield WindowedValue(outcome, windowing.timestamp, (windowing.window,))

    def teardown(self) -> None:
        """Closes the client."""
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None
