"""The server's signed time: a node without a time service asks for it, and believes an answer to its own nonce.

The nonce makes an old answer worthless; how long the answer took bounds its error. It is signed by an authority
whose verbs name `time`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from edge_agent.clocktrust import ClockTrust, Quality
from edge_agent.command import envelope
from edge_agent.command.envelope import said_once, unwrap, worded
from edge_agent.command.keyring import Keyring
from edge_agent.command.messages import Ask
from edge_agent.command.topics import Topics
from edge_agent.errors import OrderRefused
from edge_agent.model import NS, ReasonCode
from hal.errors import BrokerRefused
from hal.ports import BrokerSession, Clock, Message

logger = logging.getLogger(__name__)

PAYLOAD_TYPE: Final = "application/vnd.pa.time+json"
VERB: Final = "time"
ANSWER_S: Final = 20.0
"""An answer that took longer says too little."""
ASK_EVERY_S: Final = 1800.0


class TimeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signed bytes of `dn/time`, version 1."""

    v: Literal[1]
    iss: Annotated[str, Meta(pattern=envelope.ISS_PATTERN)]
    node: Annotated[str, Meta(max_length=40)]
    nonce: Annotated[str, Meta(min_length=16, max_length=128)]
    """As the node asked."""
    now: Annotated[datetime, Meta(tz=True)]


class TimeDesk:
    """Asks, and takes one answer to each question."""

    def __init__(
        self, *, clock: Clock, trust: ClockTrust, keyring: Keyring, topics: Topics, rng: random.Random
    ) -> None:
        self._clock = clock
        self._trust = trust
        self._keyring = keyring
        self._topics = topics
        self._rng = rng
        self._asked: tuple[str, int] | None = None
        """The nonce, and when it went."""

    async def life(self, session: BrokerSession, token: str) -> None:
        """While a session lasts, ask as long as no time service vouches for the clock. Raises BrokerLost."""
        while True:
            if self._trust.look().quality is not Quality.SYNCED:
                try:
                    await session.publish(self._question(token))
                except BrokerRefused as error:
                    logger.debug("The broker refuses to take the question for the time. error=%s", error)
            await asyncio.sleep(ASK_EVERY_S)

    def answered(self, blob: bytes) -> None:
        """What came on `dn/time`. Raises OrderRefused: then nothing has changed."""
        asked, now_ns = self._asked, self._clock.monotonic_ns()
        sealed = unwrap(blob, payload_type=PAYLOAD_TYPE)
        said_once(sealed.payload)
        try:
            form = msgspec.json.decode(sealed.payload, type=TimeForm)
            told = form.now.astimezone(UTC)
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise OrderRefused(
                ReasonCode.BAD_ENVELOPE, f"The time is malformed: {worded(error, envelope.FORMS)}."
            ) from None
        ring = self._keyring.ring
        if ring is None:
            raise OrderRefused(
                ReasonCode.UNKNOWN_KEY, "This node has no keys document, so it believes no time."
            )
        proof = ring.prove(sealed, form.iss, self._trust.look())
        if VERB not in proof.own.authority.verbs:
            raise OrderRefused(
                ReasonCode.OUT_OF_SCOPE, f"{form.iss} may not tell the time; give it the verb {VERB}."
            )
        if asked is None or form.nonce != asked[0] or form.node != self._topics.node:
            raise OrderRefused(ReasonCode.REPLAYED, "The time answers no question that this node has open.")
        took_s = (now_ns - asked[1]) / NS
        if took_s > ANSWER_S:
            raise OrderRefused(
                ReasonCode.EXPIRED, f"The time was {took_s:.0f} s on its way; it says too little."
            )
        self._asked = None
        self._trust.told(told + timedelta(seconds=took_s / 2), error_s=took_s / 2)

    def _question(self, token: str) -> Message:
        nonce = f"{self._rng.getrandbits(128):032x}"
        self._asked = (nonce, self._clock.monotonic_ns())
        ask = msgspec.json.encode(Ask(want=(VERB,), session=token, nonce=nonce))
        return Message(topic=self._topics.up("ask"), payload=ask)
