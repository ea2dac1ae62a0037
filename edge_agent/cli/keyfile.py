"""Keys as files: `NAME.key` (private), `NAME.pub` (public), `NAME.seq` (the last sequence number that it signed).

A private key is PKCS#8 in PEM, its owner's alone, made once and never written over. The counter
beside it is what lets nodes tell a new order from a recording: each number is stored durably
before the order that bears it can leave (docs/decisions/0240).
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from edge_agent.cli import speech
from edge_agent.command.keys import KID_PATTERN
from edge_agent.command.signing import PUBLIC_BYTES, Signer, public_of

SUFFIX: Final = ".key"
SEQ_MAX: Final = 2**63 - 1
_DIGITS: Final = 20


class Public(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`NAME.pub`: what may be shown to anybody."""

    kid: Annotated[str, Meta(pattern=KID_PATTERN)]
    pub: str
    """32 bytes in base64."""
    authority: str | None = None
    """Whose key it is meant to be; None: a root's, or not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """A private key that was read, and where its counter lies."""

    signer: Signer
    public: Public
    path: Path

    @property
    def counter(self) -> Path:
        """The file of its sequence numbers."""
        return self.path.with_suffix(".seq")


def make(directory: Path, kid: str, authority: str | None = None) -> Public:
    """Make a pair of files where neither is. Raises speech.Usage when one is there; OSError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    if re.search(KID_PATTERN, kid) is None:
        raise speech.Usage("bad_kid", name=kid)
    path, beside = directory / f"{kid}{SUFFIX}", directory / f"{kid}.pub"
    for place in (path, beside, directory / f"{kid}.seq"):
        if os.path.lexists(place):
            raise speech.Usage("file_exists", path=place)
    pair = Ed25519PrivateKey.generate()
    public = Public(kid=kid, pub=_text(public_of(pair.private_bytes_raw())), authority=authority)
    try:
        write_once(path, pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
        write_once(beside, msgspec.json.encode(public) + b"\n", mode=0o644)
    except FileExistsError as error:  # somebody was faster
        raise speech.Usage("file_exists", path=error.filename2 or error.filename) from None
    return public


def read(path: Path) -> KeyFile:
    """A private key; its name is that of `NAME.pub` beside it, else the file's own.

    Raises speech.Usage when it is none, when others may read it, or when the public file is not its own; OSError.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from hal.linux.tls import others_may_read

    text = path.read_bytes()
    if others_may_read(path):
        raise speech.Usage("key_open", path=path)
    try:
        pair = load_pem_private_key(text, None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        pair = None
    if not isinstance(pair, Ed25519PrivateKey):
        raise speech.Usage("no_signing_key", path=path)
    seed = pair.private_bytes_raw()
    own = Public(kid=path.stem, pub=_text(public_of(seed)))
    beside = path.with_suffix(".pub")
    public = read_public(beside) if beside.exists() else own
    if public.pub != own.pub:
        raise speech.Usage("key_mismatch", path=path, beside=beside)
    if re.search(KID_PATTERN, public.kid) is None:
        raise speech.Usage("bad_kid", name=public.kid)
    return KeyFile(signer=Signer(public.kid, seed), public=public, path=path)


def read_public(path: Path) -> Public:
    """A public key. Raises speech.Usage when it is none; OSError."""
    try:
        public = msgspec.json.decode(path.read_bytes(), type=Public)
        if len(base64.b64decode(public.pub, validate=True)) != PUBLIC_BYTES:
            raise ValueError
    except (msgspec.MsgspecError, ValueError, binascii.Error):
        raise speech.Usage("no_public_key", path=path) from None
    return public


def fingerprint(pub: str) -> str:
    """SHA-256 of the raw public key, in hex: what two people compare by telephone."""
    return hashlib.sha256(base64.b64decode(pub)).hexdigest()


def next_seq(keys: Sequence[KeyFile], now: datetime) -> int:
    """A number that none of these keys has signed, stored durably in the counters of all of them.

    It grows by one, but is never below the milliseconds since 1970: so a counter that was lost, or came
    back from an old copy, goes on above every number that was used. Raises speech.Usage, OSError.
    """
    milliseconds = (now - datetime.fromtimestamp(0, now.tzinfo)) // timedelta(milliseconds=1)
    with ExitStack() as held:
        places = [
            held.enter_context(_locked(path)) for path in sorted({key.counter.resolve() for key in keys})
        ]
        seq = max(milliseconds, *(last + 1 for last, _ in places))
        assert 0 <= seq <= SEQ_MAX
        for _, place in places:
            os.pwrite(place, b"%0*d\n" % (_DIGITS, seq), 0)
            os.fsync(place)
    return seq


@contextmanager
def _locked(path: Path) -> Iterator[tuple[int, int]]:
    """A counter nobody else touches meanwhile: the last number (-1: none yet), and the open file."""
    new = not path.exists()
    place = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if new:
            _flush_directory(path.parent)
        fcntl.flock(place, fcntl.LOCK_EX)
        text = os.pread(place, 64, 0).decode("ascii", "replace").strip()
        if text and (re.fullmatch(r"[0-9]{1,20}", text) is None or int(text) >= SEQ_MAX):
            raise speech.Usage("seq_unreadable", path=path)
        yield int(text or -1), place
    finally:
        os.close(place)


def write_once(path: Path, text: bytes, *, mode: int) -> None:
    """Make a file at a place where nothing is. Raises FileExistsError, OSError.

    It is there whole or not at all, also after a power cut, and at no instant open to more than `mode` says.
    """
    stage = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    place = os.open(stage, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(place, "wb") as writer:
            os.fchmod(place, mode)
            writer.write(text)
            writer.flush()
            os.fsync(place)
        os.link(stage, path)  # unlike a rename it never replaces
    finally:
        stage.unlink()
    _flush_directory(path.parent)


def replace(path: Path, text: bytes) -> None:
    """Write a public file anew, whole or not at all. Raises OSError."""
    stage = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write_once(stage, text, mode=0o644)
        stage.replace(path)
    finally:
        stage.unlink(missing_ok=True)
    _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
