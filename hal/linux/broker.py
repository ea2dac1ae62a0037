"""The way to a real MQTT 5 broker: TCP or TLS, opened without blocking the loop, then `hal.linux.mqtt`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from hal.errors import BrokerUnreachable
from hal.ports import BrokerSession, Connect

_PORTS = {"mqtt": 1883, "mqtts": 8883}


class MqttBroker:
    """A broker at `mqtt://host:port` or, over TLS, `mqtts://host:port`.

    `ca_file` is who may vouch for the broker (None: the system's authorities); `cert_file` and
    `key_file` are the node's own certificate. A URL never carries a password: it would be logged. It
    is given, or stands in `password_file`, which like the others is read for each connection: a file
    that is missing is no reason not to play, and one that is put right needs no new start. With a
    password and no `username` the client id is the user.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        password_file: str | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        connect_timeout_s: float = 10.0,
        close_timeout_s: float = 2.0,
        max_packet_bytes: int = 256 * 1024,
    ) -> None:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("A broker URL carries no user name or password; give them on their own.")
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no broker URL; write mqtt://host:1883 or mqtts://host:8883.")
        self._host = parts.hostname
        self._port = parts.port or _PORTS[parts.scheme]
        self._tls = parts.scheme == "mqtts"
        self._files = (ca_file, cert_file, key_file)
        self._username, self._password, self._password_file = username, password, password_file
        self._connect_timeout_s = connect_timeout_s
        self._close_timeout_s = close_timeout_s
        self._max_packet_bytes = max_packet_bytes
        self._names = ThreadPoolExecutor(1, thread_name_prefix="broker-names")

    @asynccontextmanager
    async def session(self, connect: Connect) -> AsyncIterator[BrokerSession]:
        """See `hal.ports.Broker`."""
        from hal.linux.mqtt import MqttSession

        assert connect.keepalive_s > 0, "without a keepalive a half-open connection is never noticed"
        password = await asyncio.to_thread(self._read_password)
        sock = await self._socket(connect)
        try:
            session = MqttSession(
                connect=connect,
                sock=sock,
                username=self._username or (connect.client_id if password else None),
                password=password,
                max_packet_bytes=self._max_packet_bytes,
            )
        except BaseException:
            sock.close()
            raise
        try:
            await session.open(timeout_s=self._connect_timeout_s)
            yield session
        except BaseException:
            await session.drop()
            raise
        await session.close(timeout_s=self._close_timeout_s)

    def _read_password(self) -> str | None:
        if self._password_file is None:
            return self._password
        try:
            return Path(self._password_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            text = f"The password file {self._password_file} cannot be read ({why}); put it right, or broker.password_file."
            raise BrokerUnreachable(text) from None

    async def _socket(self, connect: Connect) -> socket.socket:
        where = f"{self._host}:{self._port}"
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                sock = await self._connected(connect.keepalive_s)
                if not self._tls:
                    return sock
                try:
                    return await self._secured(sock)
                except BaseException:
                    sock.close()
                    raise
        except TimeoutError:
            text = f"No connection to the broker at {where} within {self._connect_timeout_s:g} s."
            raise BrokerUnreachable(text) from None
        except ssl.SSLCertVerificationError as error:
            text = (
                f"The certificate of the broker at {where} is not believed ({error.verify_message}); "
                "check ca_file, the host name and this node's date."
            )
            raise BrokerUnreachable(text) from None
        except (OSError, UnicodeError) as error:
            raise BrokerUnreachable(f"No connection to the broker at {where}: {error}.") from None

    async def _connected(self, keepalive_s: int) -> socket.socket:
        """The first address of the host that takes a connection."""
        loop = asyncio.get_running_loop()
        # Its own thread, and only one: a resolver without an uplink answers after half a minute, and
        # look-ups given up must not pile up in the pool that disk and database work in.
        look_up = partial(socket.getaddrinfo, self._host, self._port, type=socket.SOCK_STREAM)
        found = await loop.run_in_executor(self._names, look_up)
        failure: OSError = OSError("the name has no address")
        share_s = self._connect_timeout_s / max(len(found), 1)
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # What stays unanswered so long ends the connection, be there a PINGREQ under way or not.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000 * keepalive_s)
                async with asyncio.timeout(share_s):
                    await loop.sock_connect(sock, address)
            except OSError as error:  # TimeoutError is one
                sock.close()
                failure = error if str(error) else OSError("no answer")
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    async def _secured(self, sock: socket.socket) -> socket.socket:
        """The same connection after a TLS handshake."""
        context = await asyncio.to_thread(self._context)
        wrapped = context.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            while True:
                try:
                    wrapped.do_handshake()
                except ssl.SSLWantReadError:
                    await _ready(wrapped, write=False)
                except ssl.SSLWantWriteError:
                    await _ready(wrapped, write=True)
                else:
                    return wrapped
        except BaseException:
            wrapped.close()
            raise

    def _context(self) -> ssl.SSLContext:
        ca_file, cert_file, key_file = self._files
        looked_at = f"ca_file {ca_file}"
        try:
            context = ssl.create_default_context(cafile=ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if cert_file is not None:
                looked_at = f"cert_file {cert_file} with key_file {key_file}"
                context.load_cert_chain(cert_file, key_file)
        except OSError as error:  # ssl.SSLError is one
            raise BrokerUnreachable(f"{looked_at} cannot be used: {error}; put it right.") from None
        return context


async def _ready(sock: socket.socket, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(sock.fileno(), lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        with contextlib.suppress(ValueError):
            remove(sock.fileno())
