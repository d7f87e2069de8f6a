"""What Dataflow's flex-template launcher runs, with the parameters as ``--name=value``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pipeline.__main__ import run
from pipeline.runners.dataflow.flex_template import flags_of, with_local_files
from transforms.errors import ConfigError

if __name__ == "__main__":
    try:
        sys.argv[1:] = with_local_files(flags_of(sys.argv[1:]), Path(tempfile.mkdtemp()))
    except ConfigError as error:
        sys.exit(f"error: {error}")
    run()
