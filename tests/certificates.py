"""Certificates of every kind, good and bad, made by a test for a broker on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hal.linux.clock import SystemClock

DAY: Final = timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
Span = tuple[timedelta, timedelta]
VALID: Final[Span] = (-DAY, DAY)
"""From and until when, seen from now."""
EXPIRED: Final[Span] = (-10 * DAY, -DAY)
NOT_YET: Final[Span] = (DAY, 10 * DAY)


def at(span: timedelta) -> datetime:
    """So long after now, by this machine's clock, which its TLS library asks, too."""
    return SystemClock(always_synced=True).utc_now() + span


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, in PEM files."""

    cert: Path
    key: Path


class Authority:
    """Who certifies. Its certificate is `pem`; another `Authority` is a stranger."""

    def __init__(self, directory: Path, key: ec.EllipticCurvePrivateKey, cert: x509.Certificate) -> None:
        self.directory = directory
        self._key = key
        self._cert = cert
        self.pem = _file(directory / "ca.pem", cert.public_bytes(Encoding.PEM))
        self._made = 0

    @classmethod
    def new(cls, directory: Path, *, lasts: Span = (-100 * DAY, 100 * DAY)) -> Authority:
        """One with a key of its own."""
        directory.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("an authority")
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        cert = (
            _builder(name, name, key.public_key(), lasts)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, SHA256())
        )
        return cls(directory, key, cert)

    @classmethod
    def of_files(cls, directory: Path, pem: Path, key: Path, passphrase: bytes) -> Authority:
        """One that openssl has made; what it certifies here goes to `directory`."""
        loaded = load_pem_private_key(key.read_bytes(), passphrase)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        directory.mkdir()
        return cls(directory, loaded, x509.load_pem_x509_certificate(pem.read_bytes()))

    def certify(
        self,
        name: str,
        *,
        lasts: Span = VALID,
        host: str | None = None,
        purpose: x509.ObjectIdentifier = CLIENT,
    ) -> Pair:
        """A certificate of this common name; `host` is a name or address that it vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(name), self._cert.subject, key.public_key(), lasts)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if host is not None:
            numeric = host[0].isdigit()
            vouched = x509.IPAddress(ip_address(host)) if numeric else x509.DNSName(host)
            builder = builder.add_extension(x509.SubjectAlternativeName([vouched]), critical=False)
        self._made += 1
        stem = f"{self._made}-{name}"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        cert = builder.sign(self._key, SHA256())
        return Pair(
            cert=_file(self.directory / f"{stem}.pem", cert.public_bytes(Encoding.PEM)),
            key=_file(self.directory / f"{stem}.key", secret),
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, lasts: Span
) -> x509.CertificateBuilder:
    begins, ends = at(lasts[0]), at(lasts[1])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins.astimezone(UTC))
        .not_valid_after(ends.astimezone(UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path
