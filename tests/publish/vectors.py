"""Signed test vectors for whoever writes a server, deterministic to the byte.

A vector is a node at a moment, with the keys documents that it has, and deliveries with what the
node makes of each. Every private key is sha256 of its name: for tests, and worth nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.command import envelope, keys
from edge_agent.command.envelope import Order
from edge_agent.command.signing import pae
from edge_agent.command.topics import order_topic
from edge_agent.model import Issuer, OrderId, Precedence
from tests import signers

ROOT, NODE, GROUP = "pa/v1", "thon-3", "xa-vi-huong"
NOW = datetime(2026, 11, 23, 0, 0, 5, tzinfo=UTC)
XA, HUYEN = "xa-vi-huong", "huyen-vi-thuy"
KEYS_TOPIC = f"{ROOT}/{NODE}/dn/desired/keys"

Wire = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message and what becomes of it. `state` is the order's first state on up/cmd; None: it is only counted."""

    what: str
    topic: str
    message: Wire
    state: str | None
    code: str | None = None
    retain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One file."""

    name: str
    text: str
    document: bytes
    deliveries: list[Delivery] = field(default_factory=list)


def everything() -> list[Vector]:
    """All vectors."""
    return [
        _valid(),
        _expired(),
        _replayed(),
        _wrong_audience(),
        _out_of_scope(),
        _unknown_key(),
        _revoked(),
        _rotated_key(),
        _rotated_root(),
        _two_signatures(),
        _tampered(),
    ]


def texts() -> dict[str, str]:
    """The files of `docs/test-vectors`."""
    return {f"{vector.name}.json": _text(_file(vector)) for vector in everything()} | {
        "signing.json": _text(_signing())
    }


# ---------------------------------------------------------------- the cast


def order(number: int, verb: str = "ping", **changes: Any) -> Order:
    """A valid order: for thon-3, of xa-vi-huong, good for five minutes."""
    whole: dict[str, Any] = {
        "id": OrderId(f"01JDBZ7WK3Q0V0T4ZB{number:08d}"),
        "issuer": Issuer(XA),
        "audience": (f"n:{NODE}",),
        "verb": verb,
        "seq": number,
        "issued_at": NOW - timedelta(seconds=5),
        "expires_at": NOW + timedelta(minutes=5),
        "precedence": Precedence.ROUTINE,
        "args": {},
    }
    return Order(**whole | changes)


def document(**changes: Any) -> keys.KeysDocument:
    """Version 1: one root, a commune that may do all, a district that may ask and show, in the morning."""
    authorities = (
        signers.authority(XA, f"{XA}-2026", tier="xã"),
        signers.authority(
            HUYEN,
            f"{HUYEN}-2026",
            tier="huyện",
            verbs=("ping", "board_show", "play"),
            max_class="priority",
            groups=(GROUP,),
            hours=(msgspec.convert({"from": "15:00", "to": "17:00"}, keys.Hours),),
        ),
    )
    return signers.document(*changes.pop("authorities", authorities), **changes)


def sent(
    what: str,
    whole: Order,
    state: str | None,
    code: str | None = None,
    *,
    by: Sequence[str] = (f"{XA}-2026",),
    changed: Wire | None = None,
) -> Delivery:
    """An order on its verb's topic. `changed`: members of the envelope that are put in after signing."""
    message = json.loads(envelope.seal(whole, signers=[signers.signer(kid) for kid in by]))
    return Delivery(
        what=what,
        topic=order_topic(ROOT, verb=whole.verb, node=NODE),
        message=message | (changed or {}),
        state=state,
        code=code,
    )


def renewed(what: str, blob: bytes, status: str, code: str | None = None) -> Delivery:
    """A keys document, retained; `status` is that on up/reported/keys."""
    message = json.loads(blob)
    return Delivery(what=what, topic=KEYS_TOPIC, message=message, state=status, code=code, retain=True)


# ---------------------------------------------------------------- the vectors


