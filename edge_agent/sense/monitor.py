"""The room's thread of life: watches the inputs, drives the status light.

A stop button stops what sounds at once, without asking anyone, and keeps it silent for a while, but for
new emergencies. Mains, tamper and amplifier
fault become alerts, which are durable: once felt, they are reported even if the line lets go.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from edge_agent.model import NS, Finished, Issuer, OrderId, OrderState, Precedence, Stop
from edge_agent.playout.channel import Channel
from edge_agent.playout.silent import SilentChannel
from edge_agent.playout.stops import by_hand
from edge_agent.report.alerts import Alerts
from edge_agent.report.outbox import Outbox
from edge_agent.router import Router
from edge_agent.sense.conditions import Conditions
from edge_agent.sense.light import PATTERN, condition
from edge_agent.sense.settings import Meaning, SenseSettings
from hal.errors import HalError
from hal.ports import Clock, InputLine, Lines, OutputLine

log = logging.getLogger(__name__)

_RETRY_S = 30.0

_ALERTS = {
    Meaning.TAMPER: ("tamper", True, "The box is open. If nobody of ours is at it, go and look."),
    Meaning.AMP_FAULT: (
        "amp_fault",
        True,
        "The amplifier reports a fault. Check its load, its cooling and its supply.",
    ),
    Meaning.MAINS: ("mains_lost", False, "The mains are gone; the node runs on its battery."),
}
"""Meaning -> alert id, the level that raises it, and what it says."""


class Monitor:
    """Watches the box for as long as `life` runs."""

    def __init__(
        self,
        *,
        settings: SenseSettings,
        clock: Clock,
        lines: Lines,
        router: Router,
        channel: Channel | SilentChannel,
        outbox: Outbox,
        alerts: Alerts,
        conditions: Conditions,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lines = lines
        self._router = router
        self._channel = channel
        self._outbox = outbox
        self._alerts = alerts
        self._conditions = conditions

    async def life(self) -> None:
        """Watch the conditions and every input and keep the light going, each in its own task, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._conditions.watch(), name="conditions")
            for name, spec in self._settings.inputs.items():
                group.create_task(self._watch(name, spec.meaning), name=f"input {name}")
            if self._settings.status_led is not None:
                group.create_task(self._shine(), name="status light")

    async def _watch(self, name: str, meaning: Meaning) -> None:
        line: InputLine | None = None
        silent = False
        while True:
            try:
                if line is None:
                    line = self._lines.input(self._settings.inputs[name].spec(name))
                    await self._felt(meaning, active=line.active(), at_start=True)
                await self._felt(meaning, active=await self._settled_change(line), at_start=False)
                silent = False
            except HalError as error:
                if not silent:
                    log.warning("An input line cannot be read. line=%s error=%s", name, error)
                silent = True
                await asyncio.sleep(_RETRY_S)

    async def _settled_change(self, line: InputLine) -> bool:
        """Wait for a change that holds for the debounce time; return the level it settled at."""
        before = line.active()
        while True:
            await line.wait_change()
            while True:
                level = line.active()
                try:
                    async with asyncio.timeout(self._settings.debounce_ms / 1000):
                        await line.wait_change()
                except TimeoutError:
                    break
            if level != before:
                return level

    async def _felt(self, meaning: Meaning, *, active: bool, at_start: bool) -> None:
        if meaning is Meaning.STOP_BUTTON:
            if active and not at_start:
                await self._stop()
            return
        alert, raises, text = _ALERTS[meaning]
        if active == raises:
            await self._alerts.raised(alert, text)
        else:
            await self._alerts.solved(alert)

    async def _stop(self) -> None:
        now = self._clock.monotonic_ns()
        intent = Stop(
            id=OrderId(f"button-{self._clock.boot_id()[:8]}-{now}"),
            issuer=Issuer("local-button"),
            precedence=Precedence.EMERGENCY,
            deadline_ns=now + 5 * NS,
        )
        for part in by_hand(intent, now_ns=now, for_s=self._settings.button_stop_s, spares_emergencies=True):
            async with aclosing(self._router.carry_out(part)) as steps:
                async for step in steps:
                    if isinstance(step, Finished) and step.state is not OrderState.SUCCESSFUL:
                        log.warning("The button's stop is not kept. reason=%s", step.asrun.reason)
        log.info("The stop button was pressed. silent_for_s=%d", self._settings.button_stop_s)

    async def _shine(self) -> None:
        """Keep the light going; a light that cannot be had costs one warning, never the node."""
        silent = False
        led: OutputLine | None = None
        while True:
            try:
                if led is None:
                    led = self._led()
                await self._one_cycle(led)
                silent = False
            except HalError as error:
                if not silent:
                    log.warning("The status light cannot be driven. error=%s", error)
                silent = True
                await asyncio.sleep(_RETRY_S)

    def _led(self) -> OutputLine:
        spec = self._settings.status_led
        assert spec is not None
        return self._lines.output(spec.spec("status_led"))

    async def _one_cycle(self, led: OutputLine) -> None:
        now = condition(
            faults=len(self._alerts.standing),
            online=self._outbox.draining,
            sounding=self._channel.sounding,
        )
        for light, seconds in PATTERN[now]:
            if light != led.active():
                led.set(active=light)
            await asyncio.sleep(seconds)
