"""Where `alert` orders are judged before the junction: chain, status, area, time, words; the rest passes through.

An alert may take others back, may have been taken back before it came, or may not concern this
node at all. What is left becomes a `Warn`, which the router carries out. Everything is decided
anew when a restart takes the order up again; the chain's table makes that the same decision.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from edge_agent.clocktrust import ClockTrust
from edge_agent.command import bulletins
from edge_agent.command.alert_settings import AlertSettings
from edge_agent.command.assessment import Advice, Heed, advise, turned_away
from edge_agent.command.bulletins import Coming, Standing
from edge_agent.command.cap import Alert
from edge_agent.command.keyring import Keyring
from edge_agent.model import (
    NS,
    AsRun,
    Digest,
    Finished,
    Intent,
    OrderId,
    OrderState,
    Outcome,
    Reason,
    ReasonCode,
    Step,
    Warn,
)
from hal.errors import DatabaseError, DiskError
from hal.ports import Clock, Database

logger = logging.getLogger(__name__)

_ENDS = {
    ReasonCode.CANCELLED: OrderState.CANCELLED,
    ReasonCode.SUPERSEDED: OrderState.SUPERSEDED,
    ReasonCode.EXPIRED: OrderState.EXPIRED,
    ReasonCode.INTERRUPTED: OrderState.INTERRUPTED,
}
"""The order's state for a reason; every other reason is a rejection."""


class Junction(Protocol):
    """What stands behind the desk: `edge_agent.router`."""

    def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        """Do it, step by step; exactly one Finished, last."""

    async def cancel(self, order: OrderId) -> None:
        """End this order's part in any outlet, if it has one."""

    async def withdraw(self, orders: Collection[OrderId]) -> None:
        """Take down what these orders have left on the board."""

    async def wind_up(self) -> None:
        """End everything with INTERRUPTED: the agent is about to leave."""


