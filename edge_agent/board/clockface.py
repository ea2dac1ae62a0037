"""What a clock page says, in Vietnamese (pure)."""

from __future__ import annotations

from datetime import datetime

WEEKDAYS = ("Thứ Hai", "Thứ Ba", "Thứ Tư", "Thứ Năm", "Thứ Sáu", "Thứ Bảy", "Chủ Nhật")


def time_of(local: datetime) -> str:
    """19:30."""
    return f"{local.hour:02d}:{local.minute:02d}"


def date_of(local: datetime) -> str:
    """Thứ Ba 23/11."""
    return f"{WEEKDAYS[local.weekday()]} {local.day}/{local.month}"


def texts(local: datetime, celsius: float | None, place: str) -> tuple[str, ...]:
    """The texts of a clock's pages: time and temperature, the date, the place."""
    first = time_of(local) if celsius is None else f"{time_of(local)} {round(celsius)}°C"
    return tuple(text for text in (first, date_of(local), place.strip()) if text)
