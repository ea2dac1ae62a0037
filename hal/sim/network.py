"""The virtual network beside the broker: a web of pages that can fail, and UDP that loses packets."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from hal.errors import DatagramError, WebBroken, WebTimeout, WebUnreachable
from hal.inflow import Inflow
from hal.ports import Clock, Datagram, Download

# ---------------------------------------------------------------- the web

CONNECT_S = 10.0
SILENCE_S = 20.0
FLOOR_BYTES_PER_S = 256
FLOOR_WINDOW_S = 30.0
MAX_REDIRECTS = 5
PACKET_BYTES = 1400
MAX_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a URL answers, and how it fails.

    `truncate` ends the body after so many bytes; `drip_bytes_per_s` is the pace of the body;
    `delay_s` passes before the header; `stall_after` is silence for ever after so many bytes.
    """

    body: bytes = b""
    status: int = 200
    etag: str | None = None
    truncate: int | None = None
    drip_bytes_per_s: float | None = None
    delay_s: float = 0.0
    stall_after: int | None = None
    unreachable: bool = False
    redirect: str | None = None
    ranges: bool = True
    sized: bool = True
    """Whether the reply has a Content-Length."""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """One GET that the virtual web has seen."""

    at_ns: int
    url: str
    offset: int
    etag: str | None


