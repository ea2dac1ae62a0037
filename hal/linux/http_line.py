"""One HTTP(S) connection for a thread to wait on, which another thread may cut; for downloads and for streams.

Facts that shaped it:
- A thread in `recv` can only be woken by shutting the connection down from outside. `Line` keeps a
  second descriptor of the socket for that: the first may be closed, and its number given to somebody
  else, at any moment; and TLS takes it away from its owner.
- A socket time-out bounds the silence between two bytes, not a server that sends a byte now and then: who waits
  for this thread bounds the whole.
- `read(n)` waits for n bytes; `read1(n)` returns what has come.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hal.errors import WebBroken, WebTimeout, WebUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3.connection import HTTPConnection
    from urllib3.response import HTTPResponse
    from urllib3.util import Url

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPatience:
    """How long to wait for what."""

    connect_s: float = 10.0
    silence_s: float = 20.0
    floor_bytes_per_s: int = 256
    floor_window_s: float = 30.0


class Line:
    """One connection, driven by a worker thread; `cut` may be called from any other."""

    def __init__(self) -> None:
        self._connection: HTTPConnection | None = None
        self._response: HTTPResponse | None = None
        self._twin: socket.socket | None = None
        self._cut = False

    def request(
        self, url: Url, headers: Mapping[str, str], patience: WebPatience, *, pin: str | None = None
    ) -> HTTPResponse:
        """Connect, send, read the header. Raises WebError, and as urllib3 and http.client do.

        `pin`: `sha256:` and the hex digest of the server's certificate (DER), which is then believed, and no other.
        """
        from urllib3.connection import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        assert url.host is not None
        host, port = url.host.strip("[]"), url.port or kind.default_port
        sock = self._connect(host, port, shown(url), patience.connect_s)
        if url.scheme == "https":
            sock = _secured(sock, host, shown(url), pin)
        sock.settimeout(patience.silence_s)
        self._connection = kind(host, port, timeout=patience.silence_s)
        self._connection.sock = sock
        self._connection.request(
            "GET", url.request_uri, headers=headers, preload_content=False, decode_content=False
        )
        self._response = self._connection.getresponse()
        return self._response

    def _connect(self, host: str, port: int, name: str, timeout_s: float) -> socket.socket:
        with _worded(name, timeout_s):
            sock = socket.create_connection((host, port), timeout=timeout_s)
            self._twin = socket.socket(fileno=os.dup(sock.fileno()))
        if self._cut:
            sock.close()
            raise WebBroken(f"{name} was given up.")
        return sock

    def read(self, max_bytes: int) -> bytes:
        """The next bytes of the body."""
        assert self._response is not None
        return self._response.read1(max_bytes, decode_content=False)

    def cut(self) -> None:
        """Wake the thread that waits on this connection; nothing more can be read from it."""
        self._cut = True
        if self._twin is not None:
            with contextlib.suppress(OSError):
                self._twin.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Only when no thread is at work on it."""
        for part in (self._response, self._connection, self._twin):
            if part is not None:
                with contextlib.suppress(OSError):
                    part.close()


@contextlib.contextmanager
def _worded(name: str, timeout_s: float) -> Iterator[None]:
    """What may go wrong with a connection, in the words of `hal.errors`."""
    try:
        yield
    except TimeoutError:
        raise WebTimeout(f"{name} took no connection within {timeout_s:g} s.") from None
    except socket.gaierror as error:
        raise WebUnreachable(f"The name in {name} cannot be resolved: {error.strerror}.") from None
    except ssl.SSLCertVerificationError as error:
        text = f"The certificate of {name} is not believed ({error.verify_message}); check this node's date."
        raise WebUnreachable(text) from None
    except (OSError, UnicodeError) as error:
        raise WebUnreachable(f"No connection to {name}: {reason(error)}.") from None


def _secured(plain: socket.socket, host: str, name: str, pin: str | None) -> ssl.SSLSocket:
    """TLS on it: the system's authorities vouch for the host's name, or the certificate is the pinned one."""
    context = ssl.create_default_context()
    if pin is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _worded(name, plain.gettimeout() or 0.0):
        sock = context.wrap_socket(plain, server_hostname=host)
    if pin is not None:
        seen = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
        if f"sha256:{seen}" != pin:
            sock.close()
            raise WebUnreachable(f"The certificate of {name} is not the one that is pinned.")
    return sock


def parse(url: str) -> Url:
    """Raises ValueError for what is not http(s); its text carries no credentials."""
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings carry whole URLs
    try:
        parsed = parse_url(url)
    except LocationParseError:
        raise ValueError(
            "Its host or its port is malformed (a host outside ASCII is written as xn--...)."
        ) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("A URL to fetch from begins with http:// or https:// and has a host.")
    return parsed


def shown(url: Url) -> str:
    """A URL as it may be logged: without user, password and query."""
    return f"{url.scheme}://{url.netloc}{url.path or '/'}"


def reason(error: Exception) -> str:
    """The innermost cause, short and printable: urllib3's own texts repeat object addresses, and http.client
    quotes what a server said instead of a status line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = (str(cause) or type(cause).__name__)[:200]
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text).rstrip(".")
