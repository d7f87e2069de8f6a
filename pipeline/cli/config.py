"""``Config``: the checked and typed flags, properties derived from them, and Beam's own arguments."""

from __future__ import annotations

import dataclasses

from pipeline.cli.beam_values import beam_value
from pipeline.cli.flag import by_name, flags_of
from pipeline.cli.flags import Flags
from pipeline.cli.names import BEAM, DATAFLOW, DIRECT, EMBEDDED, FLINK, PORTABLE, PRISM
from transforms.formats.codecs import JSON
from transforms.formats.options import FormatOptions, RegistryConfig


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config(Flags):
    """The configuration of a job. Each flag is a field; see ``flags.py``.

    Attributes:
        beam_args: Beam's own arguments, as they were given.
    """

    beam_args: tuple[str, ...] = ()

    @property
    def formats(self) -> FormatOptions:
        """The decoder's options: schema, registry, paths, the user's function, the prompt."""
        registry = None
        if self.schema_registry:
            registry = RegistryConfig(self.schema_registry, self.schema_registry_config, self.max_answer_bytes)
        return FormatOptions(
            self.avro_schema,
            registry,
            self.features,
            self.pass_through,
            self.max_record_bytes,
            self.preprocess,
            self.prompt,
            self.output_format != JSON,
        )

    @property
    def demo(self) -> bool:
        """Whether this is the demo, whose broker and model server are embedded. A rule refuses half of it."""
        return self.bootstrap_servers == EMBEDDED

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
        """Whether Beam's local runner runs the job."""
        return self.runner in DIRECT

    @property
    def workers_are_here(self) -> bool:
        """Whether the workers are threads of this process, or processes that it has started."""
        unsaid = "LOOPBACK" if self.job_endpoint_alone else None
        return self.direct or (beam_value(self.beam_args, "environment_type") or unsaid) == "LOOPBACK"

    @property
    def with_java(self) -> bool:
        """Whether Beam's Java transforms read and write."""
        return self.kafka_io == BEAM

    @property
    def shards_move(self) -> bool:
        """Whether the runner may move shards between its workers while the job runs."""
        return not self.with_java and (self.runner == DATAFLOW or (self.remote and not self.flink))

    @property
    def has_shards(self) -> bool:
        """Whether the workers are elsewhere, and the partitions are divided among shards."""
        return self.remote or self.shards_move

    @property
    def flink(self) -> bool:
        """Whether the job is handed to a Flink cluster."""
        named = beam_value(self.beam_args, "flink_master") is not None
        return self.runner == FLINK or (self.runner == PORTABLE and named)

    @property
    def job_endpoint_alone(self) -> bool:
        """Whether the job goes to Prism or another runner of which nothing is known but its job server."""
        return self.runner in (PRISM, PORTABLE) and not self.flink

    @property
    def remote(self) -> bool:
        """Whether the job is handed to a cluster, and watched from here: its workers are elsewhere."""
        portable = self.runner == PORTABLE and not self.with_java and not self.workers_are_here
        return self.flink or portable

    @property
    def endless(self) -> bool:
        """Whether nothing but a signal stops the job."""
        return self.max_records is None and not self.until_end and self.duration_s is None


FLAGS = flags_of(Config)
"""The rows of the table, in the order of ``--help``."""

BY_NAME = by_name(FLAGS)
