"""A node as its neighbours have it: a real process, driven and judged only from outside.

Nothing here uses the node's own code: orders are put together by hand, states are read with a
client of its own, and what sounded is read from `--sim-dir`. `Node` is also what benchmarks measure.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

NAME = "thon-thu"
GROUP = "xa-thu"
ROOT = "pa/v1"
RATE_HZ = 48_000
NS = 1_000_000_000
READY_WITHIN_S = 30.0

FINAL = frozenset({"rejected", "successful", "failed", "cancelled", "expired", "superseded", "interrupted"})

CONFIG = f"""
[node]
id = "{NAME}"
groups = ["{GROUP}"]
[broker]
url = "mqtt://127.0.0.1:1"
backoff_min_s = 0.1
backoff_max_s = 1
group_jitter_s = 0.1
[amplifier]
power = {{offset = 17}}
mute = {{offset = 27}}
settle_time_s = 0.2
hang_time_s = 0.3
off_on_delay_s = 0.1
[cache]
backoff_first_s = 0.1
backoff_max_s = 1
attempts = 3
"""
"""A node that is quick to come back; everything else as shipped."""


class Node:
    """One node's directory and, between `start` and its end, its process."""

    def __init__(
        self,
        directory: Path,
        broker_url: str,
        *arguments: str,
        config: str = CONFIG,
        env: Mapping[str, str] | None = None,
        state_dir: Path | None = None,
        recorded: bool = True,
    ) -> None:
        """`recorded`: with `--sim-dir`, one for each run."""
        self.directory = directory
        self.config = directory / "node.toml"
        self.config.write_text(config, encoding="utf-8")
        self.broker_url = broker_url
        self.arguments = arguments
        self.state_dir = state_dir or directory / "state"
        self.sim_dir = directory / "sim"
        self.runs = 0
        self.ready_s = 0.0
        """From exec to READY=1, of the last start."""
        self._recorded = recorded
        self._env = dict(os.environ if env is None else env)
        self._process: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------ its life

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "the node does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self, *more: str, wait: bool = True) -> Self:
        """Begin a run with a log and a `--sim-dir` of its own; with `wait`, until it says READY=1."""
        assert self._process is None, "it runs already"
        self.runs += 1
        self.sim_dir = self.directory / f"sim-{self.runs}"
        notify = self.directory / f"notify-{self.runs}"
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(str(notify))
        self._door.settimeout(0.2)
        began = time.perf_counter()
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(*more),
                env=self._env | {"NOTIFY_SOCKET": str(notify), "EDGE_AGENT_LANG": "en"},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        while wait and not self._heard_ready():
            assert self.running, f"the node ended before it was ready:\n{self.log()}"
            assert time.perf_counter() - began < READY_WITHIN_S, f"not ready in time:\n{self.log()}"
        self.ready_s = time.perf_counter() - began
        return self

    def command(self, *more: str) -> list[str]:
        """The command line of a run."""
        return [
            *(sys.executable, "-m", "edge_agent", "run", "--config", str(self.config), "--hardware", "sim"),
            *(("--sim-dir", str(self.sim_dir)) if self._recorded else ()),
            *("--state-dir", str(self.state_dir)),
            *("--set", f"broker.url={self.broker_url}", *self.arguments, *more),
        ]

    def end(self, how: signal.Signals = signal.SIGTERM, *, within_s: float = 20.0) -> float:
        """Send a signal and wait; returns how long it took. The exit code is in `code`."""
        process = self._process
        assert process is not None, "it does not run"
        began = time.perf_counter()
        process.send_signal(how)
        try:
            process.wait(within_s)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.code = process.returncode
        self._process = None
        self._door.close()
        return time.perf_counter() - began

    def ended_by_itself(self, *, within_s: float = READY_WITHIN_S) -> int:
        """Wait until the process is gone; its exit code."""
        assert self._process is not None, "it does not run"
        self.code = self._process.wait(within_s)
        self._process = None
        self._door.close()
        return self.code

    code = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.end()

    def _heard_ready(self) -> bool:
        try:
            return b"READY=1" in self._door.recv(4096)
        except TimeoutError:
            return False

    def wait(self, ready: Callable[[], Any], *, within_s: float = 20.0) -> None:
        """Wait until `ready` returns something true."""
        began = time.perf_counter()
        while not ready():
            assert time.perf_counter() - began < within_s, (
                f"it did not happen within {within_s} s:\n{self.log()}"
            )
            pause(0.05)

    # ------------------------------------------------------------ what it left

    @property
    def log_path(self) -> Path:
        """The log of the last run."""
        return self.directory / f"agent-{self.runs}.log"

    def log(self) -> str:
        """Everything it said in the last run."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def logs(self) -> str:
        """Everything it said in all runs."""
        paths = sorted(self.directory.glob("agent-*.log"))
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in paths)

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """The database of a node that does not run: a second connection would endanger it."""
        assert not self.running, "exactly one connection in one process"
        path = self.state_dir / "node.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            yield connection

    def heard(self, run: int | None = None) -> npt.NDArray[np.float32]:
        """What sounded in a run (the last one), silence included."""
        with wave.open(str(self.directory / f"sim-{run or self.runs}" / "heard.wav"), "rb") as file:
            raw = file.readframes(file.getnframes())
        return np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768.0

    def has_heard(self, run: int) -> bool:
        """Whether a run lived long enough to open its record."""
        return (self.directory / f"sim-{run}" / "heard.wav").exists()

    def heard_facts(self, run: int | None = None) -> dict[str, Any]:
        """heard.json of a run."""
        path = self.directory / f"sim-{run or self.runs}" / "heard.json"
        facts: dict[str, Any] = json.loads(path.read_text())
        return facts

    def lines(self, run: int | None = None) -> list[dict[str, Any]]:
        """Every change of every line in a run."""
        path = self.directory / f"sim-{run or self.runs}" / "lines.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def sounded_while_not_live(self, run: int | None = None, *, slack_s: float = 0.02) -> list[float]:
        """Seconds (of heard.wav) at which something was audible while the lines kept the loudspeaker off."""
        live, spans, began = {"amplifier_power": False, "amplifier_unmute": False}, [], None
        start_ns = self.heard_facts(run)["start_monotonic_ns"]
        for change in self.lines(run):
            live[change["line"]] = change["active"]
            on = live["amplifier_power"] and live["amplifier_unmute"]
            if on and began is None:
                began = change["mono_ns"]
            elif not on and began is not None:
                spans.append((began, change["mono_ns"]))
                began = None
        if began is not None:
            spans.append((began, 1 << 62))
        loud = np.flatnonzero(np.abs(self.heard(run)) > 0.003) / RATE_HZ
        for low, high in spans:
            low_s, high_s = (low - start_ns) / NS - slack_s, (high - start_ns) / NS + slack_s
            loud = loud[(loud < low_s) | (loud > high_s)]
        return [round(float(at), 3) for at in loud[:: max(1, len(loud) // 20)]]


def memory_mib(pid: int, what: str = "VmRSS") -> float:
    """`VmRSS` (resident now) or `VmHWM` (its peak), MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(what)


