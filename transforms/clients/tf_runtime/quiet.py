"""TensorFlow's own log, off: what it says there of a request may be a record's content, and the rest helps nobody."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_LOG_LINE = re.compile(rb"WARNING: All log messages before absl::InitializeLog\(\)|[IWEF]\d{4} [\d:.]+ +\d+ ")


@contextlib.contextmanager
def quiet_log() -> Iterator[None]:
    """Loads TensorFlow's library without the lines that it writes to file descriptor 2 while it is loaded.

    ``TF_CPP_MIN_LOG_LEVEL``, unless it is set, is set to 3 (fatal errors only), and holds from then on. The lines written
    before it is heeded are dropped; what anybody else writes meanwhile comes afterwards.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as written:
            os.dup2(written.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
                written.seek(0)
                for line in written:
                    if not _LOG_LINE.match(line):
                        os.write(2, line)
    finally:
        os.close(kept)
