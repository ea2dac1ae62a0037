"""Doors open as the config says, each real or virtual on its own, and close in reverse."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from edge_agent import agent
from edge_agent.config import Settings, parse, with_state_dir
from edge_agent.doors import open_doors
from hal.errors import DatabaseError
from hal.linux.line_in import PortAudioInput
from hal.linux.serial import SerialDevice
from hal.linux.sound import PortAudioCard
from hal.ports import Hardware, LineSpec
from hal.sim.gpio import VirtualLines
from hal.sim.line_in import VirtualLineIn
from hal.sim.sound import VirtualCard
from hal.sim.speech import VirtualSpeech

pytestmark = pytest.mark.realtime

CONFIG = '[node]\nid = "thon-1"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'


def settings_for(tmp_path: Path, *overrides: str) -> Settings:
    return with_state_dir(parse(CONFIG, overrides, "sim"), str(tmp_path / "state"))


def opened(settings: Settings) -> Hardware:
    async def main() -> Hardware:
        async with open_doors(settings, schemas=agent.SCHEMAS) as hardware:
            return hardware

    return asyncio.run(main())


def test_hardware_sim_is_virtual_card_lines_and_a_sign_on_a_pty(tmp_path: Path) -> None:
    hardware = opened(settings_for(tmp_path))
    assert isinstance(hardware.sound, VirtualCard)
    assert isinstance(hardware.lines, VirtualLines)
    assert isinstance(hardware.serials["main"], SerialDevice)
    assert isinstance(hardware.speech, VirtualSpeech)
    assert hardware.facts == dict.fromkeys(("sound", "speech", "gpio", "board", "clock"), "sim")


def test_each_door_is_chosen_on_its_own(tmp_path: Path) -> None:
    hardware = opened(settings_for(tmp_path, "hardware.sound=linux", "hardware.board=none"))
    assert isinstance(hardware.sound, PortAudioCard)
    assert isinstance(hardware.lines, VirtualLines)
    assert not hardware.serials


def test_an_input_is_there_when_it_is_named(tmp_path: Path) -> None:
    assert opened(settings_for(tmp_path / "none")).line_in is None
    virtual = opened(settings_for(tmp_path / "virtual", "sound.input=USB Audio"))
    assert isinstance(virtual.line_in, VirtualLineIn)
    assert virtual.facts["line_in"] == "sim"
    real = opened(settings_for(tmp_path / "real", "sound.input=USB Audio", "hardware.sound=linux"))
    assert isinstance(real.line_in, PortAudioInput)


def test_what_virtual_hardware_did_is_kept_where_it_was_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        settings = settings_for(tmp_path, f"sim.dir={tmp_path / 'out'}")
        async with open_doors(settings, schemas=agent.SCHEMAS) as hardware:
            line = hardware.lines.output(LineSpec(name="zone_cho", chip=0, offset=5))
            line.set(active=True)
            hardware.lines.close()
            while not (tmp_path / "out" / "board" / "board.jsonl").exists():  # noqa: ASYNC110 - a thread makes it
                await asyncio.sleep(0.01)

    asyncio.run(main())
    lines = [json.loads(text) for text in (tmp_path / "out" / "lines.jsonl").read_text().splitlines()]
    assert [(line["line"], line["active"]) for line in lines] == [
        ("zone_cho", False),
        ("zone_cho", True),
        ("zone_cho", False),
    ]
    assert (tmp_path / "out" / "heard.wav").stat().st_size >= 44


def test_a_second_agent_on_the_same_state_is_refused_before_it_touches_anything(tmp_path: Path) -> None:
    async def main() -> None:
        settings = settings_for(tmp_path)
        async with open_doors(settings, schemas=agent.SCHEMAS) as hardware:
            stage = await hardware.disk.stage()
            await stage.write(b"half a bulletin")
            with pytest.raises(DatabaseError, match="process"):
                async with open_doors(settings, schemas=agent.SCHEMAS):
                    pass
            await stage.commit("media/whole")
            assert await hardware.disk.read("media/whole") == b"half a bulletin"

    asyncio.run(main())


def test_no_task_is_left_when_the_doors_are_closed(tmp_path: Path) -> None:
    async def main() -> set[str]:
        settings = settings_for(tmp_path, f"sim.dir={tmp_path / 'out'}")
        async with open_doors(settings, schemas=agent.SCHEMAS):
            pass
        return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert asyncio.run(main()) == set()
