"""The junction: one `match` from an intent to the room that does it, and its steps back up.

Whoever asks iterates over `carry_out`: Waiting (any number), Executing (at most one), Finished
(exactly one, last). Between Executing and the next step nothing sounds or shows until the
asker has stored that step and asks for more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from edge_agent import kept
from edge_agent.board.proof import Proof
from edge_agent.crier import Crier
from edge_agent.errors import MediaRefused, Refused, TextRefused
from edge_agent.model import (
    NS,
    AsRun,
    Audible,
    BoardClear,
    BoardShow,
    Digest,
    Executing,
    Finished,
    Intent,
    Issuer,
    Live,
    OrderId,
    OrderState,
    Outcome,
    Ping,
    Play,
    Precedence,
    Programme,
    Reason,
    ReasonCode,
    Recording,
    Relay,
    Release,
    SetVolume,
    Step,
    Stop,
    Waiting,
    Warn,
)
from edge_agent.playlist import Playlist
from edge_agent.playout.readiness import Cellar, Readiness
from edge_agent.programmes import OpenSource, Programmes
from edge_agent.ticket import Cut, Errand, Ticket
from hal.errors import DatabaseError, DiskError, DiskFull
from hal.ports import Clock, Database

if TYPE_CHECKING:
    from edge_agent.cache.store import Asset
    from edge_agent.playout.source import Source

logger = logging.getLogger(__name__)

KEPT_VOLUME = "volume"
OPEN_MAX = 1024
"""Plays and notices under way; the inlets bound themselves far below this."""
_AT_ONCE_S = 0.05
"""A turn, or an instant, that comes within this needs no waiting."""
_LET_GO_S = 2.0
_LOOK_AGAIN_S = 10.0

_STOPPED = Reason(ReasonCode.CANCELLED, "A stop covered this order.")
_SHUTDOWN = Reason(
    ReasonCode.INTERRUPTED, "The node was shut down; send the order again if it still matters."
)
_TOO_SLOW = Reason(
    ReasonCode.TIMEOUT,
    "The media could not be fetched before the order's expiry; give it longer, or a nearer URL.",
)
_TOO_LATE = Reason(
    ReasonCode.EXPIRED, "Its time had passed before it could begin; send it again if it still matters."
)
_STATE = {
    ReasonCode.CANCELLED: OrderState.CANCELLED,
    ReasonCode.EXPIRED: OrderState.EXPIRED,
    ReasonCode.INTERRUPTED: OrderState.INTERRUPTED,
    ReasonCode.TIMEOUT: OrderState.EXPIRED,
}
"""The order's state for a reason; every other reason is a failure."""
_BY_US = Issuer("local")
_NO_BOARD = Reason(ReasonCode.UNSUPPORTED, "This node has no board; send the notice to one that has.")


class Loudspeaker(Protocol):
    """What this room asks of `playout.channel`."""

    def request(self, intent: Audible, open_source: Callable[[], Awaitable[Source]]) -> Ticket:
        """Ask for a turn. Raises Refused."""

    def stop(self, *, target: OrderId | None = None, highest: Precedence = Precedence.EMERGENCY) -> int:
        """Stop one, or all up to a class; how many."""

    def set_volume(self, volume: int) -> None:
        """From now on."""

    @property
    def volume(self) -> int:
        """Now."""

    async def wind_up(self) -> None:
        """Shutdown: everything ends INTERRUPTED."""


class Warden(Protocol):
    """What this room asks of `playout.guard`."""

    def muted(self, intent: Intent) -> Reason | None:
        """Why a sticky stop keeps a request from sounding, or None."""

    def mute(self, stop: Stop) -> None:
        """A sticky stop holds from now on. Raises Refused."""

    async def store(self, order: OrderId) -> datetime | None:
        """Make it durable; until when it stands, if that date is known. Raises DatabaseError, DiskError."""

    async def release(self, target: OrderId | None) -> list[OrderId]:
        """End one sticky stop, or all; which. Raises DatabaseError, DiskError."""


class Boards(Protocol):
    """What this room asks of `board.boards`."""

    async def vet(self, intent: BoardShow) -> object:
        """Draw a notice. Raises TextRefused."""

    def show(self, intent: BoardShow) -> Ticket:
        """Show a notice. Raises TextRefused."""

    def clear(self, intent: BoardClear) -> Ticket:
        """Take notices down. Raises Refused."""

    def post(self, playlist: Playlist) -> None:
        """This list is in force from now on."""

    def proofs(self, *, everything: bool = False) -> list[Proof]:
        """What came of its items, where an entry in the as-run log is due."""

    @property
    def wanted(self) -> tuple[OrderId, ...]:
        """The orders whose notices are shown, or are to be shown again."""

    def wind_up(self) -> None:
        """Shutdown: what is under way ends INTERRUPTED, what is shown stays."""


