"""Feeds of portals, good and hostile, to headlines that a village may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.cache import feed
from edge_agent.cache.feed import FeedBroken, Headline

RSS = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>Xã Vị Hương</title>
<item><title>Lịch tiêm phòng dại</title><pubDate>Mon, 23 Nov 2026 08:00:00 +0700</pubDate></item>
<item><title><![CDATA[<b>Họp</b> thôn &amp; bản]]></title></item>
<item><title>Lịch tiêm phòng dại</title></item>
</channel></rss>"""
ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Huyện</title><updated>2026-11-23T01:00:00Z</updated>
<entry><title type="html">Tin &amp;lt;i&amp;gt;mưa&amp;lt;/i&amp;gt;   lớn</title><updated>2026-11-23T01:00:00Z</updated></entry>
</feed>"""


def test_rss_with_dates_tags_and_duplicates() -> None:
    assert feed.headlines(RSS.encode()) == (
        Headline("Lịch tiêm phòng dại", 1_795_395_600),
        Headline("Họp thôn & bản", None),
    )


def test_atom_escaped_twice() -> None:
    assert feed.headlines(ATOM.encode()) == (Headline("Tin mưa lớn", 1_795_395_600),)


@pytest.mark.parametrize("encoding", ["utf-16", "windows-1258", "utf-8-sig"])
def test_other_encodings_are_understood_or_left_out(encoding: str) -> None:
    text = RSS.replace("utf-8", encoding.removesuffix("-sig")).replace("Lịch tiêm phòng dại", "Hop thon")
    body = text.encode(encoding, "ignore")
    titles = [one.text for one in feed.headlines(body)]
    assert "Hop thon" in titles
    assert all("\ufffd" not in title for title in titles)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not a feed",
        b"<html><body>404</body></html>",
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss version="2.0"><channel/></rss>',
        b'<?xml version="1.0"?><!DOCTYPE x [<!entity f SYSTEM "file:///etc/passwd">]><rss version="2.0"><channel/></rss>',
        b"<rss version='2.0'>" + b" " * feed.BYTES_MAX,
    ],
)
def test_what_is_no_feed_or_hostile_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(FeedBroken, match=r"\.$"):
        feed.headlines(body)


def test_a_body_that_is_the_name_of_a_file_opens_none(tmp_path: Path) -> None:
    path = tmp_path / "<" / "rss>"
    path.parent.mkdir()
    path.write_text(RSS, encoding="utf-8")
    with pytest.raises(FeedBroken, match="no RSS or Atom feed"):
        feed.headlines(str(path).encode())


def test_entities_are_found_in_wide_letters_too() -> None:
    hostile = (
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE rss [<!ENTITY a "aa">]>' + RSS.split("?>", 1)[1]
    )
    with pytest.raises(FeedBroken, match="entities"):
        feed.headlines(hostile.encode("utf-16"))


def test_a_feed_cut_short_is_refused_because_its_last_headline_may_be_half_a_one() -> None:
    whole = RSS.encode()
    for length in range(len(whole)):
        with pytest.raises(FeedBroken):
            feed.headlines(whole[:length])


def test_a_thousand_entries_are_a_few() -> None:
    items = "".join(f"<item><title>Tin {n}</title></item>" for n in range(1000))
    found = feed.headlines(f'<rss version="2.0"><channel>{items}</channel></rss>'.encode())
    assert len(found) == feed.ENTRIES_MAX


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("<script>alert(1)</script>Tin", "alert(1) Tin"),
        ("  Tin\n\tmưa  ", "Tin mưa"),
        ("Tin\u200b mưa\u202e", "Tin mưa"),
        ("x" * (feed.CHARACTERS_MAX + 1), ""),
        ("Tin \ufffd", ""),
        ("&lt;b&gt;Tin&lt;/b&gt;", "Tin"),
        ("", ""),
    ],
)
def test_a_headline_is_plain_text_or_none(title: str, text: str) -> None:
    assert feed.cleaned(title) == text
