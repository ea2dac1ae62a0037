"""The body of an https stream, from a server whose certificate was checked: by the authorities, or by a pin."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from urllib.parse import urljoin

from hal.errors import WebBroken, WebcastRefused
from hal.linux.http_line import MAX_REDIRECTS, REDIRECTS, Line, WebPatience, parse

_PLAYLISTS = ("mpegurl", "m3u8")
_READ_BYTES = 4_096


class PinnedBody:
    """A file-like object for FFmpeg: `read` gives what has come. Whoever is told of its lines may cut them."""

    def __init__(
        self, url: str, *, pin: str | None, agent: str, patience: WebPatience, begun: Callable[[Line], None]
    ) -> None:
        """Connect, follow redirects (to https only), read the header.

        Raises WebError, WebcastRefused, and as urllib3 and http.client do.
        """
        self._pin, self._agent, self._patience, self._begun = pin, agent, patience, begun
        self.url = url
        with contextlib.ExitStack() as on_error:
            for _ in range(MAX_REDIRECTS + 1):
                self._line = Line()
                on_error.callback(self._line.close)
                begun(self._line)
                headers = {"User-Agent": agent, "Accept": "*/*"}
                reply = self._line.request(parse(self.url), headers, patience, pin=pin)
                if reply.status not in REDIRECTS:
                    break
                on_error.close()
                self.url = _https(urljoin(self.url, reply.headers.get("location", "")))
            else:
                raise WebBroken("The server sends us on and on.")
            if reply.status != 200:
                raise WebcastRefused(f"The server answered {reply.status}.", reply.status)
            on_error.pop_all()
        kind = reply.headers.get("content-type", "").lower()
        self.is_playlist = any(word in kind for word in _PLAYLISTS) or self.url.split("?")[0].endswith(
            ".m3u8"
        )

    def read(self, size: int = -1) -> bytes:
        """What has come, at most `size`; b"" at the end."""
        return self._line.read(size if size > 0 else _READ_BYTES)

    def another(self, url: str, flags: int, options: dict[str, str]) -> PinnedBody:
        """A playlist's other file, in the same safe way (PyAV's `io_open`)."""
        return PinnedBody(
            _https(url), pin=self._pin, agent=self._agent, patience=self._patience, begun=self._begun
        )

    def close(self) -> None:
        """Idempotent."""
        self._line.close()


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise WebBroken("The stream leads to an address that is not https.")
    return url
