"""The agent's own error tree (doors have theirs in `hal.errors`).

    AgentError
    |-- Refused(code, text)      something from outside is refused; nothing was done
    |   |-- OrderRefused         an order, at the door of `command`
    |   |-- KeysRefused(faults)  a keys document; carries every fault that was found
    |   |-- MediaRefused         an asset: not fetched, wrong hash, not audio
    |   `-- TextRefused          a board text: missing glyph, does not fit
    |-- PacketRefused(code, text)  a packet of a live stream; counted, and the stream goes on
    `-- ConfigInvalid(problems)  the config file; carries every problem at once

`assert` is for what we promised ourselves. These are for what the world did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.model import ReasonCode


class AgentError(Exception):
    """Root of the agent's errors."""


class Refused(AgentError):
    """Something from outside is refused, with a code for machines and a sentence for people.

    Attributes:
        code: one of `edge_agent.model.ReasonCode`.
        text: a full English sentence: what is wrong and what would help.
    """

    def __init__(self, code: ReasonCode, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class OrderRefused(Refused):
    """An order is refused at the door; it was not executed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a document, and where: a path like `$.roots.keys[0].pub`."""

    path: str
    message: str
    line: int | None = None


class DocumentRefused(Refused):
    """A document that says how the node should be is not taken; the one in force stays."""

    def __init__(self, code: ReasonCode, text: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(code, text)
        self.faults = tuple(faults) or (Fault("$", text),)


class KeysRefused(DocumentRefused):
    """A keys document is not trusted; the one in force stays."""


class MediaRefused(Refused):
    """An asset could not be had, or is not what it was said to be."""


class TextRefused(Refused):
    """A board text cannot be shown whole and unchanged."""


class PacketRefused(AgentError):
    """A packet is not what its place in a live stream asks for. It is counted by its code, and passed over.

    Attributes:
        code: a short word for the counter.
        text: a full English sentence.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
