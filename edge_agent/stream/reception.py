"""From the wire to frames for the card, pure: decrypt, parse, buffer, decode, conceal, keep in time.

`put` takes what the network brings, `get` gives what the card wants; neither ever raises on anything that came
from outside. What is short of or beyond its delay is mended where nobody hears it: in a pause of the sender, in
a quiet piece of what was decoded, and only when there was none for long by one pitch period at a time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.errors import PacketRefused
from edge_agent.model import NS, RATE_HZ
from edge_agent.playout.rate import Rate
from edge_agent.playout.steering import FIRM_KI, FIRM_KP, Punctuality, Steering
from edge_agent.stream import decoder, red, rtcp, rtp
from edge_agent.stream.concealment import Ladder
from edge_agent.stream.drift import Slope
from edge_agent.stream.edits import quiet, splice
from edge_agent.stream.jitter_buffer import JitterBuffer
from edge_agent.stream.line import Line
from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.pieces import Conceal, MediaPacket, Pause, Play, Recover, Restart, Wait
from edge_agent.stream.statistics import Statistics

if TYPE_CHECKING:
    from edge_agent.stream.srtp import Srtp
    from hal.ports import Frames

_SILENT_PACKET_BYTES = 2
_EDIT_NS = 25_000_000
"""From here a quiet piece is left out or said twice."""
_SPLICE_NS = 60_000_000
_SPLICE_AFTER_S = 3.0
"""So far off, and so long without a quiet piece: then by pitch periods."""
_PUNCTUAL_PIECES = 512
"""Ten seconds of pieces."""
_REPORTS = 5
_OVERTAKEN_NS = 300_000_000
_COARSE_MS = 20
"""The copy behind a hole may hold a coarse copy of what is missing: it comes one packet later."""
_PIECES_MAX = 64
"""In one `get`: more would be a stream of nothing but restarts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionSettings:
    """What is expected of a session's packets, and how they are to sound."""

    codec: str = "opus"
    clock_hz: int = 48_000
    payload_types: frozenset[int] = frozenset()
    """Of the codec; () = every one that is not redundancy."""
    red_types: frozenset[int] = frozenset()
    red_span_ms: int = 80
    """How old the copies are, if there are any: known too late, it would be a pause at the beginning."""
    buffer: BufferSettings = field(default_factory=BufferSettings)
    group_delay_ms: float = 0.0
    """In a group: from being taken at the sender to sounding here."""
    trim_ms: float = 0.0
    """This node's own: later, for one that stands nearer to the listeners."""
    library: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the last `get` came to."""

    real: bool
    """Something of the programme was in it."""
    pausing: bool
    """The sender is there and has nothing to say (DTX)."""
    waiting: bool
    """Nothing was due: warming up, or nothing left."""


class Reception:
    """One session's way in. Belongs to one thread."""

    def __init__(self, settings: ReceptionSettings, *, srtp: Srtp | None = None) -> None:
        self.settings = settings
        self.statistics = Statistics()
        span_ms = settings.red_span_ms if settings.red_types else 0
        if span_ms and settings.buffer.mode is Mode.TALK:  # in the others the delay is far longer than that
            span_ms += _COARSE_MS
        self.buffer = JitterBuffer(replace(settings.buffer, span_ms=span_ms), self.statistics)
        self._srtp = srtp
        self._ladder = Ladder(
            lambda: decoder.make(settings.codec, settings.clock_hz, settings.library),
            clock_hz=settings.clock_hz,
            statistics=self.statistics,
        )
        self._rate = Rate()
        firm = settings.buffer.mode is Mode.GROUP
        self._steering = Steering(kp_per_s=FIRM_KP, ki_per_s2=FIRM_KI) if firm else Steering()
        self._out = Line()
        self._level = 0.0
        self._since_quiet_s = 0.0
        self._blend: Frames | None = None
        self.ended = False
        """The sender has said goodbye."""
        self._ended_ns = 0
        self.heard = Heard(real=False, pausing=False, waiting=True)
        self._punctuality = Punctuality(_PUNCTUAL_PIECES)
        """Kept in a group."""
        self._reports: deque[rtcp.SenderReport] = deque(maxlen=_REPORTS)
        self._report_at_ns = 0
        self._senders, self._cards = Slope(), Slope()
        self._resets = self._given = 0
        self.drift_ppm: float | None = None
        """By how much the sender's crystal is faster than the card's, as measured; None: not known yet."""

    # ------------------------------------------------------------ the network's side

    def put(self, blob: bytes, arrival_ns: int) -> bool:
        """One datagram as it came. Whether it was the session's."""
        try:
            is_report = rtcp.is_rtcp(blob)
            if self._srtp is not None:
                blob = self._srtp.unprotect(blob, rtcp=is_report)
            if is_report:
                return self._take_reports(blob, arrival_ns)
            packet = self._media(rtp.parse(blob))
        except PacketRefused as refusal:
            self.statistics.refused[refusal.code] += 1
            return False
        strays = self.statistics.stray
        self.buffer.put(packet, arrival_ns)
        if strays != self.statistics.stray:
            return False
        self._learn_senders(packet.timestamp, arrival_ns)
        if arrival_ns - self._ended_ns > _OVERTAKEN_NS:  # else the goodbye has overtaken it
            self.ended = False
        return True

    def _learn_senders(self, timestamp: int, arrival_ns: int) -> None:
        """The sender's crystal against our clock. A sender that begins anew has another one."""
        if (resets := sum(self.statistics.resets.values())) != self._resets:
            self._resets = resets
            self._senders.clear()
        place_ns = round(self.buffer.position_of(timestamp) * NS / self.settings.clock_hz)
        if self._senders.put(arrival_ns, arrival_ns - place_ns):
            self._know()

    def _learn_cards(self, frames: int, playout_ns: int) -> None:
        """The card's crystal against our clock."""
        if self._cards.put(playout_ns, playout_ns - self._given * NS // RATE_HZ):
            self._know()
        self._given += frames

    def _know(self) -> None:
        """Both slopes are of our time less theirs: who is fast has a falling one."""
        senders, cards = self._senders.ppm, self._cards.ppm
        if senders is not None and cards is not None and self.settings.buffer.mode is not Mode.GROUP:
            self.drift_ppm = cards - senders
            self._steering.know(self.drift_ppm)

    def _media(self, packet: rtp.RtpPacket) -> MediaPacket:
        copies: tuple[tuple[int, bytes, int], ...] = ()
        payload, kind = packet.payload, packet.payload_type
        if kind in self.settings.red_types:
            *older, newest = red.split(payload)
            payload, kind = newest.payload, newest.payload_type
            if kind in self.settings.red_types:
                raise PacketRefused("red_nested", "Redundancy inside redundancy is not taken.")
            copies = tuple(
                (copy.offset, copy.payload, self._ladder.ticks_of(copy.payload))
                for copy in older
                if copy.payload_type == kind
            )
        if self.settings.payload_types and kind not in self.settings.payload_types:
            raise PacketRefused("payload_type", f"Payload type {kind} is not this session's.")
        return MediaPacket(
            sequence=packet.sequence,
            timestamp=packet.timestamp,
            ssrc=packet.ssrc,
            payload=payload,
            ticks=self._ladder.ticks_of(payload),
            silent=self.settings.codec == "opus" and len(payload) <= _SILENT_PACKET_BYTES,
            copies=copies,
        )

    def _take_reports(self, blob: bytes, arrival_ns: int) -> bool:
        ours = False
        for report in rtcp.parse(blob):
            match report:
                case rtcp.SenderReport() if self.buffer.ssrc in {None, report.ssrc}:
                    self._reports.append(report)
                    self._report_at_ns, ours = arrival_ns, True
                case rtcp.Goodbye() if self.buffer.ssrc in report.ssrcs:
                    self.ended = ours = True
                    self._ended_ns = arrival_ns
                case _:
                    pass
        return ours

    def receiver_report(self, ssrc: int, now_ns: int) -> bytes:
        """What we tell the sender."""
        heard = (self._reports[-1], self._report_at_ns) if self._reports else None
        theirs, feedback = self.buffer.ssrc, self.buffer.feedback
        block = theirs is not None and feedback.block(
            ssrc=theirs, highest=self.buffer.highest, counts=self.statistics, heard=heard, now_ns=now_ns
        )
        blob = rtcp.build(
            (
                rtcp.ReceiverReport(ssrc=ssrc, blocks=(block,) if block else ()),
                rtcp.Description(ssrc=ssrc, cname="village-node"),
            )
        )
        return blob if self._srtp is None else self._srtp.protect(blob, rtcp=True)

    # ------------------------------------------------------------ the card's side

    def get(self, frames: int, playout_ns: int, wall_offset_ns: int | None = None) -> Frames:
        """Exactly so many frames, of which the first sounds at `playout_ns`; silence where nothing is to be heard.

        `wall_offset_ns` is wall time less CLOCK_BOOTTIME where it is known: a group is silent without it.
        """
        if self.settings.buffer.mode is Mode.GROUP:
            self._pin(wall_offset_ns)
        self._learn_cards(frames, playout_ns)
        real = pausing = waiting = False
        pieces = 0
        while self._out.held < frames:
            at_ns = playout_ns + round((self._out.held + self._rate.delay_frames) * NS / RATE_HZ)
            piece = self.buffer.next(at_ns)
            pieces += 1
            made, theirs = self._ladder.render(piece)
            if theirs and isinstance(piece, Recover):
                self.buffer.holes.recovered(piece.position, piece.ticks)
            real = real or isinstance(piece, Play)
            pausing = pausing or isinstance(piece, Pause)
            waiting = isinstance(piece, Wait)
            if isinstance(piece, Restart):
                if pieces > _PIECES_MAX:
                    break
                continue
            if isinstance(piece, Play):
                made = self._mended(made, at_ns)
            frozen = isinstance(piece, Wait | Conceal | Pause)
            ratio = self._ratio(at_ns, made.size / RATE_HZ, frozen=frozen)
            self._out.put(self._rate.process(made, ratio))
        self.heard = Heard(real=real, pausing=pausing, waiting=waiting and not real)
        found = self._out.take(frames)
        return found if found.size == frames else np.pad(found, (0, frames - found.size))

    @property
    def over(self) -> bool:
        """The sender has said goodbye, and all that came before it was given out."""
        return self.ended and not self.buffer.level_packets()

    def resume(self) -> None:
        """After an interruption: what came meanwhile is old; go on with what comes now."""
        self.buffer.flush()
        self._out.clear()
        self._cards.clear()

    def report(self) -> dict[str, object]:
        """The session's figures, for the wire."""
        found = self.statistics.report()
        found["target_ms"] = self.buffer.target_ns // 1_000_000
        found["drift_ppm"] = round(self._steering.ppm if self.drift_ppm is None else self.drift_ppm, 1)
        return found | self._punctuality.report()

    # ------------------------------------------------------------ in time

    def _pin(self, wall_offset_ns: int | None) -> None:
        """In a group the line is the sender's wall clock: T = NTP + delay + trim (AUDIO.md, "Together in time")."""
        ssrc = self.buffer.ssrc
        begins = sorted(self._begin_ns(report) for report in self._reports if report.ssrc == ssrc)
        if not begins or wall_offset_ns is None:
            self.buffer.pin(None)
            return
        late_ms = self.settings.group_delay_ms + self.settings.trim_ms
        self.buffer.pin(begins[len(begins) // 2] - wall_offset_ns + round(late_ms * 1e6))

    def _begin_ns(self, report: rtcp.SenderReport) -> int:
        """When position 0 of the line was taken, by one report; many senders' are some ms off, so several are asked."""
        place_ns = round(self.buffer.position_of(report.timestamp) * NS / self.settings.clock_hz)
        return rtcp.wall_ns(report.ntp) - place_ns

    def _late_ns(self, at_ns: int) -> int | None:
        """How late what comes next sounds, by where it should be."""
        cursor = self.buffer.cursor
        due = None if cursor is None else self.buffer.due_ns(cursor)
        return None if due is None else at_ns - due

    def _ratio(self, at_ns: int, elapsed_s: float, *, frozen: bool) -> float:
        late_ns = self._late_ns(at_ns + round(elapsed_s * NS))
        if late_ns is None:
            return self._steering.ratio
        if self.settings.buffer.mode is Mode.GROUP and not frozen:
            self._punctuality.put(late_ns)
        frozen = frozen or abs(late_ns) > _SPLICE_NS
        return self._steering.step(late_ns, elapsed_s, frozen=frozen)

    def _mended(self, made: Frames, at_ns: int) -> Frames:
        """A piece left out, said twice, or shorter or longer by a period, where the delay is not what it should be."""
        self._level, is_quiet = quiet(made, self._level)
        self._since_quiet_s = 0.0 if is_quiet else self._since_quiet_s + made.size / RATE_HZ
        late_ns = self._late_ns(at_ns + made.size * NS // RATE_HZ)
        if late_ns is None or self.settings.buffer.mode is Mode.GROUP or abs(late_ns) < _EDIT_NS:
            return self._blended(made)
        if is_quiet:
            made = self._blended(made)
            if late_ns > 0:
                self._blend = made
                return made[:0]
            return np.concatenate((made, made[::-1]))  # backwards, so that there is no seam
        if self._since_quiet_s > _SPLICE_AFTER_S and abs(late_ns) > _SPLICE_NS:
            return splice(self._blended(made), longer=late_ns < 0)
        return self._blended(made)

    def _blended(self, made: Frames) -> Frames:
        """After a piece that was left out: from its beginning over to this one's."""
        left_out, self._blend = self._blend, None
        if left_out is not None and left_out.size == made.size:
            up = np.linspace(0, 1, made.size, dtype=np.float32)
            return left_out * (1 - up) + made * up
        return made
