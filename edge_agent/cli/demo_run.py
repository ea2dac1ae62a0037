"""Plays the demo: starts broker, media server and node, sends the orders, watches until all is over.

The node is a process of its own, started as anybody would start it; the demo knows only what it
publishes and what its virtual hardware kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from edge_agent.catalogue import Language
from edge_agent.cli import demo_stage as stage
from edge_agent.cli.demo_scene import Scene
from edge_agent.cli.posting import Address, make
from edge_agent.command.envelope import Order, seal
from edge_agent.command.topics import order_topic
from edge_agent.model import TERMINAL, OrderState, Precedence
from hal.linux.broker import MqttBroker
from hal.linux.clock import SystemClock
from hal.ports import BrokerSession, Connect, Message

NODE: Final = "thon-ban-cau"
ROOT: Final = "pa/v1"
TICK_S: Final = 0.125
HEARD_BEFORE_ALARM_S: Final = 6.0
READY_WITHIN_S: Final = 20.0
CURTAIN_S: Final = 70.0
"""When a programme that is still going is stopped: the demo ends in under 90 s."""
LAST_CALL_S: Final = 80.0


@dataclass(slots=True, kw_only=True)
class Play:
    """What is played and what became of it."""

    out: Path
    bulletin: Path
    alarm: Path
    titles: dict[str, str] = field(default_factory=dict)
    """Order id -> what the audience calls it."""
    order_of: dict[str, str] = field(default_factory=dict)
    """`notice`, `bulletin`, `alarm` -> order id."""
    headline: str = ""
    stopped_early: bool = False
    agent_exit: int | None = None
    elapsed_s: float = 0.0

    @property
    def sim_dir(self) -> Path:
        """Where the virtual hardware keeps what happened."""
        return self.out / "sim"


Draw = Callable[[Scene, Play], None]


async def perform(play: Play, draw: Draw) -> Scene:
    """The whole play. Raises stage.PropMissing, BrokerError, TimeoutError."""
    scene = Scene(play.sim_dir)
    clock = SystemClock(always_synced=True)
    begun_ns = clock.monotonic_ns()
    async with AsyncExitStack() as stack:
        port = stack.enter_context(stage.broker(play.out))
        media_url = stack.enter_context(stage.media_server(play.out / "media"))
        agent = _start_agent(play, port)
        stack.callback(stage.stop, agent)
        session = await stack.enter_async_context(
            MqttBroker(f"mqtt://127.0.0.1:{port}").session(Connect(client_id="demo", clean_start=True))
        )
        await session.subscribe(f"{ROOT}/{NODE}/up/#")
        listener = asyncio.create_task(_listen(session, scene), name="listener")
        stack.callback(listener.cancel)

        def tick() -> None:
            play.elapsed_s = (clock.monotonic_ns() - begun_ns) / 1e9
            scene.look()
            draw(scene, play)
            if agent.poll() is not None:
                raise stage.PropMissing(
                    f"the node ended with code {agent.returncode}; see {play.out / 'agent.log'}"
                )

        await _story(play, scene, session, media_url, tick)
        play.agent_exit = await asyncio.to_thread(stage.stop, agent)
        scene.look()
    return scene


async def _story(
    play: Play, scene: Scene, session: BrokerSession, media_url: str, tick: Callable[[], None]
) -> None:
    """The plot, act by act."""
    post = _Post(play, session, media_url)
    play.headline = "Nút khởi động / the node starts"
    await _until(lambda: scene.online, tick, within_s=READY_WITHIN_S)
    play.headline = "Thông báo và bản tin / a notice and a bulletin"
    await post.order("notice", "board_show", {"text": stage.NOTICE, "ttl_s": 600}, Precedence.ROUTINE)
    await post.play("bulletin", play.bulletin, Precedence.ROUTINE)
    await _until(lambda: _sounds(scene), tick, within_s=30)
    heard_from = play.elapsed_s
    await _until(
        lambda: play.elapsed_s - heard_from >= HEARD_BEFORE_ALARM_S or post.over(scene, "bulletin"), tick
    )
    play.headline = "Khẩn cấp chen ngang / an emergency cuts in"
    await post.play("alarm", play.alarm, Precedence.EMERGENCY)
    await _until(lambda: post.over(scene, "alarm"), tick)
    play.headline = "Bản tin tiếp tục / the bulletin resumes"
    await _until(lambda: post.over(scene, "bulletin") or play.elapsed_s > CURTAIN_S, tick)
    if not post.over(scene, "bulletin"):
        play.stopped_early = True
        await post.order("stop", "stop", {"order": play.order_of["bulletin"]}, Precedence.ROUTINE)
    await _until(lambda: all(post.over(scene, part) for part in play.order_of), tick)
    play.headline = "Ampli tắt / the amplifier goes off"
    await _until(lambda: scene.amplifier == "OFF" and post.reported(scene), tick)
    play.headline = "Hết / the end"
    tick()


class _Post:
    """Sends the demo's orders and knows which have ended."""

    def __init__(self, play: Play, session: BrokerSession, media_url: str) -> None:
        self._play = play
        self._session = session
        self._media_url = media_url

    async def play(self, part: str, file: Path, precedence: Precedence) -> None:
        digest = await asyncio.to_thread(stage.digest_of, file)
        args = {"media": digest, "url": f"{self._media_url}/{file.name}", "title": part}
        await self.order(part, "play", args, precedence)

    async def order(self, part: str, verb: str, args: dict[str, Any], precedence: Precedence) -> None:
        order: Order = make(verb, args, _address(precedence), SystemClock(always_synced=True).utc_now())
        self._play.order_of[part] = order.id
        self._play.titles[order.id] = f"{part} ({verb}, {precedence.wire})"
        await self._session.publish(
            Message(
                topic=order_topic(ROOT, verb=verb, node=NODE, group=None),
                payload=seal(order),
                expiry_s=300,
                correlation=order.id.encode(),
            )
        )

    def over(self, scene: Scene, part: str) -> bool:
        """Whether this part's order is in a final state."""
        states = scene.states.get(self._play.order_of[part], [])
        return bool(states) and OrderState(states[-1]) in TERMINAL

    def reported(self, scene: Scene) -> bool:
        """Whether the as-run entry of everything that was played or shown has come."""
        return all(self._play.order_of[part] in scene.asrun for part in ("notice", "bulletin", "alarm"))


