"""The month's bar chart: minutes a day, stacked by class, as inline SVG that also reads in black and white. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Final

from edge_agent.cli.month import CLASSES, Month

Say = Callable[[str], str]
"""A sentence of the catalogue by its code, escaped."""

MS_PER_MINUTE: Final = 60_000

_WIDTH, _HEIGHT = 720, 185
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 6, 26, 32
_TICKS_MOST: Final = 5

_PATTERNS: Final = """<defs>
<pattern id="routine" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#e3eef7"/><rect width="1.6" height="6" fill="#2b6ca3"/></pattern>
<pattern id="priority" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" fill="#fbe3ae"/><circle cx="2.5" cy="2.5" r="1.4" fill="#8a5a00"/></pattern>
<pattern id="emergency" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#9c1c12"/><rect y="4.4" width="6" height="1" fill="#f3c9c5"/></pattern>
<pattern id="other" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#fff"/><path d="M0 0L6 6M6 0L0 6" stroke="#555" stroke-width=".8"/></pattern>
</defs>"""


def drawn(month: Month, say: Say) -> str:
    """One `<svg>`: axes with ticks and names, a legend, a bar a day with its minutes above."""
    most = max((sum(day.values()) for day in month.by_day.values()), default=0) / MS_PER_MINUTE
    step = tick_step(most)
    top = step * max(1, -(-most // step))
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{say('report_chart')}</title>",
        _PATTERNS,
        *_legend(month, say),
        *_axis(top, step, say),
        *_bars(month, top),
        "</svg>",
    ]
    return "\n".join(parts)


def tick_step(most: float) -> float:
    """1, 2 or 5 times a power of ten minutes, so that `most` needs five steps at most; at least one minute."""
    step = 1.0
    for factor in _factors():
        step = factor
        if most <= step * _TICKS_MOST:
            break
    return step


def pattern_of(name: str) -> str:
    """The id of the fill for a class."""
    return name if name in CLASSES else "other"


def _factors() -> Iterator[float]:
    for power in range(12):
        yield from (10.0**power, 2 * 10.0**power, 5 * 10.0**power)


def _legend(month: Month, say: Say) -> Iterator[str]:
    x = float(_LEFT)
    for name in _stacked(month.by_class):
        text = say(f"class_{name}") if name in CLASSES else escape(name)
        yield f'<rect x="{x:.1f}" y="3" width="16" height="11" fill="url(#{pattern_of(name)})" stroke="#222" stroke-width=".7"/>'
        yield f'<text x="{x + 21:.1f}" y="12" font-size="11">{text}</text>'
        x += 105


def _axis(top: float, step: float, say: Say) -> Iterator[str]:
    ground, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for tick in range(round(top / step) + 1):
        y = _y(tick * step, top)
        yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{"#222" if tick == 0 else "#ccc"}" stroke-width=".7"/>'
        yield f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" font-size="10" text-anchor="end">{tick * step:.0f}</text>'
    yield f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{ground}" stroke="#222" stroke-width=".7"/>'
    middle = (_TOP + ground) / 2
    yield f'<text x="10" y="{middle:.1f}" font-size="10" text-anchor="middle" transform="rotate(-90 10 {middle:.1f})">{say("report_axis_minutes")}</text>'
    yield f'<text x="{(_LEFT + right) / 2:.1f}" y="{_HEIGHT - 4}" font-size="10" text-anchor="middle">{say("report_axis_day")}</text>'


def _bars(month: Month, top: float) -> Iterator[str]:
    ground = _HEIGHT - _BOTTOM
    pitch = (_WIDTH - _RIGHT - _LEFT) / len(month.by_day)
    width = pitch * 0.72
    for number, (day, by_class) in enumerate(month.by_day.items()):
        x = _LEFT + pitch * number + (pitch - width) / 2
        middle = x + width / 2
        yield f'<text x="{middle:.1f}" y="{ground + 13}" font-size="9" text-anchor="middle">{day.day}</text>'
        minutes = 0.0
        for name in _stacked(by_class):
            below, minutes = minutes, minutes + by_class[name] / MS_PER_MINUTE
            y, height = _y(minutes, top), _y(below, top) - _y(minutes, top)
            yield f'<rect x="{x:.1f}" y="{y:.2f}" width="{width:.1f}" height="{height:.2f}" fill="url(#{pattern_of(name)})" stroke="#222" stroke-width=".6"/>'
        if minutes:
            label = f"{minutes:.0f}" if minutes >= 1 else "&lt;1"
            yield f'<text x="{middle:.1f}" y="{_y(minutes, top) - 3:.1f}" font-size="8.5" text-anchor="middle">{label}</text>'


def _stacked(by_class: Mapping[str, int]) -> list[str]:
    """The classes that are there, the least urgent first (at the bottom of a bar)."""
    known = [name for name in reversed(CLASSES) if name in by_class]
    return known + sorted(name for name in by_class if name not in CLASSES)


def _y(minutes: float, top: float) -> float:
    ground = _HEIGHT - _BOTTOM
    return ground - (ground - _TOP) * minutes / top
