"""A board document: what it says becomes a playlist, and everything wrong with it is named at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from edge_agent.desired import Signed
from edge_agent.errors import DocumentRefused
from edge_agent.model import Issuer, Precedence
from edge_agent.playlist import ClockContent, FeedContent, ImageContent, QrContent, TextContent
from edge_agent.schedule.playlist_form import ITEMS_MAX, REQUISITIONS_MAX, read

SIGNED = Signed(
    issuer=Issuer("xa"), highest=Precedence.PRIORITY, version=7, issued_at=datetime(2026, 11, 30, tzinfo=UTC)
)
MEDIA = "sha256:" + "a" * 64
WHOLE: dict[str, Any] = {
    "items": [
        {"id": "hop", "text": "Họp lúc 19h30", "class": "priority", "from": "2026-12-01T07:00:00+07:00"},
        {
            "id": "tet",
            "texts": {"vi": "Chúc mừng năm mới", "tyz": "Chúc pi mấư"},
            "seconds": 20,
            "scroll": True,
        },
        {"id": "anh", "image": {"media": MEDIA, "url": "https://xa.vn/a.png", "caption": "Lễ hội"}},
        {"id": "qr", "qr": {"text": "https://xa.vn", "caption": "Góp ý"}, "boards": ["cho"]},
        {"id": "gio", "clock": True, "days": ["mon", "sun"], "hours": ["06:00-11:00"]},
        {"id": "tin", "feed": {"url": "https://xa.vn/rss", "headlines": 5, "keep_h": 48}},
    ],
    "requisitions": [{"boards": ["quang-cao"], "from": "2026-12-01T00:00:00Z", "to": "2026-12-02T00:00:00Z"}],
}


def faults(document: dict[str, Any]) -> list[str]:
    with pytest.raises(DocumentRefused) as refused:
        read(json.dumps(document).encode(), SIGNED)
    return [fault.path for fault in refused.value.faults]


def item(**more: Any) -> dict[str, Any]:
    return {"id": "hop", "text": "Họp"} | more


def test_a_whole_document() -> None:
    playlist = read(json.dumps(WHOLE).encode(), SIGNED)
    hop, tet, anh, qr, gio, tin = playlist.items
    assert playlist.version == 7
    assert (hop.key, hop.issuer, hop.precedence) == ("hop@v7", "xa", Precedence.PRIORITY)
    assert hop.begins == datetime(2026, 12, 1, 0, 0, tzinfo=UTC)
    assert tet.content == TextContent(
        texts=(("vi", "Chúc mừng năm mới"), ("tyz", "Chúc pi mấư")), scroll=True
    )
    assert tet.seconds == 20
    assert anh.content == ImageContent(media=MEDIA, url="https://xa.vn/a.png", caption="Lễ hội")  # type: ignore[arg-type]
    assert qr.content == QrContent(text="https://xa.vn", caption="Góp ý")
    assert qr.boards == {"cho"}
    assert gio.content == ClockContent()
    assert (set(gio.days), gio.hours) == ({0, 6}, ("06:00-11:00",))
    assert tin.content == FeedContent(url="https://xa.vn/rss", headlines=5, keep_h=48)
    assert hop.days == set(range(7))
    (requisition,) = playlist.requisitions
    assert requisition.boards == {"quang-cao"}


def test_an_empty_document_shows_nothing() -> None:
    assert read(b'{"items": []}', SIGNED).items == ()


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ({}, ["$"]),
        ({"items": [{"id": "hop"}]}, ["$.items[0].id"]),
        ({"items": [item(clock=True)]}, ["$.items[0].id"]),
        ({"items": [item(), item()]}, ["$.items[1].id"]),
        ({"items": [item(**{"class": "emergency"})]}, ["$.items[0].class"]),
        (
            {"items": [item(**{"class": "emergency"}), item(id="x", text=None)]},
            ["$.items[0].class", "$.items[1].id"],
        ),
        ({"items": [item(**{"from": "0001-01-01T00:00:00+14:00"})]}, ["$.items[0].from"]),
        ({"items": [item(to="9999-12-31T23:59:59-12:00")]}, ["$.items[0].to"]),
        (
            {"items": [item(**{"from": "2026-12-02T00:00:00Z", "to": "2026-12-01T00:00:00Z"})]},
            ["$.items[0].to"],
        ),
        ({"items": [item(to="2026-12-02T00:00:00")]}, ["$.items[0].to"]),
        ({"items": [{"id": "gio", "clock": True, "scroll": True}]}, ["$.items[0].scroll"]),
        ({"items": [item(seconds=1)]}, ["$.items[0].seconds"]),
        ({"items": [item(days=[])]}, ["$.items[0].days"]),
        ({"items": [item(hours=["25:00-26:00"])]}, ["$.items[0].hours[0]"]),
        ({"items": [item(boards=["Chợ"])]}, ["$.items[0].boards[0]"]),
        ({"items": [item(colour="red")]}, ["$.items[0]"]),
        ({"items": [item(id=f"i{n}") for n in range(ITEMS_MAX + 1)]}, ["$.items"]),
        ({"items": [{"id": "anh", "image": {"media": "sha256:1"}}]}, ["$.items[0].image.media"]),
        ({"items": [{"id": "tin", "feed": {"url": "file:///etc/passwd"}}]}, ["$.items[0].feed.url"]),
        ({"items": [{"id": "tet", "texts": {}}]}, ["$.items[0].texts"]),
    ],
)
def test_what_is_wrong_is_named_with_its_place(document: dict[str, Any], paths: list[str]) -> None:
    assert faults(document) == paths


def lease(begins: str, ends: str, boards: tuple[str, ...] = ("quang-cao",)) -> dict[str, Any]:
    return {"boards": list(boards), "from": begins, "to": ends}


@pytest.mark.parametrize(
    ("requisition", "path"),
    [
        (lease("2026-12-02T00:00:00Z", "2026-12-01T00:00:00Z"), "$.requisitions[0].to"),
        (lease("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"), "$.requisitions[0].to"),
        (lease("2026-12-01T00:00:00Z", "9999-12-31T23:59:59-12:00"), "$.requisitions[0].to"),
        (lease("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z", ()), "$.requisitions[0].boards"),
        ({"boards": ["a"], "from": "2026-12-01T00:00:00Z"}, "$.requisitions[0]"),
    ],
)
def test_a_board_is_taken_over_for_a_bounded_time_only(requisition: dict[str, Any], path: str) -> None:
    assert faults({"items": [], "requisitions": [requisition]}) == [path]


def test_requisitions_are_few() -> None:
    many = [lease("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z")] * (REQUISITIONS_MAX + 1)
    assert faults({"items": [], "requisitions": many}) == ["$.requisitions"]
