"""Programmes of the flows, for whole nodes whose storage is sick."""

from __future__ import annotations

from tests.flows.conftest import notice, short

__all__ = ["notice", "short"]
