"""The body of an https stream, from a server whose certificate was checked: by the authorities, or by a pin."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from hal.errors import WebcastBroken, WebcastRefused, WebcastTimeout, WebcastUnreachable

if TYPE_CHECKING:
    from urllib3.util import Url

_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECTS_MAX = 5
_CONNECT_S = 4.0
_PLAYLISTS = ("mpegurl", "m3u8")


class PinnedBody:
    """A file-like object for FFmpeg: `read` gives what has come.

    Between two bytes it waits `patience_s`; who wants the whole bounded shuts the socket down, which it is given.
    """

    def __init__(
        self,
        url: str,
        *,
        pin: str | None,
        agent: str,
        patience_s: float,
        connected: Callable[[socket.socket], None],
    ) -> None:
        """Connect, follow redirects (to https only), read the header. Raises WebcastError."""
        self._pin, self._agent, self._patience_s, self._tell = pin, agent, patience_s, connected
        self.url = url
        for _ in range(_REDIRECTS_MAX + 1):
            response = self._request(self.url)
            if response.status not in _REDIRECTS:
                break
            self.url = urljoin(self.url, response.headers.get("location", ""))
            response.close()
            if not self.url.startswith("https://"):
                raise WebcastBroken("The server sends us on to an address that is not https.")
        else:
            raise WebcastBroken("The server sends us on and on.")
        if response.status != 200:
            raise WebcastRefused(f"The server answered {response.status}.", response.status)
        self._response: Any = response
        kind = response.headers.get("content-type", "").lower()
        self.is_playlist = any(word in kind for word in _PLAYLISTS) or self.url.split("?")[0].endswith(
            ".m3u8"
        )

    def read(self, size: int = -1) -> bytes:
        """What has come, at most `size`; b"" at the end. Raises WebcastTimeout."""
        try:
            got: bytes = self._response.read1(max(1, size) if size > 0 else 4096)
        except TimeoutError:
            raise WebcastTimeout("The server went silent.") from None
        return got

    def another(self, url: str, flags: int, options: dict[str, str]) -> PinnedBody:
        """A playlist's other file, in the same safe way (PyAV's `io_open`)."""
        if not url.startswith("https://"):
            raise WebcastBroken("The playlist names an address that is not https.")
        return PinnedBody(
            url, pin=self._pin, agent=self._agent, patience_s=self._patience_s, connected=self._tell
        )

    def close(self) -> None:
        """Idempotent."""
        with contextlib.suppress(OSError):
            self._response.close()

    def _request(self, url: str) -> Any:
        from urllib3.connection import HTTPSConnection
        from urllib3.exceptions import HTTPError
        from urllib3.util import parse_url

        try:
            where = parse_url(url)
            assert where.host is not None
            connection = HTTPSConnection(where.host, where.port, timeout=self._patience_s)
            connection.sock = self._connected(where)
            headers = {"User-Agent": self._agent, "Accept": "*/*"}
            connection.request("GET", where.request_uri, headers=headers, preload_content=False)
            return connection.getresponse()
        except TimeoutError:
            raise WebcastTimeout("The server went silent before it had answered.") from None
        except (HTTPError, ValueError, AssertionError) as error:
            raise WebcastBroken(f"The server's answer is no HTTP ({error}).") from error

    def _connected(self, where: Url) -> ssl.SSLSocket:
        assert where.host is not None
        host = where.host.strip("[]")
        context = ssl.create_default_context()
        if self._pin is not None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            plain = socket.create_connection((host, where.port or 443), timeout=_CONNECT_S)
            self._tell(plain)
            sock = context.wrap_socket(plain, server_hostname=host)
        except TimeoutError:
            raise WebcastTimeout("The server took no connection.") from None
        except OSError as error:
            raise WebcastUnreachable(f"No connection ({error}).") from error
        if self._pin is not None:
            seen = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
            if f"sha256:{seen}" != self._pin:
                sock.close()
                raise WebcastUnreachable("The server's certificate is not the one that is pinned.")
        sock.settimeout(self._patience_s)
        return sock
