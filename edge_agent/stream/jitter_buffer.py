"""The jitter buffer (TANK): packets in as the network brings them, pieces out as the card wants them. Pure.

Facts that shape it:

- A place on the stream's line is its `position`: the timestamp, unwrapped, and shifted over every restart of
  the sender so that the line goes on. What was buffered before a restart is still played, so a restart
  costs no interruption; only the decoder begins anew (`Restart`).
- What is missing is decided when it is needed and not before: a packet or a copy that comes in the last
  moment is used.
- While later packets wait, a missing one is passed over: concealed, and the line goes on. When nothing
  waits the line is held (talk and solo): if the packets come after all, they are played late rather than lost;
  if they were lost, the line jumps to what came. In a group the line never waits: it belongs to the clock.
- A jump of the timestamp with a sequence step of one is a pause of the sender (DTX), no loss. A pause may last
  shorter or longer than it was without anybody hearing it: there the delay goes to its target.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from edge_agent.model import MS, NS
from edge_agent.stream.delay import Target, WindowedExtreme
from edge_agent.stream.feedback import Feedback
from edge_agent.stream.holes import Holes
from edge_agent.stream.modes import BufferSettings, Mode
from edge_agent.stream.pieces import Conceal, MediaPacket, Pause, Piece, Play, Recover, Restart, Slot, Wait
from edge_agent.stream.statistics import Statistics
from edge_agent.stream.unwrap import Unwrap, difference

_BASE_WINDOW_NS = 10 * NS
_DROPOUT_MAX = 3_000
_MISORDER_MAX = 500
_STRANGE_NS = NS
"""So far may the timestamp be off against sequence and arrival."""
_STALE_NS = 3 * NS
"""Packets that come too late to be played, but at the pace of sound for so long, are a sender that had stopped."""
_FALL_IN_MS = 20
"""In a group: what steering at 300 ppm cannot mend is mended at once (AUDIO.md, "Together in time")."""
_SLOTS_MAX = 4_096
_RESTARTS_MAX = 64
_FIRSTS_MAX, _FIRSTS_APART = 16, 5


class JitterBuffer:
    """One session's tank. `put` never raises; `next` always has an answer."""

    def __init__(self, settings: BufferSettings, statistics: Statistics | None = None) -> None:
        self.settings = settings
        self.statistics = statistics or Statistics()
        self.ticks = settings.clock_hz // 50
        """The length of a usual packet."""
        self._ns_per_tick = NS / settings.clock_hz
        self._slots: dict[int, Slot] = {}
        self._order: list[int] = []
        self._restarts: dict[int, str] = {}
        self._cursor: int | None = None
        self._begun = False
        self._sequences = Unwrap(16)
        self._timestamps = Unwrap(32)
        self._shift = 0
        self._ssrc: int | None = None
        self._last: tuple[int, int, int, int] | None = None
        """Of the newest packet: sequence, position, ticks, arrival_ns."""
        self._candidate: tuple[int, int, str] | None = None
        self._firsts: dict[int, tuple[MediaPacket, int]] = {}
        self._stale_since: tuple[int, int] | None = None
        self._span = settings.span_ms * settings.clock_hz // 1_000
        self._base = WindowedExtreme(_BASE_WINDOW_NS)
        self._target = Target(settings.target, margin_ns=0)
        self._margin()
        self._played_sequence: int | None = None
        self._silent = False
        self.holes = Holes(self.statistics, settings.clock_hz)
        self._pinned_ns: int | None = None
        self.feedback = Feedback(settings.clock_hz)

    # ------------------------------------------------------------ what is known

    @property
    def target_ns(self) -> int:
        """The delay wanted above the base."""
        return self._target.ns

    @property
    def cursor(self) -> int | None:
        """The position of the next piece; None before anything came."""
        return self._cursor

    def level_ticks(self) -> int:
        """From the cursor to the end of what waits."""
        if not self._order or self._cursor is None:
            return 0
        last = self._order[-1]
        return max(0, last + self._slots[last].ticks - self._cursor)

    def level_packets(self) -> int:
        """How many packets and copies wait."""
        return len(self._order)

    def pin(self, offset_ns: int | None) -> None:
        """In a group: position 0 of the line sounds at `offset_ns`; None while nobody knows."""
        self._pinned_ns = offset_ns

    def due_ns(self, position: int) -> int | None:
        """When a position is to sound: in a group as pinned, else by the base and the target; None: not known yet."""
        if self.settings.mode is Mode.GROUP:
            return None if self._pinned_ns is None else self._pinned_ns + self._ns(position)
        base = self._base.least()
        return None if base is None else base + self._target.ns + self._ns(position)

    def delay_ns(self, playout_ns: int) -> int | None:
        """The delay above the base of what plays next, if it plays at `playout_ns`."""
        base = self._base.least()
        if base is None or self._cursor is None:
            return None
        return playout_ns - self._ns(self._cursor) - base

    @property
    def ssrc(self) -> int | None:
        """Whose stream it is."""
        return self._ssrc

    def position_of(self, timestamp: int) -> int:
        """Where a timestamp of the present sender lies on the line."""
        return self._timestamps.near(timestamp) + self._shift

    @property
    def highest(self) -> int:
        """The highest sequence number so far, unwrapped."""
        return 0 if self._last is None else self._last[0]

    # ------------------------------------------------------------ the network's side

    def put(self, packet: MediaPacket, arrival_ns: int) -> None:
        """Take a packet at its arrival. Whatever it is, the stream goes on."""
        counts = self.statistics
        counts.received += 1
        if self._last is None:
            if not self._begun_by(packet, arrival_ns):
                return
        elif (strange := self._strange(packet, arrival_ns)) is not None:
            if not self._confirmed(packet, strange):
                counts.stray += 1
                return
            self._restart(packet, arrival_ns, strange)
        else:
            self._candidate = None
        if self._stale(self.position_of(packet.timestamp), arrival_ns):
            self._restart(packet, arrival_ns, "arrival")
        self._accept(packet, arrival_ns)

    def _accept(self, packet: MediaPacket, arrival_ns: int) -> None:
        sequence = self._sequences.near(packet.sequence)
        unwrapped = self._timestamps.near(packet.timestamp)
        position = unwrapped + self._shift
        self.ticks = packet.ticks
        self._time(position, arrival_ns)
        if packet.copies and packet.copies[0][0] > self._span:
            self._span = packet.copies[0][0]
            self._margin()
        self._keep(position, Slot(packet.payload, packet.ticks, sequence, packet.silent))
        for offset, payload, ticks in packet.copies:
            if (at := position - offset) not in self._slots and not self._past(at):
                self._keep(at, Slot(payload, ticks, None))
        if self._last is None or sequence > self._last[0]:
            self._last = (sequence, position, packet.ticks, arrival_ns)
            self._sequences.follow(sequence)
            self._timestamps.follow(unwrapped)
        self._bound()

    def flush(self) -> None:
        """Throw away what waits: the session was interrupted, and goes on with what comes now."""
        self.statistics.discarded += len(self._order)
        self._slots.clear()
        self._order.clear()
        self._begun = False
        self._cursor = None
        self.holes.end_gap()

    def _begun_by(self, packet: MediaPacket, arrival_ns: int) -> bool:
        """Two packets in a row make a source (RFC 3550, A.1); the first of them is not lost by that."""
        first = self._firsts.get(packet.ssrc)
        self._firsts[packet.ssrc] = (packet, arrival_ns)
        if first is None or not (
            0 < abs(difference(packet.sequence, first[0].sequence, 16)) <= _FIRSTS_APART
        ):
            self.statistics.stray += first is not None
            if len(self._firsts) > _FIRSTS_MAX:
                self.statistics.stray += 1
                del self._firsts[next(iter(self._firsts))]
            return False
        self.statistics.stray += len(self._firsts) - 1
        self._firsts.clear()
        self._begin(*first)
        return True

    def _begin(self, packet: MediaPacket, arrival_ns: int) -> None:
        self._ssrc = packet.ssrc
        sequence = self._sequences.restart(packet.sequence)
        self.feedback.restart(sequence)
        unwrapped = self._timestamps.restart(packet.timestamp)
        self._last = (sequence - 1, unwrapped + self._shift - packet.ticks, packet.ticks, arrival_ns)
        self._accept(packet, arrival_ns)

    def _strange(self, packet: MediaPacket, arrival_ns: int) -> str | None:
        """Why this packet does not continue the stream; None when it does."""
        assert self._last is not None
        if packet.ssrc != self._ssrc:
            return "ssrc"
        last_sequence, last_position, ticks, last_ns = self._last
        step = difference(packet.sequence, last_sequence & 0xFFFF, 16)
        if not -_MISORDER_MAX <= step <= _DROPOUT_MAX:
            return "sequence"
        moved = self.position_of(packet.timestamp) - last_position
        by_arrival_ns = arrival_ns - last_ns
        off_ns = abs(self._ns(moved - step * ticks))
        if off_ns > _STRANGE_NS and abs(self._ns(moved) - by_arrival_ns) > _STRANGE_NS:
            return "timestamp"
        return None

    def _stale(self, position: int, arrival_ns: int) -> bool:
        """Whether the sender had stopped, and now goes on where it was: for ever too late by the old base.

        A link that stood still brings its packets late, too, but faster than they are played: they catch up.
        """
        base = self._base.least()
        late_ns = 0 if base is None else arrival_ns - self._ns(position) - base
        if late_ns <= self.settings.cap_ms * MS:
            self._stale_since = None
            return False
        since = self._stale_since
        if since is None or late_ns < since[1] - (arrival_ns - since[0]) // 5:
            self._stale_since = (arrival_ns, late_ns)
            return False
        return arrival_ns - since[0] >= _STALE_NS

    def _confirmed(self, packet: MediaPacket, why: str) -> bool:
        """Two packets that fit each other make a new stream; one alone is a stray."""
        before, self._candidate = self._candidate, (packet.ssrc, packet.sequence, why)
        if before is None or before[0] != packet.ssrc:
            return False
        return 0 < difference(packet.sequence, before[1], 16) <= _MISORDER_MAX

    def _restart(self, packet: MediaPacket, arrival_ns: int, why: str) -> None:
        """The sender began anew: its line goes on from ours, as far behind the arrival as before."""
        assert self._last is not None
        _, last_position, ticks, last_ns = self._last
        if why == "arrival":  # what it sent late is not played; its line goes on from the present
            base = self._base.least()
            assert base is not None
            last_position, last_ns = round((arrival_ns - base) / self._ns_per_tick) - ticks, arrival_ns
        self.statistics.resets[why] += 1
        self._candidate = self._stale_since = None
        self._ssrc = packet.ssrc
        away = max(ticks, round((arrival_ns - last_ns) / self._ns_per_tick))
        position = last_position + away
        sequence = self._sequences.restart(packet.sequence)
        unwrapped = self._timestamps.restart(packet.timestamp)
        self._shift = position - unwrapped
        self._last = (sequence - 1, position - packet.ticks, packet.ticks, arrival_ns)
        self._restarts[position] = why
        while len(self._restarts) > _RESTARTS_MAX:
            del self._restarts[next(iter(self._restarts))]
        self._played_sequence = None
        self.feedback.restart(sequence)

    def _time(self, position: int, arrival_ns: int) -> None:
        apart_ns = arrival_ns - self._ns(position)
        self.feedback.put(apart_ns)
        base = self._base.put(arrival_ns, apart_ns)
        if apart_ns - base <= self.settings.cap_ms * MS:  # what is later is not played, whatever the target
            self._target.put(arrival_ns, apart_ns - base)

    def _margin(self) -> None:
        """One packet, what is asked ahead and the redundancy's span on top of what was measured."""
        self._target.margin_ns = (
            self._ns(self.ticks) + round(self.settings.ahead_ms * MS) + self._ns(self._span)
        )

    def _past(self, position: int) -> bool:
        return self._begun and self._cursor is not None and position < self._cursor

    def _keep(self, position: int, slot: Slot) -> None:
        held = self._slots.get(position)
        if held is not None:
            if slot.sequence is not None and held.sequence is None:
                self._slots[position] = slot  # the packet itself is better than its copy
            else:
                self.statistics.duplicate += slot.sequence is not None
            return
        if self._past(position):
            self.holes.came_late(position)
            return
        self._slots[position] = slot
        insort(self._order, position)

    def _bound(self) -> None:
        """No more than the cap is kept: the oldest goes, and the line jumps over it."""
        cap = self.settings.cap_ms * self.settings.clock_hz // 1_000
        while self._order and (self._order[-1] - self._order[0] > cap or len(self._order) > _SLOTS_MAX):
            del self._slots[self._order.pop(0)]
            self.statistics.discarded += 1
            if self._cursor is not None and self._order:
                self._cursor = max(self._cursor, self._order[0])

    # ------------------------------------------------------------ the card's side

    def next(self, playout_ns: int) -> Piece:  # noqa: PLR0911 - one case a line
        """What sounds from `playout_ns` on."""
        if not self._begun:
            waiting = self._warm_up(playout_ns)
            if waiting is not None:
                return waiting
        if self.settings.mode is Mode.GROUP and (wait := self._fall_in(playout_ns)):
            return Wait(wait)
        cursor = self._cursor
        assert cursor is not None
        if self._restarts and (due := min(self._restarts)) <= cursor:
            return Restart(cursor, self._restarts.pop(due))
        while self._order and self._order[0] < cursor:  # an odd length: it overlaps what was played
            self._forget(self._order[0])
            self.statistics.discarded += 1
        if not self._order:
            return self._starved(cursor)
        slot = self._slots.get(cursor)
        if slot is None:
            return self._hole(cursor, self._order[0], playout_ns)
        if self._too_late(playout_ns):
            return self._skip(cursor, slot, playout_ns)
        return self._play(cursor, slot, playout_ns)

    def _fall_in(self, playout_ns: int) -> int:
        """A line that is further from its place than steering reaches: how long to wait; or the cursor jumps."""
        assert self._cursor is not None
        due = self.due_ns(self._cursor)
        off = 0 if due is None else round((due - playout_ns) / self._ns_per_tick)
        if abs(off) * 1_000 <= _FALL_IN_MS * self.settings.clock_hz:
            return 0
        if off > 0:
            return min(off, self.ticks)
        self._cursor -= off
        later = [position for position in self._order if position >= self._cursor - self.ticks]
        self._cursor = later[0] if later else self._cursor
        self._played_sequence = None
        return 0

    def _warm_up(self, playout_ns: int) -> Wait | None:
        """Wait until the first packet is due; the line then begins with it."""
        while self.settings.mode is Mode.GROUP and len(self._order) > 1:  # a late joiner begins in its place
            due = self.due_ns(self._order[0])
            if due is None or due >= playout_ns - 2 * self._ns_per_tick:
                break
            self._forget(self._order[0])
            self.statistics.discarded += 1
        due = self.due_ns(self._order[0]) if self._order else None
        if due is None:
            return Wait(self.ticks)
        first = self._order[0]
        left_ns = due - playout_ns
        full = self.settings.mode is not Mode.GROUP and (
            self._order[-1] - first >= self.settings.cap_ms * self.settings.clock_hz // 1_000
        )
        if left_ns > 0 and not full:
            return Wait(max(1, min(self.ticks, round(left_ns / self._ns_per_tick))))
        self._begun = True
        self._cursor = first
        self._played_sequence = None
        self.holes.held_ticks = 0
        return None

    def _play(self, cursor: int, slot: Slot, playout_ns: int) -> Play:
        self._forget(cursor)
        self._cursor = cursor + slot.ticks
        delay = self.delay_ns(playout_ns)
        if delay is not None:
            self.statistics.delay.put(delay + self._ns(slot.ticks))
        if slot.sequence is None:
            self.statistics.red_recovered += 1
            if self._played_sequence is not None:
                self._played_sequence += 1
        else:
            self._played_sequence = slot.sequence
        self._silent = slot.silent
        self.holes.let_go(came=True)
        self.statistics.played_ms += self._ms(slot.ticks)
        self.holes.end_gap()
        return Play(cursor, slot.ticks, slot.payload, "red" if slot.sequence is None else "packet")

    def _too_late(self, playout_ns: int) -> bool:
        """Played now, it would be later than this mode allows: after a stall that lasted too long."""
        delay_ns = self.delay_ns(playout_ns)
        most_ms = min(self.settings.cap_ms, self.settings.target.most_ms) + self.settings.ahead_ms
        return delay_ns is not None and delay_ns > most_ms * MS + self._span * self._ns_per_tick

    def _skip(self, cursor: int, slot: Slot, playout_ns: int) -> Piece:
        while slot is not None and self._too_late(playout_ns):
            self._forget(cursor)
            self.statistics.late += slot.sequence is not None
            self._cursor = cursor = cursor + slot.ticks
            if cursor not in self._slots:
                break
            slot = self._slots[cursor]
        self._played_sequence = None
        return self.next(playout_ns)

    def _starved(self, cursor: int) -> Piece:
        """Nothing waits. A silent sender is silent; else conceal for a while, then wait for what comes."""
        if self._silent:
            self._cursor = cursor + self.ticks
            self.statistics.paused_ms += self._ms(self.ticks)
            return Pause(cursor, self.ticks)
        if self.settings.mode is Mode.GROUP:
            self._cursor = cursor + self.ticks
            self.holes.missing(cursor, self.ticks)
            return Conceal(cursor, self.ticks)
        return self._hold(cursor, self.ticks)

    def _hold(self, cursor: int, ticks: int) -> Piece:
        """The line stands still; whose fault it was shows when it goes on."""
        self.holes.held_ticks += ticks
        if self.holes.held_ticks * 1_000 <= self.settings.hold_ms * self.settings.clock_hz:
            return Conceal(cursor, ticks)
        return Wait(ticks)

    def _hole(self, cursor: int, following: int, playout_ns: int) -> Piece:
        """Something waits behind the cursor: a pause, a lost packet, or the end of a hold."""
        slot = self._slots[following]
        missing = following - cursor
        known = slot.sequence is not None and self._played_sequence is not None
        step = slot.sequence - self._played_sequence if known else None  # type: ignore[operator]
        if step == 1 or self._silent or any(at <= following for at in self._restarts):
            return self._pause(cursor, following, playout_ns)
        if self.holes.held_ticks and self.settings.mode is not Mode.GROUP:
            return self._after_hold(cursor, following, playout_ns)
        ticks = min(self.ticks, missing)
        self._cursor = cursor + ticks
        if self._played_sequence is not None:
            self._played_sequence += 1
        self.holes.missing(cursor, ticks)
        if missing <= self.ticks:
            return Recover(cursor, ticks, slot.payload)
        return Conceal(cursor, ticks)

    def _pause(self, cursor: int, following: int, playout_ns: int) -> Piece:
        """A pause lasts until what follows is due by the target; in a group until its place."""
        self.holes.end_gap()
        missing = following - cursor
        due = self.due_ns(following)
        assert due is not None
        left = missing
        if self.settings.mode is not Mode.GROUP:
            left = round((due - playout_ns) / self._ns_per_tick)
        if left <= 0:
            self._cursor = following
            self._played_sequence = None
            return self.next(playout_ns)
        ticks = min(self.ticks, left)
        # The line ends at what follows, however long the pause was made.
        self._cursor = min(following, max(cursor, following - (left - ticks)))
        if self._cursor == following:
            self._played_sequence = None
        self.statistics.paused_ms += self._ms(ticks)
        return Pause(cursor, ticks)

    def _after_hold(self, cursor: int, following: int, playout_ns: int) -> Piece:
        """The line was held and now packets are there, but not the next one: what lies between was lost.

        The last lost one is passed over in its place: what follows may hold a coarse copy.
        """
        due = self.due_ns(following)
        assert due is not None
        left = round((due - playout_ns) / self._ns_per_tick)
        if left > self.ticks * 3 // 2:
            return self._hold(cursor, min(self.ticks, left - self.ticks))
        resume = following if left <= self.ticks // 2 else max(cursor, following - self.ticks)
        self.statistics.lost += (resume - cursor) // self.ticks
        self._cursor = resume
        self._played_sequence = None
        self.holes.let_go(came=False)
        return self.next(playout_ns)

    def _forget(self, position: int) -> None:
        del self._slots[position]
        if self._order[0] == position:
            self._order.pop(0)
        else:
            del self._order[bisect_left(self._order, position)]

    def _ms(self, ticks: int) -> int:
        return ticks * 1_000 // self.settings.clock_hz

    def _ns(self, ticks: int) -> int:
        return round(ticks * self._ns_per_tick)
