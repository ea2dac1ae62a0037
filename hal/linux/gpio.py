"""GPIO lines through gpiozero: lgpio on a Raspberry Pi, any other pin factory when one is given.

Facts about gpiozero 2.0 and lgpio 0.2 that this leans on:
- `LGPIOPin` becomes an output at LOW and is set to its first state afterwards, which on an
  active-low relay is a short ACTIVE; `_LinePin` claims it with its state in one kernel call.
- Factories for local pins share one table of pins, so line 5 of chip 2 would be line 5 of chip 0;
  `_LineFactory` has its own.
- `import lgpio` makes a FIFO in the working directory and needs it no longer once both ends are
  open; a hardened service may not write where it stands, so the import happens in a temporary one.
- Edges arrive on lgpio's own thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hal.errors import LineError

if TYPE_CHECKING:
    from hal.ports import LineSpec

_log = logging.getLogger(__name__)

_PULLS = {"none": None, "up": True, "down": False}


class GpiozeroLines:
    """The GPIO chips. With `pin_factory` every chip is served by that one factory (tests); without,
    by an lgpio factory a chip, opened at the first line of it."""

    def __init__(self, pin_factory: Any = None) -> None:
        self._given = pin_factory
        self._factories: dict[int, Any] = {}
        self._owned: dict[tuple[int, int], str] = {}
        self._outputs: list[GpiozeroOutput] = []
        self._inputs: list[GpiozeroInput] = []

    def output(self, spec: LineSpec) -> GpiozeroOutput:
        with self._requesting(spec):
            from gpiozero import DigitalOutputDevice

            device = DigitalOutputDevice(
                spec.offset,
                active_high=not spec.active_low,
                initial_value=False,
                pin_factory=self._factory(spec.chip),
            )
            line = GpiozeroOutput(spec.name, device)
        self._outputs.append(line)
        return line

    def input(self, spec: LineSpec) -> GpiozeroInput:
        with self._requesting(spec):
            from gpiozero import InputDevice

            assert spec.pull in _PULLS
            pull_up = _PULLS[spec.pull]
            device = InputDevice(
                spec.offset,
                pull_up=pull_up,
                active_state=not spec.active_low if pull_up is None else None,
                pin_factory=self._factory(spec.chip),
            )
            line = GpiozeroInput(spec.name, device, active_low=spec.active_low)
        self._inputs.append(line)
        return line

    def close(self) -> None:
        for line in self._outputs:
            line.release()
        for watched in self._inputs:
            watched.release()
        for factory in self._factories.values():
            with contextlib.suppress(*_faults()):
                factory.close()
        self._outputs.clear()
        self._inputs.clear()
        self._factories.clear()
        self._owned.clear()

    def _factory(self, chip: int) -> Any:
        if self._given is not None:
            return self._given
        if chip not in self._factories:
            self._factories[chip] = _lgpio_factory(chip)
        return self._factories[chip]

    @contextlib.contextmanager
    def _requesting(self, spec: LineSpec) -> Any:
        """Own the line, or leave everything as it was and say why not."""
        place = (spec.chip, spec.offset)
        if place in self._owned:
            raise LineError(
                f"line {spec.name} cannot be had: offset {spec.offset} of gpiochip{spec.chip} already "
                f"belongs to line {self._owned[place]}; give each line its own offset"
            )
        try:
            yield
        except ImportError as error:
            raise LineError(
                f"line {spec.name} cannot be had: {error}; install gpiozero and lgpio (pip where it has a "
                f"wheel, else apt install python3-gpiozero python3-lgpio and a venv that sees them)"
            ) from error
        except _faults() as error:
            raise LineError(
                f"line {spec.name} (offset {spec.offset} of gpiochip{spec.chip}) cannot be had: "
                f"{error or type(error).__name__}; check the chip and offset, that no other program holds "
                f"the line, and that this user is in group gpio"
            ) from error
        self._owned[place] = spec.name


class GpiozeroOutput:
    """A line that we drive."""

    def __init__(self, name: str, device: Any) -> None:
        self.name = name
        self._device = device
        self._active = False

    def set(self, *, active: bool) -> None:
        try:
            if active:
                self._device.on()
            else:
                self._device.off()
        except _faults() as error:
            raise LineError(f"line {self.name} cannot be driven: {error}") from error
        self._active = active

    def active(self) -> bool:
        return self._active

    def release(self) -> None:
        """Drive INACTIVE and give the line back. Never raises."""
        self._active = False
        try:
            self._device.off()
            self._device.close()
        except _faults() as error:
            _log.warning(
                "A line could not be driven inactive at its release. line=%s error=%s", self.name, error
            )


class GpiozeroInput:
    """A line that we read. Edges come on gpiozero's thread and wake the loop only when somebody waits."""

    def __init__(self, name: str, device: Any, *, active_low: bool) -> None:
        self.name = name
        self._device = device
        self._active_low = active_low
        self._lock = threading.Lock()
        self._edge = False
        self._closed = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        device.pin.edges = "both"
        device.pin.when_changed = self._changed  # gpiozero keeps it weakly; this object lives in its Lines

    def active(self) -> bool:
        if self._closed:
            raise LineError(f"line {self.name} is closed")
        try:
            return bool(self._device.pin.state) != self._active_low
        except _faults() as error:
            raise LineError(f"line {self.name} cannot be read: {error}") from error

    async def wait_change(self) -> bool:
        loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                if self._edge or self._closed:
                    self._edge = False
                    break
                assert self._waiter is None, "one waiter a line"
                future = loop.create_future()
                self._waiter = (loop, future)
            try:
                await future
            finally:
                with self._lock:
                    self._waiter = None
        return self.active()

    def release(self) -> None:
        """Give the line back; whoever waits gets LineError. Never raises."""
        self._closed = True
        self._wake()
        with contextlib.suppress(*_faults()):
            self._device.pin.when_changed = None
            self._device.close()

    def _changed(self, _ticks: object, _state: object) -> None:
        self._edge = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            loop, future = waiter
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(_finish, future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _faults() -> tuple[type[Exception], ...]:
    """What gpiozero, lgpio and the kernel raise for faults of the world (lgpio's error has no useful base)."""
    faults: list[type[Exception]] = [OSError, ImportError]
    if (gpiozero := sys.modules.get("gpiozero")) is not None:
        faults.append(gpiozero.GPIOZeroError)
    if (lgpio := sys.modules.get("lgpio")) is not None:
        faults.append(lgpio.error)
    return tuple(faults)


def _import_lgpio() -> Any:
    if "lgpio" not in sys.modules:
        here = Path.cwd()
        with tempfile.TemporaryDirectory(prefix="lgpio-") as place:
            os.chdir(place)
            try:
                import lgpio  # noqa: F401 - for its side effect, here
            finally:
                os.chdir(here)
    return sys.modules["lgpio"]


def _lgpio_factory(chip: int) -> Any:
    """An lgpio factory for one chip, with its own pins and without a blip (see the module's facts)."""
    lgpio = _import_lgpio()
    from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin

    class _LinePin(LGPIOPin):  # type: ignore[misc]  # gpiozero has no types
        def output_with_state(self, state: bool) -> None:  # noqa: FBT001 - gpiozero's signature
            lgpio.gpio_claim_output(self.factory._handle, self._number, int(state))  # noqa: SLF001 - gpiozero has no public way

    class _LineFactory(LGPIOFactory):  # type: ignore[misc]  # gpiozero has no types
        def __init__(self) -> None:
            super().__init__(chip=chip)
            self.pins: dict[Any, Any] = {}
            self._reservations: dict[Any, list[Any]] = defaultdict(list)
            self._res_lock = threading.Lock()
            self.pin_class = _LinePin

    return _LineFactory()
