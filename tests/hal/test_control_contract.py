"""The contract of `hal.ports.ControlDoor`, on the virtual door and on a Unix socket."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hal.errors import ControlError
from hal.linux.control import ANSWER_BYTES, CALLS_MAX, LINE_BYTES, LINE_WITHIN_S, SocketDoor, short_path
from hal.ports import ControlDesk, ControlDoor, Peer
from hal.sim import control as virtual
from hal.sim import loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A door, and how somebody on this machine speaks through it (b"": it hung up)."""

    door: ControlDoor
    say: Callable[[bytes], Coroutine[Any, Any, bytes]]
    me: Peer


Tell = Callable[[Callable[[Rig], Awaitable[None]]], None]


async def say_to(path: Path, sent: bytes) -> bytes:
    with short_path(path) as name:
        reader, writer = await asyncio.open_unix_connection(name)
    try:
        writer.write(sent)
        await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.fixture(params=["virtual", pytest.param("unix socket", marks=pytest.mark.realtime)])
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Tell:
    def on_the_virtual_one(story: Callable[[Rig], Awaitable[None]]) -> None:
        door = virtual.VirtualControl()
        loop.run(in_time(story, Rig(door=door, say=door.say, me=virtual.TECHNICIAN)), loop.Counter())

    def on_a_socket(story: Callable[[Rig], Awaitable[None]]) -> None:
        path = tmp_path / "run" / "control.sock"
        me = Peer(pid=os.getpid(), uid=os.getuid(), gid=os.getgid())
        rig = Rig(door=SocketDoor(path), say=lambda sent: say_to(path, sent), me=me)
        asyncio.run(in_time(story, rig))
        assert not path.exists(), "a closed door leaves nothing behind"

    return on_the_virtual_one if request.param == "virtual" else on_a_socket


async def in_time(story: Callable[[Rig], Awaitable[None]], rig: Rig) -> None:
    async with asyncio.timeout(30):
        await story(rig)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left


async def echo(desk: ControlDesk, times: int) -> list[Peer]:
    """Answer with what came."""
    peers = []
    for _ in range(times):
        call = await desk.receive()
        peers.append(call.peer)
        await call.answer(b"you said: " + call.line)
    return peers


def test_a_line_is_answered_with_a_line(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        desk = await rig.door.open()
        answering = asyncio.create_task(echo(desk, 3))
        assert await rig.say(b"status\n") == b"you said: status\n"
        assert await rig.say(b"\n") == b"you said: \n"
        assert await rig.say("dừng\n".encode()) == "you said: dừng\n".encode()
        await answering
        await desk.close()
        await desk.close()

    tell(story)


def test_the_kernel_says_who_it_was(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        desk = await rig.door.open()
        answering = asyncio.create_task(echo(desk, 1))
        await rig.say(b'{"uid": 0, "pid": 1}\n')
        assert await answering == [rig.me]
        await desk.close()

    tell(story)


def test_the_longest_line_and_the_longest_answer_pass_and_what_is_longer_is_hung_up_on(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        desk = await rig.door.open()

        async def answer_long() -> int:
            call = await desk.receive()
            await call.answer(b"a" * ANSWER_BYTES)
            return len(call.line)

        answering = asyncio.create_task(answer_long())
        assert len(await rig.say(b"x" * LINE_BYTES + b"\n")) == ANSWER_BYTES + 1
        assert await answering == LINE_BYTES
        assert await rig.say(b"x" * (LINE_BYTES + 1) + b"\n") == b""
        assert await rig.say(b"x" * 1_000_000) == b""
        await desk.close()

    tell(story)


def test_only_one_line_of_a_connection_is_heard(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        desk = await rig.door.open()
        answering = asyncio.create_task(echo(desk, 1))
        assert await rig.say(b"one\ntwo\nthree") == b"you said: one\n"
        await answering
        await desk.close()

    tell(story)


def test_whoever_says_nothing_is_hung_up_on(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        desk = await rig.door.open()
        async with asyncio.timeout(2 * LINE_WITHIN_S):
            assert await rig.say(b"no newline") == b""
        await desk.close()

    tell(story)


def test_too_many_at_once_are_hung_up_on_and_the_others_served(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        desk = await rig.door.open()
        waiting = [asyncio.create_task(rig.say(f"{number}\n".encode())) for number in range(CALLS_MAX)]
        calls = [await desk.receive() for _ in waiting]
        assert await rig.say(b"one too many\n") == b""
        for call in reversed(calls):
            await call.answer(call.line)
        assert sorted([await said for said in waiting]) == [f"{n}\n".encode() for n in range(CALLS_MAX)]
        answering = asyncio.create_task(echo(desk, 1))
        assert await rig.say(b"again\n") == b"you said: again\n"
        await answering
        await desk.close()

    tell(story)


def test_an_answer_to_somebody_who_has_left_is_no_fault(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        desk = await rig.door.open()
        impatient = asyncio.create_task(rig.say(b"bye\n"))
        call = await desk.receive()
        impatient.cancel()
        await asyncio.wait([impatient])
        await call.answer(b"a" * ANSWER_BYTES)
        answering = asyncio.create_task(echo(desk, 1))
        assert await rig.say(b"next\n") == b"you said: next\n"
        await answering
        await desk.close()

    tell(story)


def test_closing_hangs_up_on_everybody(tell: Tell) -> None:
    async def story(rig: Rig) -> None:
        desk = await rig.door.open()
        waiting = asyncio.create_task(rig.say(b"hello\n"))
        call = await desk.receive()
        await desk.close()
        assert await waiting == b""
        await call.answer(b"too late")

    tell(story)


# ---------------------------------------------------------------- the Unix socket alone

real = pytest.mark.realtime


@real
def test_the_socket_is_for_its_group_only_and_takes_a_dead_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def story() -> None:
        first = await SocketDoor(path).open()
        second = await SocketDoor(path, group=_my_group()).open()
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_ISSOCK(path.stat().st_mode)
        answering = asyncio.create_task(echo(second, 1))
        assert await say_to(path, b"who\n") == b"you said: who\n"
        await answering
        await first.close()
        assert path.exists(), "the name is another's now"
        await second.close()

    asyncio.run(story())
    assert list(tmp_path.iterdir()) == []


@real
def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / "control.sock"

    async def story() -> None:
        desk = await SocketDoor(path).open()
        answering = asyncio.create_task(echo(desk, 1))
        assert await say_to(path, b"far\n") == b"you said: far\n"
        await answering
        await desk.close()

    asyncio.run(story())


@real
@pytest.mark.parametrize("group", [None, "no-such-group-here"])
def test_a_socket_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path, group: str | None) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "control.sock" if group is None else tmp_path / "control.sock"
    with pytest.raises(ControlError, match=r"control\.sock"):
        asyncio.run(SocketDoor(path, group=group).open())
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def _my_group() -> str:
    import grp

    return grp.getgrgid(os.getgid()).gr_name
