"""Answers of others in the model server's place: a proxy's refusal, a redirect, a web page. Each is told as what it is.

Told as the server's, a proxy's 407 has people look for a login of the model, and a redirect is nothing but a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import yarl

from transforms.clients.wire.proxies import Proxy
from transforms.clients.wire.status_codes import error_of_status
from transforms.errors import ModelError, NotServedError, UnavailableError
from transforms.printable import shortened

_REDIRECTS = (301, 302, 303, 307, 308)
_WANTS_LOGIN = 407
_OF_GATEWAYS = (403, 502, 503, 504)
"""What proxies answer by themselves, and servers as well: it is a proxy's only if it looks so."""

_BY_GRPC = re.compile(r"HTTP proxy returned response code (\d{3})\b")


class RedirectedError(NotServedError):
    """The answer is a redirect. One of OPTIONS says nothing of an endpoint's other methods."""


def stand_in(
    where: str,
    url: yarl.URL,
    status: int,
    headers: Mapping[str, str],
    page: bool,
    proxy: Proxy | None,
    retry_after_s: float | None = None,
) -> ModelError | None:
    """Returns the error of an answer that is not the server's; ``None`` if it may be the server's own.

    Args:
        where: The model and its address, for messages.
        url: What was asked.
        status: The answer's status.
        headers: Its headers.
        page: Whether its body is a web page, and the request was one that the server answers by data.
        proxy: The proxy that forwarded the request, and so may have answered it; ``None`` if there is none, or if it only
            connects.
        retry_after_s: The wait that the answer asks for in seconds; ``None`` if it asks for none.
    """
    if status in _REDIRECTS and (location := headers.get("Location")):
        return RedirectedError(
            f"{where}: HTTP {status}: it redirects to {_shown(url, location)}, and no redirect is followed; if that is the "
            "model, give --model this scheme, host, port and path; if it is a login, let the request in by --model_header"
        )
    if proxy is not None and status == _WANTS_LOGIN:
        return refused_by(proxy, where, status)
    if proxy is not None and status in _OF_GATEWAYS and _made_by_proxy(headers):
        return error_of_status(status, f"{where}: HTTP {status} of {proxy}, or of what is behind it; {_CURE}", retry_after_s)
    if 200 <= status < 300 and page:
        return UnavailableError(
            f"{where}: HTTP {status} with a web page in place of an answer; is the address "
            "right, and what stands before it: a login, a notice of maintenance?"
        )
    return None


def is_page(content_type: str, body: bytes) -> bool:
    """Whether a body is a web page. Flask calls JSON text/html, too."""
    return content_type.lower().startswith("text/html") and body.lstrip()[:1] == b"<"


_CURE = "let it through to the server there, or name the host in no_proxy, if it can be asked directly"


def refused_by(proxy: Proxy, where: str, status: int) -> ModelError:
    """Returns the error of a proxy that does not connect to the server, or forwards nothing to it.

    Args:
        proxy: The proxy.
        where: The model and its address, for messages.
        status: What it answered.
    """
    told = f"{where}: HTTP {status} of {proxy}, which should connect to it"
    if status != _WANTS_LOGIN:
        told = f"{told}; {_CURE}"
        return UnavailableError(told, not_run=True) if status >= 500 else NotServedError(told)
    if proxy.has_login:
        return NotServedError(f"{told}: it does not accept the login in {proxy.variable}")
    return NotServedError(f"{told}: it wants a login: {proxy.variable}=http://USER:PASSWORD@HOST:PORT")


def refused_over_grpc(proxy: Proxy, where: str, details: str) -> ModelError | None:
    """Returns the error of a proxy that does not connect, by gRPC's own words; ``None`` if they are about something else."""
    found = _BY_GRPC.search(details)
    return None if found is None else refused_by(proxy, where, int(found[1]))


def _made_by_proxy(headers: Mapping[str, str]) -> bool:
    """Whether a proxy says that an answer is its own (RFC 9209, Squid), or it is a page, as proxies send to people."""
    says = "error=" in headers.get("Proxy-Status", "") or "X-Squid-Error" in headers
    return says or headers.get("Content-Type", "").lower().startswith("text/html")


def _shown(url: yarl.URL, location: str) -> str:
    """Where a redirect leads: without a login, and without the query, in which logins have their tokens."""
    try:
        there = url.join(yarl.URL(location))
        return shortened(str(there.with_user(None).with_query(None).with_fragment(None)), 200)
    except (ValueError, TypeError):
        return "an address that is none"
