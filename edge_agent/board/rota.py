"""Whose turn it is: the items of a playlist that are due on one board, one after the other (pure).

The items of the highest class that has any due take turns in the list's order. An item in several languages stands in one
of them in each of its turns, in another the next time; where the languages need different times, each is given the longest,
so that in the long run every language has the same (see `Bill`). Who was interrupted keeps its turn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from edge_agent.hours import DayHours
from edge_agent.model import OrderId
from edge_agent.playlist import Item, Playlist, TextContent

_NONE: frozenset[OrderId] = frozenset()


@dataclass(frozen=True, slots=True)
class Whose:
    """A turn: whose, and in which language ("" where the content has none)."""

    item: Item
    language: str


class Rota:
    """The turns of one board."""

    def __init__(self, board: str) -> None:
        self._board = board
        self._items: tuple[Item, ...] = ()
        self._at: Item | None = None
        """Whose turn it is, or was."""
        self._passed = False
        """Its turn is over."""
        self._spoken: dict[OrderId, int] = {}
        """How many turns an item with several languages has had."""

    def take(self, playlist: Playlist) -> None:
        """A list takes the place of the one before. An item that stands in both, but for its version, keeps its place."""
        before, self._items = self._items, tuple(item for item in playlist.items if self._shows(item))
        same = {_essence(old): old for old in before}
        self._spoken = {
            item.key: self._spoken.get(same[_essence(item)].key, 0)
            for item in self._items
            if _essence(item) in same
        }
        if self._at is not None:
            kept = _essence(self._at)
            self._at = next((item for item in self._items if _essence(item) == kept), None)

    def due(self, local: datetime | None) -> tuple[Item, ...]:
        """The items of the highest class that are due, in the list's order."""
        due = [item for item in self._items if is_due(item, local)]
        highest = max((item.precedence for item in due), default=None)
        return tuple(item for item in due if item.precedence is highest)

    def turn(self, local: datetime | None, *, passed_over: Collection[OrderId] = _NONE) -> Whose | None:
        """Whose turn it is now; None: nobody's. It stays so until `advance`, or until it is no longer due."""
        due = [item for item in self.due(local) if item.key not in passed_over]
        if not due:
            return None
        if self._at is None or self._passed or self._at not in due:
            self._at, self._passed = self._next(due), False
        return self._in_its_language(self._at)

    def following(self, local: datetime | None, *, passed_over: Collection[OrderId] = _NONE) -> Whose | None:
        """Whose turn it is after `advance`, as things stand."""
        due = [item for item in self.due(local) if item.key not in passed_over]
        if not due:
            return None
        item = self._next(due)
        return self._in_its_language(item, later=item is self._at and not self._passed)

    def advance(self) -> None:
        """The turn is over."""
        if self._at is not None and not self._passed:
            self._spoken[self._at.key] = self._spoken.get(self._at.key, 0) + 1
            self._passed = True

    def _shows(self, item: Item) -> bool:
        return not item.boards or self._board in item.boards

    def _next(self, due: Sequence[Item]) -> Item:
        """The first of `due` that stands in the list behind the one whose turn it was, and round again."""
        if self._at is None or self._at not in self._items:
            return due[0]
        place = self._items.index(self._at)
        order = [*self._items[place + 1 :], *self._items[: place + 1]]
        return next(item for item in order if item in due)

    def _in_its_language(self, item: Item, *, later: bool = False) -> Whose:
        if not isinstance(item.content, TextContent):
            return Whose(item, "")
        languages = [language for language, _ in item.content.texts]
        return Whose(item, languages[(self._spoken.get(item.key, 0) + later) % len(languages)])


def is_due(item: Item, local: datetime | None) -> bool:
    """Whether an item is to be seen at a moment.

    Without a time that is believed (None) nothing is due that has a date, a weekday or hours: nothing stale is shown, and
    nothing too early.
    """
    dated = item.begins is not None or item.ends is not None
    if not dated and not item.hours and len(item.days) == 7:
        return True
    if local is None:
        return False
    now = local.astimezone(UTC)
    if (item.begins is not None and now < item.begins) or (item.ends is not None and now >= item.ends):
        return False
    return local.weekday() in item.days and (not item.hours or DayHours(item.hours).covers(local))


def _essence(item: Item) -> Item:
    """What makes an item the same in another version of the list."""
    return replace(item, key=OrderId(item.key.partition("@")[0]))
