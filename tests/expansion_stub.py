"""An expansion service without Java: it answers the two transforms of Beam's Kafka with Python ones, to build graphs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.coders import RowCoder
from apache_beam.io import kafka
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_artifact_api_pb2_grpc, beam_expansion_api_pb2_grpc, external_transforms_pb2
from apache_beam.runners.portability import artifact_service, expansion_service
from apache_beam.transforms import ptransform

asked: list[tuple[str, dict[str, Any]]] = []
"""URN and configuration of every transform that was expanded."""


class Answer(beam.PTransform):
    """Stands for a Java transform, of which nothing but its place in the graph is looked at.

    Args:
        urn: Which one.
        payload: Its configuration.
    """

    def __init__(self, urn: str, payload: bytes):
        super().__init__()
        self._urn, self._payload = urn, payload
        message = external_transforms_pb2.ExternalConfigurationPayload.FromString(payload)
        asked.append((urn, RowCoder(message.schema).decode(message.payload)._asdict()))

    def expand(self, what: Any) -> Any:
        if self._urn == kafka.ReadFromKafka.URN_WITH_METADATA:
            return what | beam.Create([b""], reshuffle=False)
        what | beam.Map(lambda row: row)
        return beam.pvalue.PDone(what.pipeline)

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return self._urn, self._payload


for _urn in (kafka.ReadFromKafka.URN_WITH_METADATA, kafka.WriteToKafka.URN_WITH_HEADERS):
    ptransform.PTransform.register_urn(_urn, None, lambda _, payload, context, urn=_urn: Answer(urn, payload))


@contextlib.contextmanager
def expansion_stub() -> Iterator[str]:
    """Serves while the block runs; gives ``host:port``."""
    asked.clear()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = expansion_service.ExpansionServiceServicer(PipelineOptions([]))
    beam_expansion_api_pb2_grpc.add_ExpansionServiceServicer_to_server(servicer, server)
    artifacts = artifact_service.ArtifactRetrievalService(artifact_service.BeamFilesystemHandler(None).file_reader)
    beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(artifacts, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
