"""The virtual network of UDP: many nodes, links that delay and lose packets, multicast groups, sockets with queues."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hal.errors import DatagramError
from hal.inflow import Inflow
from hal.ports import Clock, Datagram
from hal.sim.loop import NS

_WIRE_S = 1e-6
"""What a packet takes on the wire. Timers of one instant fire in no order, so no two packets share one."""
_ANY = ("0.0.0.0", "::")  # noqa: S104 - names of "every interface", nothing is bound
_HOME = ("127.0.0.1", "::1")

Address = tuple[str, int]
Link = Callable[[int], "list[int]"]
"""A model of one way through the network: from the time of sending (ns) to the times of arrival; [] is lost."""


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
    network from 0 in order of sending; a packet to a group is one, and lost for all.
    """

    delay_s: float = 0.001
    jitter_s: float = 0.0
    loss: GilbertElliott | None = None
    lost: frozenset[int] = frozenset()
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay_s: float = 0.05
    partition: bool = False
    cut_off: set[Address] = field(default_factory=set)
    """Addresses that nothing reaches and nothing leaves."""


class UdpNetwork:
    """What lies between the nodes. A way with a `Link` of its own goes by that instead of by `faults`' delay,
    jitter, loss, duplicates and reordering."""

    def __init__(self, rng: random.Random) -> None:
        self.faults = UdpFaults()
        self.sent = 0
        self.lost = 0
        """Packets that did not reach somebody they were meant for (a packet to a group counts for each)."""
        self.names: dict[str, str] = {}
        """Host names and their addresses."""
        self._rng = rng
        self._nodes: dict[str, VirtualDatagrams] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._last_due_s: dict[tuple[Address, Address, str], float] = {}

    def attach(self, node: VirtualDatagrams) -> None:
        """From now on packets to the node's address go to this one (a new process has new sockets)."""
        self._nodes[node.address] = node

    def link(self, link: Link | None, *, source: str = "*", to: str = "*") -> None:
        """Let all packets from one address to another go by a model; "*" is any, None takes it back."""
        if link is None:
            self._links.pop((source, to), None)
        else:
            self._links[source, to] = link

    def carry(
        self, payload: bytes, source: Address, to: Address, *, home: VirtualDatagrams | None = None
    ) -> None:
        """Take one packet and bring it to whom it is meant for, or not. Nobody checks the source.

        `home`: who sends it, for the loopback addresses.
        """
        number = self.sent
        self.sent += 1
        if _is_group(to[0]):
            nodes = [node for node in self._nodes.values() if node.joined(to)]
        else:
            found = home if to[0] in _HOME and home is not None else self._nodes.get(to[0])
            nodes = [] if found is None else [found]
        for node in nodes:
            self._carry_to(node, payload, source, to, number)

    def _carry_to(
        self, node: VirtualDatagrams, payload: bytes, source: Address, to: Address, number: int
    ) -> None:
        faults, here = self.faults, (node.address, to[1])
        due_s: list[float] = []
        if not (number in faults.lost or faults.partition or {source, to, here} & faults.cut_off):
            due_s = self._due_s(node.address, source, to)
        self.lost += not due_s
        for at_s in due_s:
            asyncio.get_running_loop().call_at(at_s, node.arrive, payload, source, to)

    def _due_s(self, node: str, source: Address, to: Address) -> list[float]:
        now_s = asyncio.get_running_loop().time()
        for way in ((source[0], node), ("*", node), (source[0], "*"), ("*", "*")):
            if way in self._links:
                return [due_ns / NS for due_ns in self._links[way](round(now_s * NS))]
        faults, due_s = self.faults, []
        if faults.loss is not None and faults.loss.loses(self._rng):
            return []
        for _ in range(2 if self._rng.random() < faults.duplicate else 1):
            at_s = now_s + faults.delay_s + faults.jitter_s * self._rng.random()
            if self._rng.random() < faults.reorder:
                at_s += faults.reorder_delay_s
            else:
                at_s = max(at_s, self._last_due_s.get((source, to, node), 0.0) + _WIRE_S)
                self._last_due_s[source, to, node] = at_s
            due_s.append(at_s)
        return due_s