def _valid() -> Vector:
    spare = msgspec.json.decode(envelope.seal(order(4)))["payload"]
    plain = base64.b64decode(spare)
    aired = json.dumps(json.loads(plain), indent=1).encode()
    spaced = json.loads(envelope.wrap(envelope.PAYLOAD_TYPE, aired, [signers.signer(f"{XA}-2026")]))
    deliveries = [
        sent("A ping.", order(1), "accepted"),
        sent("A notice with letters beyond ASCII.", order(2, "board_show", args={"text": "Mời bà con họp lúc 19h30", "ttl_s": 600}), "accepted"),
        sent("A stop for the group, of the highest class.", order(3, "stop", audience=(f"g:{GROUP}",), precedence=Precedence.EMERGENCY, args={"class": "routine"}), "accepted"),
        Delivery(what="The signed bytes may be spaced as the server likes: exactly they are signed.", topic=order_topic(ROOT, verb="ping", node=NODE), message=spaced, state="accepted"),
        sent("Numbers may leave gaps, and come out of order within 256.", order(5, seq=200), "accepted"),
        sent("Such a late one.", order(6, seq=100), "accepted"),
        sent("A dry run: judged like any other, and nothing is done.", order(7, dry=True, seq=201), "successful"),
    ]  # fmt: skip
    return Vector(name="valid", text="Orders that the node takes.", document=signers.signed(document()), deliveries=deliveries)  # fmt: skip


def _expired() -> Vector:
    deliveries = [
        sent("Its time has passed.", order(1, issued_at=NOW - timedelta(hours=1), expires_at=NOW - timedelta(minutes=55)), "rejected", "expired"),
        sent("Issued more than 120 s ahead of the node's clock.", order(2, issued_at=NOW + timedelta(minutes=10), expires_at=NOW + timedelta(minutes=15)), "rejected", "clock_untrusted"),
        sent("A minute ahead is forgiven.", order(3, issued_at=NOW + timedelta(minutes=1)), "accepted"),
    ]  # fmt: skip
    return Vector(name="expired", text="The node's clock is trusted; orders out of their time.", document=signers.signed(document()), deliveries=deliveries)  # fmt: skip


def _replayed() -> Vector:
    deliveries = [
        sent("The original.", order(1, seq=1000), "accepted"),
        sent("The same order again: the node tells again what became of it, and does nothing.", order(1, seq=1000), "successful"),
        sent("Another id with a number that was used.", order(2, seq=1000), "rejected", "replayed"),
        sent("A number that lies 256 behind the highest: nobody can say whether it was used.", order(3, seq=744), "rejected", "replayed"),
        sent("255 behind it can be said.", order(4, seq=745), "accepted"),
        sent("Each key has its own numbers.", order(5, seq=1000, issuer=Issuer(HUYEN)), "accepted", by=(f"{HUYEN}-2026",)),
    ]  # fmt: skip
    return Vector(name="replayed", text="Each number of a key counts once.", document=signers.signed(document()), deliveries=deliveries)  # fmt: skip


def _wrong_audience() -> Vector:
    deliveries = [
        sent("For another node, on this node's topic.", order(1, audience=("n:thon-4",)), "rejected", "wrong_audience"),
        sent("For another group.", order(2, audience=("g:xa-khac",)), "rejected", "wrong_audience"),
        sent("This node is among those addressed.", order(3, audience=("n:thon-4", f"n:{NODE}")), "accepted"),
    ]  # fmt: skip
    return Vector(name="wrong-audience", text="The audience is signed, the topic is not.", document=signers.signed(document()), deliveries=deliveries)  # fmt: skip


