"""The town crier: one public alert over both outlets, the loudspeaker and the board, at the same time.

First what it takes back is taken back: an earlier alert that is still being cried ends, its notice
goes. Then the words are made (a recording if one is named and can be had, else by the voice; if
there is no voice, the tone alone still says that the board must be read), the board is given the
fullest text that fits it, and the loudspeaker is asked for one turn with all repetitions in it.
Each outlet fails for itself: a dark board silences nothing, and a silent node still shows.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from edge_agent.errors import MediaRefused, Refused
from edge_agent.model import (
    NS,
    AsRun,
    BoardClear,
    BoardShow,
    Digest,
    Executing,
    Finished,
    Issuer,
    OrderId,
    OrderState,
    Outcome,
    Play,
    Precedence,
    Reason,
    ReasonCode,
    Step,
    Warn,
)
from edge_agent.playout.readiness import Readiness
from edge_agent.ticket import Cut, Errand, Ticket
from hal.errors import DatabaseError, DiskError, SpeechError
from hal.ports import Clock

if TYPE_CHECKING:
    from edge_agent.playout.announcement import Part
    from edge_agent.playout.source import Source

logger = logging.getLogger(__name__)

FETCH_S = 20.0
"""How long an alert waits for a recording that is not here, before the voice reads the text instead."""
_TAKE_BACK_S = 10.0
_CLEAR_AGAIN_S = 0.2
_STATE = {
    ReasonCode.CANCELLED: OrderState.CANCELLED,
    ReasonCode.SUPERSEDED: OrderState.SUPERSEDED,
    ReasonCode.EXPIRED: OrderState.EXPIRED,
    ReasonCode.INTERRUPTED: OrderState.INTERRUPTED,
}
"""The order's state for a reason; every other reason is a failure."""
_STOPPED = Reason(ReasonCode.CANCELLED, "A stop covered this order.")
_TOO_LATE = Reason(ReasonCode.EXPIRED, "The alert had ended before it could be said.")
_NO_BOARD = Reason(ReasonCode.UNSUPPORTED, "The alert is for the board only, and this node has none.")
_BY_US = Issuer("local")


class Loudspeaker(Protocol):
    """What the crier asks of `playout.channel`."""

    def request(self, intent: Play, open_source: Callable[[], Awaitable[Source]]) -> Ticket:
        """Ask for a turn. Raises Refused."""

    def stop(self, *, target: OrderId | None = None, highest: Precedence = Precedence.EMERGENCY) -> int:
        """Stop one, or all up to a class; how many."""


class Boards(Protocol):
    """What the crier asks of `board.boards`."""

    async def vet(self, intent: BoardShow) -> object:
        """Draw a notice. Raises TextRefused."""

    def show(self, intent: BoardShow) -> Ticket:
        """Show a notice. Raises TextRefused."""

    def clear(self, intent: BoardClear) -> Ticket:
        """Take notices down. Raises Refused."""


@dataclass(slots=True, kw_only=True)
class _Cry:
    """One alert under way. A stop by class ends its sound alone; a withdrawal ends both."""

    intent: Warn
    sound: Errand = field(default_factory=Errand)
    board: Errand = field(default_factory=Errand)
    sounding: bool = False
    """The channel has it, so the channel must be told to stop."""
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Words:
    """What will be said."""

    parts: Sequence[Part]
    digest: Digest
    note: str | None = None
    """Why it is not what was wanted: no recording, or a text without a voice."""