@dataclass(slots=True, kw_only=True)
class _Open(Errand):
    """A request of an outlet, under way."""

    intent: Audible | BoardShow | BoardClear
    ticket: Ticket | None = None


class Router:
    """Knows every outlet; decides nothing but which one."""

    def __init__(
        self,
        *,
        clock: Clock,
        database: Database,
        channel: Loudspeaker,
        guard: Warden,
        readiness: Readiness,
        programmes: Programmes,
        boards: Boards | None = None,
        lead_s: float = 4.0,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """`lead_s`: so long before its instant an appointed programme asks for its turn, for the amplifier to
        settle. `facts` go into the answer to a ping."""
        self._clock = clock
        self._database = database
        self._channel = channel
        self._guard = guard
        self._store: Cellar = readiness.store
        self._programmes = programmes
        self._boards = boards
        self._lead_s = lead_s
        self._crier = Crier(clock=clock, channel=channel, boards=boards, readiness=readiness)
        self._facts = dict(facts or {})
        self._open: dict[OrderId, _Open] = {}
        self._closing = False
        self._board_in_order = asyncio.Lock()

    async def open(self) -> None:
        """Set the volume that was kept. Raises DatabaseError."""
        volume = await self._database.run(lambda connection: kept.get(connection, KEPT_VOLUME))
        if volume is not None and volume.isdecimal():
            self._channel.set_volume(min(100, int(volume)))

    async def carry_out(self, intent: Intent) -> AsyncGenerator[Step, None]:
        """Do it, step by step. Whatever refuses it ends in Finished; closing this early ends the request."""
        try:
            match intent:
                case Audible() | BoardShow() | BoardClear() | Warn():
                    async with aclosing(self._asked(intent)) as steps:
                        async for step in steps:
                            yield step
                case Stop():
                    yield await self._stop(intent)
                case Release():
                    yield await self._release(intent)
                case SetVolume():
                    yield await self._set_volume(intent)
                case Ping():
                    yield self._pong()
                case _:
                    raise AssertionError(f"no room for {type(intent).__name__}")
        except Refused as refusal:
            yield _refused(refusal)
        except (DatabaseError, DiskError) as error:
            yield _unreadable(error)

    def _asked(self, intent: Audible | BoardShow | BoardClear | Warn) -> AsyncGenerator[Step, None]:
        """The steps of a request of one outlet, or of an alert, which asks both."""
        if self._closing:
            raise Refused(_SHUTDOWN.code, _SHUTDOWN.text)
        return self._crier.cry(intent) if isinstance(intent, Warn) else self._outlet(intent)

    async def cancel(self, order: OrderId) -> None:
        """End this order, if it is under way, as a stop for it would."""
        self._crier.cancel(order)
        open_ = self._open.get(order)
        if open_ is not None:
            self._end(open_, _STOPPED)
            self._channel.stop(target=order)

    def post(self, playlist: Playlist) -> None:
        """This list is in force on the boards from now on."""
        if self._boards is not None:
            self._boards.post(playlist)

    def proofs(self, *, everything: bool = False) -> list[Proof]:
        """What came of its items, where an entry in the as-run log is due; `everything`: of all."""
        return [] if self._boards is None else self._boards.proofs(everything=everything)

    async def withdraw(self, orders: Collection[OrderId]) -> None:
        """Take down what these orders, which have ended well, left on the board: nobody believes them any more."""
        for order in self._boards.wanted if self._boards is not None else ():
            if order in orders:
                logger.warning("A notice is taken down; its order is believed no more. id=%s", order)
                self._take_down(order)

    async def wind_up(self) -> None:
        """End everything with INTERRUPTED; return when the loudspeaker is quiet."""
        self._closing = True
        self._crier.wind_up(_SHUTDOWN)
        for open_ in tuple(self._open.values()):
            open_.end(_SHUTDOWN)
        if self._boards is not None:
            self._boards.wind_up()
        await self._channel.wind_up()

    # ------------------------------------------------------------ plays and notices

    async def _outlet(self, intent: Audible | BoardShow | BoardClear) -> AsyncGenerator[Step, None]:
        """From the request to the end of its ticket, whichever outlet gave that."""
        if isinstance(intent, Audible) and (muted := self._guard.muted(intent)) is not None:
            raise Refused(muted.code, muted.text)
        if len(self._open) >= OPEN_MAX:
            raise Refused(ReasonCode.BUSY, "Too much is under way; send the order again later.")
        assert intent.id not in self._open, "an order is carried out once"
        open_ = self._open[intent.id] = _Open(intent=intent)
        with ExitStack() as pins:
            try:
                if isinstance(intent, Audible):
                    for media in _needed(intent):
                        pins.enter_context(self._store.pinned(media))
                    asset = await self._store.find(intent.media) if isinstance(intent, Play) else None
                    if isinstance(intent, Play) and asset is None:
                        yield Waiting(why="fetching")
                    open_source = await self._ready(open_, intent, asset)
                    if self._early_s(intent) > _AT_ONCE_S:
                        yield Waiting(why="start")
                        await self._until_its_time(open_, intent)
                    open_.go_on()
                    open_.ticket = self._channel.request(intent, open_source)
                else:
                    open_.ticket = await open_.wait(self._board_ticket(open_, intent), late=_TOO_SLOW)
                ticket = open_.ticket
                if not await _comes_at_once(ticket):
                    yield Waiting(why="turn")
                if await ticket.granted():
                    yield Executing()
                    ticket.begin()
                yield await ticket.ended()
            except Cut as cut:
                yield _cut_short(intent, cut.reason)
            finally:
                await self._let_go(open_)
                del self._open[intent.id]

    async def _ready(self, open_: _Open, intent: Audible, asset: Asset | None) -> OpenSource:
        """Have what it needs before its turn; cut short by a stop and the deadline."""
        left_s = (intent.deadline_ns - self._clock.monotonic_ns()) / NS
        if left_s < 0:
            raise Cut(_TOO_LATE)
        return await open_.wait(self._programmes.ready(intent, asset), late=_TOO_SLOW, within_s=left_s)

    async def _until_its_time(self, open_: _Open, intent: Audible) -> None:
        """Wait until shortly before its instant, though wall time may be set right meanwhile; a stop cuts it short."""
        while (early_s := self._early_s(intent)) > _AT_ONCE_S:
            await open_.wait(asyncio.sleep(min(early_s, _LOOK_AGAIN_S)), late=_TOO_LATE)

    def _early_s(self, intent: Audible) -> float:
        """How long until it may ask for its turn. Raises Refused(CLOCK_UNTRUSTED)."""
        begins_ns = self._programmes.begins_ns(intent)
        return 0.0 if begins_ns is None else (begins_ns - self._clock.monotonic_ns()) / NS - self._lead_s

    async def _board_ticket(self, open_: _Open, intent: BoardShow | BoardClear) -> Ticket:
        """A text is drawn before it is asked for: one that cannot be shown takes nobody's place. Meanwhile
        what came after it waits, so that a clear reaches the notice before it."""
        if self._boards is None:
            raise Refused(_NO_BOARD.code, _NO_BOARD.text)
        async with self._board_in_order:
            if isinstance(intent, BoardClear):
                return self._boards.clear(intent)
            await self._boards.vet(intent)
            open_.go_on()
            return self._boards.show(intent)

    async def _let_go(self, open_: _Open) -> None:
        """Nobody follows the ticket any more: what was asked must not go on by itself."""
        ticket = open_.ticket
        if ticket is None or ticket.finished is not None:
            return
        if isinstance(open_.intent, Audible):
            self._channel.stop(target=open_.intent.id)
        else:
            self._end(open_, _STOPPED)
        try:
            async with asyncio.timeout(_LET_GO_S):
                await ticket.ended()
        except TimeoutError:
            logger.warning("A request does not end. id=%s", open_.intent.id)

    # ------------------------------------------------------------ the rest

    async def _stop(self, intent: Stop) -> Finished:
        """Silence first, then the disk: a sticky stop holds before it is durable. And silence also where it
        cannot last, because too many stand."""
        covered = [open_ for open_ in self._open.values() if _covers(intent, open_)]
        for open_ in covered:
            self._end(open_, _STOPPED)
        orders = self._crier.stop(target=intent.target, highest=intent.highest)
        self._channel.stop(target=intent.target, highest=intent.highest)
        if intent.until_ns is not None:
            self._guard.mute(intent)
        orders += [open_.intent.id for open_ in covered]
        result: dict[str, object] = {"stopped": len(orders), "orders": orders}
        if intent.until_ns is not None:
            until = await self._guard.store(intent.id)
            result["until"] = None if until is None else until.isoformat(timespec="seconds")
        return _done(self._clock, result)

    async def _release(self, intent: Release) -> Finished:
        """No stop of that name is no fault: it may have ended by its time."""
        return _done(self._clock, {"released": await self._guard.release(intent.target)})

    def _end(self, open_: _Open, reason: Reason) -> None:
        """End what waits here, or shows; what is in the channel is the channel's to end."""
        open_.end(reason)
        if isinstance(open_.intent, BoardShow) and open_.ticket is not None:
            self._take_down(open_.intent.id)

    def _take_down(self, order: OrderId) -> None:
        if self._boards is None:
            return
        take_down = BoardClear(
            id=order,
            issuer=_BY_US,
            precedence=Precedence.EMERGENCY,
            deadline_ns=self._clock.monotonic_ns() + 60 * NS,
            target=order,
        )
        try:
            self._boards.clear(take_down).begin()
        except Refused as refusal:
            logger.warning("A notice cannot be taken down. id=%s why=%s", order, refusal.text)

    async def _set_volume(self, intent: SetVolume) -> Finished:
        text = str(intent.volume)
        await self._database.run(lambda connection: kept.put(connection, KEPT_VOLUME, text))
        self._channel.set_volume(intent.volume)
        return _done(self._clock, {"volume": self._channel.volume})

    def _pong(self) -> Finished:
        mono_ms = self._clock.monotonic_ns() // 1_000_000
        return _done(
            self._clock, {"pong": True, "mono": mono_ms, "volume": self._channel.volume, **self._facts}
        )


async def _comes_at_once(ticket: Ticket) -> bool:
    try:
        async with asyncio.timeout(_AT_ONCE_S):
            await ticket.granted()
    except TimeoutError:
        return False
    return True


def _needed(intent: Audible) -> tuple[Digest, ...]:
    """The assets that nobody may evict meanwhile."""
    media = [intent.media]
    if isinstance(intent, Live):
        media.append(intent.standby.media)
    if isinstance(intent, Programme):
        media += [part.media for part in intent.parts if isinstance(part, Recording)]
        media += [part.standby.media for part in intent.parts if isinstance(part, Relay)]
    return tuple(digest for digest in media if digest is not None)


def _covers(stop: Stop, open_: _Open) -> bool:
    """Whether a stop is meant for this one. A stop by class is for what sounds, not for notices."""
    if open_.ticket is not None and open_.ticket.finished is not None:
        return False
    if stop.target is not None:
        return open_.intent.id == stop.target
    return isinstance(open_.intent, Audible) and open_.intent.precedence <= stop.highest


def _done(clock: Clock, result: dict[str, object]) -> Finished:
    now_ns = clock.monotonic_ns()
    asrun = AsRun(outcome=Outcome.AIRED, started_ns=now_ns, ended_ns=now_ns)
    return Finished(state=OrderState.SUCCESSFUL, asrun=asrun, result=result)


def _cut_short(intent: Intent, reason: Reason) -> Finished:
    """It ended before an outlet had it (or, a notice, while the node left)."""
    digest = intent.media if isinstance(intent, Audible) else None
    asrun = AsRun(outcome=Outcome.MISSED, reason=reason, digest=digest)
    return Finished(state=_STATE.get(reason.code, OrderState.FAILED), asrun=asrun)


def _refused(refusal: Refused) -> Finished:
    state = _STATE.get(refusal.code, OrderState.FAILED)
    if isinstance(refusal, TextRefused) and refusal.code is ReasonCode.BAD_ARGS:
        state = OrderState.REJECTED
        return Finished(state=state, asrun=AsRun(outcome=Outcome.REFUSED, reason=_reason(refusal)))
    if state is not OrderState.FAILED:
        outcome = Outcome.MISSED
    else:
        outcome = Outcome.FAILED if isinstance(refusal, MediaRefused) else Outcome.REFUSED
    return Finished(state=state, asrun=AsRun(outcome=outcome, reason=_reason(refusal)))


def _reason(refusal: Refused) -> Reason:
    return Reason(refusal.code, refusal.text)


def _unreadable(error: DatabaseError | DiskError) -> Finished:
    code = ReasonCode.NO_SPACE if isinstance(error, DiskFull) else ReasonCode.HARDWARE_FAULT
    reason = Reason(code, f"The node's storage failed ({error}); see its disk, then send the order again.")
    return Finished(state=OrderState.FAILED, asrun=AsRun(outcome=Outcome.FAILED, reason=reason))
