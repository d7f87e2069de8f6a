"""The flags, checked and typed: one frozen value."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipeline.cli.beam_values import beam_value
from transforms.formats.options import FormatOptions

EMBEDDED = "embedded"
DIRECT = ("DirectRunner", "FnApiRunner")
PRISM = "PrismRunner"
FLINK = "FlinkRunner"
DATAFLOW = "DataflowRunner"

NATIVE = "native"
BEAM = "beam"


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """The flags, checked and typed; see ``flags.py`` for what each means."""

    runner: str
    bootstrap_servers: str
    input_topics: tuple[str, ...]
    output_topic: str
    dead_letter_topic: str
    group_id: str
    start_from: str
    kafka_properties: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
    delivery: str
    workers: int
    assignment: str
    instance_id: str | None
    kafka_io: str
    expansion_service: str | None
    model: str
    model_headers: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
    model_ca_file: str | None
    model_cert_file: str | None
    model_key_file: str | None
    model_poll_s: float
    input_format: str
    formats: FormatOptions
    output_mode: str
    labels: tuple[str, ...] | None
    top_k: int | None
    batch_max_size: int
    batch_max_wait_ms: int
    window_seconds: float | None
    max_in_flight: int | None
    request_timeout_s: float
    retry_deadline_s: float
    on_unavailable: str
    max_records: int | None
    until_end: bool
    duration_s: float | None
    status: str
    summary_json: Path | None
    metrics_port: int | None
    metrics_host: str
    beam_args: tuple[str, ...]

    @property
    def embedded_broker(self) -> bool:
        """Whether a broker has to be started in this process."""
        return self.bootstrap_servers == EMBEDDED

    @property
    def embedded_model(self) -> bool:
        """Whether the demo's model server has to be started."""
        return self.model == EMBEDDED

    @property
    def model_in_worker(self) -> bool:
        """Whether the workers run the model themselves."""
        return self.model.startswith("saved_model://")

    @property
    def model_read_by_beam(self) -> bool:
        """Whether the model's files are in a file system that only Beam reads."""
        return self.model_in_worker and "://" in self.model.removeprefix("saved_model://").partition("?")[0]

    @property
    def direct(self) -> bool:
        """Whether Beam's local engine runs the job."""
        return self.runner in DIRECT

    @property
    def workers_are_here(self) -> bool:
        """Whether the workers are threads of this process, or processes that it has started."""
        environment = beam_value(self.beam_args, "environment_type") or ("LOOPBACK" if self.runner == PRISM else None)
        return self.direct or environment == "LOOPBACK"

    @property
    def with_java(self) -> bool:
        """Whether Beam's Java transforms read and write."""
        return self.kafka_io == BEAM

    @property
    def flink(self) -> bool:
        """Whether the job is handed to a Flink cluster."""
        named = beam_value(self.beam_args, "flink_master") is not None
        return self.runner == FLINK or (self.runner == "PortableRunner" and named)

    @property
    def endless(self) -> bool:
        """Whether nothing but a signal stops the job."""
        return self.max_records is None and not self.until_end and self.duration_s is None
