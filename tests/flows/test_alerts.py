"""Public alerts, from the broker to ears and dots: said, shown, taken back, and what is never aired."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np
import pytest

from tests import alerts, signers
from tests.flows import hearing
from tests.flows.alert_scene import BASE, SAID, SHOWN, TONE_S, flood, loud_s, now, shown, village_with, warn
from tests.flows.conftest import Programme
from tests.flows.scene import COMMUNE, DISTRICT, SETTINGS, Village
from tests.flows.test_board import meant


@pytest.fixture
def village() -> Village:
    return village_with()


# ---------------------------------------------------------------- said and shown


def test_an_alert_is_said_after_a_tone_as_often_as_configured_and_takes_the_board(village: Village) -> None:
    async def story() -> None:
        await village.ends(village.order("board_show", text="Họp 19h30", ttl_s=86_400))
        order = flood(village)
        assert await village.ends(order) == ["successful"]
        assert village.world.speech.said == [(SAID, "vi-VN")]
        assert set(village.told(order)[-1]["result"]) == {"frames", "gaps", "pages"}
        await village.quiet()
        entry = village.report(order)
        assert (entry["outcome"], entry["class"], entry["proof"]) == ("AIRED", "emergency", 2)
        assert entry["pages"] >= 1
        assert shown(village) in meant(SHOWN, emergency=True)
        await asyncio.sleep(61 * 60)
        assert shown(village) in meant("Họp 19h30"), "after an hour, for it says no end, the notice is back"

    village.tell(story)
    words_s = 0.3 + 0.06 * len(SAID)
    heard_s = len(hearing.recording(village.world.lives()[0])) / hearing.RATE_HZ
    assert heard_s == pytest.approx(2 * (TONE_S + 0.3 + words_s) + BASE.gap_s, abs=0.6)


def test_tone_and_words_are_as_loud_as_a_programme(village: Village) -> None:
    async def story() -> None:
        await village.ends(flood(village))

    village.tell(story)
    from edge_agent.playout.gain import volume_factor

    heard = hearing.recording(village.world.lives()[0]).astype(np.float64)
    first = int(np.flatnonzero(np.abs(heard) > 1e-4)[0])
    tone = heard[first + 4_800 : first + 3 * 48_000]
    words = heard[first + round(4.8 * 48_000) : first + 8 * 48_000]
    for part in (tone, words):
        level_db = 20 * np.log10(np.sqrt(np.mean(part**2)) / volume_factor(70))
        assert level_db == pytest.approx(-17, abs=4), "unweighted, against -17 LUFS"


def test_an_emergency_cuts_a_bulletin_off_which_then_goes_on(village: Village, bulletin: Programme) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        play = village.play(asset)
        await village.reaches(play, "executing")
        await asyncio.sleep(6)
        order = flood(village)
        assert await village.ends(play, order) == ["successful", "successful"]
        await village.quiet()
        assert village.report(play)["preempted"] == 1

    village.tell(story)


def test_an_alert_is_never_more_urgent_than_its_order(village: Village, bulletin: Programme) -> None:
    asset = bulletin.on(village)

    async def story() -> None:
        play = village.play(asset)
        await village.reaches(play, "executing")
        order = flood(village, klass="routine")
        assert await village.ends(play, order) == ["successful", "successful"]
        await village.quiet()
        assert village.report(play)["preempted"] == 0

    village.tell(story)


def test_what_is_not_grave_is_only_shown(village: Village) -> None:
    async def story() -> None:
        text = alerts.alert("suong-1", now(village), alerts.block(grade=alerts.FOG, event="Sương mù"))
        order = warn(village, text)
        assert await village.ends(order) == ["successful"]
        assert shown(village) in meant(SHOWN)

    village.tell(story)
    assert not village.world.speech.said
    assert loud_s(village) == 0


def test_each_configured_language_is_spoken_and_no_other() -> None:
    village = village_with()

    async def story() -> None:
        blocks = [
            alerts.block(language="fr-FR", headline="Crue soudaine"),
            alerts.block(language="en-GB", headline="Flash flood", description="", instruction=""),
            alerts.block(),
        ]
        order = warn(village, alerts.alert("lu-1", now(village), *blocks))
        assert await village.ends(order) == ["successful"]

    village.tell(story)
    assert village.world.speech.said == [(SAID, "vi-VN"), ("Flash flood.", "en-GB")]


def test_without_a_known_language_the_first_block_is_read_if_there_is_a_voice(village: Village) -> None:
    async def story() -> None:
        blocks = [alerts.block(language="hmn", headline="Dej nyab"), alerts.block(language="fr")]
        order = warn(village, alerts.alert("lu-1", now(village), *blocks))
        assert await village.ends(order) == ["failed"], "this world has no voice for it"
        assert village.code(order) == "hardware_fault"
        await village.quiet()
        assert village.report(order)["outcome"] == "PARTIAL", "the tone was sounded, the board shows it"

    village.tell(story)
    assert loud_s(village) > TONE_S


# ---------------------------------------------------------------- exercise, test, and never


def test_an_exercise_is_announced_as_one_and_does_not_break_in() -> None:
    village = village_with(exercise=True)

    async def story() -> None:
        text = alerts.alert("dt-1", now(village), alerts.block(), status="Exercise")
        order = warn(village, text)
        assert await village.ends(order) == ["successful"]
        assert shown(village) in meant(f"DIỄN TẬP: {SHOWN}")

    village.tell(story)
    said = [text for text, _ in village.world.speech.said]
    assert said == ["Đây là diễn tập. Diễn tập.", SAID, "Đây là diễn tập. Diễn tập."]


@pytest.mark.parametrize("status", ["Exercise", "Test", "System", "Draft"])
def test_what_is_not_actual_is_refused_unless_enabled(village: Village, status: str) -> None:
    async def story() -> None:
        order = warn(village, alerts.alert("x-1", now(village), alerts.block(), status=status))
        assert await village.ends(order) == ["rejected"]
        assert village.code(order) == "out_of_scope"
        assert status in village.told(order)[-1]["reason"]["text"]

    village.tell(story)
    assert loud_s(village) == 0
    assert not village.world.sign.shown or not village.world.sign.current.lit


@pytest.mark.parametrize("status", ["System", "Draft"])
def test_system_and_draft_are_never_aired(status: str) -> None:
    village = village_with(exercise=True, test=True)

    async def story() -> None:
        order = warn(village, alerts.alert("x-1", now(village), alerts.block(), status=status))
        assert await village.ends(order) == ["rejected"]

    village.tell(story)
    assert loud_s(village) == 0


@pytest.mark.parametrize("scope", ["Restricted", "Private"])
def test_only_the_public_scope_is_aired(village: Village, scope: str) -> None:
    async def story() -> None:
        order = warn(village, alerts.alert("x-1", now(village), alerts.block(), scope=scope))
        assert await village.ends(order) == ["rejected"]
        assert village.code(order) == "out_of_scope"

    village.tell(story)
    assert loud_s(village) == 0


def test_an_alert_for_elsewhere_or_nowhere_is_not_aired(village: Village) -> None:
    async def story() -> None:
        for number, area in enumerate((alerts.ELSEWHERE, "")):
            order = warn(village, alerts.alert(f"x-{number}", now(village), alerts.block(area=area)))
            assert await village.ends(order) == ["rejected"]
            assert village.code(order) == "wrong_audience"

    village.tell(story)
    assert loud_s(village) == 0


def test_a_position_in_a_polygon_or_circle_is_enough() -> None:
    village = village_with(geocodes={}, latitude=22.82, longitude=104.98)

    async def story() -> None:
        polygon = "<polygon>22.7,104.9 22.7,105.1 22.9,105.1 22.9,104.9 22.7,104.9</polygon>"
        for number, area in enumerate((polygon, "<circle>22.9,104.98 10</circle>")):
            order = warn(village, alerts.alert(f"x-{number}", now(village), alerts.block(area=area)))
            assert await village.ends(order) == ["successful"]
        far = alerts.block(area="<circle>22.9,104.98 8</circle>")
        assert await village.ends(warn(village, alerts.alert("x-9", now(village), far))) == ["rejected"]

    village.tell(story)


# ---------------------------------------------------------------- chains


def test_a_cancel_ends_the_sound_and_clears_the_board(village: Village) -> None:
    async def story() -> None:
        sent = now(village)
        order = flood(village)
        await village.reaches(order, "executing")
        await asyncio.sleep(6)
        cancel = warn(
            village,
            alerts.alert("huy-1", now(village), kind="Cancel", references=[("lu-1", sent)]),
            "routine",
        )
        assert await village.ends(order, cancel) == ["cancelled", "successful"]
        assert "cancelled by order" in village.told(order)[-1]["reason"]["text"]
        assert village.told(cancel)[-1]["result"] == {"withdrawn": [order]}
        nothing = warn(
            village, alerts.alert("huy-2", now(village), kind="Cancel", references=[("khong-co", sent)])
        )
        await village.ends(nothing)
        assert village.told(nothing)[-1]["result"] == {"withdrawn": []}
        assert not village.world.sign.current.lit
        silent_from = loud_s(village)
        await asyncio.sleep(60)
        assert loud_s(village) == silent_from

    village.tell(story)


def test_a_cancel_after_all_was_said_still_clears_the_board(village: Village) -> None:
    async def story() -> None:
        sent = now(village)
        order = flood(village)
        await village.ends(order)
        assert village.world.sign.current.lit
        cancel = alerts.alert("huy-1", now(village), kind="Cancel", references=[("lu-1", sent)])
        assert await village.ends(warn(village, cancel)) == ["successful"]
        assert not village.world.sign.current.lit

    village.tell(story)


def test_a_cancel_that_comes_before_its_alert_silences_it(village: Village) -> None:
    async def story() -> None:
        sent = now(village)
        cancel = alerts.alert("huy-1", sent, kind="Cancel", references=[("lu-1", sent)])
        assert await village.ends(warn(village, cancel)) == ["successful"]
        await village.restart()
        order = warn(village, alerts.alert("lu-1", sent, alerts.block()))
        assert await village.ends(order) == ["cancelled"]
        assert village.code(order) == "cancelled"

    village.tell(story)
    assert loud_s(village) == 0


def test_an_update_takes_the_place_of_all_it_names(village: Village) -> None:
    async def story() -> None:
        sent = now(village)
        order = flood(village)
        await village.reaches(order, "executing")
        await asyncio.sleep(5)
        text = alerts.alert(
            "lu-2",
            now(village),
            alerts.block(headline="Nước đang rút"),
            kind="Update",
            references=[("lu-1", sent)],
        )
        update = warn(village, text)
        assert await village.ends(order, update) == ["superseded", "successful"]
        assert shown(village) in meant(f"Nước đang rút. {alerts.INSTRUCTION}", emergency=True)
        again = warn(village, alerts.alert("lu-1", sent, alerts.block()))
        assert await village.ends(again) == ["superseded"]

    village.tell(story)


def test_an_update_for_elsewhere_ends_the_alert_here(village: Village) -> None:
    async def story() -> None:
        sent = now(village)
        order = flood(village)
        await village.ends(order)
        text = alerts.alert(
            "lu-2",
            now(village),
            alerts.block(area=alerts.ELSEWHERE),
            kind="Update",
            references=[("lu-1", sent)],
        )
        update = warn(village, text)
        assert await village.ends(update) == ["failed"]
        assert village.code(update) == "wrong_audience"
        assert not village.world.sign.current.lit

    village.tell(story)


def test_another_authority_cannot_take_back_what_it_could_not_have_ordered(village: Village) -> None:
    async def story() -> None:
        sent = now(village)
        order = flood(village)
        await village.ends(order)
        cancel = alerts.alert("huy-1", now(village), kind="Cancel", references=[("lu-1", sent)])
        weak = warn(village, cancel, "routine", issuer=DISTRICT)
        assert await village.ends(weak) == ["successful"]
        assert village.world.sign.current.lit
        strong = warn(village, cancel, "emergency", issuer=DISTRICT)
        assert await village.ends(strong) == ["successful"]
        assert not village.world.sign.current.lit

    village.tell(story)


def test_the_same_alert_by_two_ways_sounds_once(village: Village) -> None:
    async def story() -> None:
        text = alerts.alert("lu-1", now(village), alerts.block())
        first, second = warn(village, text), warn(village, text, issuer=DISTRICT)
        assert sorted(await village.ends(first, second)) == ["rejected", "successful"]
        assert village.code(second) == "replayed"

    village.tell(story)
    assert len(village.world.speech.said) == 1


def test_a_cancel_while_the_words_are_being_made_leaves_nothing(village: Village) -> None:
    async def story() -> None:
        village.world.speech.delay_s = 10
        sent = now(village)
        order = flood(village)
        cancel = warn(village, alerts.alert("huy-1", sent, kind="Cancel", references=[("lu-1", sent)]))
        assert await village.ends(order, cancel) == ["cancelled", "successful"]
        await asyncio.sleep(60)
        assert not village.world.sign.current.lit

    village.tell(story)
    assert loud_s(village) == 0


def test_many_are_taken_back_at_once(village: Village) -> None:
    async def story() -> None:
        sent = now(village)
        orders = [flood(village, f"lu-{number}") for number in range(12)]
        await village.reaches(orders[0], "executing")
        await asyncio.sleep(3)
        names = [(f"lu-{number}", sent) for number in range(12)]
        cancel = warn(village, alerts.alert("huy-1", now(village), kind="Cancel", references=names))
        states = await village.ends(*orders, cancel)
        assert states[-1] == "successful"
        assert set(states[:-1]) == {"cancelled"}
        assert not village.world.sign.current.lit

    village.tell(story)


def test_an_authority_alerts_only_the_areas_that_are_its_own() -> None:
    for areas, state in (
        (("79", "01"), "rejected"),
        (("79", alerts.CODE[1]), "successful"),
        ((), "successful"),
    ):
        village = village_with()
        village.keys = signers.signed(signers.document(signers.authority(COMMUNE, areas=areas)))

        async def story() -> None:
            order = flood(village)  # noqa: B023 - told at once
            assert await village.ends(order) == [state]  # noqa: B023 - told at once
            if state == "rejected":  # noqa: B023 - told at once
                assert village.code(order) == "out_of_scope"  # noqa: B023 - told at once

        village.tell(story)


def test_quiet_hours_hush_a_priority_alert_but_the_board_shows_it() -> None:
    governor = msgspec.structs.replace(SETTINGS.governor, quiet_hours=("00:00-23:59",))
    village = village_with()
    village.settings = msgspec.structs.replace(village.settings, governor=governor)

    async def story() -> None:
        text = alerts.alert("mua-1", now(village), alerts.block(grade=alerts.RAIN))
        order = warn(village, text)
        assert await village.ends(order) == ["failed"]
        assert village.code(order) == "quiet_hours"
        assert shown(village) in meant(SHOWN)
        assert await village.ends(flood(village)) == ["successful"], "an emergency may"

    village.tell(story)
