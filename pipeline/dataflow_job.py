"""``python -m pipeline.dataflow_job drain|cancel|state JOB --project=P --region=R``: ends a job or prints its state.

A drained job stops reading, finishes what it has read, and commits. So draining ends a job on Dataflow without loss.
Source: https://cloud.google.com/dataflow/docs/guides/stopping-a-pipeline.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pipeline.cli.command_line import beam_flags, version
from pipeline.cli.entry import EXIT_WRONG, flags_or_told
from pipeline.cli.names import DATAFLOW
from pipeline.cli.program import program
from pipeline.cli.telling import TellingParser, stray_words, unknown_flags
from pipeline.runners.dataflow.credentials import check_credentials
from pipeline.runners.dataflow.options import missing_packages
from pipeline.terminal import tell_error
from transforms.errors import ConfigError, ContractError

STATES = {"drain": "JOB_STATE_DRAINING", "cancel": "JOB_STATE_CANCELLED"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 done, 1 refused by Dataflow, 2 a wrong flag or no credentials."""
    flags = flags_or_told(_parse, argv, "dataflow_job")
    if flags is None:
        return EXIT_WRONG
    args, beam_args = flags
    from apitools.base.py.exceptions import HttpError

    try:
        check_credentials(beam_args)
    except ContractError as error:
        tell_error(error)
        return EXIT_WRONG
    try:
        state = act(args.action, args.job, [f"--project={args.project}", f"--region={args.region}", *beam_args])
    except HttpError as error:
        tell_error(f"Dataflow answered HTTP {error.status_code} for {args.job}")
        return 1
    except LookupError as error:
        tell_error(error)
        return 1
    print(f"{args.job}: {state}")
    return 0


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the command's own values, and Beam's options."""
    parser = TellingParser(
        allow_abbrev=False,
        prog=program("dataflow_job"),
        description="Drains or cancels a Dataflow job, or tells its state.",
        epilog="Beam's own options (--impersonate_service_account, --dataflow_endpoint, …) pass through.",
    )
    parser.add_argument("--version", action="version", version=version(), help="print the version")
    parser.add_argument("action", choices=[*STATES, "state"], help="drain: finish what is read, then end; cancel: end now")
    parser.add_argument("job", help="the job's id, or its name")
    parser.add_argument("--project", required=True, help="the Google Cloud project")
    parser.add_argument("--region", required=True, help="the job's region")
    args, rest = parser.parse_known_args(list(argv))
    if mistakes := list(missing_packages()):
        raise ConfigError([mistake.removeprefix(f"--runner={DATAFLOW}: ") for mistake in mistakes])  # it has no such flag
    if rest and (mistakes := [*unknown_flags(rest, beam_flags(), ("--project", "--region")), *stray_words(rest)]):
        raise ConfigError(mistakes)
    return args, rest


def act(action: str, job: str, beam_args: Sequence[str]) -> str:
    """Carries out an action; returns the job's state, or the state that was requested.

    Raises:
        HttpError: Dataflow refused the request.
        LookupError: No active job has that name.
    """
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

    client = DataflowApplicationClient(PipelineOptions([*beam_args, "--staging_location=gs://unused/unused"]))
    job_id = job if _looks_like_an_id(job) else _id_of(client, job)
    if action in STATES:
        client.modify_job_state(job_id, STATES[action])
        return f"asked for {STATES[action]}"
    return str(client.get_job(job_id).currentState)


def _looks_like_an_id(job: str) -> bool:
    return job[:4].isdigit() and "_" in job  # such as 2026-11-24_01_02_03-1234567890; a name has no underscore


def _id_of(client: Any, name: str) -> str:
    try:
        return str(client.job_id_for_name(name))
    except ValueError as error:
        raise LookupError(f"no active job is called {name} there") from error


if __name__ == "__main__":
    sys.exit(main())
