"""Finds out why a broker does not take a connection, by asking at its port what it speaks.

librdkafka has one text for every certificate that it does not accept, and none for a client that speaks plain text to a TLS
port: it then says "no broker answers", as for a broker that is still starting. This module does not guess: it reports only
what the broker's answers show.

The requests are those of Kafka's protocol that are answered before anybody has logged in: ApiVersions (key 18, version 0)
and SaslHandshake (key 17, version 1).
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Mapping
from pathlib import Path

from transforms.kafka.config import KafkaConfig, Value
from transforms.tls import OF_KAFKA, with_tls_cure

TIMEOUT_S = 3.0
"""Seconds for each step of a connection: the broker is there, and answers at once."""

_API_VERSIONS, _SASL_HANDSHAKE = 18, 17
_UNSUPPORTED_MECHANISM, _NO_LOGINS = 33, 34  # Kafka's UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE
_HTTP2_SETTINGS = b"\x04\0\0\0\0\0"
"""Type, flags and stream of every HTTP/2 server's first frame; its length stands before them (RFC 9113, 4.1)."""
_MOST_BYTES = 1 << 20
_IDENTITY = ("ssl.certificate.location", "ssl.certificate.pem", "ssl.keystore.location", "ssl.engine.location")
_IN_ERROR = re.compile(r"^(?:\w+://)?(?P<host>\[[^\]]+\]|[^\s/:]+):(?P<port>\d+)/")
_SHOWN_MECHANISM = re.compile(r"[A-Z0-9_-]{1,40}")


def why_refused(config: KafkaConfig, text: str = "", timeout_s: float = TIMEOUT_S) -> str | None:
    """Asks the broker, and returns what is wrong with its cure; ``None`` if it shows nothing.

    Args:
        config: The job's Kafka configuration.
        text: librdkafka's error text. It begins with the address of the broker, which may not be the first one's.
        timeout_s: Seconds for each step of a connection.

    Raises:
        SecretError: A secret can't be read.
    """
    properties = config.client_properties()
    protocol = str(properties.get("security.protocol", "PLAINTEXT")).upper()
    address = _address(text, config.bootstrap_servers)
    if address is None:
        return None
    where = f"{address[0]}:{address[1]}"
    told = OF_KAFKA.of(text) if "SSL" in protocol else None  # an alert of the broker's: our certificate
    if told is not None:
        return f"{where}: {told}"
    try:
        found = _Probe(address, properties, protocol, timeout_s).result()
    except OSError:  # it is away, or its files can't be read: librdkafka's own text says so
        return None
    return None if found is None else f"{where}: {found}"


class _Probe:
    def __init__(self, address: tuple[str, int], properties: Mapping[str, Value], protocol: str, timeout_s: float):
        self._address, self._properties, self._protocol, self._timeout_s = address, properties, protocol, timeout_s
        self._tls = "SSL" in protocol

    def result(self) -> str | None:
        if self._tls:
            return self._over_tls()
        logins = self._logins(None)
        if logins is None and self._speaks_tls():
            return f"the broker speaks TLS at this address: {_set(_with_tls(self._protocol))}, or use another port"
        if logins is None and (protocol := self._other_protocol()):
            return f"a server that speaks {protocol} answers at this address, no Kafka broker: give a broker's HOST:PORT"
        return self._about_logins(logins)

    def _over_tls(self) -> str | None:
        context = _context(self._properties)
        try:
            logins = self._logins(context)
        except ssl.SSLCertVerificationError as error:
            return with_tls_cure(error.verify_message, OF_KAFKA)
        except (ssl.SSLError, ConnectionError, EOFError) as error:
            plain = self._logins(None)
            if plain is not None:
                wanted = "SASL_PLAINTEXT" if plain else "PLAINTEXT"
                return f"the broker does not speak TLS at this address: {_set(wanted)}, or use another port"
            # Nobody has shown our own certificate here, so only where there is none can it be what is wanted.
            return None if any(name in self._properties for name in _IDENTITY) else OF_KAFKA.of(str(error))
        return self._about_logins(logins)

    def _about_logins(self, logins: tuple[str, ...] | None) -> str | None:
        """What is wrong, by the mechanisms at this port: ``None`` if it did not answer, nothing if nobody logs in."""
        if logins is None:
            return None
        transport = "SSL" if self._tls else "PLAINTEXT"
        if not logins:
            if not self._protocol.startswith("SASL"):
                return None
            return f"nobody logs in at this address of the broker: {_set(transport)}, or use a port where one does"
        known = ", ".join(logins)
        if not self._protocol.startswith("SASL"):
            cure = f"{_set(f'SASL_{transport}')}, and sasl.mechanism to one of {known}"
            return f"the broker wants a login at this address: {cure}"
        mechanism = self._mechanism()
        if mechanism in logins:
            return None
        return f"sasl.mechanism={mechanism} is not taken here: set --kafka_config=sasl.mechanism to one of {known}"

    def _mechanism(self) -> str:
        return str(self._properties.get("sasl.mechanism") or self._properties.get("sasl.mechanisms") or "GSSAPI").upper()

    def _logins(self, context: ssl.SSLContext | None) -> tuple[str, ...] | None:
        """Returns the mechanisms that are taken here, none if nobody logs in; ``None`` if nobody speaks so here."""
        with socket.create_connection(self._address, self._timeout_s) as plain:
            try:
                if context is None:
                    return _ask_for_logins(plain)
                with context.wrap_socket(plain, server_hostname=self._address[0]) as wrapped:
                    return _ask_for_logins(wrapped)
            except (OSError, EOFError):
                if context is not None:
                    raise
                return None

    def _other_protocol(self) -> str | None:
        """Returns what is spoken here, if it is what model servers speak."""
        with socket.create_connection(self._address, self._timeout_s) as plain:
            try:
                plain.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                begins = _exactly(plain, len(_HTTP2_SETTINGS) + 3)
            except (OSError, EOFError):
                return None
        if begins.startswith(b"HTTP/"):
            return "HTTP"
        return "HTTP/2, as a gRPC port does," if begins[3:] == _HTTP2_SETTINGS else None

    def _speaks_tls(self) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(self._address, self._timeout_s) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=self._address[0]):
                    return True
            except ssl.SSLError as error:
                return "alert" in str(error).lower()  # only TLS has alerts
            except OSError:
                return False