class AlertDesk:
    """A junction before the junction. `Heed` is judged here; every other intent goes on as it is."""

    def __init__(
        self,
        *,
        settings: AlertSettings,
        clock: Clock,
        trust: ClockTrust,
        database: Database,
        keyring: Keyring,
        router: Junction,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._trust = trust
        self._database = database
        self._keyring = keyring
        self._router = router

    async def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        """As the router's. Raises DatabaseError, DiskError never: they end the order."""
        if isinstance(intent, Heed):
            try:
                judged = await self._judge(intent)
            except (DatabaseError, DiskError) as error:
                reason = Reason(ReasonCode.HARDWARE_FAULT, f"The alert could not be stored: {error}")
                yield Finished(state=OrderState.FAILED, asrun=AsRun(outcome=Outcome.FAILED, reason=reason))
                return
            if isinstance(judged, Finished):
                yield judged
                return
            heed, intent = intent, judged
        else:
            heed = None
        async with aclosing(self._router.carry_out(intent)) as steps:
            async for step in steps:
                if heed is not None and isinstance(step, Finished):
                    await self._note(heed, step)
                try:
                    yield step
                except GeneratorExit:  # it may not go on (its hours, a full disk), and nothing was aired
                    if heed is not None and not isinstance(step, Finished):
                        await self._note_failure(heed)
                    raise

    async def cancel(self, order: OrderId) -> None:
        """As the router's."""
        await self._router.cancel(order)

    async def withdraw(self, orders: Collection[OrderId]) -> None:
        """As the router's."""
        await self._router.withdraw(orders)

    async def wind_up(self) -> None:
        """As the router's."""
        await self._router.wind_up()

    # ------------------------------------------------------------ judging

    async def _judge(self, heed: Heed) -> Warn | Finished:
        """What is to be done, or how it has ended already."""
        wrong = self._beyond(heed) or self._unknown_message(heed)
        if wrong is not None:
            return _refused(wrong)
        if heed.alert is None:
            return self._stored_message(heed)
        reason = turned_away(heed.alert, self._settings)
        return _refused(reason) if reason is not None else await self._judge_alert(heed, heed.alert)

    async def _judge_alert(self, heed: Heed, alert: Alert) -> Warn | Finished:
        standing = await self._arrive(heed, alert)
        if alert.kind == "Cancel":
            return self._withdrawal(heed, standing)
        now, lost = self._now(heed, standing)
        verdict = _ended(standing) or (_LOST if lost else None)
        if verdict is None:
            advice = advise(
                alert,
                settings=self._settings,
                now=now,
                highest=heed.precedence,
                message=heed.message,
            )
            if isinstance(advice, Advice):
                return self._warning(heed, advice, now, standing)
            verdict = advice
        if standing.withdraws:  # it says nothing itself, but what it takes back is over all the same
            return replace(self._withdrawal(heed, standing), verdict=verdict)
        return _refused(verdict)

    def _beyond(self, heed: Heed) -> Reason | None:
        """An authority whose areas are listed may only alert nodes that stand in one of them."""
        ring = self._keyring.ring
        authority = None if ring is None else ring.authority(heed.issuer)
        if authority is None or not authority.areas:
            return None
        mine = {value.casefold() for values in self._settings.geocodes.values() for value in values}
        if not mine.isdisjoint(area.casefold() for area in authority.areas):
            return None
        return Reason(
            ReasonCode.OUT_OF_SCOPE,
            f"{heed.issuer} may alert the areas {', '.join(authority.areas[:8])}; this node stands in none of them "
            f"({', '.join(sorted(mine)) or 'alerts.geocodes is empty'}).",
        )

    def _unknown_message(self, heed: Heed) -> Reason | None:
        if heed.message is None or heed.message in self._settings.messages:
            return None
        known = ", ".join(sorted(self._settings.messages)) or "none"
        return Reason(
            ReasonCode.BAD_ARGS, f"No message {heed.message!r} is stored here; configured ones: {known}."
        )

    async def _arrive(self, heed: Heed, alert: Alert) -> Standing:
        cancels = alert.kind == "Cancel"
        coming = Coming(
            order=heed.id,
            issuer=heed.issuer,
            precedence=heed.precedence,
            identity=alert.identity,
            status=alert.status,
            content=heed.content,
            boot=self._clock.boot_id(),
            ends=alert.references if alert.kind in {"Update", "Cancel"} else (),
            code=ReasonCode.CANCELLED if cancels else ReasonCode.SUPERSEDED,
        )

        def work(connection: sqlite3.Connection) -> Standing:
            return bulletins.arrive(connection, coming, is_alert=not cancels)

        return await self._database.run(work)

    def _now(self, heed: Heed, standing: Standing) -> tuple[datetime, bool]:
        """The best knowledge of wall time; and whether the order was taken up after a power cut by a
        node that cannot say how long that lasted.

        With a doubtful clock an order was only accepted because it echoes this run's nonce, so it was
        issued about when it came, and the time since boot counts from there.
        """
        sight = self._trust.look()
        if sight.quality.trusted:
            return sight.now, False
        rebooted = standing.first_boot not in {None, self._clock.boot_id()}
        passed_ns = max(0, self._clock.monotonic_ns() - heed.since_ns)
        return heed.issued_at + timedelta(microseconds=passed_ns // 1000), rebooted

    # ------------------------------------------------------------ what comes of it

    def _warning(self, heed: Heed, advice: Advice, now: datetime, standing: Standing) -> Warn:
        until_ns = self._clock.monotonic_ns() + round((advice.until - now).total_seconds() * NS)
        again = standing.first_boot is not None
        return Warn(
            id=heed.id,
            issuer=heed.issuer,
            precedence=advice.precedence,
            deadline_ns=until_ns if again else min(heed.deadline_ns, until_ns),
            until_ns=until_ns,
            withdraws=standing.withdraws,
            why=_withdrawn_by(heed, ReasonCode.SUPERSEDED),
            audible=advice.audible,
            voices=advice.voices,
            recording=advice.recording,
            url=advice.url,
            times=self._settings.times,
            gap_s=self._settings.gap_s,
            volume=self._settings.volume,
            texts=advice.texts,
            title=advice.title,
        )

    def _withdrawal(self, heed: Heed, standing: Standing) -> Warn:
        assert heed.alert is not None
        cancels = heed.alert.kind == "Cancel"
        return Warn(
            id=heed.id,
            issuer=heed.issuer,
            precedence=heed.precedence,
            deadline_ns=heed.deadline_ns,
            until_ns=heed.deadline_ns,
            withdraws=standing.withdraws,
            why=_withdrawn_by(heed, ReasonCode.CANCELLED if cancels else ReasonCode.SUPERSEDED),
        )

    def _stored_message(self, heed: Heed) -> Warn:
        """A stored message alone: as urgent as its order, and shown for the default time."""
        assert heed.message is not None
        stored = self._settings.messages[heed.message]
        return Warn(
            id=heed.id,
            issuer=heed.issuer,
            precedence=heed.precedence,
            deadline_ns=heed.deadline_ns,
            until_ns=heed.since_ns + self._settings.default_expiry_min * 60 * NS,
            audible=True,
            recording=Digest(stored.media),
            url=stored.url,
            times=self._settings.times,
            gap_s=self._settings.gap_s,
            volume=self._settings.volume,
            texts=(stored.text,) if stored.text else (),
            title=heed.message,
        )

    async def _note(self, heed: Heed, finished: Finished) -> None:
        """What came of it: an alert of which nothing was heard or seen has failed."""
        aired = finished.asrun.frames or finished.asrun.pages
        if not aired and finished.state is not OrderState.INTERRUPTED:
            await self._note_failure(heed)

    async def _note_failure(self, heed: Heed) -> None:
        """It may be ordered again."""
        if heed.alert is None:
            return
        try:
            await self._database.run(lambda connection: bulletins.fail(connection, heed.id))
        except (DatabaseError, DiskError) as error:
            logger.warning("A failed alert cannot be noted as such. id=%s error=%s", heed.id, error)


_LOST = Reason(
    ReasonCode.INTERRUPTED,
    "The power was away and the clock is not set, so nobody can say whether the alert still holds; send it anew.",
)


def _ended(standing: Standing) -> Reason | None:
    if standing.ended is not None:
        order, code = standing.ended
        return Reason(code, f"Order {order} had taken this alert back before it could be aired.")
    if standing.known is not None:
        return Reason(
            ReasonCode.REPLAYED,
            f"Order {standing.known} carried the same alert; send an Update if something has changed.",
        )
    return None


def _withdrawn_by(heed: Heed, code: ReasonCode) -> Reason:
    verb = "cancelled" if code is ReasonCode.CANCELLED else "replaced"
    return Reason(code, f"The alert was {verb} by order {heed.id}.")


def _refused(reason: Reason) -> Finished:
    state = _ENDS.get(reason.code, OrderState.REJECTED)
    outcome = Outcome.REFUSED if state is OrderState.REJECTED else Outcome.MISSED
    return Finished(state=state, asrun=AsRun(outcome=outcome, reason=reason))
