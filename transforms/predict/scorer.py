"""``Scorer``: elements in, one outcome each, in order. Used by ``Predict`` and by the model handlers."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from transforms.beam_files import BeamFiles
from transforms.clients.base import ClientOptions
from transforms.dead_letter_classes import DeadLetterClass
from transforms.decode.decoder import Decoder
from transforms.decode.features import FeatureDecoder
from transforms.decode.preprocess import Preprocess
from transforms.errors import UnavailableError
from transforms.formats.options import FormatOptions
from transforms.guard import BundleGuard
from transforms.observe import reporting_failures
from transforms.outcomes import FailedElement, Outcome, outcomes_of
from transforms.own_code import OwnFunction
from transforms.predict.ask import ask_until_served
from transforms.predict.batching import CHUNK_BATCHES
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.options import DEAD_LETTER, DispatchOptions
from transforms.types import KafkaRecord, PredictedChunk

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class ScorerConfig:
    """The model to score with, and the options of its requests.

    Attributes:
        uri: The model's URI.
        client: Options of the client.
        dispatch: Retries, time-outs, requests in flight.
        batch_max_size: Most rows of a request.
        input_format: The format of ``KafkaRecord`` values.
        preprocess: The user's function of a record's or an element's fields, or its ``MODULE:FUNCTION``.
    """

    uri: str
    client: ClientOptions
    dispatch: DispatchOptions
    batch_max_size: int
    input_format: str = "auto"
    preprocess: OwnFunction | None = None


def client_options(client: ClientOptions | None, outputs: Sequence[str] = ()) -> ClientOptions:
    """Returns the options of a client.

    Args:
        client: Options that were given. Beam's file systems for ``saved_model://`` are added, unless it has ``model_files``.
        outputs: Names of the outputs to return, in place of those in ``client``; none: as in ``client``.
    """
    client = client or ClientOptions()
    if outputs:
        client = dataclasses.replace(client, outputs=tuple(outputs))
    return client if client.model_files is not None else dataclasses.replace(client, model_files=BeamFiles())


class Scorer(Generic[T]):
    """Scores bundles of elements: ``KafkaRecord`` values or features. Not thread-safe.

    Every element comes with a tag: any value, which comes back with the outcome of that element.

    Args:
        config: The model and how to ask it.
        guard: Keeps the source alive while a bundle waits.
    """

    def __init__(self, config: ScorerConfig, guard: BundleGuard | None = None):
        self._config, self._guard = config, guard
        self._chunks: PredictChunks | None = None
        self._collected: list[object] = []
        self._tags: collections.deque[T] = collections.deque()
        self._down: UnavailableError | None = None

    def begin(self) -> None:
        """Begins a bundle, also after one that failed. Asks for the model's metadata the first time.

        Raises:
            UnavailableError: The server is down. With ``on_unavailable=dead_letter`` the elements are failures instead.
            NotServedError: The model, version or signature is not there.
            ContractError: The input format does not fit the signature.
        """
        self._collected = []
        self._tags.clear()
        self._down = None
        try:
            chunks = self._chunks = self._chunks or self._connected()
        except UnavailableError as error:
            if self._config.dispatch.on_unavailable != DEAD_LETTER:
                raise
            self._down = error
        else:
            chunks.start_bundle()

    def add(self, element: object, tag: T) -> Iterator[tuple[T, Outcome]]:
        """Adds an element; yields the outcomes that are complete, in the order of the elements."""
        if self._down is not None:
            yield tag, FailedElement(element, DeadLetterClass.UNAVAILABLE.failure(str(self._down), 1))
            return
        if self._collected and isinstance(element, KafkaRecord) != isinstance(self._collected[0], KafkaRecord):
            yield from self._send()
        self._tags.append(tag)
        self._collected.append(element)
        if len(self._collected) >= CHUNK_BATCHES * self._config.batch_max_size:
            yield from self._send()

    def end(self) -> Iterator[tuple[T, Outcome]]:
        """Ends the bundle: sends the rest, waits, and yields the remaining outcomes."""
        if self._down is not None:
            return
        yield from self._send()
        assert self._chunks is not None
        for windowed in self._chunks.finish_bundle():
            yield from self._complete(windowed.value)

    def close(self) -> None:
        """Closes the client. May be called twice."""
        if self._chunks is not None:
            self._chunks.teardown()
            self._chunks = None

    def _connected(self) -> PredictChunks:
        config = self._config
        with reporting_failures():
            metadata = ask_until_served(config.uri, config.client, config.dispatch, guard=self._guard)
            self._records: Decoder | None = None
            features = FeatureDecoder(metadata.signature)
            own = config.preprocess
            self._features = features if own is None else Preprocess(own, metadata.signature)
        self._metadata = metadata
        predict = PredictConfig(config.uri, metadata, config.client, config.dispatch, config.batch_max_size)
        chunks = PredictChunks(predict, self._guard)
        chunks.setup()
        return chunks

    def _send(self) -> Iterator[tuple[T, Outcome]]:
        collected, self._collected = self._collected, []
        if not collected:
            return
        if isinstance(collected[0], KafkaRecord):
            if self._records is None:  # made at the first record: features may fit a signature that no record format fits
                options = FormatOptions(preprocess=self._config.preprocess)
                self._records = Decoder(self._metadata.signature, self._config.input_format, formats=options)
            decoded = self._records.decode(collected)  # type: ignore[arg-type]  # all are KafkaRecord values
        else:
            decoded = self._features.decode(collected)
            decoded.records = collected  # type: ignore[assignment]  # the elements take the place of the records
        assert self._chunks is not None
        for chunk in self._chunks.process(decoded):
            yield from self._complete(chunk)

    def _complete(self, chunk: PredictedChunk) -> Iterator[tuple[T, Outcome]]:
        for outcome in outcomes_of(chunk.records, chunk, self._metadata.model):
            yield self._tags.popleft(), outcome
