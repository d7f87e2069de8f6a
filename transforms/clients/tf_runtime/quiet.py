"""Turns TensorFlow's log off. Its lines may contain values of records, and users do not need them."""

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
    """Suppresses TensorFlow's log lines on file descriptor 2. Load the library inside this context.

    ``TF_CPP_MIN_LOG_LEVEL`` is set to 3 (fatal errors only) if it is not set, and stays set. TensorFlow logs some lines
    before it reads the variable; these are dropped. Other output is held back until the context ends, and then written.
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
