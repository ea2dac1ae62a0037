"""One simulated world: a node's doors, what stands behind them, and everything that happened, from one seed.

A test tells a story in virtual time and then lets the world judge it:

    world = World(seed=7, schemas=SCHEMAS)

    async def story() -> None:
        world.start(run_agent)              # a process on the node: `async def run_agent(hardware)`
        world.broker.server_publish(...)
        await asyncio.sleep(30)
        await world.outage(dark_s=20)       # the power goes and comes; the process is started again

    world.run(story())
    world.check()                           # AssertionError naming every violation, and the seed

A *process* lives from `start` (or from the world's beginning) to its end. Its doors are its own: when
it is killed or the power goes they are dead for whatever of it still runs, and the next process gets
new ones on the same durable state. Two clocks tell the time: `clock` is the node's (it starts again
with each boot), `outside` is everybody else's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Self, TypeVar

from hal.ports import Hardware
from hal.sim import checkers
from hal.sim.board_line import VirtualSerial
from hal.sim.checkers import AmplifierRule
from hal.sim.clock import VirtualClock
from hal.sim.database import VirtualDatabase
from hal.sim.datagram import VirtualDatagrams
from hal.sim.disk import VirtualDisk
from hal.sim.judge import judge
from hal.sim.loop import NS
from hal.sim.node import Doors, Life, Network
from hal.sim.sign import AlphaSign
from hal.sim.surroundings import Surroundings
from hal.sim.webcast import VirtualWebcasts

T = TypeVar("T")

Agent = Callable[[Hardware], Coroutine[Any, Any, Any]]


class World:
    """See the module. `rule` tells the checkers of the amplifier's lines and times; the attributes `card`,
    `line_in`, `heard`, `lines`, `serial`, `control`, `disk`, `database` and `supervisor` are those of the living process."""

    def __init__(
        self,
        *,
        seed: int,
        schemas: Sequence[str] = (),
        rule: AmplifierRule | None = None,
        disk_bytes: int = 8 << 30,
        battery: bool = True,
        drift_ppm: float = 0.0,
        line_in: bool = False,
        watchdog_s: float | None = 60.0,
        address: str = "10.0.0.2",
        name: str = "",
        around: Surroundings | None = None,
    ) -> None:
        self.seed = seed
        self.rule = rule or AmplifierRule()
        self.name = name
        """The node's, where there are several at one broker."""
        self._around = around = around or Surroundings(seed=seed)
        self.counter, self.outside = around.counter, around.outside
        self.broker, self.web_server, self.udp = around.broker, around.web_server, around.udp
        self.stations = around.stations
        self.clock = VirtualClock(self.counter)
        self.address = address
        """Where the node is in it."""
        self.sign = AlphaSign()
        self.disk = VirtualDisk(clock=self.clock, capacity_bytes=disk_bytes, rng=self.rng("disk"))
        self.database = VirtualDatabase(schemas)
        self.database.watch("ledger", key="id", column="state")
        self.past: list[Life] = []
        self.story: list[str] = []
        """What befell the world, for whoever reads a violation."""
        self.ended: list[str] = []
        """How processes that are started again ended by themselves."""
        self.sign_restarts: list[int] = []
        """When the sign lost its power, in the outside's ns."""
        self.line_cuts: list[int] = []
        """When the serial line may have been cut in mid-frame, in the outside's ns."""
        self.noted: list[str] = []
        """Violations that were seen as they happened."""
        self.turns: list[tuple[int, int, int]] = []
        """(from ns, to ns, precedence) of audible programmes, for a test that knows them."""
        self._battery = battery
        self._drift_ppm = drift_ppm
        self._line_in = line_in
        """Whether the node has an input."""
        self._watchdog_s = watchdog_s
        self._powered = True
        self._number = 0
        self._used = False
        self._agent: Agent | None = None
        self._restart_s: float | None = None
        self._systemd: asyncio.Task[None] | None = None
        self._main: asyncio.Task[Any] | None = None
        self._plug()

    def rng(self, name: str) -> random.Random:
        """A generator of this world's own, the same for the same seed and name."""
        return self._around.rng(f"{self.name}/{name}" if self.name else name)

    # ---------------------------------------------------- running

    def run(self, main: Coroutine[Any, Any, T], *, limit_s: float | None = None) -> T:
        """Run a story to its end; then stop the process, if one lives, and note who is left.

        Raises TimeoutError after `limit_s` of virtual time. Deadlock (nothing can ever happen) and
        Livelock end this world.
        """
        return self._around.run(main, finish=self.finish, noted=self.noted, limit_s=limit_s)

    def start(self, agent: Agent, *, restart_s: float | None = None) -> asyncio.Task[Any]:
        """Start a process on the node: `agent(hardware)`, and whatever tasks it makes.

        With `restart_s` it is started again so long after it ends by itself, as systemd would; how it
        ended is then kept in `ended`, for the test to judge. Without, ending with an error is a violation.
        """
        assert self._powered, "the power is off"
        assert self._main is None or self._main.done(), "one process at a time"
        self._agent, self._restart_s = agent, restart_s
        main = self._begin(agent)
        if restart_s is not None:
            self._systemd = asyncio.create_task(self._restart(agent, restart_s), name="systemd")
        return main

    async def stop(self) -> None:
        """Tell the process to stop, as systemd does, and see that it leaves nothing behind."""
        self._dismiss()
        main, self._main = self._main, None
        if main is None:
            return
        if not main.done():
            self.note(f"process {self._number} is told to stop")
            main.cancel()
        await self._bury(self._number, "does not stop")
        self.supervisor.stopping()
        if self._restart_s is None:
            self._note_end(main)
        self._note_left_behind()

    async def crash(self, *, pause_s: float = 1.0) -> None:
        """The process is killed (-9), and the process is started again."""
        await self._end_hard(pause_s=pause_s, power=False)

    async def outage(self, *, dark_s: float = 5.0) -> None:
        """The power goes and comes back; the process, if one lived, is started again."""
        await self._end_hard(pause_s=dark_s, power=True)

    def power_off(self) -> None:
        """Every door of the node is dead; the process is torn down as it unwinds."""
        assert self._powered
        self.note("the power goes")
        self._powered = False
        self._unplug(killed=False)
        self._dismiss()
        self._around.cancel(self._number)

    def power_on(self, *, dark_s: float = 0.0) -> None:
        """A new boot, after `dark_s` in which nothing happens anywhere."""
        assert not self._powered
        self._powered = True
        self.clock.reboot(dark_s=dark_s, battery=self._battery)
        self.restart_sign()
        self.note("the power comes")
        self._plug()

    def power_cut(self, *, dark_s: float = 5.0) -> None:
        """Off and on between two runs; within a story `await outage()`."""
        self.power_off()
        self.power_on(dark_s=dark_s)

    def restart_sign(self) -> None:
        """The sign alone loses its power for a moment, and forgets everything."""
        self.sign_restarts.append(self.outside.monotonic_ns())
        self.sign.power_cycle(self.sign_restarts[-1])

    def neighbour(self, address: str) -> VirtualDatagrams:
        """UDP at another address of the network: a sender, a relay, a stranger who floods."""
        return VirtualDatagrams(self.outside, self.udp, address)

    def pull_serial(self, *, out: bool = True) -> None:
        """Pull the serial adapter's plug, or put it in again."""
        self.serial.missing = out
        if out:
            self.line_cuts.append(self.outside.monotonic_ns())

    def close(self) -> None:
        """End the event loop. A world that is just forgotten does it, too."""
        self._around.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------- judging

    def violations(self) -> list[str]:
        """Every sentence of every checker, so far."""
        return judge(self)

    def lives(self) -> tuple[Life, ...]:
        """What each process has done, the living one last."""
        return (*self.past, self._life())

    def check(self) -> None:
        """Raise AssertionError when anything was violated."""
        found = self.violations()
        if found:
            story = "\n".join(f"  {line}" for line in self.story)
            listed = "\n".join(f"  - {sentence}" for sentence in found)
            raise AssertionError(f"World(seed={self.seed}) was violated:\n{listed}\nWhat befell it:\n{story}")

    # ---------------------------------------------------- doors

    def _plug(self) -> None:
        """New doors for a new process, on the same durable state."""
        self._number = self._around.next_process()
        self._used = False
        self._doors = doors = Doors(
            clock=self.clock,
            serial=VirtualSerial(self.outside, self.sign),
            network=Network(self.broker, self.web_server),
            datagrams=VirtualDatagrams(self.clock, self.udp, self.address),
            webcasts=VirtualWebcasts(self.stations),
            disk=self.disk,
            database=self.database,
            drift_ppm=self._drift_ppm,
            line_in=self._line_in,
            watchdog_s=self._watchdog_s,
            seed=self.seed,
        )
        self.hardware = doors.hardware
        self.heard, self.card, self.lines = doors.heard, doors.card, doors.lines
        self.serial, self.supervisor = doors.serial, doors.supervisor
        self.control = doors.control
        self.speech = doors.speech
        self.line_in = doors.line_in

    def _unplug(self, *, killed: bool) -> None:
        """Keep what happened, and kill the doors. `killed`: only the process ends, not the machine."""
        self.past.append(self._life())
        self.pull_serial()
        self._doors.die(killed=killed)
        self.disk = self.disk.reborn(killed=killed)
        self.database = self.database.reborn()

    def _life(self) -> Life:
        return self._doors.life(f"{self.clock.boot_id()}, process {self._number}")

    # ---------------------------------------------------- processes

    async def finish(self) -> None:
        """The story is over: stop the process, and note what it leaves behind."""
        await self.stop()
        self._note_left_behind()

    def _begin(self, agent: Agent) -> asyncio.Task[Any]:
        """A new process, on new doors unless nobody has used these."""
        if self._used:
            self._unplug(killed=True)
            self._around.cancel(self._number)
            self._plug()
        self._used = True
        self.note(f"process {self._number} starts")
        self._main = self._around.begin(self._number, agent(self.hardware))
        return self._main

    async def _restart(self, agent: Agent, restart_s: float) -> None:
        """What systemd does with Restart=always."""
        while (main := self._main) is not None:
            await asyncio.wait((main,))
            if main is not self._main or main.cancelled():
                return
            how = "in order" if main.exception() is None else repr(main.exception())
            self.ended.append(how)
            self.note(f"process {self._number} ended by itself: {how}")
            await asyncio.sleep(restart_s)
            self._begin(agent)

    def _dismiss(self) -> None:
        if self._systemd is not None:
            self._systemd.cancel()
            self._systemd = None

    async def _end_hard(self, *, pause_s: float, power: bool) -> None:
        number, main, agent, restart_s = self._number, self._main, self._agent, self._restart_s
        running = main is not None and (restart_s is not None or not main.done())
        self._dismiss()
        self._main = None
        if power:
            self.power_off()
        else:
            self.note(f"process {number} is killed")
            self._unplug(killed=True)
            self._around.cancel(number)
        if main is not None and not running:
            self._note_end(main)
        ends_ns = self.counter.ns + int(pause_s * NS)
        await self._bury(number, "outlives its process")
        await asyncio.sleep(max(0, ends_ns - self.counter.ns) / NS)
        if power:
            self.power_on()
        else:
            self._plug()
        if running:
            assert agent is not None
            self.start(agent, restart_s=restart_s)

    async def _bury(self, number: int, verdict: str) -> None:
        """Wait for a process's tasks to unwind; who does not is a violation."""
        self.noted += [f"Task {name} {verdict}." for name in await self._around.bury(number)]

    def _note_end(self, main: asyncio.Task[Any]) -> None:
        if main.done() and not main.cancelled() and (error := main.exception()) is not None:
            self.noted.append(f"Process {self._number} crashed: {error!r}")

    def _note_left_behind(self) -> None:
        if not self._powered:
            return
        found = checkers.nothing_left("file", self.disk.left_open())
        found += [f"The line {name} was left ACTIVE." for name in self._doors.left_active()]
        self.noted += [sentence for sentence in found if sentence not in self.noted]

    def note(self, what: str) -> None:
        """Put what befalls the world into its story, with the time."""
        self.story.append(f"{self.counter.ns / NS:.3f} s: {what}")
