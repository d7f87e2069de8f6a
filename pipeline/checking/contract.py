"""Checks that model, topics and flags fit together, before anything is consumed.

``python -m pipeline`` does this before every run, and ``python -m pipeline.check`` does it alone.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pipeline.checking.waiting import ATTEMPT_S, StartWait
from pipeline.cli.config import Config
from transforms.beam_files import BeamFiles
from transforms.clients.base import ClientOptions
from transforms.clients.uri import shown
from transforms.errors import CertificateError, ContractError, NotReadyError, NotServedError, ScoringError, TransientError
from transforms.kafka.config import KafkaConfig
from transforms.memory import Memory
from transforms.predict.ask import ask_model
from transforms.predict.batching import CHUNK_BATCHES
from transforms.retry import RetryPolicy
from transforms.types import ModelMetadata

if TYPE_CHECKING:
    from transforms.formats.output_schema import OutputSchema
    from transforms.stages import DecodeConfig, EncodeConfig

_A = TypeVar("_A")
_B = TypeVar("_B")

LOAD_TIMEOUT_S = 900.0
"""The time limit for loading a model in the worker. Its files may have to be copied first, which can take minutes."""


def check_all(
    waiting: StartWait, model: Callable[[], _A], topics: Callable[[], _B], *others: Callable[[], None]
) -> tuple[_A, _B]:
    """Runs the checks in parallel and reports the mistakes of all.

    Args:
        waiting: The wait that the checks share. It ends early if a check finds a mistake that waiting does not cure.
        model: Asks the model server.
        topics: Asks Kafka.
        others: Ask others, such as the schema registry.

    Raises:
        NotReadyError: One or more servers do not answer or are not ready; there is no other mistake.
        ContractError: One or more found something wrong.
    """
    pool = concurrent.futures.ThreadPoolExecutor(2 + len(others), thread_name_prefix="check")
    try:
        asked, looked = pool.submit(model), pool.submit(topics)
        rest = [pool.submit(other) for other in others]
        checks: list[concurrent.futures.Future[Any]] = [asked, looked, *rest]
        concurrent.futures.wait(checks, return_when=concurrent.futures.FIRST_EXCEPTION)
    finally:  # the others, if one has failed or this thread was interrupted
        waiting.give_up()
        pool.shutdown(wait=False)
    errors = [future.exception() for future in checks]
    if mistakes := [error for error in errors if isinstance(error, ScoringError)]:
        kind = NotReadyError if all(isinstance(error, NotReadyError) for error in mistakes) else ContractError
        raise kind("\n".join(map(str, mistakes)))
    for future in rest:
        future.result()
    return asked.result(), looked.result()


def served(config: Config, waiting: StartWait) -> ModelMetadata:
    """Asks the model server what it serves, until it answers or the wait is over.

    Raises:
        NotReadyError: It can't be reached, or the model is still loading.
        ContractError: It does not serve that, or a certificate is not accepted.
    """
    whom = "the model" if config.model_in_worker else "the model server"
    problem = f"{whom} can't be {'loaded now' if config.model_in_worker else 'reached'}"
    asked = urlsplit(config.model).netloc
    cure = f"; {asked} is an address of --bootstrap_servers" if asked in config.bootstrap_servers.split(",") else ""

    def ask(timeout_s: float) -> ModelMetadata:
        try:
            return ask_model(config.model, client_options(config), ask_timeout_s(config, timeout_s))
        except CertificateError as error:
            raise ContractError(f"--model={shown(config.model)}: {problem}: {error}{cure}") from error
        except TransientError as error:
            kind = ContractError if cure else NotReadyError  # it is no model server, however long it is waited for
            raise kind(f"--model={shown(config.model)}: {problem}: {error}{cure}") from error
        except NotServedError as error:
            raise ContractError(f"--model={shown(config.model)}: {error}{cure}") from error

    return waiting.until_there(whom, ask)


def ask_timeout_s(config: Config, timeout_s: float = ATTEMPT_S) -> float:
    """Returns how long to wait for the model's metadata: ``timeout_s``, unless the model is loaded here."""
    return LOAD_TIMEOUT_S if config.model_in_worker else min(timeout_s, config.request_timeout_s)


def formats(
    config: Config, model: ModelMetadata, max_value_bytes: int | None, schema: OutputSchema | None = None
) -> tuple[DecodeConfig, EncodeConfig]:
    """Returns how records are decoded and encoded, checked against the model's signature.

    Args:
        config: The flags.
        model: The model.
        max_value_bytes: The largest record that the output topic takes.
        schema: The schema of predictions (``output_schema.py``); ``None`` for JSON.

    Raises:
        ContractError: They do not fit; the message names the flag, the field and the cure.
    """
    from transforms.stages import DecodeConfig, EncodeConfig  # here: it loads Beam, which takes a second

    merge = config.output_mode == "merge"
    decode = DecodeConfig(
        model.signature,
        config.input_format,
        config.window_seconds,
        merge,
        config.formats,
        RetryPolicy(config.retry_deadline_s),
        config.on_unavailable,
    )
    decode.decoder()
    encode = EncodeConfig(
        config.output_topic,
        config.dead_letter_topic,
        model.model,
        config.output_mode,
        config.labels,
        config.top_k,
        model.signature,
        max_value_bytes,
        tuple(name for name, _ in config.formats.pass_through),
        config.formats.registry is not None,
        config.postprocess,
        schema,
    )
    encode.encoder()
    return decode, encode


def kafka_config(config: Config, instance_id: str) -> KafkaConfig:
    """Returns the Kafka settings that source and sink of the job share."""
    return KafkaConfig(
        config.bootstrap_servers,
        config.input_topics,
        config.group_id,
        instance_id,
        delivery=config.delivery,
        assignment=config.assignment,
        properties=config.kafka_properties,
        chunk_records=CHUNK_BATCHES * config.batch_max_size,
        batch_max_size=config.batch_max_size,
        batch_max_wait_ms=config.batch_max_wait_ms,
        one_outcome_each=True,
        dead_letter_topic=config.dead_letter_topic,
        memory=Memory.of_process(config.memory_mb),
        shards_move=config.shards_move,
    )


def client_options(config: Config) -> ClientOptions:
    """Returns the options of the model's client."""
    return ClientOptions(
        tls_ca_file=config.model_ca_file,
        tls_cert_file=config.model_cert_file,
        tls_key_file=config.model_key_file,
        headers=config.model_headers,
        max_answer_bytes=config.max_answer_bytes,
        model_poll_s=config.model_poll_s,
        model_files=BeamFiles(),
        outputs=config.outputs,
        signature=config.signature,
        request=config.request,
        response=config.response,
        system_prompt=config.system_prompt,
        answer_schema=config.answer_schema,
    )