def _ask_for_logins(connection: socket.socket) -> tuple[str, ...] | None:
    if _asked(connection, _API_VERSIONS, 0, b"") is None:
        return None
    # A mechanism that no broker has: the answer lists those that it has.
    return _mechanisms(_asked(connection, _SASL_HANDSHAKE, 1, _string("?")))


def _address(text: str, bootstrap_servers: str) -> tuple[str, int] | None:
    found = _IN_ERROR.match(text)
    if found is not None:
        return found["host"].strip("[]"), int(found["port"])
    host, _, port = bootstrap_servers.split(",")[0].strip().rpartition("://")[2].rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() else None


def _context(properties: Mapping[str, Value]) -> ssl.SSLContext:
    """Returns the TLS of librdkafka's properties, without the client's own certificate: nothing is asked that needs it."""
    location, pem = properties.get("ssl.ca.location"), properties.get("ssl.ca.pem")
    folder = str(location) if location and Path(str(location)).is_dir() else None
    file = str(location) if location and folder is None and location != "probe" else None
    context = ssl.create_default_context(cafile=file, capath=folder, cadata=str(pem) if pem else None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # librdkafka is not strict
    context.check_hostname = str(properties.get("ssl.endpoint.identification.algorithm", "https")).lower() == "https"
    if str(properties.get("enable.ssl.certificate.verification", "true")).lower() == "false":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _asked(connection: socket.socket, key: int, version: int, body: bytes) -> bytes | None:
    """Sends a request; returns the answer without its head, ``None`` if it is not one of Kafka's."""
    request = struct.pack(">hhi", key, version, 1) + _string("kafka-model-scoring") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    if not 4 <= size <= _MOST_BYTES:  # a TLS alert begins with 0x15, which is far more
        return None
    answer = _exactly(connection, size)
    return answer[4:] if answer[:4] == struct.pack(">i", 1) else None


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        piece = connection.recv(count - len(found))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _mechanisms(answer: bytes | None) -> tuple[str, ...] | None:
    """Reads the answer to SaslHandshake; of the names only what a mechanism may be called."""
    if answer is None or len(answer) < 2:
        return None
    (code,) = struct.unpack_from(">h", answer)
    if code == _NO_LOGINS:
        return ()
    if code != _UNSUPPORTED_MECHANISM:
        return None
    names, at = [], 6
    try:
        for _ in range(*struct.unpack_from(">i", answer, 2)):
            (size,) = struct.unpack_from(">h", answer, at)
            names.append(answer[at + 2 : at + 2 + size].decode("ascii", "replace"))
            at += 2 + size
    except struct.error:
        return None
    return tuple(sorted(name for name in names if _SHOWN_MECHANISM.fullmatch(name))) or None


def _with_tls(protocol: str) -> str:
    return "SASL_SSL" if protocol.startswith("SASL") else "SSL or SASL_SSL"


def _set(protocol: str) -> str:
    return f"set --kafka_config=security.protocol to {protocol}"
