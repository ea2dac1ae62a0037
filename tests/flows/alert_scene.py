"""What alerts need in a simulated village: settings, orders, and what was heard and seen."""

from __future__ import annotations

from datetime import datetime

import msgspec

from edge_agent.command.alert_settings import AlertSettings
from edge_agent.model import OrderId
from hal.sim.loop import NS
from tests import alerts
from tests.flows.scene import SETTINGS, Village
from tests.flows.test_board import lit

BASE = AlertSettings(geocodes={alerts.CODE[0]: (alerts.CODE[1], "02")}, languages=("vi", "en"))
SAID = f"{alerts.HEADLINE}. {alerts.DESCRIPTION}. {alerts.INSTRUCTION}."
SHOWN = f"{alerts.HEADLINE}. {alerts.INSTRUCTION}"
TONE_S = 4.0


def village_with(seed: int = 1, **changes: object) -> Village:
    """A node with other alert settings."""
    return Village(
        seed, settings=msgspec.structs.replace(SETTINGS, alerts=msgspec.structs.replace(BASE, **changes))
    )


def now(village: Village) -> datetime:
    return village.world.outside.utc_now().replace(microsecond=0)


def warn(village: Village, text: str, klass: str = "emergency", **more: object) -> OrderId:
    return village.order("alert", klass, cap=text, **more)


def flood(village: Village, identifier: str = "lu-1", klass: str = "emergency", **more: object) -> OrderId:
    return warn(village, alerts.alert(identifier, now(village), alerts.block()), klass, **more)


def shown(village: Village) -> object:
    return lit(village.world.sign.current.dots)


def loud_s(village: Village) -> float:
    """For how long anything was audible, in all lives."""
    return sum(end - start for life in village.world.lives() for start, end in life.loud) / NS
