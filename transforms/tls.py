"""What is wrong with a TLS connection, and what cures it: OpenSSL's and gRPC's texts say the same in several ways."""

from __future__ import annotations

import dataclasses
import re


@dataclasses.dataclass(frozen=True, slots=True)
class TlsCures:
    """The cures of one kind of server. Each fault has a text of its own, for each has another cure.

    Attributes:
        server: Who has the certificate, such as ``the server``.
        name: What cures a certificate for another host name.
        authority: What names the file of an authority.
        identity: What names the client's own certificate and key.
        plain: What does without TLS.
    """

    server: str
    name: str
    authority: str
    identity: str
    plain: str

    def of(self, text: str) -> str | None:
        """Returns what is wrong and its cure; ``None`` if an error's text is not about TLS."""
        return next((self._filled(cure) for pattern, cure in _FAULTS if pattern.search(text)), None)

    def all(self) -> tuple[str, ...]:
        """Returns every text that ``of`` may return."""
        return tuple(self._filled(cure) for _, cure in _FAULTS)

    def _filled(self, cure: str) -> str:
        return cure.format_map({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


def _fault(pattern: str, cure: str) -> tuple[re.Pattern[str], str]:
    return re.compile(pattern, re.IGNORECASE), cure


_FAULTS = (
    # First what the server says of our certificate: an alert. What follows is what we say of the server's.
    _fault(
        r"alert (certificate expired|number 45)", "{server} says that our certificate has expired: renew it ({identity})"
    ),
    _fault(
        r"alert (unknown ca|number 48)",
        "{server} does not trust the authority of our certificate: give one of an authority that it trusts ({identity})",
    ),
    _fault(
        r"certificate required|bad certificate|handshake failure",
        "{server} wants a certificate of its clients, and took none or not ours: {identity}",
    ),
    _fault(r"certificate has expired", "the certificate of {server} has expired: renew it there"),
    _fault(r"not yet valid", "the certificate of {server} is not valid yet: check the clocks of both machines"),
    _fault(
        r"host ?name (mismatch|verification)|ip address mismatch|not in peer certificate|certificate is not valid for",
        "the certificate of {server} is for another host name: {name}",
    ),
    _fault(
        r"unable to (get (local )?issuer|verify the first)|self.signed certificate",
        "the certificate of {server} is of an authority that is not trusted here: {authority}",
    ),
    _fault(
        r"wrong.version.number|record layer failure|packet length too long",
        "{server} does not speak TLS at this address: {plain}",
    ),
)

OF_MODEL_SERVER = TlsCures(
    "the server",
    "use that name in the model's URI",
    "name its file by --model_ca_file",
    "name it by --model_cert_file and --model_key_file",
    "check the port, or use the scheme without an s (http, grpc) in the model's URI",
)
OF_REGISTRY = TlsCures(
    "the registry",
    "use that name in --schema_registry",
    "name its file by --schema_registry_config=ssl.ca.location=FILE",
    "name it by --schema_registry_config=ssl.certificate.location=FILE and ssl.key.location=FILE",
    "check the port, or use http:// in --schema_registry",
)
OF_KAFKA = TlsCures(
    "the broker",
    "use that name in --bootstrap_servers, or in the broker's advertised.listeners",
    "name its file by --kafka_config=ssl.ca.location=FILE",
    "name it by --kafka_config=ssl.certificate.location=FILE and ssl.key.location=FILE",
    "check the port, or set --kafka_config=security.protocol to PLAINTEXT or SASL_PLAINTEXT",
)

ABOUT_TLS = "|".join(re.escape(cure) for cure in OF_MODEL_SERVER.all())
"""The pattern of every text that ``with_tls_cure`` has found to be about TLS."""


_CLOSED = re.compile(r"^server disconnected|connection reset by peer|socket closed", re.IGNORECASE)


def with_tls_cure(text: str, cures: TlsCures = OF_MODEL_SERVER, *, shows_identity: bool = True) -> str:
    """Returns an error text of a connection with what is wrong before it, if it is about TLS.

    Args:
        text: The text.
        cures: Of this kind of server.
        shows_identity: Whether the client has a certificate of its own. A server that wants one may say so, or just close
            the connection, which has other causes, too.
    """
    cure = cures.of(text)
    if cure is None and not shows_identity and _CLOSED.search(text):
        return f"{text}. A server that wants a certificate of its clients may do so: {cures.identity}"
    return text if cure is None else f"{cure} ({text})"
