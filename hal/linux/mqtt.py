"""One MQTT 5 connection: `aiomqtt.Client` with the cures it needs, as a `hal.ports.BrokerSession`.

Facts about aiomqtt 2.5.1 over paho-mqtt 2.2, found by reading and measuring; each cure has a
test of its name in tests/hal/test_broker_contract.py:

- It acknowledges a message before the application has seen it. Cure: `manual_ack_set`, and PUBACK
  only by `acknowledge`.
- Its queue throws acknowledged messages away when full. Cure: we announce a Receive Maximum, and have
  room for far more, because Mosquitto 2.0.11, which Debian 12 ships, forgets it with the first PUBACK
  (eclipse/mosquitto #2301) and sends all it holds. Beyond that room what comes is neither kept nor
  acknowledged, the session ends after what was kept, and the broker sends the rest on the next one.
- It returns normally from a publish that the broker refused. Cure: the reason code is kept and raised.
- It forgets CONNACK's "session present". Cure: `_on_connect` keeps it.
- On a second connection of one object paho sends again what was under way. Cure: one object, one connection.
- A publish does not notice that the connection is lost; it waits for a time-out. Cure: every
  pending call ends when the connection does.
- `add_writer` goes through `call_soon_threadsafe` with a file number that may be closed, and given to
  somebody else, by then. Cure: everything here runs on the loop's thread, so it is called directly.
- `connect` blocks. Cure: `hal.linux.broker` brings a connected socket, and paho only takes it over.
- An incoming packet may claim 256 MiB. Cure: `max_packet_bytes`.

All this leans on private names; `_promise_names` says so at once when a new version lacks one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from hal.errors import BrokerLost, BrokerRefused, BrokerUnreachable
from hal.inflow import Inflow
from hal.linux.tls import spoken_alert
from hal.ports import Connect, Delivery, Message

_REFUSED = 0x80
_SILENCE = 0x8D
_PACKET_TOO_LARGE = 0x95
_MAX_INFLIGHT = 20
_HELD_MESSAGES = 2048
"""What may wait here, acknowledged by nobody: twice what Mosquitto queues for a client as shipped."""
_HELD_BYTES = 8 << 20
_QOS0_ROOM = 64
"""While so many deliveries wait, one at QoS 0, which no Receive Maximum bounds, is dropped and counted."""

_SILENT = logging.Logger("hal.linux.mqtt.silent", level=logging.CRITICAL + 1)  # noqa: LOG001 - in no tree, on purpose

_PAHO_NAMES = (
    "_create_socket",
    "_sock_close",
    "_sock_recv",
    "_sock_send",
    "_in_packet",
    "_keepalive",
    "_max_inflight_messages",
)
_AIOMQTT_NAMES = (
    "_client",
    "_client_connect",
    "_loop",
    "_on_connect",
    "_on_disconnect",
    "_on_message",
    "_on_publish",
    "_on_subscribe",
    "_on_socket_open",
    "_on_socket_close",
    "_on_socket_register_write",
    "_on_socket_unregister_write",
)


def _promise_names(client: aiomqtt.Client) -> None:
    missing = [name for name in _AIOMQTT_NAMES if not hasattr(client, name)]
    missing += [name for name in _PAHO_NAMES if not hasattr(client._client, name)]  # noqa: SLF001 - see the module
    assert not missing, (
        f"this aiomqtt or paho-mqtt has no {', '.join(missing)}; hal/linux/mqtt.py was written for "
        "aiomqtt 2.5.1 with paho-mqtt 2.2 and must be read again"
    )


def _empty(kind: int) -> Any:
    """Paho's Properties, which take their attributes by name and are not annotated."""
    make: Callable[[int], Any] = Properties
    return make(kind)


def _properties(kind: int, message: Message) -> Any:
    properties = _empty(kind)
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    if message.content_type is not None:
        properties.ContentType = message.content_type
    return properties


def _will(connect: Connect) -> aiomqtt.Will | None:
    message = connect.will
    if message is None:
        return None
    properties = _properties(PacketTypes.WILLMESSAGE, message)
    properties.WillDelayInterval = connect.will_delay_s
    return aiomqtt.Will(message.topic, message.payload, message.qos, message.retain, properties)