class Crier:
    """Cries alerts. Belongs to one event loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        channel: Loudspeaker,
        boards: Boards | None,
        readiness: Readiness,
    ) -> None:
        self._clock = clock
        self._channel = channel
        self._boards = boards
        self._readiness = readiness
        self._cries: dict[OrderId, _Cry] = {}

    # ------------------------------------------------------------ asked from above

    async def cry(self, intent: Warn) -> AsyncGenerator[Step, None]:
        """Do it, step by step, as `Router.carry_out` does."""
        assert intent.id not in self._cries, "an order is carried out once"
        cry = self._cries[intent.id] = _Cry(intent=intent)
        try:
            yield Executing()
            taken = await self._take_back(intent)
            sound, board = await self._both(cry)
            yield _summed(intent, taken, sound, board, now_ns=self._clock.monotonic_ns())
        finally:
            del self._cries[intent.id]
            cry.over.set()

    def stop(self, *, target: OrderId | None, highest: Precedence) -> list[OrderId]:
        """A stop for one alert takes its notice down, too; one by class is for what sounds."""
        covered = [cry for cry in self._cries.values() if _covered(cry.intent, target, highest)]
        for cry in covered:
            if target is None:
                self._hush(cry, _STOPPED)
            else:
                self._end(cry, _STOPPED)
        return [cry.intent.id for cry in covered]

    def cancel(self, order: OrderId, reason: Reason = _STOPPED) -> None:
        """End this alert, sound and notice, if it is under way."""
        cry = self._cries.get(order)
        if cry is not None:
            self._end(cry, reason)

    def wind_up(self, reason: Reason) -> None:
        """Shutdown: what waits here ends; what sounds or shows is ended by channel and presenter."""
        for cry in self._cries.values():
            cry.sound.end(reason)
            cry.board.end(reason)

    # ------------------------------------------------------------ taking back

    async def _take_back(self, intent: Warn) -> list[OrderId]:
        """End the alerts that this one withdraws, and take their notices down."""
        for order in intent.withdraws:
            cry = self._cries.get(order)
            if cry is not None:
                self._hush(cry, intent.why or _STOPPED)
                cry.board.end(intent.why or _STOPPED)
            try:
                async with asyncio.timeout(_TAKE_BACK_S):
                    while (ticket := self._clear(order)) is None:  # noqa: ASYNC110 - the presenter is full for a moment
                        await asyncio.sleep(_CLEAR_AGAIN_S)
                    await ticket.ended()
                    if cry is not None:
                        await cry.over.wait()
            except TimeoutError:
                logger.warning("An alert that is taken back does not end at once. id=%s", order)
        return list(intent.withdraws)

    def _hush(self, cry: _Cry, reason: Reason) -> None:
        """End its sound."""
        cry.sound.end(reason)
        if cry.sounding:
            self._channel.stop(target=cry.intent.id)

    def _end(self, cry: _Cry, reason: Reason) -> None:
        """End its sound, and take its notice down."""
        self._hush(cry, reason)
        cry.board.end(reason)
        self._clear(cry.intent.id)

    def _clear(self, order: OrderId) -> Ticket | None:
        """Have the order's notice taken down, whatever its class, if there is one. None: ask again."""
        intent = BoardClear(
            id=order,
            issuer=_BY_US,
            precedence=Precedence.EMERGENCY,
            deadline_ns=self._clock.monotonic_ns() + 60 * NS,
            target=order,
        )
        if self._boards is None:
            ticket = Ticket(intent)
            ticket.end(_done(self._clock.monotonic_ns(), {}))
            return ticket
        try:
            ticket = self._boards.clear(intent)
        except Refused as refusal:
            logger.warning("An alert's notice cannot be taken down yet. id=%s why=%s", order, refusal.text)
            return None
        ticket.begin()
        return ticket

    # ------------------------------------------------------------ both outlets

    async def _both(self, cry: _Cry) -> tuple[Finished | None, Finished | None]:
        """Sound and board together; None for an outlet that has no part in it."""
        intent = cry.intent
        async with asyncio.TaskGroup() as group:
            sound = group.create_task(self._sound(cry), name=f"cry {intent.id}") if intent.audible else None
            shows = intent.texts and (self._boards is not None or not intent.audible)
            board = group.create_task(self._show(cry), name=f"show {intent.id}") if shows else None
        return None if sound is None else sound.result(), None if board is None else board.result()

    async def _show(self, cry: _Cry) -> Finished:
        """On each board, the first of its texts that the board can show whole."""
        intent, boards = cry.intent, self._boards
        if boards is None:
            return _refusal(_NO_BOARD)
        notice = _notice_of(intent)
        try:
            await cry.board.wait(boards.vet(notice), late=_TOO_LATE)
            ticket = boards.show(notice)
        except Refused as refusal:
            return _refusal(Reason(refusal.code, refusal.text))
        except Cut as cut:
            return _refusal(cut.reason)
        return _for_why(await _followed(ticket), cry.board.cut)

    async def _sound(self, cry: _Cry) -> Finished:
        """Make the words, ask for the turn, follow it to its end."""
        intent = cry.intent
        pin = nullcontext() if intent.recording is None else self._readiness.store.pinned(intent.recording)
        try:
            with pin:
                left_s = (intent.deadline_ns - self._clock.monotonic_ns()) / NS
                if left_s < 0:
                    raise Cut(_TOO_LATE)
                words = await cry.sound.wait(self._words(intent), late=_TOO_LATE, within_s=left_s)
                ticket = self._channel.request(
                    _turn_of(intent, words.digest),
                    lambda: self._readiness.announced(
                        words.parts, precedence=intent.precedence, times=intent.times, gap_s=intent.gap_s
                    ),
                )
                cry.sounding = True
                try:
                    finished = await _followed(ticket)
                finally:
                    cry.sounding = False
                    if ticket.finished is None:  # nobody follows it any more
                        self._channel.stop(target=intent.id)
        except Cut as cut:
            return _refusal(cut.reason)
        except Refused as refusal:
            return _refusal(Reason(refusal.code, refusal.text))
        return _with_note(_for_why(finished, cry.sound.cut), words)

    # ------------------------------------------------------------ words

    async def _words(self, intent: Warn) -> _Words:
        """The recording, or the voice, or neither."""
        why = None
        if intent.recording is not None:
            try:
                return _Words([await self._recording(intent, intent.recording)], intent.recording)
            except (MediaRefused, DatabaseError, DiskError) as error:
                why = error.text if isinstance(error, MediaRefused) else str(error)
                logger.warning("An alert's recording cannot be had. id=%s why=%s", intent.id, why)
        said = "\n".join(f"{voice.language} {voice.text}" for voice in intent.voices)
        digest = Digest(f"sha256:{hashlib.sha256(said.encode()).hexdigest()}")
        parts: list[Part] = []
        for voice in intent.voices:
            try:
                parts.append(await self._readiness.spoken(voice))
            except (SpeechError, MediaRefused) as error:
                why = str(error)
                logger.warning("A part of an alert cannot be spoken. id=%s why=%s", intent.id, why)
        return _Words(parts, digest, why)

    async def _recording(self, intent: Warn, digest: Digest) -> Part:
        urgent = intent.precedence is Precedence.EMERGENCY
        asset = await self._readiness.store.find(digest)
        try:
            async with asyncio.timeout(FETCH_S if asset is None else None):
                return await self._readiness.recording(digest, intent.url, urgent=urgent, asset=asset)
        except TimeoutError:
            raise MediaRefused(
                ReasonCode.TIMEOUT, f"The recording was not here and did not come within {FETCH_S:.0f} s."
            ) from None


