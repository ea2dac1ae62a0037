"""The sound card through PortAudio (python-sounddevice): 48 kHz mono float32 from a small ring.

Facts about PortAudio that this leans on (more in `hal.linux.portaudio`):
- A mono stream on a stereo-only card sounds on both channels (its ALSA part copies it).
- The callback runs on PortAudio's own thread and must be quick: it is handed to PortAudio without
  sounddevice's wrapping, and copies bytes from the ring under a lock that nobody holds for longer than
  a copy. It wakes the loop only when somebody waits for room and there is enough.
- DAC time is good only as `outputBufferDacTime - currentTime`; it is added to our own clock.
- The callback is the only sign of life: on some devices a pulled plug ends it without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from hal.errors import SoundLost, SoundMissing
from hal.linux.dac_time import DacTime
from hal.linux.portaudio import LIBRARY, OpenDevice
from hal.ports import SoundStatus

if TYPE_CHECKING:
    from hal.ports import Frames


NS = 1_000_000_000
_FRAME_BYTES = 4
_FADE_S = 0.008
_LATENCY_S = 0.1
"""What PortAudio is asked to hold beyond the ring. More than its "high" (about 0.04): a third less CPU
through a sound server and more patience with a busy machine, at the price of a later silence after
`drop` (docs/decisions/0120)."""
_LEAST_QUEUED_S = 0.2
"""A writer is woken when so little is left in a large ring, when a third is free in a small one."""
_STALLED_S = 2.0
"""A writer waits so long without a callback, then the device is given up."""


class PortAudioCard:
    """One output device by name: exact, or a part of it that fits one device only; None = the default."""

    def __init__(self, device: str | None, *, latency_s: float = _LATENCY_S) -> None:
        self._device = device
        self._latency_s = latency_s
        self._stream: PortAudioStream | None = None
        self._opening = False
        self._was_present = False

    async def open(self, *, rate_hz: int, period_frames: int, ring_frames: int) -> PortAudioStream:
        assert 0 < period_frames <= ring_frames
        if self._opening or (self._stream is not None and not self._stream.closing):
            raise SoundMissing("the sound device is open already; close its stream first")
        stream = PortAudioStream(
            loop=asyncio.get_running_loop(),
            rate_hz=rate_hz,
            period_frames=period_frames,
            ring_frames=ring_frames,
            latency_s=self._latency_s,
        )
        self._opening = True
        try:
            await stream.start(self._device)
        finally:
            self._opening = False
        self._stream = stream
        return stream

    def present(self) -> bool:
        stream = self._stream
        if stream is not None and not stream.closing:
            return stream.fault is None
        self._was_present = LIBRARY.sees(self._device, otherwise=self._was_present)
        return self._was_present


class PortAudioStream(OpenDevice):
    """An open device. The loop writes into the ring, PortAudio's thread takes from it."""

    kind = "output"
    called = "sound device"

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        rate_hz: int,
        period_frames: int,
        ring_frames: int,
        latency_s: float,
    ) -> None:
        super().__init__(loop)
        self._rate_hz = rate_hz
        self._period_frames = period_frames
        self._ring_frames = ring_frames
        self._latency_s = latency_s
        self._ring = memoryview(bytearray(ring_frames * _FRAME_BYTES))
        self._silence = bytes(period_frames * _FRAME_BYTES)
        self._refill = max(ring_frames // 3, ring_frames - round(_LEAST_QUEUED_S * rate_hz), 1)
        """A waiting writer is woken when so much is free: few wake-ups."""
        self._pointer: Any = None
        self._memmove: Any = None
        self._buffer: Any = None
        self._underflow = 0
        self._lock = threading.Lock()
        # shared between both threads, under the lock
        self._head = 0  # ring frame that sounds next
        self._queued = 0
        self._taken = 0
        self._underruns = 0
        self._holding = True  # silent until two periods, or the end of what there is, are queued
        self._ending = True  # nothing more is promised: an empty ring is no underrun
        self._wanted: int | None = None  # free frames that the loop waits for
        self._first_sound_ns: int | None = None
        self._silence_ahead = 0  # frames between the callback and the converter, while silent
        self._dac = DacTime(rate_hz)
        self._sounded_ns = 0  # when the last frame taken will have left the converter
        self._calls = 0
        # the loop's alone
        self._written = 0

    # ------------------------------------------------------------ the port

    async def write(self, frames: Frames) -> None:
        assert not self.closing, "a closed stream takes no frames"
        assert frames.ndim == 1
        assert frames.dtype == "float32"
        rest = (frames if frames.flags.c_contiguous else frames.copy()).data.cast("B")
        while True:
            self._check()
            rest = rest[self._put(rest) :]
            if not rest:
                return
            await self._room(self._refill)

    async def drain(self) -> None:
        with self._lock:
            self._ending = True
        await self._room(self._ring_frames)
        self._check()
        left_ns = self._sounded_ns - _boottime_ns()
        if left_ns > 0:
            await asyncio.sleep(left_ns / NS)

    async def drop(self) -> int:
        with self._lock:
            self._ending = True
            queued = self._queued
            if self.fault is not None or self._holding:
                self._queued = 0
                return queued
            keep = min(queued, round(_FADE_S * self._rate_hz))
            if keep:
                self._fade(keep)
            self._queued = keep
        return queued - keep

    def status(self) -> SoundStatus:
        with self._lock:
            return SoundStatus(
                written=self._written,
                sounded=self._taken,
                underruns=self._underruns,
                first_sound_ns=self._first_sound_ns,
                silence_ahead=self._silence_ahead if self._holding else 0,
                next_sound_ns=None if self.fault is not None else self._dac.at_ns(self._queued),
            )

    async def close(self) -> None:
        if self.closing:
            return
        self.closing = True
        try:
            if self.fault is None:
                await self.drop()
                with contextlib.suppress(SoundLost, TimeoutError):
                    async with asyncio.timeout(3 * self._period_frames / self._rate_hz):
                        await self._room(self._ring_frames)  # the fade
        finally:
            await self._let_go()

    def _opened(self, sounddevice: Any, index: int) -> Any:
        ffi, library = sounddevice._ffi, sounddevice._lib  # noqa: SLF001 - what rtmixer builds on, too
        self._memmove, self._buffer, self._underflow = ffi.memmove, ffi.buffer, library.paOutputUnderflow
        # sounddevice keeps only a cast of it, which does not keep it alive
        self._pointer = ffi.callback("PaStreamCallback", self._callback, error=library.paAbort)
        return sounddevice._StreamBase(  # noqa: SLF001 - its text offers it for C callbacks
            kind="output",
            samplerate=self._rate_hz,
            blocksize=self._period_frames,
            device=index,
            channels=1,
            dtype="float32",
            latency=self._latency_s,
            callback=self._pointer,
            wrap_callback=None,
            finished_callback=self._finished,
        )

    # ------------------------------------------------------------ the ring, loop's side

    def _put(self, payload: memoryview) -> int:
        """Queue what fits and return its bytes. Only the loop moves the tail, so it copies without the lock."""
        with self._lock:
            tail = (self._head + self._queued) % self._ring_frames
            count = min(self._ring_frames - self._queued, len(payload) // _FRAME_BYTES)
        first = min(count, self._ring_frames - tail)
        low, middle, high = tail * _FRAME_BYTES, first * _FRAME_BYTES, count * _FRAME_BYTES
        self._ring[low : low + middle] = payload[:middle]
        if high > middle:
            self._ring[: high - middle] = payload[middle:high]
        with self._lock:
            self._queued += count
            self._ending = False
        self._written += count
        return high

    def _fade(self, count: int) -> None:
        """Shape the next `count` frames by half a raised cosine, from full to nothing."""
        import numpy as np

        ring = np.frombuffer(self._ring, dtype=np.float32)
        where = (self._head + np.arange(count)) % self._ring_frames
        ring[where] *= 0.5 * (1 + np.cos(np.linspace(0, np.pi, count, dtype=np.float32)))

    async def _room(self, wanted: int) -> None:
        """Wait until so many frames are free, or the device is lost (then SoundLost)."""
        calls, seen_s = self._calls, self._loop.time()
        while True:
            self._check()
            with self._lock:
                if self._ring_frames - self._queued >= wanted:
                    return
                self._wanted = wanted
            await self._nap.rest(_STALLED_S / 2)  # the callback, which wakes us, may be dead
            self._wanted = None
            if self._calls != calls:
                calls, seen_s = self._calls, self._loop.time()
            elif not self._raw.active:
                self._lose("its stream has stopped by itself")
            elif self._loop.time() - seen_s >= _STALLED_S:
                self._lose(f"it has taken no frames for {_STALLED_S:g} s")

    # ------------------------------------------------------------ the ring, PortAudio's side

    def _callback(self, _input: Any, out: Any, frames: int, times: Any, flags: int, _extra: Any) -> int:
        with self._lock:
            self._calls += 1
            self._dac.take(_boottime_ns() + _delay_ns(times), frames)
            queued = self._queued
            if self._holding:
                enough = queued >= 2 * frames or queued == self._ring_frames or (self._ending and queued)
                if not enough:
                    self._silence_ahead = _delay_ns(times) * self._rate_hz // NS
                    self._memmove(out, self._silence, frames * _FRAME_BYTES)
                    return 0
                self._holding = False
                if self._first_sound_ns is None:
                    self._first_sound_ns = _boottime_ns() + _delay_ns(times)
            elif flags & self._underflow:
                self._underruns += 1
            self._take(out, min(queued, frames))
            if queued <= frames:
                self._run_out(out, frames, times, queued)
            if self._wanted is None or self._ring_frames - self._queued < self._wanted:
                return 0
            self._wanted = None
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._nap.wake)
        return 0

    def _run_out(self, out: Any, frames: int, times: Any, last: int) -> None:
        """The ring is empty: silence after its `last` frames, unless they just fill the period."""
        if last < frames:
            rest = last * _FRAME_BYTES
            self._buffer(out, frames * _FRAME_BYTES)[rest:] = self._silence[rest:]
            self._holding = True
            self._underruns += not self._ending
        self._sounded_ns = _boottime_ns() + _delay_ns(times) + last * NS // self._rate_hz

    def _take(self, out: Any, count: int) -> None:
        ring = self._ring
        low, high = self._head * _FRAME_BYTES, (self._head + count) * _FRAME_BYTES
        if high <= len(ring):
            self._memmove(out, ring[low:high], high - low)
        else:
            first = len(ring) - low
            target = self._buffer(out, high - low)
            target[:first] = ring[low:]
            target[first:] = ring[: high - low - first]
        self._head = (self._head + count) % self._ring_frames
        self._queued -= count
        self._taken += count


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _delay_ns(times: Any) -> int:
    """How long from now until this period's first frame reaches the converter."""
    return max(0, int((times.outputBufferDacTime - times.currentTime) * NS))
