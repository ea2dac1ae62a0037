"""A problem of the config file: where, what, and the facts a sentence about it needs.

The sentences themselves, in two languages, are in `edge_agent.catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.errors import AgentError

UNREADABLE = "unreadable"
"""The code of the one problem that is not about the file's content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in the config.

    Attributes:
        code: stable, for machines; names the sentence in the catalogue.
        key: dotted path as it is written in the file, e.g. `sense.inputs.stop.offset`; "" = the file as a whole.
        line: line in the file, from 1; None when the key is not in the file.
        override: the command-line argument the value came from, when it did not come from the file.
        details: what the sentence quotes.
    """

    code: str
    key: str = ""
    line: int | None = None
    override: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


class ConfigInvalid(AgentError):
    """The config cannot be used.

    Attributes:
        problems: every one that could be found, in the order of the file.
        sections: those that have no problem of their own, by name, for whoever can do with less.
    """

    def __init__(self, problems: Sequence[Problem], sections: Mapping[str, Any] | None = None) -> None:
        assert problems, "an invalid config has at least one problem"
        self.problems = tuple(problems)
        self.sections = dict(sections or {})
        codes = ", ".join(f"{problem.key or 'file'}: {problem.code}" for problem in self.problems)
        super().__init__(f"The config has {len(self.problems)} problem(s): {codes}")

    @property
    def unreadable(self) -> bool:
        """Whether there was nothing to judge, because the file could not be read."""
        return self.problems[0].code == UNREADABLE
