"""Puts the job together and runs it: checks first, before anything is consumed, then workers, status and summary."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline import worker
from pipeline.config import Config
from pipeline.demo import Demo
from pipeline.format_options import check_registry
from pipeline.instance import InstanceIds
from pipeline.metrics import serve_metrics
from pipeline.stats import Totals, open_rows
from pipeline.status import Status, open_status, print_summary, write_summary
from transforms.clients import open_client
from transforms.clients.base import ClientOptions
from transforms.errors import ContractError, NotServedError, ScoringError, TransientError
from transforms.kafka.checks import Checker, Topics
from transforms.kafka.config import KafkaConfig
from transforms.kafka.stop import SharedBudget, StopConditions, request_drain, reset_drain
from transforms.types import ModelMetadata

if TYPE_CHECKING:
    from pipeline.build import Job

_A = TypeVar("_A")
_B = TypeVar("_B")

CHECK_TIMEOUT_S = 10.0
CHUNK_BATCHES = 4
"""A chunk holds so many full batches: fewer Beam elements, and still several requests in flight from one chunk."""


def launch(config: Config) -> int:
    """Runs the job that ``config`` describes, to its end.

    Returns:
        The exit status: 0 done or drained, 1 failed while running, 2 does not fit together (nothing was consumed).
    """
    worker.quiet_logging()
    reset_drain()
    loading = threading.Thread(target=_load_beam, daemon=True)  # takes seconds: meanwhile the checks talk to the network
    loading.start()
    with contextlib.ExitStack() as stack:
        status = open_status(config.status)
        try:
            demo = stack.enter_context(Demo(config, status)) if config.embedded_broker or config.embedded_model else None
            config = demo.resolved if demo else config
            ids = InstanceIds(config.bootstrap_servers, config.group_id, config.instance_id, config.workers)
            stack.callback(ids.close)
            model, (topics, stop) = _both(lambda: _ask_model(config), lambda: _check_kafka(config, status))
            check_registry(config)
            if demo:
                stop = dataclasses.replace(stop, max_records=stop.max_records or demo.records) if config.endless else stop
            loading.join()
            job = _job(config, ids.ids[0], model, topics, stop)
        except ScoringError as error:
            for line in str(error).splitlines():
                print(f"error: {line}", file=sys.stderr)
            return worker.EXIT_WRONG
        if topics.created:
            status.say(f"made the dead-letter topic {topics.created}")
        status.say(
            f"scoring {', '.join(config.input_topics)} with {model.model} version {model.version or '?'} "
            f"({config.model}) into {config.output_topic}, {config.delivery.replace('_', ' ')}"
        )
        try:
            code, totals = _run(config, job, ids, demo, status)
        except ScoringError as error:  # before the job has begun: the metrics' port is taken
            print(f"error: {error}", file=sys.stderr)
            return worker.EXIT_WRONG
        print_summary(totals, config, demo.watcher.accuracy() if demo else {}, code)
        if config.summary_json is not None:
            write_summary(totals, config.summary_json)
        return code


def _load_beam() -> None:
    import pipeline.direct  # noqa: F401  # into sys.modules, in the background


def _both(first: Callable[[], _A], second: Callable[[], _B]) -> tuple[_A, _B]:
    """Runs two checks side by side; tells the mistakes of both.

    Raises:
        ContractError: One of them, or both, found something wrong.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(first)
        mistakes = []
        try:
            found = second()
        except ContractError as error:
            mistakes.append(str(error))
        try:
            asked = other.result()
        except ContractError as error:
            mistakes.insert(0, str(error))
    if mistakes:
        raise ContractError("\n".join(mistakes))
    return asked, found


def _ask_model(config: Config) -> ModelMetadata:
    async def ask() -> ModelMetadata:
        async with open_client(config.model, _client_options(config)) as client:
            return await client.metadata(min(CHECK_TIMEOUT_S, config.request_timeout_s))

    try:
        return asyncio.run(ask())
    except TransientError as error:
        raise ContractError(f"--model={config.model}: the model server can't be reached: {error}") from error
    except NotServedError as error:
        raise ContractError(f"--model={config.model}: {error}") from error


def _check_kafka(config: Config, status: Status) -> tuple[Topics, StopConditions]:
    checker = Checker(_kafka(config, "check", None))
    try:
        topics = checker.topics(config.output_topic, config.dead_letter_topic)
        if config.start_from == "committed":
            checker.check_retention(topics.partitions)
        else:
            checker.reset(topics.partitions, config.start_from)
            status.say(f"group {config.group_id}: offsets set to {config.start_from}")
        until, behind = checker.ends(topics.partitions) if config.until_end else (None, ())
    finally:
        checker.close()
    stop_at = time.time() + config.duration_s if config.duration_s is not None else None
    return topics, StopConditions(config.max_records, until, behind, stop_at)


