"""What stands around a node that is tried from outside: a broker, a server, files on the web."""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hal.sim.network import Page
from tests.conftest import MosquittoMaker
from tests.hal import web_scenes
from tests.mosquitto import Mosquitto
from tests.process.node import Node, Server


@dataclass(slots=True)
class Outside:
    """The world of one node."""

    directory: Path
    broker: Mosquitto
    server: Server
    web: web_scenes.Server
    node: Node
    nodes: list[Node] = field(default_factory=list)

    def put(self, name: str, body: bytes, **page: Any) -> dict[str, Any]:
        """Put a file on the web; the arguments of a `play` for it."""
        self.web.pages[f"/{name}"] = Page(body=body, **page)
        url = f"http://127.0.0.1:{self.web.server_address[1]}/{name}"
        return {"media": f"sha256:{hashlib.sha256(body).hexdigest()}", "url": url}

    def begin(self, *arguments: str) -> None:
        """Start the node and wait until it is online."""
        before = len(self.server.received)
        self.node.start(*arguments)
        self.server.online(after=before)

    def another(self, name: str, *arguments: str, **more: Any) -> Node:
        """A node that is not started; its process ends with the test."""
        directory = self.directory / name
        directory.mkdir()
        self.nodes.append(Node(directory, self.broker.url, *arguments, **more))
        return self.nodes[-1]


OutsideMaker = Callable[..., Outside]


@pytest.fixture
def make_outside(tmp_path: Path, make_mosquitto: MosquittoMaker) -> Iterator[OutsideMaker]:
    """Takes the node's arguments and, as `broker`, the keywords of `Mosquitto`; nothing is started but the broker."""
    made: list[Outside] = []
    with ExitStack() as stack:

        def make(*arguments: str, broker: dict[str, Any] | None = None, **node: Any) -> Outside:
            directory = tmp_path / f"node-{len(made)}"
            directory.mkdir()
            mosquitto = make_mosquitto(**(broker or {}))
            user, word = next(iter((broker or {}).get("accounts", {"": ""}).items()))
            server = stack.enter_context(Server(mosquitto.url, username=user or None, password=word))
            web = web_scenes.Server()
            stack.callback(web.server_close)
            threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(web.shutdown)
            stack.callback(web.leave.set)
            process = Node(directory, mosquitto.url, *arguments, **node)
            made.append(Outside(tmp_path, mosquitto, server, web, process, [process]))
            return made[-1]

        yield make
        for outside in made:
            for node in outside.nodes:
                if node.running:
                    node.end(signal.SIGKILL)
                log = node.logs()
                assert "Traceback" not in log, log


@pytest.fixture
def outside(make_outside: OutsideMaker) -> Outside:
    """A node on virtual hardware that runs and is online, and all it needs."""
    outside = make_outside()
    outside.begin()
    return outside
