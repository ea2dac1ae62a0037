"""The room's thread of life: answers whoever stands at the box, one request after another.

Who may ask is the socket's business (its group); here it is only said in the log who it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Protocol

import msgspec

from edge_agent.clocktrust import ClockTrust, Quality
from edge_agent.errors import Refused
from edge_agent.local.requests import (
    Airtime,
    Answer,
    LiveAnswer,
    LiveRequest,
    LookedUp,
    LookUp,
    RefusedAnswer,
    ReleaseAnswer,
    ReleaseRequest,
    StatusAnswer,
    StatusRequest,
    StopAnswer,
    StopRequest,
    read,
)
from edge_agent.model import (
    NS,
    Finished,
    Intent,
    Issuer,
    OrderId,
    OrderState,
    Precedence,
    ReasonCode,
    Release,
    Step,
    Stop,
)
from edge_agent.playout.channel import Channel
from edge_agent.playout.guard import Guard
from edge_agent.playout.silent import SilentChannel
from edge_agent.playout.stops import by_hand
from edge_agent.report.alerts import Alerts
from edge_agent.report.asrun import rfc3339
from edge_agent.report.outbox import Outbox
from edge_agent.report.status import Listening, NothingLive, NothingSeen, Seeing
from hal.errors import ControlError
from hal.ports import Clock, ControlCall, ControlDoor

log = logging.getLogger(__name__)

CONSOLE: Final = Issuer("local-console")
_RETRY_S: Final = 30.0
_DEADLINE_NS: Final = 5 * NS


class Junction(Protocol):
    """What this room asks of `edge_agent.router`."""

    def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        """Do it, step by step; exactly one Finished, last."""


class LookingUp(Protocol):
    """What this file asks of `answers`."""

    async def look_up(self, asked: LookUp) -> LookedUp:
        """Raises Refused."""


class Console:
    """Lives as long as `life` runs."""

    def __init__(
        self,
        *,
        door: ControlDoor,
        clock: Clock,
        trust: ClockTrust,
        router: Junction,
        channel: Channel | SilentChannel,
        guard: Guard,
        outbox: Outbox,
        alerts: Alerts,
        node: str,
        agent: str,
        live: Listening | None = None,
        seeing: Seeing | None = None,
        answers: LookingUp | None = None,
    ) -> None:
        self._door = door
        self._clock = clock
        self._trust = trust
        self._router = router
        self._channel = channel
        self._guard = guard
        self._outbox = outbox
        self._alerts = alerts
        self._node = node
        self._agent = agent
        self._live = live or NothingLive()
        self._seeing = seeing or NothingSeen()
        self._answers = answers
        self._looking = asyncio.Lock()
        self._started_ns = clock.monotonic_ns()
        self._asked = 0

    async def life(self) -> None:
        """Open the door and answer until cancelled; a door that cannot be opened is tried again."""
        silent = False
        while True:
            try:
                await self._serve()
            except ControlError as error:
                if not silent:
                    log.warning("Nobody can come in at the box; trying again. error=%s", error)
                silent = True
            except Exception:
                log.exception("The local console failed; it opens again.")
            await asyncio.sleep(_RETRY_S)

    async def _serve(self) -> None:
        desk = await self._door.open()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    call = await desk.receive()
                    if self._takes_long(call):
                        group.create_task(self._look_up_beside(call), name="look up")
                    else:
                        await call.answer(msgspec.json.encode(await self._answer(call)))
        finally:
            await desk.close()

    def _takes_long(self, call: ControlCall) -> bool:
        """Whether it is looked up beside: a stop never waits for a file that is hashed."""
        try:
            asked = read(call.line)
        except Refused:
            return False
        return not isinstance(asked, StopRequest | ReleaseRequest | LiveRequest | StatusRequest)

    async def _look_up_beside(self, call: ControlCall) -> None:
        """One after another, so that many who look leave room for who stops."""
        async with self._looking:
            try:
                answer = await self._answer(call)
            except Exception:
                log.exception("What was looked up at the box failed.")
                answer = RefusedAnswer(
                    code=ReasonCode.INTERNAL, text="The node failed inside; look into its log."
                )
        await call.answer(msgspec.json.encode(answer))

    async def _answer(self, call: ControlCall) -> Answer:
        try:
            asked = read(call.line)
            match asked:
                case StopRequest():
                    answer: Answer = await self._stop(asked)
                case ReleaseRequest():
                    answer = await self._release(asked)
                case LiveRequest():
                    return LiveAnswer(live=self._live.notes())
                case StatusRequest():
                    return self._status()
                case _:
                    return await self._look_up(asked)
        except Refused as refusal:
            log.info(
                "A local request was refused. uid=%d pid=%d code=%s",
                call.peer.uid,
                call.peer.pid,
                refusal.code,
            )
            return RefusedAnswer(code=refusal.code, text=refusal.text)
        log.info(
            "Asked at the box. what=%s uid=%d pid=%d", type(asked).__name__, call.peer.uid, call.peer.pid
        )
        return answer

    async def _look_up(self, asked: LookUp) -> Answer:
        if self._answers is None:
            raise Refused(ReasonCode.UNSUPPORTED, "This node has nobody who looks that up.")
        return await self._answers.look_up(asked)

    async def _stop(self, asked: StopRequest) -> StopAnswer:
        intents = by_hand(
            Stop(
                **self._name(),
                target=None if asked.order is None else OrderId(asked.order),
                highest=Precedence.EMERGENCY if asked.klass is None else Precedence.from_wire(asked.klass),
            ),
            now_ns=self._clock.monotonic_ns(),
            for_s=asked.for_s,
            spares_emergencies=asked.order is None and asked.klass is None,
        )
        results = [await self._done(intent) for intent in intents]
        orders = dict.fromkeys(order for result in results for order in result["orders"])
        stands = any(stop.id == intents[-1].id for stop in self._guard.standing())
        return StopAnswer(
            orders=tuple(orders), stop=intents[-1].id if stands else None, until=results[-1].get("until")
        )

    async def _release(self, asked: ReleaseRequest) -> ReleaseAnswer:
        target = None if asked.stop is None else OrderId(asked.stop)
        result = await self._done(Release(**self._name(), target=target))
        return ReleaseAnswer(released=result["released"])

    async def _done(self, intent: Intent) -> dict[str, Any]:
        """Have the junction do it. Raises Refused when it could not."""
        finished: Finished | None = None
        async with aclosing(self._router.carry_out(intent)) as steps:
            async for step in steps:
                finished = step if isinstance(step, Finished) else finished
        assert finished is not None, "the junction ends with Finished"
        reason = finished.asrun.reason
        if finished.state is not OrderState.SUCCESSFUL:
            code, text = (
                (ReasonCode.INTERNAL, "See the log.") if reason is None else (reason.code, reason.text)
            )
            raise Refused(code, text)
        return finished.result

    def _status(self) -> StatusAnswer:
        sight, channel, today = self._trust.look(), self._channel.snapshot(), self._guard.today()
        return StatusAnswer(
            node=self._node,
            agent=self._agent,
            up_s=(self._clock.monotonic_ns() - self._started_ns) // NS,
            clock=sight.quality.value,
            wall=None if sight.quality is Quality.UNKNOWN else rfc3339(sight.now),
            online=self._outbox.draining,
            volume=channel.volume,
            sounding=channel.current,
            waiting=channel.waiting,
            suspended=channel.suspended,
            amplifier=channel.amplifier.value.lower(),
            muted=self._guard.notes(),
            quiet_hours=today.quiet_hours,
            quiet=today.quiet,
            today=Airtime(used_s=today.used_s, most_s=today.most_s),
            today_emergency=Airtime(used_s=today.emergency_used_s, most_s=today.emergency_most_s),
            alerts=self._alerts.standing,
            boards=self._seeing.notes(),
        )

    def _name(self) -> dict[str, Any]:
        """What every intent of this room carries."""
        self._asked += 1
        now_ns = self._clock.monotonic_ns()
        return {
            "id": OrderId(f"console-{self._clock.boot_id()[:8]}-{now_ns}-{self._asked}"),
            "issuer": CONSOLE,
            "precedence": Precedence.EMERGENCY,
            "deadline_ns": now_ns + _DEADLINE_NS,
        }
