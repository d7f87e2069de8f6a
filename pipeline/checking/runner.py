"""``check_runner``: whether a job server, Flink and Google's credentials are there before a job is handed over."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.checking.waiting import StartWait
from pipeline.cli.beam_values import beam_value
from pipeline.cli.config import Config
from pipeline.cli.names import DATAFLOW


def check_runner(config: Config, waiting: StartWait, load_beam: Callable[[], None]) -> None:
    """Waits for whom the flags name by an address: the job server, and Flink's REST interface.

    Args:
        config: The flags.
        waiting: The wait of this start.
        load_beam: Returns when Beam is loaded: two threads that import it at once see incomplete modules.

    Raises:
        NotReadyError: Who is asked does not answer.
        ContractError: The job server's runner is known to lack something, or somebody else is at the address; or there are
            no credentials for Dataflow.
    """
    if config.runner == DATAFLOW:
        from pipeline.runners.dataflow.credentials import check_credentials

        check_credentials(config.beam_args)
    endpoint = beam_value(config.beam_args, "job_endpoint")
    if endpoint is not None and (config.job_endpoint_alone or config.flink):
        load_beam()
        from pipeline.runners.job_service import ask_job_server, check_job_server

        check = ask_job_server if config.flink else check_job_server
        waiting.until_there("the job server", lambda attempt_s: check(endpoint, attempt_s))
    master = beam_value(config.beam_args, "flink_master")
    if config.flink and master is not None:
        from pipeline.runners.flink.rest import check_flink

        waiting.until_there("Flink", lambda attempt_s: check_flink(master, attempt_s))
