"""A broker in virtual time: MQTT 5 sessions, retained messages, wills, and the faults of real ones.

It behaves as Mosquitto 2 does where that matters here (the contract tests hold both to one
standard): at most `queue_cap` messages wait for a session and what comes beyond is dropped silently,
QoS 0 is not kept for who is away, overlapping subscriptions deliver once each.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from hal.errors import BrokerRefused, BrokerUnreachable
from hal.ports import BrokerSession, Clock, Connect, Delivery, Message
from hal.sim.link import Certificate, Link, VirtualSession
from hal.sim.topic_filter import matches

_NS = 1_000_000_000

Network = Literal["whole", "lost", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message that the server got from a node, will messages included."""

    at_ns: int
    client_id: str
    message: Message


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A message on its way to one session."""

    message: Message
    expires_ns: int | None
    retain: bool = False


@dataclass(slots=True, kw_only=True)
class _Memory:
    """What the broker knows of one client id."""

    client_id: str
    session: VirtualSession | None = None
    subscriptions: set[str] = field(default_factory=set)
    queue: deque[_Waiting] = field(default_factory=deque)
    inflight: OrderedDict[int, _Waiting] = field(default_factory=OrderedDict)
    last_packet_id: int = 0
    connect: Connect | None = None
    lost_due_ns: int | None = None
    """When the broker will notice that the node's end is gone."""
    will_due_ns: int | None = None
    ends_ns: int | None = None

    def next_packet_id(self) -> int:
        """One that is not under way."""
        while True:
            self.last_packet_id = self.last_packet_id % 65535 + 1
            if self.last_packet_id not in self.inflight:
                return self.last_packet_id


@dataclass(slots=True, kw_only=True)
class BrokerFaults:
    """What goes wrong from now on; a test sets these directly."""

    deliver_twice: float = 0.0
    """Share of QoS 1 deliveries that are sent a second time, as a message of their own."""
    lose_qos0: float = 0.0
    """Share of QoS 0 messages lost, either way."""
    refuse_connect: int | None = None
    """Reason code of every CONNACK."""
    refuse_publish: list[tuple[str, int]] = field(default_factory=list)
    """(topic filter, reason code) of PUBACKs."""
    refuse_subscribe: list[tuple[str, int]] = field(default_factory=list)
    """(the very topic filter, reason code) of SUBACKs."""


