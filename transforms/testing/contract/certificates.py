"""Makes a certificate authority and certificates for the TLS tests. Needs the package ``cryptography``."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def write_certificates(folder: Path) -> None:
    """Makes an authority, a server certificate for 127.0.0.1, a client certificate, and two that are no good for a server.

    Args:
        folder: The folder for ``ca.pem``, and ``NAME.pem`` and ``NAME.key`` of ``server``, ``client``, ``expired`` (since
            yesterday) and ``elsewhere`` (for the address 192.0.2.1).
    """
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _name("test authority")
    _write(folder, "ca", _certificate(authority, authority, authority_key, authority_key, is_authority=True), authority_key)
    for who in ("server", "client", "expired", "elsewhere"):
        key = ec.generate_private_key(ec.SECP256R1())
        address = "192.0.2.1" if who == "elsewhere" else "127.0.0.1"
        days = -1 if who == "expired" else 1
        certificate = _certificate(_name(who), authority, key, authority_key, is_authority=False, address=address, days=days)
        _write(folder, who, certificate, key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    is_authority: bool,
    address: str = "127.0.0.1",
    days: int = 1,
) -> x509.Certificate:
    today = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), today - 2 * day, today + days * day
    )
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    # Python 3.13 checks certificates strictly (RFC 5280): each names its issuer's key, and an authority's has a usage.
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
    )
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    usage = dict.fromkeys(_USAGES, False) | {"digital_signature": True, "key_cert_sign": is_authority}
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    return builder.add_extension(names, critical=False).sign(issuer_key, hashes.SHA256())


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