async def _followed(ticket: Ticket) -> Finished:
    """That the alert executes was stored before anything was asked of an outlet, so it may begin at once."""
    if await ticket.granted():
        ticket.begin()
    return await ticket.ended()


def _covered(intent: Warn, target: OrderId | None, highest: Precedence) -> bool:
    return intent.id == target if target is not None else intent.precedence <= highest


def _turn_of(intent: Warn, digest: Digest) -> Play:
    """The alert as the channel knows it: one turn, and the digest of what is said in it."""
    return Play(
        id=intent.id,
        issuer=intent.issuer,
        precedence=intent.precedence,
        deadline_ns=intent.deadline_ns,
        media=digest,
        volume=intent.volume,
        title=intent.title,
    )


def _notice_of(intent: Warn) -> BoardShow:
    return BoardShow(
        id=intent.id,
        issuer=intent.issuer,
        precedence=intent.precedence,
        deadline_ns=intent.until_ns,
        text=intent.texts[0],
        shorter=intent.texts[1:],
        until_ns=intent.until_ns,
    )


def _refusal(reason: Reason) -> Finished:
    state = _STATE.get(reason.code, OrderState.FAILED)
    outcome = Outcome.REFUSED if state is OrderState.FAILED else Outcome.MISSED
    return Finished(state=state, asrun=AsRun(outcome=outcome, reason=reason))


def _done(now_ns: int, result: dict[str, object]) -> Finished:
    asrun = AsRun(outcome=Outcome.AIRED, started_ns=now_ns, ended_ns=now_ns)
    return Finished(state=OrderState.SUCCESSFUL, asrun=asrun, result=result)


def _for_why(finished: Finished, cut: Reason | None) -> Finished:
    """An outlet only knows that it was told to stop; why is known here."""
    if cut is None or finished.state is not OrderState.CANCELLED:
        return finished
    state = _STATE.get(cut.code, finished.state)
    return replace(finished, state=state, asrun=replace(finished.asrun, reason=cut))


def _with_note(finished: Finished, words: _Words) -> Finished:
    """Tone without words is not the alert; without one of several voices it still is."""
    if words.note is None or finished.state is not OrderState.SUCCESSFUL:
        return finished
    result = {**finished.result, "note": words.note}
    if words.parts:
        return replace(finished, result=result)
    text = f"The tone was sounded, but there were no words: {words.note}"
    asrun = replace(finished.asrun, outcome=Outcome.PARTIAL, reason=Reason(ReasonCode.HARDWARE_FAULT, text))
    return Finished(state=OrderState.FAILED, asrun=asrun, result=result)


def _summed(
    intent: Warn, taken: list[OrderId], sound: Finished | None, board: Finished | None, now_ns: int
) -> Finished:
    """What the alert came to: its sound counts first; what the board did is beside it."""
    result: dict[str, object] = {"withdrawn": taken} if taken else {}
    first = sound or board
    if first is None:
        result = {"withdrawn": taken}
        if intent.verdict is None:
            return _done(now_ns, result)
        return replace(_refusal(intent.verdict), result=result)
    result |= first.result
    if sound is None or board is None:
        return replace(first, result=result)
    result |= board.result
    reason = board.asrun.reason
    if reason is not None:
        result["board"] = {"code": str(reason.code), "text": reason.text}
    return Finished(state=first.state, asrun=_joined(sound.asrun, board.asrun), result=result)


def _joined(sound: AsRun, board: AsRun) -> AsRun:
    """One entry for both outlets."""
    starts = [at for at in (sound.started_ns, board.started_ns) if at is not None]
    ends = [at for at in (sound.ended_ns, board.ended_ns) if at is not None]
    outcome = sound.outcome
    if outcome in {Outcome.REFUSED, Outcome.FAILED, Outcome.MISSED} and board.outcome is Outcome.AIRED:
        outcome = Outcome.PARTIAL
    return replace(
        sound,
        outcome=outcome,
        started_ns=min(starts, default=None),
        ended_ns=max(ends, default=None),
        pages=board.pages,
        proof=max(sound.proof, board.proof),
    )