def _out_of_scope() -> Vector:
    by, issuer = (f"{HUYEN}-2026",), Issuer(HUYEN)
    everywhere = (f"n:{NODE}", "g:xa-khac")
    media = {"media": "sha256:" + "a" * 64}
    elsewhere = signers.authority("xa-khac", "xa-khac-2026", groups=("xa-khac",))
    blob = signers.signed(document(authorities=(*document().authorities, elsewhere)))
    deliveries = [
        sent("A verb that it may not order.", order(1, "volume", issuer=issuer, args={"volume": 50}), "rejected", "out_of_scope", by=by),
        sent("A class that is too high.", order(2, issuer=issuer, precedence=Precedence.EMERGENCY), "rejected", "out_of_scope", by=by),
        sent("Here it is 07:00 (UTC+7), and it may be heard from 15:00 to 17:00.", order(3, "play", issuer=issuer, args=media), "rejected", "out_of_scope", by=by),
        sent("Hours bind what is heard; a notice is not.", order(4, "board_show", issuer=issuer, args={"text": "Chào"}), "accepted", by=by),
        sent("The node belongs to a group that it may address; others named beside do not matter.", order(5, issuer=issuer, audience=everywhere), "accepted", by=by),
        sent("A neighbour, whose groups this node does not belong to.", order(6, issuer=Issuer("xa-khac")), "rejected", "out_of_scope", by=("xa-khac-2026",)),
        sent("Naming its own group beside does not help.", order(7, issuer=Issuer("xa-khac"), audience=everywhere), "rejected", "out_of_scope", by=("xa-khac-2026",)),
    ]  # fmt: skip
    return Vector(name="out-of-scope", text="A district that may ping, show and play, up to class priority, in one group, in the afternoon; and a neighbour.", document=blob, deliveries=deliveries)  # fmt: skip


def _unknown_key() -> Vector:
    kid = f"{XA}-2027"
    late = signers.key(kid, not_before=NOW + timedelta(days=30))
    old = signers.key(f"{XA}-2020", expires=NOW - timedelta(days=1))
    xa = signers.authority(XA, f"{XA}-2026")
    xa = msgspec.structs.replace(xa, keys=(*xa.keys, late, old))
    deliveries = [
        sent("Unsigned.", order(1), None, "unknown_key", by=()),
        sent("A key that no document names.", order(2), None, "unknown_key", by=("stranger",)),
        sent("A known key of another authority than the order names.", order(3), None, "unknown_key", by=(f"{HUYEN}-2026",)),
        sent("A root signs keys documents and nothing else.", order(4), None, "unknown_key", by=("goc-1",)),
        sent("A key before its time.", order(5), None, "unknown_key", by=(kid,)),
        sent("A key after its time.", order(6), None, "unknown_key", by=(f"{XA}-2020",)),
        sent("The id of an order that nobody signed is not burnt.", order(1), "accepted"),
    ]  # fmt: skip
    huyen = signers.authority(HUYEN, f"{HUYEN}-2026")
    blob = signers.signed(document(authorities=(xa, huyen)))
    return Vector(name="unknown-key", text="Keys that are not believed. Such orders are counted and never answered.", document=blob, deliveries=deliveries)  # fmt: skip


def _revoked() -> Vector:
    old, new = f"{XA}-2026", f"{XA}-2026b"
    xa = signers.authority(XA, old, new)
    gone = msgspec.structs.replace(xa, keys=(signers.key(old, status="revoked"), signers.key(new)))
    second = document(authorities=(gone,), version=2, revoked=(old,))
    deliveries = [
        sent("Before.", order(1), "accepted", by=(old,)),
        renewed("Version 2 revokes the key.", signers.signed(second), "applied"),
        sent("After.", order(2), None, "revoked_key", by=(old,)),
        sent("Its sister is in force.", order(3), "accepted", by=(new,)),
        renewed("Version 1 again, which a broker may have kept.", signers.signed(document(authorities=(xa,))), "ignored", "replayed"),
        sent("The key stays revoked.", order(4), None, "revoked_key", by=(old,)),
    ]  # fmt: skip
    return Vector(name="revoked", text="A key is revoked by the next keys document.", document=signers.signed(document(authorities=(xa,))), deliveries=deliveries)  # fmt: skip