def _connect_properties(connect: Connect, max_packet_bytes: int) -> Any:
    properties = _empty(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = connect.session_expiry_s
    properties.ReceiveMaximum = connect.receive_maximum
    properties.MaximumPacketSize = max_packet_bytes
    return properties


class MqttSession(aiomqtt.Client):
    """One connection's life on one socket; `open` it once, `close` or `drop` it once."""

    def __init__(
        self,
        *,
        connect: Connect,
        sock: socket.socket,
        username: str | None,
        password: str | None,
        max_packet_bytes: int,
    ) -> None:
        super().__init__(
            "unused.invalid",
            identifier=connect.client_id,
            username=username,
            password=password,
            logger=_SILENT,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=_will(connect),
            keepalive=connect.keepalive_s,
            clean_start=connect.clean_start,
            properties=_connect_properties(connect, max_packet_bytes),
            max_inflight_messages=_MAX_INFLIGHT,
        )
        _promise_names(self)
        self.session_present = False
        self.dates_checked = True
        self._socket = sock
        self._max_packet_bytes = max_packet_bytes
        self._server_packet_bytes: int | None = None
        self._inflow: Inflow[Delivery] = Inflow(_HELD_MESSAGES + _QOS0_ROOM)
        self._unacknowledged: dict[int, Delivery] = {}
        self._held_bytes = 0
        self._overrun = 0
        self._slots = asyncio.Semaphore(_MAX_INFLIGHT)
        self._calls: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._keeping: asyncio.Task[None] | None = None
        self._sent = self._received = 0
        self._client.manual_ack_set(True)
        self._take_over_socket()

    # ------------------------------------------------------------ the port

    async def subscribe(self, *topics: str) -> None:  # type: ignore[override]  # the port's signature, not aiomqtt's
        self._check()
        if not topics:
            return
        wanted = [(topic, SubscribeOptions(qos=1, retainAsPublished=True)) for topic in topics]
        rc, mid = self._client.subscribe(wanted)
        if rc != paho.MQTT_ERR_SUCCESS or mid is None:
            raise BrokerLost(f"The subscription could not be sent: {paho.error_string(rc)}.")
        for topic, code in zip(topics, await self._answer(mid), strict=False):
            if code.value >= _REFUSED:
                raise BrokerRefused(
                    f"The broker refused the subscription to {topic}: {_spoken(code)}.", code.value
                )

    async def publish(self, message: Message) -> None:  # type: ignore[override]  # the port's signature, not aiomqtt's
        assert message.qos in (0, 1), "QoS 2 is not used"
        self._check()
        self._check_size(message)
        await self._slots.acquire()
        try:
            self._check()
            info = self._client.publish(
                message.topic,
                message.payload,
                message.qos,
                message.retain,
                _properties(PacketTypes.PUBLISH, message),
            )
            if info.rc != paho.MQTT_ERR_SUCCESS:
                raise BrokerLost(f"The message could not be sent: {paho.error_string(info.rc)}.")
        except BaseException:
            self._slots.release()
            raise
        answer = self._expect(info.mid)
        answer.add_done_callback(lambda _: self._slots.release())
        # Shielded: a publisher that gives up leaves the slot taken until the broker has answered.
        (code,) = await asyncio.shield(answer)
        if code.value >= _REFUSED:
            raise BrokerRefused(
                f"The broker refused a message on {message.topic}: {_spoken(code)}.", code.value
            )

    async def receive(self) -> Delivery:
        return await self._inflow.get()

    def acknowledge(self, delivery: Delivery) -> None:
        if delivery.qos == 0 or self._ended.done():
            return
        if self._unacknowledged.get(delivery.packet_id) is delivery:
            del self._unacknowledged[delivery.packet_id]
            self._held_bytes -= len(delivery.payload)
            self._client.ack(delivery.packet_id, delivery.qos)

    def traffic(self) -> tuple[int, int]:
        return self._sent, self._received

    # ------------------------------------------------------------ its life

    async def open(self, *, timeout_s: float) -> None:
        """Send CONNECT and wait for CONNACK. Raises BrokerRefused, BrokerUnreachable."""
        self._client_connect()
        try:
            async with asyncio.timeout(timeout_s):
                first: set[asyncio.Future[Any]] = {self._accepted, self._ended}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise BrokerUnreachable(f"The broker did not answer CONNECT within {timeout_s:g} s.") from None
        if not self._accepted.done():
            raise BrokerUnreachable(
                f"The broker closed the connection before CONNACK: {self._ended.result()}."
            )
        self._accepted.result()
        self._keeping = self._loop.create_task(self._keep_alive(), name="mqtt keepalive")

    async def close(self, *, timeout_s: float) -> None:
        """Send DISCONNECT behind what waits to be written, for `timeout_s` at most; then drop. Never raises."""
        if not self._ended.done() and self._client.disconnect() == paho.MQTT_ERR_SUCCESS:
            await asyncio.wait({self._ended}, timeout=timeout_s)
        await self.drop()

    async def drop(self) -> None:
        """Close the socket without a word and end all that waits. Idempotent, never raises."""
        self._end("the connection was dropped on this side")
        self._client._sock_close()  # noqa: SLF001 - paho has no public way to leave without DISCONNECT
        self._socket.close()
        if self._keeping is not None:
            keeping, self._keeping = self._keeping, None
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        if self._accepted.done() and not self._accepted.cancelled():
            self._accepted.exception()  # looked at, so that nothing complains of an unread refusal

    async def _keep_alive(self) -> None:
        """PINGREQ when it is time, and loss when no PINGRESP comes within another keepalive."""
        try:
            while self._client.loop_misc() == paho.MQTT_ERR_SUCCESS:  # noqa: ASYNC110 - paho can only be asked
                await asyncio.sleep(min(5.0, self._client._keepalive / 8))  # noqa: SLF001 - CONNACK may have changed it
        except Exception as error:  # noqa: BLE001 - whatever paho stumbles over ends the connection
            self._break_off(error)
        self._end("the broker has fallen silent")

    def _end(self, why: str) -> None:
        if self._ended.done():
            return
        self._ended.set_result(why)
        self._inflow.end(BrokerLost(f"The session has ended: {why}."))
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.done():
                call.set_exception(BrokerLost(f"The session ended before the broker answered: {why}."))
                call.exception()  # looked at: its publisher may have given up

    def _check(self) -> None:
        if self._ended.done():
            raise BrokerLost(f"The session has ended: {self._ended.result()}.")

    def _check_size(self, message: Message) -> None:
        room = self._server_packet_bytes
        size = len(message.payload) + len(message.topic.encode()) + len(message.correlation or b"") + 64
        if room is not None and size > room:
            raise BrokerRefused(
                f"The message on {message.topic} has about {size} bytes; the broker takes {room}.",
                _PACKET_TOO_LARGE,
            )

    def _expect(self, mid: int) -> asyncio.Future[list[ReasonCode]]:
        assert mid not in self._calls, "paho gave one packet id to two calls"
        answer = self._calls[mid] = self._loop.create_future()
        return answer

    async def _answer(self, mid: int) -> list[ReasonCode]:
        return await self._expect(mid)

    def _resolve(self, mid: int, codes: list[ReasonCode]) -> None:
        call = self._calls.pop(mid, None)
        if call is not None and not call.done():
            call.set_result(codes)

    # ------------------------------------------------------------ what paho calls

    def _on_connect(
        self,
        client: Any,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Any = None,
    ) -> None:
        if self._accepted.done():
            return
        if reason_code.value >= _REFUSED:
            text = f"The broker refused the connection: {_spoken(reason_code)}."
            self._accepted.set_exception(BrokerRefused(text, reason_code.value))
            return
        self.session_present = bool(flags.session_present)
        self._server_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        inflight = min(_MAX_INFLIGHT, getattr(properties, "ReceiveMaximum", _MAX_INFLIGHT))
        self._slots = asyncio.Semaphore(inflight)
        self._client._max_inflight_messages = inflight  # noqa: SLF001 - its public setter refuses while connected
        self._accepted.set_result(None)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._end(f"the broker said {_spoken(reason_code)}")
        elif getattr(reason_code, "value", 0) == _SILENCE:
            self._end("the broker has fallen silent")
        else:
            self._end("the connection was closed or reset")

    def _on_subscribe(
        self, client: Any, userdata: Any, mid: int, reason_codes: list[ReasonCode], properties: Any = None
    ) -> None:
        self._resolve(mid, reason_codes)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any = None
    ) -> None:
        self._resolve(mid, [reason_code])

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        delivery = Delivery(
            topic=message.topic,
            payload=bytes(message.payload),
            qos=message.qos,
            retain=bool(message.retain),
            duplicate=bool(message.dup),
            packet_id=message.mid,
            expiry_s=getattr(properties, "MessageExpiryInterval", None),
            correlation=getattr(properties, "CorrelationData", None),
        )
        if delivery.qos == 0:
            if len(self._inflow) >= _QOS0_ROOM or not self._inflow.put(delivery):
                self._overrun += 1
            return
        assert delivery.qos == 1, "QoS 2 was never granted"
        if delivery.packet_id in self._unacknowledged:
            raise BrokerLost("the broker used a packet id that is still in use")
        held_bytes = self._held_bytes + len(delivery.payload)
        if len(self._unacknowledged) >= _HELD_MESSAGES or held_bytes > _HELD_BYTES:
            self._inflow.end(
                BrokerLost("The broker sent more at once than can be held; the rest comes again.")
            )
        elif self._inflow.put(delivery):
            self._unacknowledged[delivery.packet_id] = delivery
            self._held_bytes = held_bytes

    # ------------------------------------------------------------ the socket

    def _take_over_socket(self) -> None:
        client, sock = self._client, self._socket
        receive, send = client._sock_recv, client._sock_send  # noqa: SLF001 - counted here, paho does not count

        def counted_receive(size: int) -> bytes:
            try:
                payload = receive(size)
            except ssl.SSLError as error:  # paho would only say that the connection is gone
                self._end(spoken_alert(error))
                raise
            self._received += len(payload)
            return payload

        def counted_send(payload: bytes | bytearray) -> int:
            size = send(payload)
            self._sent += size
            return size

        replaced: dict[str, Callable[..., Any]] = {
            "_create_socket": lambda: sock,
            "_sock_recv": counted_receive,
            "_sock_send": counted_send,
        }
        for name, function in replaced.items():
            setattr(client, name, function)

    def _client_connect(self) -> None:
        self._client.connect("unused.invalid", 1, self._keepalive, "", 0, self._clean_start, self._properties)

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.add_reader(sock.fileno(), self._read)

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.remove_reader(sock.fileno())
        # Closed with bytes unread, TCP sends a reset, which may overtake our DISCONNECT at the broker.
        with contextlib.suppress(OSError, ValueError):
            for _ in range(64):
                if not sock.recv(65536):
                    break

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.add_writer(sock.fileno(), self._write)

    def _on_socket_unregister_write(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.remove_writer(sock.fileno())

    def _read(self) -> None:
        client = self._client
        try:
            while True:
                client.loop_read()
                claimed = client._in_packet["remaining_length"]  # noqa: SLF001 - see max_packet_bytes above
                if claimed > self._max_packet_bytes:
                    raise BrokerLost(f"the broker sends a packet of {claimed} bytes")
                sock = client.socket()
                if sock is None or not (hasattr(sock, "pending") and sock.pending() > 0):
                    return
        except Exception as error:  # noqa: BLE001 - a hostile broker's bytes make paho raise almost anything
            self._break_off(error)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - see _read
            self._break_off(error)

    def _break_off(self, error: Exception) -> None:
        self._end(str(error) or type(error).__name__)
        self._client._sock_close()  # noqa: SLF001 - paho has no public way to leave without DISCONNECT


def _spoken(code: Any) -> str:
    """A reason code as words and number."""
    value = getattr(code, "value", None)
    return f"{code} (0x{value:02x})" if isinstance(value, int) else str(code)