def _kafka(config: Config, instance_id: str, topics: Topics | None) -> KafkaConfig:
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
    )


def _client_options(config: Config) -> ClientOptions:
    return ClientOptions(
        tls_ca_file=config.model_ca_file,
        tls_cert_file=config.model_cert_file,
        tls_key_file=config.model_key_file,
        headers=config.model_headers,
    )


def _job(config: Config, instance_id: str, model: ModelMetadata, topics: Topics, stop: StopConditions) -> Job:
    from pipeline.build import Job
    from transforms.dispatch import DispatchOptions
    from transforms.predict import PredictConfig
    from transforms.retry import RetryPolicy
    from transforms.stages import DecodeConfig, EncodeConfig

    merge = config.output_mode == "merge"
    retry = RetryPolicy(config.retry_deadline_s)
    decode = DecodeConfig(
        model.signature, config.input_format, config.window_seconds, merge, config.formats, retry, config.on_unavailable
    )
    chosen = decode.decoder().input_format  # raises ContractError where format and signature do not fit
    if merge and chosen != "json":
        raise ContractError(f"--output_mode=merge: needs JSON records, but this model takes {chosen}")
    encode = EncodeConfig(
        config.output_topic,
        config.dead_letter_topic,
        model.model,
        config.output_mode,
        config.labels,
        config.top_k,
        model.signature,
        topics.max_value_bytes,
        tuple(name for name, _ in config.formats.pass_through),
        config.formats.registry is not None,
    )
    encode.encoder()
    return Job(
        kafka=_kafka(config, instance_id, topics),
        stop=stop,
        decode=decode,
        predict=PredictConfig(
            config.model,
            model,
            _client_options(config),
            DispatchOptions(
                config.request_timeout_s,
                retry,
                config.on_unavailable,
                config.max_in_flight,
            ),
            config.batch_max_size,
        ),
        encode=encode,
    )


def _run(config: Config, job: Job, ids: InstanceIds, demo: Demo | None, status: Status) -> tuple[int, Totals]:
    with tempfile.TemporaryDirectory(prefix="kafka-model-scoring-") as folder:
        runner = _run_workers if config.workers > 1 else _run_here
        stats_file = Path(folder, "stats")
        rows = open_rows(stats_file, config.workers)
        stack = contextlib.ExitStack()
        with stack:
            if config.metrics_port is not None:
                stack.enter_context(serve_metrics(config.metrics_port, rows))
            if demo:
                demo.start()
            stack.enter_context(status.watching(lambda: Totals(rows), demo.watcher if demo else None))
            code = runner(config, job, ids, stats_file, status)
        if demo:
            demo.watcher.finish()
        return code, Totals(rows)


def _run_here(config: Config, job: Job, ids: InstanceIds, stats_file: Path, status: Status) -> int:
    worker.drain_on_signals(_drainer(status, request_drain))
    code = worker.run(job, config.runner, config.beam_args, worker.Stats(stats_file))
    return worker.EXIT_FAILED if code == worker.EXIT_FENCED else code


def _run_workers(config: Config, job: Job, ids: InstanceIds, stats_file: Path, status: Status) -> int:
    from pipeline.workers import Workers

    stop = job.stop
    if stop.max_records is not None:
        budget_file = stats_file.with_name("budget")
        SharedBudget(budget_file, stop.max_records, 0, config.workers)
        stop = dataclasses.replace(stop, budget_file=str(budget_file))
    workers = Workers(
        [
            worker.Order(
                dataclasses.replace(
                    job,
                    kafka=dataclasses.replace(job.kafka, instance_id=instance_id),
                    stop=dataclasses.replace(stop, worker=index),
                ),
                config.runner,
                config.beam_args,
                stats_file,
                index,
                config.workers,
            )
            for index, instance_id in enumerate(ids.ids)
        ]
    )
    worker.drain_on_signals(_drainer(status, workers.drain))
    status.say(f"{config.workers} workers: process {', '.join(map(str, workers.pids))}")
    try:
        return workers.wait(status.say)
    except ScoringError as error:
        print(f"error: {error}", file=sys.stderr)
        return worker.EXIT_FAILED


def _drainer(status: Status, drain: Callable[[], None]) -> Callable[[], None]:
    def start() -> None:
        drain()
        status.say("draining: finishing what is in flight (a second signal stops at once)")

    return start
