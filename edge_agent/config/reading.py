"""From a file and a command line to `Settings`, or to all the problems that stand in the way."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from edge_agent.config import last_good, models
from edge_agent.config.conversion import BAD, convert
from edge_agent.config.problem import UNREADABLE, ConfigInvalid, Problem
from edge_agent.config.rules import check_together
from edge_agent.config.sections import NodeSettings, Settings
from edge_agent.config.toml_lines import KeyPath, lines_of

LARGEST_FILE_BYTES: Final = 256 * 1024
MOST_SYNTAX_ERRORS: Final = 20

HARDWARE_DOORS: Final = ("sound", "speech", "gpio", "board", "clock")
"""The keys of [hardware] that `--hardware` sets together."""

MUST_BE_SAID: Final = (("broker", "url"),)
"""Keys that have a default for tests, but that no node can do without."""


def load(path: Path, overrides: Sequence[str] = (), hardware: str | None = None) -> Settings:
    """Read a config file.

    Args:
        path: the TOML file.
        overrides: `key=value` each, laid over the file in order; a value is TOML, or else a string.
        hardware: "sim" or "linux" for every door of [hardware] that `overrides` does not set.

    Raises:
        ConfigInvalid: with every problem that was found.
    """
    return parse(read(path), overrides, hardware)


def read(path: Path) -> str:
    """The text of a config file. Raises ConfigInvalid."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        details = {"path": str(path), "why": error.strerror or str(error)}
        raise ConfigInvalid([Problem(code=UNREADABLE, details=details)]) from None
    if len(content) > LARGEST_FILE_BYTES:
        raise ConfigInvalid(
            [Problem(code="too_large", details={"limit": f"{LARGEST_FILE_BYTES // 1024} KiB"})]
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid([Problem(code="not_utf8", line=line)]) from None


def parse(text: str, overrides: Sequence[str] = (), hardware: str | None = None) -> Settings:
    """As `load`, from the file's text."""
    source = _Source(text=text)
    source.parse()
    for door in HARDWARE_DOORS if hardware else ():
        source.override(f"hardware.{door}={hardware}", f"--hardware {hardware}")
    for override in overrides:
        source.override(override, f"--set {override}")
    if source.broken_tables:
        raise ConfigInvalid(source.sorted())
    models.lay_under(source.tables, source.report)
    sections = convert(Settings, source.tables, source.raw, source.report)
    for section, key in MUST_BE_SAID:
        if key not in source.tables.get(section, {}):
            source.report((section, key), "missing")
    bad = {name for name, section in sections.items() if section is BAD}
    good = {name: section for name, section in sections.items() if name not in bad}
    settings = Settings(**({"node": NodeSettings(id="unknown")} | good))
    if settings.hardware.gpio == "sim":
        said = source.tables.get("governor", {})
        settings = msgspec.structs.replace(settings, governor=settings.governor.on_a_bench(said))
    check_together(settings, bad, source.report)
    if source.problems:
        raise ConfigInvalid(source.sorted(), good)
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a daemon starts with.

    Attributes:
        settings: from the file, or from the last good copy of it.
        problems: why the file itself could not be used; () when it could.
        text: what the settings were read from.
    """

    settings: Settings
    text: str
    problems: tuple[Problem, ...] = ()


def start(
    path: Path, *, directory: Path, overrides: Sequence[str] = (), hardware: str | None = None
) -> Start:
    """Read the config for a daemon: with an invalid file, the last good one in `directory`.

    Raises:
        ConfigInvalid: the file is invalid and there is no last good one that can be used.
    """
    try:
        text = read(path)
        return Start(settings=parse(text, overrides, hardware), text=text)
    except ConfigInvalid as invalid:
        kept = last_good.read(directory)
        if kept is None:
            raise
        problems = invalid.problems
    (directory / last_good.PROPOSED).unlink(missing_ok=True)
    for tried in (overrides, ()):
        with contextlib.suppress(ConfigInvalid):
            return Start(settings=parse(kept, tried, hardware), text=kept, problems=problems)
    raise ConfigInvalid(problems)


@dataclass(slots=True, kw_only=True)
class _Source:
    """One file with the command line's additions, and the problems found so far."""

    text: str
    tables: dict[str, Any] = field(default_factory=dict)
    raw: dict[KeyPath, str] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Lines with a syntax error; keys on them are not missing."""
    broken_tables: bool = False
    """The syntax is so broken that the rest would be guesswork."""

    def parse(self) -> None:
        """Parse the text; a line with a syntax error is taken out, and the rest is read."""
        rows = self.text.split("\n")
        last = 0
        for _ in range(MOST_SYNTAX_ERRORS):
            text = "\n".join(rows)
            try:
                self.tables = tomllib.loads(text)
            except RecursionError:
                self.problems.append(Problem(code="too_deep"))
                break
            except tomllib.TOMLDecodeError as error:
                line, problem = _syntax_problem(str(error), text)
                self.problems.append(problem)
                culprit = rows[line - 1]
                if line <= last or _left_open(problem, culprit) or not _stands_alone(culprit):
                    break
                self.unread.append(culprit)
                rows[line - 1] = ""
                last = line
            else:
                self.lines = lines_of(text)
                return
        self.broken_tables = True

    def override(self, argument: str, label: str) -> None:
        """Lay one `key=value` over the file."""
        name, equals, value = argument.partition("=")
        path = _override_path(name.strip()) if equals else None
        if path is None:
            self.problems.append(Problem(code="override_form", override=label, details={"text": argument}))
            return
        table = self.tables
        for part in path[:-1]:
            inner = table.setdefault(part, {})
            if not isinstance(inner, dict):
                self.problems.append(Problem(code="override_path", key=name.strip(), override=label))
                return
            table = inner
        table[path[-1]] = _override_value(value)
        self.raw[path] = value
        self.origins[path] = label

    def report(self, path: KeyPath, code: str, **details: str) -> None:
        """Take a problem down, with the place it came from."""
        if code == "missing" and any(
            re.match(rf"\s*[\"']?{re.escape(str(path[-1]))}\b", row) for row in self.unread
        ):
            return
        problem = Problem(code=code, key=_dotted(path), line=self._line(path), details=details)
        for length in range(len(path), 0, -1):
            label = self.origins.get(path[:length])
            if label is not None:
                problem = replace(problem, override=label, line=None)
                break
        if code in {"room_refused", "unknown_section"} and problem.override is None:
            below = [label for origin, label in self.origins.items() if origin[: len(path)] == path]
            problem = replace(problem, override=below[-1] if below and problem.line is None else None)
        self.problems.append(problem)

    def _line(self, path: KeyPath) -> int | None:
        """The key's own line, or that of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def sorted(self) -> list[Problem]:
        """In the order of the file; then those without a line, then those of the command line."""
        return sorted(
            self.problems, key=lambda problem: (problem.override is not None, problem.line or 1 << 30)
        )


def _left_open(problem: Problem, row: str) -> bool:
    """Whether tomllib complains of something that a line further up began: it says so, or it wants a
    value where this row has a key."""
    what, column = problem.details["what"], int(problem.details["column"])
    wants_value = what == "Invalid value" and column <= row.find("=") + 1
    return wants_value or what.startswith(("Unclosed", "Unterminated"))


def _stands_alone(row: str) -> bool:
    """Whether the lines after this one mean the same without it: no header, and nothing left open."""
    balanced = row.count("[") == row.count("]") and row.count("{") == row.count("}")
    return balanced and not row.lstrip().startswith("[") and not any(mark in row for mark in ('"""', "'''"))


def _syntax_problem(message: str, text: str) -> tuple[int, Problem]:
    place = re.search(r"\(at line (\d+), column (\d+)\)", message)
    line = int(place[1]) if place else text.rstrip("\n").count("\n") + 1
    column = place[2] if place else "1"
    what = re.sub(r"\s*\(at [^()]*\)$", "", message)
    return line, Problem(code="syntax", line=line, details={"column": column, "what": what})


def _override_path(name: str) -> tuple[str, ...] | None:
    """The path a dotted TOML key names, or None when it is not one."""
    try:
        inner: Any = tomllib.loads(f"{name} = 0") if "\n" not in name else {}
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    path: tuple[str, ...] = ()
    while isinstance(inner, dict):
        if len(inner) != 1:
            return None
        ((part, inner),) = inner.items()
        path = (*path, part)
    return path


def _override_value(text: str) -> Any:
    """TOML if it is, else the text itself."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def _dotted(path: KeyPath) -> str:
    """A path as it would be written in TOML, with [0] for places in arrays."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        plain = re.fullmatch(r"[A-Za-z0-9_-]+", part)
        text += ("." if text else "") + (part if plain else f'"{part}"')
    return text


def with_state_dir(settings: Settings, directory: str) -> Settings:
    """The same settings with the state directory that was decided on."""
    storage = msgspec.structs.replace(settings.storage, state_dir=directory)
    return msgspec.structs.replace(settings, storage=storage)