def _is_group(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_multicast
    except ValueError:
        return False


class VirtualDatagrams:
    """`hal.ports.Datagrams` of one node: the sockets of one process at one address of the network.

    The loopback address is another name of the node itself.
    """

    def __init__(self, clock: Clock, network: UdpNetwork, address: str = "127.0.0.1") -> None:
        self.address = address
        self.network = network
        self._clock = clock
        self._sockets: list[VirtualDatagramSocket] = []
        self._dead = False
        network.attach(self)

    async def open(
        self,
        *,
        host: str,
        port: int,
        queue_packets: int = 256,
        group: str | None = None,
        interface: str | None = None,
    ) -> VirtualDatagramSocket:
        where = f"UDP {host if group is None else group + ' (group)'}:{port} cannot be opened"
        if self._dead:
            raise DatagramError(f"{where}: this process is dead.")
        if group is not None and not _is_group(group):
            raise DatagramError(f"{where}: this is no address of a group.")
        if interface not in (None, self.address, *_HOME) or (
            group is None and host not in (self.address, *_ANY, *_HOME)
        ):
            raise DatagramError(f"{where}: no interface has this address.")
        local = host if group is None else group
        if port == 0:
            port = next(p for p in range(49152, 65536) if not self._taken(local, p))
        elif self._taken(local, port):
            raise DatagramError(f"{where}: address already in use.")
        opened = VirtualDatagramSocket(self, (local, port), queue_packets)
        self._sockets.append(opened)
        return opened

    async def resolve(self, host: str, port: int) -> Address:
        try:
            return str(ipaddress.ip_address(host)), port
        except ValueError:
            pass
        if host not in self.network.names:
            raise DatagramError(f"The name {host!r} has no address.")
        return self.network.names[host], port

    def die(self) -> None:
        """The process is dead: what comes to its sockets is for nobody."""
        self._dead = True
        for opened in tuple(self._sockets):
            opened.close()

    # ------------------------------------------------------------ the network's side

    def joined(self, group: Address) -> bool:
        """Whether a socket here has joined this group."""
        return any(opened.local == group for opened in self._sockets)

    def arrive(self, payload: bytes, source: Address, to: Address) -> None:
        """A packet is there."""
        datagram = Datagram(payload=payload, source=source, arrival_ns=self._clock.monotonic_ns())
        for opened in tuple(self._sockets):
            if opened.local == to or (
                opened.local[0] in _ANY and opened.local[1] == to[1] and not _is_group(to[0])
            ):
                opened.hear(datagram)

    # ------------------------------------------------------------ its sockets' side

    def send(self, opened: VirtualDatagramSocket, payload: bytes, to: Address) -> None:
        """A socket sends: to a neighbour from the node's address, to itself from where it is bound."""
        host, port = opened.local
        if host in _ANY or _is_group(host):
            host = to[0] if to[0] in _HOME else self.address
        self.network.carry(payload, (host, port), to, home=self)

    def forget(self, opened: VirtualDatagramSocket) -> None:
        """A socket is closed."""
        if opened in self._sockets:
            self._sockets.remove(opened)

    def _taken(self, host: str, port: int) -> bool:
        if _is_group(host):
            return False
        return any(
            opened.local[1] == port
            and not _is_group(opened.local[0])
            and (opened.local[0] == host or host in _ANY or opened.local[0] in _ANY)
            for opened in self._sockets
        )


class VirtualDatagramSocket:
    """`hal.ports.DatagramSocket`."""

    def __init__(self, node: VirtualDatagrams, local: Address, queue_packets: int) -> None:
        self.local = local
        self._node = node
        self._inflow: Inflow[Datagram] = Inflow(queue_packets)
        self._source: Address | None = None
        self._discarded = 0
        self._closed = False

    async def receive(self) -> Datagram:
        return await self._inflow.get()

    def take(self) -> list[Datagram]:
        self._check()
        return self._inflow.take()

    def only_from(self, source: Address | None) -> None:
        self._check()
        self._source = source

    def send(self, payload: bytes, to: Address) -> None:
        self._check()
        self._node.send(self, payload, to)

    def discarded(self) -> int:
        return self._discarded

    def hear(self, datagram: Datagram) -> None:
        """One has arrived."""
        if self._closed:
            return
        stranger = self._source is not None and datagram.source != self._source
        if stranger or not self._inflow.put(datagram):
            self._discarded += 1

    def close(self) -> None:
        self._closed = True
        self._node.forget(self)
        self._inflow.end(DatagramError("The UDP socket is closed."))

    def _check(self) -> None:
        if self._closed:
            raise DatagramError("The UDP socket is closed.")