def _rotated_key() -> Vector:
    old, new = f"{XA}-2026", f"{XA}-2027"
    xa = signers.authority(XA, old)
    both = msgspec.structs.replace(xa, keys=(signers.key(old, status="retired"), signers.key(new)))
    deliveries = [
        sent("The new key is not known yet.", order(1), None, "unknown_key", by=(new,)),
        sent("The old one is.", order(2), "accepted", by=(old,)),
        renewed("Version 2: the old key is retired, the new one is active.", signers.signed(document(authorities=(both,), version=2)), "applied"),
        sent("The new key.", order(3, seq=1), "accepted", by=(new,)),
        sent("The old key takes no new orders.", order(4), None, "revoked_key", by=(old,)),
    ]  # fmt: skip
    return Vector(name="rotated-key", text="An authority's key is rotated.", document=signers.signed(document(authorities=(xa,))), deliveries=deliveries)  # fmt: skip


def _rotated_root() -> Vector:
    new_root = keys.Roots(threshold=1, keys=(signers.root("goc-2"),))
    second = document(version=2, roots=new_root)
    third = document(version=3, roots=new_root)
    deliveries = [
        renewed("Version 2 has another root, and only that one signed it.", signers.signed(second, "goc-2"), "rejected", "bad_signature"),
        renewed("Only the old root signed it.", signers.signed(second, "goc-1"), "rejected", "bad_signature"),
        renewed("Both did.", signers.signed(second, "goc-1", "goc-2"), "applied"),
        renewed("Version 3, signed by the root that left.", signers.signed(third, "goc-1"), "rejected", "bad_signature"),
        renewed("Version 3, signed by the root in force.", signers.signed(third, "goc-2"), "applied"),
        sent("Orders go on.", order(1), "accepted"),
    ]  # fmt: skip
    return Vector(name="rotated-root", text="Version N+1 is signed under the roots of N and of N+1.", document=signers.signed(document()), deliveries=deliveries)  # fmt: skip


def _two_signatures() -> Vector:
    one, two, other = f"{XA}-2026", f"{XA}-2026b", f"{HUYEN}-2026"
    deputy = "xa-khac-2026"
    xa, huyen = signers.authority(XA, one, two), signers.authority(HUYEN, other)
    ping_only = signers.authority("xa-khac", deputy, verbs=("ping",))
    blob = signers.signed(
        document(authorities=(xa, huyen, ping_only), thresholds=keys.Thresholds(emergency=2))
    )
    urgent: Wire = {"precedence": Precedence.EMERGENCY, "args": {}}
    twice = json.loads(envelope.seal(order(4, "stop", **urgent), signers=[signers.signer(one)]))
    doubled = {"signatures": twice["signatures"] * 2}
    deliveries = [
        sent("Two keys of the issuer.", order(1, "stop", **urgent), "accepted", by=(one, two)),
        sent("A key of the issuer and one of another authority that may order the same.", order(2, "stop", **urgent), "accepted", by=(other, one)),
        sent("One key is not enough for an emergency.", order(3, "stop", **urgent), None, "bad_signature", by=(one,)),
        sent("The same signature twice is one.", order(4, "stop", **urgent), None, "bad_signature", by=(one,), changed=doubled),
        sent("The second may not order this itself.", order(5, "stop", **urgent), "rejected", "out_of_scope", by=(one, deputy)),
        sent("Without the issuer's own key, others do not count.", order(6, "stop", **urgent), None, "unknown_key", by=(other, deputy)),
        sent("One is enough for a lower class.", order(7, "stop"), "accepted", by=(one,)),
    ]  # fmt: skip
    return Vector(name="two-signatures", text="The keys document asks for two signatures where the class is emergency.", document=blob, deliveries=deliveries)  # fmt: skip


