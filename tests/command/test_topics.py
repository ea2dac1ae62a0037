"""Topics are built and read by one place."""

from __future__ import annotations

import pytest

from edge_agent.command.topics import Down, OrderTopic, Topics, order_topic
from edge_agent.model import NodeId

TOPICS = Topics(root="pa/v1", node=NodeId("thon-3"), groups=("xa-vi-huong", "huyen"))


@pytest.mark.parametrize(
    ("topic", "meaning"),
    [
        ("pa/v1/thon-3/dn/cmd/play", OrderTopic("play", None)),
        ("pa/v1/g/huyen/dn/cmd/stop", OrderTopic("stop", "huyen")),
        ("pa/v1/thon-3/dn/ack", Down.ACK),
        ("pa/v1/thon-3/dn/pending", Down.PENDING),
        ("pa/v1/thon-3/dn/cmd", None),
        ("pa/v1/thon-3/dn/cmd/", None),
        ("pa/v1/thon-3/dn/cmd/play/now", None),
        ("pa/v1/thon-3/up/cmd", None),
        ("pa/v1/thon-4/dn/cmd/play", None),
        ("pa/v1/g/tinh/dn/cmd/play", None),
        ("pa/v2/thon-3/dn/cmd/play", None),
        ("pa/v1/thon-3/dn/desired/keys", Down.KEYS),
        ("pa/v1/g/huyen/dn/desired/keys", Down.KEYS),
        ("pa/v1/g/tinh/dn/desired/keys", None),
        ("pa/v1/thon-3/dn/desired/schedule", Down.SCHEDULE),
        ("pa/v1/g/huyen/dn/desired/config", Down.CONFIG),
        ("pa/v1/thon-3/dn/time", Down.TIME),
        ("pa/v1/thon-3/dn/desired/other", None),
        ("", None),
    ],
)
def test_a_topic_has_one_meaning(topic: str, meaning: object) -> None:
    assert TOPICS.read(topic) == meaning


def test_orders_are_published_where_they_are_read() -> None:
    assert TOPICS.read(order_topic("pa/v1", verb="play", node="thon-3")) == OrderTopic("play", None)
    assert TOPICS.read(order_topic("pa/v1", verb="play", group="huyen")) == OrderTopic("play", "huyen")


def test_a_node_listens_to_itself_and_to_its_groups() -> None:
    desired = ("keys", "schedule", "media", "board", "config")
    assert TOPICS.own() == (
        *(f"pa/v1/thon-3/dn/desired/{doc}" for doc in desired),
        "pa/v1/thon-3/dn/cmd/#",
        "pa/v1/thon-3/dn/ack",
        "pa/v1/thon-3/dn/pending",
        "pa/v1/thon-3/dn/time",
    )
    assert TOPICS.of_groups() == tuple(
        f"pa/v1/g/{group}/dn/{what}"
        for group in ("xa-vi-huong", "huyen")
        for what in (*(f"desired/{doc}" for doc in desired), "cmd/#")
    )
    assert TOPICS.audience == {"n:thon-3", "g:xa-vi-huong", "g:huyen"}
    assert TOPICS.up("cmd") == "pa/v1/thon-3/up/cmd"
