"""The benches on which the doors to the network are tried."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.conftest import MosquittoMaker
from tests.hal import broker_scenes, datagram_scenes, web_scenes


@pytest.fixture(params=["virtual", pytest.param("mosquitto", marks=pytest.mark.realtime)])
def broker_bench(request: pytest.FixtureRequest) -> broker_scenes.Bench:
    """Each broker in turn."""
    if request.param == "virtual":
        return broker_scenes.VirtualBench()
    make: MosquittoMaker = request.getfixturevalue("make_mosquitto")
    return broker_scenes.MosquittoBench(make(acl=broker_scenes.ACL))


@pytest.fixture
def server() -> Iterator[web_scenes.Server]:
    served = web_scenes.Server()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    served.leave.set()
    served.shutdown()
    served.server_close()
    thread.join(5)


@pytest.fixture
def urllib_bench(server: web_scenes.Server) -> Iterator[web_scenes.UrllibBench]:
    bench = web_scenes.UrllibBench(server)
    yield bench
    bench.web.close()
    for _ in range(500):
        if not any(thread.name.startswith("web") for thread in threading.enumerate()):
            break
        server.leave.wait(0.01)
    assert not any(thread.name.startswith("web") for thread in threading.enumerate()), (
        "a thread was left behind"
    )


@pytest.fixture(params=["virtual", pytest.param("urllib", marks=pytest.mark.realtime)])
def web_bench(request: pytest.FixtureRequest) -> web_scenes.Bench:
    """Each web in turn."""
    if request.param == "virtual":
        return web_scenes.VirtualBench()
    found: web_scenes.Bench = request.getfixturevalue("urllib_bench")
    return found


@pytest.fixture(params=["virtual", pytest.param("linux", marks=pytest.mark.realtime)])
def bench(request: pytest.FixtureRequest) -> datagram_scenes.Bench:
    """Each UDP in turn."""
    return datagram_scenes.VirtualBench() if request.param == "virtual" else datagram_scenes.LinuxBench()