def _tampered() -> Vector:
    whole = order(1, "board_show", args={"text": "Họp lúc 19h30"})
    message = json.loads(envelope.seal(whole, signers=[signers.signer(f"{XA}-2026")]))
    payload, signature = (
        base64.b64decode(message["payload"]),
        base64.b64decode(message["signatures"][0]["sig"]),
    )
    forged = base64.b64encode(payload.replace(b"19h30", b"05h30")).decode()
    louder = base64.b64encode(payload.replace(b'"routine"', b'"emergency"')).decode()
    respaced = base64.b64encode(payload.replace(b",", b", ", 1)).decode()
    flipped = base64.b64encode(bytes([signature[0] ^ 1]) + signature[1:]).decode()
    raw = base64.b64encode(_bare_signature(f"{XA}-2026", payload)).decode()

    def signed(sig: str, keyid: str = f"{XA}-2026") -> Wire:
        return {"signatures": [{"keyid": keyid, "sig": sig}]}

    deliveries = [
        sent("Another text under the same signature.", whole, None, "bad_signature", changed={"payload": forged}),
        sent("Another class.", whole, None, "bad_signature", changed={"payload": louder}),
        sent("One more space: the same JSON, other bytes.", whole, None, "bad_signature", changed={"payload": respaced}),
        sent("One bit of the signature.", whole, None, "bad_signature", changed=signed(flipped)),
        sent("The signature under another key's name.", whole, None, "unknown_key", changed=signed(message["signatures"][0]["sig"], f"{HUYEN}-2026")),
        sent("Signed without DSSE's encoding (PAE), over the bare payload.", whole, None, "bad_signature", changed=signed(raw)),
        sent("A signature cut short.", whole, None, "bad_signature", changed=signed(base64.b64encode(signature[:63]).decode())),
        sent("Another payloadType.", whole, None, "bad_envelope", changed={"payloadType": "application/json"}),
        sent("The true one, after all that.", whole, "accepted"),
    ]  # fmt: skip
    return Vector(name="tampered", text="One valid order, changed after it was signed. None burns its id.", document=signers.signed(document()), deliveries=deliveries)  # fmt: skip


# ---------------------------------------------------------------- files


def _file(vector: Vector) -> Wire:
    return {
        "name": vector.name,
        "text": vector.text,
        "node": {"id": NODE, "groups": [GROUP], "root": ROOT},
        "clock": {"quality": "synced", "now": NOW.isoformat().replace("+00:00", "Z")},
        "keys": json.loads(vector.document),
        "deliveries": [_delivery(delivery) for delivery in vector.deliveries],
    }


def _delivery(delivery: Delivery) -> Wire:
    expected: Wire = {"code": delivery.code}
    if delivery.topic == KEYS_TOPIC:
        expected = {"answered_on": "up/reported/keys", "status": delivery.state}
    elif delivery.state is None:
        expected = {"answered_on": None, "code": delivery.code}
    else:
        expected = {"answered_on": "up/cmd", "state": delivery.state, "code": delivery.code}
    payload = base64.b64decode(delivery.message["payload"]).decode()
    return {
        "what": delivery.what,
        "topic": delivery.topic,
        "retain": delivery.retain,
        "message": delivery.message,
        "payload_text": payload,
        "expected": expected,
    }


def _signing() -> Wire:
    """The signature alone, step by step."""
    kid = f"{XA}-2026"
    payload = envelope.compose(order(1))
    signer = signers.signer(kid)
    wire = json.loads(envelope.wrap(envelope.PAYLOAD_TYPE, payload, [signer]))
    return {
        "name": "signing",
        "text": "How one order is signed: Ed25519 (RFC 8032) over DSSE's pre-authentication encoding. All binary in hex.",
        "kid": kid,
        "seed": signer.seed.hex(),
        "public": base64.b64decode(signers.public(kid)).hex(),
        "payload_type": envelope.PAYLOAD_TYPE,
        "payload": payload.hex(),
        "pae": pae(envelope.PAYLOAD_TYPE, payload).hex(),
        "signature": base64.b64decode(wire["signatures"][0]["sig"]).hex(),
        "message": wire,
    }


def _bare_signature(kid: str, payload: bytes) -> bytes:
    """What a server makes that signs the payload itself."""
    return Ed25519PrivateKey.from_private_bytes(signers.signer(kid).seed).sign(payload)


def _text(whole: Wire) -> str:
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