def pause(seconds: float) -> None:
    """The world outside runs in real time."""
    time.sleep(seconds)  # noqa: TID251 - a real process takes its time


def silent(lines: list[dict[str, Any]]) -> bool:
    """Whether the amplifier was left without power and muted in the end."""
    last = {change["line"]: change["active"] for change in lines}
    return last == {"amplifier_power": False, "amplifier_unmute": False}


# ---------------------------------------------------------------- the server's side


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message as the server's client had it."""

    topic: str
    payload: bytes
    retain: bool
    at_ns: int
    """CLOCK_BOOTTIME, as in heard.json and lines.jsonl."""

    @property
    def said(self) -> dict[str, Any]:
        """Its JSON."""
        said: dict[str, Any] = json.loads(self.payload)
        return said


@dataclass(slots=True)
class Server:
    """The central server: hears all that nodes say and publishes what it is told, also nonsense."""

    url: str
    name: str = "server"
    username: str | None = None
    password: str | None = None
    received: list[Received] = field(default_factory=list)
    _client: paho.Client = field(init=False)
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Self:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=self.name, protocol=paho.MQTTv5)
        if self.username is not None:
            client.username_pw_set(self.username, self.password)
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda ours, *_: ours.subscribe(f"{ROOT}/+/up/#", qos=1)
        client.on_message = lambda _client, _data, message: self._take(message)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        host, port = self.url.split("//")[1].split(":")
        client.connect(host, int(port), keepalive=30, clean_start=True)
        client.loop_start()
        self._client = client
        assert subscribed.wait(10), "the broker did not let the server subscribe"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, message: paho.MQTTMessage) -> None:
        entry = Received(
            topic=message.topic,
            payload=bytes(message.payload),
            retain=message.retain,
            at_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        )
        with self._arrived:
            self.received.append(entry)
            self._arrived.notify_all()

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = 300, qos: int = 1
    ) -> None:
        """Publish, and wait until the broker has it."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's own
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties).wait_for_publish(
            20
        )

    def order(self, verb: str, args: Any = None, *, id: str | None = None, **fields: Any) -> str:  # noqa: A002 - the field's own name
        """Publish one order and return its id."""
        body = order(verb, args, id=id, **fields)
        self.publish(f"{ROOT}/{NAME}/dn/cmd/{verb}", seal(body))
        return str(body["id"])

    # ------------------------------------------------------------ what was said

    def until(self, ready: Callable[[], Any], *, within_s: float = 20.0, what: str = "it") -> Any:
        """Wait until `ready` returns something true, looking again at each message; returns that."""
        end = time.monotonic() + within_s  # noqa: TID251 - the world outside has its own clock
        with self._arrived:
            while not (found := ready()):
                left = end - time.monotonic()  # noqa: TID251 - see above
                assert left > 0, f"{what} did not happen within {within_s} s"
                self._arrived.wait(min(left, 0.1))
        return found

    def states(self, order_id: str) -> list[dict[str, Any]]:
        """Every state of an order so far, repetitions left out."""
        seen: dict[tuple[Any, ...], dict[str, Any]] = {}
        for entry in self._on("/up/cmd"):
            said = entry.said
            if said["id"] == order_id:
                seen[entry.topic, said["log"], said["n"]] = said
        return list(seen.values())

    def state(self, order_id: str, *wanted: str, within_s: float = 20.0) -> dict[str, Any]:
        """Wait for one of these states of an order (none named: a final one)."""
        goals = frozenset(wanted) or FINAL

        def found() -> dict[str, Any] | None:
            states = [said for said in self.states(order_id) if said["state"] in goals]
            return states[-1] if states else None

        try:
            state: dict[str, Any] = self.until(found, within_s=within_s)
        except AssertionError:
            told = [said["state"] for said in self.states(order_id)]
            raise AssertionError(f"{order_id} was not {sorted(goals)} in {within_s} s, but {told}") from None
        return state

    def entries(self) -> dict[tuple[str, int], dict[str, Any]]:
        """The as-run log as it was reported: (log, number) -> entry."""
        found: dict[tuple[str, int], dict[str, Any]] = {}
        for message in self._on("/up/report"):
            said = message.said
            for report in said["reports"]:
                found[said["log"], report["n"]] = report["asrun"]
        return found

    def alerts(self) -> dict[str, dict[str, Any]]:
        """What is wrong now, by alert id."""
        found: dict[str, dict[str, Any]] = {}
        for message in self._on("/up/alert/"):
            name = message.topic.rsplit("/", 1)[1]
            found.pop(name, None)
            if message.payload:
                found[name] = message.said
        return found

    def online(self, *, after: int = 0, retained: bool = False, within_s: float = 20.0) -> dict[str, Any]:
        """Wait for a birth (after the message with that index). `retained`: one that the broker kept counts."""

        def born() -> dict[str, Any] | None:
            births = [
                entry.said
                for entry in self.received[after:]
                if entry.topic.endswith("/up/state")
                and (retained or not entry.retain)
                and entry.said["state"] == "online"
            ]
            return births[-1] if births else None

        birth: dict[str, Any] = self.until(born, within_s=within_s, what="a birth")
        return birth

    def _on(self, part: str) -> list[Received]:
        with self._arrived:
            return [entry for entry in self.received if part in entry.topic]


# ---------------------------------------------------------------- orders by hand


def order(verb: str, args: Any = None, *, id: str | None = None, **fields: Any) -> dict[str, Any]:  # noqa: A002 - see above
    """A good order for the node, as PROTOCOL says; `fields` replace, and None in `without` removes."""
    now = datetime.now(UTC)  # noqa: TID251 - the world outside has its own clock
    body: dict[str, Any] = {
        "v": 1,
        "id": id or str(uuid.uuid4()),
        "iss": "xa-thu",
        "aud": [f"n:{NAME}"],
        "verb": verb,
        "seq": time.time_ns() // 1000,
        "iat": now.isoformat(),
        "exp": (now + timedelta(minutes=5)).isoformat(),
        "nonce": None,
        "class": "routine",
        "supersedes": None,
        "dry": False,
        "args": {} if args is None else args,
    }
    body.update(fields)
    return body


def seal(body: Any) -> bytes:
    """Anything JSON, or raw bytes, in an envelope."""
    inner = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return json.dumps(
        {
            "payloadType": "application/vnd.pa.order+json",
            "payload": base64.b64encode(inner).decode(),
            "signatures": [],
        }
    ).encode()
