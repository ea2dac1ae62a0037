"""The durable outbox: everything that must reach the server, in order, over any number of connections.

At least once, never lost by us: an entry is written with the state it tells of (`put`, in one
transaction), leaves when a connection is there, and is kept until the server itself says that
it has it. The broker's PUBACK is not enough: brokers lose queues (docs/decisions/0162).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_agent.model import NS
from edge_agent.report import shelf
from edge_agent.report.settings import ReportSettings
from edge_agent.report.shelf import SCHEMA, Counts, Kind, Parcel, Wave, put
from hal.errors import BrokerLost, BrokerRefused, DatabaseError, DiskFull
from hal.ports import BrokerSession, Clock, Database, Message

__all__ = ["SCHEMA", "Counts", "Kind", "Outbox", "put"]

logger = logging.getLogger(__name__)

_PARCELS_AT_ONCE = 16
"""Messages in flight together; they start in order, so a broker receives them in order."""

_RESEND_WAIT_MAX_S = 86_400.0

_DATABASE_WAIT_S = 30.0

_ONLY_THIS_ONE = frozenset({0x91, 0x95, 0x99})
"""Reason codes that speak of the message (packet id, size, format); all others speak of the topic, the right
to it, or the broker's state (MQTT 5, table 3-4)."""


@dataclass(slots=True)
class _Hold:
    """A topic that the broker refuses is left alone for a while; the others go on."""

    until_ns: int
    refusals: int


@dataclass(slots=True)
class _Bucket:
    """Tokens are bytes. It may go into debt by one wave, and then rests until it is paid."""

    bytes_per_s: int
    burst_bytes: int
    tokens: float
    filled_ns: int

    def wait_s(self, now_ns: int) -> float:
        """How long until something may go."""
        gained = (now_ns - self.filled_ns) / NS * self.bytes_per_s
        self.tokens = min(self.burst_bytes, self.tokens + gained)
        self.filled_ns = now_ns
        return max(0.0, -self.tokens / self.bytes_per_s)


@dataclass(slots=True, kw_only=True)
class _Result:
    """What became of a wave of parcels."""

    taken: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    lost: BrokerLost | None = None


