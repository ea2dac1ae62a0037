"""The sound input through PortAudio (python-sounddevice): 48 kHz mono float32 from a bounded queue.

Facts about PortAudio that this leans on (more in `hal.linux.portaudio`):
- The callback runs on PortAudio's own thread, every 20 ms here; it makes the channels one and hands them on under a
  lock that nobody holds for longer than that. It wakes the loop only when somebody waits.
- The callback is the only sign of life: a pulled plug or a hanging sound server may end it without a word.
- While one stream is open the list of devices is not made anew. So an input that is plugged in while a programme
  sounds is seen only when the programme is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from hal.errors import SoundMissing
from hal.linux.portaudio import OpenDevice

if TYPE_CHECKING:
    from hal.ports import Frames


RATE_HZ = 48_000
WAITING_MAX = 24_000
"""Frames that may wait to be read."""
_PERIOD_FRAMES = 960
_LATENCY_S = 0.1
_STALLED_S = 3.0


class PortAudioInput:
    """One input device by name: exact, or a part of it that fits one device only."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._capture: PortAudioCapture | None = None
        self._opening = False

    async def open(self) -> PortAudioCapture:
        if self._opening or (self._capture is not None and not self._capture.closing):
            raise SoundMissing("the sound input is open already; close its capture first")
        capture = PortAudioCapture(asyncio.get_running_loop())
        self._opening = True
        try:
            await capture.start(self._device)
        finally:
            self._opening = False
        self._capture = capture
        return capture


class PortAudioCapture(OpenDevice):
    """An open input. PortAudio's thread puts into the queue, the loop takes from it."""

    kind = "input"
    called = "sound input"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._lock = threading.Lock()
        # shared between both threads, under the lock
        self._queue: deque[Frames] = deque()
        self._waiting = 0
        self._calls = 0
        self._wanted = False
        self.discarded = 0

    # ------------------------------------------------------------ the port

    async def read(self) -> Frames:
        calls, seen_s = self._calls, self._loop.time()
        while True:
            assert not self.closing, "a closed capture hears nothing"
            with self._lock:
                found = self._taken()
                self._wanted = found is None
            if found is not None:
                return found
            self._check()
            if self._calls != calls:
                calls, seen_s = self._calls, self._loop.time()
            elif self._loop.time() - seen_s >= _STALLED_S:
                self._lose(f"nothing has come from it for {_STALLED_S:g} s")
                continue
            await self._nap.rest(max(seen_s + _STALLED_S - self._loop.time(), 0))

    async def close(self) -> None:
        if self.closing:
            return
        self.closing = True
        await self._let_go()

    def _opened(self, sounddevice: Any, index: int) -> Any:
        channels = min(2, int(sounddevice.query_devices(index)["max_input_channels"]))
        return sounddevice.InputStream(
            samplerate=RATE_HZ,
            blocksize=_PERIOD_FRAMES,
            device=index,
            channels=channels,
            dtype="float32",
            latency=_LATENCY_S,
            callback=self._heard,
            finished_callback=self._finished,
        )

    # ------------------------------------------------------------ the queue

    def _taken(self) -> Frames | None:
        """All that waits, as one; the lock is held."""
        import numpy as np

        if not self._queue:
            return None
        found = self._queue[0] if len(self._queue) == 1 else np.concatenate(self._queue)
        self._queue.clear()
        self._waiting = 0
        return found

    def _heard(self, block: Any, frames: int, _times: Any, _flags: Any) -> None:
        """PortAudio's thread: the next block, whose array is PortAudio's."""
        mono = block.mean(axis=1) if block.shape[1] > 1 else block[:, 0].copy()
        with self._lock:
            self._calls += 1
            room = min(frames, WAITING_MAX - self._waiting)
            self.discarded += frames - room
            if room:
                self._queue.append(mono[:room])
                self._waiting += room
            wanted, self._wanted = self._wanted, False
        if wanted:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._nap.wake)
