"""Desired state as it is handed to the room that it is for: who signed a document, and what such a room must offer.

A document says how the node should be (its schedule, its media, its board, its settings). It is verified and kept
by `command.reconcile`; what it means is the business of the room that takes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from edge_agent.errors import Fault
from edge_agent.model import Issuer, Precedence


class Doc(StrEnum):
    """The documents that say how the node should be. Also the verbs that an authority needs to sign them."""

    SCHEDULE = "schedule"
    MEDIA = "media"
    BOARD = "board"
    CONFIG = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Who answers for a document, and how far."""

    issuer: Issuer
    highest: Precedence
    """The class that was signed for: nothing in the document may be higher."""
    version: int
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What a room has made of a document. `warnings`: what its author should know although it is taken."""

    content: Any
    warnings: tuple[Fault, ...] = ()


class Taker(Protocol):
    """A room that one kind of document is for."""

    def understand(self, body: bytes, signed: Signed) -> Understood:
        """Read it, without any effect; may be called on another thread. Raises DocumentRefused with every fault."""

    async def take(self, understood: Understood | None) -> str | None:
        """It is in force from now on, in place of the one before; None: no document is in force any more.

        Returns why it is still on trial, or None when it stands. Raises DatabaseError, DiskError.
        """


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file that came on a stick."""

    name: str
    done: str
    """kept, known, applied, pending, refused"""
    why: str = ""


class Stick(Protocol):
    """Whoever takes what a technician brought."""

    async def take(self) -> list[Found]:
        """Everything that lies in the import directory. Raises DiskError."""
