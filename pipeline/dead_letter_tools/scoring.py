"""``Scoring``: puts records through a job's steps (Decode, Predict, Encode) in this process, without a Beam runner."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pipeline.checking.contract import check_all, client_options, formats, served
from pipeline.checking.output_schema import output_schema
from pipeline.checking.registry import check_registry
from pipeline.checking.waiting import StartWait
from pipeline.dead_letter_tools.flags import ReplayConfig
from transforms.kafka.stop import draining
from transforms.memory import Memory
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.predict.options import DispatchOptions
from transforms.predict.pace import RateLimits
from transforms.retry import RetryPolicy
from transforms.stages import ChunkDecoder, DecodeAgain, DecodeConfig, EncodeConfig
from transforms.types import KafkaRecord, OutputRecord, PredictedChunk

HOLDING_DRAIN_S = 1.0
"""Seconds that records may still wait for a server that is down after a request to drain."""


class DrainGuard:
    """Ends a wait for a server when the replay is to end. Implements ``BundleGuard``.

    Args:
        drain_deadline_s: How long records may still wait after a request to drain, in seconds.
        clock: Seconds, monotonic.
        draining: Whether the replay is to end.
    """

    def __init__(
        self,
        drain_deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
        draining: Callable[[], bool] = draining,
    ):
        self._deadline_s, self._clock, self._draining = drain_deadline_s, clock, draining
        self._since: float | None = None

    def keep_alive(self, holding: bool = False) -> bool:
        """See ``BundleGuard.keep_alive``."""
        if not self._draining():
            return True
        self._since = self._clock() if self._since is None else self._since
        return self._clock() - self._since <= min(HOLDING_DRAIN_S if holding else self._deadline_s, self._deadline_s)


class Scoring:
    """The steps of a job.

    Args:
        decode: How records are decoded.
        predict: The model, and how it is asked.
        encode: How outcomes are encoded.
        guard: Ends a wait.
    """

    def __init__(self, decode: DecodeConfig, predict: PredictConfig, encode: EncodeConfig, guard: DrainGuard):
        self._decoder, self._encoder = ChunkDecoder(decode, guard), encode.encoder()
        self._predict = PredictChunks(predict, guard, make_decoder=DecodeAgain(decode, guard))
        self._predict.setup()

    def score(self, records: list[KafkaRecord]) -> list[OutputRecord] | None:
        """Returns one output for each record, in their order: a prediction or a dead letter.

        Returns:
            ``None`` if the replay ended while a server was waited for.

        Raises:
            UnavailableError: A server is down, with ``--on_unavailable=fail``.
        """
        self._predict.start_bundle()
        decoded = self._decoder.decode(records)
        if decoded is None:
            return None
        chunks = [*self._predict.process(decoded), *(windowed.value for windowed in self._predict.finish_bundle())]
        outputs = list(self._encoded(chunks))
        return outputs if len(outputs) == len(records) else None

    def _encoded(self, chunks: list[PredictedChunk]) -> Iterator[OutputRecord]:
        for chunk in chunks:
            yield from self._encoder.encode(chunk)

    def close(self) -> None:
        """Closes the connections."""
        self._predict.teardown()
        self._decoder.close()


def open_scoring(config: ReplayConfig, max_value_bytes: int | None, waiting: StartWait) -> Scoring:
    """Asks the model server, and makes the steps of the job with these flags.

    Args:
        config: The job's flags.
        max_value_bytes: The largest record that the output topic takes.
        waiting: The wait of this start.

    Raises:
        NotReadyError: The model server or the registry is not there, or not ready.
        ContractError: Model, formats and flags do not fit.
    """
    model, _ = check_all(waiting, lambda: served(config, waiting), lambda: None, lambda: check_registry(config, waiting))
    formats(config, model, max_value_bytes)  # what does not fit is told before anything is registered
    decode, encode = formats(config, model, max_value_bytes, output_schema(config, model, waiting))
    retry = RetryPolicy(config.retry_deadline_s)
    dispatch = DispatchOptions(
        config.request_timeout_s,
        retry,
        config.on_unavailable,
        config.max_in_flight,
        limits=RateLimits(config.rate_limit, config.token_limit),
    )
    memory = Memory.of_process(config.memory_mb)
    predict = PredictConfig(config.model, model, client_options(config), dispatch, config.batch_max_size, memory)
    return Scoring(decode, predict, encode, DrainGuard(config.retry_deadline_s))
