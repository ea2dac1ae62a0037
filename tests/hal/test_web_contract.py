"""One contract for `hal.ports.Web`: held to the virtual web and to urllib3 against real servers."""

from __future__ import annotations

import asyncio

import pytest

from hal.errors import WebBroken, WebTimeout, WebUnreachable
from hal.sim.network import Page
from tests.hal.web_scenes import BODY, TAG, Bench, until_it_fails, whole


def test_a_file_is_read_whole(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a.mp3", Page(body=BODY, etag=TAG)))
        assert (download.status, download.offset, download.etag) == (200, 0, TAG)
        assert (download.length, download.total) == (len(BODY), len(BODY))
        assert download.retry_after_s is None
        assert await whole(download, at_once=1000) == BODY

    web_bench.run(main)


def test_reads_are_bounded_whatever_is_asked_for(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a", Page(body=BODY)))
        assert 0 < len(await download.read(10**9)) <= 65536
        await download.close()

    web_bench.run(main)


def test_any_status_is_an_answer(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(
            web_bench.put("/busy", Page(status=503, body=b"later", retry_after_s=120))
        )
        assert (download.status, download.retry_after_s, download.total) == (503, 120.0, None)
        assert await whole(download) == b"later"
        web_bench.put("/", Page())
        download = await web_bench.web.get(web_bench.put("/a", Page()).removesuffix("/a") + "/nowhere")
        assert download.status == 404
        await download.close()

    web_bench.run(main)


def test_an_empty_file_is_empty(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a", Page()))
        assert (download.length, download.total) == (0, 0)
        assert await whole(download) == b""

    web_bench.run(main)


def test_a_body_without_length_ends_where_it_ends(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a", Page(body=BODY, sized=False)))
        assert (download.length, download.total) == (None, None)
        assert await whole(download) == BODY

    web_bench.run(main)


def test_the_rest_of_a_file_is_fetched_from_an_offset(web_bench: Bench) -> None:
    async def main() -> None:
        url = web_bench.put("/a", Page(body=BODY, etag=TAG))
        download = await web_bench.web.get(url, offset=1000, etag=TAG)
        assert (download.status, download.offset) == (206, 1000)
        assert (download.length, download.total) == (len(BODY) - 1000, len(BODY))
        assert await whole(download) == BODY[1000:]
        assert web_bench.asked()[-1] == ("/a", 1000, TAG)

    web_bench.run(main)


def test_a_file_that_has_changed_comes_whole(web_bench: Bench) -> None:
    async def main() -> None:
        url = web_bench.put("/a", Page(body=BODY, etag='"v2"'))
        download = await web_bench.web.get(url, offset=1000, etag=TAG)
        assert (download.status, download.offset, download.total) == (200, 0, len(BODY))
        assert await whole(download) == BODY

    web_bench.run(main)


def test_a_server_without_ranges_sends_the_whole(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a", Page(body=BODY, ranges=False)), offset=5)
        assert (download.status, download.offset) == (200, 0)
        assert await whole(download) == BODY

    web_bench.run(main)


def test_an_offset_behind_the_end_is_416(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a", Page(body=b"abc")), offset=3)
        assert download.status == 416
        await download.close()

    web_bench.run(main)


def test_a_weak_etag_is_none(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a", Page(body=b"abc", etag='W/"v1"')))
        assert download.etag is None
        await download.close()

    web_bench.run(main)


def test_redirects_are_followed_five_times_and_no_more(web_bench: Bench) -> None:
    async def main() -> None:
        web_bench.put("/end", Page(body=b"here"))
        web_bench.put("/r1", Page(redirect="/end"))
        for number in range(2, 7):
            url = web_bench.put(f"/r{number}", Page(redirect=f"r{number - 1}"))
        with pytest.raises(WebBroken, match="more than 5 redirects"):
            await web_bench.web.get(url)
        assert await whole(await web_bench.web.get(url.replace("/r6", "/r5"))) == b"here"
        with pytest.raises(WebBroken, match="redirects"):
            await web_bench.web.get(web_bench.put("/loop", Page(redirect="/loop")))
        with pytest.raises(WebBroken, match="not http"):
            await web_bench.web.get(web_bench.put("/file", Page(redirect="file:///etc/passwd")))

    web_bench.run(main)


def test_a_redirect_goes_only_where_it_may(web_bench: Bench) -> None:
    async def main() -> None:
        web_bench.put("/other", Page(body=b"not for us"))
        here = web_bench.put("/here", Page(body=b"here"))
        near, away = (
            web_bench.put("/near", Page(redirect="/here")),
            web_bench.put("/away", Page(redirect="/other")),
        )
        assert await whole(await web_bench.web.get(near, follow=lambda url: url == here)) == b"here"
        with pytest.raises(WebBroken, match="/other is not followed"):
            await web_bench.web.get(away, follow=lambda url: url == here)

    web_bench.run(main)
    assert "/other" not in [path for path, _, _ in web_bench.asked()]


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "file:///etc/passwd", "media/a.mp3", "", "http://", "http:///a"]
)
def test_what_is_not_http_is_a_value_error(web_bench: Bench, url: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="http"):
            await web_bench.web.get(url)

    web_bench.run(main)


def test_nobody_there_is_unreachable(web_bench: Bench) -> None:
    async def main() -> None:
        with pytest.raises(WebUnreachable, match="No connection"):
            await web_bench.web.get(web_bench.put("/a", Page(unreachable=True)))

    web_bench.run(main)


def test_a_body_that_ends_early_is_broken_after_what_has_come(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a", Page(body=BODY, truncate=100_000)))
        got, error = await until_it_fails(download)
        assert (got, type(error)) == (100_000, WebBroken)

    web_bench.run(main)


def test_a_server_that_answers_late_times_out(web_bench: Bench) -> None:
    async def main() -> None:
        with pytest.raises(WebTimeout):
            await web_bench.web.get(web_bench.put("/a", Page(body=b"abc", delay_s=3.0)))

    web_bench.run(main)


def test_a_body_that_stalls_times_out(web_bench: Bench) -> None:
    async def main() -> None:
        download = await web_bench.web.get(web_bench.put("/a", Page(body=BODY, stall_after=500)))
        got, error = await until_it_fails(download)
        assert (got, type(error)) == (500, WebTimeout)

    web_bench.run(main)


def test_a_drip_below_the_floor_times_out_and_one_above_is_read(web_bench: Bench) -> None:
    async def main() -> None:
        drip = await web_bench.web.get(web_bench.put("/slow", Page(body=BODY, drip_bytes_per_s=100)))
        with pytest.raises(WebTimeout, match="fewer than 256"):
            await whole(drip)
        steady = await web_bench.web.get(
            web_bench.put("/steady", Page(body=BODY[:1500], drip_bytes_per_s=1500))
        )
        assert await whole(steady) == BODY[:1500]

    web_bench.run(main)


def test_a_cancelled_read_ends_the_download_and_nothing_else(web_bench: Bench) -> None:
    async def main() -> None:
        url = web_bench.put("/stall", Page(body=BODY, stall_after=10))
        for _ in range(5):  # more than there are slots
            download = await web_bench.web.get(url)
            assert await download.read(10) == BODY[:10]
            reading = asyncio.ensure_future(download.read(10))
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            with pytest.raises(WebBroken, match="given up"):
                await download.read(10)
            await download.close()
            await download.close()
        assert await whole(await web_bench.web.get(web_bench.put("/a", Page(body=b"abc")))) == b"abc"

    web_bench.run(main)


def test_a_cancelled_get_gives_its_place_back(web_bench: Bench) -> None:
    async def main() -> None:
        late = web_bench.put("/late", Page(body=b"abc", delay_s=2.0))
        for _ in range(5):
            getting = asyncio.ensure_future(web_bench.web.get(late))
            await asyncio.sleep(0.02)
            getting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await getting
        assert await whole(await web_bench.web.get(web_bench.put("/a", Page(body=b"abc")))) == b"abc"

    web_bench.run(main)


def test_three_downloads_run_beside_one_another(web_bench: Bench) -> None:
    async def main() -> None:
        urls = [web_bench.put(f"/{number}", Page(body=BODY + bytes([number]))) for number in range(6)]

        async def fetch(url: str) -> bytes:
            return await whole(await web_bench.web.get(url), at_once=4096)

        bodies = await asyncio.gather(*map(fetch, urls))
        assert bodies == [BODY + bytes([number]) for number in range(6)]

    web_bench.run(main)
