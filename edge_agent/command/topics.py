"""Where on the broker everything lies: builds topics, and reads the ones that arrive. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from edge_agent.desired import Doc
from edge_agent.model import NodeId


@dataclass(frozen=True, slots=True)
class OrderTopic:
    """An order arrived here; `group` is None on the node's own topic."""

    verb: str
    group: str | None


class Down(Enum):
    """What else comes down to this node."""

    ACK = "ack"
    PENDING = "pending"
    TIME = "time"
    KEYS = "desired/keys"
    """The keys document, retained; for one node or for a group."""
    SCHEDULE = "desired/schedule"
    MEDIA = "desired/media"
    BOARD = "desired/board"
    CONFIG = "desired/config"

    @property
    def doc(self) -> Doc | None:
        """The desired document that comes this way, if one does."""
        return Doc(self.value.removeprefix("desired/")) if self in _DESIRED[1:] else None


_DESIRED = (Down.KEYS, Down.SCHEDULE, Down.MEDIA, Down.BOARD, Down.CONFIG)
"""The retained documents; the keys come first, because the others are believed by them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """All topics of one node under one root."""

    root: str
    node: NodeId
    groups: tuple[str, ...] = ()

    def own(self) -> Sequence[str]:
        """What the node subscribes to for itself, at each connect."""
        down = f"{self.root}/{self.node}/dn"
        return (
            *(f"{down}/{desired.value}" for desired in _DESIRED),
            f"{down}/cmd/#",
            f"{down}/{Down.ACK.value}",
            f"{down}/{Down.PENDING.value}",
            f"{down}/{Down.TIME.value}",
        )

    def of_groups(self) -> Sequence[str]:
        """And for its groups."""
        return tuple(
            f"{self.root}/g/{group}/dn/{what}"
            for group in self.groups
            for what in (*(desired.value for desired in _DESIRED), "cmd/#")
        )

    def up(self, what: str) -> str:
        """One of the node's own topics: `state`, `caps`, `cmd`, `report`, `ask`, `alert/<id>` ..."""
        return f"{self.root}/{self.node}/up/{what}"

    @property
    def audience(self) -> frozenset[str]:
        """The names in `aud` that mean this node."""
        return frozenset((f"n:{self.node}", *(f"g:{group}" for group in self.groups)))

    def read(self, topic: str) -> OrderTopic | Down | None:
        """What a received topic is for; None when it is nothing of ours."""
        own = f"{self.root}/{self.node}/dn/"
        if topic.startswith(own):
            rest = topic.removeprefix(own)
            if rest in {down.value for down in Down}:
                return Down(rest)
            return _order(rest, None)
        for group in self.groups:
            prefix = f"{self.root}/g/{group}/dn/"
            for desired in _DESIRED:
                if topic == prefix + desired.value:
                    return desired
            if topic.startswith(prefix):
                return _order(topic.removeprefix(prefix), group)
        return None


def order_topic(root: str, *, verb: str, node: str | None = None, group: str | None = None) -> str:
    """Where an order for a node, or for a group, is published."""
    assert (node is None) != (group is None), "an order goes to a node or to a group"
    return f"{root}/{node}/dn/cmd/{verb}" if group is None else f"{root}/g/{group}/dn/cmd/{verb}"


def _order(rest: str, group: str | None) -> OrderTopic | None:
    kind, _, verb = rest.partition("/")
    return OrderTopic(verb, group) if kind == "cmd" and verb and "/" not in verb else None
