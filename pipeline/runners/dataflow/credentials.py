"""Whether Google's credentials are there, before anything is staged.

Without any, Beam's client for Dataflow asks for a login in a browser, and waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.beam_values import beam_value
from transforms.errors import ContractError
from transforms.printable import shortened

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def check_credentials(beam_args: Sequence[str]) -> None:
    """Looks for application-default credentials, as Beam does: a file, gcloud's login, the metadata server.

    Args:
        beam_args: Beam's own options; with ``--no_auth`` none are needed.

    Raises:
        ContractError: There are none, or their file can't be read.
    """
    if beam_value(beam_args, "no_auth") == "true":
        return
    import google.auth
    from google.auth import exceptions

    try:
        google.auth.default(scopes=[SCOPE])
    except (exceptions.GoogleAuthError, OSError) as error:
        raise ContractError(
            f"no credentials for Google Cloud: {shortened(str(error).partition('. ')[0])}; run 'gcloud auth "
            "application-default login', or set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account's key"
        ) from error