class VirtualBroker:
    """The broker, the network to it, and the server behind it.

    A node sees `hal.ports.Broker`. The server's side is `server_publish` and `server_received`
    (the newest `received_cap`). `delay_s` and `jitter_s` are one way.
    """

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        *,
        delay_s: float = 0.01,
        jitter_s: float = 0.0,
        queue_cap: int = 1000,
        received_cap: int = 100_000,
        connect_timeout_s: float = 10.0,
        close_timeout_s: float = 2.0,
    ) -> None:
        self.faults = BrokerFaults()
        self.delay_s = delay_s
        self.jitter_s = jitter_s
        self.certificate: Certificate | None = None
        """What it shows when it speaks TLS; its dates are judged by this world's wall clock."""
        self.retained: dict[str, Message] = {}
        self.dropped = 0
        """Messages thrown away because a session's queue was full."""
        self.received_ever = 0
        """How many messages the server got; `server_received` keeps the newest."""
        self._clock = clock
        self._rng = rng
        self._queue_cap = queue_cap
        self._connect_timeout_s = connect_timeout_s
        self._close_timeout_s = close_timeout_s
        self._received: deque[Received] = deque(maxlen=received_cap)
        self._memories: dict[str, _Memory] = {}
        self._retained_until_ns: dict[str, int | None] = {}
        self._network: Network = "whole"
        self._networks: dict[str, Network] = {}
        self._silences = 0

    # ------------------------------------------------------------ the node's side

    @asynccontextmanager
    async def session(self, connect: Connect) -> AsyncIterator[BrokerSession]:
        """See `hal.ports.Broker`."""
        session = await self._open(connect)
        try:
            yield session
        except BaseException:
            self._drop(session)
            raise
        await self._close(session)

    async def _open(self, connect: Connect) -> VirtualSession:
        assert connect.keepalive_s > 0, "without a keepalive a half-open connection is never noticed"
        if self._network_of(connect.client_id) == "whole":
            await asyncio.sleep(3 * (self.delay_s + self.jitter_s * self._rng.random()))
        if self._network_of(connect.client_id) == "silent":
            await asyncio.sleep(self._connect_timeout_s)
            raise BrokerUnreachable(f"No connection to the broker within {self._connect_timeout_s:g} s.")
        if self._network_of(connect.client_id) == "lost":
            raise BrokerUnreachable("No connection to the broker: connection refused.")
        code = self.faults.refuse_connect
        if code is not None:
            raise BrokerRefused(f"The broker refused the connection: 0x{code:02x}.", code)
        link = Link(connect, self._rng)
        for way in (link.up, link.down):
            way.delay_s, way.jitter_s = self.delay_s, self.jitter_s
        session = VirtualSession(self, link)
        if self.certificate is not None:
            session.dates_checked = self.certificate.check(self._clock.utc_now(), connect)
        self._accept(session)
        return session

    async def _close(self, session: VirtualSession) -> None:
        """DISCONNECT goes up behind everything else; a silent network is not waited for."""
        if session.over:
            return
        heard = asyncio.Event()
        session.link.up.put(partial(self.hear_disconnect, session, heard))
        session.end("the session was closed on this side")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._close_timeout_s):
                await heard.wait()

    def _drop(self, session: VirtualSession) -> None:
        """The socket closes: what was written still arrives, then the end without DISCONNECT."""
        if session.over:
            return
        session.end("the connection was dropped on this side")
        if not session.link.up.silent:
            session.link.up.flush()
            self._lose(session)

    # ------------------------------------------------------------ the server's side

    @property
    def server_received(self) -> list[Received]:
        """What nodes have published, oldest first."""
        self._settle()
        return list(self._received)

    def received_on(self, pattern: str) -> list[Received]:
        """The same, of the topics that a filter covers."""
        return [entry for entry in self.server_received if matches(pattern, entry.message.topic)]

    def server_publish(self, message: Message) -> None:
        """The server publishes, from right beside the broker."""
        self._settle()
        self._apply(message)

    def connected(self, client_id: str) -> bool:
        """Whether the broker believes that this client is there."""
        memory = self._memories.get(client_id)
        return memory is not None and memory.session is not None

    # ------------------------------------------------------------ faults of a moment

    def partition(self, kind: Network = "lost", *, client_id: str | None = None) -> None:
        """Cut the network, of everybody or of one client: "lost" ends every connection at once and refuses
        new ones; "silent" is half-open: bytes are held back, each end notices by its keepalive, new
        connections time out."""
        self._set_network(kind, client_id)
        for memory in self._struck(client_id):
            session = memory.session
            assert session is not None
            if kind == "silent":
                self._hush(memory, session)
            else:
                session.end("the connection was reset")
                self._lose(session)

    def heal(self, *, client_id: str | None = None) -> None:
        """The network works again; connections that survived a silence deliver what was held back."""
        self._set_network("whole", client_id)
        for memory in self._struck(client_id):
            if memory.session is not None and not memory.session.over:
                memory.lost_due_ns = None
                memory.session.link.hush(silent=False)

    def stop(self) -> None:
        """The broker ends; nobody can connect until `heal`."""
        self.partition("lost")

    def forget_sessions(self, *, retained: bool = False) -> None:
        """A restart without persistence: every connection breaks, every session is forgotten."""
        for session in self._sessions():
            session.end("the broker restarted")
        self._memories.clear()
        if retained:
            self.retained.clear()
            self._retained_until_ns.clear()

    def kick(self, client_id: str) -> None:
        """The broker ends one connection."""
        memory = self._memories[client_id]
        if memory.session is not None:
            session = memory.session
            session.end("administrative action (0x98)")
            self._lose(session)

    def power_cut(self) -> None:
        """Every node's end vanishes without a word; the broker notices by the keepalive."""
        for memory in self._memories.values():
            if memory.session is not None:
                memory.session.end("this end lost its power")
                memory.session.link.cut()
                self._lose_later(memory)

    # ------------------------------------------------------------ what comes up the links

    def hear_subscribe(self, session: VirtualSession, calls: list[tuple[str, asyncio.Future[int]]]) -> None:
        """A SUBSCRIBE has arrived."""
        memory = self._of(session)
        if memory is None:
            return
        refused = dict(self.faults.refuse_subscribe)
        granted: list[str] = []
        for pattern, call in calls:
            code = refused.get(pattern, 1)
            if code == 1:
                memory.subscriptions.add(pattern)
                granted.append(pattern)
            session.link.down.put(partial(session.answer, call, code))
        for topic, message in list(self._still_retained()):
            if any(matches(pattern, topic) for pattern in granted):
                self._offer(memory, message, retain=True, expires_ns=self._retained_until_ns[topic])
        self._pump(memory)

    def hear_publish(
        self, session: VirtualSession, message: Message, call: asyncio.Future[int] | None
    ) -> None:
        """A PUBLISH has arrived."""
        if self._of(session) is None:
            return
        self._settle()
        code = next((c for pattern, c in self.faults.refuse_publish if matches(pattern, message.topic)), 0)
        if call is not None:
            session.link.down.put(lambda: session.answer(call, code))
        elif self._rng.random() < self.faults.lose_qos0:
            return
        if code < 0x80:
            self._record(session.link.connect.client_id, message)
            self._apply(message)

    def hear_acknowledge(self, session: VirtualSession, packet_id: int) -> None:
        """A PUBACK has arrived."""
        memory = self._of(session)
        if memory is not None and memory.inflight.pop(packet_id, None) is not None:
            self._pump(memory)

    def hear_disconnect(self, session: VirtualSession, heard: asyncio.Event) -> None:
        """A DISCONNECT has arrived: no will."""
        heard.set()
        memory = self._of(session)
        session.link.cut()
        if memory is not None:
            self._part(memory, will=False)

    # ------------------------------------------------------------ sessions

    def _network_of(self, client_id: str) -> Network:
        return self._networks.get(client_id, self._network)

    @property
    def network(self) -> Network:
        """How the network is now."""
        return self._network

    def _set_network(self, network: Network, client_id: str | None) -> None:
        self._silences += 1
        if client_id is None:
            self._network = network
            self._networks.clear()
        else:
            self._networks[client_id] = network

    def _struck(self, client_id: str | None) -> list[_Memory]:
        """Who has a connection, of all or of one client."""
        memories = [memory for memory in self._memories.values() if memory.session is not None]
        return [memory for memory in memories if client_id in (None, memory.client_id)]

    def _sessions(self) -> list[VirtualSession]:
        return [memory.session for memory in self._memories.values() if memory.session is not None]

    def _of(self, session: VirtualSession) -> _Memory | None:
        """The memory that this session serves, unless it was taken over or given up."""
        memory = self._memories.get(session.link.connect.client_id)
        return memory if memory is not None and memory.session is session else None

    def _accept(self, session: VirtualSession) -> None:
        connect = session.link.connect
        self._settle()
        memory = self._memories.get(connect.client_id)
        if memory is not None and memory.session is not None:
            memory.session.end("session taken over (0x8e)")
            self._lose(memory.session)
            memory = self._memories.get(connect.client_id)
        if memory is None or connect.clean_start:
            if memory is not None:
                self._publish_will(memory)
            memory = self._memories[connect.client_id] = _Memory(client_id=connect.client_id)
        else:
            session.session_present = True
        memory.session, memory.connect = session, connect
        memory.lost_due_ns = memory.will_due_ns = memory.ends_ns = None
        for packet_id, waiting in memory.inflight.items():
            self._send(memory, packet_id, waiting, duplicate=True)
        self._pump(memory)

    def _lose(self, session: VirtualSession, *, at_ns: int | None = None) -> None:
        """The broker notices that a connection is gone without DISCONNECT, now or (looked at late) before."""
        memory = self._of(session)
        session.link.cut()
        if memory is not None:
            self._part(memory, will=True, at_ns=at_ns)

    def _part(self, memory: _Memory, *, will: bool, at_ns: int | None = None) -> None:
        connect = memory.connect
        assert connect is not None
        now_ns = self._clock.monotonic_ns() if at_ns is None else at_ns
        memory.session = memory.lost_due_ns = None
        memory.ends_ns = now_ns + connect.session_expiry_s * _NS
        if will and connect.will is not None:
            delay_s = min(connect.will_delay_s, connect.session_expiry_s)
            memory.will_due_ns = now_ns + delay_s * _NS
            self._settle_after(delay_s)
        self._settle()

    def _hush(self, memory: _Memory, session: VirtualSession) -> None:
        """The worst case of a half-open connection: its ends notice after 2 and 1.5 keepalives."""
        session.link.hush(silent=True)
        this = session.link.silence = self._silences

        def node_notices() -> None:
            if session.link.silence == this:
                session.end("the broker has fallen silent")

        asyncio.get_running_loop().call_later(2 * session.link.connect.keepalive_s, node_notices)
        self._lose_later(memory)

    def _lose_later(self, memory: _Memory) -> None:
        assert memory.connect is not None
        after_s = 1.5 * memory.connect.keepalive_s
        memory.lost_due_ns = self._clock.monotonic_ns() + int(after_s * _NS)
        self._settle_after(after_s)

    def _settle_after(self, delay_s: float) -> None:
        """What is due happens on time when a loop runs, and otherwise when somebody looks."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        loop.call_later(delay_s, self._settle)

    def _settle(self) -> None:
        """Notice lost connections, publish the wills that are due, forget expired sessions."""
        now_ns = self._clock.monotonic_ns()
        for memory in list(self._memories.values()):
            if memory.session is not None:
                if memory.lost_due_ns is not None and memory.lost_due_ns <= now_ns:
                    self._lose(memory.session, at_ns=memory.lost_due_ns)
                continue
            if memory.will_due_ns is not None and memory.will_due_ns <= now_ns:
                self._publish_will(memory)
            if memory.ends_ns is not None and memory.ends_ns <= now_ns:
                self._memories.pop(memory.client_id, None)

    def _publish_will(self, memory: _Memory) -> None:
        due_ns, memory.will_due_ns = memory.will_due_ns, None
        if due_ns is not None and memory.connect is not None and memory.connect.will is not None:
            self._record(memory.client_id, memory.connect.will)
            self._apply(memory.connect.will)

    # ------------------------------------------------------------ messages

    def _record(self, client_id: str, message: Message) -> None:
        self.received_ever += 1
        self._received.append(
            Received(at_ns=self._clock.monotonic_ns(), client_id=client_id, message=message)
        )

    def _apply(self, message: Message) -> None:
        """Retain it where it says so, and route it."""
        expires_ns = None if message.expiry_s is None else self._clock.monotonic_ns() + message.expiry_s * _NS
        if message.retain:
            if message.payload:
                self.retained[message.topic] = message
                self._retained_until_ns[message.topic] = expires_ns
            else:
                self.retained.pop(message.topic, None)
                self._retained_until_ns.pop(message.topic, None)
        for memory in list(self._memories.values()):
            for pattern in sorted(memory.subscriptions):
                if matches(pattern, message.topic):
                    self._offer(memory, message, retain=message.retain, expires_ns=expires_ns)
            self._pump(memory)

    def _still_retained(self) -> Iterator[tuple[str, Message]]:
        now_ns = self._clock.monotonic_ns()
        for topic, message in self.retained.items():
            until_ns = self._retained_until_ns[topic]
            if until_ns is None or until_ns > now_ns:
                yield topic, message

    def _offer(self, memory: _Memory, message: Message, *, retain: bool, expires_ns: int | None) -> None:
        if message.qos == 0 and (memory.session is None or self._rng.random() < self.faults.lose_qos0):
            return
        if len(memory.queue) >= self._queue_cap:
            self.dropped += 1
            return
        waiting = _Waiting(message=message, expires_ns=expires_ns, retain=retain)
        memory.queue.append(waiting)
        if message.qos and self._rng.random() < self.faults.deliver_twice:
            memory.queue.append(replace(waiting))

    def _pump(self, memory: _Memory) -> None:
        """Send as much as Receive Maximum allows."""
        while memory.session is not None and memory.queue:
            room = len(memory.inflight) < memory.session.link.connect.receive_maximum
            if memory.queue[0].message.qos and not room:
                return
            waiting = memory.queue.popleft()
            if waiting.expires_ns is not None and waiting.expires_ns <= self._clock.monotonic_ns():
                continue
            packet_id = 0
            if waiting.message.qos:
                packet_id = memory.next_packet_id()
                memory.inflight[packet_id] = waiting
            self._send(memory, packet_id, waiting, duplicate=False)

    def _send(self, memory: _Memory, packet_id: int, waiting: _Waiting, *, duplicate: bool) -> None:
        session, message = memory.session, waiting.message
        assert session is not None
        expiry_s = None
        if waiting.expires_ns is not None:
            expiry_s = max(0, -(-(waiting.expires_ns - self._clock.monotonic_ns()) // _NS))
        delivery = Delivery(
            topic=message.topic,
            payload=message.payload,
            qos=message.qos,
            retain=waiting.retain,
            duplicate=duplicate,
            packet_id=packet_id,
            expiry_s=expiry_s,
            correlation=message.correlation,
        )
        session.link.down.put(lambda: session.hear(delivery))