class Outbox:
    """Sends what lies on the shelf. One `drain` at a time."""

    def __init__(self, *, database: Database, clock: Clock, settings: ReportSettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._woken = asyncio.Event()
        self._holds: dict[str, _Hold] = {}
        self._bucket = _Bucket(
            settings.bytes_per_s, settings.burst_bytes, settings.burst_bytes, clock.monotonic_ns()
        )
        self._resend_ns = 0
        """When what the server has not acknowledged may be sent again."""
        self._resend_wait_s = settings.resend_after_s
        self._failing = False
        self._draining = False
        self._begun = False
        self.refused = 0
        """Publishes that the broker refused since the agent started."""

    @property
    def draining(self) -> bool:
        """Whether a session takes what lies here: the node is online."""
        return self._draining

    def wake(self) -> None:
        """Something was put on the shelf and is committed. Never blocks."""
        self._woken.set()

    async def acknowledged(self, upto: int, log: str | None = None) -> None:
        """The server has stored everything up to number `upto` (of `log`, when it says which).

        A number that was never given is ignored: it belongs to another life of this node. Raises DatabaseError.
        """
        gone = await self._database.run(lambda connection: shelf.acknowledge(connection, upto, log))
        if gone < 0:
            logger.warning("The server acknowledged what was never sent; ignored. upto=%d log=%s", upto, log)
        elif gone:
            self._resend_wait_s = self._settings.resend_after_s

    async def depth(self) -> int:
        """Entries that are still to be sent. Raises DatabaseError."""
        return (await self.counts()).waiting

    async def counts(self) -> Counts:
        """What lies on the shelf and what fell off it. Raises DatabaseError."""
        return await self._database.run(shelf.counts)

    async def drain(self, session: BrokerSession) -> None:
        """Publish through `session`, alerts first, then order states, then reports; never returns.

        Raises BrokerLost when the session is lost. A refused publish is kept and tried again later. A
        database that fails, or a full disk, is logged once and waited out.
        """
        assert not self._draining, "one drain at a time"
        self._draining = True
        try:
            while True:
                try:
                    await self._pour(session)
                except (DatabaseError, DiskFull) as error:
                    if not self._failing:
                        logger.warning("The outbox cannot be read or written. error=%s", error)
                    self._failing = True
                    await asyncio.sleep(_DATABASE_WAIT_S)
        finally:
            self._draining = False

    async def _pour(self, session: BrokerSession) -> None:
        """Settle what became of the last wave, take the next, send it; wait when there is none."""
        await self._begin(sends_max=self._settings.sends_max)
        result = _Result()
        while True:
            self._woken.clear()
            if self._clock.monotonic_ns() >= self._resend_ns:
                await self._begin(sends_max=0)
            rest_s = self._bucket.wait_s(self._clock.monotonic_ns())
            wave = await self._settle_and_take(result, take=rest_s == 0 and result.lost is None)
            if self._failing:
                self._failing = False
                logger.info("The outbox can be read and written again.")
            if result.lost is not None:
                raise result.lost
            result = _Result()
            if rest_s > 0:
                await asyncio.sleep(rest_s)
            elif wave.parcels:
                result = await self._send(session, wave.parcels)
            else:
                await self._wait(wave.next_ns)

    async def _begin(self, *, sends_max: int) -> None:
        """A connection begins, or has lasted for long: what was left unacknowledged may be due again; to a
        server that never acknowledges anything, `sends_max` times in all."""
        now_ns, settings, begun = self._clock.monotonic_ns(), self._settings, self._begun
        again = now_ns >= self._resend_ns

        def work(connection: sqlite3.Connection) -> int:
            shelf.limit(connection, settings.outbox_max_entries)
            if not begun:
                shelf.begin(connection)
            return shelf.send_again(connection, sends_max) if again else 0

        count = await self._database.run(work)
        self._begun = True
        if again:
            self._resend_ns = now_ns + round(self._resend_wait_s * NS)
        if count:
            self._resend_wait_s = min(self._resend_wait_s * 2, _RESEND_WAIT_MAX_S)
            logger.info("Sending again what the server has not acknowledged. entries=%d", count)

    async def _settle_and_take(self, result: _Result, *, take: bool) -> Wave:
        """One transaction for both, so that a long shelf costs one flush a wave."""
        clock, settings = self._clock, self._settings
        now_ns = clock.monotonic_ns()
        birth = f"{clock.boot_id()} {now_ns} {clock.utc_now().isoformat()}"
        new_log = hashlib.sha256(birth.encode()).hexdigest()[:8]
        held = [topic for topic, hold in self._holds.items() if hold.until_ns > now_ns]
        probed = self._holds.keys() - set(held)

        def work(connection: sqlite3.Connection) -> Wave:
            shelf.settle(
                connection,
                taken=result.taken,
                refused=result.refused,
                now_ns=now_ns,
                refusal_first_ns=round(settings.refusal_first_s * NS),
                refusal_max_ns=round(settings.refusal_max_s * NS),
            )
            if not take:
                return Wave(parcels=(), next_ns=None)
            return shelf.next_wave(
                connection,
                now_ns=now_ns,
                held=held,
                probed=probed,
                parcels_max=_PARCELS_AT_ONCE,
                bytes_max=settings.batch_max_bytes,
                new_log=new_log,
            )

        return await self._database.run(work)

    async def _wait(self, next_ns: int | None) -> None:
        """Until something is put on the shelf, or something refused or unacknowledged may be tried again."""
        now_ns = self._clock.monotonic_ns()
        ends = [hold.until_ns for hold in self._holds.values() if hold.until_ns > now_ns]
        ends += [self._resend_ns] if next_ns is None else [self._resend_ns, next_ns]
        left_s = max(0.0, (min(ends) - now_ns) / NS)
        try:
            async with asyncio.timeout(left_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _send(self, session: BrokerSession, parcels: Sequence[Parcel]) -> _Result:
        """Publish a wave together. What the broker took is settled even when the session is lost halfway."""
        result = _Result()
        self._bucket.tokens -= sum(len(parcel.payload) + len(parcel.topic) for parcel in parcels)
        async with asyncio.TaskGroup() as group:
            for parcel in parcels:
                group.create_task(self._publish(session, parcel, result), name=f"publish {parcel.topic}")
        return result

    async def _publish(self, session: BrokerSession, parcel: Parcel, result: _Result) -> None:
        message = Message(topic=parcel.topic, payload=parcel.payload, qos=1, retain=parcel.retain)
        try:
            async with asyncio.timeout(self._settings.puback_timeout_s):
                await session.publish(message)
        except BrokerRefused as error:
            self.refused += 1
            result.refused.extend(parcel.entries)
            if error.reason_code not in _ONLY_THIS_ONE and (parcel.fresh or parcel.topic in self._holds):
                self._hold(parcel.topic, error)
        except BrokerLost as error:
            result.lost = error
        except TimeoutError:
            result.lost = BrokerLost("The broker did not acknowledge a publish in time.")
        else:
            result.taken.extend(parcel.entries)
            if self._holds.pop(parcel.topic, None) is not None:
                logger.info("The broker takes a topic again. topic=%s", parcel.topic)

    def _hold(self, topic: str, error: BrokerRefused) -> None:
        """Leave the topic alone, longer each time; several refusals in one wave count once."""
        now_ns, settings = self._clock.monotonic_ns(), self._settings
        hold = self._holds.setdefault(topic, _Hold(0, 0))
        if hold.until_ns > now_ns:
            return
        if hold.refusals == 0:
            logger.warning(
                "The broker refuses a topic; it is tried again later. topic=%s reason_code=0x%02x",
                topic,
                error.reason_code,
            )
        wait_s = min(settings.refusal_first_s * 2**hold.refusals, settings.refusal_max_s)
        hold.refusals = min(hold.refusals + 1, 16)
        hold.until_ns = now_ns + round(wait_s * NS)
