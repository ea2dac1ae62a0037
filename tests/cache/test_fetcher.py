"""Fetching: good servers, bad servers, broken lines, a full disk, and many who want the same."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.cache.download import BLOCK_BYTES, shown
from edge_agent.model import Digest
from hal.sim.disk import VirtualStage
from tests.cache.cellar import MIB, URL, Cellar, ReasonCode, digest_of, noise
from tests.cache.scripted_web import Reply

PAYLOAD = noise(300_000)


def served(*replies: Reply, **changes: Any) -> Cellar:
    cellar = Cellar(**changes)
    cellar.web.put(URL, *replies)
    return cellar


def refused(cellar: Cellar, payload: bytes = PAYLOAD, url: str | None = URL) -> tuple[ReasonCode, str]:
    """Order it, see it refused, and see that nothing is left lying about."""

    async def main() -> tuple[ReasonCode, str]:
        error = await cellar.refusal(cellar.obtain(payload, url))
        assert await cellar.is_clean()
        return error.code, error.text

    code, text = cellar.run(main())
    assert cellar.files() == {}, "nothing was committed"
    assert text.endswith("."), "a whole sentence"
    return code, text


# ---------------------------------------------------------------- as it should be


def test_a_file_is_fetched_once_and_then_comes_from_the_cache() -> None:
    cellar = served(Reply(body=PAYLOAD))

    async def main() -> None:
        asset = await cellar.obtain(PAYLOAD)
        assert (asset.digest, asset.size) == (digest_of(PAYLOAD), len(PAYLOAD))
        assert await cellar.obtain(PAYLOAD, None) == asset
        assert await cellar.obtain(PAYLOAD) == asset
        assert await cellar.is_clean()

    cellar.run(main())
    assert len(cellar.web.requests) == 1
    assert list(cellar.files().values()) == [PAYLOAD]


def test_a_server_that_does_not_say_how_long_it_is_will_do() -> None:
    cellar = served(Reply(body=PAYLOAD, said_length=None))
    cellar.run(cellar.obtain(PAYLOAD))
    assert list(cellar.files().values()) == [PAYLOAD]


def test_what_is_quarantined_is_fetched_again() -> None:
    cellar = served(Reply(body=PAYLOAD))

    async def main() -> None:
        await cellar.obtain(PAYLOAD)
        await cellar.store.quarantine(digest_of(PAYLOAD), "The decoder found it broken.")
        await cellar.obtain(PAYLOAD)

    cellar.run(main())
    assert len(cellar.web.requests) == 2


# ---------------------------------------------------------------- bad input


def test_without_a_url_only_the_cache_can_help() -> None:
    code, text = refused(Cellar(), url=None)
    assert code is ReasonCode.NO_MEDIA
    assert "not in the cache and no url" in text


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256:../../etc/passwd"]
)
def test_a_digest_that_is_none_is_refused(digest: str) -> None:
    cellar = Cellar()
    error = cellar.run(cellar.refusal(cellar.fetcher.obtain(Digest(digest), URL, urgent=False)))
    assert error.code is ReasonCode.BAD_ARGS


@pytest.mark.parametrize("url", ["", "ftp://server/a", "file:///etc/passwd", "bulletin.mp3"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    assert refused(Cellar(), url=url)[0] is ReasonCode.BAD_ARGS


def test_an_unreachable_server_is_tried_with_growing_patience_and_given_up() -> None:
    cellar = served(Reply(unreachable=True), attempts=5)
    code, text = refused(cellar)
    assert code is ReasonCode.NO_MEDIA
    assert "5 attempts" in text
    waits = [b.at_s - a.at_s for a, b in zip(cellar.web.requests, cellar.web.requests[1:], strict=False)]
    assert len(waits) == 4
    assert all(wait <= limit + 0.1 for wait, limit in zip(waits, [1, 2, 4, 8], strict=True))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 204, 304])
def test_a_final_answer_is_not_asked_for_twice(status: int) -> None:
    cellar = served(Reply(status=status))
    code, text = refused(cellar)
    assert code is ReasonCode.NO_MEDIA
    assert str(status) in text
    assert len(cellar.web.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(status: int) -> None:
    cellar = served(Reply(status=status), Reply(status=status), Reply(body=PAYLOAD))
    cellar.run(cellar.obtain(PAYLOAD))
    assert len(cellar.web.requests) == 3


def test_retry_after_is_kept_within_our_own_limit() -> None:
    cellar = served(
        Reply(status=503, retry_after_s=30), Reply(status=429, retry_after_s=86400), Reply(body=PAYLOAD)
    )
    cellar.run(cellar.obtain(PAYLOAD))
    first, second, third = (request.at_s for request in cellar.web.requests)
    assert second - first == pytest.approx(30, abs=0.1)
    assert third - second == pytest.approx(cellar.settings.backoff_max_s, abs=0.1)


def test_a_silent_server_is_a_timeout() -> None:
    cellar = served(Reply(body=PAYLOAD, silent_after=1000, ranges=False), attempts=3)
    code, _ = refused(cellar)
    assert code is ReasonCode.TIMEOUT
    assert len(cellar.web.requests) == 3


def test_a_server_that_drips_for_ever_is_given_up_after_the_time_limit() -> None:
    cellar = served(Reply(body=noise(100 * BLOCK_BYTES), bytes_per_s=1000), fetch_timeout_s=600)
    code, text = refused(cellar, noise(100 * BLOCK_BYTES))
    assert code is ReasonCode.TIMEOUT
    assert "600 s" in text


def test_a_truncated_file_is_resumed_where_it_broke() -> None:
    cellar = served(
        Reply(body=PAYLOAD, etag='"v1"', break_after=100_000), Reply(body=PAYLOAD, etag='"v1"', break_after=50_000),
        Reply(body=PAYLOAD, etag='"v1"'),
    )  # fmt: skip
    cellar.run(cellar.obtain(PAYLOAD))
    assert [(request.offset, request.etag) for request in cellar.web.requests] == [
        (0, None),
        (100_000, '"v1"'),
        (150_000, '"v1"'),
    ]
    assert cellar.web.served == len(PAYLOAD), "no byte was paid for twice"


def test_a_file_that_is_always_truncated_is_given_up() -> None:
    cellar = served(Reply(body=PAYLOAD[:1000], said_length=300_000, break_after=1000, ranges=False))
    code, text = refused(cellar)
    assert code is ReasonCode.NO_MEDIA
    assert "ended early" in text


def test_a_body_shorter_than_it_was_said_is_not_taken_for_whole() -> None:
    cellar = served(Reply(body=PAYLOAD[:1000], said_length=300_000), Reply(body=PAYLOAD))
    cellar.run(cellar.obtain(PAYLOAD))
    assert list(cellar.files().values()) == [PAYLOAD]


def test_a_server_that_knows_no_ranges_is_read_from_the_start_again() -> None:
    cellar = served(Reply(body=PAYLOAD, break_after=200_000), Reply(body=PAYLOAD, ranges=False))
    cellar.run(cellar.obtain(PAYLOAD))
    assert list(cellar.files().values()) == [PAYLOAD]


def test_a_file_that_changed_meanwhile_is_read_from_the_start_again() -> None:
    stale = noise(300_000, 9)
    cellar = served(Reply(body=stale, etag='"old"', break_after=200_000), Reply(body=PAYLOAD, etag='"new"'))
    cellar.run(cellar.obtain(PAYLOAD))
    assert list(cellar.files().values()) == [PAYLOAD]


def test_pieces_that_do_not_fit_together_are_fetched_once_more() -> None:
    stale = noise(300_000, 9)
    cellar = served(Reply(body=stale, break_after=200_000), Reply(body=PAYLOAD))
    cellar.run(cellar.obtain(PAYLOAD))
    assert [request.offset for request in cellar.web.requests] == [0, 200_000, 0]
    assert list(cellar.files().values()) == [PAYLOAD]


def test_a_file_that_became_shorter_is_read_from_the_start_again() -> None:
    cellar = served(
        Reply(body=noise(400_000, 9), break_after=350_000), Reply(body=PAYLOAD), Reply(body=PAYLOAD)
    )
    cellar.run(cellar.obtain(PAYLOAD))
    assert [request.offset for request in cellar.web.requests] == [0, 350_000, 0]


def test_the_wrong_file_is_named_and_never_kept() -> None:
    cellar = served(Reply(body=noise(300_000, 9)))
    code, text = refused(cellar)
    assert code is ReasonCode.NO_MEDIA
    assert digest_of(PAYLOAD) in text
    assert digest_of(noise(300_000, 9)) in text
    assert len(cellar.web.requests) == 1


@pytest.mark.parametrize("said_length", [-1, None])
def test_an_empty_file_is_no_programme_even_with_the_right_digest(said_length: int | None) -> None:
    code, text = refused(served(Reply(body=b"", said_length=said_length)), b"")
    assert code is ReasonCode.NO_MEDIA
    assert "empty" in text


def test_a_huge_file_is_refused_before_a_byte_of_it_is_read() -> None:
    cellar = served(Reply(body=bytes(1000), said_length=10 << 30))
    code, text = refused(cellar)
    assert code is ReasonCode.NO_SPACE
    assert "10240.0 MiB" in text
    assert cellar.web.served == 0


def test_a_huge_file_that_hides_its_size_is_stopped() -> None:
    cellar = served(Reply(body=bytes(8 * MIB), said_length=None), asset_max_mib=5)
    code, _ = refused(cellar)
    assert code is ReasonCode.NO_SPACE
    assert cellar.web.served <= 5 * MIB + BLOCK_BYTES


def test_a_large_file_goes_through_little_memory() -> None:
    digest, cellar = digest_of(bytes(48 * MIB)), served(Reply(body=bytes(48 * MIB)))
    drain = cellar.disk.append

    def forget(stage: VirtualStage, payload: bytes, path: str) -> None:
        drain(stage, payload, path)
        stage.written.clear()

    cellar.disk.append = forget  # type: ignore[method-assign] # a disk that needs no memory
    tracemalloc.start()
    try:
        cellar.run(cellar.fetcher.obtain(digest, URL, urgent=False))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert cellar.web.largest_read == BLOCK_BYTES
    assert most < 1 * MIB


# ---------------------------------------------------------------- the disk


def test_no_room_is_known_before_anything_is_downloaded() -> None:
    cellar = Cellar(capacity_bytes=20 * MIB, reserve_mib=19)
    cellar.web.put(URL, Reply(body=noise(2 * MIB)))
    code, _ = refused(cellar, noise(2 * MIB))
    assert code is ReasonCode.NO_SPACE
    assert cellar.web.served == 0


def test_a_disk_that_becomes_full_meanwhile_is_tried_once_more_and_then_refused() -> None:
    cellar = served(Reply(body=PAYLOAD))
    cellar.disk.fail("full", operation="write", times=2)
    code, _ = refused(cellar)
    assert code is ReasonCode.NO_SPACE
    assert len(cellar.web.requests) == 2


def test_room_is_made_when_somebody_else_filled_the_disk_meanwhile() -> None:
    cellar, old, new = Cellar(capacity_bytes=60 * MIB, reserve_mib=16), noise(30 * MIB, 1), noise(10 * MIB, 2)

    def fill(bytes_served: int) -> None:
        if bytes_served == 4 * MIB:
            cellar.disk.fill()

    cellar.web.put(URL, Reply(body=new, before_read=fill), Reply(body=new))

    async def main() -> None:
        await cellar.keep(old)
        await cellar.obtain(new)

    cellar.run(main())
    assert list(cellar.files().values()) == [new]
    assert len(cellar.web.requests) == 2


def test_a_failing_disk_is_no_fault_of_the_server() -> None:
    cellar = served(Reply(body=PAYLOAD))
    cellar.disk.fail("io", operation="write")
    assert refused(cellar)[0] is ReasonCode.HARDWARE_FAULT


def test_a_failing_database_is_no_fault_of_the_server() -> None:
    cellar = served(Reply(body=PAYLOAD))
    cellar.database.fail("io")
    assert refused(cellar)[0] is ReasonCode.HARDWARE_FAULT


# ---------------------------------------------------------------- many at once


def test_many_wait_for_one_download() -> None:
    cellar = served(Reply(body=PAYLOAD, bytes_per_s=100_000))

    async def main() -> None:
        assets = await asyncio.gather(*(cellar.obtain(PAYLOAD) for _ in range(20)))
        assert set(assets) == {assets[0]}

    cellar.run(main())
    assert len(cellar.web.requests) == 1


def test_one_who_goes_away_does_not_end_it_for_the_others() -> None:
    cellar = served(Reply(body=PAYLOAD, bytes_per_s=100_000))

    async def main() -> None:
        first = asyncio.create_task(cellar.obtain(PAYLOAD))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(cellar.obtain(PAYLOAD))
        await asyncio.sleep(0.5)
        first.cancel()
        assert (await second).size == len(PAYLOAD)
        assert first.cancelled()

    cellar.run(main())
    assert len(cellar.web.requests) == 1


def test_when_the_last_one_goes_away_nothing_is_left() -> None:
    cellar = served(Reply(body=PAYLOAD, bytes_per_s=100_000))

    async def main() -> None:
        both = [asyncio.create_task(cellar.obtain(PAYLOAD)) for _ in range(2)]
        await asyncio.sleep(1)
        for one in both:
            one.cancel()
        await asyncio.wait(both)
        assert await cellar.is_clean()
        assert len(asyncio.all_tasks()) == 1, "only this one"
        assert (await cellar.obtain(PAYLOAD)).size == len(PAYLOAD), "and it can be fetched again"

    cellar.run(main())


def test_all_who_wait_hear_of_the_failure() -> None:
    cellar = served(Reply(status=404))

    async def main() -> None:
        errors = await asyncio.gather(*(cellar.refusal(cellar.obtain(PAYLOAD)) for _ in range(5)))
        assert {error.code for error in errors} == {ReasonCode.NO_MEDIA}

    cellar.run(main())
    assert len(cellar.web.requests) == 1


def test_whoever_brought_another_address_gets_it_tried() -> None:
    cellar = served(Reply(status=404))
    cellar.web.put("http://mirror/b", Reply(body=PAYLOAD))

    async def main() -> None:
        error, asset = await asyncio.gather(
            cellar.refusal(cellar.obtain(PAYLOAD)), cellar.obtain(PAYLOAD, "http://mirror/b")
        )
        assert error.code is ReasonCode.NO_MEDIA
        assert asset.size == len(PAYLOAD)

    cellar.run(main())


def several(cellar: Cellar, count: int, **reply: float) -> list[tuple[bytes, str]]:
    """Files on the server, each with its address."""
    files = [(noise(100_000, seed), f"http://server/{seed}") for seed in range(count)]
    for payload, url in files:
        cellar.web.put(url, Reply(body=payload, bytes_per_s=reply.get("bytes_per_s", 100_000)))
    return files


def test_so_many_at_once_and_no_more_first_come_first_served() -> None:
    cellar = Cellar(downloads_max=2)
    files = several(cellar, 6)

    async def main() -> None:
        await asyncio.gather(*(cellar.obtain(payload, url) for payload, url in files))

    cellar.run(main())
    assert cellar.web.open_most == 2
    assert [request.url for request in cellar.web.requests] == [url for _, url in files]


def test_an_urgent_one_does_not_queue_and_has_the_line_to_itself() -> None:
    cellar = Cellar(downloads_max=1)
    slow, waiting, urgent = several(cellar, 3)
    ended: dict[str, float] = {}

    async def one(payload: bytes, url: str, *, urgent: bool = False) -> None:
        await cellar.obtain(payload, url, urgent=urgent)
        ended[url] = asyncio.get_running_loop().time()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one(*slow))
            group.create_task(one(*waiting))
            await asyncio.sleep(0.3)
            group.create_task(one(*urgent, urgent=True))

    cellar.run(main())
    assert list(ended) == [urgent[1], slow[1], waiting[1]]
    assert ended[urgent[1]] - cellar.web.requests[1].at_s == pytest.approx(1.0, abs=0.1), (
        "at the line's full pace"
    )
    assert len(cellar.web.requests) == 3, "the paused one was not fetched anew"


def test_an_ordinary_one_becomes_urgent_when_somebody_needs_it_now() -> None:
    cellar = Cellar(downloads_max=1)
    slow, wanted = several(cellar, 2, bytes_per_s=10_000)

    async def main() -> float:
        async with asyncio.TaskGroup() as group:
            group.create_task(cellar.obtain(*slow))
            group.create_task(cellar.obtain(*wanted))
            await asyncio.sleep(1)
            assert len(cellar.web.requests) == 1
            await group.create_task(cellar.obtain(*wanted, urgent=True))
            return asyncio.get_running_loop().time()

    begun = cellar.counter.ns / 1e9
    assert cellar.run(main()) - begun == pytest.approx(11, abs=0.5)


def test_too_many_who_wait_are_refused() -> None:
    cellar = Cellar(downloads_max=1, queue_max=2)
    files = several(cellar, 3)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for payload, url in files[:2]:
                group.create_task(cellar.obtain(payload, url))
            await asyncio.sleep(0.1)
            assert (await cellar.refusal(cellar.obtain(*files[2]))).code is ReasonCode.BUSY

    cellar.run(main())


# ---------------------------------------------------------------- whatever the line does


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    breaks=st.lists(
        st.tuples(
            st.sampled_from(["break", "silent", "unreachable", "503"]),
            st.integers(0, 300_000),
            st.booleans(),
            st.sampled_from([None, '"a"', '"b"']),
        ),
        max_size=4,
    )
)
def test_whatever_the_line_does_the_file_is_right_in_the_end(
    breaks: list[tuple[str, int, bool, str | None]],
) -> None:
    replies = []
    for kind, after, ranges, etag in breaks:
        reply = Reply(body=PAYLOAD, ranges=ranges, etag=etag)
        if kind == "break":
            reply.break_after = after
        elif kind == "silent":
            reply.silent_after = after
        elif kind == "503":
            reply = Reply(status=503)
        else:
            reply = Reply(unreachable=True)
        replies.append(reply)
    cellar = served(*replies, Reply(body=PAYLOAD))

    async def main() -> None:
        await cellar.obtain(PAYLOAD)
        assert await cellar.is_clean()

    cellar.run(main())
    assert list(cellar.files().values()) == [PAYLOAD]


def test_a_url_is_shown_without_its_secrets() -> None:
    assert shown("https://u:p@host:8443/a/b.mp3?X-Amz-Signature=s#f") == "https://host:8443/a/b.mp3"
    assert shown("not a url?secret") == "not a url"
