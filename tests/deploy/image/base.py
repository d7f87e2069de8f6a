"""Stand-ins for the images that ``deploy/Dockerfile`` builds upon, where no registry of images can be reached.

* ``python:3.11-slim-bookworm``: Debian bookworm by debootstrap, with Debian's Python 3.11, and in ``/usr/local`` a Python
  with pip and setuptools of its own, as there. What Debian's slim images leave out (manuals, translations) is left out.
* Beam's worker image and Google's launcher: the same, with a placeholder where their binary is. They are for building only:
  their entry points can't be run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.deploy.image.builder import Builder, ImageError
from tests.kafka_broker import ROOT

CACHE = ROOT / ".cache" / "image"
PACKAGES = "ca-certificates,python3,python3-venv"
SETUP = "python3 -m venv /usr/local && ln -sf pip3 /usr/local/bin/pip && apt-get clean"
LEFT_OUT = ("usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists", "var/cache/debconf")

PYTHON = "localhost/stand-in-python"
BEAM = "localhost/stand-in-beam"
LAUNCHER = "localhost/stand-in-launcher"
PLACEHOLDERS = {BEAM: "/opt/apache/beam/boot", LAUNCHER: "/opt/google/dataflow/python_template_launcher"}


def python_root() -> Path:
    """Returns a tar file with the file system that stands for ``python:3.11-slim-bookworm``; made once, kept in ``.cache``.

    Raises:
        ImageError: debootstrap failed; the message has the end of what it said.
    """
    recipe = "\n".join((PACKAGES, SETUP, *LEFT_OUT))
    made = CACHE / f"python-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}.tar"
    if made.exists():
        return made
    CACHE.mkdir(parents=True, exist_ok=True)
    print("making a Debian by debootstrap (minutes) …", flush=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="debootstrap-") as folder:
        root = Path(folder, "root")
        _run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)])
        _run(["chroot", str(root), "/bin/sh", "-ec", SETUP])
        for path in LEFT_OUT:
            shutil.rmtree(root / path, ignore_errors=True)
            (root / path).mkdir(parents=True)
        for document in (root / "usr/share/doc").rglob("*"):  # licences stay, as in Debian's slim images
            if document.name != "copyright" and not document.is_dir():
                document.unlink()
        part = made.with_suffix(".part")
        _run(["tar", "--create", "--one-file-system", "--numeric-owner", f"--file={part}", f"--directory={root}", "."])
        part.replace(made)
    return made


def make_stand_ins(builder: Builder) -> None:
    """Puts the three into the builder's store."""
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
    builder.commit_root(python_root(), PYTHON, environ=[path])
    for image, placeholder in PLACEHOLDERS.items():
        script = f"#!/bin/sh\necho 'a placeholder for {placeholder}' >&2\nexit 70\n"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "file")
            file.write_text(script, encoding="utf-8")
            file.chmod(0o755)
            builder.commit_file(PYTHON, file, placeholder, image, entry_point=placeholder)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"{command[0]} failed ({done.returncode}):\n{(done.stdout + done.stderr)[-3000:]}")
