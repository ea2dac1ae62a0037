"""The published test vectors: the node's own inbox, in virtual time, gives the verdict that each file states.

Read from the files alone, as a stranger would.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hal.ports import Message
from hal.sim.loop import run
from tests.command.scene import GROUP, NODE, ROOT, Scene, at

VECTORS = Path(__file__).resolve().parents[2] / "docs" / "test-vectors"
FILES = sorted(path for path in VECTORS.glob("*.json") if path.name != "signing.json")


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_node_does_as_the_vector_says(path: Path) -> None:
    vector = read(path)
    assert vector["node"] == {"id": NODE, "groups": [GROUP], "root": ROOT}
    scene = Scene(groups=tuple(vector["node"]["groups"]))
    scene.keys = json.dumps(vector["keys"]).encode()

    async def main() -> None:
        async with scene.running() as inbox:
            now = datetime.fromisoformat(vector["clock"]["now"])
            assert abs((at(scene, 0) - now).total_seconds()) < 10
            for delivery in vector["deliveries"]:
                said = await outcome(scene, inbox, delivery)
                assert said == delivery["expected"], delivery["what"]

    run(main(), scene.counter)


async def outcome(scene: Scene, inbox: Any, delivery: dict[str, Any]) -> dict[str, Any]:
    """Deliver, and tell what the node answers in the words of `expected`."""
    blob = json.dumps(delivery["message"]).encode()
    answers, documents, counted = len(answered(scene)), len(scene.reported()), dict(inbox.refusals)
    scene.broker.server_publish(
        Message(topic=delivery["topic"], payload=blob, qos=1, retain=delivery["retain"])
    )
    await asyncio.sleep(12 if "/g/" in delivery["topic"] else 0.4)
    if len(scene.reported()) > documents:
        return {"answered_on": "up/reported/keys", "status": scene.reported()[-1]["status"]}
    ident = json.loads(delivery["payload_text"])["id"]
    lines = [line for line in answered(scene)[answers:] if line["id"] == ident]
    if lines:
        code = lines[0]["reason"] and lines[0]["reason"]["code"]
        return {"answered_on": "up/cmd", "state": lines[0]["state"], "code": code}
    (code,) = [code for code, count in inbox.refusals.items() if count > counted.get(code, 0)]
    assert ident not in scene.ledger() or scene.ledger()[ident] != "rejected"
    return {"answered_on": None, "code": code}


def answered(scene: Scene) -> list[dict[str, Any]]:
    return [json.loads(entry.message.payload) for entry in scene.broker.received_on(f"{ROOT}/{NODE}/up/cmd")]


def test_a_signature_follows_step_by_step_without_our_code() -> None:
    step = read(VECTORS / "signing.json")
    seed, payload = bytes.fromhex(step["seed"]), bytes.fromhex(step["payload"])
    kind = step["payload_type"]
    assert seed == hashlib.sha256(step["kid"].encode()).digest()
    pae = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    assert pae.hex() == step["pae"]
    assert Ed25519PrivateKey.from_private_bytes(seed).sign(pae).hex() == step["signature"]
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(step["public"])).verify(
        bytes.fromhex(step["signature"]), pae
    )


def test_every_kind_that_was_promised_is_there_and_in_the_readme() -> None:
    names = {path.stem for path in VECTORS.glob("*.json")}
    assert {
        "valid", "expired", "replayed", "wrong-audience", "out-of-scope", "revoked", "rotated-key", "rotated-root",
        "two-signatures", "tampered", "unknown-key", "signing",
    } == names  # fmt: skip
    readme = (VECTORS / "README.md").read_text(encoding="utf-8")
    for name in names:
        assert f"({name}.json)" in readme, name
