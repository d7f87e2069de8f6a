"""``Encode``: makes output records of all outcomes. ``DeadLetters``: makes dead letters of failures alone.

``OutcomeEncoder`` is what ``Encode`` does with one outcome, for other steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from transforms.dead_letter import dead_letter
from transforms.encode.encoder import PREDICTION, Encoder
from transforms.outcomes import FailedElement, Outcome, Prediction, answer_of
from transforms.own_code import OwnFunction
from transforms.types import KafkaRecord, OutputRecord, PredictedChunk


class Encode(beam.PTransform):
    """Makes an ``OutputRecord`` of each outcome of ``Predict``: a prediction or a dead letter, with the project's headers.

    The outcomes must be of ``KafkaRecord`` elements, because an output has its input's key, timestamp and headers. Pass the
    output records to ``WriteToKafka``, which commits them together with the offsets of the inputs.

    Args:
        output_topic: The topic of predictions.
        dead_letter_topic: The topic of dead letters; ``<output_topic>.dead-letter`` if ``None``.
        output_mode: ``prediction``, or ``merge`` (the prediction inside the original JSON record).
        labels: Class names by index. Predictions then have the best label, its score and the best classes.
        top_k: The number of classes to write.
        postprocess: A function that takes a prediction's fields, as a dict of JSON's types, and returns those to write;
            or its name, ``MODULE:FUNCTION``. What it raises is the record's dead letter (``PostprocessError``).

    Raises:
        ContractError: The arguments do not fit together.
        ConfigError: There is no such function, or it can't be called.
    """

    def __init__(
        self,
        output_topic: str,
        dead_letter_topic: str | None = None,
        *,
        output_mode: str = "prediction",
        labels: Sequence[str] | None = None,
        top_k: int | None = None,
        postprocess: OwnFunction | None = None,
    ):
        super().__init__()
        self._encoder = OutcomeEncoder(
            output_topic, dead_letter_topic, output_mode=output_mode, labels=labels, top_k=top_k, postprocess=postprocess
        )

    def expand(self, outcomes: Any) -> Any:
        """Builds the transform."""
        return outcomes | "Encode" >> beam.Map(_encoded, self._encoder).with_output_types(Any)


def _encoded(outcome: Outcome, encoder: OutcomeEncoder) -> OutputRecord:
    return encoder.encode(outcome, _record(outcome))


class OutcomeEncoder:
    """Makes the output record of one outcome after the other. It can be pickled.

    Args:
        output_topic: The topic of predictions.
        dead_letter_topic: The topic of dead letters; ``<output_topic>.dead-letter`` if ``None``.
        options: The other arguments of ``Encode``.

    Raises:
        ContractError: The arguments do not fit together.
        ConfigError: There is no such function, or it can't be called.
    """

    def __init__(self, output_topic: str, dead_letter_topic: str | None = None, **options: Any):
        self._dead_letter_topic = dead_letter_topic or f"{output_topic}.dead-letter"
        options["output_mode"] = options.get("output_mode", PREDICTION)
        options["labels"] = tuple(options["labels"]) if options.get("labels") is not None else None
        self._arguments = {"output_topic": output_topic, "dead_letter_topic": self._dead_letter_topic, **options}
        Encoder(model="", **self._arguments)  # a wrong argument is told where it was written
        self._encoders: dict[str, Encoder] = {}

    def encode(self, outcome: Outcome, record: KafkaRecord) -> OutputRecord:
        """Returns the prediction or the dead letter.

        Args:
            outcome: What the model made of it.
            record: The record whose key, timestamp and headers the output has.
        """
        if isinstance(outcome, FailedElement):
            return dead_letter(record, outcome.failure, self._dead_letter_topic)
        encoder = self._encoders.get(outcome.model)
        if encoder is None:
            encoder = self._encoders[outcome.model] = Encoder(model=outcome.model, **self._arguments)
        [written] = encoder.encode(PredictedChunk([record], [answer_of(outcome)], {}))
        return written

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoders": {}}  # each process makes its own


class DeadLetters(beam.PTransform):
    """Makes a dead letter of each ``FailedElement``: the original key, value and headers, and headers that say why.

    The failures may be those that ``Predict`` gives, or ones of your own:
    ``FailedElement(record, Failure("decode", "TooOld", "older than a day"))``. The elements must be ``KafkaRecord`` values.

    Args:
        dead_letter_topic: The topic of the dead letters.
    """

    def __init__(self, dead_letter_topic: str):
        super().__init__()
        self._topic = dead_letter_topic

    def expand(self, failures: Any) -> Any:
        """Builds the transform."""
        return failures | "DeadLetter" >> beam.Map(_dead_letter, self._topic).with_output_types(Any)


def _dead_letter(failed: FailedElement, topic: str) -> OutputRecord:
    if not isinstance(failed, FailedElement):
        raise TypeError(
            f"DeadLetters takes FailedElement values, not {type(failed).__name__}; for all outcomes of Predict use Encode, "
            "or take the failures of Predict(…).with_exception_handling()"
        )
    return dead_letter(_record(failed), failed.failure, topic)


def _record(outcome: Any) -> KafkaRecord:
    if not isinstance(outcome, Prediction | FailedElement) or not isinstance(outcome.element, KafkaRecord):
        came = outcome.element if isinstance(outcome, Prediction | FailedElement) else outcome
        raise TypeError(
            f"only what was read as a KafkaRecord can be written with its key and headers, not {type(came).__name__}"
        )
    return outcome.element