class VirtualWeb:
    """`hal.ports.Web` over pages that a test puts there; an unknown URL is 404."""

    def __init__(
        self, clock: Clock, rng: random.Random, *, delay_s: float = 0.03, jitter_s: float = 0.0
    ) -> None:
        self.delay_s = delay_s
        self.jitter_s = jitter_s
        self.requests: deque[Requested] = deque(maxlen=10_000)
        self.network: Literal["whole", "lost", "silent"] = "whole"
        """"lost": no connection can be made. "silent": nothing answers any more."""
        self._clock = clock
        self._rng = rng
        self._pages: dict[str, Page] = {}

    def put(
        self,
        url: str,
        body: bytes = b"",
        *,
        status: int = 200,
        etag: str | None = "auto",
        truncate: int | None = None,
        drip_bytes_per_s: float | None = None,
        delay_s: float = 0.0,
        stall_after: int | None = None,
        unreachable: bool = False,
        redirect: str | None = None,
        ranges: bool = True,
        sized: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        """Let a URL answer with this (see `Page`), until the next `put`. `etag` "auto" is one of the body."""
        if etag == "auto":
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        self._pages[url] = Page(
            body=body,
            status=status,
            etag=etag,
            truncate=truncate,
            drip_bytes_per_s=drip_bytes_per_s,
            delay_s=delay_s,
            stall_after=stall_after,
            unreachable=unreachable,
            redirect=redirect,
            ranges=ranges,
            sized=sized,
            retry_after_s=retry_after_s,
        )

    async def get(self, url: str, *, offset: int = 0, etag: str | None = None) -> Download:
        for _ in range(MAX_REDIRECTS + 1):
            _check(url)
            page = await self._ask(url, offset, etag)
            if page.redirect is None:
                return VirtualDownload(self, url, page, offset, etag)
            url = _joined(url, page.redirect)
            if _ORIGIN.match(url) is None:
                raise WebBroken("The page redirects to something that is not http or https.")
        raise WebBroken(f"The page is reached after more than {MAX_REDIRECTS} redirects.")

    async def _ask(self, url: str, offset: int, etag: str | None) -> Page:
        page = self._pages.get(url, Page(status=404, body=b"not found"))
        if self.network == "silent":
            await asyncio.sleep(CONNECT_S)
            raise WebTimeout(f"{url} took no connection within {CONNECT_S:g} s.")
        await asyncio.sleep(3 * (self.delay_s + self.jitter_s * self._rng.random()))
        if page.unreachable or self.network == "lost":
            raise WebUnreachable(f"No connection to {url}: connection refused.")
        self.requests.append(
            Requested(at_ns=self._clock.monotonic_ns(), url=url, offset=offset, etag=etag),
        )
        await asyncio.sleep(min(page.delay_s, SILENCE_S))
        if page.delay_s >= SILENCE_S:
            raise WebTimeout(f"{url} was silent for too long.")
        return page


_ORIGIN = re.compile(r"https?://[^/?#]+")


def _check(url: str) -> None:
    if _ORIGIN.match(url) is None:
        raise ValueError("A URL to fetch from begins with http:// or https:// and has a host.")


def _joined(url: str, redirect: str) -> str:
    """Where a redirect leads: a whole URL, a path, or a neighbour."""
    if ":" in redirect:
        return redirect
    origin = _ORIGIN.match(url)
    assert origin is not None
    return origin[0] + redirect if redirect.startswith("/") else url.rsplit("/", 1)[0] + "/" + redirect


class VirtualDownload:
    """`hal.ports.Download` of a page."""

    def __init__(self, web: VirtualWeb, url: str, page: Page, asked: int, etag: str | None) -> None:
        self.status, body, self.offset = page.status, page.body, 0
        self.total: int | None = None
        part = page.status == 200 and page.ranges and asked > 0 and etag in (None, page.etag)
        if part and asked >= len(page.body):
            self.status, body = 416, b""
        elif part:
            self.status, body, self.offset = 206, page.body[asked:], asked
        self.length = len(body) if page.sized else None
        if self.status in (200, 206):
            self.total = len(page.body) if page.sized or self.status == 206 else None
        self.etag = page.etag if page.etag is not None and page.etag.startswith('"') else None
        self.retry_after_s = page.retry_after_s
        self._web, self._url, self._page, self._body = web, url, page, body
        self._position = 0
        self._stands_at_s = asyncio.get_running_loop().time()
        self._window_s = 0.0
        self._window_bytes = 0
        self._over: Exception | None = None

    async def read(self, max_bytes: int) -> bytes:
        if self._over is not None:
            raise self._over.with_traceback(None)
        try:
            return await self._read(min(max_bytes, MAX_READ_BYTES))
        except asyncio.CancelledError:
            self._over = WebBroken(f"{self._url} was given up.")
            raise
        except (WebTimeout, WebBroken) as error:
            self._over = error
            raise

    async def _read(self, size: int) -> bytes:
        page, left = self._page, len(self._body) - self._position
        if left == 0:
            return b""
        end = len(self._body)
        if page.truncate is not None:
            end = min(end, page.truncate)
        if self._web.network == "lost" or (self._position >= end and page.sized):
            raise WebBroken(f"{self._url} ended {left} bytes before its length.")
        if page.stall_after is not None:
            end = min(end, page.stall_after)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        if self._web.network == "silent" or (page.stall_after is not None and self._position >= end):
            await asyncio.sleep(SILENCE_S)
            raise WebTimeout(f"{self._url} was silent for too long.")
        size = min(size, end - self._position)
        if page.drip_bytes_per_s is not None and size:
            size = await self._drip(page.drip_bytes_per_s, size)
        payload = self._body[self._position : self._position + size]
        self._position += size
        self._check_pace(size, loop.time() - began_s)
        return payload

    async def _drip(self, bytes_per_s: float, size: int) -> int:
        """Wait for the next packet, of at most a second's bytes; return how many have come by then."""
        loop = asyncio.get_running_loop()
        packet = max(1, min(size, PACKET_BYTES, int(bytes_per_s)))
        due_s = self._stands_at_s + (self._position + packet) / bytes_per_s
        wait_s = due_s - loop.time()
        await asyncio.sleep(min(max(wait_s, 0.0), SILENCE_S))
        if wait_s >= SILENCE_S:
            raise WebTimeout(f"{self._url} was silent for too long.")
        come = int((loop.time() - self._stands_at_s) * bytes_per_s + 1e-6)
        return min(size, max(1, come - self._position))

    def _check_pace(self, size: int, waited_s: float) -> None:
        self._window_bytes += size
        self._window_s += waited_s
        if self._window_s < FLOOR_WINDOW_S:
            return
        if self._window_bytes < FLOOR_BYTES_PER_S * self._window_s:
            raise WebTimeout(f"{self._url} sends fewer than {FLOOR_BYTES_PER_S} bytes a second.")
        self._window_bytes, self._window_s = 0, 0.0

    async def close(self) -> None:
        if self._over is None:
            self._over = WebBroken(f"{self._url} is closed.")


# ---------------------------------------------------------------- UDP

_WIRE_S = 1e-6
"""What a packet takes on the wire. Timers of one instant fire in no order, so no two packets share one."""


@dataclass(slots=True, kw_only=True)
class GilbertElliott:
    """Loss in bursts: a good and a bad state, with the chance per packet to change between them."""

    good_to_bad: float
    bad_to_good: float
    loss_good: float = 0.0
    loss_bad: float = 1.0
    bad: bool = False

    def loses(self, rng: random.Random) -> bool:
        """Take one step and say whether this packet is lost."""
        if rng.random() < (self.bad_to_good if self.bad else self.good_to_bad):
            self.bad = not self.bad
        return rng.random() < (self.loss_bad if self.bad else self.loss_good)


@dataclass(slots=True, kw_only=True)
class UdpFaults:
    """How the network treats packets from now on; a test sets these directly.

    Packets keep their order, however large the jitter, except those of `reorder`, which are held
    back by `reorder_delay_s` while others pass. `lost` are numbers of packets, counted over the whole
    network from 0 in order of sending.
    """

    delay_s: float = 0.001
    jitter_s: float = 0.0
    loss: GilbertElliott | None = None
    lost: frozenset[int] = frozenset()
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay_s: float = 0.05
    partition: bool = False
    cut_off: set[tuple[str, int]] = field(default_factory=set)
    """Addresses that nothing reaches and nothing leaves."""


class VirtualDatagrams:
    """`hal.ports.Datagrams`: sockets in one virtual network."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self.faults = UdpFaults()
        self.sent = 0
        self.lost = 0
        self._clock = clock
        self._rng = rng
        self._sockets: dict[tuple[str, int], VirtualDatagramSocket] = {}
        self._last_due_s: dict[tuple[tuple[str, int], tuple[str, int]], float] = {}

    async def open(self, *, host: str, port: int, queue_packets: int = 256) -> VirtualDatagramSocket:
        if port == 0:
            port = next(p for p in range(49152, 65536) if not self._taken(host, p))
        elif self._taken(host, port):
            raise DatagramError(f"UDP {host}:{port} cannot be opened: address already in use.")
        opened = VirtualDatagramSocket(self, (host, port), queue_packets)
        self._sockets[host, port] = opened
        return opened

    def _taken(self, host: str, port: int) -> bool:
        anywhere = ("0.0.0.0", "::")  # noqa: S104 - names of "every interface", nothing is bound
        return any(p == port and (h == host or host in anywhere or h in anywhere) for h, p in self._sockets)

    def carry(self, payload: bytes, source: tuple[str, int], to: tuple[str, int]) -> None:
        """Take one packet from a socket and bring it to another, or not."""
        faults, number = self.faults, self.sent
        self.sent += 1
        lost = faults.loss is not None and faults.loss.loses(self._rng)
        if lost or number in faults.lost or faults.partition or {source, to} & faults.cut_off:
            self.lost += 1
            return
        for _ in range(2 if self._rng.random() < faults.duplicate else 1):
            loop = asyncio.get_running_loop()
            due_s = loop.time() + faults.delay_s + faults.jitter_s * self._rng.random()
            if self._rng.random() < faults.reorder:
                due_s += faults.reorder_delay_s
            else:
                due_s = max(due_s, self._last_due_s.get((source, to), 0.0) + _WIRE_S)
                self._last_due_s[source, to] = due_s
            loop.call_at(due_s, self._arrive, payload, source, to)

    def forget(self, local: tuple[str, int]) -> None:
        """A socket is closed."""
        self._sockets.pop(local, None)

    def _arrive(self, payload: bytes, source: tuple[str, int], to: tuple[str, int]) -> None:
        target = self._sockets.get(to) or self._sockets.get(("0.0.0.0", to[1]))  # noqa: S104 - see _taken
        if target is not None:
            target.hear(Datagram(payload=payload, source=source, arrival_ns=self._clock.monotonic_ns()))


class VirtualDatagramSocket:
    """`hal.ports.DatagramSocket`."""

    def __init__(self, network: VirtualDatagrams, local: tuple[str, int], queue_packets: int) -> None:
        self.local = local
        self._network = network
        self._inflow: Inflow[Datagram] = Inflow(queue_packets)
        self._discarded = 0
        self._closed = False

    async def receive(self) -> Datagram:
        return await self._inflow.get()

    def send(self, payload: bytes, to: tuple[str, int]) -> None:
        if self._closed:
            raise DatagramError("The UDP socket is closed.")
        self._network.carry(payload, self.local, to)

    def discarded(self) -> int:
        return self._discarded

    def hear(self, datagram: Datagram) -> None:
        """One has arrived."""
        if not self._inflow.put(datagram) and not self._closed:
            self._discarded += 1

    def close(self) -> None:
        self._closed = True
        self._network.forget(self.local)
        self._inflow.end(DatagramError("The UDP socket is closed."))
