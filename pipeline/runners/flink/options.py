"""Flags of a job on Flink: which of ours do not fit there, which of the runner's own are let through, and our defaults.

Beam's job server is asked for its options only when a job is submitted, so their names are listed here.
"""

from __future__ import annotations

from pipeline.cli.beam_values import FOREVER_S, beam_value
from pipeline.cli.config import Config
from pipeline.cli.names import PORTABLE
from transforms.kafka.native.shards import Shards, default_max_parallelism

OPTIONS = tuple(
    f"--{name}"
    for name in (
        "allow_non_restored_state", "attached_mode", "auto_watermark_interval", "checkpoint_timeout_millis",
        "checkpointing_interval", "checkpointing_mode", "disable_metrics", "enable_stable_input_drain",
        "execution_retry_delay", "externalized_checkpoints_enabled", "fail_on_checkpointing_errors", "faster_copy",
        "finish_bundle_before_checkpointing", "flink_conf_dir", "force_unaligned_checkpoint_enabled",
        "job_check_interval_in_secs", "latency_tracking_interval", "max_bundle_size", "max_bundle_time_mills",
        "min_pause_between_checkpoints", "num_concurrent_checkpoints", "number_of_execution_retries", "object_reuse",
        "operator_chaining", "report_checkpoint_duration", "retain_externalized_checkpoints_on_cancellation",
        "savepoint_path", "shutdown_sources_after_idle_ms", "state_backend", "state_backend_storage_path",
        "unaligned_checkpoint_enabled", "files_to_stage",
    )
)  # fmt: skip
"""Options of Beam's ``FlinkPipelineOptions`` (2.62) which Beam's Python does not know by itself."""

DEFAULTS = {
    # Without checkpoints Flink does not restart a failed job. They hold one timer for each shard, so they cost little.
    "checkpointing_interval": "10000",
    # Timers do not count as elements of a bundle, so only this time-out ends a bundle. It adds to the latency.
    "max_bundle_time_mills": "4",
    "job_server_timeout": str(FOREVER_S),
}


def parallelism(config: Config) -> int:
    """``--parallelism``: how many subtasks the job has."""
    return int(beam_value(config.beam_args, "parallelism") or 1)


def shards(config: Config) -> Shards:
    """One shard a subtask."""
    count = parallelism(config)
    return Shards(count, int(beam_value(config.beam_args, "max_parallelism") or default_max_parallelism(count)))


def beam_args(config: Config) -> list[str]:
    """What Beam is given: the user's, and our defaults for what is not among them."""
    divided = shards(config)
    defaults = {
        **DEFAULTS,
        "parallelism": str(divided.count),
        "max_parallelism": str(divided.max_parallelism),
    }
    ours = [f"--{name}={value}" for name, value in defaults.items() if beam_value(config.beam_args, name) is None]
    return [*config.beam_args, *ours]


def mistakes(config: Config) -> list[str]:
    """What is missing for Flink, and which of Beam's options do not fit there, each with the cure.

    Our own flags that do not fit say so in their rows of the table.
    """
    found = []
    runner = config.runner
    if beam_value(config.beam_args, "flink_master") is None:
        found.append(
            f"--runner={runner}: give --flink_master=HOST:PORT, Flink's REST interface: by it the job is watched and ended"
        )
    if beam_value(config.beam_args, "job_name") is not None:
        found.append(f"--job_name: on {runner} the job is named by its --group_id, of which there may be one; leave it out")
    if beam_value(config.beam_args, "savepoint_path") is not None:
        found.append(
            "--savepoint_path: Kafka is the checkpoint: the job goes on from the group's committed offsets, in any "
            "--parallelism; leave it out"
        )
    if runner == PORTABLE and beam_value(config.beam_args, "job_endpoint") is None:
        found.append("--runner=PortableRunner: give --job_endpoint=HOST:PORT of Beam's job server")
    for name in ("parallelism", "max_parallelism"):
        value = beam_value(config.beam_args, name)
        if value is not None and (not value.isdecimal() or not int(value)):
            found.append(f"--{name}={value}: give a whole number of at least 1")
    if not found and shards(config).count > shards(config).max_parallelism:
        found.append("--max_parallelism: is less than --parallelism; Flink needs at least as much")
    if beam_value(config.beam_args, "checkpointing_interval") in ("-1", "0"):
        found.append("--checkpointing_interval: without checkpoints Flink does not restart a job that fails; leave it out")
    return found
