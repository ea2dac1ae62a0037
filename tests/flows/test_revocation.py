"""A stolen key: from the moment its revocation arrives nothing of it sounds, waits or is shown."""

from __future__ import annotations

import asyncio

import msgspec

from hal.ports import Message
from hal.sim.loop import NS
from tests import signers
from tests.flows.alert_scene import flood, village_with
from tests.flows.conftest import Programme
from tests.flows.scene import COMMUNE, DISTRICT, NODE, ROOT, Village

REVOKED = signers.document(
    signers.authority(COMMUNE, f"{COMMUNE}-2026", f"{COMMUNE}-2027"),
    signers.authority(DISTRICT),
    version=2,
    revoked=(f"{COMMUNE}-2026",),
)


def revoke(village: Village) -> None:
    topic = f"{ROOT}/{NODE}/dn/desired/keys"
    village.world.broker.server_publish(Message(topic=topic, payload=signers.signed(REVOKED), retain=True))


def test_what_sounds_falls_silent_what_waits_stays_away_what_is_shown_is_taken_down(
    village: Village, bulletin: Programme, notice: Programme, short: Programme
) -> None:
    speaking, waiting, honest = bulletin.on(village), notice.on(village), short.on(village)

    async def story() -> None:
        shown = village.order("board_show", text="Họp thôn 19h30", ttl_s=3600)
        first = village.play(speaking)
        await village.reaches(first, "executing")
        second = village.play(waiting)
        other = village.play(honest, issuer=DISTRICT)
        await village.reaches(shown, "successful")
        await asyncio.sleep(2)
        assert village.world.sign.current.lit
        said_ns = village.world.clock.monotonic_ns()
        revoke(village)
        assert await village.ends(first, second) == ["cancelled"] * 2
        assert {village.code(order) for order in (first, second)} == {"revoked_key"}
        await asyncio.sleep(5)
        assert village.world.sign.current.kind == "blank"
        assert await village.ends(other) == ["successful"]
        loud = village.world.lives()[0].loud
        assert len(loud) == 2, "the revoked programme, and the honest one"
        assert loud[0][1] - said_ns < 0.5 * NS, "silent within half a second"
        late = village.play(speaking)
        await asyncio.sleep(30)
        assert village.told(late) == []
        assert late not in village.ledger(), "the order of a revoked key is not even written"

    village.tell(story)
    reported = msgspec.json.decode(village.world.broker.retained[f"{ROOT}/{NODE}/up/reported/keys"].payload)
    assert (reported["status"], reported["in_force"]) == ("applied", 2)


def test_an_alert_whose_sound_was_stopped_leaves_the_board_too() -> None:
    village = village_with()

    async def story() -> None:
        alert = flood(village)
        await village.reaches(alert, "executing")
        await asyncio.sleep(10)
        village.order("stop", issuer=DISTRICT)
        assert await village.ends(alert) == ["cancelled"]
        await asyncio.sleep(5)
        assert village.world.sign.current.lit, "a stop by class is for what sounds"
        revoke(village)
        await asyncio.sleep(10)
        assert not village.world.sign.current.lit

    village.tell(story)


def test_a_notice_of_a_revoked_key_does_not_come_back_after_a_power_cut(village: Village) -> None:
    async def story() -> None:
        shown = village.order("board_show", text="Họp thôn 19h30", ttl_s=86_400)
        await village.reaches(shown, "successful")
        await village.world.outage()
        await asyncio.sleep(60)
        assert village.world.sign.current.lit, "an honest one does"
        village.world.broker.partition("lost")
        revoke(village)
        await village.world.outage()
        village.world.broker.heal()
        await asyncio.sleep(400)
        assert village.world.sign.current.kind == "blank"
        await village.world.outage()
        await asyncio.sleep(60)
        assert not village.world.sign.current.lit

    village.tell(story)


def test_a_revocation_that_came_while_the_node_was_off_ends_what_begins_again(
    village: Village, bulletin: Programme
) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        urgent = village.play(asset, "emergency", good_for_s=3600)
        await village.reaches(urgent, "executing")
        await village.world.stop()
        revoke(village)
        village.start()
        await asyncio.sleep(2)
        await village.ends(urgent)
        assert village.code(urgent) == "revoked_key"

    village.tell(story)
