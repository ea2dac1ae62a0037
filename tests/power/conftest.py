"""Programmes of the flows, for whole nodes whose storage is sick."""

from __future__ import annotations

from tests.flows.conftest import short

__all__ = ["short"]
