"""How this node secures a connection: whom it believes, with which key it shows itself, when dates count.

Facts about OpenSSL and Python's `ssl`, found by reading and trying:

- An authority given by file is the only one believed; without a file the system's hundred are.
- Python 3.13 checks certificates by the letter of RFC 5280 (VERIFY_X509_STRICT), 3.11 does not. Here both do,
  so that a certificate which works on one Raspberry Pi OS works on the next.
- A certificate's common name may stand in for a host name it does not carry, unless that is switched off.
  A node's certificate bears the node's name there, and must never pass for a broker's.
- X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h, 0x200000) has no name in Python. It leaves out the dates of the
  whole chain and nothing else.
- `load_cert_chain` asks at the terminal for the passphrase of an encrypted key, and a daemon has none.
- Its errors do not name the file.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NO_CHECK_TIME: Final = 0x200000
CREDENTIALS_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"
"""The environment's word for where systemd hands over credentials."""


class TlsUnusable(OSError):
    """A file of this node's own side cannot be used; the message says which, why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files: who may vouch for the far end (None: the system's authorities), and the node's own side."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def pinned(self) -> bool:
        """Whether only one authority, the village's own, is believed."""
        return self.ca_file is not None

    def context(self, *, check_dates: bool) -> ssl.SSLContext:
        """For one connection: TLS 1.2 or newer, certificate and host name checked.

        Dates are left unlooked at only if asked and if the authority is pinned: of an expired certificate
        of the public web nobody knows who holds its key today. Blocks (reads files). Raises TlsUnusable.
        """
        context = self._believing()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.hostname_checks_common_name = False
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
        if not check_dates and self.pinned:
            context.verify_flags |= NO_CHECK_TIME
        if self.cert_file is not None:
            self._show(context)
        return context

    def _believing(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            text = f"The authority's file {self.ca_file} cannot be used ({_why(error)}); check ca_file."
            raise TlsUnusable(text) from None

    def _show(self, context: ssl.SSLContext) -> None:
        """Load the node's own certificate and key."""
        assert self.cert_file is not None
        secret = self.key_file or self.cert_file
        if others_may_read(Path(secret)):
            text = f"The private key {secret} can be read by others; run: chmod 600 {secret}"
            raise TlsUnusable(text)
        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_passphrase)
        except OSError as error:
            text = (
                f"The node's certificate {self.cert_file} with the key {secret} cannot be used "
                f"({_why(error)}); check cert_file and key_file."
            )
            raise TlsUnusable(text) from None


def others_may_read(path: Path) -> bool:
    """Whether a secret's file is open to its group or to everybody.

    What systemd hands over is as safe as it can be, though its mode may look open: it sits in memory,
    and the mode's group bits are the mask of an access list with one name on it. Raises nothing:
    a file that is not there is open to nobody.
    """
    handed_over = os.environ.get(CREDENTIALS_DIRECTORY)
    if handed_over and path.is_relative_to(handed_over):
        return False
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


def spoken_alert(error: ssl.SSLError) -> str:
    """What ended a connection that TLS had secured. Under TLS 1.3 the far end judges our certificate only
    after the handshake, and its verdict, an alert, is the first thing that is read."""
    words = _why(error)
    _, found, verdict = words.partition(" alert ")
    if not found:
        return f"TLS failed ({words})"
    return f"the broker does not accept this node's side of TLS ({verdict}); check cert_file and key_file"


def _no_passphrase() -> str:
    raise TlsUnusable("it is encrypted, and nobody is there to type the passphrase")


def _why(error: OSError) -> str:
    """Words for people: OpenSSL's reason without its numbers, the system's without its own."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return reason.replace("_", " ").lower()
    return error.strerror or str(error)
