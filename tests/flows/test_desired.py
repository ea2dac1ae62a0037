"""Desired documents of a whole node: media by night, settings on trial, a board, a stick, the server's time."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from edge_agent.command import time_answer
from edge_agent.command.envelope import wrap
from edge_agent.model import LOCAL_TIME
from hal.ports import Message
from tests import desires, signers
from tests.flows.conftest import Programme, noise
from tests.flows.scene import COMMUNE, KEYS, NODE, ROOT, Asset, Village

SERVER = "may-chu"


def held(village: Village) -> set[str]:
    return {
        str(digest)
        for (digest,) in village.world.database.rows("SELECT digest FROM asset WHERE quarantined IS NULL")
    }


def media(*assets: Asset, **more: Any) -> dict[str, Any]:
    return {"assets": [{"media": a.digest, "url": a.url, "size": len(a.blob)} | more for a in assets]}


async def until_local(village: Village, hour: int, minute: int = 0) -> None:
    now = village.world.outside.utc_now().astimezone(LOCAL_TIME)
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    then += timedelta(days=1) if then <= now else timedelta()
    await asyncio.sleep((then - now).total_seconds())


def test_media_are_fetched_by_night_urgent_ones_at_once_and_kept(
    village: Village, notice: Programme, alarm: Programme
) -> None:
    calm, urgent = notice.on(village), alarm.on(village)

    async def story() -> None:
        await until_local(village, 12)
        body = {"assets": [*media(calm)["assets"], *media(urgent, urgent=True)["assets"]]}
        await village.applied("media", body)
        await asyncio.sleep(1_200)
        assert held(village) == {urgent.digest}
        await until_local(village, 5, 30)
        assert held(village) == {calm.digest, urgent.digest}

    village.tell(story, limit_s=200_000)


def test_a_file_that_is_not_there_is_asked_for_once_a_day(village: Village, notice: Programme) -> None:
    asset = notice.on(village)
    village.world.web_server.put(asset.url, b"", status=404)

    async def story() -> None:
        await village.applied("media", media(asset, urgent=True))
        await asyncio.sleep(40_000)

    village.tell(story, limit_s=200_000)
    asked = [one for one in village.world.web_server.requests if one.url == asset.url]
    assert 1 <= len(asked) <= 2


def test_a_rotten_file_is_found_slowly_and_fetched_anew(village: Village, notice: Programme) -> None:
    asset = notice.on(village)

    async def story() -> None:
        await village.applied("media", media(asset, urgent=True))
        await village.until(lambda: asset.digest in held(village), within_s=600)
        path = next(iter(village.world.disk.image()))
        village.world.disk._platter.files[path] = b"\0" * len(asset.blob)
        await asyncio.sleep(2 * 86_400)
        assert village.world.disk.image()[path] == asset.blob

    village.tell(story, limit_s=400_000)


def test_a_media_document_that_can_never_fit_is_refused(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.desire("media", media(asset, size=1 << 50))
        await village.until(lambda: village.up("reported/media"))
        said = village.reported("media")
        assert (said["status"], said["code"]) == ("rejected", "no_space")

    village.tell(story)


def test_settings_are_tried_and_stay_when_a_session_stands(village: Village) -> None:
    village.may_end = ("in order",)

    async def story() -> None:
        village.desire("config", {"settings": {"report": {"health_period_s": 60.0}}})
        await village.until(
            lambda: village.up("reported/config") and village.reported("config")["status"] == "applied"
            and len(village.world.past) > 0, within_s=120,
        )  # fmt: skip
        before = len(village.up("health"))
        await asyncio.sleep(600)
        assert len(village.up("health")) - before >= 9
        await village.restart()
        before = len(village.up("health"))
        await asyncio.sleep(600)
        assert len(village.up("health")) - before >= 9, "they are kept"
        assert village.up("state")[-1]["have"]["config"] == 1

    village.tell(story)


def test_settings_without_a_session_are_taken_back_within_five_minutes(village: Village) -> None:
    village.may_end = ("in order",)

    async def story() -> None:
        village.desire("config", {"settings": {"report": {"health_period_s": 60.0}}})
        await village.until(lambda: len(village.world.past) > 0, within_s=60)
        village.world.broker.partition("lost")
        await asyncio.sleep(330)
        assert len(village.world.past) == 2, "the trial has ended"
        village.world.broker.heal()
        await village.until(lambda: village.reported("config")["status"] == "rejected", within_s=900)
        assert village.reported("config")["code"] == "timeout"
        lives = len(village.world.past)
        await village.restart()
        await asyncio.sleep(400)
        assert len(village.world.past) == lives + 1, "what has failed is not tried again"

    village.tell(story)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"governor": {"quiet_hours": []}}, "$.settings.governor"),
        ({"trust": {"keys_file": "/tmp/x"}}, "$.settings.trust"),
        ({"broker": {"ca_file": "/tmp/x"}}, "$.settings.broker.ca_file"),
        ({"report": {"health_period_s": 1}}, "$.settings.report.health_period_s"),
        ({"report": {"nothing": 1}}, "$.settings.report.nothing"),
        ({"broker": {"url": "http://x"}}, "$.settings.broker.url"),
    ],
)
def test_what_protects_the_village_is_not_set_from_afar(
    village: Village, settings: dict[str, Any], path: str
) -> None:
    async def story() -> None:
        village.desire("config", {"settings": settings})
        await village.until(lambda: village.up("reported/config"))
        said = village.reported("config")
        assert said["status"] == "rejected"
        assert said["errors"][0]["path"] == path

    village.tell(story)


def lit(village: Village) -> bool:
    return bool(village.world.sign.current.lit)


def test_a_board_document_stands_until_its_end_or_the_next_one(village: Village) -> None:
    async def story() -> None:
        now = village.world.outside.utc_now()
        one = {"id": "hop", "text": "Họp 19h30", "to": (now + timedelta(minutes=30)).isoformat()}
        await village.applied("board", {"items": [one]})
        await asyncio.sleep(120)
        assert lit(village)
        await asyncio.sleep(1_800)
        assert not lit(village)
        await village.applied("board", {"items": [{"id": "nghi", "text": "Nghỉ học"}]})
        await asyncio.sleep(60)
        assert lit(village)
        await village.restart()
        await asyncio.sleep(60)
        assert lit(village)
        await village.applied("board", {"items": []})
        await asyncio.sleep(60)
        assert not lit(village)
        assert [entry["verb"] for entry in village.stored()] == ["board"] * 3, (
            "once more for what stood after the restart"
        )

    village.tell(story)


def ask(village: Village, **asked: Any) -> Any:
    return village.world.control.say(json.dumps(asked).encode() + b"\n")


def test_a_stick_brings_what_is_signed_and_what_a_document_wants(
    village: Village, notice: Programme, alarm: Programme
) -> None:
    wanted, stranger = notice.on(village), alarm.on(village)

    async def story() -> None:
        village.world.broker.partition("lost")
        now = village.world.outside.utc_now()
        paper = desires.document(
            "media", media(wanted), version=1, issuer=COMMUNE, audience=(f"n:{NODE}",), issued_at=now
        )
        forged = desires.document(
            "schedule", {"rules": []}, version=1, issuer=COMMUNE, audience=(f"n:{NODE}",), issued_at=now,
            kids=("stranger",),
        )  # fmt: skip
        disk = village.world.disk
        for name, blob in (
            ("a.json", paper),
            ("b.json", forged),
            ("c.wav", wanted.blob),
            ("d.wav", stranger.blob),
        ):
            await disk.write_atomic(f"import/{name}", blob)
        answer = msgspec.json.decode(await ask(village, do="import"))
        assert [(one["name"], one["done"]) for one in answer["files"]] == [
            ("a.json", "applied"), ("b.json", "refused"), ("c.wav", "kept"), ("d.wav", "refused"),
        ]  # fmt: skip
        assert held(village) == {wanted.digest}
        assert not [path for path in disk.image() if path.startswith("import/")]

    village.tell(story)


def tell_time(village: Village, **changes: Any) -> None:
    """The server answers the last question for the time."""
    asked = next(one for one in reversed(village.up("ask")) if one["want"] == ["time"])
    form = {
        "v": 1, "iss": SERVER, "node": NODE, "nonce": asked["nonce"], "now": village.world.outside.utc_now().isoformat(),
    } | changes  # fmt: skip
    blob = wrap(time_answer.PAYLOAD_TYPE, json.dumps(form).encode(), [signers.signer(f"{SERVER}-2026")])
    village.world.broker.server_publish(Message(topic=f"{ROOT}/{NODE}/dn/time", payload=blob))


def test_the_server_s_signed_time_is_believed_once_and_for_its_nonce(
    village: Village, short: Programme
) -> None:
    server = signers.authority(SERVER, verbs=("time",), max_class="routine")
    village.keys = signers.signed(msgspec.structs.replace(KEYS, authorities=(*KEYS.authorities, server)))
    asset = short.on(village)

    async def story() -> None:
        village.world.clock.lose()
        village.start()
        await asyncio.sleep(2)
        assert village.up("state")[-1]["clock"]["quality"] == "unknown"
        tell_time(village, nonce="0" * 32)
        tell_time(village, now=datetime(2030, 1, 1, tzinfo=UTC).isoformat(), iss=COMMUNE)
        await asyncio.sleep(1)
        bare = village.play(asset)
        assert await village.ends(bare) == ["rejected"]
        tell_time(village)
        await asyncio.sleep(1)
        order = village.play(asset)
        assert await village.ends(order) == ["successful"]
        wall = datetime.fromisoformat(village.told(order)[-1]["wall"])
        assert abs((wall - village.world.outside.utc_now()).total_seconds()) < 10
        await village.until(
            lambda: village.world.database.rows("SELECT 1 FROM run WHERE offset_ms > 0"), within_s=4_000
        )

    village.tell(story, starts=False)


def test_what_sounds_is_kept_although_the_cellar_is_full(village: Village) -> None:
    village.settings = msgspec.structs.replace(
        village.settings, cache=msgspec.structs.replace(village.settings.cache, quota_mib=16)
    )
    wanted = noise("can.wav", 60, seed=5).on(village)

    async def story() -> None:
        await village.applied("media", media(wanted, urgent=True))
        await village.until(lambda: wanted.digest in held(village), within_s=600)
        for number in range(4):
            order = village.play(noise(f"khac-{number}.wav", 50, seed=9 + number).on(village), good_for_s=900)
            await village.ends(order)
        assert wanted.digest in held(village)
        await village.restart()
        assert wanted.digest in held(village)

    village.tell(story)


def test_a_file_that_is_not_there_is_not_asked_for_with_each_look_at_the_schedule(
    village: Village, notice: Programme, alarm: Programme
) -> None:
    gone, there = notice.on(village), alarm.on(village)
    village.world.web_server.put(gone.url, b"", status=404)

    async def story() -> None:
        await until_local(village, 6)
        now = village.world.outside.utc_now().astimezone(LOCAL_TIME)
        rules = [{"id": "mat", "at": ["23:00"], "programme": [{"media": gone.digest, "url": gone.url}]}]
        for hours in range(27, 36, 2):
            then = now + timedelta(hours=hours)
            part = {"media": f"sha256:{hours:064d}", "url": f"{there.url}.{hours}"}
            rules.append(
                {
                    "id": f"r{hours}",
                    "at": [f"{then:%H:%M}"],
                    "dates": [f"{then:%Y-%m-%d}"],
                    "programme": [part],
                }
            )
        await village.applied("schedule", {"rules": rules})
        await asyncio.sleep(12 * 3_600)

    village.tell(story, limit_s=200_000)
    asked = [one for one in village.world.web_server.requests if one.url == gone.url]
    assert len(asked) == 1


def test_what_is_on_the_board_stays_while_the_clock_is_in_doubt(village: Village) -> None:
    async def story() -> None:
        now = village.world.outside.utc_now()
        one = {"id": "hop", "text": "Họp 19h30", "to": (now + timedelta(hours=3)).isoformat()}
        await village.applied("board", {"items": [one]})
        await asyncio.sleep(120)
        assert lit(village)
        village.world.clock.step(1_000)
        await asyncio.sleep(120)
        assert lit(village)
        village.world.clock.step(-1_000)
        await asyncio.sleep(1_200)
        assert village.stored() == [], "it has stood all the time"
        await village.restart()
        assert [entry["verb"] for entry in village.stored()] == ["board"]

    village.tell(story)


def test_a_board_document_that_names_other_boards_or_hosts_is_taken_and_warned_of(village: Village) -> None:
    async def story() -> None:
        now = village.world.outside.utc_now()
        lent = {"boards": ["main"], "from": now.isoformat(), "to": (now + timedelta(hours=1)).isoformat()}
        items = [
            {"id": "a", "text": "Họp", "boards": ["main", "bang-la"]},
            {"id": "b", "feed": {"url": "https://la.vn/rss"}},
        ]
        await village.applied("board", {"items": items, "requisitions": [lent]})
        warned = {one["path"]: one["message"] for one in village.reported("board")["warnings"]}
        assert set(warned) == {"$.items[0].boards", "$.items[1].feed.url", "$.requisitions[0].boards"}
        assert "bang-la" in warned["$.items[0].boards"]
        assert "main" in warned["$.items[0].boards"]

    village.tell(story)
