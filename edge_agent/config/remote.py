"""Settings that come from the server: on trial first, confirmed by a connection, taken back without one.

Only some sections may be set from afar: how the server is reached, what is reported, cached and scheduled. What
protects the village (the house rules, the keys, the wiring) is in the technician's file alone. The
technician's file lies below: a key that the document does not name is as the file says.

Four small files in the state directory, each replaced atomically:

    config.trial.json     a document's settings that no run has used yet
    config.trying.json    those that this run uses for the first time
    config.remote.json    those that have proved themselves: a session with the broker stood
    config.failed.json    those that did not: they are not tried again

A run that finds `trying` from an earlier run did not get so far: the trial has failed, and it starts without.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from edge_agent.config.conversion import BAD, convert
from edge_agent.config.rules import check_together
from edge_agent.config.sections import Settings
from edge_agent.config.toml_lines import KeyPath
from edge_agent.desired import Doc, Signed, Understood
from edge_agent.errors import DocumentRefused, Fault
from edge_agent.model import ReasonCode
from edge_agent.patterns import decoded
from edge_agent.persistence import until_stored
from hal.errors import DiskMissing
from hal.ports import Disk

logger = logging.getLogger(__name__)

SECTIONS: Final = ("broker", "cache", "live", "report", "schedule")
NOT_FROM_AFAR: Final = frozenset(
    {("broker", key) for key in ("password_file", "ca_file", "cert_file", "key_file", "username", "root")}
)
"""Who the server is, is the technician's to say: a document may move it, not replace what proves it."""
TRIAL, TRYING = "config.trial.json", "config.trying.json"
REMOTE, FAILED = "config.remote.json", "config.failed.json"
TRIAL_S: Final = 300.0
_LOOK_S: Final = 1.0
_RETRY_S: Final = 30.0
_NOTHING: Final = b"{}"
_USELESS: Final = (DocumentRefused, ValueError, TypeError, AttributeError, RecursionError)
"""What a file that is no settings may raise."""

_UNPROVEN: Final = (
    "The settings were tried, and no session stood within five minutes; the ones before are in use."
)

Tables = dict[str, dict[str, Any]]


class ConfigForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a config document: sections and keys as in the node's TOML file."""

    settings: dict[str, dict[str, Any]]


class Verdicts(Protocol):
    """Whoever tells the server how a trial went."""

    async def settled(self, doc: Doc, refusal: DocumentRefused | None) -> None:
        """A document that was on trial has stood it, or has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What this run uses."""

    settings: Settings
    trial: bool = False
    """They are on trial: without a session in five minutes they go."""
    failed: bool = False
    """The last trial has failed."""


def overlaid(settings: Settings, tables: Mapping[str, Mapping[str, Any]]) -> Settings:
    """The settings with a document's laid over them. Raises DocumentRefused with every fault."""
    faults = [
        Fault(
            f"$.settings.{section}", f"The section {section} is not set from afar; see the node's own file."
        )
        for section in tables
        if section not in SECTIONS
    ]
    faults += [
        Fault(f"$.settings.{section}.{key}", "This key is not set from afar; see the node's own file.")
        for section, table in tables.items()
        for key in table
        if (section, key) in NOT_FROM_AFAR
    ]
    whole = {
        section: _said(getattr(settings, section)) | dict(table)
        for section, table in tables.items()
        if section in SECTIONS
    }

    def report(path: KeyPath, code: str, **details: str) -> None:
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        if len(path) > 1 and str(path[0]) in tables:
            faults.append(Fault(f"$.settings{place}", _worded(code, details)))

    made = convert(Settings, {"node": _said(settings.node)} | whole, {}, report)
    changed = {name: made[name] for name in whole if made.get(name) is not BAD and name in made}
    laid = msgspec.structs.replace(settings, **changed)
    if not faults:
        check_together(laid, frozenset(), report)
    if faults:
        raise DocumentRefused(
            ReasonCode.BAD_ARGS, f"The config is wrong at {faults[0].path}: {faults[0].message}", faults
        )
    return laid


def _said(section: msgspec.Struct) -> dict[str, Any]:
    """A section as it would stand in a file: what is not set is left out."""
    whole: dict[str, Any] = msgspec.to_builtins(section)
    return {key: value for key, value in whole.items() if value is not None}


def _worded(code: str, details: Mapping[str, str]) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in details.items())
    return f"The value is refused: {code.replace('_', ' ')}" + (f" ({facts})." if facts else ".")


async def choose(settings: Settings, disk: Disk) -> Chosen:
    """What to start with, before any room is built. Never raises: in doubt the file alone counts."""
    try:
        return await _chosen(settings, disk)
    except Exception:
        logger.exception("The settings of the server cannot be used; the file alone counts.")
        return Chosen(settings=settings)


