"""A node lives by its schedule: with and without network, over power cuts and steps of the clock, and says what it did."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from edge_agent.command.documents import Pointer
from edge_agent.model import LOCAL_TIME
from hal.ports import Message
from tests import signers
from tests.flows import hearing
from tests.flows.conftest import Programme
from tests.flows.scene import COMMUNE, DISTRICT, NODE, ROOT, SETTINGS, Asset, Village


def local(village: Village) -> datetime:
    """The true time, in Vietnam."""
    return village.world.outside.utc_now().astimezone(LOCAL_TIME)


def in_minutes(village: Village, minutes: int) -> str:
    """A time of day so many whole minutes from now."""
    return f"{local(village) + timedelta(minutes=minutes):%H:%M}"


def rule(name: str, at: str, *assets: Asset, **more: Any) -> dict[str, Any]:
    programme = [{"media": asset.digest, "url": asset.url} for asset in assets]
    return {"id": name, "at": [at], "programme": programme} | more


def turns(village: Village) -> dict[str, dict[str, Any]]:
    """The as-run entries of scheduled turns, by rule."""
    return {entry["id"].partition("@")[0]: entry for entry in village.stored() if entry["verb"] == "schedule"}


def test_a_turn_sounds_at_its_time_without_a_network(village: Village, notice: Programme) -> None:
    asset = notice.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("ban-tin", in_minutes(village, 20), asset)]})
        await asyncio.sleep(120)  # fetched ahead: it is needed within a day
        village.world.broker.partition("lost")
        village.world.web_server.put(asset.url, b"gone", status=404)
        await asyncio.sleep(25 * 60)
        entry = turns(village)["ban-tin"]
        assert entry["outcome"] == "AIRED"
        assert entry["issuer"] == "xa-vi-huong"
        planned, started = (datetime.fromisoformat(entry[key]) for key in ("planned", "started"))
        assert planned.second == 0
        assert timedelta(0) <= started - planned < timedelta(seconds=6)
        village.world.broker.heal()
        await village.until(village.reports, within_s=900)
        assert village.reports()[-1] == entry

    village.tell(story)
    hearing.whole(hearing.recording(village.world.lives()[-1]), notice.frames)


def test_parts_sound_one_after_another_and_one_that_is_lacking_is_told_of(
    village: Village, notice: Programme, short: Programme
) -> None:
    first, second = notice.on(village), short.on(village)
    gone = {"media": "sha256:" + "0" * 64, "url": "http://media.example/khong-co.wav"}

    async def story() -> None:
        programme = [
            {"media": first.digest, "url": first.url},
            gone,
            {"say": "Mời bà con nghe tiếp", "language": "vi"},
            {"media": second.digest, "url": second.url},
        ]
        whole = {"id": "hai-phan", "at": [in_minutes(village, 3)], "programme": programme}
        await village.applied("schedule", {"rules": [whole]})
        await asyncio.sleep(300)
        entry = turns(village)["hai-phan"]
        assert (entry["outcome"], entry["code"]) == ("PARTIAL", "no_media")
        parts = entry["live"]["parts"]
        assert [part["part"] for part in parts] == ["1 recording", "2 recording", "3 voice", "4 recording"]
        assert [part["sounded_ms"] > 400 for part in parts] == [True, False, True, True]
        assert parts[1]["code"] == "no_media"

    village.tell(story)


def test_a_turn_is_never_played_twice_whatever_the_power_and_the_clock_do(
    village: Village, notice: Programme
) -> None:
    asset = notice.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("mot-lan", in_minutes(village, 5), asset)]})
        await village.until(lambda: village.world.card.stream is not None, within_s=400)
        await asyncio.sleep(4)
        await village.world.outage(dark_s=20)
        await asyncio.sleep(60)
        village.world.clock.step(-600)
        await asyncio.sleep(900)
        entry = turns(village)["mot-lan"]
        assert (entry["outcome"], entry["code"]) == ("PARTIAL", "interrupted")
        assert len([one for one in village.stored() if one["verb"] == "schedule"]) == 1

    village.tell(story)
    heard = sum(life.heard.frames_heard for life in village.world.lives())
    assert heard < 6 * 48_000


def test_a_turn_that_the_cut_kept_from_beginning_is_played_within_its_grace(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        at = in_minutes(village, 5)
        await village.applied(
            "schedule",
            {"rules": [rule("kip", at, asset), rule("muon", at, asset, late={"policy": "skip"})]},
        )
        await asyncio.sleep(200)
        await village.world.outage(dark_s=240)
        await asyncio.sleep(120)
        found = turns(village)
        assert found["kip"]["outcome"] == "AIRED"
        assert (found["muon"]["outcome"], found["muon"]["code"]) == ("MISSED", "interrupted")

    village.tell(story)


def test_a_jump_forward_bursts_nothing(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        rules = [rule(f"tin-{n}", in_minutes(village, 10 + 20 * n), asset) for n in range(6)]
        await village.applied("schedule", {"rules": rules})
        await asyncio.sleep(60)
        village.world.clock.sync(village.world.clock.utc_now() + timedelta(hours=3))
        await asyncio.sleep(3600)
        assert [entry["outcome"] for entry in turns(village).values()] == ["MISSED"] * 6

    village.tell(story)
    assert village.world.lives()[-1].heard.frames_heard == 0


def test_while_the_time_is_in_doubt_turns_wait_and_say_why(short: Programme) -> None:
    village = Village(battery=False)
    asset = short.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("cho", in_minutes(village, 10), asset)]})
        await asyncio.sleep(60)
        await village.world.outage(dark_s=1_800)
        await asyncio.sleep(1_200)
        assert not turns(village)
        village.world.clock.sync(village.world.outside.utc_now())
        await asyncio.sleep(120)
        entry = turns(village)["cho"]
        assert entry["outcome"] == "MISSED"
        assert entry["code"] in {"interrupted", "clock_untrusted"}

    village.tell(story)
    assert village.world.lives()[-1].heard.frames_heard == 0


def test_a_faulty_document_is_refused_with_path_and_line_and_the_old_one_stays(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)
    body = b"""{
  "rules": [
    {"id": "tot", "at": ["05:30"], "programme": [{"say": "x"}]},
    {"id": "hong", "at": ["25:00"],
     "programme": [{"say": "x"}]},
    {"id": "hong-2", "at": ["05:30"],
     "programme": [{"stream": {"url": "http://dai/x"}}]}
  ]
}"""

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("giu", in_minutes(village, 10), asset)]})
        village.desire("schedule", body)
        await village.until(lambda: village.reported("schedule")["status"] == "rejected")
        said = village.reported("schedule")
        assert said["in_force"] == 1
        assert [(fault["path"], fault["line"]) for fault in said["errors"]] == [
            ("$.rules[1].at[0]", 4),
            ("$.rules[2].programme[0].for_s", 7),
        ]
        await asyncio.sleep(900)
        assert turns(village)["giu"]["outcome"] == "AIRED"

    village.tell(story)


def test_a_document_that_nobody_may_sign_changes_nothing(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        village.desire("schedule", {"rules": [rule("la", in_minutes(village, 3), asset)]}, kids=("stranger",))
        await village.until(lambda: village.up("reported/schedule"))
        assert village.reported("schedule")["code"] == "unknown_key"
        await asyncio.sleep(600)
        assert not turns(village)

    village.tell(story)


def test_a_large_schedule_comes_behind_a_pointer_and_collisions_are_told_at_once(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        rules = [rule(f"tin-{n}", f"{n % 24:02}:{n // 24 % 60:02}", asset) for n in range(2_000)]
        blob = json.dumps({"rules": rules}).encode()
        there = village.put("lich.json", blob)
        pointer = Pointer(url=there.url, sha256=there.digest, size=len(blob))
        await village.applied("schedule", None, pointer=pointer)
        said = village.reported("schedule")
        assert said["in_force"] == 1
        assert len(said["warnings"]) == 20
        assert "both want the loudspeaker" in said["warnings"][0]["message"]

    village.tell(story)


def test_a_revoked_key_takes_the_schedule_with_it(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("thu-hoi", in_minutes(village, 10), asset)]})
        newer = signers.document(
            signers.authority(COMMUNE, f"{COMMUNE}-2027"), signers.authority(DISTRICT), version=2,
            revoked=(f"{COMMUNE}-2026",),
        )  # fmt: skip
        keys = Message(topic=f"{ROOT}/{NODE}/dn/desired/keys", payload=signers.signed(newer), retain=True)
        village.world.broker.server_publish(keys)
        await village.until(lambda: village.reported("schedule")["status"] == "rejected")
        assert village.reported("schedule")["in_force"] is None
        await asyncio.sleep(900)
        assert not turns(village)
        await village.restart()
        assert "schedule" not in village.up("state")[-1]["have"]

    village.tell(story)


@pytest.mark.parametrize("together", [False, True])
def test_nodes_that_begin_together_begin_at_the_instant(
    village: Village, notice: Programme, *, together: bool
) -> None:
    asset = notice.on(village)

    async def story() -> None:
        whole = rule("cung-luc", in_minutes(village, 5), asset, together=together)
        await village.applied("schedule", {"rules": [whole]})
        await asyncio.sleep(600)
        entry = turns(village)["cung-luc"]
        assert entry["outcome"] == "AIRED"
        apart = datetime.fromisoformat(entry["started"]) - datetime.fromisoformat(entry["planned"])
        assert (abs(apart.total_seconds()) < 0.06) is together, apart

    village.tell(story)


def test_a_relay_falls_back_and_the_programme_goes_on(village: Village, short: Programme) -> None:
    asset = short.on(village)

    async def story() -> None:
        programme = [
            {
                "stream": {"url": "http://dai.example/live"},
                "for_s": 60,
                "standby": {"say": "Đài tạm mất sóng"},
            },
            {"media": asset.digest, "url": asset.url},
        ]
        await village.applied(
            "schedule",
            {"rules": [{"id": "tiep-song", "at": [in_minutes(village, 3)], "programme": programme}]},
        )
        await asyncio.sleep(400)
        entry = turns(village)["tiep-song"]
        parts = entry["live"]["parts"]
        assert parts[0]["live"]["sounded_ms"]["message"] > 1_000
        assert parts[1]["sounded_ms"] >= 490

    village.tell(story)


def test_a_turn_can_be_stopped_at_the_box_and_is_not_begun_again(
    village: Village, bulletin: Programme
) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        at = in_minutes(village, 3)
        await village.applied("schedule", {"rules": [rule("dung", at, asset)]})
        await village.until(lambda: village.world.card.stream is not None, within_s=400)
        await asyncio.sleep(4)
        key = f"dung@{local(village):%Y-%m-%d}T{at}"
        answer = json.loads(
            await village.world.control.say(json.dumps({"do": "stop", "order": key}).encode() + b"\n")
        )
        assert answer["orders"] == [key]
        await asyncio.sleep(600)
        entry = turns(village)["dung"]
        assert (entry["id"], entry["outcome"], entry["code"]) == (key, "PARTIAL", "cancelled")
        assert entry["sounded_ms"] < 4_000

    village.tell(story)


def test_the_house_rules_hold_for_the_schedule_too(notice: Programme) -> None:
    hours = msgspec.structs.replace(SETTINGS.governor, quiet_hours=("00:00-23:59",))
    village = Village(settings=msgspec.structs.replace(SETTINGS, governor=hours))
    asset = notice.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("dem", in_minutes(village, 3), asset)]})
        await asyncio.sleep(600)
        entry = turns(village)["dem"]
        assert (entry["outcome"], entry["code"]) == ("REFUSED", "quiet_hours")

    village.tell(story)
    assert village.world.lives()[-1].heard.frames_heard == 0


def test_an_emergency_cuts_a_turn_which_goes_on_with_the_next_frame(
    village: Village, bulletin: Programme, short: Programme, alarm: Programme
) -> None:
    first, second, urgent = bulletin.on(village), short.on(village), alarm.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("ngat", in_minutes(village, 3), first, second)]})
        await village.until(lambda: village.world.card.stream is not None, within_s=400)
        await asyncio.sleep(5)
        assert await village.ends(village.play(urgent, "emergency")) == ["successful"]
        await asyncio.sleep(60)
        entry = turns(village)["ngat"]
        assert (entry["outcome"], entry["preempted"]) == ("AIRED", 1)
        assert entry["frames"] == bulletin.frames.size + short.frames.size

    village.tell(story)


def test_a_withdrawn_schedule_begins_nothing_and_clearing_it_at_the_broker_changes_nothing(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        soon, later = in_minutes(village, 3), in_minutes(village, 20)
        await village.applied("schedule", {"rules": [rule("mot", soon, asset), rule("hai", later, asset)]})
        topic = f"{ROOT}/{NODE}/dn/desired/schedule"
        village.world.broker.server_publish(Message(topic=topic, payload=b"", retain=True))
        await asyncio.sleep(600)
        assert turns(village)["mot"]["outcome"] == "AIRED"
        await village.applied("schedule", {"rules": []})
        await asyncio.sleep(1_800)
        assert set(turns(village)) == {"mot"}

    village.tell(story)


def test_one_recording_is_not_played_more_often_than_the_house_allows(short: Programme) -> None:
    rules = msgspec.structs.replace(SETTINGS.governor, repeats_a_day=2)
    village = Village(settings=msgspec.structs.replace(SETTINGS, governor=rules))
    asset = short.on(village)

    async def story() -> None:
        often = rule("nhieu", in_minutes(village, 3), asset, repeat={"times": 4, "every_min": 5})
        await village.applied("schedule", {"rules": [often]})
        await asyncio.sleep(1_800)
        ends = [(entry["outcome"], entry["code"]) for entry in village.stored()]
        assert ends == [("AIRED", None)] * 2 + [("REFUSED", "governor")] * 2

    village.tell(story)


def test_a_month_without_power_is_told_turn_by_turn_and_nothing_is_made_up_for(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)

    async def story() -> None:
        await village.applied("schedule", {"rules": [rule("ngay", in_minutes(village, 60), asset)]})
        await village.world.outage(dark_s=30 * 86_400)
        await asyncio.sleep(1_200)
        ends = [
            (entry["outcome"], entry["code"]) for entry in village.stored() if entry["verb"] == "schedule"
        ]
        assert ends == [("MISSED", "interrupted")] * 30
        await village.until(lambda: len(village.reports()) == 30, within_s=900)

    village.tell(story, limit_s=40 * 86_400)
    assert village.world.lives()[-1].heard.frames_heard == 0


def test_a_pointer_whose_server_is_away_is_asked_again_and_costs_no_order(
    village: Village, short: Programme
) -> None:
    asset = short.on(village)
    body = json.dumps({"rules": [rule("cham", "05:30", asset)]}).encode()
    there = village.put("lich.json", body)
    village.world.web_server.put(there.url, unreachable=True)

    async def story() -> None:
        pointer = Pointer(url=there.url, sha256=there.digest, size=len(body))
        village.desire("schedule", None, pointer=pointer)
        await village.until(lambda: village.up("reported/schedule"))
        assert village.reported("schedule")["status"] == "pending"
        village.world.database.fail("full", times=6)
        await asyncio.sleep(120)
        village.world.database.mend()
        assert await village.ends(village.play(asset)) == ["successful"]
        village.world.web_server.put(there.url, body)
        await village.until(lambda: village.reported("schedule")["status"] == "applied", within_s=4_000)

    village.tell(story, limit_s=10_000)
