"""``LoadedModel``: a pool of connections to one model, one for each thread that is predicting.

Beam shares a loaded model among all threads of a worker, and never closes it. A connection has an asyncio loop that runs in
the calling thread (``predict/request_loop.py``), so each call takes a connection of its own out of the pool. Idle
connections are closed when the model is garbage-collected, or when the interpreter exits.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Sequence
from typing import Any

from apache_beam.ml.inference.base import PredictionResult

from transforms.outcomes import FailedElement, Outcome
from transforms.predict.scorer import Scorer, ScorerConfig


class LoadedModel:
    """Answers batches. Thread-safe.

    Args:
        config: Which model, and how to ask it.
    """

    def __init__(self, config: ScorerConfig):
        self._config = config
        self._idle: list[Scorer[None]] = []  # append and pop are atomic
        weakref.finalize(self, _close, self._idle)

    def predict(self, examples: Sequence[Any]) -> list[PredictionResult]:
        """Returns a result for each example, in order; a failure is the ``inference`` of its result.

        Raises:
            UnavailableError: The server is down, and ``on_unavailable`` is ``fail``.
            NotServedError: The model, version or signature is not there.
        """
        try:
            scorer = self._idle.pop()
        except IndexError:
            scorer = Scorer(self._config)
        try:
            scorer.begin()
            found = [_result(outcome) for example in examples for _, outcome in scorer.add(example, None)]
            return found + [_result(outcome) for _, outcome in scorer.end()]
        finally:
            self._idle.append(scorer)  # after a failure, too: ``begin`` resets it


def _result(outcome: Outcome) -> PredictionResult:
    if isinstance(outcome, FailedElement):
        return PredictionResult(outcome.element, outcome.failure)
    model_id = f"{outcome.model}@{outcome.version}" if outcome.version else outcome.model
    return PredictionResult(outcome.element, outcome.outputs, model_id)


def _close(idle: list[Scorer[None]]) -> None:
    while idle:
        with contextlib.suppress(Exception):  # nobody is left to handle a failure to close
            idle.pop().close()
