"""A broker that is down, dies, comes back, or refuses: the node plays on and tells everything in the end."""

from __future__ import annotations

import signal

import pytest

from tests.playout.media import tone, wav
from tests.process.conftest import OutsideMaker
from tests.process.node import NAME, ROOT

pytestmark = pytest.mark.realtime

ACL = f"""
user server
topic readwrite #
user {NAME}
topic read {ROOT}/{NAME}/dn/#
topic write {ROOT}/{NAME}/up/state
topic write {ROOT}/{NAME}/up/health
"""


def test_a_broker_that_is_down_at_start_and_dies_in_mid_turn_costs_nothing(
    make_outside: OutsideMaker,
) -> None:
    outside = make_outside()
    outside.broker.kill()
    outside.node.start()
    outside.node.wait(lambda: "No session with the broker" in outside.node.log())
    outside.broker.start()
    server = outside.server
    server.online(retained=True)
    order = server.order("play", outside.put("bulletin.wav", wav(tone(1.5))))
    server.state(order, "executing")
    outside.broker.kill()
    outside.broker.start()
    assert server.state(order)["state"] == "successful"
    server.until(lambda: [e for e in server.entries().values() if e["id"] == order], what="its entry")
    states = [said["state"] for said in server.states(order)]
    assert states == ["accepted", "waiting", "executing", "successful"]
    outside.node.end()
    assert outside.node.sounded_while_not_live() == []
    assert outside.node.log().count("No session with the broker") <= 4, "each fault once"


def test_what_the_broker_refuses_is_kept_until_it_takes_it(make_outside: OutsideMaker) -> None:
    outside = make_outside(
        *("--set", f"broker.username={NAME}"),
        *("--set", "report.refusal_first_s=1", "--set", "report.refusal_max_s=1"),
        broker={"acl": ACL, "accounts": {"server": "a", NAME: "b"}},
    )
    word = outside.directory / "word"
    word.write_text("b")
    outside.begin("--set", f"broker.password_file={word}")
    server = outside.server
    order = server.order("ping")
    outside.node.wait(lambda: "up/cmd reason_code=0x87" in outside.node.log())
    assert not server.states(order)
    (outside.broker.directory / "acl").write_text(ACL + f"topic write {ROOT}/{NAME}/up/#\n")
    outside.broker.signal(signal.SIGHUP)
    assert server.state(order)["state"] == "successful"
    outside.node.wait(lambda: "The broker takes a topic again" in outside.node.log())
