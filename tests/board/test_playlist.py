"""A playlist on a board: turns, languages, windows, what comes between, what is handed back, and what the log learns of it."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image

from edge_agent.board.bill import Sources
from edge_agent.board.proof import Proof
from edge_agent.errors import MediaRefused
from edge_agent.model import Digest, OrderId, Outcome, Precedence, ReasonCode
from edge_agent.playlist import (
    ClockContent,
    FeedContent,
    ImageContent,
    QrContent,
    TextContent,
)
from tests.board.conftest import Village, item

ROUTINE, PRIORITY, EMERGENCY = Precedence.ROUTINE, Precedence.PRIORITY, Precedence.EMERGENCY
MEDIA = Digest("sha256:" + "a" * 64)


async def showing(village: Village, seconds: float) -> list[str]:
    """What stands, looked at every half second; each once in a row."""
    seen: list[str] = []
    for _ in range(round(seconds * 2)):
        text = village.presenter.state().text
        if text and (not seen or seen[-1] != text):
            seen.append(text)
        await asyncio.sleep(0.5)
    return seen


def told(proof: Proof) -> dict[str, Any]:
    """What the log is told of an item, beside the rest."""
    assert proof.asrun.live is not None
    return dict(proof.asrun.live)


# ---------------------------------------------------------------- turns


def test_items_take_turns_and_stand_as_long_as_reading_takes(village: Village) -> None:
    async def story() -> None:
        village.post(item("a", "Họp thôn"), item("b", "Tiêm phòng"), item("c", "Nghỉ học", seconds=10))
        assert (await showing(village, 60))[:4] == ["Họp thôn", "Tiêm phòng", "Nghỉ học", "Họp thôn"]
        await showing(village, 600)

    village.run(story)
    lit = [shown for shown in village.sign.shown if shown.lit]
    stood: Counter[int] = Counter()
    for one, following in pairwise(lit):
        stood[one.lit] = max(stood[one.lit], (following.at_ns - one.at_ns) // 10**9)
    assert len(stood) == 3
    assert min(stood.values()) >= 3
    assert max(stood.values()) >= 10
    assert not village.violations()


def test_languages_have_the_same_time_to_the_second(village: Village) -> None:
    async def story() -> None:
        texts = (("vi", "Mời bà con đến họp"), ("tyz", "Hội"))
        village.post(item("a", TextContent(texts=texts)))
        await asyncio.sleep(3600)
        proofs = village.presenter.proofs(everything=True)
        assert len(proofs) == 1
        pages = told(proofs[0])["pages"]
        vietnamese = sum(page["seconds"] for page in pages[:-1])
        assert abs(vietnamese - pages[-1]["seconds"]) <= 0.03 * vietnamese + 4

    village.run(story)


def test_windows_weekdays_and_hours_decide_and_nothing_stale_is_shown(village: Village) -> None:
    async def story() -> None:
        now = village.clock.utc_now()
        hour = village.local + timedelta(hours=2)
        village.post(
            item("a", "Sớm", ends=now + timedelta(minutes=5)),
            item("b", "Muộn", begins=now + timedelta(minutes=10), ends=now + timedelta(minutes=15)),
            item("c", "Giờ", hours=(f"{hour:%H:%M}-{hour + timedelta(minutes=30):%H:%M}",)),
            item("d", "Hôm khác", days=frozenset({(village.local.weekday() + 3) % 7})),
        )
        timeline: dict[int, str] = {}
        for minute in range(180):
            timeline[minute] = village.presenter.state().text
            await asyncio.sleep(60)
        assert {minute for minute, text in timeline.items() if text == "Sớm"} <= set(range(6))
        assert {minute for minute, text in timeline.items() if text == "Muộn"} <= set(range(10, 16))
        assert len([text for text in timeline.values() if text == "Giờ"]) in range(29, 32)
        assert "Hôm khác" not in timeline.values()
        assert village.kind() == "blank"

    village.run(story)


def test_without_a_time_only_what_has_no_date_is_shown(village: Village) -> None:
    now = village.clock.utc_now()
    village.clock.lose()

    async def story() -> None:
        village.post(item("a", "Có ngày", ends=now + timedelta(days=1)), item("b", "Luôn luôn"))
        assert await showing(village, 60) == ["Luôn luôn"]
        village.clock.sync(now + timedelta(minutes=1))
        assert set(await showing(village, 60)) == {"Có ngày", "Luôn luôn"}

    village.run(story)


# ---------------------------------------------------------------- what comes between


def test_an_order_stands_before_the_list_and_then_the_same_item_begins_again(village: Village) -> None:
    async def story() -> None:
        village.post(item("a", "Một", seconds=60), item("b", "Hai", seconds=60))
        await asyncio.sleep(90)
        assert village.presenter.state().text == "Hai"
        await village.shown("Lũ quét", EMERGENCY, for_s=100)
        assert village.kind() == "priority"
        await asyncio.sleep(105)
        assert village.presenter.state().text == "Hai", "exactly what was due"
        await asyncio.sleep(50)
        assert village.presenter.state().text == "Hai", "from its beginning"
        await asyncio.sleep(15)
        assert village.presenter.state().text == "Một"

    village.run(story)


def test_a_higher_class_of_the_list_hides_an_order_and_gives_way_to_its_own_class(village: Village) -> None:
    async def story() -> None:
        now = village.clock.utc_now()
        urgent = item("a", "Bão số 9", precedence=PRIORITY, ends=now + timedelta(minutes=10))
        village.post(urgent, item("b", "Thường"))
        village.ask("Họp", ROUTINE, for_s=3600)
        await asyncio.sleep(30)
        assert village.presenter.state().text == "Bão số 9"
        village.ask("Khẩn trương", PRIORITY, for_s=120)
        await asyncio.sleep(30)
        assert village.presenter.state().text == "Khẩn trương"
        await asyncio.sleep(600)
        assert village.presenter.state().text == "Họp"
        await asyncio.sleep(3600)
        assert village.presenter.state().text == "Thường"

    village.run(story)


def test_an_emergency_of_the_list_takes_the_board_over(village: Village) -> None:
    async def story() -> None:
        now = village.clock.utc_now()
        village.post(
            item("a", "Thường"),
            item("b", "Lũ quét", precedence=EMERGENCY, ends=now + timedelta(minutes=10)),
        )
        await asyncio.sleep(20)
        assert village.kind() == "priority"
        await asyncio.sleep(600)
        assert village.presenter.state().text == "Thường"
        assert village.kind() == "run"

    village.run(story)


def test_after_a_restart_the_list_is_shown_again_without_sending_what_the_board_holds(
    village: Village,
) -> None:
    async def story() -> None:
        village.post(item("a", "Một"), item("b", "Hai"))
        await asyncio.sleep(60)
        await village.restart()
        assert set(await showing(village, 30)) == {"Một", "Hai"}

    village.run(story)
    assert not village.violations()


# ---------------------------------------------------------------- idle, light


def test_the_idle_page_says_the_time_the_day_and_the_place(village_with: type[Village]) -> None:
    village = village_with(idle="clock")

    async def story() -> None:
        seen = await showing(village, 200)
        assert f"{village.local:%H}:" in seen[0]
        assert "Thôn Mỏ Phong" in seen
        assert any("Thứ" in text or "Chủ Nhật" in text for text in seen)
        times = {text for text in seen if ":" in text}
        assert len(times) >= 3, "a new one each minute"
        assert village.presenter.proofs(everything=True) == [], "nobody asked for it"

    village.run(story)


def test_the_idle_clock_in_the_boards_own_digits_costs_a_few_bytes_a_minute(
    village_with: type[Village],
) -> None:
    village = village_with(idle="clock", own_digits=True)

    async def story() -> None:
        await asyncio.sleep(30)
        assert village.sign.current.lit
        before = getattr(village.sign, "frames")  # noqa: B009 - of this emulator
        await asyncio.sleep(600)
        assert getattr(village.sign, "frames") - before <= 25  # noqa: B009 - see above
        assert village.sign.shown_count >= 10

    village.run(story)
    assert not village.violations()


def test_in_the_dark_hours_only_an_emergency_is_shown(village_with: type[Village]) -> None:
    counter = village_with()
    hour = counter.local
    span = f"{hour:%H:%M}-{hour + timedelta(hours=2):%H:%M}"
    village = village_with(blank_hours=(span,), brightness=("00:00 40",), emergency_percent_min=80)

    async def story() -> None:
        village.post(item("a", "Thường"))
        await asyncio.sleep(60)
        assert village.kind() == "blank"
        assert village.presenter.state().brightness == 0
        await village.shown("Lũ quét", EMERGENCY, for_s=60)
        assert village.kind() == "priority"
        assert village.sign.brightness == 86, "the next level that this board has"
        await asyncio.sleep(120)
        assert village.kind() == "blank"
        await asyncio.sleep(2 * 3600)
        assert village.presenter.state().text == "Thường"
        assert village.sign.brightness == 44

    village.run(story)


# ---------------------------------------------------------------- other content


class Cellar:
    """Has one picture after a while."""

    def __init__(self) -> None:
        file = io.BytesIO()
        Image.new("RGB", (64, 16), (255, 0, 0)).save(file, "PNG")
        self.blob: bytes | None = None
        self.whole = file.getvalue()
        self.news: tuple[str, ...] = ()

    async def picture(self, media: Digest, url: str | None) -> bytes:
        if self.blob is None:
            raise MediaRefused(ReasonCode.NO_MEDIA, "It is not here yet.")
        return self.blob

    def latest(self, url: str, keep_h: int, most: int) -> tuple[str, ...]:
        return self.news[:most]


@pytest.fixture
def furnished() -> tuple[Village, Cellar]:
    village, cellar = Village(lit_percent_max=100), Cellar()
    village.sources = Sources(pictures=cellar, headlines=cellar, celsius=lambda: 25.4, place="Mỏ Phong")
    village.presenter = village._presenter()
    return village, cellar


def test_what_is_not_here_is_passed_over_and_shown_when_it_has_come(
    furnished: tuple[Village, Cellar],
) -> None:
    village, cellar = furnished

    async def story() -> None:
        village.post(
            item("anh", ImageContent(media=MEDIA, caption="Lễ hội")),
            item("tin", FeedContent(url="https://xa.vn/rss", headlines=2)),
            item("gio", ClockContent()),
            item("qr", QrContent(text="https://xa.vn")),
            item("chu", "Họp"),
        )
        seen = await showing(village, 60)
        assert set(seen) == {
            "Họp",
            seen[0],
            "Mỏ Phong",
            *[text for text in seen if "Thứ" in text or ":" in text or "Chủ" in text],
        }
        assert any("25°C" in text for text in seen)
        state, why = village.presenter.health()
        assert state == "degraded"
        assert any("not here yet" in text for text in why)
        assert any("to be scanned" in text for text in why)
        cellar.blob, cellar.news = cellar.whole, ("Lịch tiêm phòng", "Họp xã", "Cũ")
        seen = await showing(village, 180)
        assert {"Lễ hội", "Lịch tiêm phòng", "Họp xã"} <= set(seen)
        assert "Cũ" not in seen
        outcomes = {
            str(proof.key): proof.asrun.outcome for proof in village.presenter.proofs(everything=True)
        }
        assert outcomes["qr@v1"] is Outcome.REFUSED
        assert outcomes["chu@v1"] is Outcome.AIRED
        assert outcomes["anh@v1"] is Outcome.PARTIAL, "it was missing at first"

    village.run(story)


def test_a_list_of_what_cannot_be_shown_leaves_the_idle_page(village: Village) -> None:
    async def story() -> None:
        village.post(item("a", "😀"), item("b", "Họp" * 40))
        await asyncio.sleep(120)
        assert village.kind() == "blank"
        assert village.presenter.health()[0] == "degraded"
        (first, second) = village.presenter.proofs(everything=True)
        assert first.asrun.reason is not None
        assert (first.asrun.outcome, second.asrun.outcome) == (Outcome.REFUSED, Outcome.REFUSED)
        assert first.asrun.proof == 0

    village.run(story)


# ---------------------------------------------------------------- proof


def test_each_item_has_an_entry_with_digest_time_and_grade(village: Village) -> None:
    async def story() -> None:
        village.post(item("a", "Một"), item("b", "Hai"))
        await asyncio.sleep(600)
        assert village.presenter.proofs() == []
        village.post(item("b", "Hai"))
        (gone,) = village.presenter.proofs()
        assert gone.key == OrderId("a@v1")
        live = told(gone)
        (page,) = await village.dots("Một")
        assert live["pages"][0]["digest"] == page.digest
        assert live["grade"] == "acked"
        assert 250 <= live["seconds"] <= 350
        assert live["times"] >= 40

    village.run(story)


@pytest.mark.parametrize(
    ("more", "grade"), [({"answers": False}, "sent"), ({"reads_back": True}, "read_back")]
)
def test_the_grade_is_what_the_line_allows(more: dict[str, Any], grade: str) -> None:
    village = Village(**more)

    async def story() -> None:
        village.post(item("a", "Một"))
        await asyncio.sleep(300)
        (proof,) = village.presenter.proofs(everything=True)
        assert told(proof)["grade"] == grade
        assert village.presenter.state().grade.word == grade
        assert village.presenter.health()[0] == ("unknown" if grade == "sent" else "ok")

    village.run(story)
