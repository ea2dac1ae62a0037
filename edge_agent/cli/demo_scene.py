"""What the demo's audience sees: the virtual hardware's own record, followed as it grows.

Read from the files that `--sim-dir` keeps and from the topics the node publishes; nothing is
asked of the agent itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

WAV_HEADER_BYTES = 44
_LEVEL_FRAMES = 4800


class Tail:
    """The complete lines that were added to a file of JSON lines since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def news(self) -> list[dict[str, Any]]:
        """New entries, oldest first; [] while there is no file."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines() if line.strip()]


@dataclass(slots=True)
class Scene:
    """The state of the play. `look` reads what is new; `said` takes a message from the node."""

    sim_dir: Path
    lines: dict[str, bool] = field(default_factory=dict)
    board_file: Path | None = None
    level_dbfs: float = -120.0
    online: bool = False
    states: dict[str, list[str]] = field(default_factory=dict)
    """Order id -> the states it went through."""
    asrun: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Order id -> its as-run entry."""
    alerts: dict[str, str] = field(default_factory=dict)
    reported: tuple[int, str] = (0, "")
    """The highest number among the node's reports, and the name of the log it counts in."""
    _lines_tail: Tail = field(init=False)
    _board_tail: Tail = field(init=False)
    _heard_bytes: int = 0
    _still: int = 0

    def __post_init__(self) -> None:
        self._lines_tail = Tail(self.sim_dir / "lines.jsonl")
        self._board_tail = Tail(self.sim_dir / "board" / "board.jsonl")

    @property
    def amplifier(self) -> str:
        """OFF, SETTLING, MUTED or LIVE, from the lines alone: zones are switched once it has settled."""
        if not self.lines.get("amplifier_power"):
            return "OFF"
        if self.lines.get("amplifier_unmute"):
            return "LIVE"
        zones = [on for line, on in self.lines.items() if line.startswith("zone_")]
        return "MUTED" if not zones or any(zones) else "SETTLING"

    def look(self) -> None:
        """Read what the hardware did since the last look."""
        for change in self._lines_tail.news():
            self.lines[change["line"]] = change["active"]
        for event in self._board_tail.news():
            self.board_file = self.sim_dir / "board" / event["file"] if event["file"] else None
        self._listen()

    def said(self, topic: str, payload: bytes) -> None:
        """Take one message of the node; anything that is not for this audience is passed over."""
        part = topic.split("/up/", 1)[-1]
        try:
            content = msgspec.json.decode(payload) if payload else {}
        except msgspec.DecodeError:
            return
        match part.split("/"):
            case ["state"]:
                self.online = content.get("state") == "online"
            case ["cmd"]:
                self.reported = (content["n"], content["log"])
                history = self.states.setdefault(content["id"], [])
                if not history or history[-1] != content["state"]:
                    history.append(content["state"])
            case ["report"]:
                self.reported = (content["reports"][-1]["n"], content["log"])
                self.asrun |= {report["asrun"]["id"]: report["asrun"] for report in content["reports"]}
            case ["alert", name]:
                self.alerts.pop(name, None)
                if content:
                    self.alerts[name] = content.get("text", "")

    def _listen(self) -> None:
        """The level of the last 100 ms that were written, or silence when nothing is being written."""
        import numpy as np

        try:
            with (self.sim_dir / "heard.wav").open("rb") as file:
                size = file.seek(0, 2)
                self._still = self._still + 1 if size == self._heard_bytes else 0
                self._heard_bytes = size
                file.seek(max(WAV_HEADER_BYTES, size - 2 * _LEVEL_FRAMES))
                raw = file.read()
        except FileNotFoundError:
            return
        frames = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2").astype(np.float64) / 32768
        rms = float(np.sqrt(np.mean(frames**2))) if len(frames) and self._still < 8 else 0.0
        self.level_dbfs = max(-120.0, 20 * float(np.log10(max(rms, 1e-6))))
