"""Which addresses a process and its children listen on, by Linux's ``/proc``."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"
_PROC = Path("/proc")


def listening(root: int) -> dict[str, str]:
    """Returns ``HOST:PORT`` to the command that listens there, for a process and all its descendants."""
    found = {}
    for pid in _tree(root):
        sockets = set(_sockets(pid))
        for table in ("tcp", "tcp6"):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTEN and rest[5] in sockets:
                    found[_readable(local)] = (_PROC / str(pid) / "cmdline").read_text().replace("\0", " ")
    return found


def open_to_others(root: int) -> dict[str, str]:
    """Those of them that another machine can reach."""
    return {where: who for where, who in listening(root).items() if not _is_local(where.rpartition(":")[0])}


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        with contextlib.suppress(OSError, ValueError):  # it has ended, or it is no process
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _sockets(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                name = os.readlink(link)  # noqa: PTH115  # no path: "socket:[NUMBER]"
                if name.startswith("socket:["):
                    yield name[8:-1]


def _readable(local: str) -> str:
    """From the kernel's form: hexadecimal, each group of four bytes in the machine's order."""
    host, _, port = local.partition(":")
    groups = [bytes.fromhex(host[at : at + 8]) for at in range(0, len(host), 8)]
    packed = b"".join(group[::-1] if sys.byteorder == "little" else group for group in groups)
    return f"{ipaddress.ip_address(packed)}:{int(port, 16)}"


def _is_local(host: str) -> bool:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
