"""PortAudio in this process: loaded at its first use, devices found by name, streams started and stopped.

Facts about PortAudio that this leans on:
- It lists the devices once, at `Pa_Initialize`. A card that was plugged in later is seen only after
  terminate and initialize, which may not happen while a stream is open; it is done here when
  /proc/asound says that something changed, after a device was lost, and when one is not found or
  does not open.
- To make the list it opens every device that ALSA's configuration names. Some of Debian's plugins cost
  14 MiB and a tenth of a second when they are asked, so this process reads `alsa.conf` beside this file
  (docs/decisions/0191), unless ALSA_CONFIG_PATH says already what to read.
- Everything here may block: tens of ms as a rule, for ever when a device (or a sound server) hangs
  in the kernel. So it runs on daemon threads that may be left behind, never on the loop's executor.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from hal.errors import SoundLost, SoundMissing
from hal.nap import Nap

_log = logging.getLogger(__name__)

_BUSY_S = 5.0
_LET_GO_S = 2.0
Kind = Literal["output", "input"]
_ALSA_CONFIG = Path("/usr/share/alsa/alsa.conf")
"""What ours includes."""


class OpenDevice(ABC):
    """What an open output and an open input share: how it begins and ends on another thread, its one waiter, its loss."""

    kind: Kind
    """Which way it goes."""
    called: str
    """What it is called in a sentence."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._raw: Any = None
        self._nap = Nap()
        self._beginning = threading.Lock()
        self._started = False
        self._abandoned = False
        self.closing = False
        """`close` has begun; whoever opens the device now waits for its end."""
        self.fault: str | None = None
        """Why the device is lost, or None."""

    async def start(self, device: str | None) -> None:
        """Open it. Raises SoundMissing. Cancelled, the device is free again."""
        try:
            await on_thread(lambda: LIBRARY.start(self, device))
        except asyncio.CancelledError:
            if self._abandon():
                await self.close()
            raise

    def begin(self, sounddevice: Any, device: str | None) -> Any:
        """Find, open and start it with this library; returns its stream. Raises SoundMissing, PortAudioError."""
        self._raw = self._opened(sounddevice, find(sounddevice, device, self.kind))
        try:
            self._raw.start()
        except sounddevice.PortAudioError:
            self._raw.close()
            raise
        return self._raw

    def keep(self) -> bool:
        """The starting thread asks: is it still wanted, now that it runs?"""
        with self._beginning:
            self._started = True
            return not self._abandoned

    @abstractmethod
    async def close(self) -> None:
        """See the port."""

    @abstractmethod
    def _opened(self, sounddevice: Any, index: int) -> Any:
        """Sounddevice's stream on the device of that index, not yet started."""

    def _abandon(self) -> bool:
        """Nobody waits for it any more; True when it runs already and wants to be closed."""
        with self._beginning:
            self._abandoned = True
            return self._started

    async def _let_go(self) -> None:
        """Stop and close it, gently if it works; one that hangs is left behind."""
        stopping = asyncio.ensure_future(
            on_thread(lambda: LIBRARY.stop(self._raw, gently=self.fault is None))
        )
        if not (await asyncio.wait([stopping], timeout=_LET_GO_S))[0]:
            LIBRARY.forsake()
            _log.error("The %s does not let itself be closed; replug it and restart the node.", self.called)

    def _lose(self, why: str) -> None:
        if self.fault is None and not self.closing:
            self.fault = why
            _log.warning("The %s failed while it was open. why=%s", self.called, why)
            self._nap.wake()

    def _check(self) -> None:
        """Raises SoundLost."""
        if self.fault is not None:
            raise SoundLost(
                f"the {self.called} failed while it was open: {self.fault}; check its plug and power"
            )

    def _finished(self) -> None:
        """PortAudio's thread: the stream has become inactive, by our stop or by itself."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._lose, "its stream has stopped by itself")


class Library:
    """One lock around PortAudio, which is not made for two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sounddevice: Any = None
        self._streams = 0
        self._seen: str | None = None
        """What the kernel said when the list was made; None: it may be old in any case."""

    def sees(self, device: str | None, *, otherwise: bool) -> bool:
        """Whether the device is on the list; `otherwise` while another thread is busy with PortAudio."""
        if not self._lock.acquire(blocking=False):
            return otherwise
        try:
            find(self._fresh(), device)
        except SoundMissing:
            return False
        finally:
            self._lock.release()
        return True

    def start(self, stream: OpenDevice, device: str | None) -> None:
        """Open a stream, a second time with a fresh list when the first fails. Raises SoundMissing."""
        if not self._lock.acquire(timeout=_BUSY_S):
            raise SoundMissing("PortAudio hangs in a device that does not answer; replug it and restart")
        try:
            sounddevice = self._fresh()
            try:
                raw = stream.begin(sounddevice, device)
            except (SoundMissing, sounddevice.PortAudioError):
                if self._streams == 0:
                    self._renew()
                raw = self._start_again(stream, device)
            if stream.keep():
                self._streams += 1
            else:
                raw.abort(ignore_errors=True)
                raw.close(ignore_errors=True)
        finally:
            self._lock.release()

    def stop(self, raw: Any, *, gently: bool) -> None:
        """End a stream, gently when what PortAudio holds shall still sound. Never raises."""
        with self._lock:
            (raw.stop if gently else raw.abort)(ignore_errors=True)
            raw.close(ignore_errors=True)
            self._streams -= 1
            if not gently:
                self._seen = None

    def forsake(self) -> None:
        """A device hangs: do not let it hang the end of the process too."""
        if self._sounddevice is not None:
            atexit.unregister(self._sounddevice._exit_handler)  # noqa: SLF001 - it has no public name

    def _start_again(self, stream: OpenDevice, device: str | None) -> Any:
        sounddevice = self._sounddevice
        try:
            return stream.begin(sounddevice, device)
        except sounddevice.PortAudioError as error:
            raise SoundMissing(
                f"{stream.kind} device {device or 'default'!r} cannot be opened: {error}; end whatever "
                f"holds it and check that it can do 48 kHz. {_present(sounddevice, stream.kind)}"
            ) from error

    def _fresh(self) -> Any:
        if self._sounddevice is None:
            seen = _sound_cards()
            _leave_out_what_is_no_loudspeaker()
            try:
                import sounddevice
            except (OSError, ImportError) as error:
                raise SoundMissing(
                    f"PortAudio cannot be loaded: {error}; install it (apt install libportaudio2)"
                ) from error
            self._sounddevice = sounddevice
            self._seen = seen
        elif self._streams == 0 and self._seen != _sound_cards():
            self._renew()
        return self._sounddevice

    def _renew(self) -> None:
        self._seen = _sound_cards()
        self._sounddevice._terminate()  # noqa: SLF001 - sounddevice has no public way to look again
        self._sounddevice._initialize()  # noqa: SLF001 - see above


