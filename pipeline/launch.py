"""Launches the job: runs all checks before anything is consumed, then the workers, the status and the summary."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import worker
from pipeline.checking.contract import check_all, client_options, formats, kafka_config, served
from pipeline.checking.output_schema import output_schema
from pipeline.checking.registry import check_registry
from pipeline.checking.runner import check_runner
from pipeline.checking.waiting import StartWait
from pipeline.cli.config import Config
from pipeline.cli.names import DATAFLOW, WORKERS_TO_FIT
from pipeline.demo import Demo
from pipeline.process.cores import fitting_workers, usable_cores
from pipeline.process.instance import InstanceIds
from pipeline.process.order import EXIT_DONE, EXIT_FAILED, EXIT_FENCED, EXIT_WRONG, Order
from pipeline.process.signals import drain_on_signals
from pipeline.process.stats import Totals, open_rows
from pipeline.reporting.lag import Lag, LagWatch
from pipeline.reporting.metrics import serve_metrics
from pipeline.reporting.status import Status, open_status, print_summary, write_summary
from pipeline.runners.java import java_kafka
from pipeline.runners.prism import with_prism
from pipeline.starting import SHARD, begin, look
from pipeline.telemetry.metrics import pushed
from pipeline.telemetry.settings import OFF, Telemetry
from pipeline.terminal import tell_error
from transforms.clients.saved_model.store import STORE
from transforms.clients.uri import shown
from transforms.errors import NotReadyError, ScoringError
from transforms.kafka.admin.checks import Topics
from transforms.kafka.admin.lag import GroupLag
from transforms.kafka.config import Partition
from transforms.kafka.stop import SharedBudget, StopConditions, request_drain, reset_drain
from transforms.memory import Memory
from transforms.printable import counted
from transforms.types import ModelMetadata

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from pipeline.job import Job
    from transforms.formats.output_schema import OutputSchema
    from transforms.kafka.config import JavaKafka
    from transforms.predict.pace import RateLimits


def launch(config: Config) -> int:
    """Runs the job that ``config`` describes, to its end.

    Returns:
        The exit status: 0 done or drained, 1 failed while running or waited in vain for a server at the start, 2 a check
        failed (nothing was consumed).
    """
    worker.quiet_logging()
    reset_drain()
    loading = threading.Thread(target=_load_beam, daemon=True)  # takes seconds; the checks run meanwhile
    loading.start()
    with contextlib.ExitStack() as stack:
        stack.callback(STORE.close)  # frees a model that was loaded for the checks only
        status = open_status(config.status)
        try:
            demo = stack.enter_context(Demo(config, status)) if config.demo else None
            config = demo.resolved if demo else config
            if config.model_read_by_beam:
                loading.join()  # two threads that import Beam at once see incomplete modules
            waiting = StartWait(config.wait_for_start_s)
            with contextlib.ExitStack() as checking:
                model, looked = check_all(
                    waiting,
                    lambda: served(config, waiting),
                    lambda: look(config, waiting, checking),
                    lambda: check_registry(config, waiting),
                    lambda: check_runner(config, waiting, loading.join),
                )
                topics = looked.topics
                config = _with_workers(config, topics, status)
                formats(config, model, topics.max_value_bytes)  # before the group is touched
                schema = output_schema(config, model, waiting)
                stop, started_from = begin(looked, config, status)
            if demo:
                stop = demo.stop(stop)
            ids = InstanceIds(config.bootstrap_servers, config.group_id, config.instance_id, config.workers)
            stack.callback(ids.close)
            loading.join()
            if config.job_endpoint_alone:
                beam_args = stack.enter_context(with_prism(config.beam_args, status.say, config.allow_open_ports))
                config = dataclasses.replace(config, beam_args=beam_args)
            java = stack.enter_context(java_kafka(config, topics, status.say)) if config.with_java else None
            instance_id = (config.instance_id or SHARD) if config.has_shards else ids.ids[0]
            job = _job(config, instance_id, model, topics, stop, started_from, java, schema)
        except NotReadyError as error:
            tell_error(error)
            # What waiting may cure is no mistake, so that a service manager starts again; unless no wait is wanted.
            return EXIT_FAILED if config.wait_for_start_s else EXIT_WRONG
        except ScoringError as error:
            tell_error(error)
            return EXIT_WRONG
        for topic in topics.created:
            status.say(f"made the {'output' if topic == config.output_topic else 'dead-letter'} topic {topic}")
        for note in topics.notes:
            status.say(note)
        for name, value, most in () if config.with_java else job.kafka.beyond_memory():
            status.say(
                f"--kafka_config {name}={value}: is more than --memory_mb={config.memory_mb} has for it ({most}); it "
                "counts, and the process may take more memory"
            )
        status.say(
            f"scoring {', '.join(config.input_topics)} with {model.model} version {model.version or '?'} "
            f"({shown(config.model)}) into {config.output_topic}, {config.delivery.replace('_', ' ')}"
        )
        if config.flink:
            from pipeline.runners.flink import job as remote

            return remote.run(config, job, topics.partitions, status)
        if config.remote:
            from pipeline.runners import job_service

            return job_service.run(config, job, topics.partitions, status)
        if config.runner == DATAFLOW:
            return _submit(config, job, topics, status)
        try:
            code, totals, lag = _run(config, job, ids, demo, status)
        except ScoringError as error:  # before the job has begun, for example if the metrics' port is in use
            tell_error(error)
            return EXIT_WRONG
        print_summary(totals, config, demo.watcher.accuracy() if demo else None, code, lag)
        if config.summary_json is not None:
            write_summary(totals, config.summary_json, lag)
        return code


def _with_workers(config: Config, topics: Topics, status: Status) -> Config:
    """``--workers=auto`` as a number."""
    if config.workers != WORKERS_TO_FIT:
        return config
    cores, partitions = usable_cores(), len(topics.partitions)
    alone = config.model_in_worker or config.assignment == "static"
    count = 1 if alone else fitting_workers(cores, partitions)
    status.say(f"--workers=auto: {count} ({cores:g} cores, {counted(partitions, 'partition')})")
    return dataclasses.replace(config, workers=count)


def _load_beam() -> None:
    import pipeline.runners.direct  # noqa: F401  # into sys.modules, in the background


def _job(
    config: Config,
    instance_id: str,
    model: ModelMetadata,
    topics: Topics,
    stop: StopConditions,
    started_from: tuple[str, ...],
    java: JavaKafka | None,
    schema: OutputSchema | None,
) -> Job:
    from pipeline.job import Job
    from transforms.predict.dofn import PredictConfig
    from transforms.predict.options import DispatchOptions
    from transforms.predict.pace import records_a_bundle
    from transforms.retry import RetryPolicy

    decode, encode = formats(config, model, topics.max_value_bytes, schema)
    retry = RetryPolicy(config.retry_deadline_s)
    limits, kafka = _rate_limits(config, topics.partitions), kafka_config(config, instance_id)
    rows = min(model.max_rows or config.batch_max_size, config.batch_max_size)
    return Job(
        kafka=dataclasses.replace(
            kafka,
            max_batch_bytes=topics.max_batch_bytes,
            started_from=started_from,
            max_bundle_records=records_a_bundle(limits, rows, kafka.max_bundle_records),
        ),
        stop=stop,
        decode=decode,
        predict=PredictConfig(
            config.model,
            model,
            client_options(config),
            DispatchOptions(
                config.request_timeout_s,
                retry,
                config.on_unavailable,
                config.max_in_flight,
                config.idle_look_s,
                limits,
            ),
            config.batch_max_size,
            Memory.of_process(config.memory_mb),
        ),
        encode=encode,
        java=java,
        telemetry=_telemetry(config, instance_id),
    )


def _rate_limits(config: Config, partitions: Sequence[Partition] = ()) -> RateLimits:
    """The share of one worker process or, where there are shards, of one shard. All of it if their number is not known."""
    from transforms.predict.pace import RateLimits  # here: with it Beam is loaded, which takes a second

    whole = RateLimits(config.rate_limit, config.token_limit)
    if config.shards_move:
        from pipeline.runners.moving_shards import shards

        return dataclasses.replace(whole.share(shards(partitions, config.beam_args).count), per_shard=True)
    if not config.flink:
        return whole.share(config.workers)
    from pipeline.runners.flink.options import parallelism

    return dataclasses.replace(whole.share(parallelism(config)), per_shard=True)


def _telemetry(config: Config, instance_id: str) -> Telemetry:
    if config.runner == DATAFLOW:
        return OFF
    wanted = Telemetry.of(config.otlp_endpoint, os.environ)
    return dataclasses.replace(wanted, instance=instance_id, group=config.group_id, links=config.batch_max_size)


def _submit(config: Config, job: Job, topics: Topics, status: Status) -> int:
    from pipeline.runners.dataflow.submit import submit
    from pipeline.runners.moving_shards import shards

    divided = shards(topics.partitions, config.beam_args) if config.shards_move else None
    if divided is not None:
        status.say(f"{counted(divided.count, 'shard')} for {counted(len(topics.partitions), 'partition')}")
    try:
        submitted = submit(job, config.beam_args, divided)
    except Exception as error:  # noqa: BLE001  # of Beam, Google's clients and the expansion service: any kind
        print(f"error: the job was not submitted: {type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_FAILED
    for line in submitted.lines():
        status.say(line)
    return EXIT_DONE


def _run(config: Config, job: Job, ids: InstanceIds, demo: Demo | None, status: Status) -> tuple[int, Totals, Lag | None]:
    with tempfile.TemporaryDirectory(prefix="kafka-model-scoring-") as folder:
        runner = _run_workers if config.workers > 1 else _run_here
        stats_file = Path(folder, "stats")
        rows = open_rows(stats_file, config.workers)
        lag = LagWatch(lambda: GroupLag(job.kafka))
        with contextlib.ExitStack() as stack:
            if config.metrics_port is not None:
                serving = serve_metrics(
                    config.metrics_port,
                    rows,
                    config.metrics_host,
                    lag=lambda: lag.latest,
                    model=job.predict.model.model,
                    model_uri=config.model,
                )
                stack.enter_context(serving)
            stack.enter_context(pushed(job.telemetry, lambda: _collector(config, job, rows, lag)))
            if config.status_port is not None:
                from pipeline.reporting.page.showing import showing

                model = job.predict.model.model
                page = stack.enter_context(showing(config, job.kafka, model, rows, stats_file, lambda: lag.latest))
                status.say(f"the page is at {page}")
            if demo:
                demo.start()
            if (
                job.telemetry.metrics
                or config.status != "off"
                or config.metrics_port is not None
                or config.status_port is not None
                or config.summary_json is not None
            ):
                stack.enter_context(lag.watching())  # else nobody is told
            stack.enter_context(status.watching(rows, demo.watcher if demo else None, lambda: lag.latest))
            code = runner(config, job, ids, stats_file, status)
        if demo:
            demo.watcher.finish()
        return code, Totals(rows), lag.latest


def _collector(config: Config, job: Job, rows: Any, lag: LagWatch) -> Collector:
    from pipeline.reporting.collector import StatsCollector  # here: its library loads slowly
    from pipeline.telemetry.gen_ai import gen_ai_of

    return StatsCollector(rows, lambda: lag.latest, job.predict.model.model, gen_ai_of(config.model))


def _run_here(config: Config, job: Job, ids: InstanceIds, stats_file: Path, status: Status) -> int:
    drain_on_signals(_drainer(status, request_drain), status.put_back)
    code = worker.run(job, config.runner, config.beam_args, worker.Stats(stats_file))
    return EXIT_FAILED if code == EXIT_FENCED else code


def _run_workers(config: Config, job: Job, ids: InstanceIds, stats_file: Path, status: Status) -> int:
    from pipeline.process.relay import Relay
    from pipeline.process.supervisor import Workers, start_worker

    stop, rows = job.stop, open_rows(stats_file, config.workers)
    if stop.max_records is not None:
        budget_file = stats_file.with_name("budget")
        SharedBudget(budget_file, stop.max_records, 0, config.workers)
        stop = dataclasses.replace(stop, budget_file=str(budget_file))
    orders = [
        Order(
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
    failure: ScoringError | None = None
    with Relay(status.say if status.has_stderr else None) as relay:
        workers = Workers(
            orders,
            lambda order: start_worker(order, relay),
            answered=lambda index: Totals(rows[index : index + 1]).records,
        )
        drain_on_signals(_drainer(status, workers.drain), status.put_back)
        status.say(f"{config.workers} workers: process {', '.join(map(str, workers.pids))}")
        try:
            return workers.wait(status.say)
        except ScoringError as error:
            failure = error  # told below what the workers have said
    tell_error(failure)
    return EXIT_FAILED


def _drainer(status: Status, drain: Callable[[], None]) -> Callable[[], None]:
    def start() -> None:
        drain()
        status.say("draining: finishing what is in flight (a second signal stops at once)")

    return start
