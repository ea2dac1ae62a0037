"""`edge-agent enrol`: the node's own key, made here and never leaving, and a request (CSR) for its certificate.

The key is ECDSA on P-256, as every TLS library and every broker knows it (docs/decisions/0230). Called
again, it keeps the key and makes the request anew: that is how a certificate is renewed. It never
overwrites a key; for a new one, give another name with `--key`.

Exit codes: 0 done; 1 the config has problems; 2 wrong usage; 3 a file cannot be read or written.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edge_agent import catalogue, config
from edge_agent.catalogue import Language
from edge_agent.cli import speech
from edge_agent.cli.keyfile import write_once
from edge_agent.config.sections import NODE_NAME

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

KEY: Final = Path("/etc/edge-agent/credentials/key.pem")
"""Where systemd's LoadCredential finds it; the daemon reads it as `edge_key.pem`."""
CONFIG: Final = Path("/etc/edge-agent/node.toml")
PROBLEMS: Final = 1
NO_FILE: Final = 3


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "enrol",
        help="Tạo khóa riêng của nút và yêu cầu chứng thư / make the node's key and a certificate request (CSR).",
    )(enrol)


def enrol(
    *,
    file: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="Tệp cấu hình có node.id / config with node.id.")
    ] = CONFIG,
    node: Annotated[
        str | None, typer.Option(metavar="ID", help="Mã nút, thay cho tệp cấu hình / in place of the config.")
    ] = None,
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="Khóa riêng; đã có thì giữ / private key; kept if there.")
    ] = KEY,
    csr: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Yêu cầu chứng thư / the request (ID.csr).")
    ] = None,
    lang: Annotated[Language | None, typer.Option(help="Ngôn ngữ / language.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Một đối tượng JSON / one JSON object.")] = False,
) -> int:
    """Make what is missing, say what was made, and return the exit code."""
    tongue = speech.language(lang)
    try:
        name = node or config.load(file).node.id
    except config.ConfigInvalid as invalid:
        speech.tell(invalid.problems, tongue)
        return PROBLEMS
    if re.fullmatch(NODE_NAME, name) is None:
        raise speech.Usage("bad_name", name=name)
    request = csr or Path(f"{name}.csr")
    place = key
    try:
        new = not key.exists()
        if new:
            make_key(key)
        pair = read_key(key)
        place = request
        request.write_bytes(make_request(pair, name))
    except OSError as error:
        facts = {"path": place, "why": error.strerror or str(error)}
        speech.complain(catalogue.say("enrol_failed", tongue, **facts))
        return NO_FILE
    printed = fingerprint(pair)
    if as_json:
        told = {"node": name, "key": str(key), "new_key": new, "csr": str(request), "fingerprint": printed}
        print(json.dumps(told, ensure_ascii=False))
        return 0
    print(catalogue.say("enrol_key_new" if new else "enrol_key_kept", tongue, path=key))
    spaced = " ".join(re.findall(".{4}", printed))
    print(catalogue.say("enrol_request", tongue, path=request, node=name, fingerprint=spaced))
    return 0


def make_key(path: Path) -> None:
    """Make a private key at a place where nothing is, for its owner alone. Raises OSError.

    The file is there whole or not at all, also after a power cut, and at no instant open to others.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pair = ec.generate_private_key(ec.SECP256R1())
    text = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_once(path, text, mode=0o600)


def read_key(path: Path) -> CertificateIssuerPrivateKeyTypes:
    """The key in a file. Raises OSError; speech.Usage when it is none, or when others may have read it."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from hal.linux.tls import others_may_read

    text = path.read_bytes()
    if others_may_read(path):
        raise speech.Usage("key_open", path=path)
    try:
        pair = load_pem_private_key(text, None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        raise speech.Usage("key_unusable", path=path) from None
    if not isinstance(pair, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise speech.Usage("key_unusable", path=path)
    return pair


def make_request(pair: CertificateIssuerPrivateKeyTypes, node: str) -> bytes:
    """A request for a certificate of this name, in PEM. It asks for nothing else: rights are the authority's to give."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, node)])
    digest = None if isinstance(pair, ed25519.Ed25519PrivateKey) else SHA256()
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(pair, digest)
    return signed.public_bytes(Encoding.PEM)


def fingerprint(pair: CertificateIssuerPrivateKeyTypes) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo, DER), in hex: what two people compare by telephone."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()
