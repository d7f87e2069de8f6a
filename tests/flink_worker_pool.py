"""Beam's worker pool on one loopback address: it starts a Python worker (a process) whenever a task manager asks for one.

    python -m tests.flink_worker_pool ADDRESS PORT

``apache_beam.runners.worker.worker_pool_main`` is the same service, but listens on every address of the machine; two of
them on one port, one beside each task manager as on Kubernetes, need an address each.
"""

from __future__ import annotations

import signal
import sys

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


def main(address: str, port: str) -> None:
    """Serves until it is killed."""
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    servicer = BeamFnExternalWorkerPoolServicer(use_process=True)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(servicer, server)
    if not server.add_insecure_port(f"{address}:{port}"):
        raise SystemExit(f"can't listen on {address}:{port}")
    server.start()
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
