"""``proxy_of``: the proxy of a model server, by the environment: the same rules for HTTP and gRPC.

| variable | means |
|---|---|
| ``http_proxy`` | the proxy of servers without TLS: ``http://[USER:PASSWORD@]HOST:PORT`` |
| ``https_proxy`` | the proxy of servers with TLS |
| ``no_proxy`` | hosts that are asked directly: names (and what ends with them), addresses, networks, ``*`` for all |
| ``grpc_proxy``, ``no_grpc_proxy`` | gRPC's own names, which take precedence for gRPC |

Names in upper case count where there are none in lower case. This machine (``localhost``, ``127.0.0.0/8``, ``::1``) is never
asked through a proxy: there the name means another machine.

curl, Python and most programs read these variables so. gRPC by itself would take ``https_proxy`` for servers without TLS,
too, and ask a proxy for ``localhost``; aiohttp by itself asks none.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import urllib.request
from urllib.parse import urlsplit

from transforms.errors import ConfigError
from transforms.hosts import is_authority


@dataclasses.dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: Its URL, perhaps with a user name and a password: not for messages.
        variable: The environment variable that names it.
    """

    url: str = dataclasses.field(repr=False)
    variable: str

    @property
    def has_login(self) -> bool:
        """Whether a user name stands in its URL."""
        return urlsplit(self.url).username is not None

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"the proxy {parts.hostname}:{parts.port} ({self.variable})"


def proxy_of(host: str, secure: bool, *, grpc: bool = False) -> Proxy | None:
    """Returns the proxy through which a host is asked; ``None`` if it is asked directly.

    Args:
        host: The name or address; an IPv6 address without brackets.
        secure: Whether TLS is used.
        grpc: Whether gRPC asks.

    Raises:
        ConfigError: The variable names none that can be used; the message names the variable and the form.
    """
    if _is_here(host):
        return None
    given = urllib.request.getproxies_environment()  # without "_proxy"; names in lower case take precedence
    kinds = (*(("grpc",) if grpc else ()), "https" if secure else "http")
    kind = next((kind for kind in kinds if given.get(kind)), None)
    if kind is None:
        return None
    direct = (given.get("no_grpc") if grpc else None) or given.get("no", "")
    if any(_covers(entry, host) for entry in direct.split(",")):
        return None
    return Proxy(_checked(given[kind], f"{kind}_proxy", grpc), f"{kind}_proxy")


def _checked(value: str, variable: str, grpc: bool) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        usable = bool(parts.hostname) and parts.port != 0 and is_authority(parts.netloc.rpartition("@")[2])
    except ValueError:
        usable = False
    if not usable or parts.scheme not in ("http", "https"):
        raise ConfigError([f"{variable}: names no proxy; the form is http://[USER:PASSWORD@]HOST:PORT"])
    if grpc and parts.scheme == "https":
        raise ConfigError([f"{variable}: gRPC speaks to a proxy without TLS: use http://…, or name the host in no_proxy"])
    if parts.port is None:  # gRPC would take 443 then
        parts = parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:{443 if parts.scheme == 'https' else 80}")
    return parts.geturl()


def _is_here(host: str) -> bool:
    if host.rstrip(".").lower() in ("localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _covers(entry: str, host: str) -> bool:
    """Whether an entry of ``no_proxy`` covers a host."""
    entry, host = entry.strip().lower(), host.rstrip(".").lower()
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        name = entry.lstrip(".").partition(":")[0].rstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
