"""Virtual siblings of the real drivers: a whole village on one counter.

The drivers here take a `hal.ports.Clock` and wait with asyncio, so the same virtual card,
line, board and network run in virtual time (tests, seeds) and in real time (`--hardware sim`).
"""
