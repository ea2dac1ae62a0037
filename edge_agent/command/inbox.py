"""The room's thread of life: one connection to the broker after another, and what comes down it.

On each connection, in this order (PROTOCOL.md, "Topics"): CONNECT with the will, SUBSCRIBE
always, birth and caps, ask for pending orders, then the outbox and health beside receiving.
Each order is judged, journalled, acknowledged, carried out, in this order: whatever is cut off
in between, the broker or the journal still has it, and never both begin it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Iterator
from datetime import timedelta

import msgspec

from edge_agent.clocktrust import ClockTrust
from edge_agent.command import ledger, replay
from edge_agent.command.acceptance import Arrival, Circumstances, Junk, Stray, Unproven, Verdict, judge
from edge_agent.command.execution import Execution, Junction
from edge_agent.command.keyring import Keyring
from edge_agent.command.messages import ARGS_OF_VERB, Ask, read_ack, read_pending
from edge_agent.command.reconcile import Reconciler
from edge_agent.command.scribe import Room, Written
from edge_agent.command.settings import BrokerSettings, OrderSettings
from edge_agent.command.tally import Tally
from edge_agent.command.time_answer import TimeDesk
from edge_agent.command.topics import Down, OrderTopic, Topics
from edge_agent.desired import Doc
from edge_agent.errors import OrderRefused
from edge_agent.model import NS, NodeId, OrderState, Precedence, Reason
from edge_agent.report.alerts import Alerts
from edge_agent.report.meter import Meter
from edge_agent.report.outbox import Outbox
from edge_agent.report.status import Status
from hal.errors import BrokerError, BrokerRefused, DatabaseError, DiskError
from hal.ports import Broker, BrokerSession, Clock, Connect, Database, Delivery, Message

logger = logging.getLogger(__name__)

SETTLED_S = 60
"""A session that lasted this long was a good one: the next attempt comes soon."""
FAREWELL_S = 2.0
_POLL_S = 0.05
_TEND_EVERY_S = 3600
_LOOK_AT_DATE_EVERY_S = 5
_VERBS = frozenset(ARGS_OF_VERB)


class _DatesCount(Exception):
    """The date is known: a session whose certificate was not judged by it has had its time."""


class Inbox:
    """Keeps the node connected and its orders in order. `life` may be cancelled: that is the way to leave."""

    def __init__(
        self,
        *,
        settings: BrokerSettings,
        orders: OrderSettings,
        node: NodeId,
        groups: tuple[str, ...],
        clock: Clock,
        trust: ClockTrust,
        broker: Broker,
        database: Database,
        router: Junction,
        outbox: Outbox,
        status: Status,
        alerts: Alerts,
        keyring: Keyring,
        reconciler: Reconciler,
        rng: random.Random,
        meter: Meter | None = None,
    ) -> None:
        """`rng` makes nonces, too: in the field it must be a `random.SystemRandom`."""
        self._settings = settings
        self._orders = orders
        self._topics = Topics(root=settings.root, node=node, groups=groups)
        self._clock = clock
        self._trust = trust
        self._broker = broker
        self._database = database
        self._router = router
        self._outbox = outbox
        self._status = status
        self._alerts = alerts
        self._keyring = keyring
        self._reconciler = reconciler
        self._meter = meter
        self._rng = rng
        self._time = TimeDesk(clock=clock, trust=trust, keyring=keyring, topics=self._topics, rng=rng)
        self._tally = Tally(clock=clock, alerts=alerts, answers_per_minute=orders.reports_per_minute)
        self._nonce = self._token()
        self._connected = False
        self._failures = 0
        self._fault: str | None = None
        """What ended the last session and has been logged."""
        self._unstored = False
        """It was the database or the disk."""

    @property
    def connected(self) -> bool:
        """Whether a session is up and its birth published."""
        return self._connected

    @property
    def refusals(self) -> dict[str, int]:
        """Refused orders by code, since the agent started."""
        return dict(self._tally.counts)

    async def life(self) -> None:
        """Take up what was left open, then connect for ever. Cancelled, it stores how everything
        ended and says farewell, within about five seconds."""
        while True:
            try:
                await self._live()
            except Exception:
                logger.exception("The inbox failed; it starts again.")
                if _cancelled():
                    raise asyncio.CancelledError from None
                self._failures += 1
            await self._rest()

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            execution = Execution(
                clock=self._clock,
                trust=self._trust,
                database=self._database,
                router=self._router,
                outbox=self._outbox,
                topics=self._topics,
                keyring=self._keyring,
                group_jitter_s=self._settings.group_jitter_s,
                rng=self._rng,
                tasks=tasks,
            )
            execution.spawn(self._tend(), name="inbox housekeeping")
            try:
                while True:
                    await self._connection(execution)
                    await self._rest()
            except asyncio.CancelledError:
                if not execution.broken and not execution.leaving:
                    await execution.wind_up()
                raise

    # ------------------------------------------------------------ a connection

    async def _connection(self, execution: Execution) -> None:
        """One connection, from CONNECT to its end. A fault is logged once, until it ends: the broker's when
        a session stands, the storage's when an order has been stored.

        Before it, whatever lies open in the journal is taken up: after a start that is what the last
        run left, later an order that was journalled just when a session broke.
        """
        began_ns = self._clock.monotonic_ns()
        try:
            await execution.resume(self._circumstances(), verbs=_VERBS)
            await execution.take_down()
            await self._session(execution)
        except (BrokerError, DatabaseError, DiskError) as error:
            if self._connected and self._clock.monotonic_ns() - began_ns >= SETTLED_S * NS:
                self._failures = 0
            if str(error) != self._fault:
                logger.warning("No session with the broker; trying again. error=%s", error)
            self._fault, self._unstored = str(error), not isinstance(error, BrokerError)
            self._failures += 1
        finally:
            self._connected = False

    async def _session(self, execution: Execution) -> None:
        token, self._nonce = self._token(), self._token()
        connect = Connect(
            client_id=self._topics.node,
            keepalive_s=self._settings.keepalive_s,
            receive_maximum=self._settings.receive_maximum,
            will=self._status.will(session=token),
            check_dates=self._trust.look().quality.trusted,
        )
        async with self._broker.session(connect) as session:
            await self._greet(session, token)
            if not self._unstored:
                logger.info(
                    "Connected to the broker. session_present=%s attempts=%d",
                    session.session_present,
                    self._failures + 1,
                )
                self._fault = None
            self._connected = True
            try:
                await self._serve(session, execution, token)
            except _DatesCount:  # caught in here: leaving the session by an exception would publish the will
                logger.info(
                    "The date is known now; connecting again to check the broker's certificate by it."
                )
                self._failures = 0
        if execution.leaving:  # only now: leaving the session by an exception would publish the will
            raise asyncio.CancelledError

    async def _greet(self, session: BrokerSession, token: str) -> None:
        """Everything that is said before anything is received."""
        await session.subscribe(*self._topics.own())
        for topic in self._topics.of_groups():
            try:
                await session.subscribe(topic)
            except BrokerRefused as error:
                logger.warning(
                    "The broker refuses a group's orders; see its ACL. topic=%s error=%s", topic, error
                )
        last = await self._database.run(_last_seen)
        ask = msgspec.json.encode(Ask(session=token))
        for message in (
            self._status.birth(
                session=token, nonce=self._nonce, have=self._keyring.have | self._reconciler.have, last=last
            ),
            self._status.caps(),
            Message(topic=self._topics.up("ask"), payload=ask),
        ):
            try:
                await session.publish(message)
            except BrokerRefused as error:
                logger.warning(
                    "The broker refuses a topic; see its ACL. topic=%s error=%s", message.topic, error
                )
        if not session.session_present:
            await self._keyring.renew()
            await self._reconciler.renew()
            await self._alerts.renew()

    async def _serve(self, session: BrokerSession, execution: Execution, token: str) -> None:
        """Receive, and beside it drain the outbox and publish health, until the session is lost or we leave."""
        faults: list[Exception] = []
        try:
            async with asyncio.TaskGroup() as beside:
                sending = [
                    beside.create_task(self._outbox.drain(session), name="outbox"),
                    beside.create_task(self._status.health_life(session), name="health"),
                    beside.create_task(self._time.life(session, token), name="time"),
                ]
                if self._meter is not None:
                    sending.append(beside.create_task(self._meter.watch(session), name="meter"))
                if not session.dates_checked:
                    dates = self._until_dates_count(session, token)
                    sending.append(beside.create_task(dates, name="dates"))
                try:
                    await self._receive(session, execution)
                except asyncio.CancelledError:
                    if execution.broken or any(task.done() for task in sending):
                        raise  # one of ours failed
                    await execution.wind_up()
                    await self._farewell(session, token)
                    for task in sending:
                        task.cancel()
        except* (BrokerError, DatabaseError, DiskError, _DatesCount) as group:
            faults = list(_leaves(group))
        if faults and _cancelled():
            raise asyncio.CancelledError
        if faults:
            raise faults[0]

    async def _until_dates_count(self, session: BrokerSession, token: str) -> None:
        """Beside a session whose certificate was believed without its dates: end it when the date is known.

        Raises _DatesCount, after the farewell: the next attempt may find that the broker is not to be believed.
        """
        while not self._trust.look().quality.trusted:  # noqa: ASYNC110 - the clock tells nobody
            await asyncio.sleep(_LOOK_AT_DATE_EVERY_S)
        await self._farewell(session, token, why="clock_trusted")
        raise _DatesCount

    async def _farewell(self, session: BrokerSession, token: str, *, why: str = "stopped") -> None:
        """Let the last answers out, then say that we leave on purpose."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                while await self._outbox.depth():  # noqa: ASYNC110 - the drain beside us empties a table
                    await asyncio.sleep(_POLL_S)
        except (TimeoutError, DatabaseError, DiskError):
            logger.info("Some answers are left for the next start.")
        try:
            async with asyncio.timeout(FAREWELL_S):
                await session.publish(self._status.farewell(session=token, why=why))
        except (TimeoutError, BrokerError) as error:
            logger.info("The farewell could not be published. error=%r", error)

    async def _rest(self) -> None:
        """Between two attempts: at random, up to a time that doubles."""
        settings = self._settings
        doubled = settings.backoff_min_s * 2 ** min(max(self._failures - 1, 0), 32)
        await asyncio.sleep(self._rng.uniform(0, min(settings.backoff_max_s, doubled)))

    # ------------------------------------------------------------ what comes down

    async def _receive(self, session: BrokerSession, execution: Execution) -> None:
        """Judge, journal, acknowledge, carry out. What cannot be journalled is not acknowledged: the
        error ends the session, and the broker sends it again on the next one."""
        while True:
            delivery = await session.receive()
            accepted = await self._take(delivery, execution)
            session.acknowledge(delivery)
            if self._unstored:
                logger.info("Orders can be stored again.")
                self._fault, self._unstored = None, False
            if accepted is not None and accepted.intent is not None:
                execution.start(accepted.entry, accepted.intent)

    async def _take(self, delivery: Delivery, execution: Execution) -> Verdict | None:
        """Deal with a delivery; returns the order that is to be carried out once it is acknowledged."""
        try:
            match self._topics.read(delivery.topic):
                case OrderTopic() if delivery.retain and not delivery.payload:
                    logger.debug("A retained order was cleared. topic=%s", delivery.topic)
                case OrderTopic(verb=verb, group=group):
                    arrival = Arrival(
                        blob=delivery.payload,
                        topic_verb=verb,
                        in_group=group is not None,
                        retained=delivery.retain,
                    )
                    return await self._order(arrival, execution)
                case Down.PENDING:
                    for blob in read_pending(delivery.payload):
                        accepted = await self._order(Arrival(blob=blob, topic_verb=None), execution)
                        if accepted is not None and accepted.intent is not None:
                            execution.start(accepted.entry, accepted.intent)
                case Down.ACK:
                    ack = read_ack(delivery.payload)
                    await self._outbox.acknowledged(ack.upto, ack.log)
                case Down() as what:
                    await self._desired(what, delivery.payload, execution)
                case None:
                    logger.debug("Something came that is not for this node. topic=%s", delivery.topic)
        except OrderRefused as refusal:
            await self._tally.refused(Reason(refusal.code, refusal.text))
        return None

    async def _order(self, arrival: Arrival, execution: Execution) -> Verdict | None:
        """Everything that is done with one order before it is acknowledged; the verdict when it is accepted."""
        now = self._circumstances()
        trust = self._keyring.trust
        verdict = judge(arrival, now, topics=self._topics, settings=self._orders, verbs=_VERBS, trust=trust)
        if isinstance(verdict, Junk):
            await self._tally.refused(verdict.reason)
            return None
        if isinstance(verdict, Unproven):
            await self._unproven(verdict, execution)
            return None
        tell, scribe = self._tally.may_answer(), execution.scribe()
        if isinstance(verdict, Stray) and not verdict.signed:
            stray = verdict.entry
            if tell:
                await self._database.run(lambda connection: scribe.tell(connection, stray))
            await self._told(stray, execution)
            return None
        room, entry = self._room(verdict), verdict.entry
        seat, kids = (verdict.seat, verdict.kids) if isinstance(verdict, Verdict) else (None, ())

        def work(connection: sqlite3.Connection) -> tuple[Written, ledger.Entry]:
            return scribe.receive(connection, entry, room, tell=tell, seat=seat, kids=kids)

        written, stands = await self._database.run(work)
        if written is Written.NEW and tell:
            self._tally.give_back()
        if written is Written.NEW and stands.state is OrderState.ACCEPTED:
            execution.told(in_group=stands.in_group)
            assert isinstance(verdict, Verdict), "a stray is refused"
            return verdict
        if written is Written.KNOWN:
            logger.debug("An order came again. id=%s state=%s", stands.id, stands.state)
            execution.told(in_group=arrival.in_group)
            return None
        await self._told(stands, execution)
        return None

    async def _unproven(self, verdict: Unproven, execution: Execution) -> None:
        """Nobody who is believed signed it: counted. If its id is known, what became of that is told again,
        now and then; nothing is written about one that is not."""
        await self._tally.refused(verdict.reason, order=verdict.id)
        if self._tally.may_recall():
            scribe = execution.scribe()
            known = await self._database.run(lambda connection: scribe.recall(connection, verdict.id))
            if known is not None:
                execution.told(in_group=known.in_group)

    async def _desired(self, what: Down, blob: bytes, execution: Execution) -> None:
        """A document, or the time."""
        if what is Down.TIME:
            self._time.answered(blob)
        elif what.doc is None:
            await self._keys(blob, execution)
        else:
            await self._document(what.doc, blob, execution)

    async def _keys(self, blob: bytes, execution: Execution) -> None:
        """A keys document came: stored, then believed, then whatever its revocations reach is ended."""
        if not blob:
            logger.debug("The keys document was cleared at the broker; the node keeps its own.")
            return
        result = await self._keyring.apply(blob, tell=self._tally.may_report())
        self._outbox.wake()
        if result.code is not None and result.status == "rejected":
            await self._tally.refused(Reason(result.code, result.text))
        if result.news:
            await execution.revoke()
            await self._reconciler.review()
            await self._keyring.look(self._trust.look())

    async def _document(self, doc: Doc, blob: bytes, execution: Execution) -> None:
        """A desired document came: whatever it is, what was in force stays until it is stored."""
        refusal = await self._reconciler.arrived(
            doc, blob, tell=self._tally.may_report(), spawn=execution.spawn
        )
        self._outbox.wake()
        if refusal is not None:
            await self._tally.refused(Reason(refusal.code, refusal.text))

    async def _told(self, entry: ledger.Entry, execution: Execution) -> None:
        execution.told(in_group=entry.in_group)
        if entry.reason is not None:
            await self._tally.refused(entry.reason, order=entry.id)

    def _room(self, verdict: Stray | Verdict) -> Room:
        """Accepted emergencies have as many places again, and stops half as many of the memory's, so that no
        other key can lock them out: neither with what it may order, nor with what it may not and is refused.
        What others' orders may take of the memory is half."""
        entry, open_max, rows_max = verdict.entry, self._orders.open_orders_max, self._orders.ledger_rows_max
        if isinstance(verdict, Stray):
            return Room(open_max=open_max, rows_max=rows_max // 2)
        if entry.state is OrderState.REJECTED:
            return Room(open_max=open_max, rows_max=rows_max)
        if entry.precedence is Precedence.EMERGENCY:
            return Room(open_max=open_max * 2, rows_max=rows_max * 2)
        if entry.verb == "stop":
            return Room(open_max=open_max * 2, rows_max=rows_max * 3 // 2)
        return Room(open_max=open_max, rows_max=rows_max)

    # ------------------------------------------------------------ within

    async def _tend(self) -> None:
        """Every hour: forget what is past, solve the alert when all was quiet."""
        while True:
            sight = self._trust.look()
            if sight.quality.trusted:
                expired_before = sight.now - timedelta(days=self._orders.remember_days)
                try:
                    await self._database.run(
                        lambda connection: ledger.purge(connection, expired_before=expired_before)  # noqa: B023 - awaited at once
                    )
                except (DatabaseError, DiskError) as error:
                    logger.warning("The journal cannot be tidied. error=%s", error)
            await self._tally.look()
            await self._keyring.look(sight)
            await asyncio.sleep(_TEND_EVERY_S)

    def _circumstances(self) -> Circumstances:
        return Circumstances(
            now_ns=self._clock.monotonic_ns(),
            boot=self._clock.boot_id(),
            sight=self._trust.look(),
            birth_nonce=self._nonce,
        )

    def _token(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"


def _cancelled() -> bool:
    """Whether somebody wants this task to end: a task group that fails at the same moment may hide it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _last_seen(connection: sqlite3.Connection) -> dict[str, int]:
    """The highest sequence number of each issuer: of signed orders for ever, of unsigned ones while remembered."""
    return ledger.newest_seq(connection) | replay.newest(connection)


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