LIBRARY = Library()


def _leave_out_what_is_no_loudspeaker() -> None:
    """Have ALSA read our configuration in this process, if it can."""
    ours = Path(__file__).with_name("alsa.conf")
    if "ALSA_CONFIG_PATH" in os.environ or not _ALSA_CONFIG.exists():
        return
    os.environ["ALSA_CONFIG_PATH"] = str(ours)
    try:
        understood = ctypes.CDLL("libasound.so.2").snd_config_update() >= 0
    except (OSError, AttributeError):
        return  # no ALSA: PortAudio will say so better
    if not understood:
        del os.environ["ALSA_CONFIG_PATH"]


async def on_thread(work: Callable[[], None]) -> None:
    """Run `work` on a daemon thread of its own, so that one that hangs hangs nothing else."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def run() -> None:
        fault: BaseException | None = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, fault)

    threading.Thread(target=run, name="portaudio", daemon=True).start()
    await ended


def find(sounddevice: Any, name: str | None, kind: Kind = "output") -> int:
    """The index of the device of that name. Raises SoundMissing, which lists what there is.

    None is the default device; a name is matched exactly, else as a part (in any case) of one name.
    """
    if name is None:
        try:
            return int(sounddevice.query_devices(kind=kind)["index"])
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SoundMissing(
                f"there is no default {kind} device; plug one in. {_present(sounddevice, kind)}"
            ) from error
    there = [(int(device["index"]), str(device["name"])) for device in _devices(sounddevice, kind)]
    matches = [index for index, present in there if present == name]
    if not matches:
        matches = [index for index, present in there if name.casefold() in present.casefold()]
    if len(matches) == 1:
        return matches[0]
    fault = f"several {kind} devices are" if matches else f"no {kind} device is"
    key = "sound.device" if kind == "output" else "sound.input"
    raise SoundMissing(
        f"{fault} called {name!r}; plug it in, or set {key} to one of these. {_present(sounddevice, kind)}"
    )


def _devices(sounddevice: Any, kind: Kind) -> list[Any]:
    return [device for device in sounddevice.query_devices() if device[f"max_{kind}_channels"] > 0]


def _present(sounddevice: Any, kind: Kind) -> str:
    names = [repr(str(device["name"])) for device in _devices(sounddevice, kind)]
    return f"Present: {', '.join(names) or f'no {kind} device at all'}."


def _sound_cards() -> str:
    """What the kernel says of its sound cards; changes when one comes or goes."""
    texts = []
    for path in (Path("/proc/asound/cards"), Path("/proc/asound/pcm")):
        with contextlib.suppress(OSError):
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
    return "\n".join(texts)