def _address(precedence: Precedence) -> Address:
    return Address(
        broker="", node=NODE, group=None, root=ROOT, issuer="xa-vi-huong", username=None, password_file=None,
        ca_file=None, cert_file=None, key_file=None, expires=timedelta(minutes=5), precedence=precedence, id=None,
        wait=False, wait_s=None, language=Language.VI,
    )  # fmt: skip


async def _listen(session: BrokerSession, scene: Scene) -> None:
    """Take what the node publishes, and acknowledge its reports as a server would."""
    acknowledged = 0
    while True:
        delivery = await session.receive()
        session.acknowledge(delivery)
        scene.said(delivery.topic, delivery.payload)
        upto, log = scene.reported
        if upto > acknowledged:
            acknowledged = upto
            payload = json.dumps({"upto": upto, "log": log}).encode()
            await session.publish(Message(topic=f"{ROOT}/{NODE}/dn/ack", payload=payload))


async def _until(
    happened: Callable[[], bool], tick: Callable[[], None], *, within_s: float = LAST_CALL_S
) -> None:
    """Look eight times a second until it has happened. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while True:
            tick()
            if happened():
                return
            await asyncio.sleep(TICK_S)


def _sounds(scene: Scene) -> bool:
    return scene.amplifier == "LIVE" and scene.level_dbfs > -50


def _start_agent(play: Play, port: int) -> subprocess.Popen[bytes]:
    config = play.out / "node.toml"
    config.write_text(
        f'[node]\nid = "{NODE}"\nname = "Thôn Bản Cáu"\ngroups = ["xa-vi-huong"]\n\n'
        f'[broker]\nurl = "mqtt://127.0.0.1:{port}"\n\n'
        '[amplifier]\npower = {offset = 17}\nmute = {offset = 27}\n'
        'zones = {"nha-van-hoa" = {offset = 5}, "cho" = {offset = 6}}\n\n'
        '[sense]\nstatus_led = {offset = 22}\n',
        encoding="utf-8",
    )  # fmt: skip
    command = [
        *(sys.executable, "-m", "edge_agent", "run", "--config", str(config)),
        *("--hardware", "sim", "--sim-dir", str(play.sim_dir)),
    ]
    with (play.out / "agent.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"})  # noqa: S603


def set_stage(out: Path, programme: Path | None) -> Play:
    """Make the output directory and the programmes. Raises stage.PropMissing, FileNotFoundError."""
    media = out / "media"
    media.mkdir(parents=True, exist_ok=True)
    alarm = media / "khan-cap.mp3"
    stage.speak(stage.EMERGENCY, alarm)
    if programme is None:
        bulletin = media / "ban-tin.mp3"
        stage.speak(stage.BULLETIN, bulletin)
    else:
        bulletin = media / f"programme{programme.suffix}"
        shutil.copyfile(programme, bulletin)
    return Play(out=out, bulletin=bulletin, alarm=alarm)
