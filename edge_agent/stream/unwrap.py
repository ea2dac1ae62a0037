"""Numbers that wrap, as numbers that do not: sequence numbers of 16 bits, timestamps of 32."""

from __future__ import annotations


def difference(new: int, old: int, bits: int) -> int:
    """The way from `old` to `new`, the way round that is shorter: within half the range, signed."""
    span = 1 << bits
    half = span >> 1
    return (new - old + half) % span - half


class Unwrap:
    """Follows one number over its wraps. What it returns may be negative: the first value is kept as it is."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._highest: int | None = None

    def near(self, value: int) -> int:
        """What `value` means beside the highest number so far; nothing is remembered."""
        if self._highest is None:
            return value
        return self._highest + difference(value, self._highest, self._bits)

    def follow(self, number: int) -> None:
        """`number`, from `near`, belongs to the stream."""
        if self._highest is None or number > self._highest:
            self._highest = number

    def restart(self, value: int) -> int:
        """Begin again at this value."""
        self._highest = value
        return value