async def _chosen(settings: Settings, disk: Disk) -> Chosen:
    trying, remote = await _read(disk, TRYING), await _read(disk, REMOTE)
    if trying is not None:
        failed = trying != remote  # else the power went when they had just proved themselves
        if failed:
            logger.error("The settings on trial did not prove themselves; the node starts without them.")
            await disk.write_atomic(FAILED, trying)
        await disk.remove(TRYING)
        await disk.remove(TRIAL)  # a cut between the two left both
        return Chosen(settings=await _with(settings, disk, REMOTE), failed=failed)
    trial = await _read(disk, TRIAL)
    if trial is not None:
        try:
            tried = await _with(settings, disk, TRIAL)
        except _USELESS as error:
            logger.error("The settings to be tried cannot be used. error=%r", error)  # noqa: TRY400 - the sentence says it all
            await disk.remove(TRIAL)
        else:
            await disk.write_atomic(TRYING, trial)
            await disk.remove(TRIAL)
            logger.info("New settings of the server are on trial. for_s=%.0f", TRIAL_S)
            return Chosen(settings=tried, trial=True)
    return Chosen(settings=await _with(settings, disk, REMOTE))


class RemoteConfig:
    """Takes the config document."""

    def __init__(
        self,
        *,
        base: Settings,
        chosen: Chosen,
        disk: Disk,
        connected: Callable[[], bool],
        leave: Callable[[], None],
    ) -> None:
        """`base`: what the technician's file says. `leave`: the process ends and is started again."""
        self._base = base
        self._chosen = chosen
        self._disk = disk
        self._connected = connected
        self._leave = leave
        self.trial = chosen.trial

    def understand(self, body: bytes, signed: Signed) -> Understood:
        """See `desired.Taker`."""
        form = decoded(body, ConfigForm, what="config")
        overlaid(self._base, form.settings)
        return Understood(content=form.settings)

    async def take(self, understood: Understood | None) -> str | None:
        """See `desired.Taker`. What is in use already, or has just failed, is not tried again."""
        tables: Tables = {} if understood is None else understood.content
        text = json.dumps(tables, sort_keys=True).encode()
        trying, remote = await _read(self._disk, TRYING), await _read(self._disk, REMOTE)
        if self.trial and trying == text:
            return "The settings are on trial."
        if text == (remote if remote is not None else _NOTHING):
            await self._disk.remove(TRIAL)
            if not self.trial:
                return None
            await self._disk.remove(TRYING)  # back to what has proved itself: the trial of the others is over
            return self._start_again("back to the settings before")
        if await _read(self._disk, FAILED) == text:
            return _UNPROVEN
        await self._disk.write_atomic(TRIAL, text)
        if self.trial:
            await self._disk.remove(TRYING)
        return self._start_again("to try new settings")

    def _start_again(self, why: str) -> str:
        logger.info("The node starts again, %s.", why)
        self._leave()
        return f"The node starts again, {why}."

    async def life(self, verdicts: Verdicts) -> None:
        """On trial: wait for a session. With one the settings stay, without they go."""
        if self._chosen.failed:
            await self._tell(verdicts, DocumentRefused(ReasonCode.TIMEOUT, _UNPROVEN))
        if self.trial and await self._connects():
            await until_stored(
                self._keep, what="That the settings proved themselves", log=logger, wait_s=_RETRY_S
            )
            await self._tell(verdicts, None)
            logger.info("The new settings have proved themselves.")
        await asyncio.Event().wait()

    async def _connects(self) -> bool:
        """Whether a session stands within the trial's time; without one the process leaves."""
        try:
            async with asyncio.timeout(TRIAL_S):
                while not self._connected():  # noqa: ASYNC110 - the inbox tells nobody
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            logger.error("No session stood with the new settings; the node goes back to the ones before.")  # noqa: TRY400 - the sentence says it all
            self._leave()
            return False
        return True

    async def _keep(self) -> None:
        """They count from now on. Raises DiskError."""
        text = await _read(self._disk, TRYING)
        if text is not None:
            await self._disk.write_atomic(REMOTE, text)
            await self._disk.remove(TRYING)
        self.trial = False

    @staticmethod
    async def _tell(verdicts: Verdicts, refusal: DocumentRefused | None) -> None:
        await until_stored(
            lambda: verdicts.settled(Doc.CONFIG, refusal),
            what="How a trial went",
            log=logger,
            wait_s=_RETRY_S,
        )


async def _with(settings: Settings, disk: Disk, name: str) -> Settings:
    text = await _read(disk, name)
    return settings if text is None else overlaid(settings, json.loads(text))


async def _read(disk: Disk, name: str) -> bytes | None:
    try:
        return await disk.read(name)
    except DiskMissing:
        return None
