"""Who signed is held to it: revoked at once, within scope and hours, and refused without harm to others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from edge_agent.command import keys
from edge_agent.model import Precedence
from hal.sim.loop import run
from tests.command.scene import Scene, an_order, at
from tests.entries import START, ident
from tests.signers import authority, document, key, signed

XA, HUYEN = "xa-vi-huong", "huyen-bach-thong"
BY_XA = f"{XA}-2026"
FIRST = document(authority(XA), authority(HUYEN))
WITHOUT_XA = document(authority(XA), authority(HUYEN), version=2, revoked=(BY_XA,))


def a_scene(**more: Any) -> Scene:
    scene = Scene(**more)
    scene.keys = signed(FIRST)
    return scene


# ---------------------------------------------------------------- revocation


def test_revocation_ends_at_once_what_sounds_and_what_waits() -> None:
    scene = a_scene()
    scene.router.lasts_s = 600

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"), by=(BY_XA,))
            scene.send(an_order(2, "play", issuer=HUYEN), by=(f"{HUYEN}-2026",))
            await asyncio.sleep(3)
            assert scene.states(ident(1))[-1] == "executing"
            scene.send_keys(signed(WITHOUT_XA))
            await asyncio.sleep(1)
            assert scene.last(ident(1))["state"] == "cancelled"
            assert scene.last(ident(1))["reason"]["code"] == "revoked_key"
            assert scene.states(ident(2))[-1] == "executing"
            scene.send(an_order(3, "play"), by=(BY_XA,))
            await asyncio.sleep(1)

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1), ident(2)]
    assert (ident(1), "PARTIAL") in scene.asrun()


def test_what_waited_does_not_begin() -> None:
    scene = a_scene()
    scene.router.waits_s = 60

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"), by=(BY_XA,))
            await asyncio.sleep(3)
            scene.send_keys(signed(WITHOUT_XA))
            await asyncio.sleep(90)

    run(main(), scene.counter)
    assert scene.router.begun == []
    assert scene.last(ident(1))["reason"]["code"] == "revoked_key"
    assert scene.asrun() == [(ident(1), "MISSED")]


def test_what_was_still_being_judged_does_not_begin_either() -> None:
    scene = a_scene()
    scene.router.judges_s = 1.0

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"), by=(BY_XA,))
            scene.send(an_order(2, "play"), by=(BY_XA,))
            scene.send(an_order(3, "play", issuer=HUYEN), by=(f"{HUYEN}-2026",))
            scene.send_keys(signed(WITHOUT_XA))
            scene.send(an_order(4, "stop", issuer=HUYEN, args={"order": ident(3)}), by=(f"{HUYEN}-2026",))
            await asyncio.sleep(5)
            assert {scene.last(ident(number))["state"] for number in (1, 2, 3)} == {"cancelled"}
            assert scene.last(ident(1))["reason"]["code"] == "revoked_key"

    run(main(), scene.counter)
    assert scene.router.begun == [ident(4)]


def test_what_was_open_when_the_power_went_does_not_begin_again_under_newer_keys() -> None:
    scene = a_scene()
    scene.router.lasts_s = 600
    order = an_order(1, "play", precedence=Precedence.EMERGENCY, expires_at=START + timedelta(days=1))

    async def main() -> None:
        life = asyncio.create_task((await scene.inbox()).life())
        await asyncio.sleep(2)
        scene.send(order, by=(BY_XA,))
        await asyncio.sleep(3)
        await scene.power_cut(life)
        scene.clock.reboot()
        scene.keys = signed(WITHOUT_XA)
        async with scene.running(connect_s=90):
            pass

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)]
    assert scene.last(ident(1))["state"] == "cancelled"
    assert scene.last(ident(1))["reason"]["code"] == "revoked_key"


def test_a_key_that_retires_takes_nothing_back_but_orders_no_more() -> None:
    scene = a_scene()
    scene.router.lasts_s = 20
    retired = document(authority(XA, keys=(key(BY_XA, status="retired"),)), version=2)

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"), by=(BY_XA,))
            await asyncio.sleep(3)
            scene.send_keys(signed(retired))
            scene.send(an_order(2, "play"), by=(BY_XA,))
            await asyncio.sleep(30)

    run(main(), scene.counter)
    assert scene.router.whole == [ident(1)]


# ---------------------------------------------------------------- answers


def test_a_refusal_with_a_good_signature_is_journalled_and_answered_once() -> None:
    scene = a_scene()
    far = an_order(1, "play", audience=("n:thon-4",))
    late = an_order(2, "play", issued_at=START - timedelta(2), expires_at=START - timedelta(1))
    again = replace(an_order(3, "play"), seq=2)

    async def main() -> None:
        async with scene.running():
            for order in (far, late, again):
                scene.send(order, by=(BY_XA,))
            await asyncio.sleep(3)

    run(main(), scene.counter)
    codes = {number: scene.last(ident(number))["reason"]["code"] for number in (1, 2, 3)}
    assert codes == {1: "wrong_audience", 2: "expired", 3: "replayed"}
    assert scene.ledger() == dict.fromkeys((ident(1), ident(2), ident(3)), "rejected")
    assert len(scene.asrun()) == 3
    assert scene.router.begun == []


def test_refused_orders_of_a_lesser_key_leave_emergencies_their_place() -> None:
    lesser = authority(HUYEN, max_class="routine")
    scene = Scene(ledger_rows_max=1000)
    scene.keys = signed(document(authority(XA), lesser))

    async def main() -> None:
        async with scene.running():
            for number in range(1, 2011):
                claim = an_order(number, "ping", issuer=HUYEN, precedence=Precedence.EMERGENCY)
                scene.send(claim, by=(f"{HUYEN}-2026",))
                if number % 10 == 0:
                    await asyncio.sleep(1)
            await asyncio.sleep(5)
            assert len(scene.ledger()) == 1000
            true = an_order(3000, "play", precedence=Precedence.EMERGENCY, expires_at=at(scene, 60))
            scene.send(true, by=(BY_XA,))
            await asyncio.sleep(5)
            assert scene.last(ident(3000))["state"] == "successful"

    run(main(), scene.counter)


def test_ids_cannot_be_burnt_in_advance() -> None:
    scene = a_scene()

    async def main() -> None:
        async with scene.running():
            for _ in range(40):
                scene.send(an_order(1, "play"), by=("stranger",))
            await asyncio.sleep(2)
            assert scene.ledger() == {}
            assert scene.states() == []
            scene.send(an_order(1, "play"), by=(BY_XA,))
            await asyncio.sleep(3)
            assert scene.states(ident(1))[-1] == "successful"
            said = len(scene.states())
            for _ in range(40):
                scene.send(an_order(1, "play"), by=("stranger",))
            await asyncio.sleep(5)
            assert set(scene.states()[said:]) == {"successful"}, "the stored state is told again"
            assert len(scene.states()) - said <= 22, "now and then"
            assert "unknown_key 80" not in str(scene.alert("rejected_orders")), "an alert changes seldom"
            assert "unknown_key" in str(scene.alert("rejected_orders"))

    run(main(), scene.counter)
    assert scene.router.begun == [ident(1)]


def test_only_its_issuer_may_replace_an_order() -> None:
    scene = a_scene()
    scene.router.lasts_s = 30

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play", issuer=HUYEN), by=(f"{HUYEN}-2026",))
            await asyncio.sleep(3)
            scene.send(an_order(2, "play", supersedes=ident(1)), by=(BY_XA,))
            scene.send(an_order(3, "play", supersedes=ident(4)), by=(BY_XA,))
            await asyncio.sleep(1)
            scene.send(an_order(4, "play", issuer=HUYEN), by=(f"{HUYEN}-2026",))
            await asyncio.sleep(60)

    run(main(), scene.counter)
    assert scene.last(ident(2))["reason"]["code"] == "out_of_scope"
    assert scene.router.whole == [ident(1), ident(3), ident(4)]


def test_keys_that_expire_soon_raise_an_alert_until_younger_ones_are_there() -> None:
    scene = Scene()
    soon = key(BY_XA, expires=START + timedelta(days=20))
    scene.keys = signed(document(authority(XA, keys=(soon,))))

    async def main() -> None:
        async with scene.running():
            await asyncio.sleep(5)
            assert f"{BY_XA} (2026-12-13)" in str(scene.alert("key_expiring"))
            scene.send_keys(signed(document(authority(XA, keys=(soon, key("xa-2027"))), version=2)))
            await asyncio.sleep(5)
            assert scene.alert("key_expiring") is None

    run(main(), scene.counter)


def test_an_authority_is_not_heard_outside_its_hours_though_it_was_accepted_within() -> None:
    """START is seven in the morning in Viet Nam."""
    scene = Scene()
    scene.router.waits_s = 120
    until = keys.Hours(begin="05:00", to="07:01")
    scene.keys = signed(document(authority(XA, hours=(until,))))

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "play"), by=(BY_XA,))
            await asyncio.sleep(200)

    run(main(), scene.counter)
    assert scene.router.begun == []
    assert scene.last(ident(1))["reason"]["code"] == "out_of_scope"


def test_what_a_bench_showed_unsigned_is_taken_down_where_nobody_is_believed() -> None:
    scene = Scene()

    async def main() -> None:
        async with scene.running():
            scene.send(an_order(1, "board_show"))
            await asyncio.sleep(3)
            assert scene.ledger() == {ident(1): "successful"}
            assert scene.router.withdrawn == []
        for file in (signed(FIRST), b"not a document"):
            scene.keys, scene.router.closing = file, False
            async with scene.running():
                await asyncio.sleep(3)
                assert scene.router.withdrawn.pop() == ident(1)

    run(main(), scene.counter)
